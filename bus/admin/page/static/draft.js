// What is being edited: one draft per variant over what is stored, and the patch that makes one of the other.

/** Equal as JSON. */
export function same(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** The properties of a variant that a form shows, in their order. */
export function properties(schema, type) {
  return Object.entries(schema.$defs[type].properties)
    .filter(([name]) => name !== "id" && name !== "@type")
    .sort((one, other) => one[1]["x-order"] - other[1]["x-order"]);
}

function initial(property) {
  if ("default" in property) return property.default;
  return property.type === "array" ? [] : property.oneOf ? { "@type": "None" } : "";
}

export class Draft {
  /** `stored` is the object as the node gave it, `state` its state string. */
  constructor(schema, stored, state) {
    this.schema = schema;
    this.values = new Map();
    this.rebase(stored, state);
  }

  /** What is stored is another one now; what was edited stays edited. */
  rebase(stored, state) {
    const mine = this.type === undefined ? {} : this.type === stored["@type"] ? this.edits() : this.current;
    this.stored = stored;
    this.state = state;
    this.type ??= stored["@type"];
    this.values.clear();
    this.values.set(this.type, { ...this.base(this.type), ...mine });
  }

  /** What a variant would be without edits. */
  base(type) {
    const isStored = type === this.stored["@type"];
    return Object.fromEntries(
      properties(this.schema, type).map(([name, property]) => [
        name,
        isStored ? this.stored[name] : initial(property),
      ]),
    );
  }

  /** The values of the chosen variant. */
  get current() {
    if (!this.values.has(this.type)) this.values.set(this.type, this.base(this.type));
    return this.values.get(this.type);
  }

  put(name, value) {
    this.current[name] = value;
  }

  isEdited(name) {
    return !same(this.current[name], this.base(this.type)[name]);
  }

  /** Name -> value of what was edited in the chosen variant. */
  edits() {
    const base = this.base(this.type);
    return Object.fromEntries(
      Object.entries(this.current).filter(([name, value]) => !same(value, base[name])),
    );
  }

  /** The PatchObject; empty when nothing was changed. Another variant starts from its own defaults. */
  patch() {
    return this.type === this.stored["@type"] ? this.edits() : { "@type": this.type, ...this.edits() };
  }

  get isDirty() {
    return Object.keys(this.patch()).length > 0;
  }

  /** Whether it would make just this object. */
  makes(object) {
    return (
      this.type === object["@type"] &&
      Object.entries(this.current).every(([name, value]) => same(value, object[name]))
    );
  }

  reset() {
    this.values.clear();
    this.type = this.stored["@type"];
  }
}
