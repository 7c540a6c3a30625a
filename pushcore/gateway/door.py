"""What every endpoint has in common: authentication, limits of a body, and responses to errors."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..reasons import printable_word
from .callers import Caller
from .fields import field_of
from .gateway import Gateway
from .problems import GatewayProblem

log = logging.getLogger("pushcore.gateway")

BOM: Final = b"\xef\xbb\xbf"
"""What some clients write before JSON, and servers may ignore (RFC 8259, section 8.1)."""
BODY_SECONDS: Final = 30.0
"""Seconds in which a body must have come, unless it is a stream."""
MOST_RATIO: Final = 100
"""Bytes that one byte of gzip may become: JSON becomes 5 to 20; beyond the first MiB, more is an attack."""
_FREE: Final = 1024 * 1024
SKIPPED: Final = "pushcore.skipped"
"""In the scope of a request with `Upgrade`: httptools reads no body of it."""
COMPLETE: Final = "pushcore.complete"
"""In the scope where the whole body is there already, so that no time needs to be taken."""

Handler = Callable[[Gateway, Caller, Request], Awaitable[Response]]
OnProblem = Callable[[GatewayProblem], Response]


def gateway_of(request: Request) -> Gateway:
    """The gateway that serves a request."""
    gateway: Gateway = request.scope["app"].state.gateway
    return gateway


class Guarded:
    """An endpoint of Starlette: `handler`, after authentication, with the token's caller.

    It is an ASGI application, because for a function Starlette would make a second `Request` and a second exception handler.

    Args:
        handler: makes the response; may raise `GatewayProblem`.
        anonymous: whether no token is needed: the caller is `Callers.anonymous_caller`.
        on_problem: the response to a `GatewayProblem`, and to an internal error, which is a `GatewayProblem` of status 500.
    """

    def __init__(
        self,
        handler: Handler,
        on_problem: OnProblem = GatewayProblem.response,
        *,
        anonymous: bool = False,
    ) -> None:
        self._handler = handler
        self._on_problem = on_problem
        self._anonymous = anonymous

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        response = await self.respond(Request(scope, receive))
        await response(scope, receive, send)

    async def respond(self, request: Request) -> Response:
        """The response to a request, whatever happens."""
        gateway = gateway_of(request)
        callers = gateway.callers
        try:
            if self._anonymous:
                caller = callers.anonymous_caller
            else:
                caller = callers.find(field_of(request, b"authorization"))
            request.scope["caller"] = caller.name
            caller.enter()
        except GatewayProblem as problem:
            return self._on_problem(problem)
        try:
            return await self._handler(gateway, caller, request)
        except GatewayProblem as problem:
            return self._on_problem(problem)
        except ClientDisconnect:
            return Response(status_code=400)  # the client has gone
        except Exception as error:
            log.error(
                "internal failure, please report it: %s", printable_word(repr(error), 300), exc_info=True
            )
            return self._on_problem(GatewayProblem(500, "internal", "internal failure of the gateway"))
        finally:
            caller.leave()


def is_gzip(request: Request) -> bool:
    """Whether the body is compressed. Raises `GatewayProblem` for another encoding than gzip."""
    encoding = field_of(request, b"content-encoding")
    if encoding is None or (encoding := encoding.strip().lower()) == b"identity":
        return False
    if encoding not in (b"gzip", b"x-gzip"):
        raise GatewayProblem(415, "content-encoding", "the Content-Encoding is not supported; expected gzip")
    return True


class JsonResponse(Response):
    """A response with encoded JSON. Starlette's own class reads and checks its headers each time."""

    def __init__(self, body: bytes, status: int = 200) -> None:
        self.status_code = status
        self.body = body
        self.background = None
        self.raw_headers = [
            (b"content-length", b"%d" % len(body)),
            (b"content-type", b"application/json"),
        ]


async def read_body(request: Request, limit: int) -> bytes:
    """The body of a request, decompressed, without a byte order mark.

    Args:
        request: whose body has not been read.
        limit: bytes, before and after decompression.

    Raises:
        GatewayProblem: it is too large, too slow, or has an unknown encoding.
    """
    check_read(request.scope)
    compressed = is_gzip(request)
    length = field_of(request, b"content-length") or b"0"
    if length.isdigit() and int(length[:20]) > limit:
        raise GatewayProblem(413, "too-large", f"the body is larger than {limit} bytes")
    if COMPLETE in request.scope:
        body = await _receive_body(request, limit)
    else:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _receive_body(request, limit)
        except TimeoutError:
            raise GatewayProblem(
                408, "too-slow", f"the body did not arrive within {BODY_SECONDS:g} s"
            ) from None
    if compressed:
        body = inflate(body, limit)
    return body[len(BOM) :] if body[: len(BOM)] == BOM else body


def check_read(scope: Scope) -> None:
    """Raises `GatewayProblem` if the server has not read the body because the client asked for another protocol."""
    if SKIPPED in scope:
        raise GatewayProblem(
            400,
            "upgrade",
            "the request asks for an upgrade to another protocol, so its body was not read; expected HTTP/1.1 without Upgrade "
            "(in Java: HttpClient.Version.HTTP_1_1)",
        )


async def _receive_body(request: Request, limit: int) -> bytes:
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise GatewayProblem(413, "too-large", f"the body is larger than {limit} bytes")
        chunks.append(chunk)
        more = message.get("more_body", False)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def inflate(data: bytes, limit: int) -> bytes:
    """The decompressed content of `data`; at most `limit` bytes, and at most `MOST_RATIO` times the size of `data`.

    Raises:
        GatewayProblem: it is larger, or it is not gzip.
    """
    most = min(limit, max(_FREE, MOST_RATIO * len(data)))
    inflater = zlib.decompressobj(31)
    try:
        content = inflater.decompress(data, most + 1)
    except zlib.error:
        raise GatewayProblem(
            400, "gzip", "the body is not gzip, although its Content-Encoding is gzip"
        ) from None
    if len(content) > most:
        raise GatewayProblem(413, "too-large", f"the body is larger than {most} bytes after decompression")
    if not inflater.eof or inflater.unused_data:
        raise GatewayProblem(400, "gzip", "the gzip body is truncated, or followed by other data")
    return content
