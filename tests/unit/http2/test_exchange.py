"""An exchange: its answer's fields are decoded when asked for; it can be made a request again."""

from __future__ import annotations

import hpack
import pytest

from pushcore.errors import ConnectionLost
from pushcore.http2.exchange import NO_FIELDS, Sink, deliver, header_of, request
from pushcore.http2.headers import Field, HeaderTemplate


def block_of(*fields: tuple[str, str]) -> bytes:
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    return encoder.encode(fields)


@pytest.mark.parametrize("decoded", [True, False])
def test_header_of(decoded: bool) -> None:
    fields = [(":status", "200"), ("apns-id", "ABC"), ("x", "1"), ("x", "2"), ("caf\u00e9", "\u00fc")]
    block: bytes | list[Field] = block_of(*fields)
    if decoded:
        block = [(name.encode(), value.encode()) for name, value in fields]
    assert header_of(block, b"apns-id") == "ABC"
    assert header_of(block, b"x") == "1"
    assert header_of(block, b"missing") is None
    assert header_of(block, "caf\u00e9".encode()) == "\u00fc"


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert header_of([(b"x", b"\xff")], b"x") == "\ufffd"


@pytest.mark.parametrize(
    "block", [b"\xbe", b"\xff\xff\xff\xff\xff", b"\x00\x7f", block_of(("x", "v" * 20_000))]
)
def test_a_block_that_cannot_be_decoded_has_no_fields(block: bytes) -> None:
    assert header_of(block, b"x") is None


def test_restart() -> None:
    exchange = request(HeaderTemplate(()), b"", b"body", NO_FIELDS, print, "context")
    exchange.status, exchange.data, exchange.error = 200, b"data", ConnectionLost("x")
    exchange.restart(refusals=3)
    assert exchange.refusals == 3
    exchange.attempts = 1
    exchange.restart()
    assert exchange.refusals == 0
    seen: tuple[object, ...] = (exchange.status, exchange.data, exchange.error, exchange.attempts)
    assert seen == (0, b"", None, 2)
    assert (exchange.body, exchange.context, exchange.deadline) == (b"body", "context", float("inf"))


@pytest.mark.parametrize(
    ("sinks", "calls"),
    [
        ("", []),
        ("a", ["a0"]),
        ("aa", ["a01"]),
        ("ab", ["a0", "b1"]),
        ("aabbab", ["a01", "b23", "a4", "b5"]),
    ],
)
def test_neighbours_with_the_same_sink_are_delivered_together(sinks: str, calls: list[str]) -> None:
    seen: list[str] = []

    def sink(name: str) -> Sink:
        return lambda finished: seen.append(name + "".join(exchange.context for exchange in finished))

    known = {name: sink(name) for name in "ab"}
    template = HeaderTemplate(())
    deliver(
        [
            request(template, b"", b"", NO_FIELDS, known[name], str(number))
            for number, name in enumerate(sinks)
        ]
    )
    assert seen == calls


def test_a_new_request_has_no_response() -> None:
    exchange = request(HeaderTemplate(()), b"/x", b"body", NO_FIELDS, print)
    assert (exchange.path, exchange.body, exchange.context, exchange.shape) == (b"/x", b"body", None, None)
    assert (exchange.attempts, exchange.deadline) == (1, float("inf"))
    assert not hasattr(exchange, "refusals")
    assert (exchange.status, exchange.data, exchange.error) == (0, b"", None)


@pytest.mark.parametrize(("size", "decoded"), [(16_384 - 33, True), (16_384 - 32, False)])
def test_a_header_list_may_have_16384_bytes(size: int, decoded: bool) -> None:
    assert header_of(block_of(("x", "v" * size)), b"x") == ("v" * size if decoded else None)
