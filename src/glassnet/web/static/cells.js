// What a typed text means for a column, as `glassnet predict` reads a table's cells: strictly, nothing rounded in silence.

import { dateOf } from "./numbers.js";

const NUMBER = /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i;
const INFINITE = /^[+-]?(inf|infinity)$/i;
const DATE = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?(?:(Z)|([+-])(\d\d):(\d\d))?)?$/;
const DAY = 86400000;

// As Python quotes a text, shortened where it is long.
function shown(text) {
  const short = text.length > 60 ? text.slice(0, 57) : text;
  const sign = short.includes("'") && !short.includes('"') ? '"' : "'";
  const quoted = short.replaceAll("\\", "\\\\").replaceAll("\t", "\\t");
  return sign + (sign === "'" ? quoted.replaceAll("'", "\\'") : quoted) + sign + (text.length > 60 ? "..." : "");
}

// {cell}, null where it is missing, or {problem}.
export function read(column, text, missing) {
  const word = text.trim();
  if (missing.includes(word.toLowerCase())) return { cell: null };
  const found = column.kind === "date" ? days(word) : number(word);
  const told = column.kind === "date" ? text : word; // as `predict` names it
  return typeof found === "string" ? { problem: `column ${column.called}: ${shown(told)} ${found}.` } : { cell: found };
}

export const tooFar = (column, text) => `column ${column.called}: ${shown(text)} is too far from the training rows' values to be scaled in 64 bits. Correct the cell.`;

function number(word) {
  if (INFINITE.test(word)) return "is not a finite number in 64 bits";
  if (!NUMBER.test(word)) return "is not a number";
  const value = Number(word);
  if (!Number.isFinite(value)) return "is not a finite number in 64 bits";
  const whole = /^([+-]?)(\d+)(\.0*)?$/.exec(word);
  if (whole && Math.abs(value) >= 2 ** 53 && BigInt(whole[2]) !== BigInt(Math.abs(value))) return "has more digits than a number in 64 bits holds";
  if (value === 0 && /^[^eE]*[1-9]/.test(word)) return "is too small for a number in 64 bits";
  return value;
}

function days(word) {
  const wrong = "is not a date as 2020-01-31";
  const found = DATE.exec(word);
  if (!found) return wrong;
  const [year, month, day, hour, minute, second] = found.slice(1, 7).map((part) => Number(part ?? 0));
  const moment = new Date(0);
  moment.setUTCFullYear(year, month - 1, day);
  if (year < 1 || moment.getUTCMonth() !== month - 1 || moment.getUTCDate() !== day) return wrong;
  if (hour > 23 || minute > 59 || second > 59) return wrong;
  const [awayHours, awayMinutes] = [Number(found[10] ?? 0), Number(found[11] ?? 0)];
  if (awayHours > 23 || awayMinutes > 59) return wrong;
  const away = (found[9] === "-" ? -1 : 1) * (awayHours * 60 + awayMinutes);
  const milliseconds = moment.getTime() + (hour * 3600 + (minute - away) * 60 + second) * 1000;
  const rest = Number((found[7] ?? "").padEnd(6, "0")); // microseconds
  return rest === 0 && milliseconds % DAY === 0 ? milliseconds / DAY : (milliseconds * 1000 + rest) / (DAY * 1000);
}

// A column's slider: `count` steps from `low`; both ends and all between are round numbers.
export function sliderOf({ kind, low, high }) {
  if (kind === "date") {
    const [first, last] = [Math.max(Math.floor(low), -719162), Math.min(Math.ceil(high), 2932896)]; // the years 1 to 9999
    return { low: first, step: 1, count: Math.max(1, last - first) };
  }
  const rough = (high - low) / 200 || 1;
  const power = Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => Number(`${factor}e${power}`)).find((one) => one >= rough * (1 - 1e-9));
  const first = Math.floor(low / step + 1e-9);
  return { low: first * step, first, step, count: Math.max(1, Math.ceil(high / step - 1e-9) - first) };
}

// The text of the slider's position.
export function textAt({ kind }, slider, position) {
  if (kind === "date") return dateOf(slider.low + position);
  return String(Number(((slider.first + position) * slider.step).toPrecision(12)));
}

// The slider's position that is nearest to a number.
export function positionOf(slider, value) {
  return Math.max(0, Math.min(slider.count, Math.round((value - slider.low) / slider.step)));
}
