"""Callers among themselves: one's million, rubbish, slow and hostile clients cost the others nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from pathlib import Path
from random import Random

import httpx
import orjson
import psutil
import pytest

from fakeservers import FakeApns, fated_token
from pushcore.engine.breaker import RUN
from pushcore.gateway import breakers
from tests.e2e.support import soon
from tests.support.gateway import OTHER_TOKEN, TOKEN, app_section, config_of, gateway_of
from tests.support.gateway_process import instance, write_config

IPHONE = f"{1:064x}"
ALERT = {"aps": {"alert": "Hi"}}


async def test_the_breaker_of_one_caller_stops_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
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


def request_of(device: str, token: str = TOKEN) -> bytes:
    body = orjson.dumps({"to": device, "payload": ALERT})
    head = f"POST /v1/push HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


HOSTILE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,
    b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
    b"POST /v1/push HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcde",
    b"POST /v1/push HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    b"POST /v1/push HTTP/1.1\r\nhost: x\r\nauthorization: Bearer x\r\ncontent-length: 999999999999\r\n\r\n",
    request_of(IPHONE, "wrong"),
    request_of(IPHONE)[:-5],
    request_of("0") * 50,
)


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def read_response(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
    return int(head.split(" ")[1]), await reader.readexactly(length)


@pytest.mark.parametrize(
    ("rate", "seconds"),
    [(200, 2.0), pytest.param(2000, 20.0, marks=pytest.mark.weekly)],
    ids=["short", "long"],
)
async def test_slow_and_hostile_clients_cost_themselves_alone(
    rate: int, seconds: float, tmp_path: Path
) -> None:
    """Open loop, a provider that takes 200 ms, 1 % slow and 1 % hostile clients: none lost, none twice, memory flat."""
    verdicts: Counter[str] = Counter()
    took: list[float] = []
    rng = Random(5)
    async with (
        FakeApns(delay=0.2, keep=200_000) as fake,
        instance(write_config(tmp_path, fake)) as gateway,
        asyncio.TaskGroup() as tasks,
    ):
        process = psutil.Process(gateway.process.pid)
        port = int(gateway.url.rpartition(":")[2])
        connections: asyncio.LifoQueue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = (
            asyncio.LifoQueue()
        )

        async def one(number: int, due: float) -> None:
            if connections.empty():
                connections.put_nowait(await asyncio.open_connection("127.0.0.1", port))
            reader, writer = connections.get_nowait()
            writer.write(request_of(f"{number:064x}"))
            status, body = await read_response(reader)
            took.append(loop.time() - due)
            verdicts[orjson.loads(body)["verdict"] if status == 200 else str(status)] += 1
            connections.put_nowait((reader, writer))

        async def slow() -> None:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.suppress(ConnectionError):
                for byte in request_of(IPHONE)[:60]:
                    writer.write(bytes((byte,)))
                    await asyncio.sleep(seconds / 100)
            await closed(writer)

        async def hostile() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.suppress(ConnectionError, TimeoutError):
                writer.write(rng.choice(HOSTILE))
                await asyncio.wait_for(reader.read(100), seconds / 10)
            writer.transport.abort()
            await closed(writer)

        loop = asyncio.get_running_loop()
        start, count = loop.time(), round(rate * seconds)
        memory = 0
        for number in range(count):
            due = start + number / rate
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            tasks.create_task(one(number, due))
            if number % 100 == 50:
                tasks.create_task(slow())
                tasks.create_task(hostile())
            if number == count // 2:
                memory = process.memory_info().rss
        await soon(lambda: sum(verdicts.values()) == count, 30)
        print(f"p99 {sorted(took)[int(count * 0.99)] * 1000:.0f} ms")  # a figure, no verdict
        grown = process.memory_info().rss - memory
        while not connections.empty():
            await closed(connections.get_nowait()[1])
    assert verdicts == {"ACCEPTED": count}
    received = Counter(record.token for record in fake.received if int(record.token, 16) < count)
    assert set(received) >= {f"{number:064x}" for number in range(2, count)}
    assert {times for token, times in received.items() if token not in (IPHONE, "0" * 64)} == {1}
    if rate >= 2000:
        assert grown < 30 * 1024 * 1024, "the second half of the run needed no more memory"
