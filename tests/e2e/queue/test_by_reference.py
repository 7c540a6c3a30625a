"""Campaigns whose chunks name places in the audience, which the workers read: files, object storage, and one that changes."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest

from fakeservers import Certificates, FakeApns
from tests.e2e.queue.command_line import Campaign, of_apns, on_redis, payload, write_audience
from tests.support import objects


@pytest.mark.parametrize(
    ("server", "form"),
    [("redis", "csv"), ("nats", "ndjson"), ("redis", "parquet")],
    indirect=["server"],
)
async def test_by_reference(campaign: Campaign, form: str, tmp_path: Path, certs: Certificates) -> None:
    audience = tmp_path / f"a.{form}"
    write_audience(audience, 600)
    async with FakeApns(keep=2000, certs=certs) as fake:
        for _ in range(2):
            await campaign.create(str(audience), "--chunk", "50", "--by-reference")
        worker = [*of_apns(fake), *payload(tmp_path)]
        ends = await campaign.send(worker, worker)
        assert [code for code, _ in ends] == [0, 0, 0], ends
        rows = await campaign.results()
        assert {row["verdict"] for row in rows.values()} == {"ACCEPTED"}
        assert sorted(rows) == list(range(1, 601))
        bodies = {request.token: json.loads(request.body)["aps"]["alert"] for request in fake.received}
        assert len(bodies) == len(fake.received) == 600
        for row in (1, 50, 51, 600):
            assert rows[row]["token"] == f"{row:064x}"
            assert bodies[f"{row:064x}"].startswith(f"Hi Näme {row - 1}")


@on_redis
async def test_by_reference_on_s3(campaign: Campaign, tmp_path: Path, certs: Certificates) -> None:
    if objects.NO_S3:
        pytest.skip(objects.NO_S3)
    s3 = await asyncio.to_thread(objects.S3)
    try:
        write_audience(tmp_path / "a.csv", 500)
        url = s3.put("a.csv", (tmp_path / "a.csv").read_bytes())
        async with FakeApns(keep=2000, certs=certs) as fake:
            await campaign.create(url, "--chunk", "50", "--by-reference", **s3.variables)
            ends = await campaign.send([*of_apns(fake), *payload(tmp_path)], **s3.variables)
            assert [code for code, _ in ends] == [0, 0], ends
            assert Counter(request.token for request in fake.received) == {
                f"{n:064x}": 1 for n in range(1, 501)
            }
    finally:
        s3.stop()


@on_redis
async def test_an_audience_that_changed_is_set_aside_and_tried_again_on_request(
    campaign: Campaign, tmp_path: Path, certs: Certificates
) -> None:
    audience = tmp_path / "a.csv"
    lines = [f"{row:064x},Ada" for row in range(200)]
    audience.write_text("\n".join(["token,name", *lines]))
    await campaign.create(str(audience), "--chunk", "50", "--by-reference")
    before = audience.read_text()
    audience.write_text(before.replace("Ada", "Bob", 60))
    async with FakeApns(keep=2000, certs=certs) as fake:
        worker = [*of_apns(fake), *payload(tmp_path)]
        ends = await campaign.send(worker)
        assert [code for code, _ in ends] == [1, 0], ends
        assert "chunk 0 was set aside" in ends[0][1]
        assert "has changed since the campaign was created" in ends[0][1]
        assert "100 of 200 rows have a result" in ends[0][1]
        assert "2 set aside" in await campaign.status()
        audience.write_text(before)
        assert (await campaign.run("campaign", "resume", *campaign.at, "--aside"))[0] == 0
        ends = await campaign.send(worker)
        assert [code for code, _ in ends] == [0, 0], ends
        assert Counter(request.token for request in fake.received) == {f"{n:064x}": 1 for n in range(200)}
