"""`pushcore gateway` as a process, on a fake APNs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from fakeservers import FakeApns
from pushcore.gateway.callers import digest_of
from tests.support.gateway import TOKEN


def write_config(place: Path, fake: FakeApns, *, name: str = "web") -> Path:
    """A gateway.toml with the app "shop" on this fake, and a caller of `TOKEN`."""
    file = place / "gateway.toml"
    file.write_text(
        f"""
[[app]]
id = "shop"
[[app.apns]]
key = {json.dumps(str(fake.key_file))}
key-id = {json.dumps(fake.key_id)}
team-id = {json.dumps(fake.team_id)}
topics = [{json.dumps(fake.topic)}]
url = {json.dumps(fake.url)}
ca-file = {json.dumps(str(fake.ca_file))}
[[caller]]
name = "{name}"
tokens = ["{digest_of(TOKEN)}"]
concurrent = 5000
"""
    )
    return file


class Instance:
    """A gateway as a process, and its URL.

    Attributes:
        process: of the command.
        url: to send requests to.
        said: the lines of its standard error, without those of the access log.
    """

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.process = process
        self.url = url
        self.said: list[str] = []

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.url.rpartition(":")[2])

    async def read(self) -> None:
        """Read its standard error to the end."""
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            if not line.startswith(b"{"):
                self.said.append(line.decode().rstrip("\n"))


@contextlib.asynccontextmanager
async def instance(config: Path) -> AsyncIterator[Instance]:
    """A running gateway; it is killed at the end if it has not ended."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pushcore", "gateway", "--config", str(config), "--port", "0"),
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    line = (await process.stderr.readline()).decode()
    one = Instance(process, "http://" + line.rpartition(" ")[2].strip())
    reading = asyncio.create_task(one.read())
    try:
        yield one
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await reading
