// One way: the address is the state, the state is asked for, what comes is drawn. Whatever is moved makes a new state.

import { defaults, fromAddress, toAddress } from "./address.js";
import { ailments } from "./ails.js";
import { Axes } from "./axes.js";
import { onScheme } from "./colours.js";
import { connect, sendTable } from "./connection.js";
import { CurvesPicture } from "./curves.js";
import { DistributionPicture } from "./distribution.js";
import { say } from "./dom.js";
import { Equations, partOf } from "./equation.js";
import { ByHand } from "./hand.js";
import { Handles } from "./handles.js";
import { LinePicture } from "./line.js";
import { NetworkPicture } from "./network.js";
import { PlanePicture } from "./plane.js";
import { Points, countOf } from "./points.js";
import { Slow } from "./slow.js";

const ADDRESS_AFTER = 250; // milliseconds of rest: browsers refuse an address that changes with every frame
const WORDS_AFTER = 100; // milliseconds between two changes of what is said while something is moved: nobody reads faster
const WATCHING = 4000; // milliseconds in which a whole training is watched

const of = (id) => document.getElementById(id);
const page = document.documentElement;

let list = null; // the server's handles
let state = null;
let hidden = [];
let model = {};
let asked = 0;
let pointedAt = "";
let writing = 0;
let standing = 0;
let watching = 0;

// --- state ----------------------------------------------------------------------------------------------------------

function ask() {
  send();
  stand();
}

// How the handles stand, and what is looked at.
function stand() {
  clearTimeout(standing);
  standing = 0;
  handles.show(state, model.ground);
  showView();
}

function send() {
  asked = connection.ask(points && countOf(points.edits) ? { ...state, edits: points.edits } : state);
  page.dataset.asked = asked;
  clearTimeout(writing);
  writing = setTimeout(write, ADDRESS_AFTER);
}

function write() {
  const address = toAddress(state, list, hidden);
  if (address !== location.hash) history.replaceState(null, "", `${location.pathname}${address}`);
}

// `sliding`: by a slider, which moves by itself; what stands beside it follows when there is time.
function set(name, value, sliding = false) {
  if (state.settings[name] === value) {
    if (!sliding) handles.show(state, model.ground);
    return;
  }
  const settings = { ...state.settings, [name]: value };
  const view = { ...state.view };
  if (name === "optimizer" && value === "lbfgs") Object.assign(settings, { batch: 0, dropout: 0 });
  if (name === "hidden" && value.length === 0) settings.dropout = 0;
  if (name === "hidden" || name === "features") Object.assign(view, { only: "", hand: {}, legs: [] });
  if (["features", "target", "table"].includes(name)) points.forget();
  if (name === "table" || name === "target") {
    Object.assign(settings, { features: [], loss: "" }, name === "table" ? { target: "" } : {});
    Object.assign(view, defaults(list).view);
  }
  state = { settings, view };
  if (sliding) {
    send();
    standing ||= setTimeout(stand, WORDS_AFTER);
  } else ask();
}

function look(view) {
  if ("start" in view && view.start !== model.view?.start) view = { hand: {}, legs: [], ...view };
  state = { ...state, view: { ...state.view, ...view } };
  ask();
}

function readAddress() {
  const found = fromAddress(location.hash, list);
  ({ state, hidden } = found);
  points ??= new Points(of("plane"), plane, limits.edits, ask);
  byHand ??= new ByHand(of("network"), network, limits, look);
  handles.build(list, limits, hidden);
  of("handles").hidden = hidden.includes("all");
  ask();
  if (found.unread.length) problem(`The address says nothing that is known here of: ${found.unread.join(", ")}.`);
}

// --- what the pictures tell -----------------------------------------------------------------------------------------

function pointed(name) {
  pointedAt = name;
  light();
}

function light() {
  if (!model.view) return;
  const { sizes } = model.view;
  const part = pointedAt ? partOf(pointedAt, sizes.length - 1, sizes.at(-1)) : "";
  network.light(part, state.view.only);
  equations.light(pointedAt);
  readNetwork(part);
}

function readNetwork(part) {
  const shown = part || state.view.only;
  const said = shown ? network.described(shown) : "";
  say(of("network-readout"), said ? said.charAt(0).toUpperCase() + said.slice(1) : "Point at a weight or a unit, click it to see its equation.");
}

const epochOf = () => (state.view.epoch < 0 ? model.starts?.epochs.at(-1) ?? 0 : state.view.epoch);

function scrub(epoch) {
  look({ epoch: epoch >= model.starts.epochs.at(-1) ? -1 : epoch });
}

