"""One request at a time, for what is no stream of pushes: tokens, lists, a device's topics, channels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .exchange import NO_FIELDS, Exchange, request
from .headers import Field, HeaderTemplate
from .pool import Pool


async def ask(
    pool: Pool,
    template: HeaderTemplate,
    path: bytes,
    body: bytes,
    patience: float,
    again: Callable[[Exchange], bool] | None = None,
    tail: tuple[Field, ...] = NO_FIELDS,
) -> Exchange:
    """The finished exchange: an answer, or an `error` in the place of one. It ends within `patience` seconds.

    `again(exchange)` looks at an answer first; true means that it has sent the exchange once more. `tail`: fields of
    this request alone. Cancelled, it resets the stream and frees its slot; the server may have acted all the same.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def settle(_: list[Exchange]) -> None:
        if exchange.error is None and again is not None and again(exchange):
            return
        if not future.done():
            future.set_result(None)

    exchange = request(template, path, body, tail, settle, None, loop.time() + patience)
    pool.submit(exchange)
    try:
        await future
    except asyncio.CancelledError:
        pool.cancel(exchange)
        raise
    return exchange
