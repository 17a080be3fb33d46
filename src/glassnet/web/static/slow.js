// The slow speed: one row through one update, number by number, each appearing in the picture and in its equation.

import { make, say, svg } from "./dom.js";
import { lineOf, linked, partOf, stages } from "./equation.js";
import { significant } from "./numbers.js";

const PACES = { "slowly, 1.5 s a number": 1500, "0.6 s a number": 600, "quickly, 0.2 s a number": 200 };
const MOST_SHOWN = 80; // lines that stand in the list, the last ones

// What a number is called in the picture, from its name: z1_2 is z, dloss/dw1_2_1 is ∂ℓ.
const kinds = [
  [/^z\d+_\d+$/, "z"], [/^a\d+_\d+$/, "a"], [/^delta/, "δ"], [/^o\d*$/, "o"], [/^p\d*$/, "p"], [/^y\d*$/, "y"], [/^loss$/, "ℓ"],
  [/^dloss\/d[wb]/, "∂ℓ"], [/^dL\/d[wb]/, "∂L"], [/^x\d+$/, "x"],
];
const kindOf = (name) => kinds.find(([pattern]) => pattern.test(name))?.[1];

export class Slow {
  // `moved(view)` is told the parts of a view that are different now; `pointed` as for the equations.
  constructor(card, network, moved, pointed) {
    this.card = card;
    this.network = network;
    this.moved = moved;
    this.enter = make("button", { type: "button" }, "Step by step");
    this.leave = make("button", { type: "button" }, "All at once");
    card.querySelector("h2").after(make("p", { class: "pace" }, this.enter, this.leave));
    const button = (text, label, act) => make("button", { type: "button", "aria-label": label, onclick: act }, text);
    this.back = button("◀", "One number back", () => this.go(this.at - 1));
    this.next = button("▶", "The next number", () => this.go(this.at + 1));
    this.play = make("button", { type: "button", class: "play", onclick: () => (this.timer ? this.rest() : this.run()) }, "Play");
    this.slider = make("input", { type: "range", min: 0, max: 1, step: 1, value: 0, "aria-label": "Numbers worked out" });
    this.slider.addEventListener("input", () => this.go(this.slider.valueAsNumber));
    this.slider.addEventListener("keydown", (event) => {
      if (event.key !== " ") return;
      event.preventDefault();
      this.play.click();
    });
    this.pace = make("select", { "aria-label": "How quickly it plays" }, ...Object.keys(PACES).map((name, n) => make("option", { value: name, selected: n === 1 }, name)));
    this.row = make("input", { type: "text", inputmode: "numeric", class: "value", autocomplete: "off", "aria-label": "Number of the row" });
    this.row.addEventListener("change", () => {
      const row = Number(this.row.value);
      const meant = this.row.value.trim() !== "" && Number.isInteger(row) && row >= 0 && row < this.rows;
      this.row.setCustomValidity(meant ? "" : `A row is a number from 0 to ${this.rows - 1}.`);
      if (meant) this.moved({ row });
      else this.row.reportValidity();
    });
    this.update = button("Next update", "On to the next epoch’s update", () => this.toEpoch(this.epoch + 1));
    this.before = button("Last update", "Back to the epoch before", () => this.toEpoch(this.epoch - 1));
    this.stages = make("span", { class: "stages", role: "group", "aria-label": "Stages" });
    this.now = make("output", { class: "now", role: "status" });
    this.said = make("p", { class: "step-said" });
    this.body = make("div", { class: "equations lines", tabindex: "0", role: "region", "aria-label": "Equations so far" });
    linked(this.body, pointed);
    this.panel = make("div", { class: "slow", hidden: true },
      make("div", { class: "scrub" }, this.back, this.play, this.next, this.slider, this.pace),
      make("div", { class: "scrub" }, this.stages),
      make("div", { class: "scrub" }, make("label", {}, "row ", this.row), this.before, this.update),
      this.said, make("p", {}, this.now), this.body);
    card.append(this.panel);
    this.enter.addEventListener("click", () => this.begin());
    this.leave.addEventListener("click", () => { this.rest(); this.moved({ slow: -1 }); });
    this.forget();
  }

  forget() {
    this.plan = null;
    this.lines = [];
    this.drawn = 0;
    this.drawnOf = null;
  }

  begin() {
    const { view, starts } = this.model;
    const last = starts.epochs.at(-1);
    // After the last epoch no update follows: it begins with the first one.
    this.moved({ slow: 0, epoch: view.epoch >= last ? 0 : view.epoch, row: Math.max(0, this.view.row), only: "" });
    this.slider.focus();
  }

  get total() {
    return this.plan?.names.length ?? 0;
  }

  get at() {
    return Math.min(this.view.slow, this.total);
  }

  go(to) {
    const at = Math.max(0, Math.min(this.total, to));
    if (at !== this.view.slow) this.moved({ slow: at });
  }

