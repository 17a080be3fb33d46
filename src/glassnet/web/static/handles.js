// The controls, made from the server's own list of settings.

import { make, say } from "./dom.js";
import { plain } from "./numbers.js";

const STEPS = 1000; // positions of a slider in equal factors

// Between a setting's value and its slider's position, both ways.
function positions(handle) {
  if (handle.log) {
    const low = Math.log(handle.low);
    const reach = Math.log(handle.high) - low;
    const zero = handle.least === 0;
    return {
      least: 0,
      most: STEPS,
      step: 1,
      from: (value) => (value <= 0 ? 0 : Math.max(zero ? 1 : 0, Math.min(STEPS, Math.round(((Math.log(value) - low) / reach) * STEPS)))),
      to: (at) => (zero && at === 0 ? 0 : Number(Math.exp(low + (reach * at) / STEPS).toPrecision(3))),
    };
  }
  const whole = handle.kind === "whole";
  return {
    least: handle.low,
    most: handle.high,
    step: whole ? 1 : 0.01,
    from: (value) => Math.max(handle.low, Math.min(handle.high, value)),
    to: (at) => (whole ? Math.round(at) : Number(at.toPrecision(3))),
  };
}

const THUMB = 16; // CSS pixels of a slider's knob, as far as is known
const MOST_MISSED = 8;
const APART = 6; // milliseconds between two positions that are foreseen, at least

// Tells `told` which value a slider that is being dragged is about to have. A browser hands a slider the pointer's moves
// once a frame, and tells who asks for it of a move at once: up to a frame earlier. Where what was foreseen is not what
// comes (knobs may be wider elsewhere) nothing is told, until it would be right again. Returns whether the slider is being dragged.
function foresee(slider, told) {
  let box = null;
  let missed = 0;
  let expected = NaN;
  let last = 0;
  slider.addEventListener("pointerdown", (event) => { box = event.button === 0 ? slider.getBoundingClientRect() : null; });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) slider.addEventListener(end, () => { box = null; });
  slider.addEventListener("input", () => {
    if (!Number.isNaN(expected)) missed = Math.max(0, Math.min(2 * MOST_MISSED, missed + (expected === slider.valueAsNumber ? -1 : 2)));
    expected = NaN;
  });
  slider.addEventListener("pointerrawupdate", (event) => {
    expected = NaN; // of several moves in a row it is not the last that is told
    if (box === null || event.timeStamp - last < APART) return;
    last = event.timeStamp;
    const [least, most, step] = [slider.min, slider.max, slider.step].map(Number);
    const across = Math.floor((event.clientX - box.left) * 64) / 64 - THUMB / 2; // browsers count 64ths of a pixel
    const part = Math.max(0, Math.min(1, across / (box.width - THUMB)));
    expected = least + Math.round((part * (most - least)) / step) * step;
    if (missed <= MOST_MISSED) told(expected);
  });
  return () => box !== null;
}

