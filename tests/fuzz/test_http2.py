"""Hostile and broken servers, by chance: nothing raises, everything ends exactly once, memory stays bounded."""

from __future__ import annotations

import itertools
from typing import Any

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushcore.http2.streams import ConnectionState
from tests.fuzz.invariants import Watched
from tests.support import http2 as h
from tests.support.http2 import ENGINES, ClientHarness, UncheckedServer

engines = pytest.mark.parametrize("engine", ENGINES)

words = st.sampled_from(
    [0, 1, 2, 16_383, 16_384, 65_535, 65_536, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF]
) | st.integers(0, 0xFFFF_FFFF)
ids = st.sampled_from([0, 1, 2, 3, 5, 7, 9, 11, 13, 15, 99, 0x7FFF_FFFF, 0x8000_0003])
codes = st.integers(0, 14)


# --- arbitrary bytes ----------------------------------------------------------------------------------------------


@engines
@given(raw=st.binary(max_size=200), warm=st.booleans())
def test_arbitrary_bytes_after_an_honest_start(engine: str, raw: bytes, warm: bool) -> None:
    client = Watched(engine, warm=warm)
    client.hear(raw)
    client.finish()


@engines
@given(raw=st.binary(max_size=100))
def test_arbitrary_bytes_from_the_start(engine: str, raw: bytes) -> None:
    client = ClientHarness(engine)
    client.sent()
    client.feed(raw)
    assert client.offer() is None or client.state is ConnectionState.OPEN
    client.tick(1000.0)
    client.connection.lost(h.LOST)
    client.collect()


# --- arbitrary frames ---------------------------------------------------------------------------------------------


@st.composite
def header_blocks(draw: st.DrawFn) -> bytes:
    kind = draw(st.integers(0, 4))
    if kind == 0:
        return draw(st.binary(max_size=20))
    if kind == 1:
        return draw(
            st.sampled_from(
                [b"\x88", b"\x8c", b"\x20\x88", b"\x8b\x0f\x0d\x010", b"\x48\x03410", b"\x48\x82\x08\x07"]
            )
        )
    encoder = hpack.Encoder()
    encoder.header_table_size = draw(st.sampled_from([0, 4096]))
    status = draw(st.sampled_from(["200", "410", "100", "103", "999", "", "2"]))
    fields = [(":status", status)] * draw(st.integers(0, 2)) + [("a", "b" * draw(st.integers(0, 300)))]
    return encoder.encode(fields)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """A frame, mostly of the right shape, mostly for a stream that exists."""
    kind = draw(st.integers(0, 9) | st.integers(0, 255))
    flags = draw(st.sampled_from([0x0, 0x1, 0x4, 0x5]) | st.integers(0, 255))
    number = draw(ids)
    if draw(st.integers(0, 9)) == 0:
        return h.frame(kind, flags, number, draw(st.binary(max_size=40)))
    match kind:
        case h.DATA:
            payload = draw(st.binary(max_size=50)) * draw(st.sampled_from([1, 1, 1, 300]))
        case h.HEADERS | h.CONTINUATION | h.PUSH_PROMISE:
            payload = draw(header_blocks())
        case h.SETTINGS:
            number = 0
            pairs = draw(st.lists(st.tuples(st.integers(0, 8), words), max_size=3))
            if not flags & h.ACK:
                return h.settings(*pairs)
            payload = b""
        case h.PING:
            number, payload = 0, bytes(8)
        case h.GOAWAY:
            return h.goaway(draw(words), draw(codes), draw(st.binary(max_size=20)))
        case h.RST_STREAM:
            payload = draw(codes).to_bytes(4, "big")
        case h.WINDOW_UPDATE:
            payload = draw(words).to_bytes(4, "big")
        case h.PRIORITY:
            payload = bytes(5)
        case _:
            payload = draw(st.binary(max_size=10))
    return h.frame(kind, flags, number, payload[:16_384])


ACTIONS: st.SearchStrategy[list[Any]] = st.lists(
    st.one_of(
        frames(),
        frames(),
        frames(),
        st.sampled_from(["open", "cancel", "tick", "pause", "resume", "write", "authorize"]),
    ),
    max_size=25,
)


