// Rows added, moved and deleted on the plane: part of this visit alone, never of the address.

import { make, say } from "./dom.js";
import { significant } from "./numbers.js";

const STEP = 1 / 40; // of the plane, for a key
const LONGEST = 40_000; // characters of all changes: a request has an end
export const untouched = { added: [], moved: [], deleted: [] };
export const countOf = (edits) => edits.added.length + edits.moved.length + edits.deleted.length;

export class Points {
  // `changed(edits)` is told what was done so far.
  constructor(card, plane, most, changed) {
    this.pictures = [];
    this.most = most;
    this.changed = changed;
    this.edits = untouched;
    this.before = [];
    this.tool = "look";
    const names = { look: "Look", add: "Add", move: "Move", delete: "Delete" };
    this.tools = make("fieldset", { class: "tools" }, make("legend", {}, "Rows:"), ...Object.entries(names).map(([tool, name]) => {
      const radio = make("input", { type: "radio", name: "tool", value: tool, checked: tool === "look" });
      radio.addEventListener("change", () => this.take(tool));
      return make("label", {}, radio, name);
    }));
    this.classes = make("select", { "aria-label": "Class of an added row" });
    this.number = make("input", { type: "text", inputmode: "decimal", class: "value", "aria-label": "Value of an added row", autocomplete: "off" });
    this.back = make("button", { type: "button", "aria-label": "Undo the last change of a row" }, "Undo");
    this.all = make("button", { type: "button" }, "Back to the table’s rows");
    this.said = make("span", { class: "points-said", role: "status" });
    this.row = make("div", { class: "points" }, this.tools, this.classes, this.number, this.back, this.all, this.said);
    card.querySelector(".picture").before(this.row);
    this.cross = make("div", { class: "cross", hidden: true });
    card.querySelector(".picture").append(this.cross);
    this.back.addEventListener("click", () => this.put(this.before.pop() ?? untouched, false));
    this.all.addEventListener("click", () => this.put(untouched));
    this.join(plane);
  }

  // A picture of the rows is worked on as well.
  join(picture) {
    const { canvas } = picture;
    this.pictures.push(picture);
    canvas.dataset.tool = this.tool;
    canvas.addEventListener("pointerdown", (event) => this.pressed(picture, event), { capture: true });
    canvas.addEventListener("click", (event) => this.tool !== "look" && event.stopImmediatePropagation(), { capture: true });
    canvas.addEventListener("keydown", (event) => this.keyed(picture, event), { capture: true });
    canvas.addEventListener("blur", () => { this.cross.hidden = true; });
  }

  take(tool) {
    this.tool = tool;
    this.cross.hidden = true;
    for (const { canvas } of this.pictures) canvas.dataset.tool = tool;
    this.show(this.model);
  }

  // What was done so far; before it, for Undo, only where it was done anew.
  put(edits, anew = true) {
    if (countOf(edits) > this.most || JSON.stringify(edits).length > LONGEST) {
      say(this.said, `At most ${this.most} rows are changed by hand, and fewer where many features are held; take some of it back.`);
      return;
    }
    if (anew) this.before.push(this.edits);
    this.edits = edits;
    this.changed(edits);
  }

  forget() {
    this.edits = untouched;
    this.before = [];
  }

  get own() {
    return this.model.ground.rows; // further numbers are rows that were added
  }

  // The axes' columns at a place, and where all other features are held.
  cells(picture, [x, y], only) {
    const axes = this.model.points.axes.map((axis) => axis.name);
    const at = [x, y].slice(0, axes.length).map((value) => Number(value.toPrecision(5)));
    return { ...(only ? {} : this.held), ...Object.fromEntries(axes.map((name, n) => [name, at[n]])) };
  }

  add(picture, place) {
    const { target } = this.model.ground;
    const typed = Number(this.number.value.replace("−", "-").replace(",", "."));
    // Along one column the height is the number itself.
    const value = target.kind !== "number" ? this.classes.value : this.model.points.axes.length === 1 ? Number(place[1].toPrecision(5)) : typed;
    this.put({ ...this.edits, added: [...this.edits.added, [this.cells(picture, place), value]] });
  }

  moveTo(picture, row, place, anew) {
    const { added, moved } = this.edits;
    const cells = this.cells(picture, place, true);
    if (row >= this.own) {
      const n = row - this.own;
      this.put({ ...this.edits, added: added.map((one, k) => (k === n ? [{ ...one[0], ...cells }, one[1]] : one)) }, anew);
      return;
    }
    const known = moved.find(([other]) => other === row)?.[1] ?? {};
    this.put({ ...this.edits, moved: [...moved.filter(([other]) => other !== row), [row, { ...known, ...cells }]] }, anew);
  }

  remove(row) {
    const { added, moved, deleted } = this.edits;
    if (row >= this.own) this.put({ ...this.edits, added: added.filter((_, k) => k !== row - this.own) });
    else this.put({ added, moved: moved.filter(([other]) => other !== row), deleted: [...deleted, row] });
  }

