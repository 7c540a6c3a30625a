"""Both fakes judged by h2spec (MIT), the conformance suite for HTTP/2 and HPACK; and what `FrameValidator` does by itself.

`.ci/run` installs h2spec where there is Go, by its module, `github.com/summerwind/h2spec/cmd/h2spec`.
"""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from ngh2 import Configuration, Connection, ErrorCode, RequestReceived, Role, StreamReset

from fakeservers import FakeApns, FakeFcm, FrontEndPolicy
from fakeservers.serving.frame_validator import MAX_UNENDED, PREFACE_SIZE, FrameValidator
from tests.fakeservers.faults_client import (
    DATA,
    HEADERS,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    RawClient,
    address_of,
    frame,
    goaway_of,
)

PARTS = ("generic", "http2", "hpack")
CASES = 145

LENIENT = {
    # What libnghttp2 passes over where a strict fake does not. RFC 9113 makes those of 5.1 a MAY, drops 5.3.1, and lets
    # a connection end for what is wrong with a stream (5.4.2), as libnghttp2 does in 6.9.1.
    "closed: Sends a DATA frame after sending RST_STREAM frame",
    "closed: Sends a HEADERS frame after sending RST_STREAM frame",
    "closed: Sends a DATA frame",
    "closed: Sends a HEADERS frame",
    "half closed (remote): Sends a DATA frame",
    "half closed (remote): Sends a HEADERS frame",
    # 6.1 says it once more, of DATA after END_STREAM. libnghttp2 has forgotten a stream once its answer is out, and passes
    # over DATA that comes later; where both come at once it says STREAM_CLOSED.
    'Sends a DATA frame on the stream that is not in "open" or "half-closed (local)" state',
    "Sends stream identifier that is numerically smaller than previous",
    "Sends PRIORITY frame that depend on itself",
    "Sends a PRIORITY frame with 0x0 stream identifier",
    "Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream",
}
BODILESS = {
    # These wait for a DATA frame, and the bare fake APNs never sends one; it also allows more streams than h2spec opens.
    "Sends a WINDOW_UPDATE frame on half-closed (remote) stream",
    "Sends a PRIORITY frame on half-closed (remote) stream",
    "Sends HEADERS frames that causes their advertised concurrent stream limit to be exceeded",
}


