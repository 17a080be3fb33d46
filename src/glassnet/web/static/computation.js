// A row through the model: from cells to inputs, layer by layer to the outputs, and back to the user's words. Bias first,
// inputs in order, every operation rounded: what `Model.predict` does, to the bit.

import { activations, exponential, formulas, probability } from "./functions.js";

// Every quantity of the encoding by its number. A cell is a number (1 for true, a level's place), -1 for a text that is no
// level, or null where it is missing.
export function encoded(model, cells) {
  const values = new Float64Array(model.values);
  model.columns.forEach((column, n) => {
    const cell = cells[n];
    values[column.absent] = cell === null ? 1 : 0;
    if (column.tests) column.tests.forEach((at, level) => { values[at] = cell === level ? 1 : 0; });
    else values[column.raw] = cell ?? column.fill;
  });
  for (const [formula, given, to] of model.steps) {
    values[to] = formulas[formula](...given.map((one) => (typeof one === "number" ? one : values[one[0]])));
  }
  return values;
}

// The place of the first column whose cell cannot be scaled in 64 bits, or -1.
export const beyond = (model, values) => model.columns.findIndex((column) => !column.features.every((at) => Number.isFinite(values[at])));

// One pass: z and a of every layer, x in front of a; the logits o, of several classes m and s; the probabilities p.
export function forward(model, vector, values) {
  const { sizes, single } = model;
  const round = single ? Math.fround : (number) => number;
  let arriving = Float64Array.from(model.columns.flatMap((column) => column.features), (at) => round(values[at]));
  const trace = { z: [], a: [arriving] };
  let at = 0;
  for (let layer = 1; layer < sizes.length; layer += 1) {
    const [inputs, units] = [sizes[layer - 1], sizes[layer]];
    const z = new Float64Array(units);
    for (let j = 0; j < units; j += 1) {
      let sum = vector[at + inputs * units + j];
      for (let i = 0; i < inputs; i += 1) sum = round(sum + round(arriving[i] * vector[at + i * units + j]));
      z[j] = sum;
    }
    at += (inputs + 1) * units;
    arriving = z.map((one) => activations[layer - 1](one));
    trace.z.push(z);
    trace.a.push(arriving);
  }
  trace.o = arriving;
  trace.m = trace.o.reduce((most, one) => Math.max(most, one));
  trace.s = model.overClasses ? trace.o.reduce((sum, one) => round(sum + exponential(one, trace.m)), 0) : 0;
  trace.p = trace.o.map((one) => probability(one, trace.m, trace.s));
  return trace;
}

// The outputs: of several networks their mean.
export function outputs(traces) {
  return traces[0].p.map((_, k) => traces.reduce((sum, { p }) => sum + p[k], 0) / traces.length);
}

// What the outputs say: `label` a class, or `value` a number; `chances` a probability for each class.
export function decoded({ target }, found) {
  const { kind, classes, center, scale } = target;
  if (kind === "number") return { value: center + scale * found[0], chances: [] };
  if (kind === "outputs") return { chances: [...found] };
  if (kind === "binary") return { label: found[0] > 0.5 ? 1 : 0, chances: [1 - found[0], found[0]], said: classes[found[0] > 0.5 ? 1 : 0] };
  const undefinedAt = found.findIndex(Number.isNaN); // as NumPy's argmax has it
  const label = undefinedAt >= 0 ? undefinedAt : found.reduce((best, one, k) => (one > found[best] ? k : best), 0);
  return { label, chances: [...found], said: classes[label] };
}

// A number as Python prints it: the shortest text that gives it back.
export function printed(value) {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  const [mantissa, exponent] = value.toExponential().split("e");
  const power = Number(exponent);
  if (value !== 0 && (power < -4 || power >= 16)) {
    return `${mantissa}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
  }
  const text = Object.is(value, -0) ? "-0" : String(value);
  return text.includes(".") ? text : `${text}.0`;
}
