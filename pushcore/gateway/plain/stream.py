"""`POST /v1/push/stream`: NDJSON in, NDJSON out, for millions of pushes in one request.

    body ──▶ lines ──▶ pushes ──▶ senders ──▶ results, as they complete ──▶ response

At most `WINDOW` pushes are read ahead of the results that the client has read. If the providers are slow, or the client does
not read, the gateway stops reading the body. So a client must read while it writes.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import orjson
from starlette.requests import Request
from starlette.types import Message as AsgiMessage
from starlette.types import Receive, Scope, Send

from ...models.apns import Notification
from ...reasons import printable_word
from ...results import ACCEPTED, Result, Verdict
from ..apps import App
from ..callers import Caller
from ..door import BOM, MOST_RATIO, check_read, gateway_of, is_gzip
from ..fields import field_of
from ..gateway import Gateway
from ..idempotency import HEADER
from ..problems import GatewayProblem
from ..senders import Entry, Submissions
from .messages import BadPush, PushRequest, address, invalid, result_text
from .pushes import check

log = logging.getLogger("pushcore.gateway")

WINDOW: Final = 2048
"""Pushes of one stream between its body and its response."""
STALLED: Final = 60.0
"""Seconds without a byte of the body while nothing is in progress, or without the client reading, after which it ends."""
BURST: Final = 256
"""Lines that are read before other requests have their turn."""
_MOST_LINE_TEXT: Final = 200
_BLANK: Final = ord(" ")
_INTERNAL: Final = "internal failure of the gateway"
_decoder: Final = msgspec.json.Decoder(PushRequest)
_START: Final[AsgiMessage] = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/x-ndjson"), (b"cache-control", b"no-store")],
}


async def serve_stream(scope: Scope, receive: Receive, send: Send) -> None:
    """The endpoint, as an ASGI application."""
    request = Request(scope, receive)
    gateway = gateway_of(request)
    try:
        caller = gateway.callers.find(field_of(request, b"authorization"))
        scope["caller"] = caller.name
        if field_of(request, HEADER) is not None:
            raise GatewayProblem(
                400, "idempotency-key", "a stream does not accept an Idempotency-Key; use a batch"
            )
        check_read(scope)
        gzip = is_gzip(request)
        app = request.query_params.get("app")
        if app is not None:
            gateway.app_of(caller, app)
        caller.enter()
    except GatewayProblem as problem:
        await problem.response()(scope, receive, send)
        return
    try:
        pushes = PushStream(gateway, caller, app, receive, send, gzip=gzip)
        await pushes.run()
        scope["pushes"] = pushes.lines
    finally:
        caller.leave()


class StreamEndpoint:
    """An object, for Starlette takes functions for those of a request and a response."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See `serve_stream`."""
        await serve_stream(scope, receive, send)


