"""A real Chromium for the tests of the page, and what is asserted of everything that it shows."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HOW = "apt-get install chromium, or name one in CHROMIUM; pip install playwright axe-playwright-python"
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    # A name that is not this machine's, for what browsers allow on this machine only.
    "--host-resolver-rules=MAP bus.example 127.0.0.1",
]  # fmt: skip

# Counts what moves without being asked to, and what the policy has stopped.
WATCH = """
window.moved = [];
window.stopped = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    if (entry.hadRecentInput) continue;
    const nodes = entry.sources.map(({ node }) => node && (node.className || node.nodeName));
    window.moved.push([entry.value, ...nodes]);
  }
}).observe({ type: "layout-shift", buffered: true });
addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => {
  window.stopped.push(violatedDirective + " " + blockedURI);
});
"""
# What is wider or higher than its box and cannot be scrolled, unless it ends in three dots on purpose; and
# controls that lie over each other.
OVERFLOWING = """
() => {
  const seen = [];
  const name = (node) => node.nodeName + "." + node.className + " " + node.textContent.slice(0, 30);
  if (document.documentElement.scrollWidth > innerWidth) seen.push("the page is wider than the window");
  for (const node of document.querySelectorAll("body *")) {
    const style = getComputedStyle(node);
    if (!node.getClientRects().length || node.closest("svg") || style.display === "inline") continue;
    if (node.classList.contains("unseen") || node.classList.contains("skip")) continue;
    const cuts = style.textOverflow === "ellipsis";
    if (style.overflowX === "auto" || style.overflowX === "scroll") continue;
    if (["INPUT", "SELECT", "TEXTAREA", "OPTION"].includes(node.nodeName)) continue;
    if (!cuts && node.scrollWidth > node.clientWidth + 1) seen.push("too wide: " + name(node));
    const isHigh = node.scrollHeight > node.clientHeight + 3;
    if (isHigh && style.overflowY === "hidden") seen.push("too high: " + name(node));
  }
  const things = "main :is(button, input, select, textarea, h1, h2, p, dt, dd, .panel)";
  const boxes = [...document.querySelectorAll(things)]
    .filter((node) => node.getClientRects().length && !node.closest(".slots, .matrix, .actions, .unseen"))
    .map((node) => [node, node.getBoundingClientRect()]).filter(([, box]) => box.width && box.height);
  boxes.forEach(([one, box], index) => boxes.slice(index + 1).forEach(([other, next]) => {
    if (one.contains(other) || other.contains(one)) return;
    const wide = Math.min(box.right, next.right) - Math.max(box.left, next.left);
    const high = Math.min(box.bottom, next.bottom) - Math.max(box.top, next.top);
    if (wide > 1 && high > 1) seen.push("overlap: " + name(one) + " / " + name(other));
  }));
  return seen;
}
"""


def unavailable(reason: str) -> NoReturn:
    """Skip, loudly; in CI, where nobody reads what was skipped, fail."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@contextmanager
def chromium() -> Generator[Browser]:
    """The browser. Skips or fails where there is none."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        unavailable(f"no driver for a browser: {HOW}")
    if program is None:
        unavailable(f"no browser: {HOW}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Tab:
    """One tab in a profile of its own, which notes whatever a developer would see in red."""

    page: Page
    errors: list[str] = field(default_factory=list[str])

    def moved(self) -> list[Any]:
        """What has moved without being asked to since the last call."""
        return cast("list[Any]", self.page.evaluate("() => window.moved.splice(0)"))

    def check(self) -> None:
        """Nothing is cut off or lies over something else, nothing was stopped by the policy, no error."""
        for found in (
            self.page.evaluate(OVERFLOWING),
            self.page.evaluate("() => window.stopped"),
            self.errors,
        ):
            assert not found, found

    def check_rules(self) -> None:
        """The rules of accessibility."""
        # It has no types, and is needed where a browser is.
        found: Any = importlib.import_module("axe_playwright_python.sync_playwright").Axe().run(self.page)
        assert found.violations_count == 0, found.generate_report()


@contextmanager
def tab(
    browser: Browser, width: int = 1280, height: int = 900, theme: str = "light", zoom: int = 1
) -> Generator[Tab]:
    """A new profile with one tab. `zoom`: as Ctrl-plus does it, the window holds that much less."""
    context = browser.new_context(
        viewport={"width": width // zoom, "height": height // zoom},
        device_scale_factor=zoom,
        color_scheme=cast("Any", theme),
        reduced_motion="reduce",
    )
    context.add_init_script(WATCH)
    page = context.new_page()
    page.set_default_timeout(15_000)
    made = Tab(page)
    page.on(
        "console", lambda said: made.errors.append(said.text) if said.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: made.errors.append(f"uncaught: {error}"))
    try:
        yield made
    finally:
        context.close()
