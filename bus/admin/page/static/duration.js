// Durations as people write them ("1m30s"), and as the node counts them (milliseconds).

const UNITS = { ms: 1, s: 1000, m: 60000, h: 3600000, d: 86400000 };

/** Milliseconds; null for what is no duration: the node then says what is wrong. */
export function parse(text) {
  const found = text.trim().toLowerCase();
  if (/^\d+$/.test(found)) return possible(Number(found));
  if (!/^(\d+\s*(ms|s|m|h|d)\s*)+$/.test(found)) return null;
  let total = 0;
  for (const [, number, unit] of found.matchAll(/(\d+)\s*(ms|s|m|h|d)/g))
    total += Number(number) * UNITS[unit];
  return possible(total);
}

function possible(ms) {
  return Number.isSafeInteger(ms) && ms > 0 ? ms : null;
}

/** The shortest exact text. */
export function format(ms) {
  let rest = ms;
  let text = "";
  for (const unit of ["d", "h", "m", "s", "ms"]) {
    const number = Math.floor(rest / UNITS[unit]);
    rest -= number * UNITS[unit];
    if (number) text += `${number}${unit}`;
  }
  return text || "0ms";
}
