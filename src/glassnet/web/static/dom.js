// Elements, and canvases that are as large as what they lie in.

import { colours } from "./colours.js";

const svgSpace = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

export const make = (tag, attributes = {}, ...children) => filled(document.createElement(tag), attributes, children);
export const svg = (tag, attributes = {}, ...children) =>
  filled(document.createElementNS(svgSpace, tag), attributes, children);

export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Calls `resized` when its size is another, first at once, and keeps the canvas's own pixels the screen's: as many of
// them, and in the same places, or else the browser had to blend each with its neighbours anew in every frame.
export class Surface {
  constructor(canvas, resized) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false }); // what lies beneath need not be drawn then
    this.font = "";
    this.stood = null;
    const observer = new ResizeObserver((entries) => {
      const [before, high] = [canvas.width, canvas.height];
      this.fit();
      if (entries.some((entry) => entry.target === canvas.parentElement) || canvas.width !== before || canvas.height !== high) resized();
    });
    // Where it lies follows from the size of what lies above it.
    for (const element of [canvas.parentElement, canvas.closest(".card"), document.body]) observer.observe(element);
    try {
      observer.observe(canvas, { box: "device-pixel-content-box" }); // on another screen it may have other pixels
    } catch { // a browser that does not tell
    }
    this.fit();
  }

  fit() {
    const { parentElement } = this.canvas;
    const box = parentElement.getBoundingClientRect();
    const scale = window.devicePixelRatio || 1;
    this.scale = scale; // pixels of the canvas for a CSS pixel
    // From the first whole pixel of the screen in the box to the last.
    const [[x, wide], [y, high]] = [[box.x + scrollX, box.width], [box.y + scrollY, box.height]].map(([from, size]) => {
      const begin = Math.ceil(from * scale - 0.01);
      return [begin / scale - from, Math.max(1, Math.floor((from + size) * scale + 0.01) - begin)];
    });
    this.width = wide / scale;
    this.height = high / scale;
    for (const [name, value] of Object.entries({ x, y, w: this.width, h: this.height })) parentElement.style.setProperty(`--${name}`, `${value}px`);
    if (this.canvas.width !== wide || this.canvas.height !== high) {
      this.canvas.width = wide;
      this.canvas.height = high;
      this.font = ""; // a canvas of another size has forgotten all
      this.stood = null;
    }
    this.context.setTransform(scale, 0, 0, scale, 0, 0);
    this.unit = parseFloat(getComputedStyle(document.documentElement).fontSize) / 16; // what is 1 px on a usual screen
  }

  // What is left within margins, in whole pixels; null where that is too little to draw in.
  inside(edge) {
    const { unit, scale } = this;
    const whole = (at) => Math.round(at * scale) / scale;
    const [x, y] = [whole(edge.left * unit), whole(edge.top * unit)];
    const inner = { x, y, width: whole(this.width - edge.right * unit) - x, height: whole(this.height - edge.bottom * unit) - y };
    return inner.width < 20 || inner.height < 20 ? null : inner;
  }

  write(align, baseline, colour) {
    const font = `${12.5 * this.unit}px system-ui, "DejaVu Sans", sans-serif`;
    if (font !== this.font) this.context.font = this.font = font; // to read a font's name takes as long as to write with it
    Object.assign(this.context, { textAlign: align, textBaseline: baseline, fillStyle: colour });
  }

  clear(x = 0, y = 0, width = this.width, height = this.height) {
    this.context.fillStyle = colours().paper;
    this.context.fillRect(x, y, width, height);
  }

  // Whether what `key` lists, the colours and the canvas are as they were the last time: what follows from them alone,
  // axes say, is drawn still. To write a few numbers takes as long as to draw a hundred curves.
  stands(...key) {
    const all = [colours(), this.canvas.width, this.canvas.height, this.unit, ...key];
    const same = this.stood !== null && all.length === this.stood.length && all.every((part, n) => part === this.stood[n]);
    this.stood = all;
    return same;
  }
}
