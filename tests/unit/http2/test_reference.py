"""The reference engine against our own, with an honest server between them: same requests, same outcomes."""

from __future__ import annotations

import random

import pytest

from pushcore.http2.exchange import header_of
from pushcore.http2.headers import HeaderTemplate
from pushcore.http2.reference import ReferenceConnection
from pushcore.http2.streams import Limits
from tests.support import http2 as h
from tests.support.http2 import ENGINES, ClientHarness, HonestServer, converse

SEEDS = range(12)


def campaign(engine: str, seed: int) -> tuple[list[object], list[object]]:
    """A hundred requests against a server that answers as it likes; what the server saw and what we got."""
    rng = random.Random(seed)
    pairs = {
        h.MAX_STREAMS: rng.choice([1, 3, 100]),
        h.INITIAL_WINDOW: rng.choice([0, 1, 7, 1000, 65_535]),
        h.TABLE_SIZE: rng.choice([0, 64, 4096]),
    }
    client, server = ClientHarness(engine, limits=Limits(max_body=50_000)), HonestServer(pairs)
    converse(client, server)
    templates = [
        HeaderTemplate([*h.TEMPLATE.fields, (b"apns-priority", b"%d" % number)]) for number in range(3)
    ]
    todo = list(range(100))
    answered: set[int] = set()
    while todo or client.connection.streams:
        while todo:
            number = todo[0]
            body = b"%03d" % number * rng.choice([0, 1, 10])
            client.connection.authorize(b"bearer %d" % (number // 30))
            own_fields = ((b"apns-id", b"%d" % number),)
            if client.offer(body, own_fields, template=templates[number % 3], path=b"/%d" % number) is None:
                break
            todo.pop(0)
        converse(client, server)
        waiting = [number for number in server.requests if number not in answered]
        rng.shuffle(waiting)
        for stream_id in waiting:
            request = server.requests[stream_id]
            if not request.ended:
                server.h2.increment_flow_control_window(rng.randrange(1, 50), stream_id)
                continue
            number = int(dict(request.fields)[b"apns-id"])
            match number % 10:
                case 7:
                    server.h2.reset_stream(
                        stream_id, h.REFUSED_STREAM if number % 20 == 7 else h.INTERNAL_ERROR
                    )
                case 8:
                    server.answer(stream_id, 503, b"x" * (number * 40), (("retry-after", "7"),))
                case digit:
                    status = [200, 200, 200, 400, 404, 410, 429, 0, 0, 500][digit]
                    server.answer(stream_id, status, b'{"reason":"x"}' if status != 200 else b"")
            answered.add(stream_id)
    seen: list[object] = []
    for request in server.requests.values():
        seen.append((sorted(request.fields), request.body))
    got: list[object] = []
    for exchange in client.opened:
        retry = header_of(exchange.header_block, b"retry-after") if exchange.status else None
        error = exchange.error and (type(exchange.error), str(exchange.error), exchange.error.unprocessed)
        got.append((exchange.status, exchange.data, retry, error, exchange in client.refused))
    return seen, got


def test_a_body_that_is_not_sent_to_its_end_is_forgotten() -> None:
    """Whether we reset the stream, the server does, or it responds at once."""
    client = ClientHarness("reference")
    client.feed(h.settings((h.MAX_STREAMS, 10), (h.INITIAL_WINDOW, 5)))
    cancelled, reset, answered = (client.request(b"x" * 10) for _ in range(3))
    connection = client.connection
    assert isinstance(connection, ReferenceConnection)
    assert connection._uploads == {1: 5, 3: 5, 5: 5}
    client.sent()
    connection.cancel(cancelled)
    assert sorted(connection._uploads) == [3, 5]
    client.feed(h.rst_stream(reset.stream_id, h.INTERNAL_ERROR))
    assert sorted(connection._uploads) == [5]
    client.feed(h.UncheckedServer().answer(answered.stream_id))
    assert connection._uploads == {}
    assert [one.stream_id for one in h.only(client.sent(), "RST_STREAM")] == [1, 5]


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=pytest.mark.slow) if seed > 1 else seed for seed in SEEDS]
)
def test_both_engines_do_the_same(seed: int) -> None:
    results = [campaign(engine, seed) for engine in ENGINES]
    assert results[0] == results[1]
    assert len(results[0][1]) == 100
