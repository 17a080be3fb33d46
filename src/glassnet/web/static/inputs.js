// A model's inputs in the user's units: a slider and a field for numbers and dates, a choice for all else.

import { positionOf, read, sliderOf, textAt } from "./cells.js";
import { make, say } from "./dom.js";

const OTHER = "other";
const MISSING = "missing";

// A column's cell as text: what is typed, or of a choice `=` and the level, `other`, `missing`.
class Column {
  constructor(column, number, missing, changed) {
    Object.assign(this, { column, missing, changed });
    const id = `cell-${number}`;
    this.problem = make("p", { class: "problem", id: `${id}-problem` });
    this.box = make("div", { class: "handle", role: "group", "aria-labelledby": `${id}-label` });
    this.box.append(make("label", { for: id, id: `${id}-label` }, make("bdi", {}, column.name)));
    if (column.tests || column.kind === "boolean") this.buildChoice(id);
    else this.buildSlider(id);
    this.box.append(this.problem);
    this.reset();
  }

  buildChoice(id) {
    const { column } = this;
    const options = column.tests ? column.levels.map((level) => [`=${level}`, level]) : [["=true", "true"], ["=false", "false"]];
    if (column.tests) options.push([OTHER, `(${column.other})`]);
    if (column.marks) options.push([MISSING, "(missing)"]);
    this.options = options.map(([value]) => value);
    this.field = make("select", { id, onchange: () => this.changed() }, ...options.map(([value, label]) => make("option", { value, dir: "auto" }, label)));
    this.box.append(this.field);
  }

  buildSlider(id) {
    const { column } = this;
    this.slider = sliderOf(column);
    this.field = make("input", { type: "text", class: "value", id, inputmode: column.kind === "date" ? null : "decimal", "aria-describedby": `${id}-problem`, oninput: () => this.typed() });
    this.range = make("input", { type: "range", min: 0, max: this.slider.count, step: 1, "aria-labelledby": `${id}-label`, oninput: () => this.slid() });
    this.box.append(this.field, make("div", { class: "slide" }, this.range));
    if (column.marks) {
      this.gap = make("input", { type: "checkbox", onchange: () => this.gone() });
      this.box.append(make("label", { class: "gap" }, this.gap, "missing"));
    }
  }

  reset() {
    const { column } = this;
    if (column.tests) this.text = `=${column.levels[0]}`;
    else if (column.kind === "boolean") this.text = column.fill >= 0.5 ? "=true" : "=false";
    else this.text = textAt(column, this.slider, positionOf(this.slider, column.fill));
  }

  get text() {
    return this.field.value;
  }

  // Only what can be chosen is taken.
  set text(text) {
    if (this.options && !this.options.includes(text)) return;
    this.field.value = text;
    this.follow();
  }

  typed() {
    this.follow();
    this.changed();
  }

  slid() {
    this.text = textAt(this.column, this.slider, Number(this.range.value));
    this.changed();
  }

  gone() {
    this.text = this.gap.checked ? "" : textAt(this.column, this.slider, Number(this.range.value));
    this.changed();
  }

  // The slider and the box go where the text is.
  follow() {
    if (!this.range) return;
    const { cell } = read(this.column, this.text, this.missing);
    if (typeof cell === "number") this.range.value = positionOf(this.slider, cell);
    this.range.setAttribute("aria-valuetext", this.text || "missing");
    if (this.gap) this.gap.checked = cell === null;
  }

  // {cell, text} or {problem, text}, and what `predict` remarks of it.
  read() {
    const { column, text } = this;
    let found;
    if (!this.options) found = read(column, text, this.missing);
    else if (text === MISSING) found = { cell: null };
    else if (text === OTHER) found = { cell: -1 };
    else found = { cell: column.tests ? column.levels.indexOf(text.slice(1)) : Number(text === "=true") };
    const remark = found.cell === null ? column.remarks.missing : text === OTHER ? column.remarks.other : "";
    return { ...found, text, remark };
  }

  refuse(problem) {
    say(this.problem, problem);
    this.field.setAttribute("aria-invalid", problem !== "");
  }
}

export class Inputs {
  constructor(form, model, changed) {
    this.columns = model.columns.map((column, number) => new Column(column, number, model.missing, changed));
    form.replaceChildren(...this.columns.map(({ box }) => box));
    form.addEventListener("submit", (event) => event.preventDefault());
    this.first = this.columns.map(({ text }) => text);
  }

  read() {
    return this.columns.map((column) => column.read());
  }

  // What is wrong with which column; "" where nothing is.
  refuse(problems) {
    this.columns.forEach((column, n) => column.refuse(problems[n]));
  }

  reset() {
    for (const column of this.columns) column.reset();
  }

  // What has been moved, for the address.
  get address() {
    const moved = this.columns.filter((column, n) => column.text !== this.first[n]);
    return new URLSearchParams(moved.map(({ column, text }) => [column.name, text])).toString();
  }

  // Names that are no columns are handed back.
  set address(text) {
    this.reset();
    for (const [name, value] of new URLSearchParams(text)) {
      const found = this.columns.find(({ column }) => column.name === name);
      if (found) found.text = value;
    }
  }
}
