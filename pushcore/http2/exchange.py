"""One request and what came of it: the only object that the transport makes for a push."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hpack

from ..errors import TransportError
from .headers import Field, Template, decode_block

MAX_HEADER_LIST = 16_384
"""What we accept as the header list of an answer, announced in SETTINGS; Apple's and Google's are below 1 000."""

NO_FIELDS: tuple[Field, ...] = ()


class Exchange:
    """A request, its place on a connection, and then its answer or the error that stands for one.

    The request: `template`, `path` (already an HPACK literal, see `headers.path_literal`), `tail` (fields of this
    request alone) and `body`. `sink` is called with the exchange when it is finished; `context` is the sink's own.
    `deadline` is in the clock of the event loop. `attempts` counts the connections that it was
    handed to.

    The answer: `status` (0 until there is one), `block` (its header block, undecoded; a list of fields where the
    connection had to decode it), `data` (its body). `error` is None when the answer is complete.
    """

    __slots__ = (
        "attempts",
        "block",
        "body",
        "context",
        "data",
        "deadline",
        "error",
        "path",
        "replayed",
        "sink",
        "status",
        "stream_id",
        "tail",
        "template",
    )

    def __init__(
        self,
        template: Template,
        path: bytes,
        body: bytes,
        tail: tuple[Field, ...],
        sink: Callable[[Exchange], object],
        context: Any = None,
        deadline: float = float("inf"),
    ) -> None:
        self.template = template
        self.path = path
        self.body = body
        self.tail = tail
        self.sink = sink
        self.context = context
        self.deadline = deadline
        self.attempts = 1
        self.status = 0
        self.data = b""
        self.error: TransportError | None = None
        # These three are set where they come to be, which saves each push three stores.
        self.stream_id: int
        self.replayed: bool
        self.block: bytes | list[Field]

    def fields(self) -> list[Field]:
        """The answer's header fields, decoded now; empty when there are none or they cannot be decoded."""
        try:
            block = self.block
        except AttributeError:
            return []
        if isinstance(block, bytes):
            try:
                block = self.block = decode_block(block, MAX_HEADER_LIST)
            except hpack.HPACKError:
                block = self.block = []
        return block

    def header(self, name: bytes) -> str | None:
        """The first value of one of the answer's fields, or None."""
        for key, value in self.fields():
            if key == name:
                return value.decode("utf-8", "replace")
        return None

    def restart(self) -> None:
        """Make it a request again, as if nothing had been answered, for another connection to take."""
        self.attempts += 1
        self.status = 0
        self.data = b""
        self.error = None
