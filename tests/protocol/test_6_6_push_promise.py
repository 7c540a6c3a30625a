"""RFC 9113, sections 6.6 and 8.4: PUSH_PROMISE after we have set ENABLE_PUSH to 0."""

from __future__ import annotations

import pytest

from tests.support import http2 as h
from tests.support.http2 import Dial, UncheckedServer


@pytest.mark.parametrize("stream_id", [0, 1, 2, 99])
@pytest.mark.parametrize("flags", [0, h.END_HEADERS, h.END_HEADERS | h.PADDED])
def test_it_is_refused(dial: Dial, stream_id: int, flags: int) -> None:
    """A client that has set ENABLE_PUSH to 0 MUST treat PUSH_PROMISE as a connection error of type PROTOCOL_ERROR."""
    client = dial()
    client.feed(h.SETTINGS_ACK)
    exchange = client.request()
    client.sent()
    client.feed(
        h.frame(h.PUSH_PROMISE, flags, stream_id, b"\0\0\0\0\2\x82\x84\x87"), h.frame(h.CONTINUATION, 4, 1)
    )
    client.check_broken(h.PROTOCOL_ERROR)
    assert client.finished == [exchange]


def test_an_answer_before_it_counts(dial: Dial, wire: UncheckedServer) -> None:
    client = dial()
    client.feed(h.SETTINGS_ACK)
    one, two = client.request(), client.request()
    client.sent()
    client.feed(wire.answer(1), h.frame(h.PUSH_PROMISE, h.END_HEADERS, 3, b"\0\0\0\2\x82\x84\x87"))
    assert (one.status, one.error) == (200, None)
    assert two.error is client.connection.error
