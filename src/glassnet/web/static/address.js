// A state as the part of the address behind #, and back. What is as it is by default is left out.

const view = { start: -1, epoch: -1, x: "", y: "", held: {}, row: 0, only: "", hand: {}, legs: [], slow: -1 };

export function defaults(handles) {
  const settings = Object.fromEntries(handles.map((handle) => [handle.name, handle.default]));
  return { settings, view: structuredClone(view) };
}

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
const listed = (items) => items.map((item) => encodeURIComponent(item)).join(",");

function written(value, name) {
  if (name === "legs") return encodeURIComponent(JSON.stringify(value));
  if (Array.isArray(value)) return listed(value);
  if (typeof value === "object") return listed(Object.entries(value).map(([name, held]) => `${encodeURIComponent(name)}=${encodeURIComponent(held)}`));
  return encodeURIComponent(value);
}

export function toAddress(state, handles, hidden) {
  const usual = defaults(handles);
  const parts = [];
  for (const group of ["settings", "view"]) {
    for (const [name, value] of Object.entries(state[group])) {
      if (!same(value, usual[group][name])) parts.push(`${name}=${written(value, name)}`);
    }
  }
  if (hidden.length) parts.push(`hide=${listed(hidden)}`);
  return parts.length ? `#${parts.join("&")}` : "";
}

const items = (text) => (text ? text.split(",").map(decodeURIComponent) : []);

function read(text, like) {
  if (Array.isArray(like.value)) return like.whole ? items(text).map(Number) : items(text);
  if (typeof like.value === "number") return Number(text);
  if (typeof like.value === "object") {
    return Object.fromEntries(items(text).map((pair) => {
      const [name, held] = pair.split("=").map(decodeURIComponent);
      return [name, held !== "" && Number.isFinite(Number(held)) ? Number(held) : held];
    }));
  }
  return decodeURIComponent(text);
}

function legsOf(legs) {
  if (!Array.isArray(legs) || !legs.every((leg) => Array.isArray(leg) && leg[1] && typeof leg[1] === "object")) throw new TypeError("no legs");
  return legs;
}

// The state, which handles are hidden, and what could not be read. The server judges the values.
export function fromAddress(hash, handles) {
  const state = defaults(handles);
  const unread = [];
  let hidden = [];
  for (const part of hash.replace(/^#/, "").split("&").filter(Boolean)) {
    const cut = part.indexOf("=");
    const [name, text] = cut < 0 ? [part, ""] : [part.slice(0, cut), part.slice(cut + 1)];
    try {
      const group = ["settings", "view"].find((key) => Object.hasOwn(state[key], name));
      if (name === "hide") hidden = items(text);
      else if (name === "legs") state.view.legs = legsOf(JSON.parse(decodeURIComponent(text)));
      else if (group) state[group][name] = read(text, { value: state[group][name], whole: name === "hidden" });
      else unread.push(name);
    } catch {
      unread.push(name);
    }
  }
  return { state, hidden, unread };
}
