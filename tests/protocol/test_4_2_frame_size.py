"""RFC 9113, section 4.2: no frame above SETTINGS_MAX_FRAME_SIZE, theirs or ours."""

from __future__ import annotations

import pytest

from pushcore.http2.headers import HeaderTemplate
from tests.support import http2 as h
from tests.support.http2 import TEMPLATE, ClientHarness, Dial, ServerRequest, UncheckedServer

LARGE = (h.INITIAL_WINDOW, 1 << 20)


def body_frames(client: ClientHarness, wire: UncheckedServer) -> tuple[ServerRequest, list[int]]:
    sent = client.sent()
    (request,) = wire.requests(sent).values()
    return request, [one.body_len for one in h.only(sent, "DATA")]


def test_a_frame_of_16384_bytes_is_accepted(dial: Dial, wire: UncheckedServer) -> None:
    """All implementations MUST be capable of receiving and minimally processing frames up to 2^14 octets."""
    client = dial()
    exchange = client.request()
    client.feed(wire.answer(1, 200, b"x" * 16_384))
    assert exchange.data == b"x" * 16_384


@pytest.mark.parametrize("kind", [h.DATA, h.HEADERS, h.SETTINGS, h.PING, 0xEE])
def test_a_larger_frame_is_an_error_of_the_connection(dial: Dial, kind: int) -> None:
    """An endpoint MUST send an error code of FRAME_SIZE_ERROR if a frame exceeds SETTINGS_MAX_FRAME_SIZE."""
    client = dial()
    exchange = client.request()
    client.sent()
    client.feed(h.frame(kind, 0, 1 if kind < 2 else 0, bytes(16_385)))
    client.check_broken(h.FRAME_SIZE_ERROR)
    assert client.finished == [exchange]


def test_settings_that_are_too_large_are_still_settings(dial: Dial) -> None:
    """The server speaks HTTP/2, so its first frame is not said to be of another protocol."""
    client = dial(started=False)
    client.feed(h.frame(h.SETTINGS, payload=bytes(16_386)))
    client.check_broken(h.FRAME_SIZE_ERROR)


def test_a_too_large_frame_is_refused_by_its_header_alone(dial: Dial) -> None:
    """Nothing of the payload has to arrive, or to be kept."""
    client = dial()
    client.feed(h.frame(h.DATA, 0, 1, bytes(16_385))[:9])
    client.check_broken(h.FRAME_SIZE_ERROR)


@pytest.mark.parametrize(
    ("size", "lengths"), [(16_384, [16_384]), (16_385, [16_384, 1]), (40_000, [16_384, 16_384, 7_232])]
)
def test_our_data_keeps_to_the_default(
    dial: Dial, wire: UncheckedServer, size: int, lengths: list[int]
) -> None:
    client = dial(LARGE)
    body = bytes(range(256)) * 200
    client.request(body[:size])
    request, sizes = body_frames(client, wire)
    assert (request.body, request.ended, sizes) == (body[:size], True, lengths)


@pytest.mark.parametrize(
    ("maximum", "lengths"), [(16_384, [16_384, 3_616]), (20_000, [20_000]), (1 << 20, [20_000])]
)
def test_our_data_follows_the_peers_maximum(
    dial: Dial, wire: UncheckedServer, maximum: int, lengths: list[int]
) -> None:
    client = dial(LARGE, (h.MAX_FRAME, maximum))
    client.request(b"x" * 20_000)
    assert body_frames(client, wire)[1] == lengths


def test_the_maximum_may_be_lowered_again(dial: Dial, wire: UncheckedServer) -> None:
    client = dial(LARGE, (h.MAX_FRAME, 1 << 20))
    client.feed(h.settings((h.MAX_FRAME, 16_384)))
    client.request(b"x" * 20_000)
    assert body_frames(client, wire)[1] == [16_384, 3_616]


@pytest.mark.slow
def test_our_header_block_is_split(dial: Dial, wire: UncheckedServer) -> None:
    """HEADERS and CONTINUATION keep to the maximum as well (section 4.3)."""
    client = dial((h.TABLE_SIZE, 0))
    long = "".join(chr(33 + index % 90) for index in range(50_000)).encode()
    client.request(template=HeaderTemplate([*TEMPLATE.fields, (b"x-long", long)]))
    sent = client.sent()
    assert all(one.body_len <= 16_384 for one in sent)
    assert len(h.only(sent, "CONTINUATION")) >= 2
    (request,) = wire.requests(sent).values()
    assert (b"x-long", long) in request.fields
    assert request.body == b"{}"


@pytest.mark.slow
@pytest.mark.parametrize("length", [16_000, 16_100, 16_200, 16_300, 16_384, 16_500])
def test_our_header_block_at_the_edge_of_a_frame(dial: Dial, wire: UncheckedServer, length: int) -> None:
    client = dial((h.TABLE_SIZE, 0))
    template = HeaderTemplate([*TEMPLATE.fields, (b"x-long", b"\x7f" * length)])
    for _ in range(3):
        client.request(template=template)
        sent = client.sent()
        assert all(one.body_len <= 16_384 for one in sent)
        (request,) = wire.requests(sent).values()
        assert (b"x-long", b"\x7f" * length) in request.fields
