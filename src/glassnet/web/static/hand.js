// Weights set by hand: dragged in the picture, turned by keys or written as numbers; and trainings that go on from there.

import { make, say } from "./dom.js";
import { significant } from "./numbers.js";

const STILL = 4; // CSS pixels within which a press is a click
const REACH = 160; // pixels of a drag that are as much as the widest line

// The weight or the bias that a part of the picture holds.
export const parameterOf = (name) => (name.startsWith("w") ? name : name.startsWith("z") ? `b${name.slice(1)}` : "");

export class ByHand {
  // `changed(view)` is told the parts of a view that are different now.
  constructor(card, network, limits, changed) {
    this.network = network;
    this.limits = limits;
    this.changed = changed;
    this.field = make("input", { type: "text", inputmode: "decimal", class: "value", "aria-label": "This weight, by hand", autocomplete: "off" });
    this.setting = make("label", { class: "setting", hidden: true }, "by hand ", this.field);
    card.querySelector("#network-readout").after(" ", this.setting);
    this.said = make("span");
    this.back = make("button", { type: "button", "aria-label": "Undo the last weight" }, "Undo");
    this.all = make("button", { type: "button", "aria-label": "Undo all weights" }, "Undo all");
    this.on = make("button", { type: "button" }, "Train on from here");
    this.bar = make("p", { class: "hand-bar" }, this.said, " ", this.back, " ", this.all, " ", this.on);
    card.querySelector("#ails").before(this.bar);
    this.back.addEventListener("click", () => this.undo());
    this.all.addEventListener("click", () => this.changed({ hand: {}, legs: [] }));
    this.on.addEventListener("click", () => this.trainOn());
    this.field.addEventListener("change", () => this.typed());
    network.drawing.addEventListener("pointerdown", (event) => this.pressed(event));
    network.drawing.addEventListener("click", (event) => {
      if (!this.dragged) return;
      this.dragged = false;
      event.stopPropagation();
    }, { capture: true });
    network.drawing.addEventListener("keydown", (event) => this.turned(event));
  }

  // Kept on the start that is looked at: another one would have other weights beside it.
  put(name, value) {
    const { hand } = this.view;
    if (!(name in hand) && Object.keys(hand).length >= this.limits.by_hand) return;
    const within = Math.max(-1e6, Math.min(1e6, Number(value.toPrecision(4))));
    const rest = Object.fromEntries(Object.entries(hand).filter(([other]) => other !== name));
    this.changed({ hand: { ...rest, [name]: within }, start: this.model.view.start, slow: -1 }); // the last one set stands last
  }

  undo() {
    const { hand, legs } = this.view;
    const names = Object.keys(hand);
    if (names.length) {
      const kept = Object.fromEntries(Object.entries(hand).slice(0, -1));
      this.changed({ hand: kept });
    } else if (legs.length) this.changed({ legs: legs.slice(0, -1), hand: legs.at(-1)[1], epoch: legs.at(-1)[0] });
  }

  trainOn() {
    const { hand, legs, epoch } = this.view;
    this.changed({ legs: [...legs, [epoch, hand]], hand: {}, epoch: -1 });
  }

  // What a part's weight or bias is now.
  valueOf(name) {
    const part = this.network.parts.get(name);
    return part?.described.at === undefined ? null : this.model.view.vector[part.described.at];
  }

  pressed(event) {
    const part = event.target.closest("[data-name]");
    this.dragged = false;
    if (!this.model || this.off || event.button !== 0 || !part?.dataset.name.startsWith("w")) return;
    const name = part.dataset.name;
    const from = this.valueOf(name);
    const unit = Math.max(this.network.largest(), 0.1) / REACH;
    const { drawing } = this.network;
    const moved = (to) => {
      const by = event.clientY - to.clientY;
      if (!this.dragged && Math.abs(by) < STILL) return;
      if (!this.dragged) drawing.setPointerCapture(event.pointerId);
      this.dragged = true;
      this.put(name, from + by * unit);
    };
    const done = () => {
      drawing.removeEventListener("pointermove", moved);
      for (const end of ["pointerup", "pointercancel"]) drawing.removeEventListener(end, done);
    };
    drawing.addEventListener("pointermove", moved);
    for (const end of ["pointerup", "pointercancel"]) drawing.addEventListener(end, done);
  }

  // Plus and minus turn the weight that has the focus.
  turned(event) {
    const step = { "+": 1, "=": 1, "-": -1, "_": -1 }[event.key];
    const name = document.activeElement?.dataset?.name ?? "";
    const parameter = parameterOf(name);
    if (!step || this.off || !this.model || !parameter || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    this.put(parameter, this.valueOf(name) + (step * Math.max(this.network.largest(), 0.1)) / 20);
  }

  typed() {
    const value = Number(this.field.value.replace("−", "-").replace(",", "."));
    const meant = this.field.value.trim() !== "" && Math.abs(value) <= 1e6;
    this.field.setCustomValidity(meant ? "" : "A weight is a number from −1,000,000 to 1,000,000.");
    if (meant) this.put(parameterOf(this.selected), value);
    else this.field.reportValidity();
  }

  // `off`: nothing can be set, in a lesson or while an update is gone through.
  show(model, view, off) {
    Object.assign(this, { model, view, off });
    const names = Object.keys(view.hand);
    this.selected = view.only;
    const value = off || !view.only ? null : this.valueOf(view.only);
    this.setting.hidden = value === null;
    if (value !== null && document.activeElement !== this.field) this.field.value = significant(value, 4);
    const none = names.length === 0 && view.legs.length === 0;
    this.bar.hidden = none && off;
    for (const button of [this.back, this.all, this.on]) button.hidden = none;
    if (none) say(this.said, "Drag a weight up or down to set it by hand.");
    else {
      const set = names.map((name) => `${name} = ${significant(Number(view.hand[name]), 4)}`).join(", ");
      const times = view.legs.length === 1 ? "once" : `${view.legs.length} times`;
      const trained = view.legs.length ? `Trained on ${times} from weights set by hand: the curve begins there. ` : "";
      say(this.said, `${trained}${set ? `By hand, not trained: ${set}.` : ""}`);
      this.on.hidden = names.length === 0 || view.legs.length >= this.limits.legs;
      this.all.hidden = names.length + view.legs.length < 2;
    }
    const key = `${names.join()} ${this.network.key}`;
    if (key === this.marked) return;
    this.marked = key;
    for (const [name, { element }] of this.network.parts) element.classList.toggle("by-hand", names.includes(parameterOf(name)));
    this.network.byHand = names;
    this.network.paint();
  }
}
