"""`Model`: a trained network together with what its columns mean. `fit` makes one from a table; `save`, `load`."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any, NoReturn, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glassnet import reference
from glassnet.cells import MISSING_WORDS, counted, listed
from glassnet.columns import Recipe
from glassnet.encoding import Encoding, Target
from glassnet.equations import Equations, decoding
from glassnet.errors import DataError, UsageError
from glassnet.local import local_equation
from glassnet.local_equation import LocalEquation
from glassnet.network import FloatArray, Network, Parameters
from glassnet.optimizers import Adam, optimizer_of
from glassnet.persistence import read_model_file, write_model_file
from glassnet.populations import Population, score, spread, train_population
from glassnet.preparation import Prepared, prepare, row_weights, split_rows
from glassnet.regions import Regions, regions_of
from glassnet.runs import AnyOptimizer, Data
from glassnet.tables import Table, as_table
from glassnet.training import Run, train


@dataclass(frozen=True)
class Model:
    """A network, its parameters, and the encoder between a table's columns and its inputs and outputs.

    `members`: the parameters of one network, or of several whose probabilities are averaged.
    `provenance`: where it came from, as plain data: data hash, seed, settings, versions, metrics.

    Tables may be anything with the model's columns: `gn.read_table(path)`, a mapping of columns, a data frame.

    >>> table = {"dose": [0.0, 1.0, 2.0, 3.0], "ill": ["no", "no", "yes", "yes"]}
    >>> model = fit(table, "ill", hidden=(), epochs=300, starts=1, test_size=None).model
    >>> model.predict({"dose": [-4.0, 9.0]})
    ['no', 'yes']
    """

    network: Network
    members: tuple[Parameters, ...]
    encoder: Encoding
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> Target:
        """The column that is predicted."""
        assert self.encoder.target is not None, "a model predicts something"
        return self.encoder.target

    @property
    def task(self) -> str:
        """`classification` or `regression`."""
        return "regression" if self.target.kind == "number" else "classification"

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes in the order of `predict_proba`'s columns; the last of two is the positive one."""
        return self.target.classes

    def table(self, data: Any) -> Table:
        """`data` as a table whose columns are read as the model knows them."""
        return as_table(data, kinds=self.encoder.kinds, missing=self.missing_words)

    @property
    def missing_words(self) -> tuple[str, ...]:
        """The texts that stood for no value in the table that the model was trained on."""
        words = self.provenance.get("missing_words")
        return tuple(map(str, words)) if isinstance(words, list) else MISSING_WORDS

    def outputs(self, X: FloatArray) -> FloatArray:
        """Probabilities, or scaled predictions, (n, n_outputs) of encoded rows (n, n_features)."""
        total = np.zeros((len(X), self.network.n_outputs))
        for member in self.members:
            total = total + reference.forward(self.network, member, X).probabilities
        return total / len(self.members)

    def predict(self, data: Any) -> list[str] | NDArray[np.float64]:
        """The class of every row, or its number in the target's own unit (n,)."""
        return self.encoder.decode(self.outputs(self.encoder.encode(self.table(data))))

    def predict_proba(self, data: Any) -> FloatArray:
        """The probability of every class (n, n_classes), in the order of `classes`."""
        if self.task == "regression":
            raise UsageError("A regression predicts numbers, not probabilities. Use predict.")
        return self.class_probabilities(self.outputs(self.encoder.encode(self.table(data))))

    def class_probabilities(self, outputs: FloatArray) -> FloatArray:
        """From `outputs` to a column per class: one output is the probability of the last of two classes."""
        return np.hstack([1 - outputs, outputs]) if self.target.kind == "binary" else outputs

    def evaluate(self, data: Any, row_weights: ArrayLike | None = None) -> dict[str, float]:
        """Metrics on rows with the target: accuracy, f1, auc, log_loss; or rmse (in the target's unit) and r2."""
        table = self.table(data)
        return self._metrics(self.encoder.encode(table), self.encoder.encode_target(table), row_weights)

    def _metrics(self, X: FloatArray, y: FloatArray, row_weights: ArrayLike | None) -> dict[str, float]:
        found = score(self.network, y, self.outputs(X), row_weights)
        if self.task == "regression":
            found["rmse"] *= self.target.scale
        return found

    def local(self, data: Any, row: int = 0, *, digits: int = 4, parts: int | None = None) -> LocalEquation:
        """The linear equation that the model is at one row, in the columns' units; how far it holds; what flips it.

        `data`: a table with the model's columns, or one row as a mapping from column to value; `row` counts from 0.
        With piecewise-linear activations (relu, leaky_relu, identity) the equation is exact in the row's region, each
        end is the first kink on the way, and the nearest flip of the decision is the nearest there is, or has stated
        bounds. With others the equation is the gradient's, and its ranges are measured. `parts`: how many linear
        problems the search for the flip may solve; some seconds' worth where left out. `digits`: significant digits
        printed.

        Raises `UsageError`: no such row, a model of several members. Raises `DataError` as `predict`.

        >>> table = {"dose": [0.0, 1.0, 2.0, 3.0], "ill": ["no", "no", "yes", "yes"]}
        >>> model = fit(table, "ill", hidden=(2,), epochs=300, starts=3, test_size=None).model
        >>> found = model.local({"dose": 2.5})
        >>> found.exact, found.prediction, found.flip.prediction, model.predict({"dose": [found.flip.values["dose"]]})
        (True, 'yes', 'no', ['no'])
        """
        if isinstance(data, Mapping) and all(np.isscalar(value) or value is None for value in data.values()):
            data = {name: [value] for name, value in data.items()}
        table = self.table(data)
        return local_equation(self.network, self.members, self.encoder, table, row, digits=digits, parts=parts)

    def regions(self, low: Sequence[float] | None = None, high: Sequence[float] | None = None) -> Regions:
        """Every region of a model of two columns of numbers, as a polygon with its equation, and the exact boundary.

        `low`, `high`: the rectangle's corners, in the columns' units; where left out, three scaled units around the
        columns' centers. `gn.drawing.regions_svg` draws them. Raises `UsageError` for a model whose activations are not
        piecewise linear, whose columns are not two numbers, or that averages several networks.

        >>> table = {"a": [0.0, 1.0, 2.0, 3.0], "b": [0.0, 1.0, 1.0, 0.0], "ill": ["no", "no", "yes", "yes"]}
        >>> model = fit(table, "ill", hidden=(3,), epochs=50, starts=1, test_size=None).model
        >>> regions = model.regions(low=(0, 0), high=(3, 1)).regions
        >>> round(sum(region.area for region in regions), 12)
        3.0
        """
        return regions_of(self.network, self.members, self.encoder, low, high)

    @property
    def encode_equations(self) -> Equations:
        """How the columns become x1, x2, ..., and a number to be predicted becomes y."""
        return self.encoder.equations

    @property
    def decode_equations(self) -> Equations:
        """How the outputs become the target; a note says which number stands for which class."""
        target = self.target
        (equation,) = decoding(self.network, target.source, target.center, target.scale)
        note = ""
        if target.kind == "binary":
            note = f"1 is {target.classes[1]!r}, 0 is {target.classes[0]!r}"
        elif target.kind == "classes":
            note = f"1, 2, ... are {listed(target.classes)}"
        return Equations((replace(equation, note=note),))

    def retrained(self, data: Any) -> tuple[Run, NDArray[np.intp]]:
        """The training that made this model, gone through again on its table; and which rows of it were trained on.

        The model keeps how it was trained, not the rows: they have to be the same again, which their hash tells. Its
        kept start alone is trained. On the machine that made the model the run ends at the model's own bits.

        Raises `UsageError` where the model does not say how it was trained, `DataError` where the table is another.

        >>> table = {"dose": [0.0, 1.0, 2.0, 3.0], "ill": ["no", "no", "yes", "yes"]}
        >>> model = fit(table, "ill", hidden=(), epochs=5, starts=3, test_size=None).model
        >>> run, train_rows = model.retrained(table)
        >>> bool((run.parameters.vector == model.members[0].vector).all()), train_rows.tolist()
        (True, [0, 1, 2, 3])
        """
        kept, table = self.provenance, self.table(data)
        try:
            roles = {role: name for name, role in kept["columns"].items() if role in ("weights", "group", "split")}
            how, optimizer = dict(kept["split"]), optimizer_of(kept["optimizer"])
            settings = {
                name: kept[name] for name in ("epochs", "batch_size", "random_state", "initializer", "l1", "l2")
            }
            start, engine, trained_on = kept["kept_start"], kept["engine"], kept["data_sha256"]
            patience = kept.get("patience")
            apart = None if patience is None else (kept["validation"]["fraction"], kept["validation"]["data_sha256"])
        except (KeyError, TypeError, AttributeError) as problem:
            raise UsageError(
                f"A model is trained again from what its file says of the training; this one does not say {problem}. "
                "Train it again with glassnet train."
            ) from problem
        table.require([*(column.source for column in self.encoder.columns), self.target.source, *roles.values()])
        other = (
            f"A training is gone through again with the rows that it had, {kept.get('rows', {}).get('train')} of them; "
            "this table holds others: {0}. Give the table that the model was trained on."
        )
        try:
            rows, _ = split_rows(
                table, self.target.source, self.task, group=roles.get("group"), split_column=roles.get("split"), **how
            )
            training = table.select(rows)
            X, y = self.encoder.encode(training), self.encoder.encode_target(training)
            weights = row_weights(table, roles["weights"])[rows] if "weights" in roles else None
            hashes, held_out = [], None
            if apart is not None:
                fitted_on, held = split_rows(
                    training, self.target.source, self.task, group=roles.get("group"), stratify=how["stratify"],
                    test_size=apart[0], random_state=settings["random_state"],
                )  # fmt: skip
                watched = Data.checked(self.network, X[held], y[held], None if weights is None else weights[held])
                held_out = watched.X, watched.y, watched.row_weights
                hashes.append((watched.hash, apart[1]))
                X, y, rows = X[fitted_on], y[fitted_on], rows[fitted_on]
                weights = None if weights is None else weights[fitted_on]
            hashes.append((Data.checked(self.network, X, y, weights).hash, trained_on))
        except DataError as problem:
            raise DataError(other.format(f"({problem})")) from problem
        for found, wanted in hashes:
            if found != wanted:
                raise DataError(other.format(f"their hash is {found[:12]}..., not {str(wanted)[:12]}..."))
        run = train(
            self.network, X, y, row_weights=weights, optimizer=optimizer, start=start, engine=engine,
            held_out=held_out, patience=patience, **settings,
        )  # fmt: skip
        return run, rows