  toEpoch(epoch) {
    const last = this.model.starts.epochs.at(-1);
    if (epoch >= 0 && epoch <= last) this.moved({ epoch, slow: 0 });
  }

  run() {
    if (this.at >= this.total) this.go(0);
    say(this.play, "Pause");
    const step = () => {
      if (this.at >= this.total && this.plan) {
        this.rest();
        return;
      }
      if (this.plan) this.go(this.at + 1);
      this.timer = setTimeout(step, PACES[this.pace.value]);
    };
    this.timer = setTimeout(step, PACES[this.pace.value]);
  }

  rest() {
    clearTimeout(this.timer);
    this.timer = 0;
    say(this.play, "Play");
  }

  // A part of a step: its plan, with the first window of formulas, or a further window.
  receive(part) {
    if (part.names || part.problem) {
      this.forget();
      this.problem = part.problem ?? "";
      this.plan = part.names ? part : null;
      if (this.plan) this.built();
    }
    part.lines?.forEach((line, n) => { this.lines[part.first + n] = line; });
    this.drawnOf = null; // lines may have come that were waited for
  }

  built() {
    const { stages: begun, names } = this.plan;
    this.stages.replaceChildren(...begun.map(([stage, first], n) => {
      const end = begun[n + 1]?.[1] ?? names.length;
      return make("button", { type: "button", "data-first": first, "data-end": end, title: `${end - first} numbers`, onclick: () => this.go(first + 1) }, stage === "encode" ? "Inputs" : stages[stage] ?? stage);
    }));
  }

  // Where a quantity is worked out, for a click in the picture; the weight's own line, else its gradient.
  lineWith(name) {
    if (!this.plan) return -1;
    const wanted = [name, `dL/d${name}`, `dloss/d${name}`, name.replace(/^z/, "a")];
    return wanted.map((one) => this.plan.names.indexOf(one)).find((n) => n >= 0) ?? -1;
  }

  // `added`: rows that are there beside the table's own.
  show(model, view, off, added) {
    Object.assign(this, { model, view });
    const slowly = view.slow >= 0;
    const epochs = model.starts?.epochs.at(-1) ?? 0;
    this.enter.hidden = slowly || off || !model.view;
    this.leave.hidden = !slowly;
    this.panel.hidden = !slowly;
    if (slowly !== this.slowly) {
      this.slowly = slowly;
      document.documentElement.toggleAttribute("data-slow", slowly);
      if (!slowly) {
        this.rest();
        this.overlay?.remove();
        this.overlay = null;
        this.network.fresh = "";
        for (const { element } of this.network.parts.values()) element.classList.remove("fresh", "feeds");
        if (model.view) {
          this.network.write();
          this.network.paint();
        }
      }
    }
    if (!slowly) return;
    if (this.plan && view.slow > this.total) {
      this.moved({ slow: this.total }); // a link to a longer update
      return;
    }
    this.rows = model.ground ? model.ground.rows + added : 1;
    this.epoch = view.epoch < 0 ? epochs : Math.min(view.epoch, epochs);
    if (document.activeElement !== this.row) this.row.value = view.row;
    this.before.disabled = this.epoch === 0;
    this.update.disabled = this.epoch >= epochs;
    this.slider.max = this.total;
    if (Number(this.slider.value) !== this.at) this.slider.value = this.at;
    this.back.disabled = this.at === 0;
    this.next.disabled = this.at >= this.total;
    for (const stage of this.stages.children) stage.setAttribute("aria-pressed", String(this.at > Number(stage.dataset.first) && this.at <= Number(stage.dataset.end)));
    say(this.said, this.problem || (Object.keys(view.hand).length ? "Weights set by hand belong to no training: train on from them, or undo them." : this.plan?.said ?? ""));
    this.tell();
    this.list();
    this.paint();
  }

  tell() {
    const { plan, at } = this;
    let text = "Each number appears as it is worked out, here and in the picture.";
    if (plan && at > 0) {
      const stage = plan.stages.findLast(([, first]) => first < at)[0];
      text = `${at} of ${this.total}, ${(stages[stage] ?? stage).toLowerCase()}: ${plan.names[at - 1]} = ${String(plan.values[at - 1]).replace("-", "−")}`;
      if (at === this.total && plan.batch) text += ". The update is made: these are the weights of the next one.";
    }
    say(this.now, text);
    this.slider.setAttribute("aria-valuetext", text);
  }

  // The equations up to where it stands, the last of them marked.
  list() {
    const { plan, at } = this;
    if (!plan) {
      this.body.replaceChildren();
      return;
    }
    // Those without a gap up to here: of what was jumped over, nothing was sent.
    let first = at;
    while (first > 0 && first > at - MOST_SHOWN && this.lines[first - 1]) first -= 1;
    if (this.drawnOf !== plan || at < this.drawn || first > this.first) {
      this.body.replaceChildren();
      this.drawn = this.first = first;
      this.drawnOf = plan;
    }
    this.body.querySelector(".now")?.classList.remove("now");
    for (; this.drawn < at && this.lines[this.drawn]; this.drawn += 1) {
      const begun = plan.stages.find(([, begin]) => begin === this.drawn);
      if (begun) this.body.append(make("h3", {}, stages[begun[0]] ?? begun[0]));
      this.body.append(lineOf(this.lines[this.drawn]));
    }
    const last = this.body.lastElementChild;
    if (this.drawn !== at || !last?.classList.contains("line")) return;
    last.classList.add("now");
    this.body.scrollTop = last.offsetTop + last.offsetHeight - this.body.clientHeight + 8;
  }

