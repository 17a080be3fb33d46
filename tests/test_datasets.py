from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from glassnet.datasets import mnist, tumors
from glassnet.errors import DataError, NoInputError, UsageError


def test_tumors_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_breast_cancer

    theirs = load_breast_cancer()
    ours = tumors("all")
    np.testing.assert_array_equal(ours.X, theirs.data)
    np.testing.assert_array_equal(ours.y[:, 0], 1 - theirs.target)  # theirs counts benign as 1
    assert ours.target_names == ("benign", "malignant")
    assert len(ours.feature_names) == 30
    assert "CC BY 4.0" in ours.citation


def test_the_notebooks_columns_come_first() -> None:
    data = tumors()
    assert data.feature_names == ("texture_mean", "radius_mean")
    assert data.X[0].tolist() == [10.38, 17.99]
    assert data.y[0].tolist() == [1.0]
    assert data.table.n_rows == 569


def test_column_choice() -> None:
    np.testing.assert_array_equal(tumors(["radius_mean"]).X[:, 0], tumors().X[:, 1])
    with pytest.raises(DataError, match="Did you mean 'radius_mean'"):
        tumors(["radius_men"])
    for columns in ("radius_mean", []):
        with pytest.raises(UsageError, match="list of names"):
            tumors(columns)


def test_the_widely_used_variant(tmp_path: Path) -> None:
    packaged = tumors("all")
    names = ["id", "diagnosis", *packaged.feature_names]
    lines = [",".join(f'"{name}"' for name in names) + ","]
    for i in range(569):
        diagnosis = "M" if packaged.y[i, 0] else "B"
        lines.append(",".join([str(842302 + i), diagnosis, *map(repr, packaged.X[i].tolist()), ""]))
    (tmp_path / "data.csv").write_text("\n".join(lines))
    variant = tumors("all", path=tmp_path / "data.csv")
    np.testing.assert_array_equal(variant.X, packaged.X)
    np.testing.assert_array_equal(variant.y, packaged.y)
    assert variant.feature_names == packaged.feature_names
    assert variant.table.notices == ("column 33 has no name and no value in it: left out",)


def test_other_files_are_no_tumors(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("diagnosis,texture_mean,radius_mean\nM,1,2\nX,3,4\n")
    with pytest.raises(DataError, match=r"row 1 \(line 3\) has 'X'"):
        tumors(path=path)
    path.write_text("kind,texture_mean,radius_mean\nM,1,2\n")
    with pytest.raises(DataError, match="no column 'diagnosis'"):
        tumors(path=path)
    with pytest.raises(NoInputError):
        tumors(path=tmp_path / "absent.csv")


# MNIST


def idx(*sizes: int, data: bytes) -> bytes:
    return struct.pack(f">4B{len(sizes)}I", 0, 0, 8, len(sizes), *sizes) + data


IMAGES = "t10k-images-idx3-ubyte"
LABELS = "t10k-labels-idx1-ubyte"
THREE = idx(3, 28, 28, data=bytes(range(256)) * 9 + bytes(48))
THREE_LABELS = idx(3, data=bytes([7, 2, 1]))


def test_idx_files_plain_and_packed(tmp_path: Path) -> None:
    (tmp_path / IMAGES).write_bytes(THREE)
    (tmp_path / f"{LABELS}.gz").write_bytes(gzip.compress(THREE_LABELS))
    data = mnist(tmp_path)
    assert data.X.tobytes() == THREE[16:]
    assert data.X.shape == (3, data.height * data.width)
    assert (data.X.dtype, data.y.dtype, data.y.tolist()) == (np.uint8, np.int64, [7, 2, 1])
    assert dict(data.parts) == {"t10k": slice(0, 3)}

    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(1, 28, 28, data=bytes(784))))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(1, data=bytes([9])))
    both = mnist(tmp_path)
    assert both.y.tolist() == [9, 7, 2, 1]
    np.testing.assert_array_equal(both.X[both.parts["t10k"]], data.X)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (THREE[:-1], THREE_LABELS, "2,352 bytes after the header; the file has 2,351"),
        (THREE + b"\0", THREE_LABELS, "2,352 bytes after the header; the file has more"),
        (THREE, THREE_LABELS[:-1], "3 bytes after the header; the file has 2"),
        (THREE[:10], THREE_LABELS, "the file ends after 10"),
        (b"", THREE_LABELS, "magic number"),
        (THREE_LABELS, THREE_LABELS, "byte 0: the magic number must be 00000803; it is 00000801"),
        (b"\x80\x04" + THREE, THREE_LABELS, "magic number"),
        (idx(3, 27, 28, data=bytes(3 * 27 * 28)), THREE_LABELS, "27 x 28"),
        (idx(2**32 - 1, 28, 28, data=b""), THREE_LABELS, "claims 4,294,967,295"),
        (idx(0, 28, 28, data=b""), THREE_LABELS, "claims 0"),
        (THREE, idx(2, data=bytes(2)), "3 images and 2 labels"),
        (THREE, idx(3, data=bytes([7, 10, 1])), r"label 1 \(byte 9\) is 10"),
        (gzip.compress(THREE)[:-20], THREE_LABELS, "damaged or cut off"),
        (gzip.compress(THREE)[:-8] + bytes(8), THREE_LABELS, "damaged or cut off"),
        (b"\x1f\x8b" + THREE, THREE_LABELS, "damaged or cut off"),
        (gzip.compress(THREE + bytes(10**7)), THREE_LABELS, "the file has more"),
    ],
)
def test_broken_idx_files_are_refused(tmp_path: Path, images: bytes, labels: bytes, message: str) -> None:
    (tmp_path / (f"{IMAGES}.gz" if images.startswith(b"\x1f\x8b") else IMAGES)).write_bytes(images)
    (tmp_path / LABELS).write_bytes(labels)
    with pytest.raises(DataError, match=message) as caught:
        mnist(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_missing_idx_files(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(NoInputError, match="no MNIST files"):
            mnist(folder)
    (tmp_path / LABELS).write_bytes(THREE_LABELS)
    with pytest.raises(NoInputError, match="come together"):
        mnist(tmp_path)


def test_the_real_digits(shared_data: Path) -> None:
    data = mnist(shared_data)
    assert data.X.shape == (10_000, 784)
    # the counts of the digits 0 to 9 in the test part, as known since 1998
    assert np.bincount(data.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.X.max() == 255
