"""The examples of docs/reference/fakeservers-control.md do what the text says."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakeservers.control_client import scene

DOCS = Path(__file__).parents[3] / "docs"
GUIDE = (DOCS / "reference" / "fakeservers-control.md").read_text()
DEADLINE = 20


def commands() -> list[str]:
    """Every curl of the guide, in order."""
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith("curl")]


@pytest.mark.needs("curl")
async def test_the_curls_work_one_after_the_other() -> None:
    assert len(commands()) == 23
    async with scene() as running:
        await running.push()
        said: list[Any] = []
        for command in commands():
            line = f"CONTROL={running.control.url}; {command} --fail-with-body -w '\\n%{{http_code}}'"
            process = await asyncio.create_subprocess_shell(line, stdout=asyncio.subprocess.PIPE)
            async with asyncio.timeout(DEADLINE):
                out, _ = await process.communicate()
            assert process.returncode == 0, (command, out)
            body, _, status = out.decode().rpartition("\n")
            assert status in ("200", "201", "204"), (command, out)
            said.append(json.loads(body) if body.startswith("{") else body)
        assert said[0]["services"]["apns"]["requests"] == 1
        assert 'fakeservers_requests_total{service="apns"} 1' in said[1]
        assert said[2]["matching"] == 1
        assert said[9]["matching"] == 2
        assert any(isinstance(answer, dict) and answer.get("next") == 2 for answer in said)
        assert not running.fcm.next_fates  # the reset put back those of the start
        assert not running.apns.received
        assert len(running.apns.faults) == 0


def test_the_options_are_those_of_the_command() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "fakeservers", "all", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE,
    ).stdout
    assert set(re.findall(r"^\| `(--[a-z-]+)", GUIDE, re.MULTILINE)) <= set(re.findall(r"(--[a-z-]+)", said))


def test_the_fixture_of_the_guide_runs(tmp_path: Path) -> None:
    (example,) = [
        match for match in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL) if "def test_" in match
    ]
    (tmp_path / "test_it.py").write_text(
        "from pushcore import ApnsClient, ApnsKey, Notification\n"
        "import asyncio\n\n"
        "class my_sender:\n"
        "    def __init__(self, url, ca_file, key_file, key_id, team_id):\n"
        "        self.key = ApnsKey.from_file(key_file, key_id=key_id, team_id=team_id)\n"
        "        self.options = dict(topic='com.example.app', url=url, ca_file=ca_file)\n"
        "    def push(self, token):\n"
        "        async def main():\n"
        "            async with ApnsClient(self.key, **self.options) as client:\n"
        "                await client.send(Notification(token, {'aps': {'alert': 'Hi'}}))\n"
        "        asyncio.run(main())\n\n" + example
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:schemathesis",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE)
    assert "1 passed" in done.stdout, done.stdout


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pictures_are_there_and_small(scheme: str) -> None:
    picture = (DOCS / "images" / f"fakeservers-{scheme}.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(picture) < 200_000
    assert f"images/fakeservers-{scheme}.png" in GUIDE
