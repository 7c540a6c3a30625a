"""The bytes that a connection sends for given pushes and a given peer, frame by frame.

Each scenario is played once and compared with its golden text; then an independent judge reads the golden text itself,
so that a golden file cannot be wrong without a failure.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

import hpack
import pytest

from pushcore.apns.request import ApnsRequestBuilder
from pushcore.fcm.request import FcmRequestBuilder, LegacyRequestBuilder
from tests.golden.compare import ROOT, golden_names, same_as_golden
from tests.golden.judge import review
from tests.golden.pushes import (
    APNS_HOST,
    CLIENT_TOPIC,
    FCM_HOST,
    PROJECT,
    Dice,
    apns_cases,
    fcm_cases,
    large_case,
    legacy_cases,
    plain_apns_cases,
    topics_cases,
)
from tests.golden.talk import Talk
from tests.support.http2 import (
    ACK,
    INITIAL_WINDOW,
    MAX_FRAME,
    MAX_LIST,
    MAX_STREAMS,
    REFUSED_STREAM,
    TABLE_SIZE,
    data,
    goaway,
    ping,
    rst_stream,
    settings,
    window_update,
)

FIRST: Final = b"bearer eyJhbGciOiJFUzI1NiIsImtpZCI6IkFCQzEyM0RFRkcifQ.Zmlyc3Q.c2lnbmF0dXJlLW9uZQ"
SECOND: Final = b"bearer eyJhbGciOiJFUzI1NiIsImtpZCI6IkFCQzEyM0RFRkcifQ.c2Vjb25k.c2lnbmF0dXJlLXR3bw"
GOOGLE: Final = b"Bearer ya29.an-access-token"


def _apns(authorization: bytes | None = FIRST) -> Talk:
    return Talk(
        ApnsRequestBuilder(APNS_HOST, CLIENT_TOPIC, token_auth=authorization is not None), authorization
    )


def as_apple() -> Talk:
    """One stream until the first answer, then a thousand; another token; GOAWAY."""
    talk = _apns()
    talk.send(apns_cases(1, 40))
    talk.peer(settings((TABLE_SIZE, 4096), (MAX_STREAMS, 1), (MAX_LIST, 8000)))
    talk.answer([1])
    talk.peer(settings((MAX_STREAMS, 1000)))
    talk.answer_all()
    talk.authorize(SECOND)
    talk.send(apns_cases(2, 30))
    talk.answer(list(talk.connection.streams)[:15])
    last = next(iter(talk.connection.streams))
    talk.peer(goaway(last, 0, b'{"reason":"Shutdown"}'))
    talk.send(apns_cases(3, 5))
    talk.answer([last], 410, b'{"reason":"Unregistered","timestamp":1700000000000}')
    return talk


def without_a_table() -> Talk:
    """SETTINGS_HEADER_TABLE_SIZE 0."""
    talk = _apns()
    talk.peer(settings((TABLE_SIZE, 0), (MAX_STREAMS, 100)))
    talk.send(apns_cases(4, 30))
    talk.answer_all()
    talk.authorize(SECOND)
    talk.send(apns_cases(5, 10))
    return talk


def changing_tables() -> Talk:
    """The table shrinks, goes and comes back while requests are sent."""
    talk = _apns()
    talk.peer(settings((MAX_STREAMS, 100)))
    for seed, size in enumerate((4096, 256, 0, 1000, 65_536), start=10):
        talk.send(apns_cases(seed, 10))
        talk.peer(settings((TABLE_SIZE, size)))
        talk.answer_all()
    talk.peer(settings((TABLE_SIZE, 100)), settings((TABLE_SIZE, 4096)))
    talk.send(apns_cases(15, 10))
    return talk


def many_topics() -> Talk:
    """More topics than fit the table, and another token."""
    talk = _apns()
    talk.peer(settings((MAX_STREAMS, 1000)))
    talk.send(topics_cases(60))
    talk.answer_all()
    talk.authorize(SECOND)
    talk.send(topics_cases(3))
    return talk


def campaign() -> Talk:
    """A certificate, pushes that differ in token and id alone, and rejections with bodies between the answers."""
    talk = _apns(None)
    talk.peer(settings((MAX_STREAMS, 50)))
    talk.send(plain_apns_cases(20, 70))
    talk.answer(range(1, 41, 2), 400, b'{"reason":"BadDeviceToken"}')
    talk.answer_all()
    return talk


def small_windows() -> Talk:
    """Credit for a part of a body; frames of two sizes; SETTINGS that take credit back."""
    talk = _apns()
    talk.peer(settings((MAX_STREAMS, 100), (INITIAL_WINDOW, 1000)))
    talk.send([large_case(1, 4096), large_case(2, 1000)])
    talk.peer(window_update(1, 10))
    talk.peer(settings((INITIAL_WINDOW, 500)))
    talk.peer(window_update(1, 600))
    talk.peer(settings((INITIAL_WINDOW, 5000)))
    talk.answer_all()
    talk.send([large_case(3, 4000) for _ in range(17)])  # more than the connection's window
    talk.peer(window_update(0, 1))
    talk.peer(window_update(0, 10_000))
    talk.peer(settings((MAX_FRAME, 32_768), (INITIAL_WINDOW, 0)))
    talk.send(plain_apns_cases(21, 2))
    talk.peer(window_update(max(talk.connection.streams), 100))
    return talk


def troubles() -> Talk:
    """Resets by either side, an answer before its request's end, PINGs, timeouts, a header list that is too long."""
    talk = _apns()
    talk.peer(settings((MAX_STREAMS, 100)))
    talk.send(plain_apns_cases(22, 8), deadline=10.0)
    talk.peer(ping(b"are you?"), rst_stream(1, REFUSED_STREAM), rst_stream(3, 2))
    talk.connection.cancel(talk.connection.streams[5])
    talk.tick(5.5)
    talk.peer(ping(b"pushcore", ACK))
    talk.tick(10.0)
    talk.peer(settings((INITIAL_WINDOW, 100)))
    talk.send([large_case(4, 2000), large_case(5, 2000)])
    talk.answer([17], 413, b'{"reason":"PayloadTooLarge"}')
    talk.peer(settings((MAX_LIST, 200)))
    talk.send(plain_apns_cases(23, 1))
    talk.tick(4000.0)
    talk.peer(data(99))  # of a stream that was never opened
    return talk