@dataclass(frozen=True)
class Fitted:
    """What `fit` did: the model that was kept, all starts, the table it was made from, and how good it is.

    `train` and `test` are the kept start's metrics; `starts` the spread of every metric over all starts, on test rows
    where there are any, else on training rows.
    """

    model: Model
    population: Population
    prepared: Prepared
    train: dict[str, float]
    test: dict[str, float]
    start_scores: dict[str, FloatArray]

    @property
    def train_rows(self) -> NDArray[np.intp]:
        """Which rows were trained on."""
        return self.prepared.train_rows

    @property
    def test_rows(self) -> NDArray[np.intp]:
        """Which rows were held back."""
        return self.prepared.test_rows

    @property
    def notices(self) -> tuple[str, ...]:
        """Sentences about what was decided for the user, and about what may be wrong with the data."""
        return (*self.prepared.notices, *self.prepared.warnings)

    @property
    def starts(self) -> dict[str, dict[str, float]]:
        """Median, p5 and p95 of every metric over the starts that did not diverge, or over all where all did."""
        steady = self.population.diverged_at < 0
        return {name: spread(values[steady] if steady.any() else values) for name, values in self.start_scores.items()}


def fit(
    data: Any,
    target: str,
    *,
    features: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
    weights: str | None = None,
    group: str | None = None,
    split_column: str | None = None,
    task: str | None = None,
    positive: str | None = None,
    recipe: str | Recipe = "plain",
    strict: bool = False,
    test_size: float | None = 0.2,
    stratify: bool = True,
    random_state: int = 0,
    **training: Any,
) -> Fitted:
    """From a table to a model: split, encode on the training rows alone, train many starts, keep one.

    `target` is the column to predict. What the columns are, and which rows are for testing, is as in
    `glassnet.preparation.prepare`; further arguments, of the network and its training, as in `fit_prepared`.
    The start with the lowest training objective is kept; test rows have no say in it.

    >>> table = {"dose": [0.0, 1.0, 2.0, 3.0, 4.0], "cost": [1.0, 3.0, 5.0, 7.5, 9.0]}
    >>> fitted = fit(table, "cost", hidden=(), epochs=300, batch_size=None, starts=3, test_size=None)
    >>> fitted.model.task, fitted.train["r2"] > 0.9
    ('regression', True)
    """
    prepared = prepare(
        data, target, features=features, ignore=ignore, weights=weights, group=group, split_column=split_column,
        task=task, positive=positive, recipe=recipe, strict=strict, test_size=test_size, stratify=stratify,
        random_state=random_state,
    )  # fmt: skip
    return fit_prepared(prepared, random_state=random_state, **training)


