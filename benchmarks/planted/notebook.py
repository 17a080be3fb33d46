"""Style: the notebook's, a class of a 2-2-1 network with every scalar by name, one row at a time."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from planted.draws import Draw
from planted.edits import Edit, both, either, every, one

HIDDEN = {
    "relu": ("np.maximum(x, 0)", "1 if x > 0 else 0"),
    "tanh": ("np.tanh(x)", "1 - np.tanh(x) ** 2"),
    "sigmoid": ("1 / (1 + np.exp(-x))", "np.exp(-x) / (1 + np.exp(-x)) ** 2"),
    "leaky_relu": ("np.where(x > 0, x, 0.01 * x)", "1 if x > 0 else 0.01"),
}


def wants(rng: Random) -> dict[str, tuple[object, ...]]:
    """What this style can write."""
    return {
        "ascent": (False,),
        "layers": (2,),
        "in_out": (True,),
        "sizes": ("any",),
        "hidden": tuple(HIDDEN),
        "derivative": ("z",),
        "output": ("sigmoid",),
        "rows": ("mean",),
        "outputs": ("sum",),
        "l2": ("none",),
        "guard": ("",),
        "half": (False,) if rng.random() < 0.5 else (True, False),
    }


def source(d: Draw, rng: Random) -> str:
    """The file."""
    value, slope = HIDDEN[d.hidden]
    f = "activation" if rng.random() < 0.5 else d.hidden
    r = rng.choice(("forward_dict", "forward", "cache"))
    end = f' * {r}["a2"] * (1 - {r}["a2"])'
    error = f'{r}["a2"] - y_true' if d.loss != "squared_error" else f'{d.slope}({r}["a2"] - y_true){end}'
    lines = [
        "import numpy as np",
        "",
        "",
        f"class {rng.choice(('NeuralNetwork', 'Network', 'MyNet'))}:",
        "    def initialize(self):",
        "        (self.w11, self.w12, self.w13, self.w14, self.w21, self.w22,",
        "         self.b11, self.b12, self.b2) = np.random.randn(9)",
        "",
        f"    def {f}(self, x):",
        f"        return {value}",
        "",
        f"    def derivative_{f}(self, x):",
        f"        return {slope}",
        "",
        "    def squash(self, x):",
        "        return 1 / (1 + np.exp(-x))",
        "",
    ]
    if d.loss == "squared_error":
        lines += [
            "    def squared_error(self, p, y_true):",
            f"        return {'0.5 * ' if d.half else ''}(p - y_true) ** 2",
            "",
        ]
    else:
        lines += [
            "    def binary_cross_entropy(self, p, y_true):",
            "        return -(y_true * np.log(p) + (1 - y_true) * np.log(1 - p))",
            "",
        ]
    lines += [
        "    def forward_prop(self, x1, x2):",
        "        d = {}",
        '        d["z11"] = self.w11 * x1 + self.w12 * x2 + self.b11',
        '        d["z12"] = self.w13 * x1 + self.w14 * x2 + self.b12',
        f'        d["a11"] = self.{f}(d["z11"])',
        f'        d["a12"] = self.{f}(d["z12"])',
        '        d["z2"] = self.w21 * d["a11"] + self.w22 * d["a12"] + self.b2',
        '        d["a2"] = self.squash(d["z2"])',
        "        return d",
        "",
        f"    def back_prop(self, x1, x2, y_true, {r}):",
        "        g = {}",
        f"        error = {error}",
        f'        g["dloss_dw21"] = {r}["a11"] * error',
        f'        g["dloss_dw22"] = {r}["a12"] * error',
        '        g["dloss_db2"] = error',
        f'        dz11 = self.derivative_{f}({r}["z11"]) * self.w21 * error',
        f'        dz12 = self.derivative_{f}({r}["z12"]) * self.w22 * error',
        '        g["dloss_dw11"] = x1 * dz11',
        '        g["dloss_dw12"] = x2 * dz11',
        '        g["dloss_db11"] = dz11',
        '        g["dloss_dw13"] = x1 * dz12',
        '        g["dloss_dw14"] = x2 * dz12',
        '        g["dloss_db12"] = dz12',
        "        return g",
        "",
    ]
    if d.has_update:
        names = ("w11", "w12", "w13", "w14", "b11", "b12", "w21", "w22", "b2")
        lines += ["    def fit(self, X, y, alpha, epochs):", "        n = X.shape[0]"]
        lines += [] if rng.random() < 0.5 else ["        self.initialize()"]
        lines += ["        for epoch in range(epochs):", "            total = dict.fromkeys(["]
        lines += [f'                "{name}",' for name in names] + [
            "            ], 0)",
            "            for j in range(n):",
            "                x1, x2 = X[j]",
            "                y_true = y[j][0]",
        ]
        lines += [
            "                forward = self.forward_prop(x1, x2)",
            "                g = self.back_prop(x1, x2, y_true, forward)",
        ]
        lines += [
            "                for name in total:",
            '                    total[name] += g["dloss_d" + name]',
            "            for name in total:",
        ]
        lines += ["                setattr(self, name, getattr(self, name) - alpha * (1 / n) * total[name])", ""]
    return "\n".join(lines)


MISTAKES: Mapping[str, Edit] = {
    "gradient summed": every(r"alpha \* \(1 / n\) \*", "alpha *"),
    "averaged twice": every(r"\(1 / n\)", "(1 / n) * (1 / n)"),
    "averaged over the wrong axis": every(
        r"n = X\.shape\[0\]\n(.*\n)*?            for j in range\(n\)",
        lambda m: m[0].replace("shape[0]", "shape[1]").replace("range(n)", "range(len(X))"),
    ),
    "sign of the error": every(r'(        error = .*?)(\w+)\["a2"\] - y_true', r'\1y_true - \2["a2"]'),
    "sign of the update": every(r"\) - alpha", ") + alpha"),
    "derivative missing": either(
        every(r"self\.derivative_\w+\(.*?\) \* ", ""), one(r"self\.derivative_\w+\(.*?\) \* ", "")
    ),
    "derivative doubled": every(r"(self\.derivative_\w+\(.*?\)) \* ", r"\1 * \1 * "),
    "derivative of z at a": every(r'(self\.derivative_\w+\(\w+\[")z', r"\1a"),
    "derivative at the wrong layer": every(r'(self\.derivative_\w+\(\w+\["z)1[12]', r"\g<1>2"),
    "bias gradient of another layer": every(r'\["dloss_db1([12])"\] = dz1[12]', r'["dloss_db1\1"] = error'),
    "bias gradient of another unit": either(
        every(r'\["dloss_db12"\] = dz12', '["dloss_db12"] = dz11'),
        every(r'\["dloss_db11"\] = dz11', '["dloss_db11"] = dz12'),
    ),
    "sigmoid derivative on cross-entropy": every(
        r'^        error = (\w+)\["a2"\] - y_true$', r'        error = (\1["a2"] - y_true) * \1["a2"] * (1 - \1["a2"])'
    ),
    "output derivative missing": every(r'^(        error = .*\)) \* \w+\["a2"\] \* .*$', r"\1"),
    "updated weights used": every(
        r'^(        g\["dloss_db2"\] = error)$',
        r'\1\n        self.w21 -= 0.1 * g["dloss_dw21"]\n        self.w22 -= 0.1 * g["dloss_dw22"]',
    ),
    "accumulates between calls": both(
        every(r"^        g = \{\}\n", ""),
        every(r"^(class .*)$", r"\1\n    total = {}\n"),
        every(r"^        g(\[.*?\]) = (.*)$", r"        self.total\1 = self.total.get(KEY\1, 0) + \2"),
        every(r"KEY\[(.*?)\]", r"\1"),
        every(r"^        return g$", "        return dict(self.total)"),
    ),
    "factor of the square in the gradient": either(
        every(r"error = 2 \* ", "error = "), every(r"error = \(", "error = 2 * (")
    ),
    "gradient of another loss": every(r"^        return -\(y_true \* np\.log.*$", "        return (p - y_true) ** 2"),
    "log of a rounded probability": every(r"^(        return -\(y_true \* np\.log)", r"        p = np.round(p)\n\1"),
    "bias forgotten": one(r'^(        d\["z.*) \+ self\.b\d+$', r"\1"),
    "activation forgotten": one(r'^(        d\["a1\d"\] = )self\.\w+\((.*)\)$', r"\1\2"),
    "weight gradient with z": every(r'^(        g\["dloss_dw2\d"\] = \w+\[")a', r"\1z"),
    "inputs of another layer": every(r'^(        g\["dloss_dw2(\d)"\] = )\w+\["a1\d"\]', r"\1x\2"),
    "weights left out of the chain": either(
        every(r" \* self\.w2\d \* error", " * error"), one(r" \* self\.w2\d \* error", " * error")
    ),
    "derivative of another activation": either(
        every(r"return 1 - np\.tanh\(x\) \*\* 2", "return np.tanh(x) * (1 - np.tanh(x))"),
        every(r"return 1 if x > 0 else 0\.01", "return 1 if x > 0 else 0"),
    ),
    "square forgotten in tanh derivative": every(r"1 - np\.tanh\(x\) \*\* 2", "1 - np.tanh(x)"),
    "loss without the rows of class 0": every(r"(-\(y_true \* np\.log\(p\)) \+ .*$", r"\1)"),
    "loss with the wrong sign": every(r"return -\(y_true", "return (y_true"),
    "one unit's formula for another": either(
        every(r'(dz12 = .*)"z12"', r'\1"z11"'),
        every(r"(dz12 = .*)self\.w22", r"\1self.w21"),
        every(r'\["dloss_dw14"\] = x2 \* dz12', '["dloss_dw14"] = x2 * dz11'),
        every(r'\["dloss_dw13"\] = x1 \* dz12', '["dloss_dw13"] = x1 * dz11'),
        every(r'\["dloss_dw12"\] = x2', '["dloss_dw12"] = x1'),
    ),
    "update without learning rate": every(r"alpha \* ", ""),
    "biases not updated": every(
        r"^            for name in total:\n                setattr",
        "            for name in [k for k in total if k[0] == 'w']:\n                setattr",
    ),
}
