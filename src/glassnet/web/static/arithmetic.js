// The canonical exp and log: the same operations in the same order as glassnet's own, and so the same bits as `predict`.
// Math.exp and Math.log may differ in the last digit from browser to browser; + - * / do not.

const bits = new DataView(new ArrayBuffer(8));
const DOUBLE = {
  round: (x) => x,
  expRange: [-746, 710],
  ln2High: 0.6931471805582987,
  ln2Low: 1.6465949582897082e-12,
  expDegree: 13,
  logTerms: 10,
};
const SINGLE = {
  round: Math.fround,
  expRange: [-105, 89],
  ln2High: 0.693359375,
  ln2Low: Math.fround(-0.00021219444005469057),
  expDegree: 8,
  logTerms: 5,
};

// 2**k, exactly: k is written into the exponent's bits. For k from -1022 to 1023.
function powerOfTwo(k) {
  bits.setUint32(0, (k + 1023) << 20);
  bits.setUint32(4, 0);
  return bits.getFloat64(0);
}

// To the nearest whole number, of two equally near the even one.
const nearest = (x) => x + 6755399441055744 - 6755399441055744;

function makeExp({ round, expRange, ln2High, ln2Low, expDegree }) {
  const perLn2 = round(1 / Math.LN2);
  const coefficients = []; // 1 / n!
  for (let n = 0, factorial = 1; n <= expDegree; n += 1, factorial *= n) coefficients.push(round(1 / factorial));
  const [least, most] = expRange;
  return (x) => {
    if (Number.isNaN(x)) return x;
    const clipped = x < least ? least : x > most ? most : x;
    const k = nearest(round(clipped * perLn2));
    const high = round(clipped - round(k * ln2High));
    const low = round(k * ln2Low);
    const r = round(high - low);
    let tail = round(r * coefficients[expDegree]);
    for (let power = expDegree - 1; power > 1; power -= 1) tail = round(round(tail + coefficients[power]) * r);
    tail = round(round(tail * r) - low);
    const head = round(high + 1);
    const lost = round(round(1 - head) + high);
    tail = round(round(tail + lost) + head);
    const half = k >> 1; // 2**k in two factors, for it may not be a number itself
    return round(round(tail * powerOfTwo(half)) * powerOfTwo(k - half));
  };
}

// x = fraction * 2**exponent with 1/2 <= fraction < 1, exactly; x is above zero and finite.
function parts(x) {
  const scaled = x < 2.2250738585072014e-308 ? x * 18014398509481984 : x; // 2**54: no longer subnormal
  bits.setFloat64(0, scaled);
  const head = bits.getUint32(0);
  bits.setUint32(0, (head & 0x800fffff) | (1022 << 20));
  return [bits.getFloat64(0), ((head >>> 20) & 2047) - 1022 - (scaled === x ? 0 : 54)];
}

function makeLog({ round, ln2High, ln2Low, logTerms }) {
  const root = round(Math.SQRT1_2);
  const coefficients = Array.from({ length: logTerms + 1 }, (_, term) => round(2 / (2 * term + 1)));
  return (x) => {
    if (Number.isNaN(x) || x === Infinity) return x;
    if (x <= 0) return x === 0 ? -Infinity : NaN;
    let [f, e] = parts(x);
    if (f < root) [f, e] = [f * 2, e - 1];
    f = round(f - 1);
    const s = round(f / round(f + 2));
    const square = round(s * s);
    let series = round(square * coefficients[logTerms]);
    for (let term = logTerms - 1; term > 0; term -= 1) series = round(round(series + coefficients[term]) * square);
    let tail = round(round(f * f) * 0.5);
    series = round(round(series + tail) * s);
    tail = round(round(tail - series) - round(e * ln2Low));
    const high = round(e * ln2High);
    const head = round(high + f);
    return round(head + round(round(round(high - head) + f) - tail));
  };
}

export const exp = makeExp(DOUBLE);
export const log = makeLog(DOUBLE);
export const expSingle = makeExp(SINGLE);
export const logSingle = makeLog(SINGLE);
