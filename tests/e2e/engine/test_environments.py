"""Devices of both environments of Apple's in one engine, against a fake of each that knows its own tokens alone."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fakeservers import ApnsRegistry, Certificates, FakeApns
from pushcore import ApnsKey, BreakerOpen, Journal, Metrics, Notification, PushEngine, Result, Verdict
from pushcore.journal.campaign import Source
from tests.e2e.support import PAYLOAD, client_of, push, verdicts

pytestmark = pytest.mark.usefixtures("clean")


@contextlib.asynccontextmanager
async def both(
    certs: Certificates,
    production: Iterable[int],
    sandbox: Iterable[int],
    dead: Iterable[int] = (),
    **keys: Any,
) -> AsyncIterator[tuple[FakeApns, FakeApns]]:
    """A fake of each environment, with the devices of these numbers; the `dead` are unregistered in the sandbox."""
    registries = [ApnsRegistry(known_only=True, environment=name) for name in ("production", "sandbox")]
    for registry, numbers in zip(registries, (production, sandbox), strict=True):
        for number in numbers:
            registry.add_device(f"{number:064x}")
    for number in dead:
        registries[1].add_device(f"{number:064x}", fate="Unregistered", since=1_700_000_000_000)
    async with (
        FakeApns(certs=certs, registry=registries[0], keep=10_000) as first,
        FakeApns(certs=certs, registry=registries[1], keep=10_000) as second,
    ):
        yield first, second


def engine_of(first: FakeApns, second: FakeApns, **options: Any) -> PushEngine[Notification]:
    return PushEngine(
        client_of(first, environment="production"), client_of(second, environment="sandbox"), **options
    )


async def sent(engine: PushEngine[Notification], pushes: Iterable[Notification]) -> dict[int, Result]:
    async with engine:
        return {int(result.push.token, 16): result async for result in engine.send_many(pushes)}


async def test_each_push_goes_where_it_says(certs: Certificates) -> None:
    async with both(certs, range(0, 2000, 2), range(1, 2000, 2)) as (first, second):
        pushes = [
            push(number, environment="sandbox" if number % 2 else "production") for number in range(2000)
        ]
        results = await sent(engine_of(first, second), pushes)
        assert verdicts(results.values()) == {Verdict.ACCEPTED: 2000}
        assert all(result.environment == result.push.environment for result in results.values())
        assert first.counts == second.counts == {(200, ""): 1000}


async def test_five_percent_of_unknown_environment_are_all_accepted(certs: Certificates) -> None:
    """And what neither knows, or the sandbox calls dead, is what that says; each is sent to a server once at most."""
    sandbox = range(7, 4000, 20)
    dead, nowhere = {13, 33}, {5, 25, 45}
    production = set(range(4000)) - set(sandbox) - dead - nowhere
    async with both(certs, production, sandbox, dead) as (first, second):
        results = await sent(engine_of(first, second), (push(number) for number in range(4000)))
        for number, result in results.items():
            expected: tuple[Any, ...]
            if number in production:
                expected = (Verdict.ACCEPTED, "production", 1)
            elif number in nowhere:
                expected = (Verdict.INVALID, None, 2)
            else:
                verdict = Verdict.UNREGISTERED if number in dead else Verdict.ACCEPTED
                expected = (verdict, "sandbox", 2)
            assert (result.verdict, result.environment, result.attempts) == expected, number
        assert len(results) == 4000
        assert sum(first.counts.values()) == 4000
        assert sum(second.counts.values()) == len(sandbox) + len(dead) + len(nowhere)


async def test_a_wrong_environment_for_all_is_found(certs: Certificates) -> None:
    async with both(certs, (), range(20_000)) as (first, second):
        with pytest.raises(BreakerOpen, match="BadDeviceToken: Use the other environment"):
            await sent(engine_of(first, second), (push(number) for number in range(20_000)))
        assert sum(first.counts.values()) <= 2000
        assert sum(second.counts.values()) <= 2000


async def test_tokens_of_neither_stop_no_campaign(certs: Certificates) -> None:
    """All that the second gets it rejects, and says nothing about the second environment by that."""
    bad = set(range(3, 6000, 6))
    async with both(certs, set(range(6000)) - bad, ()) as (first, second):
        results = await sent(engine_of(first, second), (push(number) for number in range(6000)))
        assert verdicts(results.values()) == {Verdict.ACCEPTED: 6000 - len(bad), Verdict.INVALID: len(bad)}
        assert sum(second.counts.values()) == len(bad)


async def test_a_key_of_one_environment_is_tried_in_the_other_a_few_times_at_most(
    certs: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    bad = set(range(3, 3000, 10))
    async with both(certs, set(range(3000)) - bad, bad) as (first, second):
        pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        for fake in (first, second):
            fake.registry.add_key("PRODUCT001", fake.team_id, pem, environment="production")
        key = ApnsKey.from_pem(pem, key_id="PRODUCT001", team_id=first.team_id)
        engine = PushEngine(
            client_of(first, auth=key, environment="production"),
            client_of(second, auth=key, environment="sandbox"),
            window=200,
        )
        results = await sent(engine, (push(number) for number in range(3000)))
        assert verdicts(results.values()) == {Verdict.ACCEPTED: 3000 - len(bad), Verdict.INVALID: len(bad)}
        assert {result.reason for result in results.values()} == {None, "BadDeviceToken"}
        assert sum(second.counts.values()) <= 200
    (warning,) = [record for record in caplog.records if "unknown environment" in record.getMessage()]
    assert "BadEnvironmentKeyInToken" in warning.getMessage()


async def test_a_second_key_that_is_for_other_topics_leaves_the_first_result(certs: Certificates) -> None:
    """With a listener, too, which hears of a result before the caller has it: nothing else was sent to the second."""
    async with both(certs, {1}, {2}) as (first, second):
        scoped = ApnsKey.from_file(
            second.key_file, key_id=second.key_id, team_id=second.team_id, topics=["com.example.other"]
        )
        metrics = Metrics()
        engine = PushEngine(
            client_of(first, environment="production"),
            client_of(second, auth=scoped, environment="sandbox"),
            listener=metrics,
        )
        async with asyncio.timeout(10):
            results = await sent(engine, [push(1), push(2)])
        assert [results[number].reason for number in (1, 2)] == [None, "BadDeviceToken"]
        assert second.counts == {}


async def test_a_client_alone_refuses_tokens_of_the_other(certs: Certificates) -> None:
    async with both(certs, range(10), ()) as (first, _):
        client = client_of(first, environment="production")
        async with client:
            result = await client.send(push(1, environment="sandbox"))
            assert (result.verdict, result.attempts) == (Verdict.INVALID, 0)
            assert result.detail == "the token belongs to sandbox, and this client sends to production"
            wrong = await client.send(push(1, environment="Sandbox"))
            assert "must be production or sandbox, not 'Sandbox'" in str(wrong.detail)
        pushes = [push(n, environment="sandbox" if n % 3 else None) for n in range(9)]
        results = await sent(PushEngine(client_of(first, environment="production")), pushes)
        assert Counter(result.verdict for result in results.values()) == {
            Verdict.INVALID: 6,
            Verdict.ACCEPTED: 3,
        }


class Row(Notification):
    __slots__ = ("row",)

    row: int


async def test_a_journal_keeps_the_environment(certs: Certificates, tmp_path: Path) -> None:
    sandbox = {3, 8}

    def rows() -> Iterable[Row]:
        for number in range(1, 21):
            row = Row(f"{number:064x}", PAYLOAD)
            row.row = number
            yield row

    async with both(certs, set(range(1, 21)) - sandbox, sandbox) as (first, second):
        with Journal.create(tmp_path / "campaign.db", Source("test")) as journal:
            async with engine_of(first, second) as engine:
                assert len([result async for result in engine.send_many(rows(), journal=journal)]) == 20
            journal.finish()
        with Journal.read(tmp_path / "campaign.db") as view:
            found = {outcome.row: outcome.environment for outcome in view.results()}
            assert found == {row: "sandbox" if row in sandbox else None for row in range(1, 21)}
            assert view.status().verdicts == {"ACCEPTED": 20}


@pytest.mark.parametrize("journal", [False, True])
async def test_on_the_command_line(certs: Certificates, tmp_path: Path, journal: bool) -> None:
    sandbox, said = {3, 8}, {5}
    async with both(certs, set(range(1, 41)) - sandbox - said, sandbox | said) as (first, second):
        rows = "".join(f"{n:064x},{'sandbox' if n in said else ''}\n" for n in range(1, 41))
        (tmp_path / "devices.csv").write_text(f"token,environment\n{rows}")
        (tmp_path / "payload.json").write_text('{"aps":{"alert":"Hi"}}')
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pushcore", "send", "--environment", "auto"),
            *("--apns-key", first.key_file, "--key-id", first.key_id, "--team-id", first.team_id),
            *("--topic", first.topic, "--ca-file", first.ca_file),
            *("--apns-url", first.url, "--apns-sandbox-url", second.url),
            *("--audience", str(tmp_path / "devices.csv"), "--payload", str(tmp_path / "payload.json")),
            *("--results", str(tmp_path / "results.csv")),
            *(("--journal", str(tmp_path / "campaign.db")) if journal else ()),
            stderr=asyncio.subprocess.PIPE,
        )
        _, said_at_end = await process.communicate()
        assert process.returncode == 0, said_at_end
        assert b"sandbox: 2 tokens of the sandbox environment" in said_at_end
        with (tmp_path / "results.csv").open() as file:
            found = {int(row["row"]): row for row in csv.DictReader(file)}
        assert {row["verdict"] for row in found.values()} == {"ACCEPTED"}
        assert {row["reason"] for row in found.values()} == {""}
        assert {number for number, row in found.items() if row["environment"] == "sandbox"} == sandbox
        assert first.counts == {(200, ""): 37, (400, "BadDeviceToken"): 2}
        assert second.counts == {(200, ""): 3}
