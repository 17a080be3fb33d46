"""Ten lines for each form that a candidate may have, as the help shows them; a test checks that each is right."""

EXAMPLES = {
    "functions": """
import numpy as np

def forward(X, parameters):
    a1 = np.tanh(X @ parameters["W1"] + parameters["b1"])
    p = 1 / (1 + np.exp(-(a1 @ parameters["W2"] + parameters["b2"])))
    return p, a1

def backward(X, y, parameters, cache, p):
    d2 = (p - y) / len(X)
    d1 = d2 @ parameters["W2"].T * (1 - cache**2)
    return {"dW1": X.T @ d1, "db1": d1.sum(axis=0), "dW2": cache.T @ d2, "db2": d2.sum(axis=0)}
""",
    "function": """
import numpy as np

def gradients(weights, biases, X, y):
    a = [X]
    for W, b in zip(weights, biases):
        a.append(1 / (1 + np.exp(-(a[-1] @ W + b))))
    delta, dWs, dbs = (a[-1] - y) / len(X), [], []
    for l in reversed(range(len(weights))):
        dWs.insert(0, a[l].T @ delta)
        dbs.insert(0, delta.sum(axis=0))
        delta = delta @ weights[l].T * a[l] * (1 - a[l])
    return dWs, dbs
""",
    "object": """
import numpy as np

class NeuralNetwork:
    def __init__(self, n_in, n_hidden, n_out):
        self.W1, self.b1 = np.random.randn(n_in, n_hidden), np.zeros(n_hidden)
        self.W2, self.b2 = np.random.randn(n_hidden, n_out), np.zeros(n_out)

    def forward(self, X):
        self.a1 = np.maximum(X @ self.W1 + self.b1, 0)
        self.p = 1 / (1 + np.exp(-(self.a1 @ self.W2 + self.b2)))
        return self.p

    def backward(self, X, y):
        d2 = (self.p - y) / len(X)
        d1 = d2 @ self.W2.T * (self.a1 > 0)
        self.dW1, self.db1, self.dW2, self.db2 = X.T @ d1, d1.sum(axis=0), self.a1.T @ d2, d2.sum(axis=0)
""",
    "notebook": """
from math import exp

class NeuralNetwork:
    def forward_prop(self, x1, x2):
        z11 = self.w11 * x1 + self.w12 * x2 + self.b11
        z12 = self.w13 * x1 + self.w14 * x2 + self.b12
        a11, a12 = max(z11, 0), max(z12, 0)
        z2 = self.w21 * a11 + self.w22 * a12 + self.b2
        return {"z11": z11, "z12": z12, "a11": a11, "a12": a12, "z2": z2, "a2": 1 / (1 + exp(-z2))}

    def back_prop(self, x1, x2, y_true, forward_dict):
        e, a = forward_dict["a2"] - y_true, forward_dict
        d1, d2 = (a["z11"] > 0) * self.w21 * e, (a["z12"] > 0) * self.w22 * e
        return {"dw11": x1 * d1, "dw12": x2 * d1, "db11": d1, "dw13": x1 * d2, "dw14": x2 * d2, "db12": d2,
                "dw21": a["a11"] * e, "dw22": a["a12"] * e, "db2": e}
""",
    "layers": """
import numpy as np

class Dense:
    def __init__(self, n_in, n_out):
        self.W, self.b = np.random.randn(n_in, n_out), np.zeros(n_out)
    def forward(self, x):
        self.x = x
        return x @ self.W + self.b
    def backward(self, gradient):
        self.dW, self.db = self.x.T @ gradient, gradient.sum(axis=0)
        return gradient @ self.W.T

class Sigmoid:
    def forward(self, z):
        self.a = 1 / (1 + np.exp(-z))
        return self.a
    def backward(self, gradient):
        return gradient * self.a * (1 - self.a)

class Loss:
    def forward(self, p, y):
        self.p, self.y = p, y
        return np.mean((p - y) ** 2)
    def backward(self):
        return 2 * (self.p - self.y) / self.p.size

def build(sizes):
    layers = []
    for n_in, n_out in zip(sizes, sizes[1:]):
        layers += [Dense(n_in, n_out), Sigmoid()]
    return layers, Loss()
""",
}
