"""What stands beside backpropagation in a student's file: scaling, shuffling, optimizers; each written three ways."""

from __future__ import annotations

from collections.abc import Mapping

from planted.edits import Edit, either, every

SCALE = (
    """
def standardize(X_train, X_test):
    mean, std = X_train.mean(axis=0), X_train.std(axis=0)
    return (X_train - mean) / std, (X_test - mean) / std
""",
    """
def scale(X_train, X_test):
    mu = np.mean(X_train, axis=0)
    sigma = np.std(X_train, axis=0)
    X_train = (X_train - mu) / sigma
    X_test = (X_test - mu) / sigma
    return X_train, X_test
""",
    """
def normalize(X_train, X_test):
    low = X_train.min(axis=0)
    high = X_train.max(axis=0)
    return (X_train - low) / (high - low), (X_test - low) / (high - low)
""",
)
SHUFFLE = (
    """
def shuffle(X, y):
    order = np.random.permutation(len(X))
    return X[order], y[order]
""",
    """
def shuffle(X, y):
    idx = np.arange(X.shape[0])
    np.random.shuffle(idx)
    X_new = X[idx]
    y_new = y[idx]
    return X_new, y_new
""",
    """
def shuffle_data(X, y, seed=0):
    rng = np.random.default_rng(seed)
    perm = rng.permutation(len(y))
    return X[perm], y[perm]
""",
)
MOMENTUM = (
    """
def momentum(parameters, gradients, velocity, learning_rate=0.1, beta=0.9):
    new_velocity = {k: beta * velocity[k] - learning_rate * gradients[k] for k in parameters}
    return {k: parameters[k] + new_velocity[k] for k in parameters}, new_velocity
""",
    """
def momentum_update(w, g, v, learning_rate=0.1, momentum=0.9):
    v = momentum * v - learning_rate * g
    w = w + v
    return w, v
""",
    """
class Momentum:
    def __init__(self, learning_rate=0.1, momentum=0.9):
        self.learning_rate, self.momentum, self.v = learning_rate, momentum, {}

    def update(self, parameters, gradients):
        for k in parameters:
            self.v[k] = self.momentum * self.v.get(k, 0) - self.learning_rate * gradients[k]
            parameters[k] = parameters[k] + self.v[k]
        return parameters
""",
)
ADAM = (
    """
def adam(parameters, gradients, m, v, t, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8):
    new = {}
    for k in parameters:
        m[k] = beta1 * m[k] + (1 - beta1) * gradients[k]
        v[k] = beta2 * v[k] + (1 - beta2) * gradients[k] ** 2
        m_hat = m[k] / (1 - beta1 ** t)
        v_hat = v[k] / (1 - beta2 ** t)
        new[k] = parameters[k] - learning_rate * m_hat / (np.sqrt(v_hat) + epsilon)
    return new, m, v
""",
    """
def adam_update(w, g, m, v, t, lr=0.001, beta1=0.9, beta2=0.999, eps=1e-8):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    m_hat = m / (1 - beta1 ** t)
    v_hat = v / (1 - beta2 ** t)
    w = w - lr * m_hat / (np.sqrt(v_hat) + eps)
    return w, m, v
""",
    """
class Adam:
    def __init__(self, lr=0.001, beta1=0.9, beta2=0.999, eps=1e-8):
        self.lr, self.beta1, self.beta2, self.eps = lr, beta1, beta2, eps
        self.m, self.v, self.t = {}, {}, 0

    def update(self, parameters, gradients):
        self.t += 1
        for k in parameters:
            self.m[k] = self.beta1 * self.m.get(k, 0) + (1 - self.beta1) * gradients[k]
            self.v[k] = self.beta2 * self.v.get(k, 0) + (1 - self.beta2) * gradients[k] ** 2
            m_hat = self.m[k] / (1 - self.beta1 ** self.t)
            v_hat = self.v[k] / (1 - self.beta2 ** self.t)
            parameters[k] = parameters[k] - self.lr * m_hat / (np.sqrt(v_hat) + self.eps)
        return parameters
""",
)
TEXTS: Mapping[str, tuple[str, ...]] = {"scale": SCALE, "shuffle": SHUFFLE, "momentum": MOMENTUM, "adam": ADAM}

MISTAKES: Mapping[str, tuple[str, Edit]] = {
    "scaling learned on test rows": (
        "scale",
        either(
            every(r"\(X_test - mean\) / std$", "(X_test - X_test.mean(axis=0)) / X_test.std(axis=0)"),
            every(
                r"^    X_test = \(X_test - mu\) / sigma$",
                "    X_test = (X_test - np.mean(X_test, axis=0)) / np.std(X_test, axis=0)",
            ),
            every(r"^    (low|high) = X_train\.", r"    \1 = np.vstack([X_train, X_test])."),
        ),
    ),
    "X shuffled without y": (
        "shuffle",
        either(every(r", y\[(?:order|perm)\]$", ", y"), every(r"y_new = y\[idx\]", "y_new = y")),
    ),
    "momentum's sign": (
        "momentum",
        every(r"(velocity\[k\]|momentum \* v|get\(k, 0\)) - (?=(?:self\.)?learning_rate)", r"\1 + "),
    ),
    "momentum without its memory": (
        "momentum",
        every(r"(?:beta|momentum|self\.momentum) \* (?:velocity\[k\]|v|self\.v\.get\(k, 0\)) - ", "-"),
    ),
    "Adam without bias correction": ("adam", every(r"^( *[mv]_hat = .*) / \(1 - .*$", r"\1")),
    "Adam's epsilon inside the root": (
        "adam",
        every(r"np\.sqrt\(v_hat\) \+ ((?:self\.)?eps\w*)", r"np.sqrt(v_hat + \1)"),
    ),
    "Adam's state shared": (
        "adam",
        either(
            every(r"\b(m|v)\[k\]", r"\1['W1']"),
            every(r"^(    v = beta2 \* )v", r"\1m"),
            every(
                r"^class Adam:\n(.*\n.*\n) *self\.m, self\.v, self\.t = (.*)$",
                r"class Adam:\n    m, v, t = \2\n\n\1",
            ),
        ),
    ),
    "Adam's square forgotten": (
        "adam",
        either(every(r" \* g \* g$", " * g"), every(r"(gradients\[k\]) \*\* 2$", r"\1")),
    ),
}
