"""Style: layers as objects with forward and backward, as frameworks have them; the loss is one of them."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from planted.draws import HIDDEN, Draw
from planted.edits import Edit, both, either, every

CLASS = {"relu": "ReLU", "leaky_relu": "LeakyReLU", "elu": "ELU"}


def wants(rng: Random) -> dict[str, tuple[object, ...]]:
    """What this style can write."""
    return {
        "ascent": (False,),
        "derivative": ("z", "a"),
        "has_loss": (True,),
        "has_update": (False,),
        "l2": ("none",),
        "guard": ("", "add"),
    }


def source(d: Draw, rng: Random) -> str:
    """The file: `build(sizes)` and `loss`."""
    value, of_z, of_a = HIDDEN[d.hidden]
    name = CLASS.get(d.hidden, d.hidden.capitalize())
    dense = rng.choice(("Dense", "Linear"))
    kept, slope = ("a", of_a) if d.derivative == "a" else ("z", of_z)
    kept_line = "self.a = " if kept == "a" else "self.z = z\n        return "
    size = {"sum": "len(y)", "mean": "y.size"}[d.outputs]
    in_loss = d.scaled_at == "delta" or d.outputs == "mean"
    mean = d.rows == "mean"
    late = " / len(self.x)" if mean and not in_loss else ""
    early = f" / {size.replace('y', 'self.y')}" if mean and in_loss else ""
    logits = d.fused and d.output in ("sigmoid", "softmax") and d.loss != "squared_error" and d.guard == ""
    T, first, shape = ("", "self.x.T @ grad", "n_in, n_out") if d.in_out else (".T", "grad.T @ self.x", "n_out, n_in")
    lines = [
        "import numpy as np",
        "",
        d.conventions + "",
        f"class {dense}:",
        "    def __init__(self, n_in, n_out):",
        f"        self.W = np.random.randn({shape}) * 0.1",
        "        self.b = np.zeros(n_out)",
        "",
        "    def forward(self, x):",
        "        self.x = x",
        f"        return x @ self.W{T} + self.b",
        "",
        "    def backward(self, grad):",
        f"        self.dW = {first}{late}",
        f"        self.db = grad.sum(axis=0){late}",
        f"        return grad @ self.W{'' if T else '.T'}",
        "",
        "",
        f"class {name}:",
        "    def forward(self, z):",
        f"        {kept_line}{value}" + ("\n        return self.a" if kept == "a" else ""),
        "",
        "    def backward(self, grad):",
        f"        {kept} = self.{kept}",
        f"        return grad * ({slope})",
        "",
        "",
    ]
    last = ""
    if not logits and d.output != "identity":
        last = {"sigmoid": "Squash", "softmax": "Softmax", "tanh": "Tanh_"}[d.output]
        forward = {
            "sigmoid": ["        self.p = 1 / (1 + np.exp(-z))"],
            "tanh": ["        self.p = np.tanh(z)"],
            "softmax": [
                "        e = np.exp(z - np.max(z, axis=1, keepdims=True))",
                "        self.p = e / e.sum(axis=1, keepdims=True)",
            ],
        }[d.output]
        backward = {
            "sigmoid": "grad * self.p * (1 - self.p)",
            "tanh": "grad * (1 - self.p ** 2)",
            "softmax": "self.p * (grad - np.sum(grad * self.p, axis=1, keepdims=True))",
        }[d.output]
        lines += [
            f"class {last}:",
            "    def forward(self, z):",
            *forward,
            "        return self.p",
            "",
            "    def backward(self, grad):",
            f"        return {backward}",
            "",
            "",
        ]
    kind = {"squared_error": "MSE", "cross_entropy": "CrossEntropy", "binary_cross_entropy": "BCE"}[d.loss]
    q, other = ("(p + 1e-15)", "(1 - p + 1e-15)") if d.guard else ("p", "(1 - p)")
    lines += [f"class {kind}:", "    def forward(self, p, y):"]
    if logits:
        lines += (
            ["        e = np.exp(p - p.max(axis=1, keepdims=True))", "        p = e / e.sum(axis=1, keepdims=True)"]
            if d.output == "softmax"
            else ["        p = 1 / (1 + np.exp(-p))"]
        )
    inner = {
        "squared_error": "(p - y) ** 2",
        "cross_entropy": f"-y * np.log({q})".replace("((", "(").replace("))", ")"),
        "binary_cross_entropy": f"-y * np.log({q}) - (1 - y) * np.log({other})".replace("((", "(").replace("))", ")"),
    }[d.loss]
    lines += [
        "        self.p, self.y = p, y",
        f"        return np.sum({inner})" + (f" / {size}" if mean else "") + (" / 2" if d.half else ""),
    ]
    rule = {
        "squared_error": f"{d.slope}(self.p - self.y)",
        "cross_entropy": "-self.y / self.p",
        "binary_cross_entropy": "(self.p - self.y) / (self.p * (1 - self.p))",
    }[d.loss]
    if logits:
        rule = "(self.p - self.y)"
    lines += [
        "",
        "    def backward(self):",
        f"        return {rule}{early}",
        "",
        "",
        "def build(sizes):",
        "    layers = []",
    ]
    lines += [
        "    for i in range(len(sizes) - 1):",
        f"        layers.append({dense}(sizes[i], sizes[i + 1]))",
        "        if i < len(sizes) - 2:",
        f"            layers.append({name}())",
    ]
    lines += [f"    layers.append({last}())"] if last else []
    lines += ["    return layers", "", "", f"loss = {kind}()", ""]
    return "\n".join(lines)


EARLY = r" / (?:len\(self\.y\)|self\.y\.size)"
MISTAKES: Mapping[str, Edit] = {
    "gradient summed": either(
        every(rf"^(        return .*){EARLY}$", r"\1"), every(r"^(        self\.d[Wb] = .*) / len\(self\.x\)$", r"\1")
    ),
    "gradient averaged": every(r"^(        self\.d[Wb] = .*)$", r"\1 / len(grad)"),
    "averaged twice": either(
        every(r"^(        return .*)( / len\(self\.y\))$", r"\1\2\2"),
        every(r"^(        self\.d[Wb] = .*)( / len\(self\.x\))$", r"\1\2\2"),
    ),
    "averaged over the wrong axis": every(r"^(        self\.d[Wb] = .*) / len\(self\.x\)$", r"\1 / self.x.shape[1]"),
    "bias not averaged": every(r"^(        self\.db = .*) / len\(self\.x\)$", r"\1"),
    "sign of the error": either(
        every(r"self\.p - self\.y", "self.y - self.p"), every(r"return -self\.y / self\.p", "return self.y / self.p")
    ),
    "derivative missing": every(r"^(        [za] = self\.[za]\n        return grad) \* .*$", r"\1"),
    "derivative doubled": every(r"^(        [za] = self\.[za]\n        return grad \* )(.*)$", r"\1\2 * \2"),
    "derivative of z at a": every(
        r"^        self\.z = z\n        return (.*)$", r"        self.z = \1\n        return self.z"
    ),
    "derivative of a at z": every(
        r"^        self\.a = (.*)\n        return self\.a$", r"        self.a = z\n        return \1"
    ),
    "weights transposed": either(
        every(r"return grad @ self\.W\.T", "return grad @ self.W"),
        every(r"return grad @ self\.W$", "return grad @ self.W.T"),
    ),
    "updated weights used": either(
        every(
            r"^(        self\.db = .*)\n(        return grad @ .*)$",
            r"\1\n        self.W -= 0.1 * self.dW\n        self.b -= 0.1 * self.db\n\2",
        ),
    ),
    "bias gradient of one row": every(r"grad\.sum\(axis=0\)", "grad[-1]"),
    "bias gradient not summed": every(r"= grad\.sum\(axis=0\)", "= grad"),
    "bias gradient summed over units": every(r"= grad\.sum\(axis=0\)", "= grad.sum()"),
    "bias gradient of another unit": every(r"= grad\.sum\(axis=0\)", "= grad.sum(axis=0)[::-1]"),
    "sigmoid derivative on cross-entropy": either(
        every(
            r"(class BCE[\s\S]*?        return )\(self\.p - self\.y\)(?! / \(self\.p)",
            r"\1(self.p - self.y) * self.p * (1 - self.p)",
        ),
    ),
    "output derivative missing": either(
        every(r"(class (?:Squash|Tanh_)[\s\S]*?        return grad) \* .*(?=[\s\S]*class MSE)", r"\1"),
    ),
    "softmax without cross terms": every(r"return self\.p \* \(grad - .*$", "return grad * self.p * (1 - self.p)"),
    "accumulates between calls": both(
        every(
            r"^(        self\.b = .*)$",
            r"\1\n        self.dW = np.zeros_like(self.W)\n        self.db = np.zeros_like(self.b)",
        ),
        every(r"^(        self\.d[Wb] )= (.*grad.*)$", r"\1+= \2"),
    ),
    "factor of the square in the gradient": either(
        every(r"(        return )2 \* \(self", r"\1(self"),
        every(r"(class MSE[\s\S]*?        return )\(self\.p", r"\g<1>2 * (self.p"),
    ),
    "gradient of another loss": every(r"np\.sum\(-y \* np\.log\([^/\n]*1 - y[^/\n]*\)(?=$| /)", "np.sum((p - y) ** 2)"),
    "log of a rounded probability": every(
        r"^(        return np\.sum\(-y \* np\.log\(p\) - .*)$", r"        p = np.round(p)\n\1"
    ),
    "integer division": every(r"^(        self\.d[Wb] = .*) / len", r"\1 // len"),
    "input changed in place": either(
        every(r"^        self\.x = x$", "        x -= x.mean(axis=0)\n        self.x = x"),
    ),
    "bias forgotten": every(r"^(        return x @ .*) \+ self\.b$", r"\1"),
    "activation forgotten": every(r"^        self\.z = z\n        return .*$", "        self.z = z\n        return z"),
    "weights left out of the chain": every(r"return grad @ self\.W(\.T)?$", "return grad"),
    "gradient instead of weights": every(r"return grad @ self\.W(\.T)?$", r"return grad @ self.dW\1"),
    "derivative of another activation": either(
        every(r"return grad \* \(1 - np\.tanh\(z\) \*\* 2\)", "return grad * np.tanh(z) * (1 - np.tanh(z))"),
        every(r"return grad \* \(1 - a \*\* 2\)", "return grad * a * (1 - a)"),
        every(r"return grad \* \(a \* \(1 - a\)\)", "return grad * (1 - a ** 2)"),
        every(r"(class (?:LeakyReLU|ELU|Softplus)[\s\S]*?        return grad \* )\(.*\)$", r"\1(z > 0)"),
    ),
    "square forgotten in tanh derivative": either(
        every(r"(return grad \* \(1 - np\.tanh\(z\)) \*\* 2", r"\1"),
        every(r"return grad \* \(1 - a \*\* 2\)", "return grad * (1 - a)"),
    ),
    "loss without the rows of class 0": every(
        r"(np\.sum\(-y \* np\.log\(.*?\)) - \(1 - y\) \* np\.log\(.*?\)\)", r"\1)"
    ),
    "loss with the wrong sign": every(r"np\.sum\(-y \* (.*) - \(1 - y\)", r"np.sum(y * \1 + (1 - y)"),
    "softmax over the wrong axis": every(r"e / e\.sum\(axis=1, keepdims=True\)", "e / e.sum(axis=0, keepdims=True)"),
    "one unit's formula for another": every(
        r"^(        [za] = self\.[za]\n)        (return grad \* .*)$", r"\1        grad[:, 1] = grad[:, 0]\n        \2"
    ),
}
