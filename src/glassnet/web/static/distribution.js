// The scores of all starts, a dot for each: a result is a distribution.

import { colours } from "./colours.js";
import { Surface, make, say } from "./dom.js";
import { significant, ticks } from "./numbers.js";

const EDGE = { left: 10, right: 10, top: 8, bottom: 26 };

export class DistributionPicture {
  // `chosen(start)` is told a start.
  constructor(card, chosen) {
    this.box = card.querySelector(".picture");
    this.readout = card.querySelector("output");
    this.title = card.querySelector("h2");
    this.chosen = chosen;
    this.canvas = make("canvas", { tabindex: "0", role: "slider", "aria-label": "Start, by its score", "aria-valuemin": "0" });
    this.box.append(this.canvas);
    this.surface = new Surface(this.canvas, () => this.model && this.paint());
    this.at = -1;
    this.canvas.addEventListener("pointermove", (event) => this.point(this.nearest(event)));
    this.canvas.addEventListener("pointerleave", () => this.point(-1));
    this.canvas.addEventListener("click", (event) => {
      const start = this.nearest(event);
      if (start >= 0) this.chosen(start);
    });
    this.canvas.addEventListener("keydown", (event) => this.moved(event));
  }

  draw(model) {
    this.model = model;
    this.paint();
  }

  // Where every start's dot lies: in bins as wide as some dots, as large as the fullest bin allows.
  layout() {
    const { starts } = this.model;
    const inner = this.surface.inside(EDGE);
    if (!inner) return null;
    const { unit } = this.surface;
    const scores = Array.from(starts.numbers, (start) => starts.scores[start]);
    const finite = scores.filter(Number.isFinite);
    const accuracy = starts.score === "accuracy";
    // Whole per cent, so that the axis stands still while the dots move.
    let [low, high] = accuracy ? [Math.floor(Math.min(...finite) * 100) / 100, Math.ceil(Math.max(...finite) * 100) / 100] : [Math.min(...finite), this.reach(finite)];
    if (!(high - low > 1e-9)) [low, high] = [low - 0.05, low + 0.05];
    const bins = Math.max(10, Math.min(40, Math.round(inner.width / (16 * unit))));
    const counts = new Int32Array(bins);
    const bin = Int32Array.from(scores, (score) => Math.max(0, Math.min(bins - 1, Math.floor(((Number.isFinite(score) ? score : high) - low) / (high - low) * bins))));
    for (const one of bin) counts[one] += 1;
    const wide = inner.width / bins;
    const fullest = Math.max(...counts);
    let size = Math.min(wide - 1, 12 * unit);
    while (size > 2 && Math.floor(wide / size) * Math.floor(inner.height / size) < fullest) size -= 0.25;
    const beside = Math.max(1, Math.floor(wide / size));
    const seen = new Int32Array(bins);
    const dots = []; // by the starts' numbers
    bin.forEach((one, k) => {
      const n = seen[one];
      seen[one] += 1;
      dots[starts.numbers[k]] = [inner.x + one * wide + ((n % beside) + 0.5) * size, inner.y + inner.height - (Math.floor(n / beside) + 0.5) * size];
    });
    return { inner, low, high, dots, size: Math.max(1, size / 2 - 0.5) };
  }

  // Up to nearly the worst: a start that diverged would leave no room for the others.
  reach(finite) {
    const sorted = finite.slice().sort((one, other) => one - other);
    return (sorted[Math.floor(sorted.length * 0.98)] ?? 1) * 1.1 || 1;
  }

