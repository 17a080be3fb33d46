// Equations with their numbers, as MathML; each quantity in them is the one in the picture.

import { make, say } from "./dom.js";

export const stages = { encode: "From the table to the inputs", forward: "Forward", loss: "Loss", backward: "Backward", update: "Update", decode: "The answer" };

// One line: a formula for each term, so that a long sum breaks as text does. It is the server's own markup, in which
// every name is escaped.
export function lineOf({ pieces, note }) {
  const row = make("div", { class: "line" });
  row.innerHTML = pieces.map((piece) => `<math displaystyle="true">${piece}</math>`).join("<wbr>");
  if (note) row.append(make("span", { class: "note" }, note));
  return row;
}

// Tells what is pointed at in equations, and writes a number in full where it is clicked.
export function linked(body, pointed) {
  body.addEventListener("pointerover", (event) => pointed(event.target.closest("[data-name]")?.dataset.name ?? ""));
  body.addEventListener("pointerleave", () => pointed(""));
  body.addEventListener("click", (event) => inFull(event.target.closest("[title]")));
}

// A number with all its digits, and back.
function inFull(element) {
  const number = element?.querySelector("mn");
  if (!number) return;
  if (element.shortly === undefined) {
    element.shortly = element.innerHTML;
    const inner = document.createElementNS(number.namespaceURI, "mn");
    inner.textContent = element.getAttribute("title").replace("-", "−");
    element.replaceChildren(inner);
  } else {
    element.innerHTML = element.shortly;
    element.shortly = undefined;
  }
}

export class Equations {
  // `pointed(name)` is told the name of a quantity, or "".
  constructor(card, pointed) {
    this.card = card;
    this.body = card.querySelector(".equations");
    this.title = card.querySelector(".said");
    linked(this.body, pointed);
  }

  draw({ said, lines, answer }, chosen) {
    const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
    say(this.title, `${capital(said)}${chosen ? `; ${chosen}` : ""}. ${capital(answer)}`);
    const parts = [];
    let stage = "";
    for (const line of lines) {
      if (line.stage !== stage) {
        stage = line.stage;
        parts.push(make("h3", {}, stages[stage] ?? stage));
      }
      parts.push(lineOf(line));
    }
    this.body.replaceChildren(...parts);
  }

  clear() {
    this.body.replaceChildren();
    say(this.title, "");
  }

  light(name) {
    for (const element of this.card.querySelectorAll(".equations .lit")) element.classList.remove("lit");
    if (!name) return;
    for (const element of this.card.querySelectorAll(`.equations [data-name="${CSS.escape(name)}"]`)) element.classList.add("lit");
  }
}

// What in the picture a quantity of an equation belongs to: a1_2 and delta1_2 to unit z1_2, dloss/dw1_2_1 to its weight.
export function partOf(name, layers, outputs) {
  const plain = name.replace(/^d(loss|L)\/d/, "");
  const found = /^(?:z|a|delta|b)(\d+)_(\d+)$/.exec(plain);
  if (found) return `z${found[1]}_${found[2]}`;
  const output = /^[opy](\d*)$/.exec(plain);
  if (output) return `z${layers}_${outputs === 1 ? 1 : output[1]}`;
  if (plain === "loss") return `z${layers}_1`;
  return plain;
}
