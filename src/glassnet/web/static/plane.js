// The plane of two columns: what the network answers, where its decision changes, and the rows of the table.

import { classColour, colours, diverging, drawGrid, pixelwise, shaded } from "./colours.js";
import { Surface, make, say } from "./dom.js";
import { dateOf, significant, ticks } from "./numbers.js";

const EDGE = { right: 10, top: 6, bottom: 26 };
const NEAR = 14; // pixels within which a row is meant

const written = (axis, value, text) => (axis.kind === "date" ? dateOf(value) : text);

export class PlanePicture {
  // `chosen(row)` is told a row of the table.
  constructor(card, chosen) {
    this.box = card.querySelector(".picture");
    this.readout = card.querySelector("output");
    this.legend = card.querySelector(".scale");
    this.nothing = card.querySelector(".nothing");
    this.chosen = chosen;
    this.canvas = make("canvas", { tabindex: "0", role: "application", "aria-label": "The rows in the plane: arrow keys move from row to row." });
    this.box.append(this.canvas);
    this.surface = new Surface(this.canvas, () => this.model && this.paint());
    this.at = -1; // of the drawn rows, the one that is pointed at
    this.canvas.addEventListener("pointermove", (event) => this.point(this.nearest(event)));
    this.canvas.addEventListener("pointerleave", () => this.point(-1));
    this.canvas.addEventListener("click", (event) => this.choose(this.nearest(event)));
    this.canvas.addEventListener("keydown", (event) => this.moved(event));
    this.canvas.addEventListener("blur", () => this.point(-1));
  }

  get inner() {
    const { points } = this.model;
    if (this.measured !== points) {
      // As much room on the left as the widest number, or a date, needs.
      const [, up] = points.axes;
      this.surface.write("right", "middle", "");
      const wide = ticks(up.low, up.high).map((tick) => this.surface.context.measureText(written(up, tick.value, tick.text)).width);
      this.measured = points;
      this.left = Math.max(24, ...wide) / this.surface.unit + 10;
    }
    return this.surface.inside({ ...EDGE, left: this.left });
  }

  place(x, y) {
    const [across, up] = this.model.points.axes;
    const inner = this.inner;
    return [
      inner.x + ((x - across.low) / (across.high - across.low)) * inner.width,
      inner.y + inner.height - ((y - up.low) / (up.high - up.low)) * inner.height,
    ];
  }

  // The column and the height of a place on the page; null beside the plane.
  valueAt(event) {
    const inner = this.model?.points ? this.inner : null;
    if (!inner) return null;
    const box = this.canvas.getBoundingClientRect();
    const [across, up] = this.model.points.axes;
    const x = (event.clientX - box.left - inner.x) / inner.width;
    const y = (inner.y + inner.height - (event.clientY - box.top)) / inner.height;
    if (!(x >= 0 && x <= 1 && y >= 0 && y <= 1)) return null;
    return [across.low + x * (across.high - across.low), up.low + y * (up.high - up.low)];
  }

  draw(model) {
    this.model = model;
    const drawn = Boolean(model.points && model.view.outputs);
    this.box.hidden = !drawn;
    this.nothing.hidden = drawn;
    if (!drawn) {
      say(this.nothing, "The plane lies over columns of numbers, and this network has none. Choose another feature.");
      this.legend.replaceChildren();
      this.explained = null;
      return;
    }
    this.paint();
    this.explain();
  }

  paint() {
    const { model, surface } = this;
    if (!model.points || !model.view.outputs) return;
    const { context } = surface;
    const { inner } = this;
    if (!inner) return;
    if (!surface.stands(model.points, inner.x)) {
      surface.clear();
      this.axes(colours());
    }
    context.save();
    context.beginPath();
    context.rect(inner.x, inner.y, inner.width, inner.height);
    context.clip();
    this.background(inner);
    this.boundary();
    this.rows();
    context.restore();
    context.strokeStyle = colours().line;
    context.lineWidth = 1;
    context.strokeRect(inner.x + 0.5, inner.y + 0.5, inner.width - 1, inner.height - 1);
  }

  background(inner) {
    drawGrid(this.surface.context, this.model.view.outputs.shape[1], this.fill(), inner.x, inner.y, inner.width, inner.height);
  }

  // The colours of the grid's points, as `drawGrid` wants them.
  fill() {
    const { view, ground } = this.model;
    const table = colours();
    const { outputs } = view;
    if (ground.target.kind === "binary") return shaded(outputs, 2, -1);
    if (ground.target.kind === "number") {
      const [middle, reach] = this.span();
      return shaded(outputs, 1 / reach, -middle / reach);
    }
    const [count, side] = outputs.shape;
    const whole = side * side;
    return pixelwise((n) => {
      let best = 0;
      for (let k = 1; k < count; k += 1) if (outputs[k * whole + n] > outputs[best * whole + n]) best = k;
      return table.fading[best % table.fading.length][Math.round(Math.max(0, Math.min(1, outputs[best * whole + n])) * 256)];
    });
  }

