"""The control port: HTTP on the fakes' own event loop, to inspect and change them while they run.

uvicorn (BSD-3) serves it, on a running loop and without signal handlers.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any, Self
from urllib.parse import parse_qs

import uvicorn
from starlette.requests import Request
from starlette.responses import Response

from fakeservers.control.app import make_app
from fakeservers.control.calls import Fakes
from fakeservers.control.guard import COOKIE, Guard, problem_response
from fakeservers.control.live_page import PAGE, login_page
from fakeservers.control.meter import Meter
from fakeservers.control.problem import Problem
from fakeservers.control.processes import is_loopback
from fakeservers.control.service import Calls

MAX_CONNECTIONS = 128
IDLE = 10.0
"""Seconds without a complete request after which a connection is closed."""
_FORM = "application/x-www-form-urlencoded"


class Control:
    """The control port of some fakes, listening while its `async with` block runs.

    Args:
        calls: where calls go: the `ControlService` of this process, or the `ServerProcesses` of several.
        host: address to listen on.
        port: 0 takes a free one.
        token: the token that requests must have; must not be empty when `host` is not loopback.
        names: host names by which browsers may call it, besides `localhost`, `host` and any IP address.

    Raises:
        ValueError: there is no token, and other machines can reach it.
        OSError: on entering, when the address cannot be listened on.
    """

    def __init__(
        self,
        calls: Calls,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str = "",
        names: Iterable[str] = (),
    ) -> None:
        if not token and not is_loopback(host):
            raise ValueError(f"{host} can be reached from other machines: a control port there needs a token")
        self._host = host
        self._wanted_port = port
        self._token = token
        self._meter = Meter(calls)
        self._app = make_app(Fakes(calls, self._meter), with_token=bool(token))
        self._app.add_route("/", self._page, methods=["GET"], include_in_schema=False)
        self._app.add_route("/session", self._session, methods=["POST"], include_in_schema=False)
        open_paths = ("/", "/session")
        self._guard = Guard(
            self._app, names=(*names, host, socket.gethostname()), token=token, open_paths=open_paths
        )
        self._running = AsyncExitStack()
        self._server: uvicorn.Server
        self._since: dict[Any, tuple[Any, float]] = {}  # idle connections: their last request, and since when

    async def __aenter__(self) -> Self:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        async with AsyncExitStack() as running:
            listener = socket.create_server((self._host, self._wanted_port), family=family, backlog=64)
            running.callback(listener.close)
            self._guard.port = listener.getsockname()[1]
            self._app.servers = [{"url": self.url}]
            await running.enter_async_context(self._meter)
            config = uvicorn.Config(
                self._guard,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level=logging.CRITICAL,  # a request that is not HTTP is the client's mistake
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=MAX_CONNECTIONS,
                timeout_keep_alive=int(IDLE),
                timeout_graceful_shutdown=1,
                h11_max_incomplete_event_size=16_384,
            )
            config.load()
            self._server = uvicorn.Server(config)
            self._server.lifespan = config.lifespan_class(config)
            # Not `serve()`: it would install signal handlers.
            await self._server.startup(sockets=[listener])
            watch = asyncio.create_task(self._close_idle())
            running.push_async_callback(self._end, watch, listener)
            self._running = running.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._running.aclose()

    async def _end(self, watch: asyncio.Task[None], listener: socket.socket) -> None:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        await self._meter.__aexit__()  # ends the streams of events
        await self._server.shutdown(sockets=[listener])

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._guard.port}"

    # The page

    async def _page(self, request: Request) -> Response:
        page = (
            PAGE if not self._token or self._guard.knows_token(request.headers) else login_page(failed=False)
        )
        return Response(page.content, headers=page.headers, media_type="text/html")

    async def _session(self, request: Request) -> Response:
        """The login form: it sends the token, which becomes a cookie that no script can read."""
        if request.headers.get("content-type", "").partition(";")[0].strip() != _FORM:
            return problem_response(Problem(415, f"the body is not {_FORM}"))
        try:
            given = parse_qs((await request.body()).decode(), max_num_fields=10).get("token", [""])[0]
        except ValueError:
            given = ""
        if not self._guard.is_token(given):
            page = login_page(failed=True)
            return Response(page.content, 401, page.headers, "text/html")
        answer = Response(status_code=303, headers={"location": "/"})
        answer.set_cookie(COOKIE, self._token, httponly=True, samesite="strict")
        return answer

    async def _close_idle(self) -> None:
        """Close connections that have been idle for too long."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1)
            now = loop.time()
            before, self._since = self._since, {}
            for connection in self._server.server_state.connections:
                cycle = getattr(connection, "cycle", None)
                if cycle is None or cycle.response_complete:
                    last, since = before.get(connection, (None, now))
                    self._since[connection] = (cycle, since if cycle is last else now)
                    if now - self._since[connection][1] > IDLE:
                        connection.transport.close()
