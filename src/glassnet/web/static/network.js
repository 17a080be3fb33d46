// The network: hue is a weight's sign, width its size; in every unit what it answers over the plane.

import { colours, drawGrid, pixelwise, shaded } from "./colours.js";
import { Surface, make, say, svg } from "./dom.js";
import { significant } from "./numbers.js";

const MOST_DRAWN = 16; // units of a layer; of more, the first ones
const MOST_NUMBERS = 24; // weights up to which each has its number printed
const NARROW = 470; // CSS pixels under which names are short and units near
const TEXT = 14; // units of the drawing that its letters are high

export class NetworkPicture {
  // `chosen(name)` and `pointed(name)` are told names as equations have them: w1_2_1, b1_1, z1_1, x2.
  // `built()` is told that the parts are others now, for those who mark them.
  constructor(card, chosen, pointed, built = () => {}) {
    this.built = built;
    this.box = card.querySelector(".picture");
    this.scaleSaid = card.querySelector(".scale");
    this.chosen = chosen;
    this.pointed = pointed;
    this.canvas = make("canvas");
    this.drawing = svg("svg", { role: "group", "aria-label": "The network: arrow keys move through its units and weights, Enter shows the equation." });
    this.box.append(this.canvas, this.drawing);
    this.surface = new Surface(this.canvas, () => this.model && this.draw(this.model));
    this.key = "";
    this.parts = new Map();
    this.fresh = ""; // what is worked out just now
    this.byHand = []; // names of weights that were set by hand
    this.drawing.addEventListener("keydown", (event) => this.moved(event));
  }

  // Room beneath a layer of which not all units are drawn, to say so.
  get below() {
    return 24;
  }

  // A name in so many units of the drawing, with its middle left out where it is wider; and how wide it is then.
  fitting() {
    const { context } = this.surface;
    context.font = `${TEXT}px ${getComputedStyle(this.drawing).fontFamily}`;
    this.surface.font = ""; // it has another now
    const wide = (text) => context.measureText(text).width;
    return (name, room) => {
      let said = name;
      for (let kept = name.length - 1; wide(said) > room && kept > 1; kept -= 1) {
        const end = Math.floor(kept / 2);
        said = `${name.slice(0, kept - end)}…${name.slice(name.length - end)}`;
      }
      return { said, width: wide(said) };
    };
  }

