// Numbers for people: significant digits, never a false zero, a true minus sign.

export function significant(value, digits = 3) {
  if (value === null || Number.isNaN(value)) return "undefined";
  if (value === 0) return "0";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const power = Math.floor(Math.log10(Math.abs(value)));
  let text;
  if (power < -4 || power >= 9) {
    const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
    text = `${mantissa}e${Number(exponent)}`;
  } else if (power >= digits - 1) text = value.toFixed(0);
  else text = Number(value.toPrecision(digits)).toFixed(Math.max(0, digits - 1 - power));
  return text.replaceAll("-", "−");
}

// A setting's number, without zeros that say nothing.
export const plain = (value) => String(Number(value.toPrecision(6))).replace("-", "−");

export const dateOf = (days) => new Date(days * 864e5).toISOString().slice(0, 10);

// Round numbers between two others, about so many of them, each with its text.
export function ticks(low, high, about = 5) {
  const rough = (high - low) / about;
  if (!(rough > 0) || !Number.isFinite(rough)) return [];
  const power = Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * 10 ** power).find((one) => one >= rough);
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const found = [];
  for (let n = Math.ceil(low / step); n * step <= high + step * 1e-9; n += 1) {
    const value = n * step;
    const text = Math.abs(value) >= 1e6 || decimals > 5 ? significant(value, 2) : value.toFixed(decimals);
    found.push({ value, text: text.replaceAll("-", "−") });
  }
  return found;
}
