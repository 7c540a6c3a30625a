"""Where a value cannot be JSON is named; what orjson takes passes."""

from __future__ import annotations

import datetime
import uuid
from collections import UserDict
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushcore.models.json_values import json_problem

DEEP: Any = []
for _ in range(300):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (float("nan"), "payload is nan, a number that JSON does not have and that would become null"),
        ({"k": [1, float("inf")]}, "payload.k[1] is inf, a number"),
        ({"a": {"b": (float("-inf"),)}}, "payload.a.b[0] is -inf, a number"),
        ({"aps": {"badge": {1}}}, "payload.aps.badge must be a value of JSON, not set"),
        ({"aps": {"badge": b"1"}}, "payload.aps.badge must be a value of JSON, not bytes"),
        ({"n": 1 << 70}, "payload.n must be a whole number of 64 bits, not 1180591620717411303424"),
        ({"t": "\ud800"}, "payload.t must be valid Unicode"),
        ({"\udfff": 1}, "must be valid Unicode"),
        ({"a": {1: 2}}, "the keys of payload.a must be strings, not int (1)"),
        ({"a": {b"b": 2}}, "the keys of payload.a must be strings, not bytes (b'b')"),
        ({"x\n": object()}, "payload['x\\n'] must be a value of JSON, not object"),
        ({"a": MappingProxyType({})}, "payload.a must be a dict, not mappingproxy"),
        ({"a": [UserDict(b=1)]}, "payload.a[0] must be a dict, not UserDict"),
        (DEEP, "is nested too deeply"),
    ],
)
def test_a_value_that_json_does_not_have_is_named(value: Any, problem: str) -> None:
    assert problem in json_problem(value, "payload")


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        1,
        -1.5,
        "nan",
        [1, [2]],
        {"a": {"b": None}},
        uuid.uuid4(),
        datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC),
    ],
)
def test_a_json_value_has_no_problem(value: Any) -> None:
    assert json_problem({"k": value}, "payload") == ""


def test_a_circle_ends() -> None:
    circle: dict[str, Any] = {}
    circle["a"] = [circle]
    problem = json_problem(circle, "payload")
    assert "nested too deeply" in problem or len(problem) == 400


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()) | st.integers(), inner),
        max_leaves=8,
    )
)
def test_it_finds_what_orjson_refuses(value: Any) -> None:
    try:
        orjson.dumps(value)
    except TypeError:
        assert json_problem(value, "payload")