async def h2spec(fake: FakeApns | FakeFcm, report: Path, patience: int = 2) -> tuple[int, set[str]]:
    """How many cases were run, and which failed. `patience`: seconds that it waits for what does not come."""
    host, port = address_of(fake)
    process = await asyncio.create_subprocess_exec(
        *("h2spec", *PARTS, "--host", host, "--port", str(port), "--tls", "--insecure"),
        *("--timeout", str(patience), "--junit-report", str(report)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(55):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    cases = ET.fromstring(report.read_text()).findall(".//testcase")
    failed = {
        _name(case) for case in cases if case.find("failure") is not None or case.find("error") is not None
    }
    skipped = [case for case in cases if case.find("skipped") is not None]
    return len(cases) - len(skipped), failed


def _name(case: ET.Element) -> str:
    return case.get("classname") or case.get("name") or ""


needs_h2spec = pytest.mark.needs("h2spec")
both_loops = pytest.mark.parametrize("loop", ["asyncio", pytest.param("uvloop", marks=pytest.mark.uvloop)])


@needs_h2spec
@both_loops
async def test_h2spec_finds_nothing_in_the_strict_apns(loop: str, tmp_path: Path) -> None:
    async with FakeApns() as fake:
        assert await h2spec(fake, tmp_path / "report.xml") == (CASES, set())


@needs_h2spec
@both_loops
async def test_h2spec_finds_nothing_in_the_strict_fcm(loop: str, tmp_path: Path) -> None:
    # h2spec takes the first PING that it sees for the answer to its own, and Google sends one after every answer.
    async with FakeFcm(policy=FrontEndPolicy(ping=False)) as fake:
        assert await h2spec(fake, tmp_path / "report.xml") == (CASES, set())


@needs_h2spec
async def test_h2spec_finds_in_the_bare_fakes_what_libnghttp2_passes_over(tmp_path: Path) -> None:
    async with FakeApns("bare") as apns, FakeFcm("bare") as fcm:
        result = await asyncio.gather(
            h2spec(apns, tmp_path / "apns.xml", 2), h2spec(fcm, tmp_path / "fcm.xml", 2)
        )
    assert result[0][0] >= CASES - 10
    assert result[0][1] <= LENIENT | BODILESS
    assert result[1][0] == CASES
    assert result[1][1] <= LENIENT


# The frame validator by itself, without h2spec

BLOCK = b"\x83\x87\x84\x01\x01x"  # POST, https, /, and x for :authority
LARGEST = (2**31 - 1).to_bytes(4, "big")


def request(stream: int, *, end: bool = True) -> bytes:
    return frame(HEADERS, BLOCK, flags=5 if end else 4, stream=stream)


class Screened:
    """A server's side with a frame validator, greeted already."""

    def __init__(self, streams: int = 100) -> None:
        self.h2 = Connection(Role.SERVER, Configuration())
        self.h2.initiate_connection({3: streams})
        self.validator = FrameValidator(self.h2)
        assert self.validator.feed(PREFACE + frame(SETTINGS))
        self.h2.data_to_send()

    def end(self, data: bytes) -> int | None:
        """The code of the GOAWAY that the data leads to."""
        if self.validator.feed(data):
            return None
        sent = self.h2.data_to_send()
        while sent[3] != 7:
            sent = sent[9 + int.from_bytes(sent[:3], "big") :]
        return int.from_bytes(sent[13:17], "big")

    def requests(self) -> list[int]:
        return [event.stream_id for event in self.h2.events() if isinstance(event, RequestReceived)]


BREACHES: dict[str, tuple[bytes, ErrorCode]] = {
    "data behind its end": (request(1) + frame(DATA, b"x", stream=1), ErrorCode.STREAM_CLOSED),
    "data behind a reset": (
        request(1, end=False) + frame(RST_STREAM, bytes(4), stream=1) + frame(DATA, b"x", stream=1),
        ErrorCode.STREAM_CLOSED,
    ),
    "an id twice": (request(1) + request(3) + request(1), ErrorCode.STREAM_CLOSED),
    "an id left out": (request(1) + request(7) + request(5), ErrorCode.PROTOCOL_ERROR),
    "priority of the connection": (frame(PRIORITY, bytes(5)), ErrorCode.PROTOCOL_ERROR),
    "priority by itself": (frame(PRIORITY, b"\x80\0\0\x05\x10", stream=5), ErrorCode.PROTOCOL_ERROR),
}


@pytest.mark.parametrize("size", [1, 5, 9, 13, 1000])
@pytest.mark.parametrize("name", BREACHES)
def test_a_breach_is_seen_however_the_bytes_come(name: str, size: int) -> None:
    data, code = BREACHES[name]
    validated = Screened()
    parts = (data[at : at + size] for at in range(0, len(data), size))
    ends = (validated.end(part) for part in parts)
    assert next(end for end in ends if end is not None) == code


@pytest.mark.parametrize("size", [1, 5, 9, 13, 1000])
def test_what_is_allowed_passes_unchanged(size: int) -> None:
    validated = Screened(streams=2)
    data = (
        request(1, end=False)
        + frame(DATA, b"ab", stream=1)
        + frame(PRIORITY, b"\0\0\0\x01\x10", stream=3)
        + request(3, end=False)
        + request(5, end=False)  # one too many: refused, and still it may send what was on its way
        + frame(DATA, b"x", flags=1, stream=5)
        + frame(WINDOW_UPDATE, b"\0\0\0\x01", stream=1)
        + frame(DATA, b"", flags=1, stream=1)
        + frame(WINDOW_UPDATE, b"\0\0\0\x01", stream=1)  # of its answer
        + frame(HEADERS, b"\x10\x01a\x01b", flags=5, stream=3)  # trailers
        + frame(RST_STREAM, bytes(4), stream=3)
    )
    for at in range(0, len(data), size):
        assert validated.validator.feed(data[at : at + size])
    assert validated.requests() == [1, 3]


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_a_window_too_large_costs_its_stream_alone(size: int) -> None:
    validated = Screened()
    data = request(1) + request(3) + frame(WINDOW_UPDATE, LARGEST, stream=1) + request(5)
    for at in range(0, len(data), size):
        assert validated.validator.feed(data[at : at + size])
    assert validated.requests() == [1, 3, 5]
    sent = validated.h2.data_to_send()
    assert frame(RST_STREAM, b"\0\0\0\x03", stream=1) in sent
    assert not any(isinstance(event, StreamReset) for event in validated.h2.events())


def test_what_is_remembered_is_bounded() -> None:
    validated = Screened(streams=1)
    for stream in range(1, 2 * MAX_UNENDED + 3, 2):  # all but the first are refused
        validated.validator.feed(request(stream, end=False))
        validated.h2.data_to_send()
        validated.h2.events()
    assert len(validated.validator._unended) == MAX_UNENDED
    for stream in range(20_001, 40_001, 50):
        validated.validator.feed(request(stream))
        validated.h2.data_to_send()
        validated.h2.events()
    assert len(validated.validator._gaps) <= 100
    assert len(PREFACE) == PREFACE_SIZE


@pytest.mark.parametrize("kind", [FakeApns, FakeFcm])
async def test_a_strict_fake_says_which_rule_was_broken(kind: Any) -> None:
    async with kind() as fake, RawClient(fake) as client:
        client.send(request(1) + request(1))
        await client.to_the_end()
        assert goaway_of(client.of(7)[-1])[1] == ErrorCode.STREAM_CLOSED
        assert fake.server.counters.protocol_errors == 1