function showView() {
  if (!model.starts) return;
  const last = model.starts.epochs.at(-1);
  const epoch = Math.min(epochOf(), last);
  const scrubber = of("scrubber");
  scrubber.max = last;
  if (Number(scrubber.value) !== epoch) scrubber.value = epoch;
  scrubber.setAttribute("aria-valuetext", `after epoch ${epoch} of ${last}`);
  say(of("epoch"), `after epoch ${epoch} of ${last}`);
  of("kept").hidden = state.view.start < 0;
  of("whole").hidden = state.view.only === "";
  if (model.ground) axes.show(model, state.view);
  if (!model.view) return;
  slow.show(model, state.view, without("slow"), points?.edits.added.length ?? 0);
  byHand.show(model, state.view, without("hand") || state.view.slow >= 0);
  const held = Object.entries(state.view.held).filter(([name]) => model.ground.features.includes(name));
  points.show(without("points") ? null : model, Object.fromEntries(held));
}

// Whether something is left out for a lesson.
const without = (name) => hidden.includes(name) || hidden.includes("all");

// The training once more, slowly: the epochs one after the other, until it is stopped or at its end.
function watch() {
  const { epochs } = model.starts;
  const last = epochs.at(-1);
  const from = epochOf() >= last ? 0 : epochOf();
  const begun = performance.now();
  const step = (now) => {
    const epoch = Math.round(from + ((now - begun) / WATCHING) * last);
    if (epoch >= last) {
      rest();
      scrub(last);
      return;
    }
    if (epoch !== state.view.epoch) scrub(epoch);
    watching = requestAnimationFrame(step);
  };
  watching = requestAnimationFrame(step);
  say(of("watch"), "Pause");
}

function rest() {
  cancelAnimationFrame(watching);
  watching = 0;
  say(of("watch"), "Watch it learn");
}

function problem(text) {
  if (of("problem").textContent === text) return;
  say(of("problem"), text);
  of("problem").hidden = text === "";
}

// --- what comes -----------------------------------------------------------------------------------------------------

let changed = new Set();
let painting = 0;
let answered = 0;
let spoken = 0; // when the words were last changed

function received(message) {
  if (message.handles) {
    const first = list === null;
    list = message.handles;
    ({ limits } = message);
    if (first) readAddress();
    return;
  }
  if ("starts" in message) merge(message.starts);
  if ("view" in message) model.ailing = null;
  if ("slow" in message) slow.receive(message.slow);
  for (const part of ["ground", "points", "view", "equations", "ailing"]) {
    if (!(part in message)) continue;
    model[part] = message[part];
    changed.add(part);
  }
  if ("ground" in message && !("points" in message)) delete model.points;
  // What is wrong with a request stands until another is answered.
  if (message.problem || message.id !== answered) problem(message.problem ?? "");
  answered = message.id;
  if (message.last) {
    changed.add("rest").add("words");
    model.rested = message.id ?? asked;
  }
  model.id = message.id ?? asked;
  // Drawn at once, not when the frame begins: what is drawn is in the next frame either way, which then ends earlier.
  if (!document.hidden) draw();
  if (!painting) painting = requestAnimationFrame(paint);
}

// Starts come in parts; the first part of a training takes the place of all before. `numbers` are those that are there.
function merge(starts) {
  const points = starts.epochs.length;
  if (starts.first === 0 || !model.starts) {
    model.starts = { numbers: [], losses: new Float32Array(starts.size * points), scores: new Float64Array(starts.size), ails: new Int32Array(starts.size * 3) };
  }
  const all = model.starts;
  starts.numbers.forEach((start, n) => {
    all.losses.set(starts.losses.subarray(n * points, (n + 1) * points), start * points);
    all.scores[start] = starts.scores[n];
    all.ails.set(starts.ails.subarray(n * 3, (n + 1) * 3), start * 3);
  });
  all.numbers = Int32Array.from([...all.numbers, ...starts.numbers]).sort();
  for (const name of ["done", "size", "kept", "settled", "seconds", "epochs", "score", "scored"]) all[name] = starts[name];
  changed.add("starts");
}

// At the beginning of a frame: what has not been drawn yet, and what the page says of itself.
function paint() {
  painting = 0;
  if (changed.size) draw();
  if (model.starts) page.dataset.starts = `${model.starts.done} of ${model.starts.size}`;
  page.dataset.shown = model.id;
  if (model.rested !== undefined) page.dataset.rested = model.rested;
}