  // The middle and the reach of a number's colours: those of the rows' own values.
  span() {
    const { value } = this.model.points;
    if (this.spanOf !== value) {
      let [low, high] = [Infinity, -Infinity];
      for (const one of value) [low, high] = [Math.min(low, one), Math.max(high, one)];
      this.spanOf = value;
      this.kept = [(low + high) / 2, (high - low) / 2 || 1];
    }
    return this.kept;
  }

  boundary() {
    const { view, ground } = this.model;
    if (ground.target.kind === "number") return;
    const { context } = this.surface;
    context.beginPath();
    if (view.boundary) {
      for (let n = 0; n < view.boundary.length; n += 4) {
        context.moveTo(...this.place(view.boundary[n], view.boundary[n + 1]));
        context.lineTo(...this.place(view.boundary[n + 2], view.boundary[n + 3]));
      }
    } else this.contours();
    context.lineWidth = 2 * this.surface.unit;
    context.strokeStyle = colours().ink;
    context.stroke();
  }

  // Where the largest logit changes hands, between the points of the grid.
  contours() {
    const { logits } = this.model.view;
    const [count, side] = logits.shape;
    const whole = side * side;
    const height = (k, n) => {
      if (count === 1) return logits[n];
      let other = -Infinity;
      for (let j = 0; j < count; j += 1) if (j !== k) other = Math.max(other, logits[j * whole + n]);
      return logits[k * whole + n] - other;
    };
    const { context } = this.surface;
    const inner = this.inner;
    const at = (column, row) => [inner.x + ((column + 0.5) / side) * inner.width, inner.y + inner.height - ((row + 0.5) / side) * inner.height];
    for (let k = 0; k < (count === 1 ? 1 : count); k += 1) {
      for (let row = 0; row + 1 < side; row += 1) {
        for (let column = 0; column + 1 < side; column += 1) {
          const n = row * side + column;
          const corners = [[column, row, n], [column + 1, row, n + 1], [column + 1, row + 1, n + side + 1], [column, row + 1, n + side]].map(([x, y, m]) => [x, y, height(k, m)]);
          const cuts = [];
          for (let c = 0; c < 4; c += 1) {
            const [[x0, y0, h0], [x1, y1, h1]] = [corners[c], corners[(c + 1) % 4]];
            if (h0 > 0 !== h1 > 0) cuts.push(at(x0 + ((x1 - x0) * h0) / (h0 - h1), y0 + ((y1 - y0) * h0) / (h0 - h1)));
          }
          for (let c = 0; c + 1 < cuts.length; c += 2) {
            context.moveTo(...cuts[c]);
            context.lineTo(...cuts[c + 1]);
          }
        }
      }
    }
  }

  // Training rows are discs, test rows diamonds; a ring is around what is classified wrongly.
  rows() {
    const { points, view, row } = this.model;
    const { context } = this.surface;
    const table = colours();
    this.discs();
    context.drawImage(this.layer, 0, 0, this.surface.width, this.surface.height);
    const ring = (n, radius) => {
      const [x, y] = this.place(points.x[n], points.y[n]);
      context.moveTo(x + radius, y);
      context.arc(x, y, radius, 0, 7);
    };
    context.beginPath();
    if (view.wrong) for (let n = 0; n < points.row.length; n += 1) if (view.wrong[n]) ring(n, this.size + 3);
    context.lineWidth = 1;
    context.strokeStyle = table.ink;
    context.stroke();
    context.strokeStyle = table.strong;
    for (const [n, width] of [[this.at, 2], [points.row.indexOf(row), 3]]) {
      if (n < 0) continue;
      context.beginPath();
      ring(n, this.size + 5);
      context.lineWidth = width;
      context.stroke();
    }
  }

  get size() {
    const room = Math.sqrt(this.surface.width * this.surface.height) / 400; // 1 on a plane of usual size
    return (this.model.points.row.length > 800 ? 2 : 2.8) * Math.max(0.8, Math.min(2.4, room));
  }

  // The rows themselves do not move while a network learns: they are drawn once.
  discs() {
    const { points, ground } = this.model;
    const { canvas } = this.surface;
    const table = colours();
    if (this.drawn === points && this.layer.width === canvas.width && this.layer.height === canvas.height && this.table === table) return;
    Object.assign(this, { drawn: points, table, layer: new OffscreenCanvas(canvas.width, canvas.height) });
    const context = this.layer.getContext("2d");
    const scale = canvas.width / this.surface.width;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    // A number's row has the colour of the plane itself where the network is right.
    context.lineWidth = 0.7;
    context.strokeStyle = ground.target.kind === "number" ? table.ink : table.paper;
    const { size } = this;
    for (let n = 0; n < points.row.length; n += 1) {
      const [x, y] = this.place(points.x[n], points.y[n]);
      context.beginPath();
      if (points.tested[n]) {
        context.moveTo(x, y - size * 1.6);
        context.lineTo(x + size * 1.6, y);
        context.lineTo(x, y + size * 1.6);
        context.lineTo(x - size * 1.6, y);
        context.closePath();
      } else context.arc(x, y, size, 0, 7);
      context.fillStyle = ground.target.kind === "number" ? this.shade(points.value[n]) : classColour(points.value[n], ground.target.classes.length);
      context.fill();
      context.stroke();
      if (!points.by_hand?.[n]) continue;
      context.save();
      context.strokeStyle = table.strong;
      context.lineWidth = 2;
      context.stroke();
      context.restore();
    }
  }

