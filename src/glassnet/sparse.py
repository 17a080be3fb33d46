"""Tables of which most numbers are 0: each row is a list of the others, as words in a text are.

What holds them is SciPy's CSR; what is given may be any of its formats.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet import reference
from glassnet.errors import DataError, UsageError
from glassnet.network import FLOATS, FloatArray, Network

MOST_DENSE = 1 << 24
"""Numbers up to which a sparse table is made dense for what cannot do without: 128 MiB of float64."""


class SparseTable:
    """(n, n_features) numbers in float32 or float64, of which those that are listed may be other than 0.

    `csr` is SciPy's matrix or array of them, in canonical form: in a row the columns rise. It is not altered.

    >>> from scipy.sparse import csr_array
    >>> table = SparseTable.of(csr_array([[0, 0, 3], [0, 0, 0]]))
    >>> len(table), table.shape, table.density, table[0].tolist()
    (2, (2, 3), 0.16666666666666666, [0.0, 0.0, 3.0])
    """

    ndim = 2

    def __init__(self, csr: Any) -> None:
        self.csr = csr

    @classmethod
    def of(cls, X: Any) -> SparseTable:
        """From a sparse matrix of SciPy's: float32 stays, all else becomes float64.

        Raises DataError where it holds no finite numbers, or places that are none.
        """
        if X.dtype.kind not in "biuf":
            raise DataError(f"X holds numbers; got a sparse array of {X.dtype}.")
        if X.ndim != 2:
            raise DataError(f"X has one row per sample and one column per feature; got shape {X.shape}.")
        csr = X.tocsr()
        begins, columns = csr.indptr, csr.indices
        n_listed = int(begins[-1])
        sound = begins[0] == 0 and (np.diff(begins) >= 0).all() and n_listed <= min(len(columns), len(csr.data))
        if not sound or (n_listed and not 0 <= columns[:n_listed].min() <= columns[:n_listed].max() < X.shape[1]):
            raise DataError(
                f"A sparse X lists columns from 0 to {X.shape[1] - 1}, row after row; its indices or indptr do not. "
                "SciPy's check_format() says where."
            )
        if not csr.has_canonical_format:
            csr = csr.copy() if csr is X else csr
            csr.sum_duplicates()
        if csr.dtype not in FLOATS:
            csr = csr.astype(np.float64)
        table = cls(csr)
        numbers = csr.data[:n_listed]
        together = 1_000_000  # at a time: a mask of all would take memory of its own
        for start in range(0, len(numbers), together):
            finite = np.isfinite(numbers[start : start + together])
            if not finite.all():
                at = start + int(np.argmin(finite))
                row = int(np.searchsorted(csr.indptr, at, side="right")) - 1
                raise DataError(f"X holds finite numbers; row {row}, column {csr.indices[at]} is {numbers[at]}.")
        return table

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of its numbers."""
        found: np.dtype[Any] = self.csr.dtype
        return found

    @property
    def shape(self) -> tuple[int, int]:
        """(n, n_features)."""
        n, n_features = self.csr.shape
        return n, n_features

    def __len__(self) -> int:
        return self.shape[0]

    def __reduce__(self) -> tuple[Any, ...]:
        return SparseTable, (self.csr,)  # what is `cached` says where this one lies, not its copy

    @property
    def density(self) -> float:
        """The share of its numbers that are listed."""
        return float(self.csr.nnz / max(1, self.shape[0] * self.shape[1]))

    def __getitem__(self, rows: Any) -> Any:
        """Some of the rows; of a single number the row itself, dense (n_features,)."""
        if isinstance(rows, int | np.integer):
            return self.csr[[rows]].toarray()[0]
        return SparseTable(self.csr[rows])

    def astype(self, dtype: Any, copy: bool = True) -> SparseTable:
        """In another type; where it has that already, the very same table."""
        return self if self.dtype == dtype else SparseTable(self.csr.astype(dtype))

    def __matmul__(self, W: FloatArray) -> FloatArray:
        """Its product with W (n_features, k): (n, k)."""
        product: FloatArray = self.csr @ W
        return product

    def toarray(self) -> FloatArray:
        """All of it, dense; UsageError where that is more than `MOST_DENSE` numbers."""
        n, n_features = self.shape
        if n * n_features > MOST_DENSE:
            raise UsageError(
                f"A sparse X is made dense for the numpy engine and for traces of a step, up to {MOST_DENSE} numbers; "
                f"this one has {n} rows of {n_features}. Train with engine='compiled', trace a run of smaller batches."
            )
        dense: FloatArray = self.csr.toarray()
        return dense

    @cached_property
    def lists(self) -> tuple[NDArray[Any], NDArray[np.int32], NDArray[np.int64]]:
        """Numbers, columns (int32) and where the rows begin (n + 1,) (int64), as kernels read them."""
        csr, n_listed = self.csr, self.csr.nnz
        return (
            np.ascontiguousarray(csr.data[:n_listed]), np.ascontiguousarray(csr.indices[:n_listed], np.int32),
            np.ascontiguousarray(csr.indptr, np.int64),
        )  # fmt: skip

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """Where `lists` lie in memory (3,)."""
        return np.array([part.__array_interface__["data"][0] for part in self.lists], np.int64)


def is_sparse(X: object) -> bool:
    """Whether it is a sparse matrix or array of SciPy's, or a `SparseTable`.

    >>> is_sparse(np.eye(2))
    False
    """
    return isinstance(X, SparseTable) or (hasattr(X, "tocsr") and hasattr(X, "nnz"))


def checked_rows(network: Network, X: Any) -> FloatArray | SparseTable:
    """`reference.checked_table` of a table that may be sparse.

    >>> from scipy.sparse import csr_array
    >>> checked_rows(Network((2, 1)), csr_array([[0, 1]])).dtype
    dtype('float64')
    """
    if not is_sparse(X):
        return reference.checked_table(network, X)
    table = X if isinstance(X, SparseTable) else SparseTable.of(X)
    if table.shape[1] != network.n_features or not len(table):
        raise DataError(
            f"X has one row per sample and one column per feature, (n, {network.n_features}) with n of 1 or more; "
            f"got shape {table.shape}."
        )
    return table
