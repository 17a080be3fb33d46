// The network at work on one row: in every unit the number that it gives, on every line the number that flows along it.

import { say, svg } from "./dom.js";
import { NetworkPicture } from "./network.js";
import { significant } from "./numbers.js";

export class FlowPicture extends NetworkPicture {
  get below() {
    return 38; // the value of an input stands between
  }

  build(...shape) {
    super.build(...shape);
    this.names = new Map([...this.parts.values()].map(({ name, described }) => [described, name]));
    // As many digits as there is room for.
    [this.digits, this.size] = this.side < 40 ? [2, this.side / 3.3] : [3, Math.min(14, this.side / 4.1)];
    for (const unit of this.units) {
      unit.value = svg("text", { class: "value", x: unit.x, y: unit.y + 5 });
      unit.value.style.fontSize = `${this.size}px`;
      unit.frame.after(unit.value);
    }
    this.arriving = [];
    for (const { name, element } of this.parts.values()) {
      if (!name.startsWith("x")) continue;
      const text = element.querySelector("text");
      const value = svg("text", { class: "input value", x: text.getAttribute("x"), y: Number(text.getAttribute("y")) + 17 });
      text.setAttribute("y", Number(text.getAttribute("y")) - 4);
      text.setAttribute("direction", "auto");
      text.after(value);
      this.arriving.push({ value, number: Number(name.slice(1)) - 1 });
    }
    const more = this.drawing.querySelector(".more");
    if (more && shape[0].sizes[0] > this.arriving.length) {
      more.setAttribute("x", 4);
      more.setAttribute("y", Number(more.getAttribute("y")) + 14);
      more.style.textAnchor = "start";
    }
  }

  // `trace` is one pass, `ground` what inputs and outputs are called. Lines show weights, or what flows: weight times what
  // arrives.
  show(model, ground, vector, trace, flows) {
    const { sizes } = model;
    const numbers = Float64Array.from(vector);
    let at = 0;
    this.given = [];
    for (let layer = 1; layer < sizes.length; layer += 1) {
      const [inputs, units] = [sizes[layer - 1], sizes[layer]];
      for (let n = 0; n < inputs * units; n += 1, at += 1) if (flows) numbers[at] = vector[at] * trace.a[layer - 1][Math.floor(n / units)];
      at += units;
      const last = layer === sizes.length - 1;
      this.given.push(...(last ? trace.p : trace.a[layer]));
    }
    Object.assign(this, { vector, trace, flows });
    this.draw({ ground, view: { sizes, vector: numbers, dead: new Uint8Array(this.given.length) } });
  }

  draw(model) {
    super.draw(model);
    const most = Math.max(1e-12, ...this.units.map(({ map }) => Math.abs(this.given[map])).filter(Number.isFinite));
    for (const { frame, value, map } of this.units) {
      const given = this.given[map];
      say(value, significant(given, this.digits));
      const part = Math.round(45 * Math.min(1, Math.abs(given) / most));
      frame.style.fill = given ? `color-mix(in srgb, var(--${given > 0 ? "positive" : "negative"}) ${part}%, transparent)` : "";
    }
    for (const { value, number } of this.arriving) say(value, significant(this.trace.a[0][number]));
    this.write();
  }

  write() {
    super.write?.();
    const { vector } = this.model.view;
    const widest = this.edges.reduce((most, { at }) => Math.max(most, Math.abs(vector[at])), 0);
    const lines = this.flows ? "Lines show what flows, weight × what arrives" : "Lines show weights";
    const units = `in a unit is what it gives${this.numbered ? ", under it its bias" : ""}`;
    say(this.scaleSaid, `${lines}; ${units}. Blue is above zero, orange below. The widest line is ${significant(widest)}.`);
  }

  said(described, view) {
    const found = /^([wzx])(\d+)(?:_(\d+))?(?:_(\d+))?$/.exec(this.names.get(described));
    if (!found) return super.said(described, view);
    const [, letter, first, second] = found;
    if (letter === "x") return `${described.said}, scaled ${significant(this.trace.a[0][first - 1])}`;
    if (letter === "z") {
      const [layer, unit] = [Number(first), second - 1];
      const last = layer === view.sizes.length - 1;
      return `${described.said} ${significant(this.vector[described.at])}, z ${significant(this.trace.z[layer - 1][unit])}, gives ${significant((last ? this.trace.p : this.trace.a[layer])[unit])}`;
    }
    const arrives = this.trace.a[first - 1][second - 1];
    const weight = this.vector[described.at];
    return `${described.said} ${significant(weight)}; ${significant(arrives)} arrives, ${significant(weight * arrives)} flows on`;
  }
}
