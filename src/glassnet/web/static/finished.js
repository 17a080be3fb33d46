// The page of a finished model: inputs are read, the model computes, and what it computed is shown. One way, no server.

import { onScheme } from "./colours.js";
import { beyond, decoded, encoded, forward, outputs, printed } from "./computation.js";
import { tooFar } from "./cells.js";
import { make, say } from "./dom.js";
import { Equations, partOf } from "./equation.js";
import { FlowPicture } from "./flow.js";
import { Inputs } from "./inputs.js";
import { Numbers, lines } from "./worked.js";

const MOST_CHANCES = 30; // classes up to which all are listed, in their order
const EQUATIONS_AFTER = 60; // milliseconds of rest
const ADDRESS_AFTER = 250; // milliseconds of rest

const of = (id) => document.getElementById(id);
const model = JSON.parse(of("model").textContent);
const { target } = model;
const members = model.members.map((vector) => Float64Array.from(vector));
const ground = {
  inputs: model.features,
  target: target.kind === "outputs" ? { kind: "number", name: "p", classes: [] } : target,
};
const numbers = members.map(() => new Numbers(model));

let part = ""; // of the network, chosen
let pointedAt = "";
let member = 0;
let flows = true;
let now = null; // what was computed last
let painting = 0;
let resting = 0;

const network = new FlowPicture(of("network"), choose, point);
const equations = new Equations(of("equations"), point);

// --- from the inputs to the answer --------------------------------------------------------------------------------------

function compute() {
  const read = inputs.read();
  const problems = read.map(({ problem }) => problem ?? "");
  let values = null;
  if (!problems.some(Boolean)) {
    values = encoded(model, read.map(({ cell }) => cell));
    const far = beyond(model, values);
    if (far >= 0) problems[far] = tooFar(model.columns[far], read[far].text);
  }
  inputs.refuse(problems);
  of("remarks").replaceChildren(...read.filter(({ remark }) => remark).map(({ remark }) => make("li", {}, remark)));
  now = null;
  if (!problems.some(Boolean)) {
    const traces = members.map((vector) => forward(model, vector, values));
    now = { values, traces, found: decoded(model, outputs(traces)) };
  }
  show(problems.find(Boolean));
  remember();
}

// The answer at once, the picture with the next frame, the equations after a moment's rest: they take longer than a frame.
function show(problem) {
  for (const id of ["network", "equations"]) of(id).hidden = now === null;
  showAnswer(problem);
  clearTimeout(resting);
  document.documentElement.dataset.rested = now ? "no" : "yes";
  if (!now) return;
  painting ||= requestAnimationFrame(paint);
  resting = setTimeout(rest, EQUATIONS_AFTER);
}

function paint() {
  painting = 0;
  if (now) network.show(model, ground, members[member], now.traces[member], flows);
}

function rest() {
  clearTimeout(resting);
  cancelAnimationFrame(painting);
  paint();
  network.label();
  showEquations();
  document.documentElement.dataset.rested = "yes";
}

const nameOf = (k) => (target.kind === "outputs" ? (model.sizes.at(-1) === 1 ? "p" : `p${k + 1}`) : target.classes[k]);

