// The learning curves of all starts, the chosen one strong, and the epoch that is looked at.

import { colours } from "./colours.js";
import { Surface, make } from "./dom.js";
import { ticks } from "./numbers.js";

const EDGE = { left: 40, right: 16, top: 8, bottom: 26 };
const MOST_COLUMNS = 640; // of pixels, before fewer are drawn and the picture is stretched

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
    const begun = Float32Array.from(starts.numbers, (start) => starts.losses[start * points]).filter(Number.isFinite).sort();
    const top = Math.max(1e-12, begun[Math.floor(begun.length * 0.9)] ?? 1) * 1.05;
    const last = Math.max(1, this.epochs);
    const x = (epoch) => inner.x + (epoch / last) * inner.width;
    const y = (loss) => inner.y + inner.height - Math.min(loss / top, 1.02) * inner.height;
    const across = Float32Array.from(starts.epochs, x);
    if (surface.stands(top, last)) {
      const edge = 4.5 * unit; // as far as the dot reaches
      surface.clear(inner.x - edge, inner.y - edge, inner.width + 2 * edge, inner.height + 2 * edge);
    } else {
      surface.clear();
      surface.write("center", "top", table.muted);
      for (const { value, text } of ticks(0, last, 5)) if (Number.isInteger(value)) context.fillText(text, x(value), inner.y + inner.height + 5 * unit);
      surface.write("right", "middle", table.muted);
      for (const { value, text } of ticks(0, top, 4)) context.fillText(text, inner.x - 6 * unit, y(value));
    }
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
  }

  // All other curves, as the share of each pixel that they cover: some hundred paths would take longer than a frame.
  others(inner, top, colour) {
    const { starts, view } = this.model;
    const { losses, epochs } = starts;
    const { scale } = this.surface;
    // Pixel for pixel where there are few. Else two columns between two epochs that the server sends are enough, for a
    // curve is a straight line there.
    const [wide, high] = [Math.min(Math.round(inner.width * scale), Math.max(MOST_COLUMNS, 2 * epochs.length)), Math.round(inner.height * scale)];
    if (this.image?.width !== wide || this.image.height !== high) {
      this.changes = new Float32Array(wide * (high + 2));
      this.covered = new Float32Array(wide);
      this.pixels = new Uint32Array(wide); // of the row that is drawn
      this.image = new ImageData(wide, high);
      this.words = new Uint32Array(this.image.data.buffer);
      this.layer = new OffscreenCanvas(wide, high).getContext("2d", { willReadFrequently: true });
    }
    const { changes, covered, pixels, words } = this;
    const others = starts.numbers.filter((start) => start !== view.start).map((start) => start * epochs.length);
    const last = Math.max(1, this.epochs);
    const before = new Float32Array(others.length).fill(NaN);
    const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    const word = (blue << 16) | (green << 8) | red;
    const strength = Math.max(0.12, Math.min(0.6, 18 / others.length)) * 255;
    const [steep, foot] = [-(high - 1) / top, high - 1]; // a loss lies at steep * loss + foot
    changes.fill(0);
    for (let column = 0, n = 1; column < wide; column += 1) {
      const epoch = (column / (wide - 1)) * last;
      while (n < epochs.length - 1 && epochs[n] < epoch) n += 1;
      const part = Math.min(1, (epoch - epochs[n - 1]) / (epochs[n] - epochs[n - 1] || 1));
      // Where, going down the column, more or fewer curves cover a pixel: each from where the column before was left.
      for (let k = 0; k < others.length; k += 1) {
        const at = others[k] + n;
        const here = steep * (losses[at - 1] + (losses[at] - losses[at - 1]) * part) + foot;
        if (!(here > -Infinity)) continue;
        const then = before[k];
        before[k] = here;
        const from = Math.max(0, then < here ? then : here);
        const to = Math.min(high, (then > here ? then : here) + 1);
        if (to <= from) continue;
        const first = from | 0;
        const end = to | 0;
        const above = first * wide + column;
        const below = end * wide + column;
        changes[above] += 1 - (from - first);
        changes[above + wide] += from - first;
        changes[below] -= 1 - (to - end);
        changes[below + wide] -= to - end;
      }
    }
    covered.fill(0);
    pixels.fill(word);
    for (let at = 0; at < words.length; at += wide) {
      for (let column = 0; column < wide; column += 1) {
        const change = changes[at + column];
        if (change !== 0) {
          covered[column] += change;
          pixels[column] = (Math.min(235, covered[column] * strength) << 24) | word;
        }
        words[at + column] = pixels[column];
      }
    }
    this.layer.putImageData(this.image, 0, 0);
    this.surface.context.drawImage(this.layer.canvas, inner.x, inner.y, inner.width, inner.height);
  }
}