def fcm() -> Talk:
    """Google: a table of 4096, then another access token."""
    talk = Talk(FcmRequestBuilder(FCM_HOST, PROJECT), GOOGLE)
    talk.peer(settings((MAX_STREAMS, 100), (INITIAL_WINDOW, 1_048_576), (MAX_LIST, 65_536)))
    talk.peer(window_update(0, 983_041))
    talk.send(fcm_cases(30, 50))
    talk.answer_all()
    talk.authorize(GOOGLE + b"-2")
    talk.send(fcm_cases(31, 10))
    return talk


def fcm_without_a_table() -> Talk:
    """SETTINGS_HEADER_TABLE_SIZE 0, and a project that pays."""
    talk = Talk(FcmRequestBuilder(FCM_HOST, PROJECT, "paying-project"), GOOGLE)
    talk.peer(settings((TABLE_SIZE, 0), (MAX_STREAMS, 10)))
    talk.send(fcm_cases(32, 20, "paying-project"))
    talk.answer_all()
    return talk


def legacy() -> Talk:
    """The legacy API."""
    talk = Talk(LegacyRequestBuilder(FCM_HOST), b"key=AAAA0000:server-key")
    talk.peer(settings((MAX_STREAMS, 100)))
    talk.send(legacy_cases(33, 10))
    talk.answer_all()
    return talk


SCENARIOS: Final[dict[str, tuple[Callable[[], Talk], int]]] = {
    "apns-as-apple": (as_apple, 5),  # those after GOAWAY stay
    "apns-without-a-table": (without_a_table, 0),
    "apns-changing-tables": (changing_tables, 0),
    "apns-many-topics": (many_topics, 0),
    "apns-campaign": (campaign, 0),
    "apns-small-windows": (small_windows, 0),
    "apns-troubles": (troubles, 0),
    "fcm": (fcm, 0),
    "fcm-without-a-table": (fcm_without_a_table, 0),
    "fcm-legacy": (legacy, 0),
}
"""Name, script, and how many of the last pushes are not sent."""


@cache
def played(name: str) -> Talk:
    return SCENARIOS[name][0]()


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_bytes_are_the_same(name: str) -> None:
    same_as_golden(f"wire/{name}.txt", played(name).text)


@pytest.mark.parametrize("name", SCENARIOS)
def test_an_independent_reader_finds_the_pushes_in_the_golden_bytes(name: str) -> None:
    text = (ROOT / "wire" / f"{name}.txt").read_text(encoding="utf-8")
    review(text, played(name).cases, SCENARIOS[name][1])


def test_the_reader_notices_any_changed_byte_of_a_request() -> None:
    lines = (ROOT / "wire" / "apns-as-apple.txt").read_text(encoding="utf-8").splitlines()
    dice, kind, tried = Dice(40), "", 0
    for at, line in enumerate(lines):
        if not line.startswith("  "):
            kind = line[:4]
        elif kind in ("> HE", "> DA") and dice.number(8) == 0:
            position = 2 + 2 * dice.number((len(line) - 2) // 2)
            byte = int(line[position : position + 2], 16) ^ 1
            changed = [*lines[:at], f"{line[:position]}{byte:02x}{line[position + 2 :]}", *lines[at + 1 :]]
            with pytest.raises((AssertionError, ValueError, hpack.HPACKError)):
                review("\n".join(changed), played("apns-as-apple").cases, SCENARIOS["apns-as-apple"][1])
            tried += 1
    assert tried > 20


def test_every_golden_conversation_is_played() -> None:
    assert golden_names("wire") == {f"{name}.txt" for name in SCENARIOS}
