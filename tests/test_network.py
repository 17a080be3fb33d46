"""What a network is, and the views of its parameters."""

from __future__ import annotations

import copy
import pickle
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassnet.errors import UsageError
from glassnet.network import Network, Parameters, checked_dropout, dropout_masks, weight_mask
from glassnet.randomness import Purpose, philox, uniform

SIZES = st.lists(st.integers(1, 5), min_size=2, max_size=5).map(tuple)


def test_one_activation_is_that_of_every_hidden_layer() -> None:
    assert Network((2, 3, 4, 1), "tanh").activations == ("tanh", "tanh", "identity")
    assert Network((2, 3, 4, 1), ("tanh", "relu")).activations == ("tanh", "relu", "identity")
    assert Network((2, 3, 1), ("tanh", "softplus"), "mean_squared_error").activations == ("tanh", "softplus")
    assert Network((2, 1)).activations == ("identity",)
    assert Network((2, 3, 1), "logistic").activations == ("sigmoid", "identity")


def test_equal_networks_are_equal_and_hash_alike() -> None:
    net = Network((2, 3, 1), "logistic", "quantile( 0.9 )")
    assert net == Network([np.int64(2), 3, 1], ["sigmoid"], "quantile(0.9)")
    assert hash(net) == hash(Network((2, 3, 1), "sigmoid", "quantile(0.9)"))
    assert all(type(n) is int for n in Network([np.int64(2), 1]).sizes)
    assert net != Network((2, 3, 1), "tanh", "quantile(0.9)")
    assert pickle.loads(pickle.dumps(net)) == net
    with pytest.raises(AttributeError):
        net.sizes = (1, 1)  # type: ignore[misc]


def test_copies_and_pickles_of_parameters_are_views_of_their_own_vector() -> None:
    parameters = Parameters(Network((2, 3, 1)), np.arange(13.0))
    assert parameters.weights[1].shape == (3, 1)
    for copied in (parameters.copy(), pickle.loads(pickle.dumps(parameters)), copy.deepcopy(parameters)):
        copied.weights[1][2] = copied.biases[0][1] = 7
        assert copied.vector.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 7, 12]
    assert parameters.vector.tolist() == list(range(13))


def test_counts_and_rows() -> None:
    net = Network((4, 3, 2), "silu", "huber(2)")
    assert (net.n_layers, net.n_features, net.n_outputs, net.n_parameters) == (2, 4, 2, 4 * 3 + 3 + 3 * 2 + 2)
    assert [net.activation_row(layer).name for layer in (1, 2)] == ["silu", "identity"]
    assert net.loss_row.parameter == 2.0


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (((2,),), "at least two layers"),
        (((),), "at least two layers"),
        (((2, 0, 1),), "each 1 or more"),
        (((2, -1),), "each 1 or more"),
        (((2, 1.5),), "each 1 or more"),
        (((2, True),), "each 1 or more"),
        (((2, "3"),), "each 1 or more"),
        (((2, 3, 1), "rely"), "Did you mean 'relu'?"),
        (((2, 1), "rely"), "Did you mean 'relu'?"),
        (((2, 3, 1), ("relu", "tanh", "relu")), "one per hidden layer (1 here)"),
        (((2, 3, 3, 1), ("relu",)), "one per hidden layer (2 here)"),
        (((2, 1), "relu", "mse"), "A loss is one of"),
        (((2, 3, 1), ("relu", "tanh")), "puts its own link, sigmoid"),
        (((2, 3, 2), ("relu", "tanh"), "cross_entropy"), "puts its own link, softmax"),
        (((2, 3, 1), ("relu", "softplus"), "poisson"), "puts its own link, exp"),
        (((2, 3, 1), "relu", "cross_entropy"), "use binary_cross_entropy"),
    ],
)
def test_what_is_no_network_is_refused(arguments: tuple[Any, ...], fragment: str) -> None:
    with pytest.raises(UsageError) as caught:
        Network(*arguments)
    assert fragment in str(caught.value)


@settings(deadline=None, max_examples=50)
@given(SIZES, st.sampled_from([(), (3,), (2, 4)]), st.sampled_from([np.float32, np.float64]))
def test_views_names_and_mask_agree_on_the_flat_order(sizes: Any, stack: Any, dtype: Any) -> None:
    net = Network(sizes, loss="mean_squared_error")
    vector = np.arange(np.prod([*stack, net.n_parameters]), dtype=dtype).reshape(*stack, -1)
    parameters = Parameters(net, vector)
    names = net.parameter_names()
    assert parameters.vector is vector
    assert len(names) == len(set(names)) == net.n_parameters
    for layer, (n_in, n_out) in enumerate(pairwise(sizes), start=1):
        weights, biases = parameters.weights[layer - 1], parameters.biases[layer - 1]
        assert weights.shape == (*stack, n_in, n_out)
        assert biases.shape == (*stack, n_out)
        assert weights.dtype == biases.dtype == dtype
        for j in range(n_out):
            at = names.index(f"b{layer}_{j + 1}")
            np.testing.assert_array_equal(biases[..., j], vector[..., at])
            assert not weight_mask(net)[at]
            for i in range(n_in):
                at = names.index(f"w{layer}_{i + 1}_{j + 1}")
                np.testing.assert_array_equal(weights[..., i, j], vector[..., at])
                assert weight_mask(net)[at]


