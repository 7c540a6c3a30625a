"""The control port: HTTP on the fakes' own event loop, to look at them and to change them while they run.

Starlette and uvicorn (both BSD-3): of the frameworks that are kept well they bring the least along, two packages besides
what the fakes have already (h11, anyio, click), and uvicorn serves on a loop that is there, without signal handlers.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import parse_qs, urlencode

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route as StarletteRoute

from fakeservers.control.guard import COOKIE, Guard, problem_response
from fakeservers.control.live_page import PAGE, door
from fakeservers.control.meter import Meter, counters
from fakeservers.control.openapi import document
from fakeservers.control.processes import is_loopback
from fakeservers.control.prometheus import CONTENT_TYPE, exposition
from fakeservers.control.route import Route
from fakeservers.control.routes import ROUTES
from fakeservers.control.schema import Problem, check, parse, shown
from fakeservers.control.service import Calls

MAX_WATCHERS = 16
"""Pages that may look on at a time."""
MAX_CONNECTIONS = 128
IDLE = 10.0
"""Seconds for which a connection may send nothing, or less than a request."""
_FORM = "application/x-www-form-urlencoded"

Answered = dict[str, Any]
_log = logging.getLogger("fakeservers.control")


class Control:
    """The control port of some fakes, listening while its `async with` block runs.

    Args:
        calls: where calls go: the `ControlService` of this process, or the `Workers` of several.
        host: address to listen on.
        port: 0 takes a free one.
        token: what requests must prove to know; must not be empty when `host` is not loopback.
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
        self._calls = calls
        self._host = host
        self._wanted_port = port
        self._token = token
        self._meter = Meter(calls)
        app = Starlette(
            routes=list(self._routes()),
            exception_handlers={HTTPException: _http_problem, Exception: _mistake},  # type: ignore[dict-item]  # starlette's type knows no handler of one exception's subclass
        )
        open_paths = ("/", "/session")
        self._guard = Guard(
            app, names=(*names, host, socket.gethostname()), token=token, open_paths=open_paths
        )
        self._running = AsyncExitStack()
        self._server: uvicorn.Server
        self._since: dict[
            Any, tuple[Any, float]
        ] = {}  # connections at rest: their last request, and since when

    async def __aenter__(self) -> Self:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        async with AsyncExitStack() as running:
            listener = socket.create_server((self._host, self._wanted_port), family=family, backlog=64)
            running.callback(listener.close)
            self._guard.port = listener.getsockname()[1]
            await running.enter_async_context(self._meter)
            config = uvicorn.Config(
                self._guard,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level=logging.CRITICAL,  # a request that is no HTTP is the client's own affair
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
            # Not `serve()`: it would take the signals.
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

    # The table of calls as routes

    def _routes(self) -> Iterable[StarletteRoute]:
        own = {
            "state": self._state,
            "events": self._events,
            "counters": self._counters,
            "metrics": self._metrics,
            "received": self._received,
        }
        for route in ROUTES:
            path = route.path.replace("{target}", "{target:path}")  # a condition may hold a slash
            methods = [route.method]
            yield StarletteRoute(path, self._endpoint(route, own.get(route.name)), methods=methods)
        yield StarletteRoute("/", self._page, methods=["GET"])
        yield StarletteRoute("/session", self._session, methods=["POST"])
        yield StarletteRoute("/openapi.json", self._openapi, methods=["GET"])

    def _endpoint(self, route: Route, own: Any) -> Any:
        async def serve(request: Request) -> Response:
            try:
                arguments = await _arguments(route, request)
                if own is not None:
                    answer: Response = await own(request, arguments)
                    return answer
                found = await self._calls.call(route.name, arguments)
                if route.method != "GET":
                    await self._meter.look()
            except Problem as problem:
                return problem_response(problem)
            return Response(status_code=204) if route.status == 204 else _json(found, route.status)

        return serve

    async def _state(self, request: Request, arguments: Answered) -> Response:
        await self._meter.look()
        return _json(self._meter.state)

    async def _counters(self, request: Request, arguments: Answered) -> Response:
        return _json(counters(await self._calls.call("snapshot", {"notifications": 0})))

    async def _metrics(self, request: Request, arguments: Answered) -> Response:
        found = await self._calls.call("snapshot", {"notifications": 0})
        return Response(exposition(found), media_type=CONTENT_TYPE)

    async def _received(self, request: Request, arguments: Answered) -> Response:
        found = await self._calls.call("received", arguments)
        offset = arguments.get("offset", 0) + len(found["received"])
        if found["received"] and offset < found["matching"]:
            until = arguments.get("until", found["received"][0]["time"])
            query = {**arguments, "until": f"{until:.9f}", "offset": offset}
            found["next"] = f"/v1/received?{urlencode(query)}"
        return _json(found)

    async def _events(self, request: Request, arguments: Answered) -> Response:
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        if self._meter.watchers >= MAX_WATCHERS:
            raise Problem(503, f"{MAX_WATCHERS} pages look on already")
        return StreamingResponse(self._stream(), media_type="text/event-stream")

    async def _stream(self) -> AsyncIterator[bytes]:
        self._meter.watchers += 1
        try:
            await self._meter.look()
            yield b"retry: 2000\n" + _event("history", self._meter.history)
            seen = 0
            while (seen := await self._meter.next(seen)) >= 0:
                yield _event("state", self._meter.state)
        finally:
            self._meter.watchers -= 1

    # The page

    async def _page(self, request: Request) -> Response:
        page = PAGE if not self._token or self._guard.knows_token(request.headers) else door(refused=False)
        return Response(page.content, headers=page.headers, media_type="text/html")

    async def _session(self, request: Request) -> Response:
        """The page's door: a form with the token, which becomes a cookie that no script can read."""
        if request.headers.get("content-type", "").partition(";")[0].strip() != _FORM:
            return problem_response(Problem(415, f"the body is not {_FORM}"))
        try:
            given = parse_qs((await request.body()).decode(), max_num_fields=10).get("token", [""])[0]
        except ValueError:
            given = ""
        if not self._guard.is_token(given):
            page = door(refused=True)
            return Response(page.content, 401, page.headers, "text/html")
        answer = Response(status_code=303, headers={"location": "/"})
        answer.set_cookie(COOKIE, self._token, httponly=True, samesite="strict")
        return answer

    async def _openapi(self, request: Request) -> Response:
        return _json(document(self.url))

    async def _close_idle(self) -> None:
        """Close connections on which no request is being answered, and none has been for a while."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1)
            now = loop.time()
            before, self._since = self._since, {}
            for each in self._server.server_state.connections:
                cycle = getattr(each, "cycle", None)
                if cycle is None or cycle.response_complete:
                    last, since = before.get(each, (None, now))
                    self._since[each] = (cycle, since if cycle is last else now)
                    if now - self._since[each][1] > IDLE:
                        each.transport.close()


async def _arguments(route: Route, request: Request) -> Answered:
    """What a call is given by path, query and body, checked."""
    arguments = {
        name: parse(request.path_params[name], schema, name) for name, schema in route.parameters.items()
    }
    for name, text in request.query_params.multi_items():
        if name not in route.query:
            raise Problem(400, f"there is no parameter {shown(name)}, but {', '.join(route.query) or 'none'}")
        if name in arguments:
            raise Problem(400, f"{name} is there twice")
        arguments[name] = parse(text, route.query[name], name)
    if route.body is None:
        return arguments
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Problem(415, "the body must be JSON, and content-type must say application/json")
    try:
        body = orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise Problem(400, f"the body is not JSON: {shown(str(error))}") from None
    check(body, route.body, "the body")
    if route.argument:
        return {**arguments, route.argument: body}
    defaults = {name: each["default"] for name, each in route.body["properties"].items() if "default" in each}
    return {**arguments, **defaults, **body}


def _json(found: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(found), status, media_type="application/json")


def _event(name: str, found: Any) -> bytes:
    """A server-sent event; JSON has no line feeds."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(found))


async def _http_problem(request: Request, error: HTTPException) -> Response:
    """What Starlette refuses: unknown paths and methods."""
    details = {404: "there is nothing here; /openapi.json says what there is", 405: "not with this method"}
    detail = details.get(error.status_code, HTTPStatus(error.status_code).phrase)
    answer = problem_response(Problem(error.status_code, detail))
    answer.headers.update(error.headers or {})
    return answer


async def _mistake(request: Request, error: Exception) -> Response:
    _log.error("a call of the control port failed", exc_info=error)
    return problem_response(Problem(500, "this is a mistake in the fake servers"))
