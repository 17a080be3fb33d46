// The answers over one column, as a curve: what the plane is for a network of one column of numbers.

import { classColour, colours } from "./colours.js";
import { make } from "./dom.js";
import { PlanePicture } from "./plane.js";

// What a class's rows are scattered by, so that they do not hide one another: of each row its own.
const scattered = (row) => ((row * 0.6180339887) % 1) - 0.5;

export class LinePicture extends PlanePicture {
  draw(model) {
    super.draw(model.points?.axes.length === 1 && model.view.outputs ? { ...model, points: this.placed(model) } : model);
  }

  // The points with a height of their own: a number's is its value; of two classes one lies below, the other above.
  placed({ points, view, ground }) {
    const { kind, name, classes } = ground.target;
    if (this.of === points && kind !== "number") return this.heights;
    let axis = { name: kind === "binary" ? `P(${classes[1]})` : "probability", low: -0.12, high: 1.12, kind: "number" };
    let y = Float32Array.from(points.value, (value, n) => (kind === "binary" ? value : 0) + (value === 1 && kind === "binary" ? 0.06 : -0.06) + scattered(points.row[n]) * 0.08);
    if (kind === "number") {
      y = points.value;
      let [low, high] = [Infinity, -Infinity];
      for (const values of [points.value, view.outputs]) for (const one of values) [low, high] = [Math.min(low, one), Math.max(high, one)];
      const [least, most] = [Math.min(...points.value), Math.max(...points.value)];
      const reach = most - least || 1; // a network that is far off does not press the rows flat
      low = Math.max(low, least - reach);
      high = Math.min(high, most + reach);
      const same = this.of === points && this.heights && Math.abs(this.heights.axes[1].low - low) + Math.abs(this.heights.axes[1].high - high) < 0.02 * reach;
      if (same) return this.heights;
      axis = { name, low: low - 0.05 * reach, high: high + 0.05 * reach, kind: "number" };
    }
    this.of = points;
    this.heights = { ...points, y, axes: [points.axes[0], axis] };
    return this.heights;
  }

  get lines() {
    return true;
  }

  // The curve of every output.
  background(inner) {
    const { view, ground } = this.model;
    const { context, unit } = this.surface;
    const table = colours();
    this.surface.clear(inner.x, inner.y, inner.width, inner.height);
    const several = ground.target.kind === "classes";
    const wide = view.outputs.shape[1];
    const [across] = this.model.points.axes;
    for (let k = 0; k < view.outputs.shape[0]; k += 1) {
      context.beginPath();
      for (let n = 0; n < wide; n += 1) context.lineTo(...this.place(across.low + ((n + 0.5) / wide) * (across.high - across.low), view.outputs[k * wide + n]));
      context.strokeStyle = several ? classColour(k, ground.target.classes.length) : table.strong;
      context.lineWidth = 2.5 * unit;
      context.stroke();
    }
    if (ground.target.kind !== "binary") return;
    context.beginPath();
    const half = this.place(across.low, 0.5)[1];
    context.moveTo(inner.x, half);
    context.lineTo(inner.x + inner.width, half);
    context.lineWidth = 1;
    context.strokeStyle = table.line;
    context.stroke();
  }

  // Where the decision changes, between two points of the line.
  boundary() {
    const { view, ground, points } = this.model;
    if (ground.target.kind === "number") return;
    const { context, unit } = this.surface;
    const [count, wide] = view.logits.shape;
    const [across, up] = points.axes;
    const best = (n) => {
      if (count === 1) return view.logits[n] > 0 ? 1 : 0;
      let found = 0;
      for (let k = 1; k < count; k += 1) if (view.logits[k * wide + n] > view.logits[found * wide + n]) found = k;
      return found;
    };
    const lead = (k, j, n) => (count === 1 ? view.logits[n] : view.logits[k * wide + n] - view.logits[j * wide + n]);
    context.beginPath();
    for (let n = 0; n + 1 < wide; n += 1) {
      const [k, j] = [best(n), best(n + 1)];
      if (k === j) continue;
      const [h0, h1] = [lead(k, j, n), lead(k, j, n + 1)];
      const x = across.low + ((n + 0.5 + h0 / (h0 - h1)) / wide) * (across.high - across.low);
      context.moveTo(...this.place(x, up.low));
      context.lineTo(...this.place(x, up.high));
    }
    context.setLineDash([5 * unit, 4 * unit]);
    context.lineWidth = 2 * unit;
    context.strokeStyle = colours().ink;
    context.stroke();
    context.setLineDash([]);
  }

  explain() {
    const before = this.explained;
    super.explain();
    if (before === this.explained) return;
    const { ground } = this.model;
    const said = {
      binary: `The curve is ${this.model.points.axes[1].name}; the broken line is where the decision changes. `,
      classes: "A curve is the probability of its class; broken lines are where the decision changes. ",
      number: `The curve is what is predicted. `,
    }[ground.target.kind];
    this.legend.prepend(make("span", {}, said));
  }
}
