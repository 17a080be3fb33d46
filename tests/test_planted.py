"""The planted files: right ones agree with difference quotients of their own loss, others do not."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
STYLES = ("dicts", "lecture", "lists", "loops", "layers", "objects", "notebook")
L2 = 0.37


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmarks' package: not installed, so found by path."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import planted.candidates

    return planted.candidates


def loaded(text: str) -> SimpleNamespace:
    namespace: dict[str, Any] = {"__name__": "planted_candidate"}
    exec(compile(text, "candidate.py", "exec"), namespace)
    return SimpleNamespace(**namespace)


def among(module: SimpleNamespace, *names: str) -> Callable[..., Any]:
    return next(getattr(module, name) for name in names if hasattr(module, name))


FORWARD = ("forward", "forward_prop", "feedforward")
BACKWARD = ("backward", "back_prop", "gradients")
LOSS = ("compute_loss", "loss", "cost")

Parts = tuple[Callable[[list[np.ndarray]], float], Callable[[list[np.ndarray]], list[np.ndarray]]]


def parts(style: str, text: str, d: Any, X: np.ndarray, y: np.ndarray) -> Parts:
    """The loss and the gradients of a file as functions of [W1, b1, W2, b2 ...], called as a student would."""
    m = loaded(text)
    extra = () if d.l2 == "none" else (L2,)

    def named(values: list[np.ndarray]) -> dict[str, np.ndarray]:
        return {f"{'Wb'[i % 2]}{i // 2 + 1}": value for i, value in enumerate(values)}

    def back(gradients: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [
            gradients[f"{d}{q}{i + 1}"] for i in range(len(gradients) // 2) for q in "Wb" for d in [prefix(gradients)]
        ]

    def prefix(gradients: dict[str, np.ndarray]) -> str:
        return "d" if "dW1" in gradients else ""

    if style in ("dicts", "lecture"):
        forward = among(m, *FORWARD, "forward_propagation")
        backward = among(m, *BACKWARD, "backward_propagation")
        cost = among(m, *LOSS, "compute_cost")
        order = backward.__code__.co_varnames[: backward.__code__.co_argcount]

        def loss(values: list[np.ndarray]) -> float:
            params = named(values)
            return cost(forward(X, params)[0], y, *((params, *extra) if extra else ()))

        def gradients(values: list[np.ndarray]) -> list[np.ndarray]:
            params = named(values)
            p, cache = forward(X, params)
            given = {"AL": p, "cache": cache, "caches": cache, "X": X, "y": y, "Y": y, "l2": L2, "lambd": L2}
            return back(backward(*[given.get(name, params) for name in order]))

        return loss, gradients
    if style == "lists":
        function = among(m, "gradients", "backprop", "backpropagation")

        def whole(values: list[np.ndarray]) -> Any:
            return function(values[::2], values[1::2], X, y, *extra)

        def listed(values: list[np.ndarray]) -> list[np.ndarray]:
            dW, db = whole(values)[1] if len(whole(values)) == 2 else whole(values)[1:]
            return [g for pair in zip(dW, db, strict=True) for g in pair]

        return lambda values: whole(values)[0], listed
    if style == "loops":

        def looped(values: list[np.ndarray]) -> list[np.ndarray]:
            return [g for pair in zip(*m.gradients(values[::2], values[1::2], X, y), strict=True) for g in pair]

        return lambda values: m.loss(m.forward(values[::2], values[1::2], X), y), looped
    if style == "layers":
        net = m.build([X.shape[1], *(0,) * (d.layers - 1), y.shape[1]])

        def run(values: list[np.ndarray]) -> float:
            for layer, (W, b) in zip(
                [e for e in net if hasattr(e, "W")], zip(values[::2], values[1::2], strict=True), strict=True
            ):
                layer.W, layer.b = W, b
            a = X
            for layer in net:
                a = layer.forward(a)
            return m.loss.forward(a, y)

        def backwards(values: list[np.ndarray]) -> list[np.ndarray]:
            run(values)
            grad = m.loss.backward()
            for layer in reversed(net):
                grad = layer.backward(grad)
            return [g for layer in net if hasattr(layer, "W") for g in (layer.dW, layer.db)]

        return run, backwards
    if style == "objects":
        net = m.Network()

        def put(values: list[np.ndarray]) -> None:
            net.W1, net.b1, net.W2, net.b2 = (value.copy() for value in values)

        def objective(values: list[np.ndarray]) -> float:
            put(values)
            return net.loss(X, y)

        def left(values: list[np.ndarray]) -> list[np.ndarray]:
            put(values)
            net.forward(X)
            net.backward(X, y, *((0.0,) if net.backward.__code__.co_argcount == 4 else ()))
            return [-g if d.ascent else g for g in (net.dW1, net.db1, net.dW2, net.db2)]

        return objective, left
    net = next(v for v in vars(m).values() if isinstance(v, type) and hasattr(v, "back_prop"))()

    def scalars(values: list[np.ndarray]) -> None:
        W1, b1, W2, b2 = values
        (net.w11, net.w12), (net.w13, net.w14), (net.b11, net.b12) = W1[:, 0], W1[:, 1], b1
        net.w21, net.w22, net.b2 = W2[0, 0], W2[1, 0], b2[0]

    def rows(values: list[np.ndarray]) -> float:
        scalars(values)
        row = among(
            SimpleNamespace(squared_error=getattr(net, "squared_error", None) or net.binary_cross_entropy),
            "squared_error",
        )
        return sum(row(net.forward_prop(*x)["a2"], t[0]) for x, t in zip(X, y, strict=True))

    def summed(values: list[np.ndarray]) -> list[np.ndarray]:
        scalars(values)
        g = [net.back_prop(*x, t[0], net.forward_prop(*x)) for x, t in zip(X, y, strict=True)]
        s = {key[7:]: sum(row[key] for row in g) for key in g[0]}
        return [
            np.array([[s["w11"], s["w13"]], [s["w12"], s["w14"]]]),
            np.array([s["b11"], s["b12"]]),
            np.array([[s["w21"]], [s["w22"]]]),
            np.array([s["b2"]]),
        ]

    return rows, summed


def a_case(style: str, d: Any, seed: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Parameters, X, y in the orientation of the file."""
    rng = np.random.default_rng(seed)
    sizes = (2, 2, 1) if style == "notebook" else d.sizes or (4, 3, 5, 2)[-d.layers - 1 :]
    columns = style == "lecture"
    values = []
    for n_in, n_out in pairwise(sizes):
        W, b = rng.normal(0, 0.7, (n_in, n_out)), rng.normal(0, 0.4, n_out)
        values += [W if d.in_out else W.T, b.reshape({"lecture": (-1, 1), "objects": (1, -1)}.get(style, (-1,)))]
    X = rng.normal(size=(7, sizes[0]))
    labels = np.arange(7) % max(2, sizes[-1])
    y = np.eye(sizes[-1])[labels] if sizes[-1] > 1 else labels[:, np.newaxis].astype(float)
    return values, X.T if columns else X, y.T if columns else y


