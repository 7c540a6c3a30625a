"""Reads a golden conversation as a server would, by hyperframe and hpack, and keeps the server's own books.

It shares no code with the connection: it knows the frames' layout from hyperframe, header blocks from hpack, and what
RFC 9113 lets a client send from the SETTINGS and WINDOW_UPDATE frames of the peer.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import hpack
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.golden.pushes import Case
from tests.golden.talk import AUTHORIZATION, Raw, frames_of

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def review(text: str, cases: Iterable[Case], unsent: int = 0) -> None:
    """Fail unless a conversation keeps to the RFCs and has the requests of these pushes, but for the last `unsent`."""
    judge = Judge()
    judge.read(text)
    judge.check(cases, unsent)


@dataclass
class Seen:
    """A request as it arrived."""

    fields: list[tuple[str, str]]
    authorization: str | None
    body: bytes = b""
    complete: bool = False
    reset: bool = False


@dataclass
class Judge:
    """The server's side of one connection. Assertions fail where the client breaks a rule."""

    requests: dict[int, Seen] = field(default_factory=dict)
    _decoder: hpack.Decoder = field(default_factory=hpack.Decoder)
    _window: int = 65_535
    _stream_window: int = 65_535
    _frame_size: int = 16_384
    _streams: int = 1 << 31
    _open: set[int] = field(default_factory=set)
    _windows: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    _acks: int = 0
    _authorization: str | None = None
    _going: int = 1 << 31

    def check(self, cases: Iterable[Case], unsent: int = 0) -> None:
        """Whether the requests are those of the pushes, in their order; the last `unsent` ones never left."""
        wanted = [case for case in cases if case.fields is not None]
        assert len(self.requests) == len(wanted) - unsent
        for request, case in zip(self.requests.values(), wanted, strict=False):
            _check(request, case)

    def read(self, text: str) -> None:
        """Take a whole conversation."""
        started = False
        for raw in frames_of(text):
            if raw.kind == "PREFACE":
                assert (started, raw.ours, raw.data) == (False, True, PREFACE)
                started = True
                continue
            assert started or raw.kind == AUTHORIZATION, "the preface comes first (RFC 9113, section 3.4)"
            if raw.kind == AUTHORIZATION:
                self._authorization = raw.data.decode()
            elif raw.ours:
                self._from_client(_parsed(raw))
            else:
                self._from_server(_parsed(raw))
        assert self._acks == 0, "SETTINGS without an acknowledgement"
        for stream_id, request in self.requests.items():
            credit = min(self._window, self._windows[stream_id])
            assert request.complete or request.reset or credit <= 0, "a body waits although there is credit"

    def _from_server(self, frame: Frame) -> None:
        match frame:
            case SettingsFrame() if "ACK" not in frame.flags:
                self._acks += 1
                values = frame.settings
                if SettingsFrame.HEADER_TABLE_SIZE in values:
                    self._decoder.max_allowed_table_size = values[SettingsFrame.HEADER_TABLE_SIZE]
                self._streams = values.get(SettingsFrame.MAX_CONCURRENT_STREAMS, self._streams)
                self._frame_size = values.get(SettingsFrame.MAX_FRAME_SIZE, self._frame_size)
                initial = values.get(SettingsFrame.INITIAL_WINDOW_SIZE, self._stream_window)
                for stream_id in self._windows:
                    self._windows[stream_id] += initial - self._stream_window
                self._stream_window = initial
            case WindowUpdateFrame() if frame.stream_id:
                self._windows[frame.stream_id] += frame.window_increment
            case WindowUpdateFrame():
                self._window += frame.window_increment
            case HeadersFrame() | DataFrame() if "END_STREAM" in frame.flags:
                self._open.discard(frame.stream_id)
            case RstStreamFrame():
                self._open.discard(frame.stream_id)
            case GoAwayFrame():
                self._going = frame.last_stream_id
                self._open = {each for each in self._open if each <= frame.last_stream_id}

    def _from_client(self, frame: Frame) -> None:
        assert frame.body_len <= self._frame_size
        match frame:
            case SettingsFrame() if "ACK" in frame.flags:
                self._acks -= 1
            case HeadersFrame():
                stream_id = frame.stream_id
                assert stream_id == max(self.requests, default=-1) + 2, "streams are not opened one by one"
                assert self._going == 1 << 31, "a request after GOAWAY"
                assert "END_HEADERS" in frame.flags
                fields = [(str(name), str(value)) for name, value in self._decoder.decode(frame.data)]
                self.requests[stream_id] = Seen(
                    fields, self._authorization, complete="END_STREAM" in frame.flags
                )
                self._windows[stream_id] = self._stream_window
                self._open.add(stream_id)
                assert len(self._open) <= self._streams, "more streams than the peer allows"
            case DataFrame():
                request = self.requests[frame.stream_id]
                assert not request.complete
                assert not request.reset
                self._window -= frame.flow_controlled_length
                self._windows[frame.stream_id] -= frame.flow_controlled_length
                assert self._window >= 0
                assert self._windows[frame.stream_id] >= 0 or not frame.data
                request.body += frame.data
                request.complete = "END_STREAM" in frame.flags
            case RstStreamFrame():
                self.requests[frame.stream_id].reset = True
                self._open.discard(frame.stream_id)


def _parsed(raw: Raw) -> Frame:
    frame, length = Frame.parse_frame_header(memoryview(raw.data[:9]))
    frame.parse_body(memoryview(raw.data[9:]))
    frame.body_len = length
    return frame


def _check(request: Seen, case: Case) -> None:
    names = [name for name, _ in request.fields]
    assert len(names) == len(set(names)), "a field is there twice"
    pseudo = [name.startswith(":") for name in names]
    assert pseudo == sorted(pseudo, reverse=True), "pseudo-header fields come first (RFC 9113, section 8.3)"
    assert not any(name != name.lower() for name in names)
    wanted = dict(case.fields or {})
    if request.authorization is not None:
        wanted["authorization"] = request.authorization
    assert dict(request.fields) == wanted
    body = case.body if isinstance(case.body, bytes) else None
    if not request.complete:
        assert body is not None, "only a body of given bytes is sent in part here"
        assert body.startswith(request.body)
    elif body is not None:
        assert request.body == body
    else:
        assert json.loads(request.body) == case.body
