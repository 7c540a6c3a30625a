"""From chunks to pushes: as of an audience, and with what a chunk says of rows that could not be read."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pushcore.audience.audience import Audience
from pushcore.journal.outcome import RowDevice
from pushcore.payloads.apns_rows import ApnsRow, RowDefaults
from pushcore.payloads.fcm_rows import FcmRow
from pushcore.payloads.payload import ApnsPayload, FcmPayload, Payload
from pushcore.payloads.template import Template
from pushcore.queue.campaign import CampaignInfo
from pushcore.queue.chunk import Chunk
from pushcore.queue.chunk_rows import ABSENT, BAD, ChunkRows
from pushcore.queue.errors import CampaignConflict, ChunkError
from pushcore.queue.references import described, reference_chunks
from pushcore.results import Result, Verdict

APNS = "ab" * 32
FCM = "dPx6Y0k3Qm2Vb1N9zW8aLk:APA91b" + "x" * 134
PREFIX = "01234567-89ab-8cde-8f01-"
INFO = CampaignInfo("autumn", "f")


@pytest.fixture
def make() -> Iterator[ChunkRows]:
    """For both providers, with a placeholder for a name."""
    payloads: dict[str, Payload] = {
        "apns": ApnsPayload({"aps": {"alert": "Hi {{name}}"}}, "apns.json"),
        "fcm": FcmPayload({"data": {"name": "{{name}}"}}, "fcm.json"),
    }
    rows = ChunkRows(Template.of_payloads(payloads, RowDefaults(), PREFIX))
    yield rows
    rows.close()


def inline(*rows: dict[str, Any], first: int = 11) -> Chunk:
    """A chunk with these rows, as it comes out of a queue."""
    return Chunk.decode(Chunk.inline(1, first, list(rows)).encode())


def made(make: ChunkRows, chunk: Chunk, info: CampaignInfo = INFO) -> list[Any]:
    """What becomes of a chunk's rows, in the order of their numbers."""

    async def wait() -> list[Any]:
        found = make(chunk, info)
        return await found if inspect.isawaitable(found) else found

    return sorted(
        asyncio.run(wait()), key=lambda each: each.push.row if isinstance(each, Result) else each.row
    )


def test_each_row_becomes_the_push_of_its_device_with_its_number_in_the_campaign(make: ChunkRows) -> None:
    one, two = made(make, inline({"token": APNS, "name": "Ada"}, {"token": FCM, "name": "Bob"}))
    assert isinstance(one, ApnsRow)
    assert (one.row, one.token, one.payload) == (11, APNS, b'{"aps":{"alert":"Hi Ada"}}')
    assert one.apns_id == f"{PREFIX}{11:012x}"
    assert isinstance(two, FcmRow)
    assert (two.row, two.device, two.data) == (12, FCM, {"name": "Bob"})


def test_rows_that_have_an_outcome_are_not_made_again(make: ChunkRows) -> None:
    chunk = inline(*({"token": APNS, "name": f"{at}"} for at in range(5))).without(0b01101)
    assert [each.row for each in made(make, chunk)] == [12, 15]


def test_a_row_that_could_not_be_read_is_invalid_with_its_reason(make: ChunkRows) -> None:
    found = made(
        make, inline({"token": APNS, "name": "Ada"}, {"token": "cd", BAD: "the row is odd"}, {BAD: "no"})
    )
    assert isinstance(found[0], ApnsRow)
    told = [(each.push.row, each.push.token, each.verdict, each.reason) for each in found[1:]]
    assert told == [(12, "cd", Verdict.INVALID, "the row is odd"), (13, "", Verdict.INVALID, "no")]
    assert isinstance(found[1].push, RowDevice)


def test_a_row_without_a_column_that_others_have_is_not_sent_with_null_for_it(make: ChunkRows) -> None:
    (bad, good) = made(
        make, inline({"token": APNS, "name": "", ABSENT: ["name"]}, {"token": APNS, "name": "Ada"})
    )
    assert (bad.push.row, bad.verdict) == (11, Verdict.INVALID)
    assert "name" in bad.reason
    assert good.payload == b'{"aps":{"alert":"Hi Ada"}}'


def test_a_device_of_a_provider_that_is_not_sent_to_is_invalid() -> None:
    rows = ChunkRows(Template({"aps": {}}))
    bad, good = made(rows, inline({"token": FCM}, {"token": APNS}))
    assert (bad.push.platform, bad.verdict, bad.status) == ("fcm", Verdict.INVALID, None)
    assert bad.reason == "this is a device of FCM, and --fcm-service-account was not given"
    assert good.row == 12


def test_rows_by_reference_become_the_same_pushes(make: ChunkRows, tmp_path: Path) -> None:
    path = tmp_path / "devices.csv"
    path.write_text(f"token,name\n{APNS},Ada\n{FCM},Bob\n{APNS}\n{APNS},Dan\n")
    with Audience(str(path)) as source:
        chunks = list(reference_chunks(source, str(path), 2))
        info = CampaignInfo("autumn", "f", options={"audience": described(source)})
    first, second = (made(make, chunk, info) for chunk in chunks)
    assert [(each.row, type(each)) for each in first] == [(1, ApnsRow), (2, FcmRow)]
    bad, good = second
    assert (bad.push.row, bad.reason) == (3, "the row has 1 column, expected 2")
    assert (good.row, good.payload) == (4, b'{"aps":{"alert":"Hi Dan"}}')


def test_a_reference_needs_the_campaigns_description_of_the_audience(make: ChunkRows, tmp_path: Path) -> None:
    path = tmp_path / "devices.csv"
    path.write_text(f"token,name\n{APNS},Ada\n")
    with Audience(str(path)) as source:
        (chunk,) = reference_chunks(source, str(path), 2)
    with pytest.raises(ChunkError, match="the campaign has no format for them"):
        made(make, chunk)


def test_a_payload_whose_column_is_missing_is_this_workers_conflict(make: ChunkRows, tmp_path: Path) -> None:
    path = tmp_path / "devices.csv"
    path.write_text(f"token\n{APNS}\n")
    with Audience(str(path)) as source:
        (chunk,) = reference_chunks(source, str(path), 2)
        info = CampaignInfo("autumn", "f", options={"audience": described(source)})
    with pytest.raises(
        CampaignConflict, match=r"apns\.json: the placeholder '\{\{name\}\}' in aps.alert names no column"
    ):
        made(make, chunk, info)


def test_a_damaged_chunk_is_told(make: ChunkRows) -> None:
    chunk = Chunk(0, 1, 1, payload=b"no columns")
    with pytest.raises(ChunkError, match="is damaged"):
        made(make, chunk)
