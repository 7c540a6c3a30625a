"""Ten thousand idle connections, and floods: the fake goes on serving others, and does not grow without bound."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import ssl
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fakeservers import FakeApns, FakeFcm
from fakeservers.faults import Shape
from tests.fakeservers.client import Client, Reply, headers_for, provider_token, soon
from tests.fakeservers.control_client import ask_now
from tests.fakeservers.faults_client import (
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)
from tests.fakeservers.faults_support import plan_of
from tests.fakeservers.fcm_client import send_body, send_headers

resource = pytest.importorskip("resource", reason="this system does not limit files as Unix does")

IDLE = 10_000
"""What docs/reference/fakeservers.md promises."""
FILES = IDLE + 500
OPENING = 100.0
"""Seconds that 10 000 handshakes may take; some 10 on a machine that does nothing else."""
A_CONNECTION = 300_000
"""Bytes of memory that an idle connection may cost; docs/reference/fakeservers.md has what it does cost."""
FLOODED = 60_000_000
"""Bytes by which floods may make the process grow, all together: 20 of them with what each may keep waiting."""


@contextlib.contextmanager
def fake_apns(place: Path, *options: str) -> Iterator[Any]:
    """The command as a process of its own: what a client needs to know, its control port and its memory."""
    command = [sys.executable, "-m", "fakeservers", "apns", "--certs", str(place), "--control-port", "0"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            while not process.stdout.readline().startswith("channels on"):
                assert process.poll() is None
            control = json.loads((place / "control.json").read_text())["url"]
            config = json.loads((place / "apns.json").read_text())
            yield SimpleNamespace(**config, control=control, pid=process.pid, process=process)
        finally:
            process.kill()


def memory(fake: Any) -> int:
    """Resident bytes."""
    status = Path(f"/proc/{fake.pid}/status").read_text()
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])


def counters(fake: Any) -> Any:
    return ask_now(fake.control, "GET", "/v1/counters").json["services"]["apns"]


async def push(fake: Any) -> Reply:
    async with await Client.connect(fake) as client:
        return await client.push(headers_for(fake, provider_token(fake)))


needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")


@contextlib.contextmanager
def files_allowed() -> Iterator[None]:
    """So many files for this process and its children; skips where the system does not let it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES:
        pytest.skip(f"no more than {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@needs_proc
@pytest.mark.timeout(240)
@pytest.mark.deadline(200)
@pytest.mark.parametrize("count", [1000, pytest.param(IDLE, marks=pytest.mark.ci)])
async def test_idle_connections_by_the_thousand(count: int, tmp_path: Path) -> None:
    with files_allowed(), fake_apns(tmp_path, "--max-connections", str(count + 100)) as fake:
        assert (await push(fake)).status == 200
        before = memory(fake)
        host, port = fake.url.removeprefix("https://").rsplit(":", 1)
        idle = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.fakeservers.idle_clients", host, port, str(count)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert idle.stdin is not None
        assert idle.stdout is not None
        try:
            async with asyncio.timeout(OPENING):
                assert await idle.stdout.readline() == b"open\n"
            assert counters(fake)["connections"] == count
            for _ in range(20):
                assert (await push(fake)).status == 200
            result = (memory(fake) - before) / count
            print(f"{result / 1000:.1f} kB for each idle connection")
            assert result < A_CONNECTION
        finally:
            idle.stdin.close()
            async with asyncio.timeout(60):
                await idle.wait()
        async with asyncio.timeout(60):
            while counters(fake)["connections"]:
                await asyncio.sleep(0.05)
        assert (await push(fake)).status == 200
        assert counters(fake)["protocol_errors"] == 0


# Floods: one pattern over and over, by a client that reads or one that does not.

PATTERNS = {
    "settings": frame(SETTINGS, b"\x00\x03\x00\x00\x00\x64" * 2),
    "settings of all kinds": frame(
        SETTINGS, bytes.fromhex("000400000000 0001ffffffff 000500ffffff".replace(" ", ""))
    ),
    "ping": frame(PING, b"12345678"),
    "priority": frame(PRIORITY, b"\0\0\0\x01\x10", stream=3),
    "window": frame(WINDOW_UPDATE, b"\0\0\0\x01"),
    "unknown frames": frame(0xFA, b"x" * 50),
}
TIMES = 50_000


def resets() -> bytes:
    """Requests that are taken back at once."""
    block = b"\x83\x87\x84\x01\x01x"
    return b"".join(
        frame(HEADERS, block, flags=4, stream=stream) + frame(RST_STREAM, b"\0\0\0\x08", stream=stream)
        for stream in range(1, 2 * TIMES, 2)
    )


async def flood(fake: Any, data: bytes, *, reads: bool) -> None:
    """Send it all, or as much as the server takes before it hangs up or stops reading."""
    context = ssl.create_default_context(cafile=fake.ca_file)
    context.set_alpn_protocols(["h2"])
    host, port = fake.url.removeprefix("https://").rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context, limit=2**14)

    async def read() -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            while await reader.read(65_536):
                pass

    reading = asyncio.create_task(read()) if reads else None
    try:
        with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
            writer.write(PREFACE + frame(SETTINGS))
            for at in range(0, len(data), 65_536):
                writer.write(data[at : at + 65_536])
                async with asyncio.timeout(2.0):  # nobody reads: the server has stopped, too
                    await writer.drain()
    finally:
        writer.transport.abort()
        if reading is not None:
            await reading
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()


