"""One request and what came of it: the only object that the transport makes for a push."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable
from typing import Any, TypeAlias

import hpack

from ..errors import TransportError
from .answers import decode_block
from .headers import Field, HeaderTemplate

MAX_HEADER_LIST = 16_384
"""What we accept as the header list of a response, announced in SETTINGS; Apple's and Google's are below 1 000."""

NO_FIELDS: tuple[Field, ...] = ()

Sink: TypeAlias = "Callable[[list[Exchange]], object]"
"""What takes exchanges that were finished together. A call for each would cost as much as what most sinks do."""


def deliver(finished: list[Exchange]) -> None:
    """Hand exchanges to their sinks, neighbours with the same sink together."""
    if not finished:
        return
    sink = finished[0].sink
    for exchange in finished:
        if exchange.sink is not sink:
            break
    else:
        sink(finished)
        return
    for sink, together in itertools.groupby(finished, operator.attrgetter("sink")):
        sink(list(together))


def header_of(block: bytes | list[Field], name: bytes) -> str | None:
    """The first value of a field in a response's `block`; None when it has none or cannot be decoded."""
    if isinstance(block, bytes):
        try:
            block = decode_block(block, MAX_HEADER_LIST)
        except hpack.HPACKError:
            return None
    return next((value.decode("utf-8", "replace") for key, value in block if key == name), None)


class Exchange:
    """A request, its place on a connection, and then its response or the error that stands for one.

    The request: `template`, `path` (what follows the template's own), `tail` (fields of this
    request alone) and `body`. `sink` is called with a list of those that were finished together and have the same sink;
    `context` is the sink's own.
    `deadline` is in the clock of the event loop. `attempts` counts the connections that it was
    handed to, `connection` is the last of them, and `refusals` how many refused it without progress (`Pool`).

    The response: `status` (0 until there is one), `block` (its header block, undecoded: see `header_of`; a list of
    fields where the connection had to decode it), `data` (its body). `error` is None when the response is complete.

    `request` makes one. Who makes one for every push sets the fields itself: to call `__init__` would cost as much as
    all of them.
    """

    __slots__ = (
        "attempts",
        "block",
        "body",
        "connection",
        "context",
        "data",
        "deadline",
        "error",
        "path",
        "refusals",
        "replayed",
        "shape",
        "sink",
        "status",
        "stream_id",
        "tail",
        "template",
        "waiter",
    )

    template: HeaderTemplate
    path: bytes
    body: bytes
    tail: tuple[Field, ...]
    sink: Sink
    context: Any
    deadline: float
    attempts: int
    refusals: int
    status: int
    data: bytes
    error: TransportError | None
    # These are set where they come to be, which saves each push as many stores.
    stream_id: int
    connection: Any  # the `Streams` that took it last; this module knows no connection
    replayed: bool
    block: bytes | list[Field]
    shape: Any  # what FCM's requests are compared by; this module knows no provider
    waiter: Any  # the future of a caller of `Sender.send`; this module knows no event loop

    def restart(self, refusals: int = 0) -> None:
        """Make it a request again, as if no response had come, for another connection to take."""
        self.attempts += 1
        self.refusals = refusals
        self.status = 0
        self.data = b""
        self.error = None


def request(
    template: HeaderTemplate,
    path: bytes,
    body: bytes,
    tail: tuple[Field, ...],
    sink: Sink,
    context: Any = None,
    deadline: float = math.inf,
) -> Exchange:
    """A new exchange without a response."""
    exchange = Exchange()
    exchange.template = template
    exchange.path = path
    exchange.body = body
    exchange.tail = tail
    exchange.sink = sink
    exchange.context = context
    exchange.deadline = deadline
    exchange.shape = None
    exchange.attempts = 1
    exchange.refusals = 0
    exchange.status = 0
    exchange.data = b""
    exchange.error = None
    return exchange
