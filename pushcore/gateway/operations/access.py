"""One line of JSON for each request, its id, and its counters. Nothing that a caller wrote stands in it, but for a trace id
and a request id of the right form."""

from __future__ import annotations

import itertools
import logging
import re
import secrets
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as AsgiMessage

from ..fields import fault_of, fields_of
from ..problems import GatewayProblem
from .numbers import GatewayNumbers

access_log = logging.getLogger("pushcore.gateway.access")

OTHER: Final = "other"
REQUEST_ID: Final = b"x-request-id"
MOST_CLIENT: Final = 64
"""Characters of a client's address in a line: behind a proxy that is trusted it may be any text."""
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


class Endpoint(Protocol):
    """What `AccessLog` calls itself."""

    async def respond(self, request: Request) -> Response:
        """The response, with its whole body; no exception leaves it."""


class _Refusal:
    """Responds to a request that must not be served because of its headers."""

    def __init__(self, fault: str) -> None:
        self._fault = fault

    async def respond(self, request: Request) -> Response:
        """See `Endpoint`."""
        return GatewayProblem(400, "http", self._fault).response()


class AccessLog:
    """ASGI middleware: see the module.

    Args:
        app: serves.
        numbers: what is counted.
        paths: those that are served; any other is `OTHER`.
        enabled: whether lines are written; requests are counted in any case.
        endpoints: POST requests with these paths do not go through `app`, whose router and middleware cost more than a push.
    """

    def __init__(
        self,
        app: ASGIApp,
        numbers: GatewayNumbers,
        paths: frozenset[str],
        *,
        enabled: bool,
        endpoints: Mapping[str, Endpoint] = MappingProxyType({}),
    ) -> None:
        self._app = app
        self._paths = paths
        self._endpoints = endpoints
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
        path = scope["path"]
        if scope.get("root_path"):
            path = path.removeprefix(scope["root_path"])

        async def answer(message: AsgiMessage) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), (REQUEST_ID, id)]}
            await send(message)

        endpoint = self._endpoints.get(path) if scope["method"] == "POST" else None
        fault = fault_of(scope)
        if fault is not None:
            endpoint = _Refusal(fault)
        self._numbers.active += 1
        try:
            if endpoint is None:
                await self._app(scope, receive, answer)
            else:
                response = await endpoint.respond(Request(scope, receive))
                status = response.status_code
                headers = [*response.raw_headers, (REQUEST_ID, id)]
                await send({"type": "http.response.start", "status": status, "headers": headers})
                await send({"type": "http.response.body", "body": response.body})
        finally:
            self._numbers.active -= 1
            seconds = time.perf_counter() - started
            if path not in self._paths:
                path = OTHER
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
            "client": client[0][:MOST_CLIENT] if client else None,
            "request_id": id,
            "trace_id": trace,
        }
        access_log.info(
            orjson.dumps({name: value for name, value in line.items() if value is not None}).decode()
        )
