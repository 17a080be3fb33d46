"""Data to begin with: the tumors of the seed's notebook, packaged; digits, from the files one has."""

from __future__ import annotations

import gzip
import importlib.resources
import math
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, cast

import numpy as np
from numpy.typing import NDArray

from glassnet.errors import DataError, NoInputError, UsageError
from glassnet.reading import read_table
from glassnet.splits import split
from glassnet.tables import Table

TUMORS_CITATION = (
    "W. H. Wolberg, O. L. Mangasarian, N. Street, W. N. Street: Breast Cancer Wisconsin (Diagnostic), UCI Machine "
    "Learning Repository, 1993, https://doi.org/10.24432/C5DW2B, CC BY 4.0"
)
MNIST_CITATION = "Y. LeCun, C. Cortes, C. J. C. Burges: The MNIST database of handwritten digits, 1998"

_DIAGNOSIS = "diagnosis"
_SIDE = 28  # pixels of an MNIST image, each way
_MAX_IMAGES = 1_000_000


@dataclass(frozen=True, eq=False)
class Dataset:
    """A table made ready: features X (n, d) in the columns' own units, target y (n, 1) of 0 and 1.

    `target_names[k]` says what y = k means; `table` is the whole table that X and y are taken from.
    """

    X: NDArray[np.float64]
    y: NDArray[np.float64]
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]
    table: Table
    citation: str

    def split(
        self, *, test_size: float = 0.2, seed: int = 0, stratify: bool = True
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Train and test rows, numbers from 0; each class has its share of the test rows unless `stratify` is off.

        >>> train, test = tumors().split()
        >>> len(train), len(test)
        (455, 114)
        """
        return split(len(self.X), test_size=test_size, seed=seed, stratify=self.y[:, 0].tolist() if stratify else None)


@dataclass(frozen=True, eq=False)
class Images:
    """Images as rows: X (n, height * width) of bytes, row-major, 0 to 255; y (n,) whole-number labels.

    `parts` gives the rows of each file that was found: `X[parts["train"]]`.
    """

    X: NDArray[np.uint8]
    y: NDArray[np.int64]
    height: int
    width: int
    parts: Mapping[str, slice]
    citation: str


def tumors(
    columns: Sequence[str] | Literal["all"] = ("texture_mean", "radius_mean"),
    path: str | os.PathLike[str] | None = None,
) -> Dataset:
    """The Wisconsin diagnostic breast cancer data: 569 tumors, malignant (M, y = 1) or benign (B, y = 0).

    `columns` are the features, "all" for every measurement there is. `path` reads another copy of the file,
    the widely used one with its `id` column and its empty last column too.

    Raises UsageError: `columns` is one text, or empty. Raises DataError: no such column, another diagnosis
    than M and B, a cell that is not a number. Raises NoInputError: no such file.

    Source: UCI Machine Learning Repository 17, https://doi.org/10.24432/C5DW2B.

    >>> data = tumors()
    >>> data.X.shape, data.y.shape, int(data.y.sum())
    ((569, 2), (569, 1), 212)
    """
    if path is None:
        with importlib.resources.as_file(importlib.resources.files("glassnet") / "bdiag.csv") as packaged:
            table = read_table(packaged)
    else:
        table = read_table(path)
    table.require([_DIAGNOSIS])
    if columns == "all":
        names = tuple(name for name in table.names if name not in ("id", _DIAGNOSIS))
    elif isinstance(columns, str) or not columns:
        raise UsageError(f"columns are a list of names, or 'all'; got {columns!r}.")
    else:
        names = tuple(columns)
    labels = table.labels(_DIAGNOSIS)
    unknown = sorted(set(labels) - {"M", "B"})
    if unknown:
        raise DataError(
            f"{table.source}: a diagnosis is M (malignant) or B (benign); {table.place(labels.index(unknown[0]))} "
            f"has {unknown[0]!r}."
        )
    table.require(names)
    return Dataset(
        X=np.column_stack([table.numbers(name) for name in names]),
        y=np.array([[float(label == "M")] for label in labels]),
        feature_names=names,
        target_names=("benign", "malignant"),
        table=table,
        citation=TUMORS_CITATION,
    )


def mnist(folder: str | os.PathLike[str]) -> Images:
    """The MNIST digits whose files lie in `folder`: X (n, 784) bytes, y (n,) labels 0 to 9.

    Read are `train-images-idx3-ubyte` with `train-labels-idx1-ubyte`, and the same with `t10k`, each plain or
    with `.gz`; one of the two parts is enough. Nothing is downloaded.

    Raises NoInputError: no such folder, or a file that is missing. Raises DataError: a file that is not what
    its name says, with its place: wrong magic number, other sizes, too short, too long, damaged gzip data.

    Source: Y. LeCun, C. Cortes, C. J. C. Burges, http://yann.lecun.com/exdb/mnist/ (the IDX format too).
    """
    parts: dict[str, slice] = {}
    images, labels = [], []
    n = 0
    for part in ("train", "t10k"):
        paths = [_find(folder, f"{part}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1")]
        if paths == [None, None]:
            continue
        image_path, label_path = paths
        if image_path is None or label_path is None:
            present = image_path or label_path
            raise NoInputError(f"{present}: images and labels come together; the other {part} file is missing.")
        images.append(_read_idx(image_path, (_SIDE, _SIDE)))
        labels.append(_read_idx(label_path, ()))
        if len(images[-1]) != len(labels[-1]):
            raise DataError(
                f"{label_path}: every image needs a label; there are {len(images[-1])} images and "
                f"{len(labels[-1])} labels."
            )
        for row in np.flatnonzero(labels[-1] > 9):
            raise DataError(f"{label_path}: a label is 0 to 9; label {row} (byte {8 + row}) is {labels[-1][row]}.")
        parts[part] = slice(n, n + len(labels[-1]))
        n += len(labels[-1])
    if not parts:
        raise NoInputError(
            f"{folder}: no MNIST files here. Put t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz, or the "
            "train files, into this folder."
        )
    X = np.concatenate(images).reshape(n, _SIDE * _SIDE)
    return Images(X, np.concatenate(labels).astype(np.int64), _SIDE, _SIDE, parts, MNIST_CITATION)


def _find(folder: str | os.PathLike[str], name: str) -> Path | None:
    return next((path for path in (Path(folder, name), Path(folder, f"{name}.gz")) if path.is_file()), None)


def _read_idx(path: Path, item_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An IDX file of bytes, (n, *item_shape): magic number, sizes and length must be just so.

    The header is checked before memory is taken, and of compressed data no more is unpacked than it claims.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            return _read_idx_stream(path, cast(BinaryIO, file), item_shape)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path}: the gzip data are damaged or cut off ({error}). Get the file again.") from error
    except OSError as error:
        raise NoInputError(f"{path}: cannot be read: {error.strerror or error}.") from error


def _read_idx_stream(path: Path, file: BinaryIO, item_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    dimensions = 1 + len(item_shape)
    header = file.read(4 + 4 * dimensions)
    magic = bytes([0, 0, 8, dimensions])  # 8: unsigned bytes
    if header[:4] != magic:
        raise DataError(f"{path}: byte 0: the magic number must be {magic.hex()}; it is {header[:4].hex()}.")
    if len(header) < 4 + 4 * dimensions:
        raise DataError(f"{path}: the header has {4 + 4 * dimensions} bytes; the file ends after {len(header)}.")
    n, *sizes = (int(size) for size in np.frombuffer(header, ">u4", offset=4))
    if tuple(sizes) != item_shape:
        raise DataError(f"{path}: byte 8: an image has 28 x 28 pixels; these have {' x '.join(map(str, sizes))}.")
    if not 0 < n <= _MAX_IMAGES:
        raise DataError(f"{path}: byte 4: from 1 to {_MAX_IMAGES:,} items can be read; the file claims {n:,}.")
    claimed = n * math.prod(item_shape)
    data = file.read(claimed + 1)
    if len(data) != claimed:
        found = "more" if len(data) > claimed else f"{len(data):,}"
        raise DataError(f"{path}: {n:,} items are {claimed:,} bytes after the header; the file has {found}.")
    return np.frombuffer(data, np.uint8).reshape(n, *item_shape)
