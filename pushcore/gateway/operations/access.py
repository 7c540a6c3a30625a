"""One line of JSON for each request, its id, and its counters. Nothing that a caller wrote stands in it, but for a trace id
and a request id of the right form."""

from __future__ import annotations

import itertools
import logging
import re
import secrets
import time
from typing import Final

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as AsgiMessage

from ..fields import fields_of
from .numbers import GatewayNumbers

access_log = logging.getLogger("pushcore.gateway.access")

OTHER: Final = "other"
REQUEST_ID: Final = b"x-request-id"
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_TRACEPARENT: Final = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_NO_TRACE: Final = b"0" * 32
_PROCESS: Final = secrets.token_hex(4).encode()
_numbers: Final = itertools.count(1)
"""A request's id is of the process and its number: randomness for each would be a system call."""


def trace_of(traceparent: bytes) -> str | None:
    """The trace id of a `traceparent` (W3C Trace Context), None when that is not valid."""
    match = _TRACEPARENT.fullmatch(traceparent)
    return match[1].decode() if match and match[1] != _NO_TRACE and traceparent[:2] != b"ff" else None


class AccessLog:
    """ASGI middleware: see the module.

    Args:
        app: serves.
        numbers: what is counted.
        paths: those that are served; any other is `OTHER`.
        enabled: whether lines are written; requests are counted in any case.
    """

    def __init__(
        self, app: ASGIApp, numbers: GatewayNumbers, paths: frozenset[str], *, enabled: bool
    ) -> None:
        self._app = app
        self._paths = paths
        self._numbers = numbers
        self._enabled = enabled

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        fields = fields_of(scope)
        given = fields.get(REQUEST_ID, b"")
        id = given if given and _REQUEST_ID.fullmatch(given) else b"%b%08x" % (_PROCESS, next(_numbers))
        traceparent = fields.get(b"traceparent")
        trace = None if traceparent is None else trace_of(traceparent)
        status = 500

        async def answer(message: AsgiMessage) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), (REQUEST_ID, id)]}
            await send(message)

        self._numbers.active += 1
        try:
            await self._app(scope, receive, answer)
        finally:
            self._numbers.active -= 1
            seconds = time.perf_counter() - started
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            path = path if path in self._paths else OTHER
            self._numbers.request(path, status, seconds, trace)
            if self._enabled:
                self._write(scope, path, status, seconds, id.decode(), trace)

    @staticmethod
    def _write(scope: Scope, path: str, status: int, seconds: float, id: str, trace: str | None) -> None:
        client = scope.get("client")
        line = {
            "time": round(time.time(), 3),
            "method": scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "other",
            "route": path,
            "status": status,
            "ms": round(seconds * 1000, 2),
            "caller": scope.get("caller"),
            "pushes": scope.get("pushes"),
            "client": client[0] if client else None,
            "request_id": id,
            "trace_id": trace,
        }
        access_log.info(
            orjson.dumps({name: value for name, value in line.items() if value is not None}).decode()
        )
