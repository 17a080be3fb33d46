// Which two columns the plane lies over, and where all other features are held.

import { make, say } from "./dom.js";
import { dateOf, significant } from "./numbers.js";

export class Axes {
  // `changed(view)` is told the parts of a view that are different now.
  constructor(box, changed) {
    this.changed = changed;
    this.across = make("select", { "aria-label": "Across" });
    this.up = make("select", { "aria-label": "Up" });
    this.list = make("div", { class: "held" });
    this.summary = make("summary");
    this.details = make("details", {}, this.summary, this.list);
    box.append(make("label", {}, "across ", this.across), make("label", {}, "up ", this.up), this.details);
    this.across.addEventListener("change", () => this.turn(this.across.value, this.up.value === this.across.value ? this.was[0] : this.up.value));
    this.up.addEventListener("change", () => this.turn(this.across.value === this.up.value ? this.was[1] : this.across.value, this.up.value));
    this.key = "";
  }

  turn(x, y) {
    this.changed({ x, y });
  }

  show(model, view) {
    const { ground, points } = model;
    this.details.parentElement.hidden = !points;
    if (!points) return;
    const axes = points.axes.map((axis) => axis.name);
    const free = ground.held.filter((feature) => !axes.includes(feature.name));
    const key = JSON.stringify([ground.axes, ground.held, axes]);
    if (key !== this.key) {
      this.key = key;
      this.was = axes;
      this.up.parentElement.hidden = axes.length === 1;
      for (const [select, name] of [[this.across, axes[0]], [this.up, axes.at(-1)]]) {
        select.replaceChildren(...ground.axes.map((one) => make("option", { value: one }, one)));
        select.value = name;
      }
      this.controls = free.map((feature) => this.control(feature));
      this.list.replaceChildren(...this.controls.map((control) => control.element));
      say(this.summary, `${free.length} other feature${free.length === 1 ? "" : "s"} held`);
      this.details.hidden = free.length === 0;
    }
    this.held = view.held;
    for (const control of this.controls) control.show(view.held[control.name]);
  }

  control(feature) {
    const { name, kind } = feature;
    const put = (value) => this.changed({ held: { ...this.held, [name]: value } });
    const value = make("span", { class: "value" });
    if (kind === "text" || kind === "boolean") {
      const choices = kind === "text" ? feature.levels : ["0", "1"];
      const select = make("select", {}, ...choices.map((choice) => make("option", { value: choice }, kind === "text" ? choice : choice === "1" ? "true" : "false")));
      select.addEventListener("change", () => put(kind === "text" ? select.value : Number(select.value)));
      return { name, element: make("label", {}, name, value, select), show: (held) => { select.value = String(held ?? feature.value); } };
    }
    const slider = make("input", { type: "range", min: feature.low, max: feature.high, step: "any" });
    slider.addEventListener("input", () => put(Number(slider.valueAsNumber.toPrecision(5))));
    return {
      name,
      element: make("label", {}, name, value, slider),
      show: (held) => {
        const at = held ?? feature.value;
        if (document.activeElement !== slider) slider.value = at;
        const text = kind === "date" ? dateOf(at) : significant(at, 4);
        say(value, text);
        slider.setAttribute("aria-valuetext", text);
      },
    };
  }
}
