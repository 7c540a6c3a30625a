"""The legacy API: one device, many, topics and groups, with what the fake answers to each."""

from __future__ import annotations

from typing import Any

import pytest

from fakeservers import Certificates, FakeFcm, fated_registration
from fakeservers.fcm.fates import FATES, TRANSPORT, canonical_of
from fakeservers.fcm.legacy import ERRORS
from pushcore import LegacyMessage, LegacyResult, Verdict
from pushcore.fcm.legacy_errors import REASONS
from tests.e2e.fcm_support import DATA, RUNS, legacy_of, plain_engine, registration, using
from tests.e2e.support import RawServer, hold, verdicts

pytestmark = pytest.mark.usefixtures("clean")


def push(number: int = 0, **fields: Any) -> LegacyMessage:
    return LegacyMessage(to=registration(number), data=DATA, **fields)


@pytest.mark.parametrize("http2", RUNS)
async def test_one_device(http2: str, certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake, using(legacy_of(fake, http2=http2)) as client:
        sent = push(notification={"title": "Hi"}, priority="high", time_to_live=60)
        result = await client.send(sent)
        assert isinstance(result, LegacyResult)
        assert (result.verdict, result.status, result.attempts) == (Verdict.ACCEPTED, 200, 1)
        assert result.push is sent
        assert result.id
        assert result.id.startswith("0:")
        assert (result.canonical, result.failed, result.devices) == (None, (), ())
        received = fake.received[-1]
        assert received.path == "/fcm/send"
        assert received.headers["authorization"] == f"key={fake.server_key}"


@pytest.mark.parametrize("http2", RUNS)
async def test_every_error_string(http2: str, certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake, using(legacy_of(fake, http2=http2)) as client:
        for fate in FATES - TRANSPORT - {"Canonical", "InternalTimeout"}:
            result = await client.send(LegacyMessage(to=fated_registration(fate), data=DATA))
            reason = ERRORS.get(fate)
            if reason is not None:
                assert (result.status, result.reason) == (200, reason), fate
                assert result.verdict is REASONS[reason].verdict, fate
                assert result.row is REASONS[reason], fate
            else:
                assert result.status != 200, fate
                assert result.verdict in (Verdict.INVALID, Verdict.MISCONFIGURED, Verdict.UNAVAILABLE), fate
            assert result.drop_token == (reason == "NotRegistered"), fate
            if result.status == 200:
                assert result.retry_after == (60.0 if fate == "Unavailable" else None), fate


@pytest.mark.parametrize("http2", RUNS)
async def test_each_registration_id_has_a_result_of_its_own(http2: str, certs: Certificates) -> None:
    moved, dead = fated_registration("Canonical"), fated_registration("Unregistered")
    later = fated_registration("Unavailable")
    ids = [registration(0), moved, dead, "not a token of Google's", "", later, registration(1)]
    async with FakeFcm(certs=certs) as fake, using(legacy_of(fake, http2=http2)) as client:
        results = await client.send_multicast(LegacyMessage(registration_ids=ids, data=DATA))
        assert [result.push.token for result in results] == ids
        assert [result.verdict for result in results] == [
            Verdict.ACCEPTED,
            Verdict.ACCEPTED,
            Verdict.UNREGISTERED,
            Verdict.INVALID,
            Verdict.INVALID,
            Verdict.UNAVAILABLE,
            Verdict.ACCEPTED,
        ]
        assert [result.canonical for result in results] == [None, canonical_of(moved), *[None] * 5]
        assert [result.drop_token for result in results] == [token is dead for token in ids]
        assert results[5].retry_after == 60.0
        assert results[4].status is None  # it was not even sent
        assert len({result.id for result in results if result.ok}) == 3
        assert all(result.push.data == DATA for result in results)
        # What can be sent again is a message to one device already.
        again = await client.send(results[0].push)
        assert again.ok


@pytest.mark.parametrize("http2", RUNS)
async def test_more_than_a_thousand_in_requests_of_a_thousand(http2: str, certs: Certificates) -> None:
    ids = [registration(number) for number in range(2345)]
    async with FakeFcm(certs=certs) as fake, using(legacy_of(fake, http2=http2)) as client:
        results = await client.send_multicast(LegacyMessage(registration_ids=ids, data=DATA))
        assert [result.push.to for result in results] == ids
        assert verdicts(results) == {Verdict.ACCEPTED: 2345}
        assert sum(request.path == "/fcm/send" for request in fake.received) == 3
        single = await client.send(LegacyMessage(registration_ids=ids, data=DATA))
        assert (single.verdict, single.attempts) == (Verdict.INVALID, 0)
        assert "1000" in str(single.detail)
        with pytest.raises(ValueError, match="registration_ids"):
            await client.send_multicast(push())


@pytest.mark.parametrize("http2", RUNS)
async def test_a_message_to_several_is_summed_up(http2: str, certs: Certificates) -> None:
    dead = [fated_registration("Unregistered", number) for number in range(3)]
    async with FakeFcm(certs=certs) as fake, using(legacy_of(fake, http2=http2)) as client:

        async def summed(ids: list[str]) -> LegacyResult:
            result = await client.send(LegacyMessage(registration_ids=ids, data=DATA))
            assert isinstance(result, LegacyResult)
            assert [device.push.token for device in result.devices] == ids
            return result

        some = await summed([registration(), *dead])
        assert some.verdict is Verdict.ACCEPTED
        assert "3 of 4" in str(some.detail)
        none = await summed(dead)
        assert (none.verdict, none.reason) == (Verdict.INVALID, "NotRegistered")
        assert not none.drop_token  # it has no one token that could be dropped
        assert all(device.drop_token for device in none.devices)
        single = await summed([dead[0]])
        assert single.verdict is Verdict.UNREGISTERED
        moved = await summed([fated_registration("Canonical")])
        assert moved.canonical == canonical_of(fated_registration("Canonical"))
        combined = await summed([registration(), fated_registration("BadGateway")])
        assert (combined.verdict, combined.status) == (Verdict.UNAVAILABLE, 502)
        assert verdicts(combined.devices) == {Verdict.UNAVAILABLE: 2}


@pytest.mark.parametrize("http2", RUNS)
async def test_topics_conditions_and_groups(http2: str, certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake, using(legacy_of(fake, http2=http2)) as client:
        condition = "'a' in topics && 'b' in topics"
        for sent in (LegacyMessage(to="/topics/news"), LegacyMessage(condition=condition, data=DATA)):
            result = await client.send(sent)
            assert result.ok
            assert result.id
            assert result.id.isdigit()
        fake.fates["/topics/busy"] = "TopicRateExceeded"
        busy = await client.send(LegacyMessage(to="/topics/busy", data=DATA))
        assert (busy.verdict, busy.reason) == (Verdict.THROTTLED, "TopicsMessageRateExceeded")
        dead = fated_registration("Unregistered")
        fake.groups["group-key"] = [registration(0), dead]
        group = await client.send(LegacyMessage(to="group-key", data=DATA))
        assert (group.verdict, group.failed) == (Verdict.ACCEPTED, (dead,))
        fake.groups["group-key"] = [dead]
        group = await client.send(LegacyMessage(to="group-key", data=DATA))
        assert (group.verdict, group.failed) == (Verdict.UNAVAILABLE, (dead,))


@pytest.mark.parametrize("http2", RUNS)
async def test_a_wrong_server_key(http2: str, certs: Certificates) -> None:
    async with (
        FakeFcm(certs=certs) as fake,
        using(legacy_of(fake, server_key="wrong", http2=http2)) as client,
    ):
        result = await client.send(push())
        assert (result.verdict, result.status) == (Verdict.MISCONFIGURED, 401)
        assert "wrong" not in str(result)


@pytest.mark.parametrize("http2", RUNS)
@pytest.mark.parametrize(("fate", "verdict"), [("Stall", Verdict.UNKNOWN), ("Cut", Verdict.UNKNOWN)])
async def test_no_response_is_every_devices_result(
    fate: str, verdict: Verdict, http2: str, certs: Certificates
) -> None:
    ids = [registration(), fated_registration(fate)]
    async with (
        FakeFcm(certs=certs) as fake,
        using(legacy_of(fake, http2=http2, timeout=0.5)) as client,
    ):
        results = await client.send_multicast(LegacyMessage(registration_ids=ids, data=DATA))
        assert verdicts(results) == {verdict: 2}
        assert [result.push.token for result in results] == ids


async def test_a_server_that_does_not_respond(certs: Certificates) -> None:
    async with (
        RawServer(lambda reader, writer: hold(reader), certs.server_context()) as server,
        FakeFcm(certs=certs) as fake,
        using(legacy_of(fake, url=server.url, timeout=0.5)) as client,
    ):
        results = await client.send_multicast(LegacyMessage(registration_ids=["a", "b"]))
        assert verdicts(results) == {Verdict.UNSENT: 2}
        assert {result.attempts for result in results} == {0}


@pytest.mark.parametrize("http2", RUNS)
async def test_through_the_engine(http2: str, certs: Certificates) -> None:
    pushes = [push(number) for number in range(500)]
    pushes += [LegacyMessage(registration_ids=[registration(number) for number in range(1000)])]
    pushes += [LegacyMessage(data=DATA), push(time_to_live=-1)]
    async with FakeFcm(certs=certs) as fake, plain_engine(legacy_of(fake, http2=http2)) as engine:
        results = [result async for result in engine.send_many(pushes)]
    assert len(results) == 503
    assert verdicts(results) == {Verdict.ACCEPTED: 501, Verdict.INVALID: 2}
    (many,) = [result for result in results if isinstance(result, LegacyResult) and result.devices]
    assert verdicts(many.devices) == {Verdict.ACCEPTED: 1000}
