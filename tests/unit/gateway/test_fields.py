"""Headers are made a dict once."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from pushcore.gateway.fields import field_of, fields_of


def test_headers_are_made_a_dict_once_and_the_last_of_a_name_counts() -> None:
    scope: dict[str, Any] = {"type": "http", "headers": [(b"a", b"1"), (b"a", b"2"), (b"b", b"3")]}
    fields = fields_of(scope)
    assert fields == {b"a": b"2", b"b": b"3"}
    scope["headers"] = []
    assert fields_of(scope) is fields
    request = Request(scope)
    assert (field_of(request, b"b"), field_of(request, b"c")) == (b"3", None)