  // Once for each shape of network.
  build(view, ground, narrow, tallness) {
    const sizes = view.sizes;
    const drawn = sizes.map((size) => Math.min(size, MOST_DRAWN));
    const wide = narrow ? 400 : 640;
    const fitted = this.fitting();
    const named = ground.inputs.slice(0, MOST_DRAWN).map((name) => fitted(name, narrow ? 92 : 176));
    const left = 22 + Math.max(...named.map(({ width }) => width));
    const most = Math.max(...drawn);
    const apart = (wide - 104 - left) / (sizes.length - 1);
    const side = Math.max(24, Math.min(76, Math.round(280 / most), Math.round(apart * 0.5)));
    const below = sizes.some((size, n) => size > drawn[n]) ? this.below : 0;
    const least = Math.max(narrow ? 240 : 330, most * (side + 18) + 20) + below;
    const tall = Math.max(least, wide * tallness); // the room that the card beside it leaves
    const right = wide - 92 - side / 2;
    Object.assign(this, { side, wide });
    const place = (layer, unit) => {
      const x = left + (layer * (right - left)) / (sizes.length - 1);
      return [x, (tall - below) / 2 + (unit - (drawn[layer] - 1) / 2) * Math.min(210, (tall - below - 30) / drawn[layer])];
    };
    this.tall = tall;
    this.units = [];
    this.edges = [];
    this.parts.clear();
    this.lit = ["", ""]; // what is pointed at, and what is chosen
    this.saturated = "";
    this.drawing.replaceChildren();
    this.drawing.setAttribute("viewBox", `0 0 ${wide} ${tall}`);
    this.box.style.aspectRatio = `${wide} / ${least}`;
    const order = [];
    const put = (name, element, described) => {
      const part = { name, element, described };
      this.parts.set(name, part);
      order.push(part);
      element.setAttribute("role", "button");
      element.setAttribute("tabindex", order.length === 1 ? "0" : "-1");
      element.setAttribute("data-name", name);
      element.addEventListener("click", () => this.chosen(name));
      element.addEventListener("pointerenter", () => this.pointed(name));
      element.addEventListener("pointerleave", () => this.pointed(""));
      element.addEventListener("focus", () => this.pointed(name));
      element.addEventListener("blur", () => this.pointed(""));
    };
    const weights = drawn.slice(1).reduce((total, size, n) => total + size * drawn[n], 0);
    this.numbered = weights <= MOST_NUMBERS;
    let at = 0;
    for (let layer = 1; layer < sizes.length; layer += 1) {
      const [before, after] = [sizes[layer - 1], sizes[layer]];
      for (let i = 0; i < drawn[layer - 1]; i += 1) {
        for (let j = 0; j < drawn[layer]; j += 1) {
          const [x0, y0] = place(layer - 1, i);
          const [x1, y1] = place(layer, j);
          const [a, b] = [x0 + (layer > 1 ? side / 2 : 10), x1 - side / 2];
          const ends = { x1: a, y1: y0, x2: b, y2: y1 };
          const label = this.numbered ? svg("text", { class: "number", x: a + (b - a) * 0.3, y: y0 + (y1 - y0) * 0.3 + 4 }) : null;
          const element = svg("g", {}, svg("line", { ...ends, class: "touch" }), ...(label ? [label] : []));
          this.edges.push({ ...ends, label, name: `w${layer}_${i + 1}_${j + 1}`, at: at + i * after + j });
          this.drawing.append(element);
          const from = layer > 1 ? `unit ${i + 1} of layer ${layer - 1}` : ground.inputs[i];
          put(`w${layer}_${i + 1}_${j + 1}`, element, { said: `weight from ${from} to unit ${j + 1} of layer ${layer}`, at: at + i * after + j });
        }
      }
      at += before * after + after;
    }
    let map = 0;
    at = 0;
    for (let layer = 0; layer < sizes.length; layer += 1) {
      for (let j = 0; j < drawn[layer]; j += 1) {
        const [x, y] = place(layer, j);
        if (layer === 0) {
          const text = svg("text", { class: "input", x: x - 2, y: y + 4.5 }, named[j].said);
          text.append(svg("title", {}, ground.inputs[j]));
          const dot = svg("circle", { class: "source", cx: x + 5, cy: y, r: 3.5 });
          const element = svg("g", {}, text, dot);
          this.drawing.append(element);
          put(`x${j + 1}`, element, { said: `input ${ground.inputs[j]}` });
          continue;
        }
        const frame = svg("rect", { class: "unit", x: x - side / 2, y: y - side / 2, width: side, height: side, rx: 5 });
        const bias = svg("text", { class: "bias", x, y: y + side / 2 + 14 });
        const element = svg("g", {}, frame, bias);
        const last = layer === sizes.length - 1;
        if (last) {
          const { classes, name, kind } = ground.target;
          const label = kind === "number" ? name : `P(${kind === "binary" ? classes[1] : classes[j]})`;
          const text = svg("text", { class: "output", x: x + side / 2 + 8, y: y + 4.5 }, fitted(label, 82).said);
          text.append(svg("title", {}, label));
          element.append(text);
        }
        this.drawing.append(element);
        const placed = { name: `z${layer}_${j + 1}`, frame, bias, x, y, map: map + j, at: at + sizes[layer - 1] * sizes[layer] + j, last, number: j };
        this.units.push(placed);
        put(`z${layer}_${j + 1}`, element, { said: `${last ? "output" : "hidden"} unit ${j + 1} of layer ${layer}, bias`, at: placed.at });
      }
      if (sizes[layer] > drawn[layer]) {
        const [x, y] = place(layer, drawn[layer] - 1);
        this.drawing.append(svg("text", { class: "more", x: layer ? x : x + 5, y: y + 26 }, `and ${sizes[layer] - drawn[layer]} more, not drawn`));
      }
      if (layer > 0) {
        map += sizes[layer];
        at += sizes[layer - 1] * sizes[layer] + sizes[layer];
      }
    }
    this.order = order;
  }

  draw(model) {
    const { view, ground } = model;
    this.model = model;
    const narrow = this.surface.width < NARROW * this.surface.unit;
    const tallness = Math.round((20 * this.surface.height) / this.surface.width) / 20;
    const key = JSON.stringify([view.sizes, ground.inputs, ground.target, narrow, tallness]);
    const before = this.key;
    if (key !== before) {
      const focused = this.drawing.contains(document.activeElement) ? document.activeElement.dataset.name : "";
      this.key = key;
      this.build(view, ground, narrow, tallness);
      this.surface.fit();
      this.write();
      this.parts.get(focused)?.element.focus();
    }
    for (const unit of this.units) {
      const dead = !unit.last && view.dead[unit.map] === 1;
      if (dead !== unit.dead) unit.frame.classList.toggle("dead", dead);
      unit.dead = dead;
    }
    this.mark(model.ailing ?? []);
    this.paint();
    if (key !== before) this.built();
  }

