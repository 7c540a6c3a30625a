"""An exchange: its answer's fields are decoded when asked for; it can be made a request again."""

from __future__ import annotations

import hpack
import pytest

from pushcore.errors import ConnectionLost
from pushcore.http2.exchange import NO_FIELDS, header_of, request
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
def test_what_cannot_be_decoded_has_no_fields(block: bytes) -> None:
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
