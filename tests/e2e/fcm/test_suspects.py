"""Live iOS tokens that Google blames for the message: none is dropped, and the campaign stops with a sentence."""

from __future__ import annotations

import asyncio
import csv
import json
from pathlib import Path
from typing import Any

import pytest

from fakeservers import Certificates, FakeFcm, fated_registration
from fakeservers.in_thread import InThread
from pushcore import Message, PushEngine, Result, Verdict
from pushcore.errors import BreakerOpen
from tests.e2e.cli.journal_cli import run
from tests.e2e.fcm_support import DATA, RUNS, fcm_of, registration, using

pytestmark = pytest.mark.usefixtures("clean")

ROWS = 1200
DISLIKED: dict[str, Any] = {"headers": {"apns-push-type": "background", "apns-priority": "10"}}
"""Headers without `payload.aps`, in a message of data alone."""
TAKEN: dict[str, Any] = {
    "headers": {"apns-push-type": "background", "apns-priority": "5"},
    "payload": {"aps": {"content-available": 1}},
}


@pytest.mark.parametrize("http2", RUNS)
async def test_a_campaign_that_google_dislikes_drops_no_token(http2: str, certs: Certificates) -> None:
    results: list[Result] = []
    async with FakeFcm(certs=certs) as fake:
        fake.ios_tokens.update(map(registration, range(ROWS)))
        pushes = [Message(token=registration(row), data=DATA, apns=DISLIKED) for row in range(ROWS)]
        async with using(fcm_of(fake, http2=http2)) as client, PushEngine(client) as engine:

            async def send() -> None:
                async for result in engine.send_many(pushes):
                    results.append(result)

            with pytest.raises(BreakerOpen) as caught:
                await send()
            assert caught.value.reason == "INVALID_ARGUMENT"
            assert "Correct the apns, android or webpush part" in str(caught.value)
            rejected = [result for result in results if result.attempts]
            assert len(rejected) >= 500
            assert {(result.verdict, result.suspect) for result in rejected} == {(Verdict.INVALID, True)}
            assert not any(result.drop_token for result in results)

            # The same tokens with a part that Google takes; after it a bad one is known to be bad.
            alive = await client.send(Message(token=registration(1), data=DATA, apns=TAKEN))
            assert alive.ok
            dead = await client.send(Message(token=fated_registration("InvalidToken"), data=DATA, apns=TAKEN))
            assert dead.drop_token
            still = await client.send(pushes[2])
            assert (still.drop_token, still.suspect) == (False, True)


@pytest.mark.parametrize(
    "target",
    [{"topic": "news"}, {"condition": "'a' in topics"}, {"token": registration(5000), "validate_only": True}],
)
async def test_what_reaches_no_device_is_no_proof(target: dict[str, Any], certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake, using(fcm_of(fake)) as client:
        fake.ios_tokens.add(registration(1))
        assert (await client.send(Message(**target, data=DATA, apns=DISLIKED))).ok
        result = await client.send(Message(token=registration(1), data=DATA, apns=DISLIKED))
        assert (result.drop_token, result.suspect, result.verdict) == (False, True, Verdict.INVALID)


async def test_google_is_asked_where_that_is_configured(certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake:
        fake.ios_tokens.update(map(registration, range(40)))
        pushes = [Message(token=registration(row), data=DATA, apns=DISLIKED) for row in range(40)]
        pushes += [
            Message(token=fated_registration(fate, row), data=DATA, apns=TAKEN)
            for fate in ("InvalidToken", "NotARegistrationToken")
            for row in range(20)
        ]
        async with using(fcm_of(fake, confirm="validate_only")) as client:
            results = await asyncio.gather(*(client.send(push) for push in pushes))
        assert [result.verdict for result in results] == [Verdict.INVALID] * 40 + [Verdict.UNREGISTERED] * 40
        assert not any(result.suspect for result in results)
        asked = [json.loads(record.body) for record in fake.received if b"validate_only" in record.body]
        assert sorted(request["message"]["token"] for request in asked) == sorted(
            str(push.token) for push in pushes
        )
        assert all(request == {"validate_only": True, "message": request["message"]} for request in asked)


@pytest.mark.parametrize("confirm", [(), ("--fcm-confirm", "validate_only")])
def test_the_command_line_ends_with_3_and_no_token_to_drop(
    confirm: tuple[str, ...], tmp_path: Path, certs: Certificates
) -> None:
    tokens = [registration(row) for row in range(ROWS)]
    (tmp_path / "devices.csv").write_text("\n".join(["token", *tokens]))
    (tmp_path / "payload.json").write_text(json.dumps({"data": DATA, "apns": DISLIKED}))
    with InThread(lambda: FakeFcm(certs=certs)) as thread:
        thread.call(lambda: thread.fake.ios_tokens.update(tokens))
        words = [
            "send",
            "--audience",
            "devices.csv",
            "--payload",
            "payload.json",
            "--results",
            "results.csv",
            "--json",
        ]
        words += ["--fcm-service-account", thread.fake.service_account_file, "--fcm-url", thread.fake.url]
        done = run(tmp_path, *words, "--ca-file", thread.fake.ca_file, "--rate", "none", *confirm, expected=3)
    assert "INVALID_ARGUMENT" in done.stderr
    assert "Correct the apns, android or webpush part" in done.stderr
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["drop_token"] for row in rows} == {""}
    assert {row["verdict"] for row in rows} <= {"INVALID", "UNSENT"}
    summary = json.loads(done.stdout)
    assert summary["drop_tokens"] == 0
    rejected = [row["reason"] for row in rows if row["verdict"] == "INVALID"]
    assert len(rejected) >= 500
    suspects = rejected.count("INVALID_ARGUMENT (token)")
    assert summary["suspect_tokens"] == suspects
    if confirm:  # Google takes those tokens in another message that it was asked about in time
        assert 0 < rejected.count("INVALID_ARGUMENT") == len(rejected) - suspects
    else:
        assert suspects == len(rejected)
