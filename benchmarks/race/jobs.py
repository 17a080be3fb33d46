"""A job as those who race receive it: the same rows, starts and orders in the same dtype, from a file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Job:
    """X (n, n_features), y (n, 1); starts (networks, n_parameters); orders (networks, epochs, n), or None.

    `batch_size` None means all rows at once, in the order in which they lie.
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


def made(settings: dict, dtype: str, random_state: int = 0) -> Job:
    """The job of a table of engine.toml, on the tumor data, standardised by the training rows."""
    import glassnet as gn
    from glassnet import datasets
    from glassnet.network import initialize
    from glassnet.randomness import Purpose, permutation

    data = datasets.tumors(settings["columns"])
    train, _ = data.split(seed=random_state)
    X = data.X[train]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    sizes, networks, epochs = tuple(settings["sizes"]), np.arange(settings.get("networks", 1)), settings["epochs"]
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
        X=X.astype(dtype),
        y=data.y[train].astype(dtype),
        starts=initialize(gn.Network(sizes), random_state, start=networks, dtype=dtype).vector,
        orders=orders,
    )
