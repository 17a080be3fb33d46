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

// Calls `resized` when its size in CSS pixels is another, first at once, and keeps the canvas's own pixels in step: one
// of its pixels is one of the screen's, or else the browser had to scale it anew in every frame.
export class Surface {
  constructor(canvas, resized) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false }); // what lies beneath need not be drawn then
    this.font = "";
    this.stood = null;
    const observer = new ResizeObserver(([entry]) => {
      this.fit(entry.devicePixelContentBoxSize?.[0]);
      resized();
    });
    try {
      observer.observe(canvas, { box: "device-pixel-content-box" });
    } catch { // a browser that does not tell
      observer.observe(canvas);
    }
    this.fit();
  }

  // `pixels` are the screen's that the canvas covers, where that is known.
  fit(pixels) {
    const box = this.canvas.parentElement.getBoundingClientRect();
    const scale = window.devicePixelRatio || 1;
    const [wide, high] = [pixels?.inlineSize || Math.round(box.width * scale) || 1, pixels?.blockSize || Math.round(box.height * scale) || 1];
    this.width = wide / scale;
    this.height = high / scale;
    if (this.canvas.width !== wide || this.canvas.height !== high) {
      this.canvas.width = wide;
      this.canvas.height = high;
      this.font = ""; // a canvas of another size has forgotten all
      this.stood = null;
    }
    this.context.setTransform(scale, 0, 0, scale, 0, 0);
    this.unit = parseFloat(getComputedStyle(document.documentElement).fontSize) / 16; // what is 1 px on a usual screen
  }

  // What is left within margins; null where that is too little to draw in.
  inside(edge) {
    const { unit } = this;
    const inner = { x: edge.left * unit, y: edge.top * unit, width: this.width - (edge.left + edge.right) * unit, height: this.height - (edge.top + edge.bottom) * unit };
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
