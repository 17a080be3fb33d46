"""A job as those who race receive it: the same rows, starts and orders in the same dtype, from a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

SHARED = Path(__file__).parents[3] / "shared" / "data"  # the larger data files, where the tests too look for them
Rows = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Job:
    """X (n, n_features), y (n, n_outputs); starts (networks, n_parameters); orders (networks, epochs, n), or None.

    `batch_size` None means all rows at once, in the order in which they lie. y is one-hot for "cross_entropy".
    `weight_decay` is that of "adamw", on weights alone.
    """

    sizes: tuple[int, ...]
    optimizer: str
    learning_rate: float
    batch_size: int | None
    epochs: int
    random_state: int
    X: np.ndarray = field(repr=False)
    y: np.ndarray = field(repr=False)
    starts: np.ndarray = field(repr=False)
    orders: np.ndarray | None = field(default=None, repr=False)
    activation: str = "relu"
    loss: str = "binary_cross_entropy"
    weight_decay: float = 0.0

    def write(self, path: Path) -> None:
        arrays = {name: getattr(self, name) for name in ("X", "y", "starts")}
        if self.orders is not None:
            arrays["orders"] = self.orders
        rest = {name: value for name, value in vars(self).items() if name not in ("X", "y", "starts", "orders")}
        np.savez(path, settings=np.array(json.dumps(rest)), **arrays)

    @classmethod
    def read(cls, path: Path) -> Job:
        with np.load(path) as file:
            settings = json.loads(str(file["settings"]))
            arrays = {name: file[name] for name in file.files if name != "settings"}
        return cls(**settings | {"sizes": tuple(settings["sizes"])}, **arrays)


def tumors(settings: dict) -> Rows:
    """The training rows, standardised."""
    from glassnet import datasets

    data = datasets.tumors(settings["columns"])
    train, _ = data.split(seed=0)
    X = data.X[train]
    return (X - X.mean(axis=0)) / X.std(axis=0), data.y[train]


def digits(settings: dict) -> Rows:
    """scikit-learn's."""
    from sklearn.datasets import load_digits

    X, labels = load_digits(return_X_y=True)
    return X / 16, np.eye(10)[labels]


def mnist(settings: dict) -> Rows:
    """The 10,000 test images once for each of `shifts`: moved so many pixels down and right, across the rim."""
    from glassnet import datasets

    images, shifts = datasets.mnist(SHARED), settings["shifts"]
    part = images.parts["t10k"]
    pictures = images.X[part].reshape(-1, images.height, images.width)
    X = np.concatenate([np.roll(pictures, shift, axis=(1, 2)) for shift in shifts])
    return X.reshape(len(X), -1) / np.float32(255), np.tile(np.eye(10)[images.y[part]], (len(shifts), 1))


def census(settings: dict) -> Rows:
    """Whether an income is over 50,000 dollars, from all other columns, encoded as glassnet encodes tables."""
    import glassnet as gn
    from glassnet.preparation import prepare

    prepared = prepare(gn.read_table(SHARED / "census_income.csv"), "income-over-50k", test_size=None)
    return prepared.X, prepared.y


def exponentials(settings: dict) -> Rows:
    """Matrices of 2 x 2 standard normal numbers, and their exponentials."""
    from scipy.linalg import expm

    X = np.random.default_rng(0).standard_normal((settings["rows"], 4))
    return X, expm(X.reshape(-1, 2, 2)).reshape(-1, 4)


DATA: dict[str, Callable[[dict], Rows]] = {row.__name__: row for row in (tumors, digits, mnist, census, exponentials)}


def made(settings: dict, dtype: str, random_state: int = 0) -> Job:
    """The job of a table of engine.toml. Raises NoInputError: the larger data files are not beside the checkout."""
    import glassnet as gn
    from glassnet.network import initialize
    from glassnet.randomness import Purpose, permutation

    X, y = DATA[settings.get("data", "tumors")](settings)
    sizes, networks, epochs = tuple(settings["sizes"]), np.arange(settings.get("networks", 1)), settings["epochs"]
    kind = {name: settings[name] for name in ("activation", "loss", "weight_decay") if name in settings}
    network = gn.Network(sizes, kind.get("activation", "relu"), kind.get("loss", "binary_cross_entropy"))
    batch_size = settings.get("batch_size")
    orders = None
    if batch_size is not None:
        orders = np.stack(
            [
                permutation(len(X), seed=random_state, purpose=Purpose.SHUFFLE, network=networks, epoch=epoch)
                for epoch in range(1, epochs + 1)
            ],
            axis=1,
        ).astype(np.int32)
    return Job(
        sizes=sizes,
        optimizer=settings["optimizer"],
        learning_rate=settings["learning_rate"],
        batch_size=batch_size,
        epochs=epochs,
        random_state=random_state,
        X=X.astype(dtype, copy=False),
        y=y.astype(dtype),
        starts=initialize(network, random_state, start=networks, dtype=dtype).vector,
        orders=orders,
        **kind,
    )
