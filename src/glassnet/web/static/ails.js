// What ails a start or a unit, in words: since when, why, and what helps.

const unit = (name) => name.replace(/^z(\d+)_(\d+)$/, "unit $2 of layer $1");
const when = (since, step) => (since < 0 ? "" : since === 0 ? " from the beginning" : ` since epoch ${since} (step ${step.toLocaleString("en")})`);

function ofUnit({ name, what, share, since, step }) {
  if (what === "dead") return `${unit(name)} is dead${when(since, step)}: it is 0 on every training row, so no gradient reaches it, and it stays as it is. A smaller learning rate, leaky_relu or another start avoids it.`;
  const rows = share >= 0.9995 ? "every training row" : `${Math.floor(share * 100)} % of the training rows`;
  return `${unit(name)} is saturated${when(since, step)}: on ${rows} its slope is less than a hundredth of its steepest, so hardly any gradient passes it. Smaller weights, by a smaller learning rate or L2, bring it back.`;
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// `ails`: dead since, stuck since, diverged at; `ailing`: units, where they are known by now.
export function ailments({ ails, epoch, updates }, ailing, byHand) {
  const [dead, stuck, diverged] = ails;
  const said = [];
  if (diverged >= 0) said.push(`This start diverged at step ${diverged}: its numbers went beyond all measure, and it was stopped at the last finite ones. A smaller learning rate helps.`);
  if (stuck >= 0 && !byHand) said.push(stuck <= epoch ? `It is stuck: it has given every training row the same class${when(stuck, stuck * updates)}. Another start, or another learning rate, gets away.` : `It gets stuck: from epoch ${stuck} on it gives every training row the same class.`);
  if (ailing) said.push(...ailing.slice(0, 6).map((one) => capital(ofUnit(one))));
  else if (dead >= 0 && dead <= epoch) said.push(`A hidden unit has been 0 on every training row${when(dead, dead * updates)}: no gradient reaches it, it is dead.`);
  if (ailing?.length > 6) said.push(`So are ${ailing.length - 6} further units.`);
  return said.join(" ");
}