  // The numbers so far in the picture: in the units, under the inputs, along the weights.
  paint() {
    const { plan, network, at } = this;
    if (!plan || !network.model) return;
    if (this.overlay?.parentNode !== network.drawing) {
      this.overlay = svg("g", { class: "worked", "aria-hidden": "true" });
      network.drawing.append(this.overlay);
    }
    const now = at > 0 ? plan.names[at - 1] : "";
    const { sizes } = network.model.view;
    const part = (name) => partOf(name, sizes.length - 1, sizes.at(-1));
    const found = new Map(); // part -> the last numbers of each kind
    for (let n = 0; n < at; n += 1) {
      const name = plan.names[n];
      const kind = kindOf(name);
      if (!kind) continue;
      // A bias's gradient has no place of its own: it is its unit's delta.
      const place = /^d(loss|L)\/db/.test(name) ? "" : part(name);
      if (!network.parts.has(place)) continue;
      if (!found.has(place)) found.set(place, new Map());
      found.get(place).set(kind, { value: plan.values[n], now: name === now });
    }
    const updated = new Map(plan.names.slice(0, at).map((name, n) => [name, plan.values[n]]).filter(([name]) => /^[wb]\d/.test(name)));
    const texts = [];
    const put = (x, y, anchor, label, { value, now: strong }) => texts.push(svg("text", { x, y, "text-anchor": anchor, class: strong ? "fresh" : "" }, `${label} ${significant(value)}`));
    for (const [place, numbers] of found) {
      const { element } = network.parts.get(place);
      if (place.startsWith("x")) {
        const dot = element.querySelector(".source");
        put(Number(dot.getAttribute("cx")) - 7, Number(dot.getAttribute("cy")) + 21, "end", "x =", numbers.get("x"));
      } else if (place.startsWith("z")) this.inUnit(element, numbers, put);
      else if ((network.numbered && network.wide > 500) || [...numbers.values()].some((one) => one.now)) this.alongWeight(place, numbers, put);
    }
    this.overlay.replaceChildren(...texts);
    this.renew(plan, updated, now);
    const fresh = now === "" ? "" : part(now);
    if (network.fresh !== fresh) {
      network.fresh = fresh;
      network.paint();
    }
    const feeds = new Set();
    if (now && this.lines[at - 1]) for (const [, name] of this.lines[at - 1].pieces.join("").matchAll(/data-name="([^"]+)"/g)) feeds.add(part(name));
    for (const [name, { element }] of network.parts) {
      element.classList.toggle("fresh", name === network.fresh);
      element.classList.toggle("feeds", feeds.has(name) && name !== network.fresh);
    }
  }

  inUnit(element, numbers, put) {
    const frame = element.querySelector(".unit");
    const [x, y, side] = ["x", "y", "width"].map((name) => Number(frame.getAttribute(name)));
    const inside = ["z", "a", "o", "p", "δ"].filter((kind) => numbers.has(kind) && !(kind === "o" && numbers.has("z")));
    const under = ["y", "ℓ"].filter((kind) => numbers.has(kind));
    const room = Math.max(1, Math.floor(side / 19));
    inside.slice(-room).forEach((kind, n) => put(x + side / 2, y + 19 + n * 18, "middle", kind, numbers.get(kind)));
    under.forEach((kind, n) => put(x + side / 2, y + side + 33 + n * 18, "middle", kind, numbers.get(kind)));
  }

  alongWeight(weight, numbers, put) {
    const { x1, y1, x2, y2 } = this.network.edges.find(({ name }) => name === weight);
    const kind = numbers.has("∂L") ? "∂L" : "∂ℓ";
    put(x1 + (x2 - x1) * 0.66, y1 + (y2 - y1) * 0.66 + 17, "middle", kind, numbers.get(kind));
  }

  // The weights that are in the picture: those before the update, and after it as far as it has got.
  renew(plan, updated, now) {
    const { network } = this;
    for (const [name, { element, described }] of network.parts) {
      if (described.at === undefined) continue;
      const own = name.startsWith("z") ? `b${name.slice(1)}` : name;
      const label = element.querySelector(".number, .bias");
      const value = updated.get(own) ?? plan.before[described.at];
      if (label && network.numbered) {
        say(label, significant(value));
        label.classList.toggle("updated", updated.has(own));
        label.classList.toggle("fresh", own === now);
      }
    }
  }
}
