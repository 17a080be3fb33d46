"""Style: the lecture's, examples in columns, weights (n_out, n_in), biases (n_out, 1), loops over `"W" + str(l)`."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from planted.draws import HIDDEN, Draw
from planted.edits import Edit, both, either, every


def wants(rng: Random) -> dict[str, tuple[object, ...]]:
    """What this style can write."""
    return {"ascent": (False,), "in_out": (False,), "derivative": ("z", "a"), "outputs": ("sum",)}


def source(d: Draw, rng: Random) -> str:
    """The file."""
    value, of_z, of_a = HIDDEN[d.hidden]
    formula = (of_a if d.derivative == "a" else of_z).replace("a ", "A ").replace("a)", "A)").replace("z", "Z")
    letter = "A" if d.derivative == "a" else "Z"
    lam = d.l2 != "none"
    mean = d.rows == "mean"
    data = rng.choice(("X, Y", "X, y"))
    Y = data[-1]
    lines = [
        '"""Deep network, by hand."""',
        "import numpy as np",
        "",
        d.conventions + "",
        f"def {d.hidden}(Z):",
        f"    return {value.replace('z', 'Z')}",
        "",
        f"def {d.hidden}_backward(dA, {letter}):",
        f"    return dA * ({formula})",
        "",
        "def output_activation(Z):",
    ]
    lines += {
        "sigmoid": ["    return 1.0 / (1.0 + np.exp(-Z))"],
        "softmax": [
            "    expZ = np.exp(Z - np.max(Z, axis=0, keepdims=True))",
            "    return expZ / np.sum(expZ, axis=0, keepdims=True)",
        ],
        "identity": ["    return Z"],
        "tanh": ["    return np.tanh(Z)"],
    }[d.output]
    lines += [
        "",
        "def forward_propagation(X, parameters):",
        "    L = len(parameters) // 2",
        "    A = X",
        "    caches = {'A0': X}",
        "    for l in range(1, L + 1):",
        "        A_prev = A",
        "        Z = np.dot(parameters['W' + str(l)], A_prev) + parameters['b' + str(l)]",
        f"        A = {d.hidden}(Z) if l < L else output_activation(Z)",
        "        caches['Z' + str(l)] = Z",
        "        caches['A' + str(l)] = A",
        "    return A, caches",
        "",
    ]
    if d.has_loss:
        q, other = {"": ("AL", "1 - AL"), "add": ("AL + 1e-10", "1 - AL + 1e-10"), "clip": ("AL", "1 - AL")}[d.guard]
        extra = ", parameters, lambd" if lam else ""
        lines += [f"def compute_cost(AL, {Y}{extra}):", f"    m = {Y}.shape[1]"]
        lines += ["    AL = np.clip(AL, 1e-11, 1 - 1e-11)"] if d.guard == "clip" else []
        over = "m" if mean else "1"
        if d.loss == "squared_error":
            lines += [f"    cost = np.sum(np.square(AL - {Y})) / {over}" + (" / 2" if d.half else "")]
        elif d.loss == "cross_entropy":
            lines += [f"    cost = -np.sum({Y} * np.log({q})) / {over}"]
        else:
            lines += [
                f"    logprobs = {Y} * np.log({q}) + (1 - {Y}) * np.log({other})",
                f"    cost = -np.sum(logprobs) / {over}",
            ]
        if lam:
            factor = {"half": "lambd / 2", "whole": "lambd", "half_over_n": "lambd / (2 * m)"}[d.l2]
            lines += [
                "    for l in range(1, len(parameters) // 2 + 1):",
                f"        cost += {factor} * np.sum(np.square(parameters['W' + str(l)]))",
            ]
        lines += ["    return cost", ""]
    inputs = rng.choice((f"AL, {Y}, caches, parameters", f"parameters, caches, X, {Y}", f"X, {Y}, parameters, caches"))
    lines += [
        f"def backward_propagation({inputs}{', lambd' if lam else ''}):",
        "    grads = {}",
        "    L = len(parameters) // 2",
        f"    m = {Y}.shape[1]",
    ]
    lines += [] if inputs.startswith("AL") else ["    AL = caches['A' + str(L)]"]
    slope = {"sigmoid": " * AL * (1 - AL)", "tanh": " * (1 - AL ** 2)"}
    if d.loss == "squared_error":
        lines += [f"    dAL = {d.slope}(AL - {Y})", f"    dZ = dAL{slope.get(d.output, '')}"]
    elif d.fused or d.output == "softmax":
        lines += [f"    dZ = AL - {Y}"]
    else:
        lines += [f"    dAL = -(np.divide({Y}, AL) - np.divide(1 - {Y}, 1 - AL))", "    dZ = dAL * AL * (1 - AL)"]
    scale = "1 / m * " if mean else ""
    penalty = {"none": "", "half": " + lambd * ", "whole": " + 2 * lambd * ", "half_over_n": " + lambd / m * "}[d.l2]
    penalty += "parameters['W' + str(l)]" if penalty else ""
    lines += [
        "    for l in reversed(range(1, L + 1)):",
        "        A_prev = caches['A' + str(l - 1)]",
        f"        grads['dW' + str(l)] = {scale}np.dot(dZ, A_prev.T){penalty}",
        f"        grads['db' + str(l)] = {scale}np.sum(dZ, axis=1, keepdims=True)",
        "        if l > 1:",
        "            dA_prev = np.dot(parameters['W' + str(l)].T, dZ)",
        f"            dZ = {d.hidden}_backward(dA_prev, caches['{letter}' + str(l - 1)])",
        "    return grads",
        "",
    ]
    if d.has_update:
        lines += [
            "def update_parameters(parameters, grads, learning_rate):",
            "    parameters = dict(parameters)",
            "    for l in range(1, len(parameters) // 2 + 1):",
            "        parameters['W' + str(l)] = parameters['W' + str(l)] - learning_rate * grads['dW' + str(l)]",
            "        parameters['b' + str(l)] = parameters['b' + str(l)] - learning_rate * grads['db' + str(l)]",
            "    return parameters",
            "",
        ]
    return "\n".join(lines)


EDITS: Mapping[str, Edit] = {
    "gradient summed": every(r"^(        grads.*)1 / m \* ", r"\1"),
    "gradient averaged": every(r"^(        grads\['d[Wb]' \+ str\(l\)\] = )(np\.(?:dot|sum))", r"\1(1.0 / m) * \2"),
    "averaged twice": either(
        every(r"^(    dZ = (?:AL - [yY]|dAL.*))$", r"\1 / m"),
        every(r"^(        grads.*)1 / m \* ", r"\g<1>1 / m ** 2 * "),
    ),
    "averaged over the wrong axis": every(r"^(def back(?:.*\n)*?    m = )[yY]\.shape\[1\]", r"\1caches['A0'].shape[0]"),
    "bias not averaged": every(r"(grads\['db' .*)1 / m \* ", r"\1"),
    "sign of the error": either(every(r"\(?AL - ([yY])\)?$", r"(\1 - AL)"), every(r"dAL = -\(", "dAL = (")),
    "sign of the update": every(r" - learning_rate", " + learning_rate"),
    "derivative missing": every(r"^(            dZ = )\w+_backward\(dA_prev, .*\)$", r"\1dA_prev"),
    "derivative doubled": every(r"^(    return dA \* )(\(.*\))$", r"\1\2 * \2"),
    "derivative of z at a": every(r"caches\['Z' \+ str\(l - 1\)\]\)$", "caches['A' + str(l - 1)])"),
    "derivative of a at z": every(r"_backward\(dA_prev, caches\['A'", "_backward(dA_prev, caches['Z'"),
    "derivative at the wrong layer": every(r"(_backward\(dA_prev, caches\['[ZA]' \+ str\()l - 1", r"\1l"),
    "weights transposed": every(r"\.T, dZ\)", ", dZ)"),
    "bias gradient of one row": every(r"np\.sum\(dZ, axis=1, keepdims=True\)", "dZ[:, :1]"),
    "bias gradient not summed": every(r"np\.sum\(dZ, axis=1, keepdims=True\)", "dZ"),
    "bias gradient summed over units": every(r"np\.sum\(dZ, axis=1, keepdims=True\)", "np.sum(dZ)"),
    "bias gradient of another unit": every(
        r"np\.sum\(dZ, axis=1, keepdims=True\)", "np.sum(dZ[::-1], axis=1, keepdims=True)"
    ),
    "sigmoid derivative on cross-entropy": every(r"^(    dZ = )AL - ([yY])$", r"\1(AL - \2) * AL * (1 - AL)"),
    "output derivative missing": every(r"^(    dAL = .*AL - [yY]\)\n    dZ = dAL) \* .*$", r"\1"),
    "softmax without cross terms": every(
        r"^    dZ = AL - ([yY])$", r"    dAL = -\1 / AL\n    dZ = dAL * AL * (1 - AL)"
    ),
    "accumulates between calls": both(
        every(r"^    grads = \{\}\n", ""),
        every(r"^(import numpy as np)$", r"\1\n\ngrads = {}"),
        every(r"^(        grads\[)('d[Wb]' \+ str\(l\))(\] = )", r"\1\2\3grads.get(\2, 0) + "),
    ),
    "factor of the square in the gradient": either(
        every(r"^(    dAL = )2 \* ", r"\1"), every(r"^(    dAL = )(\(AL - )", r"\g<1>2 * \2")
    ),
    "gradient of another loss": every(
        r"^    logprobs = ([yY]) .*\n    cost = -np\.sum\(logprobs\)", r"    cost = np.sum((AL - \1) ** 2)"
    ),
    "log of a rounded probability": every(r"^(    logprobs = )", r"    AL = np.round(AL)\n\1"),
    "penalty on biases": every(r"^(        grads\['db'.*)$", r"\1 + lambd * parameters['b' + str(l)]"),
    "penalty missing": every(r"^(        grads\['dW'.*\.T\)) \+ .*$", r"\1"),
    "penalty doubled": every(r"^(        grads\['dW'.*\.T\) \+ )(lambd)", r"\g<1>2 * \2"),
    "penalty halved": every(r"^(        grads\['dW'.*\.T\) \+ )2 \* (lambd)", r"\1\2"),
    "penalty subtracted": every(r"^(        grads\['dW'.*\.T\)) \+ ", r"\1 - "),
    "integer division": every(r"^(        grads.*)1 / m \* ", r"\g<1>1 // m * "),
    "input changed in place": either(
        every(r"^    A = X$", "    A = X\n    A -= A.mean(axis=1, keepdims=True)"),
        every(r"^    A = X$", "    X /= np.abs(X).max()\n    A = X"),
    ),
    "bias forgotten": every(r", A_prev\) \+ parameters\['b' \+ str\(l\)\]", ", A_prev)"),
    "activation forgotten": every(r"^(        A = )\w+\(Z\) if l < L else (output.*)$", r"\1Z if l < L else \2"),
    "weight gradient with z": every(
        r"^        A_prev = caches\['A' \+ str\(l - 1\)\]$",
        "        A_prev = caches['Z' + str(l - 1)] if l > 1 else X_",
    ),
    "inputs of another layer": every(
        r"^        A_prev = caches\['A' \+ str\(l - 1\)\]$", "        A_prev = caches['A' + str(max(l - 2, 0))]"
    ),
    "weights left out of the chain": every(r"np\.dot\(parameters\['W' \+ str\(l\)\]\.T, dZ\)", "dZ"),
    "weights of another layer": every(r"parameters\['W' \+ str\(l\)\]\.T", "parameters['W' + str(l - 1)].T"),
    "derivative of another activation": either(
        every(r"^(def tanh_backward\(dA, Z\).*\n    return dA \* )\(.*\)$", r"\1(np.tanh(Z) * (1 - np.tanh(Z)))"),
        every(r"^(def (?:elu|softplus|leaky_relu)_backward.*\n    return dA \* )\(.*\)$", r"\1(Z > 0)"),
    ),
    "square forgotten in tanh derivative": either(
        every(r"np\.tanh\(Z\) \*\* 2", "np.tanh(Z)"), every(r"1 - A \*\* 2", "1 - A")
    ),
    "loss without the rows of class 0": every(r"^(    logprobs = [yY] \* np\.log\(.*?\)) \+ .*$", r"\1"),
    "loss with the wrong sign": every(r"= -np\.sum\(", "= np.sum("),
    "softmax over the wrong axis": every(r"axis=0, keepdims=True", "axis=1, keepdims=True"),
    "update without learning rate": every(r" - learning_rate \* ", " - "),
    "biases not updated": every(r"^        parameters\['b'.*\n", ""),
    "first layer not trained": every(
        r"range\(1, L \+ 1\)\):\n        A_prev = c", "range(1, L + 1)):\n        A_prev = 0 * X if l == 1 else c"
    ),
    "one unit's formula for another": every(r"^(            dZ = .*)$", r"\1\n            dZ[1] = dZ[0]"),
}
MISTAKES: Mapping[str, Edit] = {
    **EDITS,
    "weight gradient with z": both(EDITS["weight gradient with z"], every(r"X_", "caches['A0']")),
    "first layer not trained": both(EDITS["first layer not trained"], every(r"0 \* X if", "0 * caches['A0'] if")),
}
