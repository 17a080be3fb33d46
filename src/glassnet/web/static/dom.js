// Elements, and canvases that are as large as what they lie in.

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

// Calls `resized` with the size in CSS pixels, first at once, and keeps the canvas's own pixels in step.
export class Surface {
  constructor(canvas, resized) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    new ResizeObserver(() => {
      this.fit();
      resized();
    }).observe(canvas.parentElement);
    this.fit();
  }

  fit() {
    const box = this.canvas.parentElement.getBoundingClientRect();
    this.width = Math.max(1, box.width);
    this.height = Math.max(1, box.height);
    const scale = window.devicePixelRatio || 1;
    const [wide, high] = [Math.round(this.width * scale), Math.round(this.height * scale)];
    if (this.canvas.width !== wide || this.canvas.height !== high) {
      this.canvas.width = wide;
      this.canvas.height = high;
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
    this.context.font = `${12.5 * this.unit}px system-ui, "DejaVu Sans", sans-serif`;
    Object.assign(this.context, { textAlign: align, textBaseline: baseline, fillStyle: colour });
  }

  clear() {
    this.context.clearRect(0, 0, this.width, this.height);
  }
}
