"""`pushcore campaign` and `pushcore worker`, from audience to results, over a queue of our own with either adapter."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import urllib.request
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fakeservers import ApnsRegistry, Certificates, FakeApns, FakeFcm, fated_token
from fakeservers.fcm.fates import fated_registration
from pushcore.journal.journal import push_id
from pushcore.queue.opening import open_queue
from tests.e2e.fcm_support import registration
from tests.e2e.queue.command_line import (
    Campaign,
    CommandLine,
    of_apns,
    of_fcm,
    on_redis,
    payload,
    write_audience,
)
from tests.e2e.support import soon
from tests.support import queues
from tests.support.redis import free_port


async def test_from_audience_to_results(campaign: Campaign, tmp_path: Path, certs: Certificates) -> None:
    audience = tmp_path / "a.csv"
    lines = [f"{row:064x},Name {row}" for row in range(1, 1001)]
    lines[4] = f"{fated_token('Unregistered')},Gone"
    lines[5] = "not a token,Odd"
    lines[6] = "one,two,three"
    audience.write_text("token,name\n" + "\n".join(lines) + "\n")
    async with FakeApns(keep=2000, certs=certs) as fake:
        for _ in range(2):  # the second time nothing is put twice
            out = await campaign.create(str(audience), "--chunk", "100", "--topic", fake.topic)
            assert out == "pushcore: 1000 rows in 10 chunks are on the queue\n"
        out = await campaign.status()
        assert "rows       0 of 1000 have a result" in out
        assert "chunks     10 wait, 0 are with workers" in out
        assert re.search(r"^oldest     \d+ s$", out, re.MULTILINE)
        assert "rate       0/s" in out
        assert "left       unknown" in out
        worker = [*of_apns(fake), *payload(tmp_path)]
        code, out = await campaign.run.spawn(*campaign.work, *worker, "--topic", "com.example.other")
        assert (code, len(out.splitlines())) == (2, 1)
        assert "needs topic 'com.example.app'" in out
        assert not fake.received
        ends = await campaign.send(worker, worker)
        assert [code for code, _ in ends] == [0, 0, 0], ends
        assert "1000 of 1000 rows have a result" in ends[0][1]
        rows = await campaign.results()
        assert set(rows) == set(range(1, 1001))
        assert rows[5]["verdict"] == "UNREGISTERED"
        assert {rows[row]["verdict"] for row in (6, 7)} == {"INVALID"}
        assert rows[7]["reason"]
        assert sum(row["verdict"] == "ACCEPTED" for row in rows.values()) == 997
        assert rows[1]["id"] == push_id("autumn", 1)
        bodies = {request.token: json.loads(request.body)["aps"]["alert"] for request in fake.received}
        assert bodies[f"{9:064x}"] == "Hi Name 9"
        assert len(fake.received) == 998
        out = await campaign.status()
        assert "rows       1000 of 1000 have a result" in out
        assert re.search(r"^rate       [1-9]\d*/s$", out, re.MULTILINE)
        assert "left       0 s" in out


@on_redis
async def test_workers_begin_at_the_time_that_they_are_told(
    campaign: Campaign, tmp_path: Path, certs: Certificates
) -> None:
    audience = tmp_path / "a.csv"
    write_audience(audience, 200)
    await campaign.create(str(audience), "--chunk", "20")
    async with FakeApns(keep=400, certs=certs) as fake:
        start = datetime.now(UTC) + timedelta(seconds=3)
        worker = [*of_apns(fake), *payload(tmp_path), "--start-at", start.isoformat()]
        ends = await campaign.send(worker)
        assert [code for code, _ in ends] == [0, 0], ends
        assert len(fake.received) == 200
        assert min(request.time for request in fake.received) >= start.timestamp()


@on_redis
async def test_a_worker_without_the_audience_or_its_column_ends_and_nothing_is_lost(
    campaign: Campaign, tmp_path: Path, certs: Certificates
) -> None:
    audience, away = tmp_path / "a.csv", tmp_path / "away.csv"
    write_audience(audience, 100)
    await campaign.create(str(audience), "--by-reference")
    async with FakeApns(keep=200, certs=certs) as fake:
        audience.rename(away)
        worker = [*of_apns(fake), *payload(tmp_path)]
        code, out = await campaign.run.spawn(*campaign.work, *worker)
        assert (code, len(out.splitlines())) == (2, 1), out
        assert "a.csv cannot be read (No such file or directory); a worker needs the audience" in out
        away.rename(audience)
        other = [*of_apns(fake), *payload(tmp_path, {"aps": {"alert": "{{surname}}"}})]
        code, out = await campaign.run.spawn(*campaign.work, *other)
        assert (code, len(out.splitlines())) == (2, 1), out
        assert "'{{surname}}' in " in out
        assert not fake.received
        ends = await campaign.send([*of_apns(fake), *payload(tmp_path)])
        assert [code for code, _ in ends] == [0, 0], ends
        assert len(fake.received) == 100


# --- both providers ---------------------------------------------------------------------------------------------------


async def test_a_campaign_for_both_providers(campaign: Campaign, tmp_path: Path, certs: Certificates) -> None:
    audience = tmp_path / "a.csv"
    lines = []
    for row in range(1, 401):
        lines.append(f"{row:064x},Ada" if row % 2 else f"{registration(row)},Bob")
    lines[9] = f"{fated_registration('Unregistered')},Gone"
    lines[10] = "ExponentPushToken[x],Odd"
    audience.write_text("\n".join(["token,name", *lines]))
    message = {"title": "Hello {{name}}", "data": {"screen": "inbox"}}
    async with FakeApns(keep=1000, certs=certs) as apns, FakeFcm(keep=1000, certs=certs) as fcm:
        needs = ("--topic", apns.topic, "--team-id", apns.team_id, "--fcm-project", fcm.project_id)
        await campaign.create(str(audience), "--chunk", "50", *needs)
        worker = [*of_apns(apns), *of_fcm(fcm), *payload(tmp_path, message)]
        for lacking in ([*of_apns(apns)], [*of_apns(apns), *of_fcm(fcm), "--fcm-project", "another"]):
            code, out = await campaign.run.spawn(*campaign.work, *lacking, *payload(tmp_path, message))
            assert (code, len(out.splitlines())) == (2, 1), out
            assert "fcm" in out
        assert not apns.received
        ends = await campaign.send(worker, worker)
        assert [code for code, _ in ends] == [0, 0, 0], ends
        rows = await campaign.results()
        assert Counter((row["platform"], row["verdict"]) for row in rows.values()) == {
            ("apns", "ACCEPTED"): 199,
            ("fcm", "ACCEPTED"): 199,
            ("fcm", "UNREGISTERED"): 1,
            ("", "INVALID"): 1,
        }
        assert rows[10]["drop_token"] == "yes"
        assert len(apns.received) == 199
        sent = [
            json.loads(request.body)["message"] for request in fcm.received if "messages:send" in request.path
        ]
        assert {message["data"]["title"] for message in sent} == {"Hello Bob", "Hello Gone"}
        assert len(sent) == 200


@on_redis
async def test_a_wrong_project_stops_the_whole_campaign(
    campaign: Campaign, tmp_path: Path, certs: Certificates
) -> None:
    audience = tmp_path / "a.csv"
    bad = fated_registration("SenderIdMismatch")
    audience.write_text("\n".join(["token,name", *[f"{bad},Bob"] * 6000]))
    async with FakeFcm(keep=7000, certs=certs, delay=0.02) as fcm:
        await campaign.create(str(audience), "--chunk", "50")
        message = payload(tmp_path, {"message": {"data": {"title": "Hi {{name}}"}}})
        worker = [*of_fcm(fcm), *message, "--window", "200", "--rate", "none"]
        (code, out), *workers = await campaign.send(worker, worker)
        assert [code for code, _ in workers] == [3, 3], workers
        for _, stderr in workers:
            assert "the campaign is stopped" in stderr
            assert "SENDER_ID_MISMATCH" in stderr
        assert code == 1
        sent = sum("messages:send" in request.path for request in fcm.received)
        assert sent < 4000
        # What was answered has a result, and nothing else.
        assert f"{sent} of 6000 rows have a result" in out
        assert f"fcm        MISCONFIGURED SENDER_ID_MISMATCH {sent}" in await campaign.status()
        assert "stopped    " in await campaign.status()
        (code, out), *_ = await campaign.send(worker)  # a new worker learns of it before it sends
        assert sum("messages:send" in request.path for request in fcm.received) == sent


# --- settings and metrics ---------------------------------------------------------------------------------------------


async def test_settings_come_from_a_file_and_the_environment_and_metrics_are_served(
    pushcore: CommandLine, tmp_path: Path, certs: Certificates
) -> None:
    pytest.importorskip("prometheus_client")
    server = queues.start("redis", tmp_path / "queue")
    write_audience(tmp_path / "a.csv", 300)
    payload(tmp_path)
    try:
        async with FakeApns(keep=1000, certs=certs, delay=0.01) as fake:
            settings = {
                "apns-key": "key.p8",
                "key-id": fake.key_id,
                "team-id": fake.team_id,
                "apns-url": fake.url,
                "ca-file": str(fake.ca_file),
                "payload": "payload.json",
                "topic": "com.example.other",
                "audience": "a.csv",
                "ledger": "ledger",
                "name": "autumn",
                "campaign": "autumn",
                "chunk": 50,
                "by-reference": True,
            }
            (tmp_path / "key.p8").write_bytes(Path(fake.key_file).read_bytes())
            lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
            profile = ["[profile.fake]", f'topic = "{fake.topic}"', "window = 20"]
            config = tmp_path / "pushcore.toml"
            config.write_text("\n".join(["[send]", *lines, *profile]))
            chosen = ("--config", str(config), "--profile", "fake")
            variables = {"PUSHCORE_QUEUE": server.url}
            code, out = await pushcore.spawn("campaign", "create", *chosen, **variables)
            assert (code, out) == (0, "pushcore: 300 rows in 6 chunks are on the queue\n")
            worker = await pushcore.start(
                "worker", *chosen, "--metrics-port", "0", "--rate", "100/s", **variables
            )
            collector = await pushcore.start("campaign", "run", *chosen, "--metrics-port", "0", **variables)
            try:
                metrics_read = [await metrics(process) for process in (worker, collector)]
                ends = [await process.communicate() for process in (worker, collector)]
            finally:
                for process in (worker, collector):
                    if process.returncode is None:
                        process.kill()
                        await process.wait()
            assert (worker.returncode, collector.returncode) == (0, 0), ends
            assert 'pushcore_sent_total{outcome="ACCEPTED",provider="apns"' in metrics_read[0]
            assert "pushcore_campaign_rows 300.0" in metrics_read[1]
            assert 'pushcore_campaign_chunks{state="waiting"}' in metrics_read[1]
            assert len(fake.received) == 300
    finally:
        server.stop()


async def metrics(process: asyncio.subprocess.Process) -> str:
    """What a command answers at the port that it names, as soon as something was sent."""
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    match = re.search(r"metrics at (http://\S+)", line)
    assert match is not None, line

    def read() -> str:
        with urllib.request.urlopen(match[1], timeout=5) as response:
            text: str = response.read().decode()
            return text

    while True:
        text = await asyncio.to_thread(read)
        if "ACCEPTED" in text or re.search(r"rows_done [1-9]", text):
            return text
        await asyncio.sleep(0.05)


# --- bad input --------------------------------------------------------------------------------------------------------


async def test_bad_input_is_one_sentence(campaign: Campaign, server: queues.Server, tmp_path: Path) -> None:
    audience = tmp_path / "a.ndjson"
    audience.write_text('{"token": "a", "name": "x"}\n{"token": "b"}\n')
    nowhere = f"{server.url.split(':')[0]}://127.0.0.1:{free_port()}"
    make = [
        "campaign",
        "create",
        "--ledger",
        campaign.ledger,
        "--name",
        "autumn",
        "--audience",
        str(audience),
    ]
    changed = [argument if argument != campaign.ledger else str(tmp_path / "other") for argument in make]
    for arguments, words in (
        ([*make, "--queue", nowhere], "cannot be reached"),
        (
            ["campaign", "run", "--queue", server.url, "--ledger", str(tmp_path / "none")],
            "there is no ledger",
        ),
        ([*make, "--queue", "http://x"], "begins with redis:// or nats://"),
        ([*make, "--queue", server.url, "--chunk", "7"], "with another audience or other settings"),
        ([*make, "--queue", server.url], ""),
        ([*make, "--queue", server.url, "--by-reference"], "with another audience or other settings"),
        ([*changed, "--queue", server.url, "--chunk", "3"], "another campaign with the name autumn"),
    ):
        code, out = await campaign.run(*arguments)
        assert (code, len(out.splitlines())) == (2 if words else 0, 1), out
        assert words in out
    for order, state in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        assert (await campaign.run("campaign", order, *campaign.at))[0] == 0
        assert f"autumn, {state}" in await campaign.status()


@on_redis
async def test_a_ledger_that_is_removed_ends_the_run_and_a_new_one_is_refused(
    campaign: Campaign, tmp_path: Path
) -> None:
    audience = tmp_path / "a.csv"
    audience.write_text("token\n" + "".join(f"{row:064x}\n" for row in range(100)))
    await campaign.create(str(audience), "--chunk", "50")
    running = await campaign.run.start("campaign", "run", *campaign.at)
    await soon(lambda: Path(f"{campaign.ledger}-shm").exists())
    os.unlink(campaign.ledger)
    out, _ = await running.communicate()
    assert (running.returncode, "was removed or renamed while it was written" in out.decode()) == (1, True)
    assert "rows       0 of 100 have a result" in await campaign.status()
    os.unlink(campaign.ledger)
    code, text = await campaign.run(*campaign.make, "--audience", str(audience), "--chunk", "50")
    assert (code, len(text.splitlines())) == (2, 1)
    assert "the queue has the campaign autumn already" in text


async def test_a_chunk_that_cannot_be_read_is_set_aside_and_the_rest_is_sent(
    campaign: Campaign, server: queues.Server, tmp_path: Path, certs: Certificates
) -> None:
    write_audience(tmp_path / "a.csv", 100)
    await campaign.create(str(tmp_path / "a.csv"), "--chunk", "50")
    await spoil(server)
    async with FakeApns(keep=200, certs=certs) as fake:
        ends = await campaign.send([*of_apns(fake), *payload(tmp_path)])
        assert [code for code, _ in ends] == [0, 0], (
            ends
        )  # the ledger has it in order, so that it was put back
        assert Counter(request.token for request in fake.received) == {f"{n:064x}": 1 for n in range(1, 101)}
        assert "100 of 100 rows have a result" in ends[0][1]


async def spoil(server: queues.Server) -> None:
    """Put a chunk in place of the first one that is none."""
    from pushcore.queue.chunk import Chunk

    class Nonsense(Chunk):
        def encode(self) -> bytes:
            return b"no chunk"

    queue = await open_queue(server.url, "autumn", idle=5.0)
    try:
        (lease,) = await queue.lease(1, 5.0)
        number = Chunk.decode(lease.data).number
        await queue.done(lease, b"nonsense, too")
        await queue.put([Nonsense(number, number * 50 + 1, 50)], 1)
    finally:
        await queue.close()


@on_redis
async def test_a_worker_reads_its_key_again_on_sighup(
    campaign: Campaign, pushcore: CommandLine, certs: Certificates, tmp_path: Path
) -> None:
    registry = ApnsRegistry()
    (tmp_path / "devices.csv").write_text("token\n" + "".join(f"{row:064x}\n" for row in range(1, 3001)))
    settings = tmp_path / "pushcore.toml"

    def renew(number: int) -> None:
        pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        registry.add_key(f"RENEWED{number:03}", certs.team_id, pem)
        (tmp_path / f"{number}.p8").write_bytes(pem)
        settings.write_text(f'[send]\napns-key = "{number}.p8"\nkey-id = "RENEWED{number:03}"\n')

    renew(0)
    async with FakeApns(certs=certs, registry=registry, keep=4000) as fake:
        await campaign.create(str(tmp_path / "devices.csv"), "--chunk", "100")
        options = [
            *("--config", str(settings), "--team-id", fake.team_id, "--topic", fake.topic),
            *("--apns-url", fake.url, "--ca-file", fake.ca_file, "--rate", "2000/s", "--quiet"),
            *payload(tmp_path, {"aps": {"alert": "Hi"}}),
        ]

        def accepted(least: int) -> bool:
            return fake.counts[200, ""] >= least

        worker = await pushcore.start(*campaign.work, *options)
        running = asyncio.create_task(pushcore("campaign", "run", *campaign.at))
        try:
            for number in (1, 2):
                await soon(partial(accepted, 500 * number))
                renew(number)
                worker.send_signal(signal.SIGHUP)
            await soon(partial(accepted, 1500))
            (tmp_path / "2.p8").write_text("no key")
            worker.send_signal(signal.SIGHUP)
            code, out = await running
            assert code == 0, out
            said, _ = await asyncio.wait_for(worker.communicate(), 20)
        finally:
            if worker.returncode is None:
                worker.kill()
                await worker.communicate()
        assert worker.returncode == 0
        assert said.decode().count("pushcore: APNs: new credentials are in use\n") == 2
        assert (
            "pushcore: APNs: the new credentials cannot be used, so the old ones are kept: " in said.decode()
        )
        assert fake.counts == {(200, ""): 3000}
        used = {request.headers["authorization"] for request in fake.received}
        assert len(used) == 3
