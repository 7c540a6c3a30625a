"""`pushcore campaign` and `pushcore worker`, from audience to results, over a Redis of our own."""

from __future__ import annotations

import asyncio
import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakeservers import Certificates, FakeApns, fated_token
from pushcore.cli.campaigns import campaign
from pushcore.cli.main import cli, main
from pushcore.cli.worker import worker
from pushcore.engine.journal import push_id
from tests.support.redis import BINARY, MISSING, RedisServer, free_port

_PROGRAM = """
import sys
from pushcore.cli.campaigns import campaign
from pushcore.cli.main import cli, main
from pushcore.cli.worker import worker
cli.add_command(campaign)
cli.add_command(worker)
sys.exit(main())
"""


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    if BINARY is None:
        pytest.skip(MISSING)
    server = RedisServer(tmp_path / "redis").start()
    yield server
    server.stop()


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

    async def spawn(self, *arguments: str) -> tuple[int | None, str]:
        """The same, for what needs the main thread."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _PROGRAM, *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            out, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode, out.decode()


@pytest.fixture
def pushcore(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.setitem(cli.commands, "campaign", campaign)
    monkeypatch.setitem(cli.commands, "worker", worker)
    return CommandLine(capsys)


def worker_options(fake: FakeApns, payload: Path) -> list[str]:
    return [
        *("--apns-key", fake.key_file, "--key-id", fake.key_id, "--team-id", fake.team_id),
        *(
            "--topic",
            fake.topic,
            "--apns-url",
            fake.url,
            "--ca-file",
            fake.ca_file,
            "--payload",
            str(payload),
        ),
    ]


async def test_from_audience_to_results(
    pushcore: CommandLine, redis_server: RedisServer, tmp_path: Path, certs: Certificates
) -> None:
    audience, payload, ledger = tmp_path / "a.csv", tmp_path / "p.json", str(tmp_path / "ledger")
    lines = [f"{row:064x},Name {row}" for row in range(1, 1001)]
    lines[4] = f"{fated_token('Unregistered')},Gone"
    lines[5] = "not a token,Odd"
    lines[6] = "one,two,three"
    audience.write_text("token,name\n" + "\n".join(lines) + "\n")
    payload.write_text(json.dumps({"aps": {"alert": "Hi {{name}}"}}))
    at = ["--queue", redis_server.url, "--ledger", ledger]
    make = ["campaign", "create", *at, "--name", "autumn", "--audience", str(audience), "--chunk", "100"]
    async with FakeApns(keep=2000, certs=certs) as fake:
        code, out = await pushcore(*make, "--topic", fake.topic)
        assert (code, out.strip()) == (0, "pushcore: 1000 rows in 10 chunks are on the queue")
        code, out = await pushcore(*make, "--topic", fake.topic)  # once more: nothing is put twice
        assert code == 0
        code, out = await pushcore("campaign", "status", *at)
        assert code == 0
        assert "rows       0 of 1000 have a result" in out
        assert "chunks     10 wait, 0 are with workers" in out
        work = ["worker", "--queue", redis_server.url, "--campaign", "autumn", *worker_options(fake, payload)]
        code, out = await pushcore.spawn(*[*work, "--topic", "com.example.other"])
        assert code == 2
        assert "needs topic 'com.example.app'" in out
        assert not fake.received
        ends = await asyncio.gather(
            pushcore.spawn("campaign", "run", *at), pushcore.spawn(*work), pushcore.spawn(*work)
        )
        assert [code for code, _ in ends] == [0, 0, 0], ends
        assert "1000 of 1000 rows have a result" in ends[0][1]
        results = tmp_path / "results.csv"
        assert (await pushcore("campaign", "results", "--ledger", ledger, "--results", str(results)))[0] == 0
        with results.open() as file:
            found = {int(row["row"]): row for row in csv.DictReader(file)}
        assert set(found) == set(range(1, 1001))
        assert found[5]["verdict"] == "UNREGISTERED"
        assert {found[row]["verdict"] for row in (6, 7)} == {"INVALID"}
        assert found[7]["reason"]
        assert sum(row["verdict"] == "ACCEPTED" for row in found.values()) == 997
        assert found[1]["id"] == push_id("autumn", 1)
        bodies = {each.token: json.loads(each.body)["aps"]["alert"] for each in fake.received}
        assert bodies[f"{9:064x}"] == "Hi Name 9"
        assert len(fake.received) == 998


async def test_bad_input_is_one_sentence(
    pushcore: CommandLine, redis_server: RedisServer, tmp_path: Path
) -> None:
    audience = tmp_path / "a.ndjson"
    audience.write_text('{"token": "a", "name": "x"}\n{"token": "b"}\n')
    ledger = str(tmp_path / "ledger")
    nowhere = f"redis://127.0.0.1:{free_port()}"
    make = ["campaign", "create", "--ledger", ledger, "--name", "autumn", "--audience", str(audience)]
    for arguments, words in (
        ([*make, "--queue", nowhere], "cannot be reached"),
        (
            ["campaign", "run", "--queue", redis_server.url, "--ledger", str(tmp_path / "none")],
            "there is no ledger",
        ),
        ([*make, "--queue", "http://x"], "begins with redis:// or nats://"),
        ([*make, "--queue", redis_server.url, "--chunk", "7"], "made from something else"),
    ):
        code, out = await pushcore(*arguments)
        assert (code, len(out.splitlines())) == (2, 1), out
        assert words in out
    for order, state in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        at = ["--queue", redis_server.url, "--ledger", ledger]
        assert (await pushcore("campaign", order, *at))[0] == 0
        assert f"autumn, {state}" in (await pushcore("campaign", "status", *at))[1]