function draw() {
  const parts = changed;
  changed = new Set();
  const now = performance.now();
  if (parts.has("ground") || now - spoken > WORDS_AFTER) parts.add("words");
  if (parts.has("words")) spoken = now;
  model.row = state.view.row;
  const { starts, ground, view } = model;
  if (parts.has("ground")) {
    say(of("table"), `${ground.name}: ${ground.rows.toLocaleString("en")} rows, ${ground.train.toLocaleString("en")} to train and ${ground.test.toLocaleString("en")} to test; ${ground.target.name} from ${ground.features.length > 3 ? `${ground.features.length} columns` : ground.features.join(", ")}`);
    of("notices").replaceChildren(...ground.notices.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
    of("notices").hidden = ground.notices.length === 0;
  }
  if (view && ground && starts) {
    if (parts.has("view") || parts.has("ground")) network.draw(model);
    if (parts.has("view") || parts.has("points") || parts.has("ground")) drawPlane();
    if (parts.has("starts") || parts.has("view")) {
      curves.draw(model);
      distribution.draw(model);
    }
    if (parts.has("words")) {
      network.write();
      (line?.canvas.hidden === false ? line : plane).tell();
      distribution.tell();
      tell();
    }
    if (parts.has("ailing")) {
      network.mark(model.ailing ?? []);
      tell();
    }
  }
  if (parts.has("equations")) equations.draw(model.equations, state.view.only);
  if (state.view.row < 0) equations.clear();
  if (parts.has("rest") && view) {
    network.label();
    distribution.label();
  }
  if (parts.has("ground") || parts.has("rest")) handles.show(state, ground);
  if (parts.has("words")) {
    showView();
    light();
  }
}

// Over two columns a plane, over one a line.
function drawPlane() {
  const one = model.points?.axes.length === 1;
  if (one && !line) {
    line = new LinePicture(of("plane"), (row) => look({ row }));
    points.join(line);
  }
  const [shown, other] = one ? [line, plane] : [plane, line];
  if (other) other.canvas.hidden = true;
  if (shown.canvas.hidden) Object.assign(shown, { explained: null });
  shown.canvas.hidden = false;
  shown.draw(model);
}

// How the training went, in words.
function tell() {
  const { starts, view, ground } = model;
  const time = starts.seconds < 1 ? `${Math.max(1, Math.round(starts.seconds * 1000))} ms` : `${starts.seconds.toFixed(1)} s`;
  const several = starts.size === 1 ? "1 start" : `${starts.size.toLocaleString("en")} starts`;
  say(of("status"), starts.done < starts.size ? `${starts.done} of ${several} trained` : `${several} trained in ${time}`);
  const number = ground.target.kind === "number";
  const written = (scores) => (scores ? (number ? `RMSE ${format(scores.rmse)}, R² ${format(scores.r2)}` : `accuracy ${percent(scores.accuracy)}, log-loss ${format(scores.log_loss)}`) : "");
  const sides = [["training", view.train], ["test", view.test]].filter(([, scores]) => scores);
  const changed = [state.view.legs.length ? "trained on from weights set by hand" : "", Object.keys(state.view.hand).length ? "weights set by hand" : ""].filter(Boolean);
  say(of("scores"), `Start ${view.start}, after epoch ${view.epoch}${changed.length ? `, ${changed.join(", ")}` : ""}: ${sides.map(([side, scores]) => `${side} ${written(scores)}`).join("; ")}`);
  say(of("ails"), ailments(view, model.ailing, Object.keys(state.view.hand).length > 0));
}

const format = (value) => (value === null ? "undefined" : Number(value.toPrecision(3)).toString().replace("-", "−"));
const percent = (value) => (value === null ? "undefined" : `${(value * 100).toFixed(1)} %`);

function stood(how) {
  const text = {
    open: "",
    lost: "The server does not answer: glassnet play was ended, perhaps. What you see is what came last; the page comes back by itself.",
    refused: "glassnet play was started anew and has a new key. Open the address that it has printed; this view lies behind # in the address above.",
  }[how];
  say(of("connection"), text);
  of("connection").hidden = text === "";
  page.dataset.connection = how;
}

// --- beginning ------------------------------------------------------------------------------------------------------

let limits = null;
let points = null;
let byHand = null;
const choose = (only) => {
  if (state.view.slow < 0) {
    look({ only: state.view.only === only ? "" : only, row: Math.max(0, state.view.row) });
    return;
  }
  const at = slow.lineWith(only); // while an update is gone through, it goes to where this is worked out
  if (at >= 0) look({ slow: at + 1 });
};
const network = new NetworkPicture(of("network"), choose, pointed, showView);
const plane = new PlanePicture(of("plane"), (row) => look({ row }));
let line = null; // made where it is first needed
const curves = new CurvesPicture(of("curves"), (epoch) => { rest(); scrub(epoch); });
const distribution = new DistributionPicture(of("distribution"), (start) => look({ start }));
const equations = new Equations(of("equations"), pointed);
const slow = new Slow(of("equations"), network, look, pointed);
const axes = new Axes(of("axes"), look);
const handles = new Handles(of("form"), set, async (file) => set("table", await sendTable(file)));

of("scrubber").addEventListener("input", (event) => { rest(); scrub(event.target.valueAsNumber); });
of("watch").addEventListener("click", () => (watching ? rest() : watch()));
of("kept").addEventListener("click", () => look({ start: -1, hand: {}, legs: [] }));
of("whole").addEventListener("click", () => look({ only: "" }));
addEventListener("hashchange", readAddress);
onScheme(() => {
  for (const part of ["view", "starts", "ground"]) if (model[part]) changed.add(part);
  if (!painting) painting = requestAnimationFrame(paint);
});
// The key has done its work; an address that is passed on shall not hold it.
if (new URLSearchParams(location.search).has("token")) history.replaceState(null, "", `${location.pathname}${location.hash}`);

const connection = connect(received, stood);