@settings(deadline=None, max_examples=30)
@given(SIZES, st.sampled_from([(), (3,)]))
def test_views_write_to_the_vector(sizes: Any, stack: Any) -> None:
    net = Network(sizes, loss="mean_squared_error")
    parameters = Parameters(net, np.zeros((*stack, net.n_parameters)))
    copy = parameters.copy()
    for part in (*parameters.weights, *parameters.biases):
        part += 1
    assert (parameters.vector == 1).all()
    assert (copy.vector == 0).all()


@settings(deadline=None, max_examples=30)
@given(SIZES)
def test_from_layers_and_back(sizes: Any) -> None:
    net = Network(sizes, loss="mean_squared_error")
    parameters = Parameters(net, np.random.default_rng(0).normal(size=net.n_parameters))
    again = Parameters.from_layers(net, parameters.weights, parameters.biases)
    np.testing.assert_array_equal(again.vector, parameters.vector)
    assert again.vector is not parameters.vector
    assert Parameters.from_layers(net, parameters.weights, parameters.biases, np.float32).vector.dtype == np.float32


def test_dtypes_of_layers() -> None:
    net = Network((1, 1))
    single = [np.ones((1, 1), np.float32)], [np.ones(1, np.float32)]
    assert Parameters.from_layers(net, *single).vector.dtype == np.float32
    assert Parameters.from_layers(net, [[[1]]], [[1]]).vector.dtype == np.float64
    assert repr(Parameters.from_layers(net, *single)) == "Parameters(sizes=(1, 1), shape=(2,), dtype=float32)"


@pytest.mark.parametrize(
    "vector", [np.zeros(8), np.zeros((9, 2)), np.zeros(9, int), np.zeros(9, complex), np.array(0.0), ["a"] * 9]
)
def test_a_vector_that_does_not_fit_is_refused(vector: Any) -> None:
    with pytest.raises(UsageError, match="holds 9 floats; got shape"):
        Parameters(Network((2, 2, 1)), vector)


@pytest.mark.parametrize(
    ("weights", "biases"),
    [
        ([np.zeros((2, 2))], [np.zeros(2), np.zeros(1)]),
        ([np.zeros((2, 2)), np.zeros((1, 2))], [np.zeros(2), np.zeros(1)]),
        ([np.zeros((2, 2)), np.zeros((2, 1))], [np.zeros(2), np.zeros(2)]),
        ([np.zeros((2, 2)), np.zeros((2, 1)), np.zeros((1, 1))], [np.zeros(2), np.zeros(1), np.zeros(1)]),
        ([], []),
    ],
)
def test_layers_that_do_not_fit_are_refused(weights: Any, biases: Any) -> None:
    with pytest.raises(UsageError, match="each with biases"):
        Parameters.from_layers(Network((2, 2, 1)), weights, biases)


# --- dropout --------------------------------------------------------------------------------------------------------

DROPPED = Network((2, 3, 4, 2, 1))  # nine hidden units


