"""Callers among themselves: one's million, rubbish, slow and hostile clients cost the others nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import Counter
from pathlib import Path

import httpx
import orjson
import psutil
import pytest

from bench.gateway.single import device
from fakeservers import FakeApns, fated_token
from pushcore.engine.breaker import RUN
from pushcore.gateway import breakers
from tests.e2e.support import soon
from tests.support.gateway import OTHER_TOKEN, TOKEN, app_section, config_of, gateway_of
from tests.support.gateway_process import instance, write_config

IPHONE = f"{1:064x}"
ALERT = {"aps": {"alert": "Hi"}}


async def test_the_breaker_of_one_caller_stops_no_other_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeApns() as fake, gateway_of(config_of(app_section(fake))) as client:
        rubbish = [{"to": fated_token("BadDeviceToken", number), "payload": ALERT} for number in range(1000)]
        results = (await client.post("/v1/push/batch", {"pushes": rubbish})).json()["results"]
        assert {result["verdict"] for result in results} == {"INVALID"}
        assert (await client.push(to=IPHONE, payload=ALERT))[
            "verdict"
        ] == "ACCEPTED"  # suspects never open it

        wrong = [
            {"to": fated_token("TopicDisallowed", number), "payload": ALERT} for number in range(RUN * 20)
        ]
        await client.post("/v1/push/batch", {"pushes": wrong}, token=OTHER_TOKEN)
        stopped = (await client.post("/v1/push", {"to": IPHONE, "payload": ALERT}, token=OTHER_TOKEN)).json()
        assert stopped["verdict"] == "UNSENT"
        assert "TopicDisallowed" in stopped["detail"]
        assert 0 < stopped["retry_after"] <= breakers.HALF_OPEN
        text = (await client.http.get("/metrics")).text
        assert (
            'pushcore_gateway_breaker_open{app="shop",caller="other",environment="production",provider="apns"} 1'
            in text
        )
        assert (await client.push(to=IPHONE, payload=ALERT))["verdict"] == "ACCEPTED"

        monkeypatch.setattr(breakers, "HALF_OPEN", 0.0)
        sender = client.gateway.apps["shop"].apns()
        sender.breaker("other")._probe_at = 0.0
        probe = (await client.post("/v1/push", {"to": IPHONE, "payload": ALERT}, token=OTHER_TOKEN)).json()
        assert probe["verdict"] == "ACCEPTED"
        assert sender.open_breakers == {}


async def test_a_single_push_waits_for_no_million_of_another() -> None:
    """The provider takes 20 ms for each, and the other caller's queue is never empty."""
    async with FakeApns(delay=0.02) as fake, gateway_of(config_of(app_section(fake))) as client:

        async def singles() -> None:
            for _ in range(10):
                assert (await client.push(to=IPHONE, payload=ALERT))["verdict"] == "ACCEPTED"

        await singles()
        million = b"".join(
            orjson.dumps({"to": f"{number:064x}", "payload": ALERT}) + b"\n" for number in range(20_000)
        )
        stream = asyncio.create_task(client.post("/v1/push/stream", million, token=OTHER_TOKEN))
        await soon(lambda: len(fake.received) > 500)
        await singles()
        assert not stream.done()  # singles had their turns while it went on
        response = await stream
        assert response.text.count('"ACCEPTED"') == 20_000


@pytest.mark.slow
async def test_a_stream_reads_no_further_than_its_client_reads(tmp_path: Path) -> None:
    """A client that writes and does not read stops being read, and costs no memory; once it reads, nothing is missing."""
    line = orjson.dumps({"to": IPHONE, "payload": ALERT, "ref": "r" * 200}) + b"\n"
    count = 60_000
    head = f"POST /v1/push/stream HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {count * len(line)}\r\n\r\n"
    async with FakeApns() as fake, instance(write_config(tmp_path, fake)) as gateway:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(gateway.url.rpartition(":")[2]), limit=1 << 16
        )
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(head.encode())

        async def write() -> None:
            for _ in range(count // 100):
                writer.write(line * 100)
                await writer.drain()

        writing = asyncio.create_task(write())
        sent = -1
        while sent != (sent := fake.counts[200, ""]):
            await asyncio.sleep(0.3)
        assert 0 < sent < count
        assert not writing.done()
        async with httpx.AsyncClient(
            headers={"authorization": f"Bearer {TOKEN}"}
        ) as http:  # others are served
            response = await http.post(f"{gateway.url}/v1/push", json={"to": IPHONE, "payload": ALERT})
            assert response.json()["verdict"] == "ACCEPTED"
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        text = b""
        while b'"done":true' not in text[-100:]:
            data = await reader.read(1 << 16)
            assert data
            text += data
        await writing
        assert text.count(b'"ACCEPTED"') == count
        await closed(writer)


# --- open loop --------------------------------------------------------------------------------------------------------

GROWS_LESS = 30 * 1024 * 1024
"""Bytes of memory, from half of the responses on."""


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@pytest.mark.deadline(300)
@pytest.mark.timeout(330)
@pytest.mark.parametrize(
    ("rate", "seconds"),
    [(200, 2.0), pytest.param(2000, 20.0, marks=pytest.mark.weekly)],
    ids=["short", "long"],
)
async def test_slow_and_hostile_clients_cost_themselves_alone(
    rate: int, seconds: float, tmp_path: Path
) -> None:
    """A provider that takes 200 ms, 1 % slow and 1 % hostile clients: none lost, none twice, memory flat.

    The load is a process of its own, so that it competes with nothing here. How long a push takes is `python -m bench gateway-load`'s to say.
    """
    count = round(rate * seconds)
    async with FakeApns(delay=0.2, keep=200_000) as fake, instance(write_config(tmp_path, fake)) as gateway:
        load = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.gateway.single", gateway.url, TOKEN),
            *(str(rate), str(seconds), "--hostile"),
            stdout=asyncio.subprocess.PIPE,
        )
        assert load.stdout is not None
        try:
            assert (await load.stdout.readline()) == b"half\n"
            process = psutil.Process(gateway.process.pid)
            memory = process.memory_info().rss
            counted = json.loads(await load.stdout.readline())
            grown = process.memory_info().rss - memory
            assert await load.wait() == 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                load.kill()
            await load.wait()
    print(counted)  # figures, no verdict
    assert counted["verdicts"] == {"ACCEPTED": count}
    assert counted["unasked"] == 0
    received = Counter(record.token for record in fake.received)
    assert {device(number): received[device(number)] for number in range(count)} == {
        device(number): 1 for number in range(count)
    }
    if rate >= 2000:
        assert grown < GROWS_LESS, "the second half of the run needed no more memory"
