"""The hard way: a network of two inputs, two relu units and one sigmoid output, every scalar written out.

Nothing here is a vector and nothing loops over units: each line computes one number, and the equation that it
carries out stands above it. It is the notebook from which glassnet grew, written anew with its names and its
training lines. It is for reading; `gn.train` gives the same numbers and takes a network of any shape.

Which name is which. The notebook numbers the weights of a layer one after the other; glassnet says where a weight
comes from and where it goes: `w1_2_1` is in layer 1 and runs from input 2 to unit 1. Mind w12 and w13.

    ========  ========  =========================================
    notebook  glassnet  is
    ========  ========  =========================================
    w11       w1_1_1    layer 1, weight from input 1 to unit 1
    w12       w1_2_1    layer 1, weight from input 2 to unit 1
    b11       b1_1      layer 1, bias of unit 1
    w13       w1_1_2    layer 1, weight from input 1 to unit 2
    w14       w1_2_2    layer 1, weight from input 2 to unit 2
    b12       b1_2      layer 1, bias of unit 2
    w21       w2_1_1    layer 2, weight from unit 1 to the output
    w22       w2_2_1    layer 2, weight from unit 2 to the output
    b2        b2_1      layer 2, bias of the output
    z11       z1_1      unit 1 before relu
    a11       a1_1      unit 1 after relu
    z12       z1_2      unit 2 before relu
    a12       a1_2      unit 2 after relu
    z2        o         the logit, before the sigmoid
    a2        p         the probability of class 1
    ========  ========  =========================================

Where it departs from the notebook: the start is drawn by glassnet's generator, so that it can be had again; the
loss is computed from the logit and the sigmoid never overflows, so that a network that is very sure gets a finite
cost instead of `nan`; sums begin with the bias, as everywhere in glassnet.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from glassnet.errors import UsageError
from glassnet.network import Network, Parameters, initialize
from glassnet.reference import checked_table, checked_targets

NETWORK = Network(sizes=(2, 2, 1), activations="relu", loss="binary_cross_entropy")
"""The one network that `NeuralNetwork` can be."""


class NeuralNetwork:
    """The notebook's class: two inputs, two relu units, one sigmoid output, trained by full-batch gradient descent.

    Its nine numbers are the attributes w11, w12, w13, w14, b11, b12, w21, w22, b2. After `fit`, `costs` and
    `accuracies` hold one number an epoch, over the training rows.

    >>> network = NeuralNetwork().fit([[0.5, 1.0], [-1.0, 0.3], [1.5, -0.2]], [[1], [0], [1]], alpha=0.1, epochs=2)
    epoch: 1, cost: 2.05, accuracy: 66.67%
    epoch: 2, cost: 2.01, accuracy: 66.67%
    """

    w11: float
    w12: float
    b11: float
    w13: float
    w14: float
    b12: float
    w21: float
    w22: float
    b2: float
    costs: list[float]
    accuracies: list[float]

    def initialize(self, random_state: int = 0) -> None:
        """Draw the nine numbers from the standard normal distribution.

        They are those of `gn.initialize(by_hand.NETWORK, random_state, "standard_normal")`.

        >>> network = NeuralNetwork()
        >>> network.initialize(random_state=0)
        >>> network.w12 == initialize(NETWORK, 0, "standard_normal").weights[0][1, 0].item()
        True
        """
        self.set_parameters(initialize(NETWORK, random_state, "standard_normal"))

    def set_parameters(self, parameters: Parameters) -> None:
        """Take the nine numbers from the `Parameters` of a 2-2-1 network; raises `UsageError` for another's.

        >>> network = NeuralNetwork()
        >>> network.set_parameters(Parameters(NETWORK, np.arange(9.0)))
        >>> network.w11, network.w13, network.w12, network.w14
        (0.0, 1.0, 2.0, 3.0)
        """
        if parameters.network.sizes != (2, 2, 1) or parameters.vector.shape != (9,):
            raise UsageError(
                "The network by hand has sizes (2, 2, 1) and 9 parameters; got sizes "
                f"{parameters.network.sizes} and a vector of shape {parameters.vector.shape}. "
                "gn.train takes networks of any shape."
            )
        # The order is glassnet's: W1 row by row (a row is an input), b1, W2, b2.
        numbers = parameters.vector.tolist()
        self.w11, self.w13, self.w12, self.w14 = numbers[0], numbers[1], numbers[2], numbers[3]
        self.b11, self.b12 = numbers[4], numbers[5]
        self.w21, self.w22 = numbers[6], numbers[7]
        self.b2 = numbers[8]

    def parameters(self) -> Parameters:
        """The nine numbers as `Parameters` of `NETWORK`, for `gn.train`, `gn.backward` and everything else.

        >>> network = NeuralNetwork()
        >>> network.set_parameters(Parameters(NETWORK, np.arange(9.0)))
        >>> network.parameters().vector.tolist()
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
        """
        weights = [[[self.w11, self.w13], [self.w12, self.w14]], [[self.w21], [self.w22]]]
        biases = [[self.b11, self.b12], [self.b2]]
        return Parameters.from_layers(NETWORK, [np.array(W) for W in weights], [np.array(b) for b in biases])

    def relu(self, x: float) -> float:
        """relu(x) = max(x, 0)."""
        return max(x, 0.0)

    def derivative_relu(self, x: float) -> float:
        """relu'(x) = 1 where x > 0, else 0; at the kink itself, where there is no derivative, 0 is taken."""
        return 1.0 if x > 0 else 0.0

    def sigmoid(self, x: float) -> float:
        """sigmoid(x) = 1 / (1 + exp(-x)), between 0 and 1.

        >>> NeuralNetwork().sigmoid(0.0), NeuralNetwork().sigmoid(-1e4)
        (0.5, 0.0)
        """
        # exp of a large number overflows, exp of a large negative one is harmlessly 0. So exp is only taken of what
        # is at most 0; for x < 0 the fraction is widened by exp(x): exp(x) / (exp(x) + 1).
        if x >= 0:
            return 1 / (1 + math.exp(-x))
        return math.exp(x) / (1 + math.exp(x))

    def binary_cross_entropy(self, z: float, y_true: float) -> float:
        """The loss of one row: -(y log(p) + (1 - y) log(1 - p)) with p = sigmoid(z), taken from the logit z.

        >>> NeuralNetwork().binary_cross_entropy(0.0, 1) == math.log(2)
        True
        >>> NeuralNetwork().binary_cross_entropy(1e4, 0)
        10000.0
        """
        # The notebook hands over p. But at a logit of 37 p is rounded to 1, and log(1 - p) to minus infinity: one
        # sure row and the whole cost is lost. With p = 1 / (1 + exp(-z)) put in, the logarithms become
        #   loss = log(1 + exp(z)) - y z = max(z, 0) - y z + log(1 + exp(-|z|))
        # whose exp is never above 1: the same number where the notebook's is finite, and finite everywhere.
        return max(z, 0.0) - y_true * z + math.log1p(math.exp(-abs(z)))

    def forward_prop(self, x1: float, x2: float) -> dict[str, float]:
        """From the two inputs of one row to the probability of class 1: z11, z12, a11, a12, z2, a2."""
        forward_dict = {}

        # hidden layer
        # z1_1 = b1_1 + w1_1_1 x1 + w1_2_1 x2
        forward_dict["z11"] = self.b11 + self.w11 * x1 + self.w12 * x2
        # z1_2 = b1_2 + w1_1_2 x1 + w1_2_2 x2
        forward_dict["z12"] = self.b12 + self.w13 * x1 + self.w14 * x2
        # a1_1 = relu(z1_1)
        forward_dict["a11"] = self.relu(forward_dict["z11"])
        # a1_2 = relu(z1_2)
        forward_dict["a12"] = self.relu(forward_dict["z12"])

        # output layer
        # o = b2_1 + w2_1_1 a1_1 + w2_2_1 a1_2
        forward_dict["z2"] = self.b2 + self.w21 * forward_dict["a11"] + self.w22 * forward_dict["a12"]
        # p = sigmoid(o)
        forward_dict["a2"] = self.sigmoid(forward_dict["z2"])

        return forward_dict

    def back_prop(self, x1: float, x2: float, y_true: float, forward_dict: dict[str, float]) -> dict[str, float]:
        """The nine derivatives of one row's loss, from the end to the beginning; `fit` averages them over the rows.

        `forward_dict` is what `forward_prop` gave for x1, x2. The keys are dloss_dw11 and so on.
        """
        deriva_dict = {}

        # output layer
        # dloss/do = dloss/dp dp/do = (p - y) / (p (1 - p)) * p (1 - p) = p - y
        error = forward_dict["a2"] - y_true
        # dloss/dw2_1_1 = do/dw2_1_1 dloss/do = a1_1 (p - y)
        deriva_dict["dloss_dw21"] = forward_dict["a11"] * error
        # dloss/dw2_2_1 = do/dw2_2_1 dloss/do = a1_2 (p - y)
        deriva_dict["dloss_dw22"] = forward_dict["a12"] * error
        # dloss/db2_1 = do/db2_1 dloss/do = p - y
        deriva_dict["dloss_db2"] = error

        # hidden layer, unit 1
        # dloss/dz1_1 = da1_1/dz1_1 do/da1_1 dloss/do = relu'(z1_1) w2_1_1 (p - y)
        dloss_dz11 = self.derivative_relu(forward_dict["z11"]) * self.w21 * error
        # dloss/dw1_1_1 = dz1_1/dw1_1_1 dloss/dz1_1 = x1 relu'(z1_1) w2_1_1 (p - y)
        deriva_dict["dloss_dw11"] = x1 * dloss_dz11
        # dloss/dw1_2_1 = dz1_1/dw1_2_1 dloss/dz1_1 = x2 relu'(z1_1) w2_1_1 (p - y)
        deriva_dict["dloss_dw12"] = x2 * dloss_dz11
        # dloss/db1_1 = dz1_1/db1_1 dloss/dz1_1 = relu'(z1_1) w2_1_1 (p - y)
        deriva_dict["dloss_db11"] = dloss_dz11

        # hidden layer, unit 2
        # dloss/dz1_2 = da1_2/dz1_2 do/da1_2 dloss/do = relu'(z1_2) w2_2_1 (p - y)
        dloss_dz12 = self.derivative_relu(forward_dict["z12"]) * self.w22 * error
        # dloss/dw1_1_2 = dz1_2/dw1_1_2 dloss/dz1_2 = x1 relu'(z1_2) w2_2_1 (p - y)
        deriva_dict["dloss_dw13"] = x1 * dloss_dz12
        # dloss/dw1_2_2 = dz1_2/dw1_2_2 dloss/dz1_2 = x2 relu'(z1_2) w2_2_1 (p - y)
        deriva_dict["dloss_dw14"] = x2 * dloss_dz12
        # dloss/db1_2 = dz1_2/db1_2 dloss/dz1_2 = relu'(z1_2) w2_2_1 (p - y)
        deriva_dict["dloss_db12"] = dloss_dz12

        return deriva_dict

    def encode_class(self, x: float) -> int:
        """Class 1 where the probability x is above 0.5, else class 0."""
        return 1 if x > 0.5 else 0

    def get_prob_class(self, x1: float, x2: float) -> tuple[float, int]:
        """The probability of class 1 for one row, and the class that follows from it."""
        prob = self.forward_prop(x1, x2)["a2"]
        return prob, self.encode_class(prob)

    def get_accuracy_cost(self, X: ArrayLike, y: ArrayLike) -> tuple[float, float]:
        """The share of rows classified right, and the cost, for X (n, 2) and y (n, 1) or (n,) of 0 and 1.

        The cost is the notebook's: the *sum* of the rows' losses. Divide it by n for the mean that its formula
        gives, and that glassnet calls the loss.
        """
        inputs = checked_table(NETWORK, X)
        targets = checked_targets(NETWORK, y, len(inputs), inputs.dtype)
        return self._accuracy_cost(inputs.tolist(), targets.tolist())

    def _accuracy_cost(self, X: list[list[float]], y: list[list[float]]) -> tuple[float, float]:
        n = len(X)
        n_correct = 0
        cost = 0.0
        for i in range(n):
            x1, x2 = X[i]
            y_true = y[i][0]
            forward_dict = self.forward_prop(x1, x2)
            if self.encode_class(forward_dict["a2"]) == y_true:
                n_correct += 1
            # cost = sum over rows of loss
            cost += self.binary_cross_entropy(forward_dict["z2"], y_true)
        return n_correct / n, cost

    def training_line(self, epoch: int) -> str:
        """What `fit` prints after `epoch` (from 1): `epoch: 1, cost: 1538.06, accuracy: 37.58%`."""
        cost, accuracy = self.costs[epoch - 1], self.accuracies[epoch - 1]
        return f"epoch: {epoch}, cost: {cost:.2f}, accuracy: {accuracy * 100:.2f}%"

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        alpha: float,
        epochs: int,
        *,
        random_state: int = 0,
        parameters: Parameters | None = None,
        verbose: bool = True,
    ) -> NeuralNetwork:
        """Train on X (n, 2) and y (n, 1) or (n,) of 0 and 1: `epochs` updates with the learning rate `alpha`.

        Begins at `initialize(random_state)`, or at `parameters` where they are given. Prints a line an epoch,
        unless `verbose` is off, and returns itself. Raises `UsageError` for settings and `DataError` for data that
        cannot be meant.

        `gn.train(by_hand.NETWORK, X, y, optimizer=gn.SGD(alpha), epochs=epochs, parameters=...)` takes the same steps.
        """
        if not 0 < alpha < math.inf:
            raise UsageError(f"alpha is the learning rate, above 0; got {alpha!r}.")
        if not isinstance(epochs, int | np.integer) or epochs < 1:
            raise UsageError(f"epochs is a whole number, 1 or more; got {epochs!r}.")
        # Python's own floats: NumPy's would be several times slower one by one.
        inputs = checked_table(NETWORK, X)
        rows: list[list[float]] = inputs.tolist()
        targets: list[list[float]] = checked_targets(NETWORK, y, len(inputs), inputs.dtype).tolist()
        n = len(rows)

        if parameters is None:
            self.initialize(random_state)
        else:
            self.set_parameters(parameters)
        self.costs = []
        self.accuracies = []

        for i in range(1, epochs + 1):
            dcost_dw21 = 0.0
            dcost_dw22 = 0.0
            dcost_db2 = 0.0
            dcost_dw11 = 0.0
            dcost_dw12 = 0.0
            dcost_db11 = 0.0
            dcost_dw13 = 0.0
            dcost_dw14 = 0.0
            dcost_db12 = 0.0

            for j in range(n):
                x1, x2 = rows[j]
                y_true = targets[j][0]
                forward_prop = self.forward_prop(x1, x2)
                back_prop = self.back_prop(x1, x2, y_true, forward_prop)

                # dcost/dw = sum over rows of dloss/dw
                dcost_dw21 += back_prop["dloss_dw21"]
                dcost_dw22 += back_prop["dloss_dw22"]
                dcost_db2 += back_prop["dloss_db2"]
                dcost_dw11 += back_prop["dloss_dw11"]
                dcost_dw12 += back_prop["dloss_dw12"]
                dcost_db11 += back_prop["dloss_db11"]
                dcost_dw13 += back_prop["dloss_dw13"]
                dcost_dw14 += back_prop["dloss_dw14"]
                dcost_db12 += back_prop["dloss_db12"]

            # One step against the gradient of the *mean* loss, hence 1/n, all nine from the same forward passes.
            # w2_1_1 <- w2_1_1 - alpha 1/n dcost/dw2_1_1
            self.w21 -= alpha * (1 / n) * dcost_dw21
            # w2_2_1 <- w2_2_1 - alpha 1/n dcost/dw2_2_1
            self.w22 -= alpha * (1 / n) * dcost_dw22
            # b2_1 <- b2_1 - alpha 1/n dcost/db2_1
            self.b2 -= alpha * (1 / n) * dcost_db2
            # w1_1_1 <- w1_1_1 - alpha 1/n dcost/dw1_1_1
            self.w11 -= alpha * (1 / n) * dcost_dw11
            # w1_2_1 <- w1_2_1 - alpha 1/n dcost/dw1_2_1
            self.w12 -= alpha * (1 / n) * dcost_dw12
            # b1_1 <- b1_1 - alpha 1/n dcost/db1_1
            self.b11 -= alpha * (1 / n) * dcost_db11
            # w1_1_2 <- w1_1_2 - alpha 1/n dcost/dw1_1_2
            self.w13 -= alpha * (1 / n) * dcost_dw13
            # w1_2_2 <- w1_2_2 - alpha 1/n dcost/dw1_2_2
            self.w14 -= alpha * (1 / n) * dcost_dw14
            # b1_2 <- b1_2 - alpha 1/n dcost/db1_2
            self.b12 -= alpha * (1 / n) * dcost_db12

            accuracy, cost = self._accuracy_cost(rows, targets)
            self.accuracies.append(accuracy)
            self.costs.append(cost)
            if verbose:
                print(self.training_line(i))
        return self