  largest() {
    return this.edges.reduce((most, { at }) => Math.max(most, Math.abs(this.model.view.vector[at])), 1e-12);
  }

  // The numbers.
  write() {
    const { vector } = this.model.view;
    if (this.numbered) {
      for (const { label, at } of this.edges) say(label, significant(vector[at]));
      for (const { bias, at } of this.units) say(bias, significant(vector[at]));
    }
    say(this.scaleSaid, `Blue is above zero, orange below. The widest line is ${significant(this.largest())}.`);
  }

  // What changes with every training: the weights' lines, and the maps in the units. They are on the canvas, for to lay
  // out a drawing anew in every frame takes longer than all the rest of it.
  paint() {
    const { view, ground } = this.model;
    const { surface } = this;
    surface.clear();
    const scale = Math.min(surface.width / this.wide, surface.height / this.tall); // as the SVG beside it is placed
    const [left, top] = [(surface.width - this.wide * scale) / 2, (surface.height - this.tall * scale) / 2];
    const table = colours();
    const { context } = surface;
    const largest = this.largest();
    for (const { name, at, x1, y1, x2, y2 } of this.edges) {
      const w = view.vector[at];
      context.beginPath();
      context.moveTo(left + x1 * scale, top + y1 * scale);
      context.lineTo(left + x2 * scale, top + y2 * scale);
      if (this.byHand.length) context.setLineDash(this.byHand.includes(name) ? [8 * scale, 5 * scale] : []);
      context.strokeStyle = name === this.fresh || this.lit.includes(name) ? table.strong : w > 0 ? table.positive : w < 0 ? table.negative : table.line;
      context.lineWidth = (0.6 + 7.4 * (Math.abs(w) / largest || 0)) * scale;
      context.stroke();
    }
    context.setLineDash([]);
    if (!view.units) return;
    const side = view.units.shape[1];
    for (const unit of this.units) {
      const values = view.units.subarray(unit.map * side * side, (unit.map + 1) * side * side);
      let fill;
      if (unit.last && ground.target.kind === "binary") fill = shaded(values, 2, -1);
      else if (unit.last && ground.target.kind === "classes") {
        const fading = table.fading[unit.number % table.fading.length];
        fill = pixelwise((n) => fading[Math.round(Math.max(0, Math.min(1, values[n])) * 256)]);
      } else {
        let most = 1e-12;
        for (const value of values) most = Math.max(most, Math.abs(value));
        fill = shaded(values, 1 / most, 0);
      }
      const [x, y] = [left + (unit.x - this.side / 2) * scale, top + (unit.y - this.side / 2) * scale];
      drawGrid(surface.context, side, fill, x, y, this.side * scale, this.side * scale);
    }
  }

  // For screen readers, when a training has come to rest.
  label() {
    const { view } = this.model;
    for (const { element, described } of this.parts.values()) element.setAttribute("aria-label", this.said(described, view));
  }

  said({ said, at }, view) {
    return at === undefined ? said : `${said} ${significant(view.vector[at])}`;
  }

  // A part in words, with its number as it is now.
  described(name) {
    const part = this.parts.get(name);
    return part ? this.said(part.described, this.model.view) : "";
  }

  // Units that are saturated; dead ones are marked with their numbers.
  mark(ailing) {
    const names = ailing.filter((one) => one.what === "saturated").map((one) => one.name);
    if (names.join() === this.saturated) return;
    this.saturated = names.join();
    for (const { name, frame } of this.units) frame.classList.toggle("saturated", names.includes(name));
  }

  light(name, selected) {
    if (name === this.lit[0] && selected === this.lit[1]) return;
    this.lit = [name, selected];
    for (const part of this.parts.values()) {
      part.element.classList.toggle("lit", part.name === name);
      part.element.classList.toggle("chosen", part.name === selected);
    }
    this.paint();
  }

  moved(event) {
    const at = this.order.findIndex((part) => part.element === document.activeElement);
    if (at < 0) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.chosen(this.order[at].name);
      return;
    }
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const to = this.order[(at + step + this.order.length) % this.order.length];
    this.order[at].element.setAttribute("tabindex", "-1");
    to.element.setAttribute("tabindex", "0");
    to.element.focus();
  }
}