def quotients(loss: Callable[[list[np.ndarray]], float], values: list[np.ndarray]) -> list[np.ndarray]:
    h, found = 1e-6, []
    for at, value in enumerate(values):
        slope = np.empty_like(value)
        for index in np.ndindex(value.shape):
            up, down = value.copy(), value.copy()
            up[index] += h
            down[index] -= h
            slope[index] = (
                loss([*values[:at], up, *values[at + 1 :]]) - loss([*values[:at], down, *values[at + 1 :]])
            ) / (2 * h)
        found.append(slope)
    return found


def difference(style: str, text: str, d: Any, seed: int) -> float:
    """The largest difference between a file's gradients and difference quotients of its own loss."""
    values, X, y = a_case(style, d, seed)
    loss, gradients = parts(style, text, d, X, y)
    pairs = list(zip(gradients(values), quotients(loss, values), strict=True))
    if any(np.size(g) != q.size for g, q in pairs):
        return np.inf
    return max(float(np.max(np.abs(np.reshape(g, q.shape) - q))) for g, q in pairs)


# Roundings of a loss of some units over 2e-6, and the quotient's own error of h^2.
TOLERANCE = 1e-6


@pytest.mark.parametrize("style", STYLES)
def test_right_files_are_right_by_difference_quotients(planted: Any, style: str) -> None:
    for seed in range(60):
        candidate = planted.right(seed, style, has_loss=(True,))
        assert difference(style, candidate.text, candidate.draw, seed) < TOLERANCE, candidate.text


IN_GRADIENT = (
    "derivative missing",
    "sign of the error",
    "weights left out of the chain",
    "bias gradient summed over units",
    "gradient averaged",
)


@pytest.mark.parametrize("mistake", IN_GRADIENT)
def test_mistakes_show_in_the_difference_quotients(planted: Any, mistake: str) -> None:
    for style in STYLES:
        candidate = planted.planted(style, 1, mistake)
        if candidate is not None and candidate.draw.has_loss:
            assert difference(style, candidate.text, candidate.draw, 1) > 1000 * TOLERANCE, candidate.text