@needs_proc
@pytest.mark.deadline(100)
async def test_floods_stop_nobody_and_leave_nothing(tmp_path: Path) -> None:
    with fake_apns(tmp_path) as fake:
        floods = {**{name: value * TIMES for name, value in PATTERNS.items()}, "resets": resets()}
        for reads in (True, False):  # what the process needs once, it has from then on
            await flood(fake, floods["settings"], reads=reads)
        assert (await push(fake)).status == 200
        before = memory(fake)
        for name, data in floods.items():
            for reads in (True, False):
                flooding = [asyncio.create_task(flood(fake, data, reads=reads)) for _ in range(2)]
                while not all(item.done() for item in flooding):
                    assert (await push(fake)).status == 200, name
                    assert memory(fake) - before < FLOODED, name
                await asyncio.gather(*flooding)
        async with asyncio.timeout(20):
            while counters(fake)["connections"]:
                await asyncio.sleep(0.02)
        assert memory(fake) - before < FLOODED / 2
        counted = counters(fake)
        assert (
            counted["streams_reset_by_client"] > 1000
        )  # and then the rest of that connection is not read any more
        assert counted["protocol_errors"] > 4  # SETTINGS and PING that nobody could acknowledge in time


@needs_proc
@pytest.mark.deadline(60)
async def test_connections_that_come_and_go_leave_nothing(tmp_path: Path) -> None:
    with fake_apns(tmp_path) as fake:
        for _ in range(50):
            await push(fake)
        before = memory(fake)
        for _ in range(400):
            await push(fake)
        assert (memory(fake) - before) / 400 < 20_000


@pytest.mark.parametrize("loop", ["asyncio", pytest.param("uvloop", marks=pytest.mark.uvloop)])
@pytest.mark.parametrize("wire", [False, True])
@pytest.mark.parametrize("kind", [FakeApns, FakeFcm])
async def test_an_ended_connection_is_gone_without_a_collection(kind: Any, wire: bool, loop: str) -> None:
    faults = plan_of(Shape(pad=1)) if wire else None
    gc.collect()
    gc.disable()
    try:
        async with kind(faults=faults) as fake:
            async with await Client.connect(fake) as client:
                if isinstance(fake, FakeApns):
                    reply = await client.push(headers_for(fake, provider_token(fake)))
                else:
                    reply = await client.push(send_headers(fake), send_body())
                assert reply.status == 200
                (peer,) = fake.server.peers
                gone = weakref.ref(peer)
                del peer
            await soon(lambda: gone() is None)
    finally:
        gc.enable()
