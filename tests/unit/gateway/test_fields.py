"""Headers are made a dict once, and some of them mean that the request must not be served."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import Request

from pushcore.gateway.fields import FAULT, fault_of, fault_of_http1, field_of, fields_of


def test_headers_are_made_a_dict_once_and_the_last_of_a_name_counts() -> None:
    scope: dict[str, Any] = {"type": "http", "headers": [(b"a", b"1"), (b"a", b"2"), (b"b", b"3")]}
    fields = fields_of(scope)
    assert fields == {b"a": b"2", b"b": b"3"}
    scope["headers"] = []
    assert fields_of(scope) is fields
    request = Request(scope)
    assert (field_of(request, b"b"), field_of(request, b"c")) == (b"3", None)


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        ([b"host", b"x", b"x", b"accept", b"accept"], None),
        ([b"host", b"host"], "the request has more than one Host header; expected one"),
        ([b"authorization", b"x", b"authorization"], "the request has more than one Authorization header"),
        ([b"content-encoding", b"content-encoding"], "the request has more than one Content-Encoding header"),
        ([b"idempotency-key"] * 3, "the request has more than one Idempotency-Key header"),
    ],
)
def test_a_header_that_decides_what_is_done_stands_in_a_request_once(
    names: list[bytes], fault: str | None
) -> None:
    found = fault_of({"type": "http", "headers": [(name, b"1") for name in names]})
    assert found == fault if fault is None else str(found).startswith(fault)


def test_the_fault_that_the_server_has_found_is_kept() -> None:
    assert fault_of({"type": "http", "headers": [], FAULT: "no Host"}) == "no Host"


@pytest.mark.parametrize(
    "host",
    ["", "h", "example.com:8080", "h:", "127.0.0.1:1", "[::1]", "[::1]:8080", "a_b", "xn--bcher-kva.example"],
)
def test_hosts_that_are_right(host: str) -> None:
    for version in ("1.0", "1.1"):
        assert fault_of_http1(version, {b"host": host.encode()}) is None


@pytest.mark.parametrize(
    "host", ["a b", "a, b", "a/b", "u@h", "h:x", "::1", "[::1", "h:1:2", "\u00e9", "a\tb", "h?x"]
)
def test_hosts_that_are_wrong(host: str) -> None:
    for version in ("1.0", "1.1"):
        fault = fault_of_http1(version, {b"host": host.encode()})
        assert fault == "the Host header is invalid; expected HOST or HOST:PORT"


@pytest.mark.parametrize(
    ("version", "fields", "fault"),
    [
        ("1.1", {}, "the request has no Host header; expected one"),
        ("1.0", {}, None),
        ("0.9", {}, "the version of the request is HTTP/0.9; expected HTTP/1.1"),
        ("2.0", {b"host": b"h"}, "the version of the request is HTTP/2.0; expected HTTP/1.1"),
        ("1.1", {b"host": b"h", b"transfer-encoding": b"Chunked "}, None),
        (
            "1.1",
            {b"host": b"h", b"transfer-encoding": b"gzip, chunked"},
            "the Transfer-Encoding is not supported",
        ),
        ("1.0", {b"host": b"h", b"transfer-encoding": b"chunked"}, "the Transfer-Encoding is not supported"),
    ],
)
def test_requests_of_http_1(version: str, fields: dict[bytes, bytes], fault: str | None) -> None:
    found = fault_of_http1(version, fields)
    assert found == fault if fault is None else str(found).startswith(fault)
