"""Access control of the control port: ASGI middleware that rejects requests of other web pages.

A browser sends requests to a port of this machine for any web page. This is prevented: the `Host` header must
name this server (against DNS rebinding), `Origin` and `Sec-Fetch-Site` must not name another page, a body must be JSON
(which no form sends), there are no CORS headers, and away from loopback a token is needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import Any

import orjson
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fakeservers.control.problem import Problem, shown

MAX_BODY = 2_097_152
"""Bytes of a request's body: ten thousand devices need less."""
MOST_DISCARDED = 16 * MAX_BODY
"""Bytes of a too large body that are read nevertheless, and seconds for that."""
DISCARD_SECONDS = 1.0
BODY_SECONDS = 10.0
"""Seconds to wait for a body."""
COOKIE = "fakeservers"
PROBLEM_TYPE = "application/problem+json"

SAFE_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""Headers of every response, unless it has its own."""


class Guard:
    """Passes on permitted requests and answers others with a problem document.

    Args:
        app: what serves.
        names: host names of this server besides `localhost` and any IP address.
        token: the token that every request must have; empty for none.
        open_paths: paths without a token: the page asks for it itself.
    """

    def __init__(self, app: ASGIApp, *, names: Iterable[str], token: str, open_paths: Iterable[str]) -> None:
        self._app = app
        self._names = {"localhost", *(name.lower() for name in names)}
        self._token = token
        self._open_paths = frozenset(open_paths)
        self.port = 0
        """The port that a `Host` must name; set when it is known."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}
                more = ((name.encode(), value.encode()) for name, value in SAFE_HEADERS.items())
                message["headers"] = [
                    *message["headers"],
                    *(header for header in more if header[0] not in present),
                ]
            await send(message)

        try:
            self._check(scope, headers)
            body: bytes | None = await _body(headers, receive)
        except Problem as problem:
            await problem_response(problem)(scope, receive, send_safely)
            return

        async def receive_again() -> Message:
            nonlocal body
            if body is None:
                return await receive()
            message, body = {"type": "http.request", "body": body, "more_body": False}, None
            return message

        await self._app(scope, receive_again, send_safely)

    def _check(self, scope: Scope, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_own_host(hosts[0]):
            raise Problem(421, f"the Host header {shown(', '.join(hosts))} does not name this server")
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{hosts[0]}":
            raise Problem(403, f"requests of {shown(origin)} are not served here")
        site = headers.get("sec-fetch-site", "none")
        if site not in ("none", "same-origin"):
            # Another page may link to our page, and to nothing else.
            navigates = headers.get("sec-fetch-mode") == "navigate" and scope["method"] in ("GET", "HEAD")
            if not navigates or scope["path"] != "/":
                raise Problem(403, "requests of other pages are not served here")
        if self._token and scope["path"] not in self._open_paths and not self.knows_token(headers):
            raise Problem(401, "the token is missing or wrong")

    def knows_token(self, headers: Headers) -> bool:
        """Whether a request has the token, in `Authorization: Bearer` or the page's cookie."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.is_token(given.strip())
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and self.is_token(cookie.value)

    def is_token(self, given: str) -> bool:
        """Whether this is the token, compared in constant time."""
        return not self._token or hmac.compare_digest(given.encode(), self._token.encode())

    def _is_own_host(self, host: str) -> bool:
        """Whether a `Host` is an IP address, which no DNS can rebind, or one of the names, with our port."""
        name, colon, port = host.rpartition(":")
        if not colon or "]" in port:
            name, port = host, "80"
        if port != str(self.port):
            return False
        try:
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return name.lower() in self._names
        return True


async def _body(headers: Headers, receive: Receive) -> bytes:
    """All of a request's body."""
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > MAX_BODY:
        if length.isdigit() and int(length) <= MOST_DISCARDED:
            await _discard(receive)
        raise Problem(413, f"a body has at most {MAX_BODY} bytes")
    if length == "0" and "transfer-encoding" not in headers:
        return b""
    parts = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise Problem(408, "the body did not come")
                parts += message.get("body", b"")
                if len(parts) > MAX_BODY:
                    raise Problem(413, f"a body has at most {MAX_BODY} bytes")
                if not message.get("more_body"):
                    return bytes(parts)
    except TimeoutError:
        raise Problem(408, f"the body did not come within {BODY_SECONDS:.0f} seconds") from None


async def _discard(receive: Receive) -> None:
    """Read a body that is too large: a client that is still sending when the connection closes may not get the response."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_SECONDS):
            more = True
            while more:
                message = await receive()
                more = message["type"] == "http.request" and message.get("more_body", False)


def problem_response(problem: Problem) -> Response:
    """A problem as RFC 9457 has it."""
    content: Mapping[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
    }
    headers = {"www-authenticate": "Bearer"} if problem.status == 401 else {}
    if problem.status in (408, 413):  # do not wait for the rest of the body
        headers["connection"] = "close"
    return Response(orjson.dumps(content), problem.status, headers, PROBLEM_TYPE)