def fit_prepared(
    prepared: Prepared,
    *,
    hidden: Sequence[int] = (2,),
    activation: str = "relu",
    loss: str | None = None,
    optimizer: AnyOptimizer | None = None,
    epochs: int = 100,
    batch_size: int | None = 32,
    initializer: str | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    starts: int = 100,
    validation_fraction: float = 0.1,
    patience: int | None = None,
    most_parameters: int | None = None,
    random_state: int = 0,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
) -> Fitted:
    """Train many starts on a table that was prepared, and keep one.

    `hidden`: units per hidden layer, () for none. `loss` follows from the task where left out:
    binary_cross_entropy, cross_entropy or mean_squared_error. `optimizer`: Adam(0.01) where left out. `checkpoint` and
    `resume` as in `train_population`.
    The start with the lowest training objective is kept. With `patience`, the share `validation_fraction` of the
    training rows, by class and with its groups whole, is not trained on: so many epochs without a lower loss on it end
    a start, at its best epoch, and the start with the lowest of these losses is kept. Columns are encoded as all
    training rows have them, and `Fitted.train` is of all of them.
    `most_parameters`: a network of more is refused.

    >>> prepared = prepare({"dose": [0.0, 1.0, 2.0, 3.0], "ill": ["no", "no", "yes", "yes"]}, "ill", test_size=None)
    >>> fit_prepared(prepared, hidden=(), epochs=300, starts=2).train["accuracy"]
    1.0
    """
    encoder, X, y = prepared.encoding, prepared.X, prepared.y
    assert encoder.target is not None, "a table is prepared for a target"
    network = network_for(encoder, hidden, activation, loss)
    if network.n_parameters * starts > _MAX_PARAMETERS:
        raise UsageError(
            f"All starts together have at most {_MAX_PARAMETERS:,} parameters; {starts:,} of {network.n_parameters:,} "
            "are more. Use fewer hidden units or fewer starts."
        )
    if most_parameters is not None and network.n_parameters > most_parameters:
        most_units = (most_parameters - y.shape[1]) // (X.shape[1] + 1 + y.shape[1])
        raise UsageError(
            f"what can be written out by hand has at most {most_parameters} parameters; "
            f"{counted(X.shape[1], 'feature')}, hidden={tuple(hidden)} and {counted(y.shape[1], 'output')} make "
            f"{network.n_parameters:,}. "
            + (f"hidden=({most_units},) fits, or name fewer features" if most_units > 0 else "Name fewer features")
            + "; gn.fit and glassnet train have no such limit."
        )
    apart, weights = None, prepared.row_weights
    if patience is not None:
        rows, held = _rows_apart(prepared, validation_fraction, random_state)
        held_weights = None if weights is None else weights[held]
        apart, X, y = Data.checked(network, X[held], y[held], held_weights), X[rows], y[rows]
        weights = None if weights is None else weights[rows]
    population = train_population(
        network, X, y, size=starts, optimizer=optimizer or Adam(0.01), epochs=epochs, batch_size=batch_size,
        random_state=random_state, initializer=initializer, row_weights=weights, l1=l1, l2=l2,
        held_out=None if apart is None else (apart.X, apart.y, apart.row_weights), patience=patience, threads=threads,
        progress=progress, checkpoint=checkpoint, resume=resume,
    )  # fmt: skip
    if population.interrupted:
        raise KeyboardInterrupt  # a choice among some of the starts is not what was asked for
    unsaved = Model(network, (population.start(population.kept),), encoder)
    weights = prepared.row_weights
    X, y = prepared.X, prepared.y
    in_training = unsaved._metrics(X, y, weights)
    in_test: dict[str, float] = {}
    if len(prepared.test_rows):
        X, y, weights = prepared.X_test, prepared.y_test, prepared.test_weights
        in_test = unsaved._metrics(X, y, weights)
    scores = population.scores(X, y, weights)
    if encoder.target.kind == "number":
        scores["rmse"] = scores["rmse"] * encoder.target.scale
    provenance: dict[str, Any] = {
        "data_sha256": population.data.hash,
        "rows": {"train": len(population.data.X), "test": len(prepared.test_rows)},
        "columns": prepared.roles,
        "missing_words": list(prepared.table.missing_words),
        "split": prepared.split,
        "random_state": random_state,
        "kept_start": population.kept,
        "starts": starts,
        "optimizer": repr(population.spec.optimizer),
        "epochs": epochs,
        "batch_size": batch_size,
        "initializer": initializer,
        "l1": l1,
        "l2": l2,
        "engine": population.engine_used,
        "metrics": {"train": in_training, "test": in_test},
        "versions": {
            "glassnet": version("glassnet"),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }
    if apart is not None:
        provenance["patience"] = patience
        provenance["validation"] = {
            "rows": len(apart.X), "fraction": validation_fraction, "data_sha256": apart.hash,
        }  # fmt: skip
    model = Model(network, unsaved.members, encoder, plain(provenance))
    return Fitted(model, population, prepared, in_training, in_test, scores)


def _rows_apart(prepared: Prepared, fraction: float, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Of the training rows those to train on, and those that patience watches."""
    if not 0 < fraction < 1:
        raise UsageError(
            "validation_fraction is the share of the training rows that patience watches, between 0 and 1; got "
            f"{fraction}."
        )
    assert prepared.encoding.target is not None, "a table is prepared for a target"
    rows, held = split_rows(
        prepared.table.select(prepared.train_rows), prepared.encoding.target.source, prepared.task,
        group=prepared.column("group"), test_size=fraction, stratify=prepared.split["stratify"], random_state=seed,
    )  # fmt: skip
    for whose, part in (("patience watches", held), ("remain to train on", rows)):
        if prepared.row_weights is not None and not prepared.row_weights[part].any():
            raise UsageError(
                f"some row must weigh more than 0; of the {len(part)} rows that {whose}, drawn by class, none does. "
                "Choose another validation_fraction or seed, or leave out the rows that weigh nothing."
            )
    return rows, held


_MAX_PARAMETERS = 2**27  # 1 GiB; training takes a few times as much
_LOSS_OF = {"binary": "binary_cross_entropy", "classes": "cross_entropy", "number": "mean_squared_error"}
_LINKS_OF = {"binary": ("sigmoid",), "classes": ("softmax",), "number": ("identity", "exp")}


def network_for(encoder: Encoding, hidden: Sequence[int], activation: str = "relu", loss: str | None = None) -> Network:
    """The network of an encoding's inputs, hidden layers, and the outputs that its target needs.

    `loss` follows from the target where left out. Raises UsageError: a loss that does not suit the target.

    >>> encoder, _, _ = Encoding.fit(as_table({"dose": [0.0, 1.0], "ill": ["no", "yes"]}), ["dose"], "ill")
    >>> network_for(encoder, (3,)).sizes
    (1, 3, 1)
    """
    target = encoder.target
    assert target is not None, "a table is prepared for a target"
    if not isinstance(hidden, Sequence):
        raise UsageError(f"hidden has the units of every hidden layer, (6, 3) say, or () for none; got {hidden!r}.")
    kind = target.kind
    n_outputs = len(target.classes) if kind == "classes" else 1
    network = Network((encoder.n_features, *hidden, n_outputs), activation, loss or _LOSS_OF[kind])
    if network.loss_row.link not in _LINKS_OF[kind]:
        what = {"binary": "two classes", "classes": f"{network.n_outputs} classes", "number": "a number"}[kind]
        raise UsageError(f"{target.source!r} is {what}, which {_LOSS_OF[kind]} suits; {network.loss} does not.")
    if network.loss_row.targets == "nonnegative":
        raise UsageError(
            "A table's numbers are scaled to mean 0, and poisson takes counts of 0 or more. "
            "Use mean_squared_error here, or gn.train with counts of your own."
        )
    return network


def plain(value: Any) -> Any:
    """Plain data for JSON, which knows no NaN: an undefined metric becomes None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


class BecomesModel(Protocol):
    """What says which `Model` it is: a fitted `gn.MLPClassifier`, `gn.TableClassifier` or their like."""

    def to_model(self) -> Model:
        """The model."""


def as_model(what: Any) -> Any:
    """The model that a fitted estimator is, by its `to_model`; all else as it is.

    >>> as_model(3)
    3
    """
    return what.to_model() if hasattr(what, "to_model") else what


def save(model: Model | BecomesModel, path: str | os.PathLike[str]) -> None:
    """Write a model to a file, atomically: safetensors with JSON metadata and a checksum, no code in it.

    A fitted estimator is taken by its `to_model`. Raises `CannotWriteError`; what stood there before is then untouched.
    """
    model = as_model(model)
    assert isinstance(model, Model)
    tensors = {f"member_{number}": member.vector for number, member in enumerate(model.members)}
    write_model_file(path, _metadata(model), tensors)


def _metadata(model: Model) -> dict[str, Any]:
    """All of a model that is no array, as plain data."""
    return {
        "network": {
            "sizes": list(model.network.sizes),
            "activations": list(model.network.activations),
            "loss": model.network.loss,
        },
        "encoder": model.encoder.to_json(),
        "members": len(model.members),
        "provenance": model.provenance,
    }


def load(path: str | os.PathLike[str]) -> Model:
    """Read a model that `save` wrote; nothing in the file is executed.

    A file is read strictly: what it says must be what `save` would write of the model that comes of it, no field more
    and none of another type.

    Raises `NoInputError` where there is no such file, `DataError` where it is no model, or damaged, or of a newer
    format.

    >>> import tempfile
    >>> from pathlib import Path
    >>> table = {"dose": [0.0, 1.0, 2.0, 3.0], "ill": ["no", "no", "yes", "yes"]}
    >>> model = fit(table, "ill", hidden=(), epochs=5, starts=1, test_size=None).model
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(model, Path(folder, "ill.safetensors"))
    ...     bool((load(Path(folder, "ill.safetensors")).predict_proba(table) == model.predict_proba(table)).all())
    True
    """
    metadata, tensors = read_model_file(path)

    def refuse(why: object) -> NoReturn:
        raise DataError(f"{path} is no glassnet model: {str(why)[:400]}. Train it again with glassnet train.")

    try:
        described = metadata["network"]
        network = Network(tuple(described["sizes"]), tuple(described["activations"]), described["loss"])
        members = tuple(Parameters(network, tensors[f"member_{n}"]) for n in range(metadata["members"]))
        encoder = Encoding.from_json(metadata["encoder"])
        model = Model(network, members, encoder, dict(metadata["provenance"]))
        as_saved, as_read = (json.dumps(said, sort_keys=True) for said in (_metadata(model), metadata))
    except KeyError as missing:
        refuse(f"it has no {missing}")
    except (TypeError, ValueError, AttributeError, OverflowError) as problem:
        refuse(str(problem).rstrip("."))
    except RecursionError:
        refuse("it is nested too deep")
    if as_saved != as_read:
        refuse("it has a field too many, or one of another type")
    target = encoder.target
    n_outputs = len(target.classes) if target and target.kind == "classes" else 1
    if (
        not members
        or target is None
        or len(tensors) != len(members)
        or any(member.vector.ndim != 1 for member in members)
        or (network.n_features, network.n_outputs) != (encoder.n_features, n_outputs)
        or network.loss_row.link not in _LINKS_OF[target.kind]
    ):
        refuse("its network, encoder and parameters do not fit together")
    return model
