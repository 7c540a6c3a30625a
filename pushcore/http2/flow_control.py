"""Flow control in both directions (RFC 9113, sections 5.2 and 6.9): what we may still send, and what the peer may.

`window` is that of the connection. A body that fits into it, into the window of its stream and into one frame is sent at
once and counted by `SendBuffer.take`. Any other body is an `Upload`, sent in parts as WINDOW_UPDATE and SETTINGS allow.
"""

from __future__ import annotations

from typing import Final

from . import frames
from .frames import DATA, DEFAULT_FRAME_SIZE
from .streams import GHOST, Limits, Streams

_head = frames.HEAD.pack

QUICK: Final = 6144
"""Bytes of a body that may take the fast path: more than the 5120 of Apple's and Google's largest payloads."""


class Upload:
    """A body that is sent in parts: how much has been sent, and how much the stream may still send."""

    __slots__ = ("offset", "window")

    def __init__(self, window: int) -> None:
        self.offset = 0
        self.window = window


class FlowControl(Streams):
    """The windows of one connection and of its streams."""

    def __init__(self, limits: Limits, now: float) -> None:
        super().__init__(limits, now)
        self.window = frames.DEFAULT_WINDOW
        """What we may still send in DATA frames on this connection."""
        self._out: list[bytes] = []
        self._peer_window = frames.DEFAULT_WINDOW  # SETTINGS_INITIAL_WINDOW_SIZE
        self._peer_frame = DEFAULT_FRAME_SIZE
        self._quick = QUICK  # bodies up to this size leave in one frame
        self._uploads: dict[int, Upload] = {}
        self._credit = max(limits.receive_window, frames.DEFAULT_WINDOW)  # what the peer may still send
        self._consumed = 0  # bytes that it has sent and we have not acknowledged

    def _update_fast(self) -> None:
        """The first upload has begun or the last has ended: update whether responses may be read by the fast path."""
        raise NotImplementedError

    def _upload(self, stream_id: int) -> None:
        upload = self._uploads[stream_id]
        exchange = self.streams[stream_id]
        if exchange is GHOST:
            return
        body = exchange.body
        while True:
            size = min(len(body) - upload.offset, self.window, upload.window, self._peer_frame)
            if size <= 0:
                return
            fragment = body[upload.offset : upload.offset + size]
            upload.offset += size
            upload.window -= size
            self.window -= size
            last = upload.offset == len(body)
            self._out.append(_head(size << 8 | DATA, frames.END_STREAM if last else 0, stream_id) + fragment)
            if last:
                self._forget_upload(stream_id)
                return

    def _forget_upload(self, stream_id: int) -> None:
        if self._uploads.pop(stream_id, None) is not None:
            self._update_fast()

    # --- what the peer allows -------------------------------------------------------------------------------------

    def _set_peer_window(self, value: int) -> bool:
        """A new INITIAL_WINDOW_SIZE (section 6.9.2); False if it makes a window too large."""
        for stream_id, upload in list(self._uploads.items()):
            upload.window += value - self._peer_window  # it may become negative
            if upload.window > frames.LARGEST_WINDOW:
                return False
            self._upload(stream_id)
        self._peer_window = value
        self._quick = min(value, QUICK)
        return True

    def _on_credit(self, increment: int) -> bool:
        """WINDOW_UPDATE of the connection (section 6.9.1); False when it makes the window too large."""
        self.window += increment
        if self.window > frames.LARGEST_WINDOW:
            return False
        for stream_id in list(self._uploads):
            self._upload(stream_id)
        return True

    def _on_stream_credit(self, stream_id: int, increment: int) -> bool:
        """WINDOW_UPDATE of an open stream; False when it makes the window too large."""
        upload = self._uploads.get(stream_id)
        if upload is None:
            # Its body has been sent, so its window is not kept any more: this update is checked by itself.
            window = self._peer_window - len(self.streams[stream_id].body)
            return window + increment <= frames.LARGEST_WINDOW
        upload.window += increment
        if upload.window > frames.LARGEST_WINDOW:
            return False
        self._upload(stream_id)
        return True

    # --- what we allow --------------------------------------------------------------------------------------------

    def _return_credit(self) -> None:
        """Send WINDOW_UPDATE for what the peer has used of the connection's window."""
        self._out.append(frames.encode_window_update(0, self._consumed))
        self._credit += self._consumed
        self._consumed = 0
