"""Every equation of a model, derived."""

from __future__ import annotations

import numpy as np
import pytest

import glassnet as gn
from glassnet.derivations.derived import derive

RNG = np.random.default_rng(8)
COLUMNS = {"a": RNG.normal(50, 9, 60), "b <script> & $_": RNG.normal(-3, 0.1, 60)}
LABELS = np.where(COLUMNS["a"] + 100 * COLUMNS["b <script> & $_"] > -250, "yes", "no")


@pytest.fixture(scope="module")
def model() -> gn.Model:
    table = {**COLUMNS, "ill": LABELS.tolist()}
    return gn.fit(table, "ill", epochs=20, starts=2, hidden=(3,), activation="tanh").model


def test_every_column_has_its_own_equation_as_a_matrix_too(model: gn.Model) -> None:
    derived = derive(model)
    assert [line.strip()[:4] for line in derived.stage("encode").text("matrix").splitlines()[1:]] == ["x1 =", "x2 ="]
    assert str(derived["x2"].target) == "x2"


def test_derive_goes_from_encode_to_decode(model: gn.Model) -> None:
    stages = list(dict.fromkeys(equation.stage for equation in derive(model, gn.SGD(0.1), l2=0.1)))
    assert stages == ["encode", "forward", "loss", "backward", "penalty", "update", "decode"]
    assert r"b \textless{}script\textgreater{} \& \$\_" in derive(model).latex()
