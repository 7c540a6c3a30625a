"""Runs commands of the documentation against fakes."""

from __future__ import annotations

import asyncio
import csv
import os
import shlex
import sys
from pathlib import Path

from fakeservers import FakeApns
from fakeservers.fcm.server import FakeFcm

DEADLINE = 120.0
"""Seconds that say that it hangs. A journal waits for the disk, which others may keep busy."""


async def run(command: str, place: Path, apns: FakeApns, fcm: FakeFcm) -> dict[int, dict[str, str]]:
    """Run the command in `place`, with the fakes' keys for those that it names; its results by row."""
    words = shlex.split(command.replace("\\\n", " "))
    assert words[:2] == ["pushcore", "send"]
    local = {
        "AuthKey_ABC123DEFG.p8": str(apns.key_file),
        "ABC123DEFG": apns.key_id,
        "TEAM123456": apns.team_id,
        "com.example.app": apns.topic,
        "service-account.json": fcm.service_account_file,
    }
    arguments = [local.get(word, word) for word in words[2:]]
    arguments += ["--apns-url", apns.url, "--fcm-url", fcm.url, "--ca-file", str(apns.ca_file)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pushcore", "send", *arguments), cwd=place, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(DEADLINE):
        _, said = await process.communicate()
    assert process.returncode == 0, said
    with (place / "results.csv").open(newline="") as file:
        return {int(row["row"]): row for row in csv.DictReader(file)}


async def run_line(line: str, place: Path, variables: dict[str, str]) -> str:
    """What a command says on the standard output in `place`, with PUSHCORE_… in the environment; it must succeed."""
    process = await start_line(line, place, variables)
    async with asyncio.timeout(DEADLINE):
        out, said = await process.communicate()
    assert process.returncode == 0, (line, said)
    return out.decode()


async def start_line(line: str, place: Path, variables: dict[str, str]) -> asyncio.subprocess.Process:
    """The same, while it runs: in a session, and so a group of processes, of its own."""
    words = shlex.split(line, comments=True)
    assert words[0] == "pushcore"
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *words),
        cwd=place,
        env={**os.environ, **{f"PUSHCORE_{name}": value for name, value in variables.items()}},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