  pressed(picture, event) {
    if (this.tool === "look" || event.button !== 0 || !this.model?.points) return;
    const place = picture.valueAt(event);
    if (this.tool === "add") {
      if (place) this.add(picture, place);
      return;
    }
    const n = picture.nearest(event);
    if (n < 0) return;
    const row = this.model.points.row[n];
    if (this.tool === "delete") {
      this.remove(row);
      return;
    }
    event.preventDefault();
    picture.canvas.focus();
    picture.canvas.setPointerCapture(event.pointerId);
    let first = true;
    const moved = (to) => {
      to.stopImmediatePropagation();
      const where = picture.valueAt(to);
      if (!where) return;
      this.moveTo(picture, row, where, first);
      first = false;
    };
    const done = () => {
      picture.canvas.removeEventListener("pointermove", moved, { capture: true });
      for (const end of ["pointerup", "pointercancel"]) picture.canvas.removeEventListener(end, done);
    };
    picture.canvas.addEventListener("pointermove", moved, { capture: true });
    for (const end of ["pointerup", "pointercancel"]) picture.canvas.addEventListener(end, done);
  }

  // Add: arrows move a cross, Enter adds there. Move: arrows with Shift move the row. Delete: Enter or Delete.
  keyed(picture, event) {
    if (this.tool === "look" || !this.model?.points) return;
    const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    const enter = event.key === "Enter" || event.key === " ";
    const row = picture.at >= 0 ? this.model.points.row[picture.at] : -1;
    const { axes } = picture.model.points;
    const by = (place) => place.map((value, n) => Math.max(axes[n].low, Math.min(axes[n].high, value + step[n] * STEP * (axes[n].high - axes[n].low))));
    if (this.tool === "add" && (step || enter)) {
      this.crossAt ??= axes.map((axis) => (axis.low + axis.high) / 2);
      if (step) this.crossAt = by(this.crossAt);
      else this.add(picture, this.crossAt);
      this.showCross(picture);
    } else if (this.tool === "move" && step && event.shiftKey && row >= 0) {
      this.moveTo(picture, row, by([picture.model.points.x[picture.at], picture.model.points.y[picture.at]]), !event.repeat);
      this.following = row;
    } else if (this.tool === "delete" && row >= 0 && (enter || event.key === "Delete" || event.key === "Backspace")) {
      picture.point(-1);
      this.remove(row);
    } else return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  showCross(picture) {
    const [x, y] = picture.place(...this.crossAt);
    Object.assign(this.cross.style, { left: `${x}px`, top: `${y}px` });
    this.cross.hidden = false;
  }

  // `held`: where features that are not on the axes are held, of those that were moved.
  show(model, held = this.held ?? {}) {
    Object.assign(this, { model, held });
    const shown = Boolean(model?.points);
    this.row.hidden = !shown;
    if (!shown) return;
    const { target } = model.ground;
    const key = JSON.stringify(target);
    if (key !== this.key) {
      this.key = key;
      this.crossAt = undefined;
      this.classes.replaceChildren(...target.classes.map((name) => make("option", { value: name }, name)));
      if (target.classes.length === 2) this.classes.value = target.classes[1];
      const values = Array.from(model.points.value).sort((one, other) => one - other);
      this.number.value = target.kind === "number" ? significant(values[Math.floor(values.length / 2)] ?? 0, 4) : "";
    }
    // What has no use keeps its room, so that the plane stays where it is.
    this.classes.hidden = target.kind === "number";
    this.number.hidden = !this.classes.hidden || model.points.axes.length === 1;
    for (const control of [this.classes, this.number]) control.classList.toggle("unseen", this.tool !== "add");
    this.row.classList.toggle("at-rest", this.tool === "look" && this.before.length === 0);
    const { added, moved, deleted } = this.edits;
    this.back.classList.toggle("unseen", this.before.length === 0);
    this.all.classList.toggle("unseen", countOf(this.edits) === 0);
    const did = [[added, "added"], [moved, "moved"], [deleted, "deleted"]].filter(([list]) => list.length).map(([list, what]) => `${list.length} ${what}`);
    const how = {
      look: "",
      add: "Click where the row lies; it is one to train on. Keys: arrows, Enter.",
      move: "Drag a row. Keys: arrows to a row, with Shift they move it.",
      delete: "Click a row. Keys: arrows to a row, Delete.",
    }[this.tool];
    say(this.said, [did.length ? `By hand: ${did.join(", ")}; no link carries them.` : "", how].filter(Boolean).join(" "));
    if (this.following !== undefined) {
      const n = model.points.row.indexOf(this.following);
      this.following = undefined;
      for (const picture of this.pictures) if (!picture.canvas.hidden) picture.point(n);
    }
  }
}