function showAnswer(problem) {
  document.documentElement.dataset.answered = now ? "yes" : "no"; // for whoever watches the page
  const says = of("says");
  of("answer").classList.toggle("refused", !now);
  if (!now) {
    says.replaceChildren(`No answer: ${problem}`);
    of("chances").replaceChildren();
    return;
  }
  const { value, said, chances, label } = now.found;
  if (target.kind === "outputs") says.replaceChildren();
  else says.replaceChildren(make("bdi", {}, value === undefined ? said : printed(value)));
  let order = chances.map((_, k) => k);
  if (order.length > MOST_CHANCES) order = order.sort((one, other) => chances[other] - chances[one]).slice(0, MOST_CHANCES);
  const rows = order.map((k) => {
    const bar = make("td", { class: "bar" });
    if (target.kind !== "outputs") {
      const drawn = make("span", {});
      drawn.style.width = `${Math.max(0, Math.min(100, 100 * chances[k]))}%`;
      bar.append(drawn);
    }
    const name = target.kind === "outputs" ? [nameOf(k)] : ["P(", make("bdi", {}, nameOf(k)), ")"];
    return make("tr", { class: k === label ? "label" : null }, make("th", { scope: "row" }, ...name), bar, make("td", { class: "digits" }, printed(chances[k])));
  });
  if (order.length < chances.length) rows.push(make("tr", {}, make("td", { colspan: 3 }, `and ${chances.length - order.length} less probable classes`)));
  of("chances").replaceChildren(...rows);
}

// The number that the last line of the equations ends with.
function answerAsNumber() {
  const found = decoded(model, now.traces[member].p);
  return found.value ?? (target.kind === "binary" ? found.label : found.label + 1);
}

function showEquations() {
  const { values, traces, found } = now;
  numbers[member].put(values, members[member], traces[member], answerAsNumber());
  const answer = found.value === undefined ? found.said ?? "" : printed(found.value);
  const shown = lines(model, numbers[member], part);
  const few = !part && model.members[0].length > shown.length && model.forward[0].axes[0] && !shown.some(({ name }) => name === "z1_1");
  const said = few ? "The answer; choose a unit or a weight of the network to see its equation" : part ? network.described(part) : "From the inputs to the answer";
  equations.draw({ said, answer: answer && `prediction: ${target.name} = ${answer}`, lines: shown }, "");
  of("whole").hidden = part === "";
  light();
}

// --- what is pointed at and chosen ------------------------------------------------------------------------------------------

function choose(name) {
  part = name === part ? "" : name;
  if (now) showEquations();
}

function point(name) {
  pointedAt = name;
  light();
}

function light() {
  const lit = pointedAt ? partOf(pointedAt, model.sizes.length - 1, model.sizes.at(-1)) : "";
  network.light(lit, part);
  equations.light(pointedAt);
  const text = lit || part ? network.described(lit || part) : "";
  say(of("network-readout"), text ? text.charAt(0).toUpperCase() + text.slice(1) : "Point at a line or a unit, click it to see its equation.");
}

function buildChoices() {
  const shows = make("select", { id: "flows", onchange: () => { flows = of("flows").value === "flows"; show(); } });
  shows.append(make("option", { value: "flows" }, "what flows"), make("option", { value: "weights" }, "weights"));
  of("choices").append(make("label", { for: "flows" }, "Lines show "), shows);
  if (members.length === 1) return;
  const which = make("select", { id: "member", onchange: () => { member = Number(which.value); part = ""; show(); } });
  which.append(...members.map((_, n) => make("option", { value: n }, `${n + 1} of ${members.length}`)));
  of("choices").append(make("label", { for: "member" }, "Network "), which);
}

// --- the address ------------------------------------------------------------------------------------------------------------

let writing = 0;

function remember() {
  clearTimeout(writing);
  writing = setTimeout(() => {
    const address = inputs.address;
    if (`#${address}` === location.hash || (address === "" && location.hash === "")) return;
    try {
      history.replaceState(null, "", `#${address}`);
    } catch { /* a page in a frame has no address of its own */ }
  }, ADDRESS_AFTER);
}

function readAddress() {
  inputs.address = location.hash.slice(1);
  compute();
}

say(of("said"), model.said);
say(of("history"), model.history);
const inputs = new Inputs(of("form"), model, compute);
of("again").addEventListener("click", () => { inputs.reset(); compute(); });
of("whole").addEventListener("click", () => choose(part));
buildChoices();
onScheme(() => now && network.draw(network.model));
addEventListener("hashchange", readAddress);
readAddress();
if (now) rest(); // the first frame is whole
