"""Style: no arrays in the arithmetic, one example after the other, loops over units; either orientation."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from planted.draws import Draw
from planted.edits import Edit, both, either, every

HIDDEN = {
    "relu": ("max(0.0, z)", "1.0 if z > 0 else 0.0"),
    "tanh": ("math.tanh(z)", "1 - math.tanh(z) ** 2"),
    "sigmoid": ("1 / (1 + math.exp(-z))", "activate(z) * (1 - activate(z))"),
    "leaky_relu": ("z if z > 0 else 0.01 * z", "1.0 if z > 0 else 0.01"),
}
OF_A = {"tanh": "1 - a * a", "sigmoid": "a * (1 - a)"}


def wants(rng: Random) -> dict[str, tuple[object, ...]]:
    """What this style can write."""
    return {
        "ascent": (False,),
        "hidden": tuple(HIDDEN),
        "derivative": ("z", "a"),
        "guard": ("",),
        "outputs": ("sum",),
        "l2": ("none",),
        "has_update": (False,),
    }


def source(d: Draw, rng: Random) -> str:
    """The file: forward gives probabilities, gradients a list of weight and bias gradients."""
    value, slope = HIDDEN[d.hidden]
    kept = "z"
    if d.derivative == "a" and d.hidden in OF_A:
        slope, kept = OF_A[d.hidden], "a"
    W = (
        (lambda layer, i, j: f"weights[{layer}][{i}][{j}]")
        if d.in_out
        else (lambda layer, i, j: f"weights[{layer}][{j}][{i}]")
    )
    width = "len(biases[{}])"
    output = {
        "sigmoid": "[1 / (1 + math.exp(-s)) for s in z]",
        "identity": "list(z)",
        "tanh": "[math.tanh(s) for s in z]",
    }
    lines = [
        "import math",
        "",
        "import numpy as np",
        "",
        d.conventions + "",
        "def activate(z):",
        f"    return {value}",
        "",
        f"def slope({kept}):",
        f"    return {slope}",
        "",
        "def run(weights, biases, x):",
        "    zs, activations = [], [list(x)]",
        "    for l in range(len(weights)):",
        "        z = []",
        f"        for j in range({width.format('l')}):",
        "            s = biases[l][j]",
        "            for i in range(len(activations[l])):",
        f"                s += {W('l', 'i', 'j')} * activations[l][i]",
        "            z.append(s)",
        "        zs.append(z)",
        "        if l < len(weights) - 1:",
        "            activations.append([activate(s) for s in z])",
    ]
    if d.output == "softmax":
        lines += ["    e = [math.exp(s - max(z)) for s in z]", "    activations.append([v / sum(e) for v in e])"]
    else:
        lines += [f"    activations.append({output[d.output]})"]
    lines += [
        "    return zs, activations",
        "",
        "",
        "def forward(weights, biases, X):",
        "    return np.array([run(weights, biases, x)[1][-1] for x in X])",
        "",
    ]
    if d.has_loss:
        term = {
            "squared_error": "(p[r][j] - y[r][j]) ** 2" + (" / 2" if d.half else ""),
            "cross_entropy": "-y[r][j] * math.log(p[r][j])",
            "binary_cross_entropy": "-(y[r][j] * math.log(p[r][j]) + (1 - y[r][j]) * math.log(1 - p[r][j]))",
        }[d.loss]
        lines += [
            "",
            "def loss(p, y):",
            "    total = 0.0",
            "    for r in range(len(y)):",
            "        for j in range(len(y[r])):",
            f"            total += {term}",
        ]
        lines += ["    return total" + (" / len(y)" if d.rows == "mean" else ""), ""]
    end = {"sigmoid": " * p * (1 - p)", "tanh": " * (1 - p * p)"}.get(d.output, "")
    rule = f"{d.slope}(p - t){end}" if d.loss == "squared_error" else "p - t"
    shape = "np.zeros(np.shape(W))"
    lines += [
        "",
        "def gradients(weights, biases, X, y):",
        f"    dW = [{shape} for W in weights]",
        "    db = [np.zeros(np.shape(b)) for b in biases]",
        "    n = len(X)",
        "    for r in range(n):",
        "        zs, activations = run(weights, biases, X[r])",
        f"        delta = [{rule} for p, t in zip(activations[-1], y[r])]",
        "        for l in range(len(weights) - 1, -1, -1):",
        "            for j in range(len(delta)):",
        "                db[l][j] += delta[j]",
        "                for i in range(len(activations[l])):",
        f"                    {W('l', 'i', 'j').replace('weights', 'dW')} += activations[l][i] * delta[j]",
        "            if l > 0:",
        "                back = []",
        "                for i in range(len(activations[l])):",
        f"                    s = sum({W('l', 'i', 'j')} * delta[j] for j in range(len(delta)))",
        f"                    back.append(s * slope({'activations[l][i]' if kept == 'a' else 'zs[l - 1][i]'}))",
        "                delta = back",
    ]
    if d.rows == "mean":
        lines += ["    dW = [g / n for g in dW]", "    db = [g / n for g in db]"]
    lines += ["    return dW, db", ""]
    return "\n".join(lines)


MISTAKES: Mapping[str, Edit] = {
    "gradient summed": every(r"^    d[Wb] = \[g / n for g in d[Wb]\]\n", ""),
    "gradient averaged": every(r"^    return dW, db$", "    return [g / n for g in dW], [g / n for g in db]"),
    "averaged twice": either(
        every(r"\[g / n for", "[g / n / n for"), every(r"(\[)(p - t|.*\(p - t\).*)( for p, t)", r"\1(\2) / n\3")
    ),
    "averaged over the wrong axis": every(
        r"^    n = len\(X\)\n    for r in range\(n\)", "    n = len(X[0])\n    for r in range(len(X))"
    ),
    "bias not averaged": every(r"^    db = \[g / n for g in db\]\n", ""),
    "sign of the error": every(r"p - t", "t - p"),
    "derivative missing": every(r"s \* slope\(.*\)\)$", "s)"),
    "derivative doubled": every(r"s \* (slope\(.*\))\)$", r"s * \1 * \1)"),
    "derivative of z at a": every(r"slope\(zs\[l - 1\]\[i\]\)", "slope(activations[l][i])"),
    "derivative of a at z": every(r"slope\(activations\[l\]\[i\]\)", "slope(zs[l - 1][i])"),
    "derivative at the wrong layer": either(
        every(r"slope\(zs\[l - 1\]", "slope(zs[l]"), every(r"slope\(activations\[l\]", "slope(activations[l - 1]")
    ),
    "weights transposed": either(
        every(r"sum\(weights\[l\]\[i\]\[j\]", "sum(weights[l][j][i]"),
        every(r"sum\(weights\[l\]\[j\]\[i\]", "sum(weights[l][i][j]"),
    ),
    "bias gradient of one row": every(r"db\[l\]\[j\] \+= ", "db[l][j] = "),
    "bias gradient summed over units": every(r"db\[l\]\[j\] \+= delta\[j\]", "db[l][j] += sum(delta)"),
    "bias gradient of another unit": either(
        every(r"db\[l\]\[j\] \+= delta\[j\]", "db[l][j] += delta[0]"),
        every(r"db\[l\]\[j\] \+= delta\[j\]", "db[l][j] += delta[j - 1]"),
    ),
    "sigmoid derivative on cross-entropy": every(r"\[p - t for", "[(p - t) * p * (1 - p) for"),
    "output derivative missing": every(r"(\(p - t\)) \* (?:p \* \(1 - p\)|\(1 - p \* p\)) for", r"\1 for"),
    "softmax without cross terms": every(r"\[p - t for", "[-t / p * p * (1 - p) for"),
    "accumulates between calls": both(
        every(r"^import math$", "import math\n\nsums = {}"),
        every(
            r"^    return dW, db$",
            "    for l in range(len(dW)):\n        dW[l] = sums['W', l] = sums.get(('W', l), 0) + dW[l]\n"
            "        db[l] = sums['b', l] = sums.get(('b', l), 0) + db[l]\n    return dW, db",
        ),
    ),
    "factor of the square in the gradient": either(
        every(r"\[2 \* \(p - t\)", "[(p - t)"), every(r"\[\(p - t\)", "[2 * (p - t)")
    ),
    "gradient of another loss": every(r"^(            total \+= )-\(y.*$", r"\1(p[r][j] - y[r][j]) ** 2"),
    "integer division": every(r"\[g / n for", "[g // n for"),
    "input changed in place": either(
        every(r"^    n = len\(X\)\n", "    n = len(X)\n    X -= np.mean(X, axis=0)\n"),
        every(r"^    n = len\(X\)\n", "    n = len(X)\n    X /= np.max(np.abs(X))\n"),
    ),
    "bias forgotten": every(r"s = biases\[l\]\[j\]", "s = 0.0"),
    "activation forgotten": every(r"\[activate\(s\) for s in z\]", "list(z)"),
    "weight gradient with z": every(r"activations\[l\]\[i\] \* delta", "(zs[l - 1][i] if l else X[r][i]) * delta"),
    "inputs of another layer": every(r"activations\[l\]\[i\] \* delta", "activations[max(l - 1, 0)][i] * delta"),
    "weights left out of the chain": every(r"s = sum\(.*\)$", "s = delta[i]"),
    "weights of another layer": every(r"sum\(weights\[l\]", "sum(weights[l - 1]"),
    "derivative of another activation": either(
        every(r"return 1 - math\.tanh\(z\) \*\* 2", "return math.tanh(z) * (1 - math.tanh(z))"),
        every(r"return 1 - a \* a", "return a * (1 - a)"),
        every(r"return a \* \(1 - a\)", "return 1 - a * a"),
        every(r"1\.0 if z > 0 else 0\.01", "1.0 if z > 0 else 0.0"),
    ),
    "square forgotten in tanh derivative": either(
        every(r"(return 1 - math\.tanh\(z\)) \*\* 2", r"\1"), every(r"return 1 - a \* a", "return 1 - a")
    ),
    "loss without the rows of class 0": every(r"^(            total \+= -\(y.*?\)) \+ .*$", r"\1)"),
    "loss with the wrong sign": every(r"total \+= -", "total += "),
    "first layer not trained": every(r"range\(len\(weights\) - 1, -1, -1\)", "range(len(weights) - 1, 0, -1)"),
    "one unit's formula for another": either(
        every(r"back\.append\(s \* slope\((.*)\[i\]\)\)", r"back.append(s * slope(\1[0]))"),
        every(r"(s = sum\(weights\[l\].*) \* delta\[j\]", r"\1 * delta[0]"),
    ),
    "last row only": every(r"(dW\[l\]\[.\]\[.\]) \+= ", r"\1 = "),
}