class PushStream:
    """One request.

    Args:
        gateway: serves it.
        caller: whose it is.
        app: id of the app for lines that name none.
        receive, send: of ASGI.
        gzip: whether the body is compressed.
    """

    def __init__(
        self, gateway: Gateway, caller: Caller, app: str | None, receive: Receive, send: Send, *, gzip: bool
    ) -> None:
        self._gateway = gateway
        self._caller = caller
        self._app = app
        self._receive = receive
        self._send = send
        self._inflater = zlib.decompressobj(31) if gzip else None
        self._compressed = self._inflated = 0
        self._longest = gateway.config.limits.stream_line
        self._out: list[str] = []
        """Lines of the response."""
        self._apps: dict[str | None, App] = {}
        """Of the lines of one burst, by their names for them."""
        self._refs: dict[int, str] = {}
        self._in_progress = 0
        """Pushes without a result."""
        self.lines = 0
        """Those that were read."""
        self._rest = b""
        self._skipping = False
        self._ended = ""
        """Why no more lines are read."""
        self._read_all = False
        self._gone = False
        """Whether the client has gone, so that results are not read."""
        self._write_wake: asyncio.Future[None] | None = None
        self._read_wake: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Serve it to its end."""
        reading = self._loop.create_task(self._read(), name="pushcore gateway stream")
        try:
            await self._write()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    # --- results --------------------------------------------------------------------------------------------------

    def finish(self, entries: Sequence[Entry], results: Sequence[Result]) -> None:
        """See `senders.Waiter`; a key is the number of a line."""
        self._in_progress -= len(results)
        out, refs = self._out, self._refs
        for (push, key, _), result in zip(entries, results, strict=True):
            if result.verdict is ACCEPTED and type(push) is Notification and key not in refs:
                # The same as `result_text` makes: a call costs as much as the text.
                out.append(f'{{"line":{key},"verdict":"ACCEPTED","status":200,"id":"{push.apns_id}"}}')
            else:
                out.append(result_text(result, refs.pop(key, None), f'{{"line":{key},'))
        self._wake_writer()

    def _finish_line(self, number: int, result: Result) -> None:
        """The result of a line that is not sent."""
        self._in_progress -= 1
        self._out.append(result_text(result, self._refs.pop(number, None), f'{{"line":{number},'))
        self._wake_writer()

    def _wake_writer(self) -> None:
        if self._write_wake is not None:
            _wake(self._write_wake)
            self._write_wake = None

    async def _write(self) -> None:
        started = False
        while True:
            if not self._out and not (self._read_all and not self._in_progress):
                self._write_wake = self._loop.create_future()
                await self._write_wake
                self._write_wake = None
            lines, self._out = self._out, []
            done = self._read_all and not self._in_progress and not self._out
            if done:
                last: dict[str, Any] = {"done": not self._ended, "lines": self.lines}
                if self._ended:
                    last["detail"] = self._ended
                lines.append(orjson.dumps(last).decode())
            lines.append("")  # the last line has an end, too
            if self._read_wake is not None:
                _wake(self._read_wake)
            if not self._gone:
                if not started:
                    await self._send(_START)
                    started = True
                try:
                    async with asyncio.timeout(STALLED):
                        await self._send(
                            {
                                "type": "http.response.body",
                                "body": "\n".join(lines).encode(),
                                "more_body": not done,
                            }
                        )
                except (TimeoutError, OSError):
                    self._gone = True
                    self._ended = "the client does not read the results"
            if done:
                return

    # --- lines ----------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            await self._read_body()
        except GatewayProblem as problem:
            self._ended = problem.detail
        except Exception as error:
            log.error(
                "internal failure, please report it: %s", printable_word(repr(error), 300), exc_info=True
            )
            self._ended = _INTERNAL
        finally:
            self._read_all = True
            if self._write_wake is not None:
                _wake(self._write_wake)

    async def _read_body(self) -> None:
        more = True
        while more and not self._ended:
            message = await self._receive_message()
            if message["type"] == "http.disconnect":
                self._gone, self._ended = True, "the client has disconnected"
                return
            more = message.get("more_body", False)
            data = message.get("body", b"")
            for part in self._inflate(data, last=not more):
                await self._take(part)
        if not self._ended and self._rest:
            await self._take(b"\n")

    async def _receive_message(self) -> AsgiMessage:
        while True:
            try:
                async with asyncio.timeout(STALLED):
                    return await self._receive()
            except TimeoutError:
                if not self._in_progress:
                    raise GatewayProblem(
                        408, "too-slow", f"no data of the body arrived for {STALLED:g} s"
                    ) from None

    def _inflate(self, data: bytes, *, last: bool) -> Any:
        """The parts of what a chunk of the body is decompressed."""
        inflater = self._inflater
        if inflater is None:
            yield data
            return
        self._compressed += len(data)
        try:
            while data:
                part = inflater.decompress(data, 256 * 1024)
                self._inflated += len(part)
                if self._inflated > MOST_RATIO * self._compressed + 1024 * 1024:
                    raise GatewayProblem(
                        413, "too-large", "the gzip body is too large after decompression for its size"
                    )
                yield part
                if inflater.unused_data:
                    raise GatewayProblem(400, "gzip", "the gzip body is followed by other data")
                data = inflater.unconsumed_tail
        except zlib.error:
            raise GatewayProblem(
                400, "gzip", "the body is not gzip, although its Content-Encoding is gzip"
            ) from None
        if last and not inflater.eof:
            raise GatewayProblem(400, "gzip", "the gzip body is truncated")

    async def _take(self, data: bytes) -> None:
        """Send the pushes of all whole lines."""
        lines = (self._rest + data).split(b"\n") if self._rest else data.split(b"\n")
        self._rest = lines.pop()
        if not self.lines and lines:
            lines[0] = lines[0].removeprefix(BOM)
        if len(self._rest) > self._longest:
            if not self._skipping:
                self._too_long()
            self._rest, self._skipping = b"", True
        if self._skipping and lines:
            del lines[0]  # the end of the line that is too long
            self._skipping = False
        for start in range(0, len(lines), BURST):
            burst = lines[start : start + BURST]
            wait = self._caller.wait_for(len(burst))
            while wait > 0:
                await asyncio.sleep(wait)
                wait = self._caller.wait_for(len(burst))
            self._send_lines(burst)
            if self._gateway.ending:
                raise GatewayProblem(
                    503, "ending", "the gateway is stopping; send the lines after this one again"
                )
            await asyncio.sleep(0)
            while self._in_progress + len(self._out) >= WINDOW and not self._gone:
                self._read_wake = self._loop.create_future()
                if self._write_wake is not None and self._out:
                    _wake(self._write_wake)
                await self._read_wake
                self._read_wake = None

    def _too_long(self) -> None:
        self.lines += 1
        self._in_progress += 1
        self._finish_line(self.lines, invalid(f"the line is longer than {self._longest} bytes"))

    def _send_lines(self, lines: list[bytes]) -> None:
        """Send the pushes of these lines; a line that has none gets its result."""
        apps, decode = self._apps, _decoder.decode
        apps.clear()  # a reload may have replaced them
        submissions = Submissions(self._caller.name, self)
        try:
            for line in lines:
                if not line or (line[0] <= _BLANK and line.isspace()):
                    continue
                if len(line) > self._longest:
                    self._too_long()
                    continue
                self.lines = number = self.lines + 1
                self._in_progress += 1
                try:
                    request = decode(line)
                    if request.ref is not None:
                        self._refs[number] = request.ref
                    app = apps.get(request.app)
                    if app is None:
                        app = self._gateway.app_of(self._caller, request.app or self._app)
                        apps[request.app] = app
                    addressed = address(app, request)
                    if request.validate_only:
                        checked = check(addressed)
                        if isinstance(checked, Result):
                            self._finish_line(number, checked)
                            continue
                        addressed = checked
                    sender, push = addressed
                    submitted, entries = submissions[sender]
                    entries.append((push, number, submitted))
                except GatewayProblem as problem:
                    self._finish_line(number, invalid(problem.detail))
                except (BadPush, msgspec.DecodeError, RecursionError) as error:
                    detail = printable_word(str(error), _MOST_LINE_TEXT) or "the line is not JSON"
                    self._finish_line(number, invalid(detail))
                except Exception:
                    # So that the stream can end.
                    self._finish_line(number, Result(None, Verdict.UNSENT, detail=_INTERNAL))
                    raise
        finally:  # messages read before an internal error are sent
            submissions.submit()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