export class Handles {
  // `changed(name, value, sliding)` is told every move, of sliders also those that they are about to make; `sent(file)`
  // a table's file.
  constructor(form, changed, sent) {
    this.form = form;
    this.changed = changed;
    this.sent = sent;
    this.shown = new Map(); // name -> how its control shows a value
    this.seen = new Map(); // name -> what it has shown
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  build(handles, limits, hidden) {
    this.form.replaceChildren();
    this.shown.clear();
    this.seen.clear();
    for (const handle of handles) {
      if (hidden.includes(handle.name) || hidden.includes("all")) continue;
      const makers = { whole: this.number, number: this.number, choice: this.choice, sizes: this.sizes, name: this.name, names: this.names };
      this.form.append(makers[handle.kind].call(this, handle, limits));
    }
  }

  show(state, ground) {
    const { optimizer, hidden } = state.settings;
    for (const [name, show] of this.shown) {
      // What a control shows follows from these; most have not changed while one of them is dragged.
      const key = JSON.stringify([state.settings[name], optimizer === "lbfgs", hidden.length === 0]);
      const [before, on] = this.seen.get(name) ?? [];
      if (key === before && on === ground) continue;
      this.seen.set(name, [key, ground]);
      show(state.settings, ground);
    }
  }

  number(handle) {
    const { least, most, step, from, to } = positions(handle);
    const id = `handle-${handle.name}`;
    const slider = make("input", { type: "range", id, min: least, max: most, step, title: handle.said });
    const field = make("input", { type: "text", inputmode: "decimal", class: "value", "aria-label": `${handle.label}, as a number`, autocomplete: "off" });
    slider.addEventListener("input", () => this.changed(handle.name, to(slider.valueAsNumber), true));
    const dragged = foresee(slider, (value) => this.changed(handle.name, to(value), true));
    field.addEventListener("change", () => {
      const value = Number(field.value.replace("−", "-").replace(",", "."));
      const meant = field.value.trim() !== "" && value >= handle.least && value <= handle.most && (handle.kind !== "whole" || Number.isInteger(value));
      field.setCustomValidity(meant ? "" : `${handle.label} is ${handle.kind === "whole" ? "a whole number" : "a number"} from ${plain(handle.least)} to ${plain(handle.most)}.`);
      if (meant) this.changed(handle.name, value);
      else field.reportValidity();
    });
    this.shown.set(handle.name, (settings) => {
      const value = settings[handle.name];
      const text = handle.name === "batch" && value === 0 ? "all rows" : plain(value);
      if (!dragged() && (document.activeElement !== slider || to(slider.valueAsNumber) !== value)) slider.value = from(value);
      slider.setAttribute("aria-valuetext", text);
      if (document.activeElement !== field) field.value = plain(value);
      const off = settings.optimizer === "lbfgs" && ["learning_rate", "batch", "dropout"].includes(handle.name);
      const idle = off || (handle.name === "dropout" && settings.hidden.length === 0);
      slider.disabled = field.disabled = idle;
    });
    return make("div", { class: "handle" }, make("label", { for: id }, handle.label), field, make("div", { class: "slide" }, slider));
  }

  choice(handle) {
    const id = `handle-${handle.name}`;
    const select = make("select", { id, title: handle.said });
    for (const choice of handle.choices) select.append(make("option", { value: choice }, choice ? choice.replaceAll("_", " ") : "by the target"));
    select.addEventListener("change", () => this.changed(handle.name, select.value));
    this.shown.set(handle.name, (settings, ground) => {
      select.value = settings[handle.name];
      if (handle.name !== "loss" || !ground) return;
      for (const option of select.options) {
        option.hidden = option.value !== "" && !ground.losses.includes(option.value);
      }
    });
    return make("div", { class: "handle" }, make("label", { for: id }, handle.label), select);
  }

  sizes(handle, limits) {
    const list = make("div", { class: "layers" });
    const add = make("button", { type: "button" }, "Add a layer");
    let layers = [];
    add.addEventListener("click", () => this.changed(handle.name, [...layers, layers.at(-1) ?? 2]));
    const rows = [];
    const row = (n) => {
      const slider = make("input", { type: "range", min: 1, max: limits.units, step: 1, "aria-label": `Units of hidden layer ${n + 1}` });
      const value = make("span", { class: "value" });
      const less = make("button", { type: "button", "aria-label": `Remove hidden layer ${n + 1}` }, "×");
      slider.addEventListener("input", () => this.changed(handle.name, layers.map((units, k) => (k === n ? slider.valueAsNumber : units))));
      less.addEventListener("click", () => {
        this.changed(handle.name, layers.filter((_, k) => k !== n));
        (rows[Math.max(0, n - 1)]?.slider ?? add).focus();
      });
      return { slider, value, element: make("div", { class: "layer" }, value, slider, less) };
    };
    this.shown.set(handle.name, (settings) => {
      layers = settings[handle.name];
      while (rows.length < layers.length) {
        rows.push(row(rows.length));
        list.append(rows.at(-1).element);
      }
      while (rows.length > layers.length) rows.pop().element.remove();
      layers.forEach((units, n) => {
        rows[n].slider.value = units;
        say(rows[n].value, `${units} unit${units === 1 ? "" : "s"}`);
      });
      add.disabled = layers.length >= limits.layers;
    });
    return make("fieldset", { class: "handle" }, make("legend", { title: handle.said }, handle.label), list, add);
  }

  // The target, among the table's columns; the table, with a file of one's own.
  name(handle) {
    if (handle.name === "table") {
      const file = make("input", { type: "file", id: "handle-table", accept: ".csv,.tsv,.txt,.gz,.parquet,.arrow" });
      const back = make("button", { type: "button" }, "Back to the first table");
      const said = make("p", { class: "problem", role: "alert" });
      file.addEventListener("change", async () => {
        if (!file.files.length) return;
        say(said, "");
        await this.sent(file.files[0]).catch((problem) => say(said, problem.message));
        file.value = "";
      });
      back.addEventListener("click", () => this.changed("table", ""));
      this.shown.set("table", (settings) => {
        back.hidden = settings.table === "";
      });
      return make("div", { class: "handle" }, make("label", { for: "handle-table" }, "A table of your own"), file, back, said);
    }
    const id = `handle-${handle.name}`;
    const select = make("select", { id, title: handle.said });
    select.addEventListener("change", () => this.changed(handle.name, select.value));
    let known = "";
    this.shown.set(handle.name, (settings, ground) => {
      if (!ground) return;
      const names = ground.columns.map((column) => column.name);
      if (known !== (known = JSON.stringify(names))) select.replaceChildren(...names.map((name) => make("option", { value: name }, name)));
      select.value = settings.target || ground.target.name;
    });
    return make("div", { class: "handle" }, make("label", { for: id }, handle.label), select);
  }

  names(handle) {
    const list = make("div", { class: "names" });
    const summary = make("summary", { title: handle.said });
    let known = "";
    this.shown.set(handle.name, (settings, ground) => {
      if (!ground) return;
      const names = ground.columns.map((column) => column.name).filter((name) => name !== ground.target.name);
      if (known !== (known = JSON.stringify(names))) {
        list.replaceChildren(...names.map((name) => {
          const box = make("input", { type: "checkbox", value: name });
          box.addEventListener("change", () => {
            const chosen = [...list.querySelectorAll("input:checked")].map((one) => one.value);
            if (chosen.length) this.changed(handle.name, chosen);
            else box.checked = true; // a network needs one feature
          });
          return make("label", {}, box, name);
        }));
      }
      const chosen = settings.features.length ? settings.features : ground.features;
      for (const box of list.querySelectorAll("input")) box.checked = chosen.includes(box.value);
      say(summary, `${handle.label}: ${chosen.length} of ${names.length} columns`);
    });
    return make("details", { class: "handle" }, summary, list);
  }
}
