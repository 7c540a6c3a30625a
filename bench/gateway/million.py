"""An endless stream of one caller: `python -m bench.gateway.million URL TOKEN`.

Over `STREAMS` connections it writes lines to `/v1/push/stream` as fast as the gateway takes them, and reads the results. It prints
"flowing" when each stream has its first results, and runs until SIGTERM; then it prints the number of result lines.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from typing import Final
from urllib.parse import urlsplit

import uvloop

from .single import PAYLOAD

STREAMS: Final = 4
"""Streams at a time: one has no more in progress than the gateway allows a stream."""
LINES: Final = 500
"""Pushes written at a time."""
FIRST_DEVICE: Final = 1 << 64
"""Other devices than those of `service_load`."""


def chunk() -> bytes:
    """Lines of pushes as one chunk of an HTTP/1.1 body."""
    lines = b"".join(
        json.dumps({"to": f"{FIRST_DEVICE + number:064x}", "payload": PAYLOAD}).encode() + b"\n"
        for number in range(LINES)
    )
    return b"%x\r\n%b\r\n" % (len(lines), lines)


class Million:
    """The streams. `results`: the number of result lines so far.

    Args:
        url: of the gateway.
        token: of the caller.
    """

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = str(parts.hostname), int(parts.port or 80)
        self._head = (
            "POST /v1/push/stream HTTP/1.1\r\nhost: x\r\n"
            f"authorization: Bearer {token}\r\ntransfer-encoding: chunked\r\n\r\n"
        ).encode()
        self.results = 0
        self._flowing = 0

    async def run(self) -> None:
        """Stream until cancelled; ends by itself only when the gateway ends a stream."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(STREAMS):
                tasks.create_task(self._stream())

    async def _stream(self) -> None:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        writing = asyncio.create_task(self._write(writer))
        try:
            await reader.readuntil(b"\r\n\r\n")
            if data := await reader.read(1 << 16):
                self._flowing += 1
                if self._flowing == STREAMS:
                    print("flowing", flush=True)
            while data:
                self.results += data.count(b'"ACCEPTED"')
                data = await reader.read(1 << 16)
            raise ConnectionError("the gateway ended a stream")
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            writer.transport.abort()

    async def _write(self, writer: asyncio.StreamWriter) -> None:
        lines = chunk()
        writer.write(self._head)
        while True:
            writer.write(lines)
            await writer.drain()


async def work(url: str, token: str) -> int:
    """Stream until SIGTERM; the number of results."""
    million = Million(url, token)
    task = asyncio.ensure_future(million.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return million.results


def main() -> None:
    """Stream, and print the number of results."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(runner.run(work(*sys.argv[1:3])))


if __name__ == "__main__":
    main()