def test_every_mistake_has_three_styles(planted: Any) -> None:
    counted: dict[str, int] = dict.fromkeys(planted.PLANTED, 0)
    for mistake, _ in planted.places():
        counted[mistake] += 1
    assert len(counted) >= 30
    assert min(counted.values()) >= 3, counted


def test_the_same_seed_writes_the_same_file(planted: Any) -> None:
    assert planted.right(3) == planted.right(3) != planted.right(4)
    first = planted.planted("lists", 5, "derivative missing", "bias gradient not summed")
    assert first == planted.planted("lists", 5, "derivative missing", "bias gradient not summed")
    assert first.text != first.correct


@pytest.mark.parametrize(
    ("mistakes", "verdict", "named", "equals", "problem", "wanted"),
    [
        ((), "right", (), (), None, "passed"),
        ((), "wrong", (), (), None, "accused"),
        ((), "error", (), (), "shape", "accused"),
        (("derivative missing",), "wrong", ("activation-derivative-missing",), (), None, "named right"),
        (("derivative missing",), "wrong", ("error-sign",), ("activation-derivative-missing",), None, "among equals"),
        (("derivative missing",), "wrong", ("error-sign",), (), None, "wrong name"),
        (("derivative missing",), "wrong", ("activation-derivative-missing", "error-sign"), (), None, "wrong name"),
        (
            ("derivative missing", "sign of the error"),
            "wrong",
            ("upstream-sign",),
            ("activation-derivative-missing", "activation-derivative-missing+error-sign"),
            None,
            "among equals",
        ),
        (("derivative missing",), "wrong", (), (), None, "unknown"),
        (("derivative missing",), "error", (), (), "raises", "error"),
        (("derivative missing",), "right", (), (), None, "passed"),
        (("derivative missing", "sign of the error"), "wrong", ("error-sign",), (), None, "half"),
        (("input changed in place",), "error", (), (), "changed-arguments", "named right"),
        (("a mistake of no table",), "wrong", (), (), None, "unknown"),
        (("a mistake of no table",), "wrong", ("error-sign",), (), None, "wrong name"),
    ],
)
def test_the_count_tells_right_names_from_wrong(
    planted: Any, mistakes: Any, verdict: str, named: Any, equals: Any, problem: str | None, wanted: str
) -> None:
    import named_mistakes

    assert named_mistakes.outcome(mistakes, verdict, named, equals, problem) == wanted


ONCE_MISSED = (
    ("dicts", 0, "first layer not trained"),
    ("dicts", 3, "weights left out of the chain"),
    ("dicts", 1, "Adam's square forgotten"),
    ("objects", 2, "Adam's state shared"),
    ("lists", 0, "softmax without cross terms"),
    ("lists", 1, "bias gradient summed over units"),
    ("layers", 0, "averaged over the wrong axis"),
    ("layers", 0, "softmax over the wrong axis"),
    ("layers", 0, "updated weights used"),
    ("lecture", 0, "integer division"),
    ("notebook", 0, "accumulates between calls"),
    ("notebook", 0, "activation forgotten"),
    ("notebook", 0, "bias gradient of another layer"),
    ("notebook", 0, "updated weights used"),
    ("notebook", 1000, "one unit's formula for another"),
    ("objects", 0, "input changed in place"),
    ("lecture", 74, "one unit's formula for another", "bias not averaged"),
    ("dicts", 8, "bias gradient not summed", "derivative at the wrong layer"),
    ("lists", 3, "input changed in place", "derivative missing"),
    ("lists", 3, "log of a rounded probability", "derivative missing"),
    ("lists", 3, "accumulates between calls", "derivative missing"),
)


@pytest.mark.parametrize(("style", "seed", "mistakes"), [(style, seed, rest) for style, seed, *rest in ONCE_MISSED])
def test_what_was_once_missed_is_named(planted: Any, monkeypatch: Any, style: str, seed: int, mistakes: Any) -> None:
    import named_mistakes

    monkeypatch.setattr(named_mistakes, "MOST_SECONDS", 0)  # no clock decides here
    candidate = planted.planted(style, seed, *mistakes)
    found = named_mistakes.checked(("pair", candidate))
    assert found.outcome in ("named right", "among equals"), found.said


def test_what_changes_no_number_is_told_from_what_does(planted: Any) -> None:
    import named_mistakes

    for style in ("objects", "notebook"):
        candidate = planted.planted(style, 1, "derivative missing")
        assert not named_mistakes.changes_nothing(candidate.text, candidate.correct)
        assert named_mistakes.changes_nothing(candidate.correct + "\nmore = 1\n", candidate.correct)
    kept = planted.planted("objects", 1, "accumulates between calls")
    assert not named_mistakes.changes_nothing(kept.text, kept.correct)
