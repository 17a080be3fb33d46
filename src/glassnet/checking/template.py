"""The file that `glassnet check --template` writes: forward and loss are there, the rest is the learner's to write."""

TEMPLATE = '''"""Your own backpropagation. Write the functions, then: glassnet check THIS_FILE.py

Forward and loss are there to begin with; put your own in their place if you like. Keep the names of the functions and
of their arguments. Anything may be left out but backward: the more there is, the closer a mistake is found. Your
conventions are your own: sums or means, (n_in, n_out) or (n_out, n_in), rows or columns. What is not detected can be
declared, for example:

CONVENTIONS = "hidden=tanh, output=sigmoid, loss=binary_cross_entropy"
"""

import numpy as np


def forward(X, parameters):
    """X (n, n_features); parameters W1, b1, W2, b2. Return the output p, and what backward needs."""
    z1 = X @ parameters["W1"] + parameters["b1"]
    a1 = np.tanh(z1)
    z2 = a1 @ parameters["W2"] + parameters["b2"]
    p = 1 / (1 + np.exp(-z2))
    return p, {"z1": z1, "a1": a1, "z2": z2, "p": p}


def loss(p, y):
    """y (n, 1). Return one number."""
    return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))


def backward(X, y, parameters, cache):
    """Return the gradients of the loss, each of the shape of its parameter: {"dW1": ..., "db1": ..., ...}.

    cache: what forward returned beside p.
    """
    raise NotImplementedError("write backward")


def update(parameters, gradients, learning_rate):
    """Return the parameters after one step of gradient descent, under their names."""
    raise NotImplementedError("write update")
'''


def template() -> str:
    """The text of the file.

    >>> "def backward(X, y, parameters, cache):" in template()
    True
    """
    return TEMPLATE
