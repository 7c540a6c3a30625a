"""One request and its response, for requests that are not pushes: access tokens, topics, channels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .exchange import NO_FIELDS, Exchange, request
from .headers import Field, HeaderTemplate
from .pool import Pool


async def round_trip(
    pool: Pool,
    template: HeaderTemplate,
    path: bytes,
    body: bytes,
    seconds: float,
    resend: Callable[[Exchange], bool] | None = None,
    own_fields: tuple[Field, ...] = NO_FIELDS,
) -> Exchange:
    """Send one request and wait for its response.

    If it is cancelled, it resets the stream and frees its slot; the server may have processed the request.

    Args:
        pool: the connections to the server.
        template: the fields that such requests have in common.
        path: the part after the template's path.
        body: of the request.
        seconds: the timeout.
        resend: called with a complete response; returns True if it has sent the exchange again.
        own_fields: fields of this request alone.

    Returns:
        The finished exchange, with a response or an `error`.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def settle(_: list[Exchange]) -> None:
        if exchange.error is None and resend is not None and resend(exchange):
            return
        if not future.done():
            future.set_result(None)

    exchange = request(template, path, body, own_fields, settle, None, loop.time() + seconds)
    pool.submit(exchange)
    try:
        await future
    except asyncio.CancelledError:
        pool.cancel(exchange)
        raise
    return exchange
