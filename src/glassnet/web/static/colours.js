// One encoding: blue is above zero or the positive class, orange below; style.css has the colours, light and dark.

const names = ["paper", "ink", "muted", "line", "positive", "negative", "strong"];
const classNames = Array.from({ length: 8 }, (_, n) => `class-${n}`);

let scheme = null;

const rgb = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
const mixed = (one, other, part) => one.map((value, n) => Math.round(value + (other[n] - value) * part));
const word = ([r, g, b]) => (255 << 24) | (b << 16) | (g << 8) | r;

function read() {
  const style = getComputedStyle(document.documentElement);
  const found = Object.fromEntries([...names, ...classNames].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  const [paper, above, below] = [found.paper, found.positive, found.negative].map(rgb);
  found.diverging = new Uint32Array(513);
  for (let n = -256; n <= 256; n += 1) found.diverging[n + 256] = word(mixed(paper, n > 0 ? above : below, (Math.abs(n) / 256) * 0.6));
  found.classes = classNames.map((name) => found[name]);
  found.fading = found.classes.map((colour) => Uint32Array.from({ length: 257 }, (_, n) => word(mixed(paper, rgb(colour), (n / 256) * 0.6))));
  return found;
}

export function colours() {
  scheme ??= read();
  return scheme;
}

export function onScheme(changed) {
  for (const query of ["(prefers-color-scheme: dark)", "print"]) {
    matchMedia(query).addEventListener("change", () => {
      scheme = null;
      changed();
    });
  }
}

// The pixel of a number from -1 to 1.
export const diverging = (table, t) => table[Math.round(Math.max(-1, Math.min(1, t)) * 256) + 256];

// A grid's pixels from its numbers: those of `diverging` of scale * value + shift.
export function shaded(values, scale, shift) {
  const table = colours().diverging;
  return (words, at, n, count) => {
    for (let k = 0; k < count; k += 1) {
      const t = values[n + k] * scale + shift;
      words[at + k] = table[Number.isNaN(t) ? 256 : Math.round(Math.max(-1, Math.min(1, t)) * 256) + 256];
    }
  };
}

// The colour of a class: of two, as signs have it.
export function classColour(number, count) {
  const found = colours();
  if (count === 2) return number === 1 ? found.positive : found.negative;
  return found.classes[number % found.classes.length];
}

const scratches = new Map(); // the length of a grid's side -> what it is drawn by

function scratch(side) {
  if (!scratches.has(side)) {
    const context = new OffscreenCanvas(side, side).getContext("2d", { willReadFrequently: true });
    const image = context.createImageData(side, side);
    scratches.set(side, { context, image, words: new Uint32Array(image.data.buffer) });
  }
  return scratches.get(side);
}

// Draws a grid of pixels, rows from the lowest up, into a rectangle. `fill(words, at, n, count)` puts the colours of
// `count` points from the n-th on into `words`, from `at` on.
export function drawGrid(context, side, fill, x, y, width, height) {
  const within = scratch(side);
  for (let row = 0; row < side; row += 1) fill(within.words, (side - 1 - row) * side, row * side, side);
  within.context.putImageData(within.image, 0, 0);
  context.imageSmoothingEnabled = true;
  context.drawImage(within.context.canvas, x, y, width, height);
}

// As `drawGrid` wants it, from the colour of the n-th point.
export const pixelwise = (pixel) => (words, at, n, count) => {
  for (let k = 0; k < count; k += 1) words[at + k] = pixel(n + k);
};
