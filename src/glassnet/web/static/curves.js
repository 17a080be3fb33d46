// The learning curves of all starts, the chosen one strong, and the epoch that is looked at.

import { colours } from "./colours.js";
import { Surface, make } from "./dom.js";
import { ticks } from "./numbers.js";

const EDGE = { left: 40, right: 16, top: 8, bottom: 26 };

export class CurvesPicture {
  // `scrubbed(epoch)` is told an epoch.
  constructor(card, scrubbed) {
    this.canvas = make("canvas", { "aria-hidden": "true" });
    this.box = card.querySelector(".picture");
    this.box.append(this.canvas);
    this.surface = new Surface(this.canvas, () => this.model && this.paint());
    this.scrubbed = scrubbed;
    const pull = (event) => {
      if (event.buttons !== 1 || !this.model) return;
      const inner = this.surface.inside(EDGE);
      if (!inner) return;
      const part = (event.clientX - this.canvas.getBoundingClientRect().left - inner.x) / inner.width;
      this.scrubbed(Math.round(Math.max(0, Math.min(1, part)) * this.epochs));
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      pull(event);
    });
    this.canvas.addEventListener("pointermove", pull);
  }

  get epochs() {
    const { epochs } = this.model.starts;
    return epochs[epochs.length - 1];
  }

  draw(model) {
    this.model = model;
    this.paint();
  }

  paint() {
    const { surface } = this;
    const { starts, view } = this.model;
    const { context } = surface;
    const table = colours();
    const inner = surface.inside(EDGE);
    if (!inner) return;
    const { unit } = surface;
    const points = starts.epochs.length;
    // Up to where nine starts of ten begin; the others come in from above.
    const begun = Float32Array.from({ length: starts.done }, (_, start) => starts.losses[start * points]).filter(Number.isFinite).sort();
    const top = Math.max(1e-12, begun[Math.floor(begun.length * 0.9)] ?? 1) * 1.05;
    const last = Math.max(1, this.epochs);
    const x = (epoch) => inner.x + (epoch / last) * inner.width;
    const y = (loss) => inner.y + inner.height - Math.min(loss / top, 1.02) * inner.height;
    const across = Float32Array.from(starts.epochs, x);
    surface.clear();
    context.save();
    context.beginPath();
    context.rect(inner.x, inner.y, inner.width, inner.height);
    context.clip();
    this.others(inner, top, table.muted);
    context.lineJoin = "round";
    context.strokeStyle = table.strong;
    context.lineWidth = 2.5 * unit;
    context.beginPath();
    const curve = view.curve ?? starts.losses.subarray(view.start * points, (view.start + 1) * points);
    for (let n = 0; n < points && Number.isFinite(curve[n]); n += 1) context.lineTo(across[n], y(curve[n]));
    context.stroke();
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(x(view.epoch), inner.y);
    context.lineTo(x(view.epoch), inner.y + inner.height);
    context.stroke();
    context.restore();
    if (view.loss !== null) {
      context.beginPath();
      context.arc(x(view.epoch), y(view.loss), 4 * unit, 0, 7);
      context.fillStyle = table.strong;
      context.fill();
    }
    context.strokeStyle = table.line;
    context.lineWidth = 1;
    context.strokeRect(inner.x + 0.5, inner.y + 0.5, inner.width - 1, inner.height - 1);
    surface.write("center", "top", table.muted);
    for (const { value, text } of ticks(0, last, 5)) if (Number.isInteger(value)) context.fillText(text, x(value), inner.y + inner.height + 5 * unit);
    surface.write("right", "middle", table.muted);
    for (const { value, text } of ticks(0, top, 4)) context.fillText(text, inner.x - 6 * unit, y(value));
  }

  // All other curves, as the share of each pixel that they cover: some hundred paths would take longer than a frame.
  others(inner, top, colour) {
    const { starts, view } = this.model;
    const { context } = this.surface;
    const scale = window.devicePixelRatio || 1;
    const [wide, high] = [Math.round(inner.width * scale), Math.round(inner.height * scale)];
    if (this.covered?.length !== wide * high) {
      this.covered = new Float32Array(wide * high);
      this.image = new ImageData(wide, high);
      this.layer = new OffscreenCanvas(wide, high);
    }
    const { covered } = this;
    covered.fill(0);
    const points = starts.epochs.length;
    const last = Math.max(1, this.epochs);
    for (let start = 0; start < starts.done; start += 1) {
      if (start === view.start) continue;
      let before = NaN;
      let n = 1;
      for (let column = 0; column < wide; column += 1) {
        const epoch = (column / (wide - 1)) * last;
        while (n < points - 1 && starts.epochs[n] < epoch) n += 1;
        const part = (epoch - starts.epochs[n - 1]) / (starts.epochs[n] - starts.epochs[n - 1] || 1);
        const at = start * points + n;
        const loss = starts.losses[at - 1] + (starts.losses[at] - starts.losses[at - 1]) * Math.min(1, part);
        if (!(loss < Infinity)) break;
        const here = Math.max(-2, (1 - loss / top) * (high - 1));
        const [low, up] = before < here ? [before, here] : [here, Number.isNaN(before) ? here : before];
        before = here;
        for (let row = Math.max(0, Math.floor(low)); row <= Math.min(high - 1, Math.ceil(up)); row += 1) {
          const share = Math.min(1, row - low + 1, up + 1 - row);
          if (share > 0) covered[row * wide + column] += share;
        }
      }
    }
    const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    const strength = Math.max(0.12, Math.min(0.6, 18 / starts.done)) * 255;
    const words = new Uint32Array(this.image.data.buffer);
    const word = (blue << 16) | (green << 8) | red;
    for (let n = 0; n < covered.length; n += 1) words[n] = covered[n] === 0 ? 0 : (Math.min(235, covered[n] * strength) << 24) | word;
    this.layer.getContext("2d", { willReadFrequently: true }).putImageData(this.image, 0, 0);
    context.drawImage(this.layer, inner.x, inner.y, inner.width, inner.height);
  }
}
