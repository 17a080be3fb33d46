"""What `gn.check` and `glassnet check` accept: the forms of a candidate, and how its conventions may be declared.

A candidate is somebody's own backpropagation. The checker makes networks and data, hands them over, and looks at what
comes back. Nothing is asked of a candidate but names that the checker knows; case and underscores do not matter.

Forms
-----
functions   A module, a file, a dict or any object with plain functions. One of them gives the gradients; the others are
            optional, and the more there are, the closer a mistake is found.

                forward, forward_pass, forward_prop(agation), feedforward     -> p, or (p, cache), or z's and a's by
                name
                backward, backward_pass, backprop(agation), gradient(s)       -> gradients, or (loss, gradients)
                loss, cost, compute_loss, compute_cost, objective             -> one number
                update, update_parameters, step                               -> the parameters after one step

            What a function is given follows from the names of its arguments:

                parameters, params, theta   a dict W1, b1, W2, b2 ...; or a list [W1, b1, W2, b2]: both are tried
                weights, biases             a list of matrices, a list of vectors
                W1, b1, W2, b2 ...          each alone
                X, x, inputs; y, Y, targets the data
                cache                       what forward gave (the second of two)
                p, a2, y_hat, z1, a1 ...    what forward gave, by name
                gradients, grads            what backward gave
                learning_rate, lr, alpha    0.1 or another
                l2, lambd, ``lambda_``      the penalty's factor, where there is a penalty
                activation, loss            a name: "relu", "tanh", "sigmoid"; "binary_cross_entropy" ...

            Gradients come as a dict (dW1, db1 or W1, b1), a list or a tuple in the order of the parameters, or two
            lists.

function    One callable `gradients(weights, biases, X, y)` or `gradients(parameters, X, y)`: lists of arrays in and
out.

object      A class, or an instance, whose arrays are attributes (W1, b1, W2, b2, or lists weights and biases) and whose
            methods have the names above; gradients are returned, or left in attributes (dW1, db1 ...), or only seen
            in the
            parameters after `update`, `step` or `fit(X, y, learning_rate, epochs)`. A class is made by Class(sizes),
            Class(n_in, n_hidden, n_out) or Class().

notebook    A 2-2-1 network with the scalars w11, w12, w13, w14, b11, b12, w21, w22, b2, the methods
            `forward_prop(x1, x2)` and `back_prop(x1, x2, y_true, forward_dict)` that give dicts (z11, a11 ... a2;
            dloss_dw11 ...), and perhaps `fit(X, y, alpha, epochs)`, `binary_cross_entropy(p, y)`. See `gn.by_hand`.

layers      A list `layers` (or a function `build(sizes)` that returns one, or an object with `.layers`) of objects with
            `forward(x)` and `backward(gradient)`; a layer with weights has W, weights or kernel and b, biases or
            bias, and
            after `backward` dW, grad_W or weight_gradient and so on. The loss is a last object with `forward(p, y)` and
            `backward()`, named `loss`, or functions `loss(p, y)` and `loss_gradient(p, y)`.

Conventions
-----------
They are detected; one line declares what cannot be, or what is meant: `CONVENTIONS = "layout=columns, output=softmax"`
in the file (or attribute of the object), `gn.check(..., conventions="...")`, `glassnet check --conventions "..."`.

::

    key            values                                           is
    form           functions function object notebook layers        which of the forms above
    sizes          2-3-1                                            the only network that the candidate can be
    hidden         relu tanh sigmoid leaky_relu identity ...        activation of hidden layers
    output         sigmoid softmax identity tanh relu               activation of the output
    loss           binary_cross_entropy cross_entropy squared_error of a row
    orientation    in_out out_in                                    weights are (n_in, n_out) or (n_out, n_in)
    layout         rows columns one_row                             X is (n, n_features) or (n_features, n), or a row
    loss_rows      mean sum                                         the loss of a batch
    gradient_rows  mean sum                                         its gradient; the loss's where left out
    half           yes no                                           squared error with the factor 1/2
    outputs        sum mean                                         the loss of a row with several outputs
    l2             none half whole                                  penalty l2/2 sum W^2, or l2 sum W^2
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from glassnet.errors import UsageError, did_you_mean

FORMS = ("functions", "function", "object", "notebook", "layers")

KEYS: Mapping[str, tuple[str, ...]] = {
    "form": FORMS,
    "sizes": (),
    "hidden": (
        "relu",
        "tanh",
        "sigmoid",
        "leaky_relu",
        "identity",
        "elu",
        "selu",
        "gelu",
        "silu",
        "softplus",
        "softsign",
    ),
    "output": ("sigmoid", "softmax", "identity", "tanh", "relu"),
    "loss": ("binary_cross_entropy", "cross_entropy", "squared_error"),
    "orientation": ("in_out", "out_in"),
    "layout": ("rows", "columns", "one_row"),
    "loss_rows": ("mean", "sum"),
    "gradient_rows": ("mean", "sum"),
    "half": ("yes", "no"),
    "outputs": ("sum", "mean"),
    "l2": ("none", "half", "whole"),
}


@dataclass(frozen=True)
class Declared:
    """What a candidate says of its own conventions; None is to be detected."""

    form: str | None = None
    sizes: tuple[int, ...] | None = None
    hidden: str | None = None
    output: str | None = None
    loss: str | None = None
    orientation: str | None = None
    layout: str | None = None
    loss_rows: str | None = None
    gradient_rows: str | None = None
    half: str | None = None
    outputs: str | None = None
    l2: str | None = None

    @property
    def one_row(self) -> bool:
        """Whether it is meant for one row at a time."""
        return self.layout == "one_row"

    def allows(self, key: str, value: object) -> bool:
        """Whether `value` may be meant for `key`."""
        said = getattr(self, key)
        return said is None or said == value or (key == "layout" and self.one_row)


def declared(text: str | None) -> Declared:
    """Read a line `key=value, key=value`; raises `UsageError` for a key or a value that there is not.

    >>> declared("layout=columns, sizes=2-3-1").sizes
    (2, 3, 1)
    """
    found: dict[str, object] = {}
    for part in (text or "").split(","):
        if not part.strip():
            continue
        key, _, value = (piece.strip() for piece in part.partition("="))
        if key not in KEYS:
            raise UsageError(f"A convention is one of {', '.join(KEYS)}; got {key!r}.{did_you_mean(key, KEYS)}")
        if key == "sizes":
            numbers = value.split("-")
            if len(numbers) < 2 or not all(number.isdecimal() and int(number) for number in numbers):
                raise UsageError(f"sizes are the units of every layer, inputs first, such as 2-3-1; got {value!r}.")
            found[key] = tuple(map(int, numbers))
        elif value not in KEYS[key]:
            raise UsageError(f"{key} is one of {', '.join(KEYS[key])}; got {value!r}.{did_you_mean(value, KEYS[key])}")
        else:
            found[key] = value
    assert found.keys() <= {field.name for field in fields(Declared)}
    return Declared(**found)  # type: ignore[arg-type]
