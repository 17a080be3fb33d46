"""Requests read strictly, and one list of settings for all."""

from __future__ import annotations

import contextlib
import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassnet.errors import UsageError
from glassnet.web.state import HANDLES, Asked, Settings, View, offered, parse


def request(settings=None, view=None, number=1):
    return parse(json.dumps({"id": number, "settings": settings or {}, "view": view or {}}))


def test_the_handles_are_the_settings_with_the_same_defaults():
    assert [field.name for field in fields(Settings)] == list(HANDLES)
    assert {name: handle.default for name, handle in HANDLES.items()} == {
        field.name: getattr(Settings(), field.name) for field in fields(Settings)
    }
    assert request() == Asked(1, Settings(), View())


def test_every_default_is_allowed():
    plain = {name: list(h.default) if isinstance(h.default, tuple) else h.default for name, h in HANDLES.items()}
    assert request(plain) == request()


def test_what_the_page_is_offered_is_json():
    assert json.loads(json.dumps(offered()))["handles"][0]["name"] == "hidden"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"epochs": 0}, "epochs is a whole number from 1 to 2,000; got 0."),
        ({"epochs": 2001}, "got 2001."),
        ({"epochs": 5.0}, "got 5.0."),
        ({"epochs": True}, "got true."),
        ({"epochs": "5"}, 'got "5".'),
        ({"epochs": None}, "got null."),
        ({"epochs": 10**400}, "got 1000"),
        ({"learning_rate": -1}, "learning_rate is a number from 1e-06 to 1,000,000; got -1."),
        ({"learning_rate": []}, "got []."),
        ({"test": 1.0}, "test is a number from 0 to 0.9; got 1.0."),
        ({"activation": "rellu"}, "Did you mean 'relu'?"),
        ({"activation": ["relu"]}, "activation is one of"),
        ({"hidden": [17]}, "16 units"),
        ({"hidden": [2] * 7}, "6 layers"),
        ({"hidden": 2}, "got 2"),
        ({"hidden": [2.0]}, "got [2.0]"),
        ({"features": ["a", "a"]}, "each once"),
        ({"features": "a"}, "a list of"),
        ({"target": "x" * 2000}, "1,000 characters"),
        ({"optimizer": "lbfgs", "batch": 32}, "lbfgs looks at all rows"),
        ({"hidden": [], "dropout": 0.5}, "dropout is of hidden units"),
        ({"nothing": 1}, "got 'nothing'"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(settings, said):
    with pytest.raises(UsageError) as refused:
        request(settings)
    assert said in str(refused.value)
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize(
    "view",
    [
        {"start": -2}, {"epoch": 1.5}, {"row": 10**12}, {"x": 3}, {"only": None}, {"held": []}, {"held": {"a": None}},
        {"held": {"a": [1]}}, {"held": {"a": True}}, {"held": {"a": 10**301}}, {"more": 1},
        {"slow": -2}, {"slow": 1.0}, {"slow": None}, {"slow": 10**7}, {"hand": []}, {"hand": {"w1_1_1": None}},
        {"hand": {"w1_1_1": True}}, {"hand": {"w1_1_1": 1e7}}, {"hand": {"w1_1_1": "1"}}, {"hand": {"w0_1_1": 1}},
        {"hand": {"w1_1": 1}}, {"hand": {"b1_1_1": 1}}, {"hand": {"z1_1": 1}}, {"hand": {"w1_1_1\n": 1}},
        {"hand": {"__proto__": 1}}, {"hand": {f"b1_{n}": 1 for n in range(1, 66)}}, {"legs": {}}, {"legs": [1]},
        {"legs": [[1]]}, {"legs": [[-2, {}]]}, {"legs": [[1.5, {}]]}, {"legs": [[0, []]]}, {"legs": [[0, {}]] * 5},
    ],
)  # fmt: skip
def test_a_view_that_cannot_be_is_refused(view):
    with pytest.raises(UsageError):
        request(view=view)


@pytest.mark.parametrize("text", ["", "null", "1", '"x"', "{}", '{"id": 1}', '{"id": 1, "settings": [], "view": {}}'])
def test_what_is_no_request_is_refused(text):
    with pytest.raises(UsageError):
        parse(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*HANDLES, "x", "hand", "legs", "slow", "added", "moved", "deleted", "w1_1_1"]) | st.text(),
            inner,
        )
    ),
    max_leaves=12,
)


@given(settings=JSON, view=JSON, number=JSON)
def test_whatever_comes_is_a_request_or_a_message(settings, view, number):
    text = json.dumps({"id": number, "settings": settings, "view": view, "edits": view})
    with contextlib.suppress(UsageError):
        hash(parse(text))  # what is accepted is the key of what is kept


@given(st.text(max_size=200))
def test_any_text_is_answered(text):
    with contextlib.suppress(UsageError):
        parse(text)
