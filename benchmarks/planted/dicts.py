"""Style: plain functions, a dict of arrays, every layer's lines written out; rows, weights (n_in, n_out)."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from planted.draws import HIDDEN, Draw
from planted.edits import Edit, both, either, every, named, one

NAMES = (
    {"params": "params", "cache": "cache", "grads": "grads", "d": "d", "p": "p"},
    {"params": "parameters", "cache": "cache", "grads": "gradients", "d": "d", "p": "y_hat"},
    {"params": "theta", "cache": "cache", "grads": "grads", "d": "", "p": "y_pred"},
)
FUNCTIONS = (
    ("forward", "backward", "compute_loss", "update"),
    ("forward_prop", "back_prop", "loss", "update_parameters"),
    ("feedforward", "gradients", "cost", "update"),
)
OUTPUT_CODE = {
    "sigmoid": "def sigmoid_out(z):\n    return 1 / (1 + np.exp(-z))\n",
    "softmax": "def softmax(z):\n    e = np.exp(z - z.max(axis=1, keepdims=True))\n"
    "    return e / e.sum(axis=1, keepdims=True)\n",
    "identity": "",
    "tanh": "",
}
OUTPUT_CALL = {"sigmoid": "sigmoid_out({})", "softmax": "softmax({})", "identity": "{}", "tanh": "np.tanh({})"}


def wants(rng: Random) -> dict[str, tuple[object, ...]]:
    """What this style can write."""
    return {"ascent": (False,), "in_out": (True,)}


def source(d: Draw, rng: Random) -> str:
    """The file."""
    m = rng.choice(NAMES)
    forward, backward, loss, update = rng.choice(FUNCTIONS)
    L, last = d.layers, f"A{d.layers}"
    P, G = m["params"], m["grads"]
    lam = rng.choice(("l2", "lambd")) if d.l2 != "none" else ""
    value, of_z, of_a = HIDDEN[d.hidden]
    text = ["import numpy as np", "", d.conventions]
    text += [f"def {d.hidden}(z):", f"    return {value}", ""]
    if d.derivative != "inline":
        letter, formula = ("z", of_z) if d.derivative == "z" else ("a", of_a)
        text += ["", f"def {d.hidden}_derivative({letter}):", f"    return {formula}", ""]
    text += ["", OUTPUT_CODE[d.output], ""]

    text += [f"def {forward}(X, {P}):"]
    for i in range(1, L + 1):
        before = "X" if i == 1 else f"A{i - 1}"
        call = f"{d.hidden}(Z{i})" if i < L else OUTPUT_CALL[d.output].format(f"Z{i}")
        times = f"{before} @ {P}['W{i}']" if L == 2 else f"np.dot({before}, {P}['W{i}'])"
        text += [f"    Z{i} = {times} + {P}['b{i}']", f"    A{i} = {call}"]
    kept = ", ".join(f"'{q}{i}': {q}{i}" for i in range(1, L + 1) for q in "ZA")
    text += [f"    {m['cache']} = {{{kept}}}", f"    return {last}, {m['cache']}", "", ""]

    if d.has_loss:
        text += _loss(d, loss, m["p"], P, lam)
    text += [f"def {backward}({P}, {m['cache']}, X, y{', ' + lam if lam else ''}):", "    n = X.shape[0]"]
    text += [f"    Z{i}, A{i} = {m['cache']}['Z{i}'], {m['cache']}['A{i}']" for i in range(1, L + 1)]
    mean = {"sum": " / n", "mean": " / y.size"}[d.outputs] if d.rows == "mean" else ""
    early, late = (mean, "") if d.scaled_at == "delta" else ("", mean)
    text += [f"    {line}" for line in _output_delta(d, last, early)]
    for i in range(L, 0, -1):
        if i < L:
            derivative = {
                "z": f"{d.hidden}_derivative(Z{i})",
                "a": f"{d.hidden}_derivative(A{i})",
                "inline": f"({of_a.replace('a ', f'A{i} ').replace('a)', f'A{i})')})"
                if of_a
                else f"({_of(of_z, f'Z{i}')})",
            }[d.derivative]
            text += [f"    dA{i} = dZ{i + 1} @ {P}['W{i + 1}'].T", f"    dZ{i} = dA{i} * {derivative}"]
        before = "X" if i == 1 else f"A{i - 1}"
        penalty = {
            "none": "",
            "half": f" + {lam} * {P}['W{i}']",
            "whole": f" + 2 * {lam} * {P}['W{i}']",
            "half_over_n": f" + {lam} / n * {P}['W{i}']",
        }[d.l2]
        text += [f"    dW{i} = {before}.T @ dZ{i}{late}{penalty}", f"    db{i} = np.sum(dZ{i}, axis=0){late}"]
    pairs = ", ".join(f"'{m['d']}{q}{i}': d{q}{i}" for i in range(1, L + 1) for q in "Wb")
    text += [f"    {G} = {{{pairs}}}", f"    return {G}", ""]

    if d.has_update:
        lr = rng.choice(("learning_rate", "lr", "alpha"))
        text += ["", f"def {update}({P}, {G}, {lr}):", "    new = {}"]
        for i in range(1, L + 1):
            for q in "Wb":
                text += [f"    new['{q}{i}'] = {P}['{q}{i}'] - {lr} * {G}['{m['d']}{q}{i}']"]
        text += ["    return new", ""]
    return "\n".join(text)


def _of(formula: str, name: str) -> str:
    return formula.replace("np.exp", "np.EXP").replace("z", name).replace("np.EXP", "np.exp")


def _loss(d: Draw, name: str, p: str, P: str, lam: str) -> list[str]:
    q = {"": p, "add": f"({p} + 1e-12)", "clip": p}[d.guard]
    if d.loss == "squared_error":
        inner = f"({p} - y) ** 2"
    elif d.loss == "cross_entropy":
        inner = f"-y * np.log({q})"
    else:
        other = f"(1 - {p} + 1e-12)" if d.guard == "add" else f"(1 - {p})"
        inner = f"-(y * np.log({q}) + (1 - y) * np.log{other})"
    half = "0.5 * " if d.half else ""
    if d.rows == "sum":
        total = f"{half}np.sum({inner})"
    elif d.outputs == "mean":
        total = f"{half}np.mean({inner})"
    else:
        total = f"{half}np.sum({inner}) / n"
    text = [f"def {name}({p}, y{f', {P}, {lam}' if lam else ''}):", "    n = y.shape[0]"]
    if d.guard == "clip":
        text += [f"    {p} = np.clip({p}, 1e-12, 1 - 1e-12)"]
    text += [f"    total = {total}"]
    if lam:
        squares = " + ".join(f"np.sum({P}['W{i}'] ** 2)" for i in range(1, d.layers + 1))
        factor = {"half": f"{lam} / 2", "whole": lam, "half_over_n": f"{lam} / (2 * n)"}[d.l2]
        text += [f"    total = total + {factor} * ({squares})"]
    return [*text, "    return total", "", ""]


def _output_delta(d: Draw, p: str, scale: str) -> list[str]:
    z = f"dZ{d.layers}"
    slope = {"sigmoid": f"{p} * (1 - {p})", "tanh": f"(1 - {p} ** 2)"}
    if d.loss == "squared_error":
        times = f" * {slope[d.output]}" if d.output in slope else ""
        return [f"{z} = {d.slope}({p} - y){times}{scale}"]
    if d.fused or d.output == "softmax":
        return [f"{z} = ({p} - y){scale}"]
    return [f"dA{d.layers} = -(y / {p}) + (1 - y) / (1 - {p})", f"{z} = dA{d.layers} * {slope[d.output]}{scale}"]


DELTA = r"^(    dZ\d = dA\d) \* (.*_derivative\([ZA]\d\)|\((?:.*)\))$"
EDITS: Mapping[str, Edit] = {
    "gradient summed": every(r"^(    d[WbZ]\d = .*?) / n(?= \+|$)", r"\1"),
    "gradient averaged": every(r"^(    d[Wb]\d = .*?dZ\d(?:, axis=0\))?)( \+ .*)?$", r"\1 / n\2"),
    "averaged twice": either(
        both(every(r"^(    d[Wb]\d = .*?dZ\d(?:, axis=0\))?)( \+ .*)?$", r"\1 / n\2")),
        every(r"^(    dZ[23] = \(A\d - y\))$", r"\1 / n"),
    ),
    "averaged over the wrong axis": every(r"X\.shape\[0\]", "X.shape[1]"),
    "bias not averaged": every(r"^(    db\d = .*) / (n|y\.size)$", r"\1"),
    "sign of the error": either(every(r"\((A\d) - y\)", r"(y - \1)"), every(r"-\(y / (\w+)\) \+ ", r"(y / \1) - ")),
    "sign of the update": every(r" - (lr|learning_rate|alpha) \* ", r" + \1 * "),
    "derivative missing": one(DELTA, r"\1"),
    "derivative doubled": one(DELTA, r"\1 * \2 * \2"),
    "derivative of z at a": every(r"_derivative\(Z(\d)\)", r"_derivative(A\1)"),
    "derivative of a at z": either(
        every(r"_derivative\(A(\d)\)", r"_derivative(Z\1)"),
        every(r"(?<=\* )\(1 - A(\d) \*\* 2\)$", r"(1 - Z\1 ** 2)"),
        every(r"\(A(\d) \* \(1 - A\1\)\)$", r"(Z\1 * (1 - Z\1))"),
    ),
    "derivative at the wrong layer": either(
        every(r"_derivative\(([ZA])1\)", r"_derivative(\g<1>2)"),
        every(r"_derivative\(([ZA])2\)", r"_derivative(\g<1>1)"),
    ),
    "weights transposed": every(r"(\['W\d'\])\.T$", r"\1"),
    "bias gradient of one row": every(r"np\.sum\((dZ\d), axis=0\)", r"\1[0]"),
    "bias gradient not summed": every(r"np\.sum\((dZ\d), axis=0\)", r"\1"),
    "bias gradient summed over units": every(r"np\.sum\((dZ\d), axis=0\)", r"np.sum(\1)"),
    "bias gradient of another layer": every(r"np\.sum\(dZ1,", "np.sum(dZ2,"),
    "bias gradient of another unit": every(r"np\.sum\((dZ\d), axis=0\)", r"np.sum(\1, axis=0)[::-1]"),
    "sigmoid derivative on cross-entropy": every(
        r"^(    dZ\d = )\((A\d) - y\)( / .*)?$", r"\1(\2 - y) * \2 * (1 - \2)\3"
    ),
    "output derivative missing": every(
        r"^(    dZ\d = .*\(A\d - y\)) \* (?:A\d \* \(1 - A\d\)|\(1 - A\d \*\* 2\))", r"\1"
    ),
    "softmax without cross terms": every(r"^(    dZ\d = )\((A\d) - y\)", r"\1(-y / \2) * \2 * (1 - \2)"),
    "accumulates between calls": both(
        every(r"^(    )((?:grads|gradients) = )(\{.*\})$", r"\1\2\3\n    for key in \2TOTAL"),
        every(
            r"for key in (grads|gradients) = TOTAL",
            r"for key in \1:\n        total[key] = total.get(key, 0) + \1[key]\n        \1[key] = total[key]",
        ),
        every(r"\A(import numpy as np\n)", r"\1\ntotal = {}\n"),
    ),
    "factor of the square in the gradient": either(
        every(r"(dZ\d = )2 \* (\(A\d - y\))", r"\1\2"),
        every(r"(dZ\d = )(\(A\d - y\) \*|\(A\d - y\)(?= / |$))", r"\g<1>2 * \2"),
    ),
    "gradient of another loss": every(r"np\.sum\(-\(y \* np\.log.*\)\)$", "np.sum((P_ - y) ** 2)"),
    "log of a rounded probability": every(r"(np\.log\(|np\.log\(1 - )(p|y_hat|y_pred)\)", r"\1np.round(\2))"),
    "penalty on biases": every(r"^(    db(\d) = .*)$", r"\1 + LAM * PAR['b\2']"),
    "penalty missing": every(r"^(    dW\d = .*?) \+ (2 \* )?(l2|lambd)( / n)? \* .*$", r"\1"),
    "penalty doubled": every(r"^(    dW\d = .*?) \+ ((?:l2|lambd)(?: / n)? \* .*)$", r"\1 + 2 * \2"),
    "penalty halved": every(r"^(    dW\d = .*?) \+ 2 \* ((?:l2|lambd) \* .*)$", r"\1 + \2"),
    "penalty subtracted": every(r"^(    dW\d = .*?) \+ ((?:2 \* )?(?:l2|lambd)(?: / n)? \* .*)$", r"\1 - \2"),
    "integer division": every(r"^(    d[Wb]\d = .*?) / (n|y\.size)(?= \+|$)", r"\1 // \2"),
    "input changed in place": either(
        every(r"^(    )(Z1 = X|Z1 = np\.dot\(X)", r"\1X -= X.mean(axis=0)\n\1\2"),
        every(r"^(    n = X\.shape\[0\])$", r"\1\n    X *= 1.0 / n"),
    ),
    "bias forgotten": one(r"^(    Z\d = .*) \+ \w+\['b\d'\]$", r"\1"),
    "activation forgotten": one(
        r"^(    A\d = )(?:relu|tanh|sigmoid|leaky_relu|elu|softplus|softsign)\((Z\d)\)$", r"\1\2"
    ),
    "weight gradient with z": one(r"^(    dW\d = )A(\d)\.T", r"\1Z\2.T"),
    "inputs of another layer": either(
        every(r"^(    dW[23] = )A\d\.T", r"\1X.T"), every(r"^(    dW3 = )A2\.T", r"\1A1.T")
    ),
    "delta of another layer": either(every(r"^(    dW1 = .*)dZ1", r"\1dZ2"), every(r"^(    dW2 = .*)dZ2", r"\1dZ1")),
    "weights left out of the chain": one(r"^(    dA\d = dZ\d) @ .*$", r"\1"),
    "gradient instead of weights": every(r"^(    dA(\d) = dZ(\d)) @ .*$", r"\1 @ dW\3.T"),
    "weights of another layer": every(r"^(    dA\d = dZ3 @ \w+)\['W3'\]", r"\1['W2']"),
    "derivative of another activation": either(
        every(r"^(    return )1 - np\.tanh\(z\) \*\* 2$", r"\1np.tanh(z) * (1 - np.tanh(z))"),
        every(r"^(def sigmoid_derivative\(a\):\n    return )a \* \(1 - a\)$", r"\g<1>1 - a ** 2"),
        every(r"^(def tanh_derivative\(a\):\n    return )1 - a \*\* 2$", r"\1a * (1 - a)"),
        every(r"^(    dZ\d = dA\d \* )\(1 - (A\d) \*\* 2\)$", r"\1(\2 * (1 - \2))"),
        every(r"^(def softplus_derivative\(z\):\n    return ).*$", r"\1(z > 0) * 1.0"),
        every(r"^(def elu_derivative\(z\):\n    return ).*$", r"\1(z > 0) * 1.0"),
        every(r"^(def leaky_relu_derivative\(z\):\n    return ).*$", r"\1(z > 0) * 1.0"),
    ),
    "square forgotten in tanh derivative": either(
        every(r"1 - np\.tanh\(z\) \*\* 2", "1 - np.tanh(z)"),
        every(r"(?<=return )1 - a \*\* 2", "1 - a"),
        every(r"(?<=\* )\(1 - (A\d) \*\* 2\)$", r"(1 - \1)"),
    ),
    "loss without the rows of class 0": every(r" \+ \(1 - y\) \* np\.log\(1 - .*?\)(?=\))", ""),
    "loss with the wrong sign": every(r"-\((y \* np\.log)", r"(\1"),
    "softmax over the wrong axis": every(r"axis=1, keepdims=True", "axis=0, keepdims=True"),
    "update without learning rate": every(r" - (?:lr|learning_rate|alpha) \* ", " - "),
    "biases not updated": every(r"^(    new\['b\d'\] = .*?) - .*$", r"\1"),
    "first layer not trained": every(r"^(    dW1 = ).*$", r"\1np.zeros_like(PAR['W1'])"),
    "one unit's formula for another": every(r"^(    dZ1 = .*)$", r"\1\n    dZ1[:, 1] = dZ1[:, 0]"),
}
MISTAKES: Mapping[str, Edit] = {
    name: named(edit, PAR=r"(\w+)\['W1'\]", LAM=r"\b(l2|lambd)\b", P_=r"\b(p|y_hat|y_pred), y\b")
    for name, edit in EDITS.items()
}
