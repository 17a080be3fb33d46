"""Gradients by jax: the loss of a row written anew with jax's own functions, and differentiated by jax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from glassnet.errors import MissingExtraError
from glassnet.network import FloatArray, Network, Parameters
from glassnet.verification.quantities import Numbers, numbers_of_gradients


def jax_numbers(network: Network, parameters: Parameters, X: FloatArray, y: FloatArray, share: FloatArray) -> Numbers:
    """Every row's z, a, loss and gradient, in float64, and their mean weighted by `share` (n,), which sums to 1.

    Raises `MissingExtraError` where jax is not installed, `LookupError` for an activation or a loss that is not one of
    the package's own.

    >>> net = Network((2, 1), loss="mean_squared_error")
    >>> parameters = Parameters(net, np.array([1.0, 2.0, 0.5]))
    >>> found = jax_numbers(net, parameters, np.array([[3.0, 4.0]]), np.array([[10.5]]), np.ones(1))
    >>> found["loss"].tolist(), found["dloss/dw1"].tolist()
    ([1.0], [[[6.0], [8.0]]])
    """
    try:
        import jax
        import jax.numpy as jnp
    except ImportError as problem:
        raise MissingExtraError(
            f"A gradient by jax needs jax; {problem.name} is not installed. "
            "Install it with pip install 'glassnet[peers]'."
        ) from problem
    functions = [_activations(jax)[name] for name in network.activations]
    row = network.loss_row
    loss_of, c = _losses(jax)[row.name], row.parameter or 0.0
    shapes = [W.shape for W in parameters.weights]

    def loss(vector: Any, x: Any, target: Any) -> Any:
        a, at, seen = x, 0, []
        for (n_in, n_out), f in zip(shapes, functions, strict=True):
            W = vector[at : at + n_in * n_out].reshape(n_in, n_out)
            at += n_in * n_out
            z = a @ W + vector[at : at + n_out]
            a = f(z)
            at += n_out
            seen += [z, a]
        return loss_of(a, target, c), seen

    with jax.enable_x64(True):
        every = jax.jit(jax.vmap(jax.value_and_grad(loss, has_aux=True), (None, 0, 0)))
        (losses, seen), gradients = every(jnp.array(parameters.vector), jnp.array(X), jnp.array(y))
        gradients = np.asarray(gradients)
        found = numbers_of_gradients(network, np.asarray(losses), gradients, share @ gradients)
    for layer in range(1, network.n_layers + 1):
        found[f"z{layer}"], found[f"a{layer}"] = map(np.asarray, seen[2 * layer - 2 : 2 * layer])
    found["o"] = found.pop(f"a{network.n_layers}")
    return found


def _activations(jax: Any) -> dict[str, Callable[[Any], Any]]:
    nn = jax.nn
    return {
        "identity": lambda z: z,
        "relu": nn.relu,
        "leaky_relu": nn.leaky_relu,
        "elu": nn.elu,
        "selu": nn.selu,
        "gelu": lambda z: nn.gelu(z, approximate=False),
        "silu": nn.silu,
        "softplus": nn.softplus,
        "softsign": nn.soft_sign,
        "tanh": jax.numpy.tanh,
        "sigmoid": nn.sigmoid,
    }


def _losses(jax: Any) -> dict[str, Callable[[Any, Any, float], Any]]:
    jnp, nn = jax.numpy, jax.nn
    return {
        "binary_cross_entropy": lambda o, y, c: -(y * nn.log_sigmoid(o) + (1 - y) * nn.log_sigmoid(-o)).mean(),
        "cross_entropy": lambda o, y, c: -(y * nn.log_softmax(o)).sum(),
        "mean_squared_error": lambda o, y, c: jnp.square(o - y).mean(),
        "mean_absolute_error": lambda o, y, c: jnp.abs(o - y).mean(),
        "huber": lambda o, y, c: jnp.where(
            jnp.abs(o - y) < c, jnp.square(o - y) / 2, c * jnp.abs(o - y) - c * c / 2
        ).mean(),
        "poisson": lambda o, y, c: (jnp.exp(o) - y * o).mean(),
        "quantile": lambda o, y, c: jnp.where(y > o, c * (y - o), (1 - c) * (o - y)).mean(),
    }