@engines
@given(actions=ACTIONS, warm=st.booleans())
def test_sequences_of_frames_and_of_our_own_doings(engine: str, actions: list[Any], warm: bool) -> None:
    client = Watched(engine, warm=warm)
    connection = client.connection
    for action in actions:
        match action:
            case bytes():
                connection.receive(action, client.now)
            case "open":
                client.offer(
                    b"y" * (len(client.opened) * 30 % 200), ((b"apns-id", b"%d" % len(client.opened)),)
                )
            case "cancel":
                live = [
                    one
                    for one in client.opened
                    if connection.streams.get(getattr(one, "stream_id", 0)) is one
                ]
                if live:
                    connection.cancel(live[0])
                    client.opened.remove(live[0])
            case "tick":
                client.now += 0.7
                connection.tick(client.now)
            case "pause" | "resume":
                connection.pause(action == "pause")
            case "authorize":
                connection.authorize(b"bearer %d" % len(client.opened))
            case "write":
                client.check()
        client.collect()
    client.check()
    client.finish()


# --- honest conversations, cut and damaged ------------------------------------------------------------------------


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    """What an honest server says after the requests 1 to 13 of `honest`, frame by frame."""
    wire = UncheckedServer(draw(st.sampled_from([0, 0, 0, 4096])))
    said: list[bytes] = []
    for number in draw(st.permutations(range(1, 14, 2))):
        said += draw(
            st.lists(
                st.sampled_from([h.ping(), h.window_update(0, 5), h.frame(0x99), h.settings((3, 20))]),
                max_size=1,
            )
        )
        match draw(st.integers(0, 6)):
            case 0:
                said.append(wire.answer(number))
            case 1 | 2:
                body = draw(st.binary(max_size=30))
                said.append(wire.headers(number, (":status", "410"), ("apns-id", "A"), flags=h.END_HEADERS))
                said.append(h.data(number, body))
            case 3:
                said.append(wire.headers(number, (":status", "103"), flags=h.END_HEADERS))
                said.append(wire.headers(number, (":status", "200"), flags=h.END_HEADERS))
                said.append(h.data(number, b"\x02body\0\0", h.PADDED))
                said.append(wire.headers(number, ("x", "trailer")))
            case 4:
                block = wire.block((":status", "503"), ("retry-after", "9"))
                cut = draw(st.integers(0, len(block)))
                said.append(h.frame(h.HEADERS, h.END_STREAM, number, block[:cut]))
                said.append(h.frame(h.CONTINUATION, h.END_HEADERS, number, block[cut:]))
            case 5:
                said.append(h.rst_stream(number, draw(codes)))
            case _:
                said.append(h.window_update(number, 1000))
    if draw(st.booleans()):
        said.insert(draw(st.integers(0, len(said))), b"")
        said.append(h.goaway(draw(st.sampled_from([0, 5, 99]))))
    return said


def honest(engine: str, pieces: list[bytes]) -> tuple[object, ...]:
    """The outcome of a conversation that arrives in these pieces."""
    client = ClientHarness(engine)
    client.sent()
    client.feed(h.settings((h.INITIAL_WINDOW, 100)))
    exchanges = [client.request(b"x" * 50 * (number % 4)) for number in range(7)]
    client.sent()
    for piece in pieces:
        client.feed(piece)
    return (
        [
            (one.status, one.data, type(one.error), one in client.finished, one in client.refused)
            for one in exchanges
        ],
        [one.stream_id for one in client.finished],
        client.state,
        type(client.connection.error),
    )


@engines
@given(said=conversations(), data=st.data())
def test_any_chunking_comes_to_the_same(engine: str, said: list[bytes], data: st.DataObject) -> None:
    raw = b"".join(said)
    whole = honest(engine, [raw])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=12)))
    edges = [0, *cuts, len(raw)]
    pieces = [raw[start:end] for start, end in itertools.pairwise(edges)]
    assert honest(engine, pieces) == whole
    assert honest(engine, [raw[at : at + 1] for at in range(len(raw))]) == whole


@given(said=conversations())
def test_both_engines_come_to_the_same(said: list[bytes]) -> None:
    assert honest("fast", said) == honest("reference", said)


@engines
@given(said=conversations(), data=st.data())
def test_damaged_conversations(engine: str, said: list[bytes], data: st.DataObject) -> None:
    """Bits flipped, frames lost, doubled and swapped."""
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(said) - 1))
        match data.draw(st.integers(0, 4)):
            case 0 if said[at]:
                frame = bytearray(said[at])
                frame[data.draw(st.integers(0, len(frame) - 1))] ^= 1 << data.draw(st.integers(0, 7))
                said[at] = bytes(frame)
            case 1:
                said[at] = b""
            case 2:
                said.insert(at, said[at])
            case 3:
                said[at] = said[at][: data.draw(st.integers(0, len(said[at])))]
            case _:
                other = data.draw(st.integers(0, len(said) - 1))
                said[at], said[other] = said[other], said[at]
    client = Watched(engine, warm=False, requests=7)
    for piece in said:
        client.hear(piece)
    client.finish()
