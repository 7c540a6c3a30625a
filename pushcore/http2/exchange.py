"""One request and its outcome: the only object that the transport makes for a push."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable
from typing import Any, TypeAlias

import hpack

from ..errors import TransportError
from .headers import Field, HeaderTemplate
from .response_headers import decode_block

MAX_HEADER_LIST = 16_384
"""What we accept as the header list of a response, announced in SETTINGS; Apple's and Google's are below 1 000."""

NO_FIELDS: tuple[Field, ...] = ()

Sink: TypeAlias = "Callable[[list[Exchange]], object]"
"""Called with exchanges that finished together. One call per exchange would cost as much as the work of most sinks."""


def deliver(finished: list[Exchange]) -> None:
    """Call the sinks of finished exchanges, once for consecutive exchanges with the same sink."""
    if not finished:
        return
    sink = finished[0].sink
    for exchange in finished:
        if exchange.sink is not sink:
            break
    else:
        sink(finished)
        return
    for sink, neighbours in itertools.groupby(finished, operator.attrgetter("sink")):
        sink(list(neighbours))


def header_of(header_block: bytes | list[Field], name: bytes) -> str | None:
    """The first value of a field in a response's header block; None when it is absent or cannot be decoded."""
    if isinstance(header_block, bytes):
        try:
            header_block = decode_block(header_block, MAX_HEADER_LIST)
        except hpack.HPACKError:
            return None
    return next((value.decode("utf-8", "replace") for key, value in header_block if key == name), None)


class Exchange:
    """A request, its stream on a connection, and its response or error.

    The request: `template`, `path` (the part after the template's path), `own_fields` (fields of this request alone) and
    `body`. `sink` is called with the exchanges that finished together and have this sink; `context` belongs to the sink.
    `deadline` is in the clock of the event loop. `attempts` counts the connections that the request was sent on,
    `connection` is the last of them, and `refusals` counts those that refused it and never gave a response (`Pool`).

    The response: `status` (0 until there is one), `header_block` (undecoded: see `header_of`; a list of fields if the
    connection had to decode it), `data` (its body). `error` is None when the response is complete.

    `request` makes an exchange. The builders, which make one for every push, set the fields themselves: a call of
    `__init__` would cost as much as all of them.
    """

    __slots__ = (
        "attempts",
        "body",
        "connection",
        "context",
        "data",
        "deadline",
        "error",
        "header_block",
        "own_fields",
        "path",
        "refusals",
        "replayed",
        "shape",
        "sink",
        "status",
        "stream_id",
        "template",
        "waiter",
    )

    template: HeaderTemplate
    path: bytes
    body: bytes
    own_fields: tuple[Field, ...]
    sink: Sink
    context: Any
    deadline: float
    attempts: int
    status: int
    data: bytes
    error: TransportError | None
    # These are unset until they have a value, and code that may run earlier reads them with `getattr` and a default. A written
    # request has `stream_id`, one from `ProviderClient.send` has `waiter`, one that was sent again after its response has
    # `replayed`, one that was refused has `refusals`. Setting defaults would cost a store for each of them per push, and a class
    # with slots cannot have class defaults.
    stream_id: int
    connection: Any  # the last `Streams` that it was sent on; this module imports no connection
    replayed: bool
    refusals: int
    header_block: bytes | list[Field]
    shape: Any  # what FCM's requests are compared by; this module imports no provider
    waiter: Any  # the future of a caller of `ProviderClient.send`; this module imports no asyncio

    def restart(self, refusals: int = 0) -> None:
        """Remove the response or error, so that the request can be sent on another connection."""
        self.attempts += 1
        self.refusals = refusals
        self.status = 0
        self.data = b""
        self.error = None


def request(
    template: HeaderTemplate,
    path: bytes,
    body: bytes,
    own_fields: tuple[Field, ...],
    sink: Sink,
    context: Any = None,
    deadline: float = math.inf,
) -> Exchange:
    """A new exchange without a response."""
    exchange = Exchange()
    exchange.template = template
    exchange.path = path
    exchange.body = body
    exchange.own_fields = own_fields
    exchange.sink = sink
    exchange.context = context
    exchange.deadline = deadline
    exchange.shape = None
    exchange.attempts = 1
    exchange.status = 0
    exchange.data = b""
    exchange.error = None
    return exchange
