"""Campaigns over a queue as docs/guides/sending.md and docs/guides/queue.md show them."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import csv
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from fakeservers import FakeApns
from fakeservers.fcm.server import FakeFcm
from pushcore.cli.main import main
from tests.docs.test_sending import ROOT, blocks, files_of, outcomes, write_files
from tests.e2e.support import client_of
from tests.support import queues
from tests.support.redis import free_port

PAGE = (ROOT / "docs" / "guides" / "queue.md").read_text()


@pytest.mark.needs("redis-server")
async def test_the_campaign_on_many_machines_runs(tmp_path: Path) -> None:
    (block,) = [block for block in blocks("sh") if "pushcore campaign" in block]
    write_files(tmp_path)
    async with FakeApns() as apns, FakeFcm(certs=apns.certs) as fcm:
        variables = files_of(tmp_path, apns, fcm)
        # Its server may not be there yet when the next line is run; a reader types more slowly.
        waits = (
            'redis-cli() { :; }\nuntil (exec 3<>"/dev/tcp/127.0.0.1/6390") 2>/dev/null; do sleep 0.05; done\n'
        )
        first, *rest = block.splitlines(keepends=True)
        script = f'pushcore() {{ "{sys.executable}" -m pushcore "$@"; }}\n{first}{waits}{"".join(rest)}'
        with (tmp_path / "said").open("wb") as said:  # no pipe, for the server would keep it open
            process = await asyncio.create_subprocess_exec(
                *("bash", "-euc", script.replace("6390", str(free_port()))),
                cwd=tmp_path,
                env={**os.environ, **{f"PUSHCORE_{name}": value for name, value in variables.items()}},
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(50.0):
                await process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the server and the workers are in it as well
            await process.wait()
    text = (tmp_path / "said").read_text()
    assert process.returncode == 0, text
    assert "rows       3 of 3 have a result" in text
    with (tmp_path / "results.csv").open(newline="") as file:
        found = {int(row["row"]): row for row in csv.DictReader(file)}
    assert outcomes(found) == [("apns", "ACCEPTED"), ("fcm", "ACCEPTED"), ("fcm", "ACCEPTED")]


def test_the_commands_exist_with_the_options_shown(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        line
        for text in (PAGE, "\n".join(blocks("sh")))
        for line in re.sub(r"\\\n", " ", text).splitlines()
        if re.match(r"pushcore (campaign|worker) ", line)
    ]
    assert len(lines) > 10
    for line in lines:
        words = line.split("#")[0].split()
        names = words[1:3] if words[1] == "campaign" else words[1:2]
        assert main([*names, "--help"]) == 0
        shown = re.findall(r"(--[a-z-]+)", capsys.readouterr().out)
        assert set(re.findall(r"(--[a-z-]+)", line)) <= set(shown), line


@pytest.mark.parametrize("kind", queues.ADAPTERS)
async def test_the_python_runs(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coordinator, worker = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[:2]
    monkeypatch.chdir(tmp_path)
    server = queues.start(kind, tmp_path / "queue")
    said: list[str] = []
    try:
        async with FakeApns() as fake:
            fake.registry.allow(fake.team_id, "com.example.app")
            rows = [{"token": f"{row:064x}"} for row in range(1200)]

            def run(code: str, **names: Any) -> Any:
                code = code.replace("redis://127.0.0.1:6379", server.url)
                compiled = compile(code, "docs/guides/queue.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
                names["print"] = lambda *words: said.append(" ".join(map(str, words)))
                return eval(compiled, names)

            async with asyncio.timeout(40):
                await asyncio.gather(run(coordinator, rows=rows), run(worker, apns=client_of(fake)))
            assert sum(fake.counts.values()) == 1200
    finally:
        server.stop()
    assert len(said) == 1200
    assert said[0].startswith(f"1 {rows[0]['token']} Verdict.ACCEPTED")


def test_every_alarm_has_a_figure() -> None:
    """The table says which of the figures of `campaign run --metrics-port` to look at; they are all there."""
    from pushcore.cli.report import campaign_metrics

    source = Path(campaign_metrics.__file__).read_text()
    named = set(re.findall(r"`(pushcore_campaign_\w+)", PAGE))
    assert len(named) > 5
    for name in named:
        assert f'"{name}"' in source, name
