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
    seconds: float,
    again: Callable[[Exchange], bool] | None = None,
    tail: tuple[Field, ...] = NO_FIELDS,
) -> Exchange:
    """The finished exchange: a response, or an `error` instead of one. It ends within `seconds`.

    `again(exchange)` is called with a response first; true means that the exchange was sent again. `tail`: fields of
    this request alone. Cancelled, it resets the stream and frees its slot; the server may have acted all the same.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def settle(_: list[Exchange]) -> None:
        if exchange.error is None and again is not None and again(exchange):
            return
        if not future.done():
            future.set_result(None)

    exchange = request(template, path, body, tail, settle, None, loop.time() + seconds)
    pool.submit(exchange)
    try:
        await future
    except asyncio.CancelledError:
        pool.cancel(exchange)
        raise
    return exchange
