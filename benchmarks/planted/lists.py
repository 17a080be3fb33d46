"""Style: one function that takes and gives lists of arrays, everything inside it; either orientation of the weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random

from planted.draws import HIDDEN, Draw
from planted.edits import Edit, both, either, every


def wants(rng: Random) -> dict[str, tuple[object, ...]]:
    """What this style can write."""
    return {
        "ascent": (False,),
        "derivative": ("z", "a"),
        "has_update": (False,),
        "guard": ("", "clip"),
        "has_loss": (True,),
    }


def source(d: Draw, rng: Random) -> str:
    """The file: `gradients(weights, biases, X, y)` gives (loss, weight gradients, bias gradients)."""
    value, of_z, of_a = HIDDEN[d.hidden]
    formula = of_a if d.derivative == "a" else of_z
    T, U = ("", ".T") if d.in_out else (".T", "")
    w, b = "weights", "biases"
    name = rng.choice(("gradients", "backprop", "backpropagation"))
    lam = ", l2" if d.l2 != "none" else ""
    deltas = rng.choice(("delta", "err"))
    lines = [
        "import numpy as np",
        "",
        d.conventions,
        f"f = lambda z: {value}",
        f"df = lambda {d.derivative}: {formula}",
        "",
        "",
        f"def {name}({w}, {b}, X, y{lam}):",
        "    n = len(X)",
        "    activations = [X]",
        "    zs = []",
        f"    for k, (W, b) in enumerate(zip({w}, {b})):",
        f"        z = activations[-1] @ W{T} + b",
        "        zs.append(z)",
        f"        if k < len({w}) - 1:",
        "            activations.append(f(z))",
        "    z = zs[-1]",
    ]
    lines += {
        "sigmoid": ["    out = 1 / (1 + np.exp(-z))"],
        "softmax": ["    out = np.exp(z)", "    out = out / np.sum(out, axis=1, keepdims=True)"],
        "identity": ["    out = z"],
        "tanh": ["    out = np.tanh(z)"],
    }[d.output]
    lines += ["    activations.append(out)"]
    inner = {
        "squared_error": "(out - y) ** 2",
        "cross_entropy": "-y * np.log(SAFE)",
        "binary_cross_entropy": "-y * np.log(SAFE) - (1 - y) * np.log(1 - SAFE)",
    }[d.loss].replace("SAFE", "np.clip(out, 1e-15, 1 - 1e-15)" if d.guard == "clip" else "out")
    size = {"sum": "n", "mean": "y.size"}[d.outputs]
    lines += [
        f"    errors = {inner}",
        "    loss = errors.sum()" + (f" / {size}" if d.rows == "mean" else "") + (" / 2" if d.half else ""),
    ]
    if lam:
        factor = {"half": "l2 / 2", "whole": "l2", "half_over_n": "l2 / (2 * n)"}[d.l2]
        lines += [f"    loss += {factor} * sum((W ** 2).sum() for W in {w})"]
    slope = {"sigmoid": " * out * (1 - out)", "tanh": " * (1 - out ** 2)"}
    if d.loss == "squared_error":
        rule = f"{d.slope}(out - y){slope.get(d.output, '')}"
    elif d.fused:
        rule = "out - y"
    elif d.output == "softmax":
        rule = "np.array([(np.diag(p) - np.outer(p, p)) @ (-t / p) for p, t in zip(out, y)])"
    else:
        rule = "(out - y) / (out * (1 - out)) * out * (1 - out)"
    mean = f" / {size}" if d.rows == "mean" else ""
    early, late = (mean, "") if d.scaled_at == "delta" else ("", mean)
    kept = "activations[k]" if d.derivative == "a" else "zs[k - 1]"
    product = f"activations[k].T @ {deltas}" if d.in_out else f"{deltas}.T @ activations[k]"
    penalty = {"none": "", "half": " + l2 * ", "whole": " + 2 * l2 * ", "half_over_n": " + l2 / n * "}[d.l2]
    penalty += f"{w}[k]" if penalty else ""
    lines += [
        f"    {deltas} = {rule}",
        *([f"    {deltas} = {deltas}{early}"] if early else []),
        "    dW, db = [], []",
        f"    for k in range(len({w}) - 1, -1, -1):",
        f"        dW.insert(0, {product}{late}{penalty})",
        f"        db.insert(0, {deltas}.sum(axis=0){late})",
        "        if k > 0:",
        f"            {deltas} = ({deltas} @ {w}[k]{U}) * df({kept})",
        rng.choice(("    return loss, dW, db", "    return loss, (dW, db)")),
        "",
    ]
    return "\n".join(lines)


LATE = r"( / (?:n|y\.size))"
EDITS: Mapping[str, Edit] = {
    "gradient summed": either(
        every(rf"^(        d[Wb]\.insert.*?){LATE}(?= \+|\)$)", r"\1"), every(rf"^    D = D{LATE}\n", "")
    ),
    "gradient averaged": every(
        r"^(        d[Wb]\.insert\(0, .*? @ [\w\[\]]+|        db\.insert\(0, .*?sum\(axis=0\))(\)| \+ .*\))$",
        r"\1 / n\2",
    ),
    "averaged twice": every(rf"^(        d[Wb]\.insert.*?){LATE}(?= \+|\)$)", r"\1\2\2"),
    "averaged over the wrong axis": every(r"^(        d[Wb]\.insert.*?) / n(?= \+|\)$)", r"\1 / X.shape[1]"),
    "bias not averaged": every(rf"^(        db\.insert.*?){LATE}", r"\1"),
    "sign of the error": every(r"^(    D = .*?)\(?out - y\)?", r"\1(y - out)"),
    "derivative missing": every(r"^(            D = )\((.*)\) \* df\(.*\)$", r"\1\2"),
    "derivative doubled": every(r"^(            D = .*) \* (df\(.*\))$", r"\1 * \2 * \2"),
    "derivative of z at a": every(r"df\(zs\[k - 1\]\)", "df(activations[k])"),
    "derivative of a at z": every(r"df\(activations\[k\]\)", "df(zs[k - 1])"),
    "derivative at the wrong layer": either(
        every(r"df\(zs\[k - 1\]\)", "df(zs[k])"),
        every(r"df\(activations\[k\]\)", "df(activations[k + 1])"),
    ),
    "weights transposed": either(every(r"(D @ weights\[k\])\.T", r"\1"), every(r"(D @ weights\[k\])(?!\.T)", r"\1.T")),
    "bias gradient of one row": every(r"D\.sum\(axis=0\)", "D[-1]"),
    "bias gradient not summed": every(r"D\.sum\(axis=0\)", "D"),
    "bias gradient summed over units": every(r"D\.sum\(axis=0\)", "D.sum()"),
    "bias gradient of another unit": every(r"D\.sum\(axis=0\)", "D.sum(axis=0)[::-1]"),
    "bias gradient of another layer": both(
        every(r"^(    dW, db = .*)$", r"\1\n    first = D"),
        every(r"D\.sum\(axis=0\)", "first.sum(axis=0)"),
    ),
    "sigmoid derivative on cross-entropy": every(r"^(    D = )out - y$", r"\1(out - y) * out * (1 - out)"),
    "output derivative missing": every(r"^(    D = (?:2 \* )?\(out - y\)) \* .*$", r"\1"),
    "softmax without cross terms": either(
        every(r"^(    D = )out - y$", r"\1-y / out * (out * (1 - out))"),
        every(r"\(np\.diag\(p\) - np\.outer\(p, p\)\)", "np.diag(p * (1 - p))"),
    ),
    "accumulates between calls": both(
        every(r"^(def \w+\(.*)\):$", r"\1, dW=[], db=[]):"),
        every(
            r"^    dW, db = \[\], \[\]\n",
            "    if not dW:\n        dW.extend(0 * W for W in weights)\n        db.extend(0 * b for b in biases)\n",
        ),
        every(r"^(        )(d[Wb])\.insert\(0, (.*)\)$", r"\1\2[k] = \2[k] + \3"),
    ),
    "factor of the square in the gradient": either(
        every(r"^(    D = )2 \* ", r"\1"), every(r"^(    D = )(\(out - y\)(?! /))", r"\g<1>2 * \2")
    ),
    "gradient of another loss": every(r"^(    errors = )-y \* np\.log.*1 - y.*$", r"\1(out - y) ** 2"),
    "log of a rounded probability": both(
        every(r"^(    errors = .*np\.log\()out\b(.*log\(1 - )out\b", r"\1np.round(out)\2np.round(out)"),
    ),
    "penalty on biases": every(r"^(        db\.insert\(.*)\)$", r"\1 + l2 * biases[k])"),
    "penalty missing": every(r"^(        dW\.insert\(.*?) \+ (?:2 \* )?l2.*\)$", r"\1)"),
    "penalty doubled": every(r"^(        dW\.insert\(.*? \+ )(l2)", r"\g<1>2 * \2"),
    "penalty halved": every(r"^(        dW\.insert\(.*? \+ )2 \* (l2)", r"\1\2"),
    "penalty subtracted": every(r"^(        dW\.insert\(.*?) \+ ", r"\1 - "),
    "integer division": every(r"^(        d[Wb]\.insert.*?) / (n|y\.size)(?= \+|\)$)", r"\1 // \2"),
    "input changed in place": either(
        every(r"^    activations = \[X\]$", "    X -= X.mean(axis=0)\n    activations = [X]"),
        every(r"^(    dW, db = .*)$", r"\1\n    y -= out"),
    ),
    "bias forgotten": every(r"^(        z = .*) \+ b$", r"\1"),
    "activation forgotten": every(r"activations\.append\(f\(z\)\)", "activations.append(z)"),
    "weight gradient with z": every(r"^(        dW\.insert.*)activations\[k\]", r"\1([X] + zs)[k]"),
    "inputs of another layer": either(
        every(r"^(        dW\.insert.*)activations\[k\]", r"\1activations[max(k - 1, 0)]"),
        every(r"^(        dW\.insert.*)activations\[k\]", r"\1X"),
    ),
    "weights left out of the chain": every(r"\(D @ weights\[k\](?:\.T)?\)", "D"),
    "weights of another layer": every(r"D @ weights\[k\]", "D @ weights[k - 1]"),
    "derivative of another activation": either(
        every(r"^df = lambda z: 1 - np\.tanh\(z\) \*\* 2$", "df = lambda z: np.tanh(z) * (1 - np.tanh(z))"),
        every(r"^df = lambda a: 1 - a \*\* 2$", "df = lambda a: a * (1 - a)"),
        every(r"^df = lambda a: a \* \(1 - a\)$", "df = lambda a: 1 - a ** 2"),
        every(r"^(f = lambda z: np\.where.*\ndf = lambda z: ).*$", r"\1(z > 0) * 1.0"),
    ),
    "square forgotten in tanh derivative": either(
        every(r"(df.*np\.tanh\(z\)) \*\* 2", r"\1"), every(r"^df = lambda a: 1 - a \*\* 2", "df = lambda a: 1 - a")
    ),
    "loss without the rows of class 0": every(r"^(    errors = -y \* np\.log\(.*?\)) - \(1 - y\).*$", r"\1"),
    "loss with the wrong sign": every(r"^    errors = -y \* (.*) - \(1 - y\)", r"    errors = y * \1 + (1 - y)"),
    "softmax over the wrong axis": every(r"out / np\.sum\(out, axis=1, keepdims=True\)", "out / np.sum(out, axis=0)"),
    "first layer not trained": every(r"^(    return loss, )(.*)$", r"    dW[0] = 0 * dW[0]\n\1\2"),
    "one unit's formula for another": every(r"^(            D = .*)$", r"\1\n            D[:, -1] = D[:, 0]"),
}


def _for_either_word(edit: Edit) -> Edit:
    """The patterns write D for what the file calls delta or err."""

    def filled(text: str, rng: Random) -> str | None:
        word = "delta" if "delta = " in text else "err"
        edited = edit(re.sub(rf"\b{word}\b", "D", text), rng)
        return None if edited is None else re.sub(r"\bD\b", word, edited)

    return filled


MISTAKES: Mapping[str, Edit] = {name: _for_either_word(edit) for name, edit in EDITS.items()}