  paint() {
    const { surface, model } = this;
    const { starts, view } = model;
    const { context } = surface;
    const table = colours();
    this.shape = this.layout();
    if (!this.shape) return;
    const { inner, low, high, dots, size } = this.shape;
    const { unit } = surface;
    if (surface.stands(low, high, starts.score)) surface.clear(0, 0, surface.width, inner.y + inner.height + 4 * unit);
    else {
      surface.clear();
      this.axis(inner, low, high, table);
    }
    const fill = (which, colour, grown = 0) => {
      context.beginPath();
      for (const start of which) {
        const [x, y] = dots[start];
        context.moveTo(x + size + grown, y);
        context.arc(x, y, size + grown, 0, 7);
      }
      context.fillStyle = colour;
      context.fill();
    };
    const well = [];
    const ill = [];
    for (const start of starts.numbers) {
      const [dead, stuck, diverged] = starts.ails.subarray(start * 3, start * 3 + 3);
      (dead >= 0 || stuck >= 0 || diverged >= 0 ? ill : well).push(start);
    }
    fill(ill, table.line);
    fill(well, table.muted);
    if (this.at >= 0 && dots[this.at]) fill([this.at], table.ink, 1.5 * unit);
    fill([view.start], table.strong, 2 * unit);
    context.strokeStyle = table.line;
    context.beginPath();
    context.moveTo(inner.x, inner.y + inner.height + 0.5);
    context.lineTo(inner.x + inner.width, inner.y + inner.height + 0.5);
    context.stroke();
  }

  axis(inner, low, high, table) {
    const { context, unit } = this.surface;
    const { starts } = this.model;
    this.surface.write("center", "top", table.muted);
    const share = starts.score === "accuracy" ? 100 : 1;
    for (const { value, text } of ticks(low * share, high * share, Math.min(6, inner.width / (80 * unit)))) {
      const x = inner.x + ((value / share - low) / (high - low)) * inner.width;
      if (x > inner.x + 14 && x < inner.x + inner.width - 16) context.fillText(share === 1 ? text : `${text} %`, x, inner.y + inner.height + 6 * unit);
    }
  }

  nearest(event) {
    if (!this.shape) return -1;
    const box = this.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let [best, distance] = [-1, 400];
    this.shape.dots.forEach(([a, b], start) => {
      const far = (a - x) ** 2 + (b - y) ** 2;
      if (far < distance) [best, distance] = [start, far];
    });
    return best;
  }

  point(start) {
    if (start === this.at) return;
    this.at = start;
    if (!this.model) return;
    this.paint();
    this.tell();
  }

  // The spread, and what is known of the start that is pointed at or chosen.
  tell() {
    const { starts, view } = this.model;
    const start = starts.numbers.includes(this.at) ? this.at : view.start;
    const sorted = Float64Array.from(starts.numbers, (one) => starts.scores[one]).filter(Number.isFinite).sort();
    const at = (share) => sorted[Math.round(share * (sorted.length - 1))] ?? NaN;
    const written = (value) => (starts.score === "accuracy" ? `${significant(value * 100, 3)} %` : significant(value));
    const why = starts.settled ? "kept for its lowest training loss" : "trained first";
    const kept = start === starts.kept ? `, ${why}` : "";
    const text = `Start ${start}${kept}: ${written(starts.scores[start])}${this.ails(start)}. Half of ${starts.done < starts.size ? "those trained so far" : "all starts"} lie between ${written(at(0.25))} and ${written(at(0.75))}.`;
    say(this.readout, text);
    say(this.title, `${starts.scored === "test" ? "Test" : "Training"} ${starts.score === "accuracy" ? "accuracy" : "error (RMSE)"} of every start`);
  }

  ails(start) {
    const [dead, stuck, diverged] = this.model.starts.ails.subarray(start * 3, start * 3 + 3);
    if (diverged >= 0) return `; diverged at step ${diverged}`;
    if (stuck >= 0) return `; one class for every row since epoch ${stuck}`;
    return dead >= 0 ? `; a dead unit since epoch ${dead}` : "";
  }

  label() {
    const { starts, view } = this.model;
    this.canvas.setAttribute("aria-valuemax", String(starts.size - 1));
    this.canvas.setAttribute("aria-valuenow", String(view.start));
    this.canvas.setAttribute("aria-valuetext", `start ${view.start}, ${significant(starts.scores[view.start])}`);
  }

  // Arrows go from start to start in the order of their scores.
  moved(event) {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!this.model || !step) return;
    event.preventDefault();
    const { starts, view } = this.model;
    const order = Array.from(starts.numbers).sort((a, b) => starts.scores[a] - starts.scores[b] || a - b);
    this.chosen(order[Math.max(0, Math.min(order.length - 1, order.indexOf(view.start) + step))]);
  }
}
