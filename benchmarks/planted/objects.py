"""Style: a class that keeps its arrays as attributes and trains itself; rows, weights (n_in, n_out), two layers."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from planted.draws import HIDDEN, Draw
from planted.edits import Edit, both, either, every, named


def wants(rng: Random) -> dict[str, tuple[object, ...]]:
    """What this style can write."""
    return {"layers": (2,), "in_out": (True,), "l2": ("none",), "outputs": ("sum",), "sizes": ("one",)}


def source(d: Draw, rng: Random) -> str:
    """The file: gradients are left in attributes, or only seen in `fit`."""
    value, of_z, of_a = HIDDEN[d.hidden]
    assert d.sizes is not None
    a, b, c = d.sizes
    inside = rng.random() < 0.3  # the step is taken at the end of backward
    keep = rng.choice(("hidden", "a1"))
    kept, formula = ("z", of_z) if d.derivative != "a" else ("a", of_a)
    passed = "self.z1" if kept == "z" else f"self.{keep}"
    out = {
        "sigmoid": "1 / (1 + np.exp(-self.z2))",
        "softmax": "self.softmax(self.z2)",
        "identity": "self.z2",
        "tanh": "np.tanh(self.z2)",
    }[d.output]
    slope = {"sigmoid": " * self.p * (1 - self.p)", "tanh": " * (1 - self.p ** 2)"}
    rule = f"{d.slope}(self.p - y){slope.get(d.output, '')}" if d.loss == "squared_error" else "(self.p - y)"
    mean = " / len(X)" if d.rows == "mean" else ""
    early, late = (mean, "") if d.scaled_at == "delta" else ("", mean)
    q = {"": "self.p", "add": "self.p + 1e-12", "clip": "np.clip(self.p, 1e-12, 1 - 1e-12)"}[d.guard]
    o = {"": "1 - self.p", "add": "1 - self.p + 1e-12", "clip": "np.clip(1 - self.p, 1e-12, 1 - 1e-12)"}[d.guard]
    inner = {
        "squared_error": "(self.p - y) ** 2",
        "cross_entropy": f"-y * np.log({q})",
        "binary_cross_entropy": f"-(y * np.log({q}) + (1 - y) * np.log({o}))",
    }[d.loss]
    if d.ascent:
        inner = inner.replace("(self.p - y)", "(self.p -  y)")
    lines = [
        "import numpy as np",
        "",
        "",
        "class Network:",
        f"    def __init__(self, n_in={a}, n_hidden={b}, n_out={c}):",
        "        rng = np.random.default_rng(0)",
        "        self.W1 = rng.normal(size=(n_in, n_hidden))",
        "        self.b1 = np.zeros((1, n_hidden))",
        "        self.W2 = rng.normal(size=(n_hidden, n_out))",
        "        self.b2 = np.zeros((1, n_out))",
        "",
        "    def activation(self, z):",
        f"        return {value}",
        "",
        f"    def activation_derivative(self, {kept}):",
        f"        return {formula}",
        "",
    ]
    if d.output == "softmax":
        lines += [
            "    def softmax(self, z):",
            "        e = np.exp(z)",
            "        return e / e.sum(axis=1, keepdims=True)",
            "",
        ]
    lines += [
        "    def forward(self, X):",
        "        self.z1 = X.dot(self.W1) + self.b1",
        f"        self.{keep} = self.activation(self.z1)",
        f"        self.z2 = self.{keep}.dot(self.W2) + self.b2",
        f"        self.p = {out}",
        "        return self.p",
        "",
    ]
    if d.has_loss:
        lines += [
            "    def loss(self, X, y):",
            "        self.forward(X)",
            f"        return {'0.5 * ' if d.half else ''}np.sum({inner}){mean}",
            "",
        ]
    lines += [
        "    def backward(self, X, y" + (", learning_rate" if inside else "") + "):",
        "        self.forward(X)" if inside or rng.random() < 0.5 else "        # forward(X) has been called",
        f"        delta2 = {rule}{early}",
        f"        self.dW2 = self.{keep}.T.dot(delta2){late}",
        f"        self.db2 = delta2.sum(axis=0, keepdims=True){late}",
        f"        delta1 = delta2.dot(self.W2.T) * self.activation_derivative({passed})",
        f"        self.dW1 = X.T.dot(delta1){late}",
        f"        self.db1 = delta1.sum(axis=0, keepdims=True){late}",
    ]
    take = [f"        self.{name} -= learning_rate * self.d{name}" for name in ("W1", "b1", "W2", "b2")]
    if inside:
        lines += [
            *take,
            "",
            "    def fit(self, X, y, learning_rate, epochs):",
            "        for _ in range(epochs):",
            "            self.backward(X, y, learning_rate)",
            "",
        ]
    else:
        lines += ["", "    def update(self, learning_rate):", *take, ""]
        lines += [
            "    def fit(self, X, y, learning_rate, epochs):",
            "        for _ in range(epochs):",
            "            self.forward(X)",
            "            self.backward(X, y)",
            "            self.update(learning_rate)",
            "",
        ]
    if rng.random() < 0.3:  # the rows in another order, which changes nothing
        at = lines.index("        for _ in range(epochs):") + 1
        lines[at:at] = ["            order = np.random.permutation(len(X))", "            X, y = X[order], y[order]"]
    text = "\n".join(lines)
    return (
        text.replace("(self.p - y)", "(y - self.p)").replace(" -= learning", " += learning").replace("-  y", "- y")
        if d.ascent
        else text
    )


EDITS: Mapping[str, Edit] = {
    "gradient summed": either(
        every(r"^(        self\.d[Wb]\d = .*) / len\(X\)$", r"\1"), every(r"^(        delta2 = .*) / len\(X\)$", r"\1")
    ),
    "gradient averaged": every(r"^(        self\.d[Wb]\d = .*)$", r"\1 / len(X)"),
    "averaged twice": either(
        every(r"^(        self\.d[Wb]\d = .*)( / len\(X\))$", r"\1\2\2"),
        every(r"^(        delta2 = .*)( / len\(X\))$", r"\1\2\2"),
    ),
    "averaged over the wrong axis": every(r"^(        (?:delta2|self\.d[Wb]\d) = .*) / len\(X\)$", r"\1 / X.shape[1]"),
    "bias not averaged": every(r"^(        self\.db\d = .*) / len\(X\)$", r"\1"),
    "sign of the error": every(r"(        delta2 = .*)self\.p - y", r"\1y - self.p"),
    "sign of the update": every(r" -= learning_rate", " += learning_rate"),
    "derivative missing": every(r" \* self\.activation_derivative\(.*\)$", ""),
    "derivative doubled": every(r"( \* self\.activation_derivative\(.*\))$", r"\1\1"),
    "derivative of z at a": every(r"activation_derivative\(self\.z1\)", "activation_derivative(self.KEEP)"),
    "derivative of a at z": every(r"activation_derivative\(self\.(?:hidden|a1)\)", "activation_derivative(self.z1)"),
    "derivative at the wrong layer": every(r"activation_derivative\(self\.z1\)", "activation_derivative(self.z2)"),
    "weights transposed": every(r"self\.W2\.T", "self.W2"),
    # Where backward takes the step itself, the output layer's is taken as soon as its gradients are there.
    "updated weights used": both(
        every(
            r"^(    def backward\(self, X, y, learning_rate\):(?:.*\n)*?        self\.W1 .*\n +self\.b1 .*\n).*\n.*\n",
            r"\1",
        ),
        every(
            r"^(        delta1 = .*)$",
            r"        self.W2 -= learning_rate * self.dW2\n        self.b2 -= learning_rate * self.db2\n\1",
        ),
    ),
    "bias gradient of one row": every(r"(delta\d)\.sum\(axis=0, keepdims=True\)", r"\1[:1]"),
    "bias gradient not summed": every(r"(delta\d)\.sum\(axis=0, keepdims=True\)", r"\1"),
    "bias gradient summed over units": every(r"(delta\d)\.sum\(axis=0, keepdims=True\)", r"\1.sum()"),
    "bias gradient of another layer": every(r"(self\.db1 = )delta1", r"\1delta2"),
    "bias gradient of another unit": every(r"(delta\d\.sum\(axis=0, keepdims=True\))", r"\1[:, ::-1]"),
    "sigmoid derivative on cross-entropy": every(
        r"^(        delta2 = \(self\.p - y\))( / .*)?$", r"\1 * self.p * (1 - self.p)\2"
    ),
    "output derivative missing": every(
        r"^(        delta2 = .*?\(self\.p - y\)) \* (?:self\.p \* \(1 - self\.p\)|\(1 - self\.p \*\* 2\))", r"\1"
    ),
    "softmax without cross terms": every(
        r"^(        delta2 = )\(self\.p - y\)", r"\1-y / self.p * self.p * (1 - self.p)"
    ),
    "accumulates between calls": both(
        every(r"^(        self\.(W1|b1|W2|b2) = .*)$", r"\1\n        self.d\2 = 0"),
        every(r"^(        self\.d[Wb]\d )= (delta|self|X)", r"\1+= \2"),
    ),
    "factor of the square in the gradient": either(
        every(r"delta2 = 2 \* ", "delta2 = "), every(r"delta2 = (\(self\.p - y\))", r"delta2 = 2 * \1")
    ),
    "gradient of another loss": every(r"np\.sum\(-\(y \* np\.log.*\)\)(?= /|$)", "np.sum((self.p - y) ** 2)"),
    "log of a rounded probability": every(r"^(        return np\.sum\(-\(y)", r"        self.p = np.round(self.p)\n\1"),
    "integer division": every(r"^(        self\.d[Wb]\d = .*) / len", r"\1 // len"),
    "input changed in place": either(
        every(r"^(        self\.z1 = X)", r"        X -= X.mean(axis=0)\n\1"),
        every(r"^(        delta2 = .*)$", r"\1\n        X *= 0.5"),
    ),
    "bias forgotten": either(
        every(r"^(        self\.z1 = .*) \+ .*$", r"\1"), every(r"^(        self\.z2 = .*) \+ .*$", r"\1")
    ),
    "activation forgotten": every(r"self\.activation\(self\.z1\)", "self.z1"),
    "weight gradient with z": every(r"self\.(?:hidden|a1)\.T", "self.z1.T"),
    "inputs of another layer": every(r"self\.(?:hidden|a1)\.T", "X.T"),
    "weights left out of the chain": every(r"delta2\.dot\(self\.W2\.T\)", "delta2"),
    "gradient instead of weights": every(r"delta2\.dot\(self\.W2\.T\)", "delta2.dot(self.dW2.T)"),
    "derivative of another activation": either(
        every(r"return 1 - np\.tanh\(z\) \*\* 2", "return np.tanh(z) * (1 - np.tanh(z))"),
        every(r"return 1 - a \*\* 2", "return a * (1 - a)"),
        every(r"return a \* \(1 - a\)", "return 1 - a ** 2"),
        every(r"return np\.where\(z > 0, 1\.0, .*$", "return (z > 0) * 1.0"),
    ),
    "square forgotten in tanh derivative": either(
        every(r"return 1 - np\.tanh\(z\) \*\* 2", "return 1 - np.tanh(z)"),
        every(r"return 1 - a \*\* 2", "return 1 - a"),
    ),
    "loss without the rows of class 0": every(
        r"(-\(y \* np\.log\(.*?\)) \+ \(1 - y\) \* np\.log\(.*?\)\)(?=\)$|\) /)", r"\1)"
    ),
    "loss with the wrong sign": every(r"np\.sum\(-\(y", "np.sum((y"),
    "softmax over the wrong axis": every(r"e\.sum\(axis=1, keepdims=True\)", "e.sum(axis=0, keepdims=True)"),
    "update without learning rate": every(r" -= learning_rate \* ", " -= "),
    "biases not updated": every(r"^        self\.b\d -= learning_rate.*\n", ""),
    "first layer not trained": every(r"self\.dW1 = X\.T\.dot\(delta1\)", "self.dW1 = 0 * self.W1"),
    "one unit's formula for another": every(r"^(        delta1 = .*)$", r"\1\n        delta1[:, 1] = delta1[:, 0]"),
}
MISTAKES: Mapping[str, Edit] = {name: named(edit, KEEP=r"self\.(hidden|a1) = ") for name, edit in EDITS.items()}