def test_masks_are_their_definition() -> None:
    """Which number decides about which unit of which row: kernels follow it, and no version may change it."""
    seed, start, epoch, rates, n = 0x0123456789ABCDEF, 7, 11, (0.5, 0.0, 0.2), 5
    masks = dropout_masks(DROPPED, rates, n, random_state=seed, start=start, epoch=epoch)
    key = [seed & 0xFFFFFFFF, seed >> 32]
    layers = [(layer, j) for layer, units in enumerate((3, 4, 2)) for j in range(units)]
    for i in range(n):
        for h, (layer, j) in enumerate(layers):
            element = i * 9 + h
            words = philox([element // 2, epoch, start, 5], key).tolist()[2 * (element % 2) :]
            u = ((words[0] << 32 | words[1]) >> 11) / 2**53
            assert u == uniform(1, seed=seed, purpose=Purpose.DROPOUT, network=start, epoch=epoch, first=element)[0]
            assert masks[layer][i, j] == (0 if u < rates[layer] else 1 / (1 - rates[layer]))
    assert {value for mask in masks for value in mask.ravel().tolist()} == {0.0, 1.0, 1.25, 2.0}


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_the_share_of_units_dropped_is_the_rate(rate: float) -> None:
    n = 20_000
    for mask in dropout_masks(DROPPED, rate, n, random_state=3, epoch=1):
        n_numbers = mask.size
        assert abs((mask == 0).sum() - rate * n_numbers) < 4 * np.sqrt(rate * (1 - rate) * n_numbers)
        # Each unit too, not only all together; and the mean of what is multiplied by is 1.
        assert (abs((mask == 0).mean(axis=0) - rate) < 4 * np.sqrt(rate * (1 - rate) / n)).all()
        assert abs(mask.mean() - 1) < 4 * np.sqrt(rate / (1 - rate) / n_numbers)
        assert set(mask.ravel().tolist()) == {0.0, 1 / (1 - rate)}


STARTS = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4)


@given(
    STARTS, st.integers(0, 2**32 - 1), st.integers(0, 20), st.integers(0, 20), st.sampled_from([0.3, (0.0, 0.5, 0.9)])
)
@settings(deadline=None)
def test_a_row_s_mask_depends_on_neither_the_rows_nor_the_networks_beside_it(
    starts: list[int], epoch: int, n: int, more: int, rates: Any
) -> None:
    together = dropout_masks(DROPPED, rates, n + more, random_state=1, start=np.array(starts), epoch=epoch)
    assert [mask.shape for mask in together] == [(len(starts), n + more, units) for units in (3, 4, 2)]
    for s, start in enumerate(starts):
        alone = dropout_masks(DROPPED, rates, n, random_state=1, start=start, epoch=epoch)
        for mask, of_stack in zip(alone, together, strict=True):
            np.testing.assert_array_equal(mask, of_stack[s, :n])


def test_other_seeds_starts_and_epochs_give_other_masks() -> None:
    where = {"random_state": 0, "start": 0, "epoch": 1}
    elsewhere = [where, *({**where, name: 2} for name in where)]
    found = {b"".join(m.tobytes() for m in dropout_masks(DROPPED, 0.5, 50, **each)) for each in elsewhere}
    assert len(found) == 4


def test_dtypes_of_masks() -> None:
    double, single = (
        dropout_masks(DROPPED, 0.1, 9, random_state=0, epoch=1, dtype=d) for d in (np.float64, np.float32)
    )
    for mask, rounded in zip(double, single, strict=True):
        assert rounded.dtype == np.float32
        np.testing.assert_array_equal(mask.astype(np.float32), rounded)


def test_rates_of_dropout() -> None:
    assert checked_dropout(DROPPED, 0) == (0.0, 0.0, 0.0)
    assert checked_dropout(DROPPED, np.float32(0.5)) == (0.5, 0.5, 0.5)
    assert checked_dropout(DROPPED, (0, 0.5, 0.25)) == checked_dropout(DROPPED, [0, 0.5, 0.25]) == (0.0, 0.5, 0.25)
    assert all(type(rate) is float for rate in checked_dropout(DROPPED, (0, np.float32(0.5), 0.25)))
    for nothing in (0, 0.0, ()):
        assert checked_dropout(Network((2, 1)), nothing) == ()
    assert dropout_masks(Network((2, 1)), 0, 3, random_state=0, epoch=1) == ()


@pytest.mark.parametrize(
    ("sizes", "dropout", "fragment"),
    [
        ((2, 3, 1), 1, "from 0 to less than 1, or has one per hidden layer; got 1. Half of the units is 0.5"),
        ((2, 3, 1), -0.1, "got -0.1."),
        ((2, 3, 1), float("nan"), "got nan."),
        ((2, 3, 1), True, "got True."),
        ((2, 3, 1), "0.5", "got '0.5'."),
        ((2, 3, 1), None, "got None."),
        ((2, 3, 3, 1), (0.5, 1.0), "got (0.5, 1.0)."),
        ((2, 3, 3, 1), (0.5,), "one per hidden layer (2 here); got 1: (0.5,). A layer that is to be left whole has 0."),
        ((2, 3, 1), (0.5, 0.5), "(1 here); got 2"),
        ((2, 1), (0.0,), "(0 here); got 1"),
        ((2, 1), 0.5, "sizes (2, 1) has none; got 0.5. Leave it out"),
        ((2, 1), (0.5,), "has none; got (0.5,)."),
    ],
)
def test_what_is_no_dropout_is_refused(sizes: Any, dropout: Any, fragment: str) -> None:
    for refusing in (checked_dropout, lambda *given: dropout_masks(*given, 3, random_state=0, epoch=1)):
        with pytest.raises(UsageError) as caught:
            refusing(Network(sizes), dropout)
        assert fragment in str(caught.value)


def test_other_numbers_of_masks_out_of_range_are_refused() -> None:
    for wrong in ({"n": -1}, {"n": 1.5}, {"epoch": -1}, {"start": 2**32}, {"random_state": -1}):
        with pytest.raises(UsageError):
            dropout_masks(DROPPED, 0.5, **{"n": 1, "epoch": 1, "random_state": 0, **wrong})
