"""`pushcore campaign` and `pushcore worker` in tests."""

from __future__ import annotations

import asyncio
import csv
import importlib
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from fakeservers import FakeApns, FakeFcm
from pushcore.cli.main import main

on_redis = pytest.mark.parametrize("server", ["redis"], indirect=True)
"""For what the adapters do not differ in."""


class CommandLine:
    """`pushcore` in this process, in a thread as it runs an event loop of its own, or in one of its own."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    async def __call__(self, *arguments: str) -> tuple[int | None, str]:
        """Exit status, and what it wrote."""
        self._capsys.readouterr()
        code = await asyncio.to_thread(main, arguments)
        written = self._capsys.readouterr()
        return code, written.out + written.err

    async def start(self, *arguments: str, **variables: str) -> asyncio.subprocess.Process:
        """One in a process of its own, for what needs the main thread."""
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pushcore", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **variables},
        )

    async def spawn(self, *arguments: str, **variables: str) -> tuple[int | None, str]:
        """Exit status and output of such a one."""
        process = await self.start(*arguments, **variables)
        try:
            out, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode, out.decode()


class Campaign:
    """The commands of one campaign in a directory."""

    def __init__(self, pushcore: CommandLine, url: str, place: Path, name: str = "autumn") -> None:
        self.run = pushcore
        self.place = place
        self.ledger = str(place / "ledger")
        self.at = ["--queue", url, "--ledger", self.ledger]
        self.work = ["worker", "--queue", url, "--campaign", name]
        self.make = ["campaign", "create", *self.at, "--name", name]

    async def create(self, audience: str, *more: str, **variables: str) -> str:
        """Make it; what was said."""
        run = self.run.spawn if variables else self.run
        code, out = await run(*self.make, "--audience", audience, *more, **variables)
        assert code == 0, out
        return out

    async def send(self, *workers: list[str], **variables: str) -> list[tuple[int | None, str]]:
        """Run it to its end, with these workers."""
        return await asyncio.gather(
            self.run("campaign", "run", *self.at),
            *(self.run.spawn(*self.work, *arguments, **variables) for arguments in workers),
        )

    async def results(self) -> dict[int, dict[str, str]]:
        """By row."""
        path = self.place / "results.csv"
        code, out = await self.run("campaign", "results", "--ledger", self.ledger, "--results", str(path))
        assert code == 0, out
        with path.open() as file:
            return {int(row["row"]): row for row in csv.DictReader(file)}

    async def status(self) -> str:
        """What `campaign status` says."""
        code, out = await self.run("campaign", "status", *self.at)
        assert code == 0, out
        return out


def of_apns(fake: FakeApns) -> list[str]:
    """Options of a worker that sends to this fake."""
    return [
        *("--apns-key", fake.key_file, "--key-id", fake.key_id, "--team-id", fake.team_id),
        *("--topic", fake.topic, "--apns-url", fake.url, "--ca-file", fake.ca_file),
    ]


def of_fcm(fake: FakeFcm) -> list[str]:
    return [
        *("--fcm-service-account", fake.service_account_file, "--fcm-url", fake.url),
        *("--ca-file", fake.ca_file),
    ]


def payload(place: Path, what: Any = None) -> list[str]:
    path = place / "payload.json"
    path.write_text(json.dumps(what or {"aps": {"alert": "Hi {{name}}"}}))
    return ["--payload", str(path)]


def write_audience(path: Path, count: int) -> None:
    tokens, names = [f"{row:064x}" for row in range(1, count + 1)], [f"Näme {row}" for row in range(count)]
    if path.suffix == ".parquet":
        if importlib.util.find_spec("pyarrow") is None:
            pytest.skip("pyarrow is missing: the extra pushcore[parquet]")
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
        parquet.write_table(arrow.table({"token": tokens, "name": names}), path, row_group_size=130)
        return
    rows = list(zip(tokens, names, strict=True))
    if path.suffix == ".csv":
        text = "token,name\n" + "\n".join(f'{token},"{name}\nin two lines"' for token, name in rows)
    else:
        text = "\n".join(json.dumps({"token": token, "name": name}) for token, name in rows)
    path.write_text(text)
