// The lines of a worked calculation: templates of equations, filled in with indices and numbers; `equation.js` shows them.

import { printed } from "./computation.js";

const MOST_LINES = 40; // parameters of a network whose equations are all shown at once
const MOST_DIGITS = 17;

// A number to so many digits, as `glassnet explain` prints it: more where it would look whole without being so.
export function short(value, digits = 4) {
  const size = Math.abs(value);
  if (!Number.isFinite(value)) return printed(value);
  if (size >= 10 ** digits && size < 1e9 && digits < 9) return value.toFixed(0);
  const power = value === 0 ? 0 : Number(value.toExponential(digits - 1).split("e")[1]);
  const stripped = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  let text;
  if (power < -4 || power >= digits) text = `${stripped(value.toExponential(digits - 1).split("e")[0])}e${power}`;
  else text = stripped(value.toFixed(digits - 1 - power));
  if (digits < MOST_DIGITS && size < 10 ** (digits - 1) && !/[.e]/.test(text) && Number(text) !== value) return short(value, digits + 1);
  return text;
}

// Every quantity's number by its slot. `values` are the encoding's, by number.
export class Numbers {
  constructor(model) {
    this.model = model;
    this.found = new Map();
    this.values = null;
  }

  of(slot) {
    return slot.startsWith("@") ? this.values[parseInt(slot.slice(1), 10)] : this.found.get(slot);
  }

  put(values, vector, trace, answer) {
    const { model, found } = this;
    const { sizes } = model;
    const single = sizes.at(-1) === 1;
    this.values = values;
    const all = (letter, numbers, alone = false) => numbers.forEach((one, n) => found.set(alone ? letter : `${letter}${n + 1}`, one));
    if (this.vector !== vector) {
      this.vector = vector;
      let at = 0;
      for (let layer = 1; layer < sizes.length; layer += 1) {
        for (let i = 1; i <= sizes[layer - 1]; i += 1) {
          for (let j = 1; j <= sizes[layer]; j += 1, at += 1) found.set(`w${layer}_${i}_${j}`, vector[at]);
        }
        for (let j = 1; j <= sizes[layer]; j += 1, at += 1) found.set(`b${layer}_${j}`, vector[at]);
      }
    }
    all("x", trace.a[0]);
    trace.z.forEach((z, layer) => all(`z${layer + 1}_`, z));
    trace.a.slice(1).forEach((a, layer) => all(`a${layer + 1}_`, a));
    all("o", trace.o, single);
    all("p", trace.p, single);
    found.set("m", trace.m).set("s", trace.s).set("answer", answer);
  }
}

const NUMBER = /(\x03?)(<mrow data-name="[^"]*")>\x01([^\x01]*)\x01<\/mrow>(\x04?)/g;

function markup(text) {
  const [mantissa, exponent] = text.replace("-", "").split("e");
  const power = exponent === undefined ? "" : `<mo>⋅</mo><msup><mn>10</mn><mn>${exponent.replace("-", "−")}</mn></msup>`;
  return `${text.startsWith("-") ? "<mo>−</mo>" : ""}<mn>${mantissa}</mn>${power}`;
}

const placed = (text, index) => (index.length ? text.replace(/\x02(\d)/g, (_, n) => index[n]) : text);

function filled(text, index, numbers, digits) {
  return placed(text, index).replace(NUMBER, (_, open, element, slot) => {
    const value = numbers.of(slot);
    const shown = markup(short(value, slot.endsWith("r") ? Math.max(digits, 12) : digits));
    const inner = `${element} title="${printed(value)}">${shown}</mrow>`;
    return open && value < 0 ? `<mo>(</mo>${inner}<mo>)</mo>` : inner;
  });
}

// So many digits that the numbers of a sum, as they are shown, lead to half of the result's digits or more.
function digitsOf({ sum, slot }, index, numbers) {
  const result = numbers.of(placed(slot, index));
  const slots = (text, inner) => [...placed(text, inner).matchAll(NUMBER)].map((found) => numbers.of(found[3]));
  const terms = [slots(sum.bias[1], index)];
  for (let i = 1; i <= sum.size; i += 1) terms.push(slots(sum.term[1], [...index, i]));
  for (let digits = 4; digits < MOST_DIGITS; digits += 2) {
    const total = terms.reduce((all, factors) => all + factors.reduce((product, one) => product * Number(short(one, digits)), 1), 0);
    if (Math.abs(total - result) <= 0.01 * Math.abs(result)) return digits;
  }
  return MOST_DIGITS;
}

function pieces(line, index, numbers) {
  const equals = '<mo form="infix">=</mo>';
  const value = equals + filled(line.value, index, numbers, 4);
  if (line.sum === undefined) return [...line.sides.flatMap((side) => side.map((piece) => filled(piece, index, numbers, 4))), value];
  const { bias, term, size } = line.sum;
  const digits = digitsOf(line, index, numbers);
  const written = [0, 1].flatMap((side) => [
    equals + filled(bias[side], index, numbers, digits),
    ...Array.from({ length: size }, (_, i) => filled(term[side], [...index, i + 1], numbers, digits)),
  ]);
  return [...written, value];
}

// The names of the lines that tell of a part of the picture, z1_2, w1_2_1, b1_1; null for all lines.
function wanted(model, part) {
  const [layer, ...index] = part.slice(1).split("_");
  const unit = index.at(-1);
  const names = [`z${layer}_${unit}`];
  if (part.startsWith("z")) {
    names.push(`a${layer}_${unit}`);
    const k = model.sizes.at(-1) === 1 ? "" : unit;
    if (Number(layer) === model.sizes.length - 1) names.push(`o${k}`, "m", "s", `p${k}`);
  }
  return names;
}

// What `equation.js` draws: of everything, of a part of the network, or of a large network's answer alone.
export function lines(model, numbers, part) {
  const small = model.members[0].length <= MOST_LINES;
  const found = [];
  const add = (line, index = []) => found.push({ name: placed(line.name, index), stage: line.stage, note: line.note, pieces: [placed(line.target, index), ...pieces(line, index, numbers)] });
  if (part.startsWith("x")) {
    const { column } = model.encode.find(({ feature }) => feature === Number(part.slice(1))) ?? {};
    for (const line of model.encode) {
      if (line.column === column && (line.feature === Number(part.slice(1)) || line.name !== `x${line.feature}`)) add(line);
    }
    return found;
  }
  const names = part ? wanted(model, part) : null;
  if (!names && small) model.encode.forEach((line) => add(line));
  for (const line of model.forward) {
    const count = line.axes[0] ?? 1;
    for (let unit = 1; unit <= count; unit += 1) {
      const index = line.axes.length ? [unit] : [];
      if (names ? names.includes(placed(line.name, index)) : small || /^[ops]|^m$/.test(line.name)) add(line, index);
    }
  }
  if (!part) model.decode.forEach((line) => add(line));
  return found;
}
