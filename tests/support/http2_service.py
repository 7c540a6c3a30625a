"""A small HTTP/2 service over TLS for tests: an asynchronous function responds to each request. `asgi` makes one of an application."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fakeservers.certs import Certificates
from fakeservers.serving.h2server import H2Server
from fakeservers.serving.types import Handler, Request

Response = tuple[int, dict[str, str], bytes]
Respond = Callable[[str, dict[str, str], bytes], Awaitable[Response]]
"""`respond(path, headers, body)`: status, headers and body."""


class Http2Service:
    """Serves on a port of its own, in `async with`. `received`: path and body of each request."""

    def __init__(self, respond: Respond, directory: Path) -> None:
        self._respond = respond
        self._certificates = Certificates.create(directory)
        self._server = H2Server(self._open, self._certificates.server_context(), settings={0x3: 100})
        self._tasks: set[asyncio.Task[None]] = set()
        self.received: list[tuple[str, bytes]] = []

    @property
    def url(self) -> str:
        """Its address."""
        return f"https://localhost:{self._server.port}"

    @property
    def ca_file(self) -> str:
        """The CA that clients must trust."""
        return str(self._certificates.ca_file)

    async def __aenter__(self) -> Self:
        await self._server.start("127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.close()

    def _open(self, peer: Any) -> Handler:
        def handle(requests: list[Request]) -> Sequence[Any]:
            for request in requests:
                task = asyncio.get_running_loop().create_task(self._serve(peer, request))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            return ()

        return handle

    async def _serve(self, peer: Any, request: Request) -> None:
        stream_id, fields, body = request
        headers = {name.decode(): value.decode() for name, value in fields}
        self.received.append((headers[":path"], body))
        status, more, data = await self._respond(headers[":path"], headers, body)
        answer = [(b":status", b"%d" % status)]
        answer += [(name.encode(), value.encode()) for name, value in more.items()]
        peer.give([(stream_id, answer, data)])


def asgi(application: Any) -> Respond:
    """The responses of an ASGI application."""

    async def respond(path: str, headers: dict[str, str], body: bytes) -> Response:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        plain, _, query = path.partition("?")
        fields = [(name.encode(), value.encode()) for name, value in headers.items() if name[0] != ":"]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "2",
            "method": headers[":method"],
            "scheme": "https",
            "path": plain,
            "raw_path": plain.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"host", headers[":authority"].encode()), *fields],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 1),
            "state": {},
        }
        await application(scope, receive, send)
        answer = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], answer, b"".join(message.get("body", b"") for message in sent[1:])

    return respond