  shade(value) {
    const [middle, reach] = this.span();
    const one = diverging(colours().diverging, (value - middle) / reach);
    return `rgb(${one & 255} ${(one >> 8) & 255} ${(one >> 16) & 255})`;
  }

  axes(table) {
    const { context } = this.surface;
    const inner = this.inner;
    const { unit } = this.surface;
    const [across, up] = this.model.points.axes;
    this.surface.write("center", "top", table.muted);
    for (const tick of ticks(across.low, across.high, Math.min(6, inner.width / (80 * unit)))) context.fillText(written(across, tick.value, tick.text), this.place(tick.value, up.low)[0], inner.y + inner.height + 5 * unit);
    this.surface.write("right", "middle", table.muted);
    for (const tick of ticks(up.low, up.high, Math.min(6, inner.height / (45 * unit)))) context.fillText(written(up, tick.value, tick.text), inner.x - 6 * unit, this.place(across.low, tick.value)[1]);
  }

  // What shapes and colours stand for.
  explain() {
    const { ground, points } = this.model;
    const { target } = ground;
    if (this.explained === points && this.explainedIn === colours()) return;
    Object.assign(this, { explained: points, explainedIn: colours() });
    const shapes = "Discs are training rows, diamonds test rows. ";
    if (target.kind === "number") {
      const [middle, reach] = this.span();
      this.legend.replaceChildren(`${shapes}Orange is ${significant(middle - reach)}, blue ${significant(middle + reach)} ${target.name}.`);
      return;
    }
    const names = target.classes.slice(0, 8).map((name, k) => {
      const element = make("strong", {}, `${name} `);
      element.style.color = classColour(k, target.classes.length);
      return element;
    });
    const more = target.classes.length > 8 ? "; further classes share these colours" : "";
    this.legend.replaceChildren(`${shapes}A ring is around a row that is decided wrongly. Colours: `, ...names, more);
  }

  nearest(event) {
    if (!this.model?.points || !this.inner) return -1;
    const box = this.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let [best, distance] = [-1, (NEAR * this.surface.unit) ** 2];
    const { points } = this.model;
    for (let n = 0; n < points.row.length; n += 1) {
      const [a, b] = this.place(points.x[n], points.y[n]);
      const far = (a - x) ** 2 + (b - y) ** 2;
      if (far < distance) [best, distance] = [n, far];
    }
    return best;
  }

  point(n) {
    if (n === this.at) return;
    this.at = n;
    this.paint();
    this.tell();
  }

  choose(n) {
    if (n >= 0) this.chosen(this.model.points.row[n]);
  }

  // What is known of the row that is pointed at, or chosen.
  tell() {
    const { points, view, ground, row } = this.model;
    if (!points || !view.outputs) return;
    const n = this.at >= 0 ? this.at : points.row.indexOf(row);
    if (n < 0) {
      say(this.readout, "Point at a row to read it, click to see it worked out.");
      return;
    }
    const [across, up] = points.axes;
    const shown = (axis, value) => (Number.isNaN(value) ? "missing" : written(axis, value, significant(value, 4)));
    const { target } = ground;
    let said = `Row ${points.row[n]} (${points.tested[n] ? "test" : "training"}): ${across.name} ${shown(across, points.x[n])}${this.lines ? "" : `, ${up.name} ${shown(up, points.y[n])}`}; `;
    if (target.kind === "number") said += `${target.name} ${significant(points.value[n], 4)}, predicted ${significant(view.answers[n], 4)}`;
    else if (target.kind === "binary") said += `it is ${target.classes[points.value[n]]}, P(${target.classes[1]}) ${significant(view.answers[n])}`;
    else {
      const count = target.classes.length;
      const chances = Array.from(view.answers.subarray(n * count, (n + 1) * count));
      const best = chances.indexOf(Math.max(...chances));
      said += `it is ${target.classes[points.value[n]]}, most probable is ${target.classes[best]}, ${significant(chances[best])}`;
    }
    say(this.readout, said);
  }

  moved(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, PageDown: 20, PageUp: -20 }[event.key];
    if (!this.model?.points) return;
    const count = this.model.points.row.length;
    if (step) {
      event.preventDefault();
      this.point((Math.max(this.at, -1) + step + count) % count);
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.choose(this.at);
    }
  }
}
