"""Every error that the fake FCM can give comes back as the right verdict, and drops a token only where it is dead."""

from __future__ import annotations

import pytest

from fakeservers import Certificates, FakeFcm, fated_fid, fated_registration
from fakeservers.fcm.fates import FATES, TRANSPORT
from pushcore import Message, Verdict
from pushcore.errors import ClosedError
from tests.e2e.fcm_support import DATA, RUNS, fcm_of, message, plain_engine, registration, using

pytestmark = pytest.mark.usefixtures("clean")

UNREGISTERED, INVALID, MISCONFIGURED = Verdict.UNREGISTERED, Verdict.INVALID, Verdict.MISCONFIGURED
THROTTLED, UNAVAILABLE, UNKNOWN, ACCEPTED = (
    Verdict.THROTTLED,
    Verdict.UNAVAILABLE,
    Verdict.UNKNOWN,
    Verdict.ACCEPTED,
)

# Status, verdict, reason and the seconds that Google asks to wait (7 where a header says so).
ANSWERS: dict[str, tuple[int, Verdict, str | None, float | None]] = {
    "InvalidToken": (400, UNREGISTERED, "INVALID_ARGUMENT", None),
    "NotARegistrationToken": (400, UNREGISTERED, "INVALID_ARGUMENT", None),
    "TokenByTextAndField": (400, UNREGISTERED, "INVALID_ARGUMENT", None),
    "ApnsDisabled": (400, UNREGISTERED, "INVALID_ARGUMENT", None),
    "TooBig": (400, INVALID, "INVALID_ARGUMENT", None),
    "NoRecipient": (400, INVALID, "INVALID_ARGUMENT", None),
    "WrongType": (400, INVALID, "INVALID_ARGUMENT", None),
    "UnknownName": (400, INVALID, "INVALID_ARGUMENT", None),
    "ApnsKeyType": (400, INVALID, "INVALID_ARGUMENT", None),
    "InvalidDataKey": (400, INVALID, "INVALID_ARGUMENT", None),
    "InvalidTtl": (400, INVALID, "INVALID_ARGUMENT", None),
    "InvalidPackageName": (400, INVALID, "INVALID_ARGUMENT", None),
    "InvalidArgument": (400, INVALID, "INVALID_ARGUMENT", None),
    "AccessTokenExpired": (401, MISCONFIGURED, "ACCESS_TOKEN_EXPIRED", None),
    "ThirdPartyAuth": (401, MISCONFIGURED, "THIRD_PARTY_AUTH_ERROR", None),
    "ApnsInvalidProviderToken": (401, MISCONFIGURED, "THIRD_PARTY_AUTH_ERROR", None),
    "ApnsBadEnvironmentKey": (401, MISCONFIGURED, "THIRD_PARTY_AUTH_ERROR", None),
    "ApnsAuth": (401, MISCONFIGURED, "APNS_AUTH_ERROR", None),
    "SenderIdMismatch": (403, MISCONFIGURED, "SENDER_ID_MISMATCH", None),
    "PermissionDenied": (403, MISCONFIGURED, "IAM_PERMISSION_DENIED", None),
    "ServiceDisabled": (403, MISCONFIGURED, "SERVICE_DISABLED", None),
    "Unregistered": (404, UNREGISTERED, "UNREGISTERED", None),
    "UnregisteredApns": (404, UNREGISTERED, "UNREGISTERED", None),
    "ProjectNotFound": (404, MISCONFIGURED, "NOT_FOUND", None),
    "HtmlNotFound": (404, MISCONFIGURED, "UnexpectedResponse", None),
    "QuotaExceeded": (429, THROTTLED, "QUOTA_EXCEEDED", 7.0),
    "DeviceRateExceeded": (429, THROTTLED, "QUOTA_EXCEEDED", 7.0),
    "TopicRateExceeded": (429, THROTTLED, "QUOTA_EXCEEDED", 7.0),
    "TopicQuotaExceeded": (429, THROTTLED, "QUOTA_EXCEEDED", 7.0),
    "QuotaWithoutRetryAfter": (429, THROTTLED, "QUOTA_EXCEEDED", None),
    "Internal": (500, UNAVAILABLE, "INTERNAL", None),
    "InternalTimeout": (500, UNAVAILABLE, "INTERNAL", None),
    "UnspecifiedError": (500, UNKNOWN, "UNSPECIFIED_ERROR", None),
    "EmptyBody": (500, UNAVAILABLE, None, None),
    "BadGateway": (502, UNAVAILABLE, None, 30.0),
    "Unavailable": (503, UNAVAILABLE, "UNAVAILABLE", 7.0),
    "UnavailableWithoutRetryAfter": (503, UNAVAILABLE, "UNAVAILABLE", None),
    "UnavailableUntilDate": (503, UNAVAILABLE, "UNAVAILABLE", 7.0),
}

UNPROVEN = ("InvalidToken", "NotARegistrationToken", "TokenByTextAndField")
"""What blames the token, and is no proof that it is dead before others of the same shape were accepted."""
SCOPES = {
    "QuotaExceeded": "project",
    "QuotaWithoutRetryAfter": "project",
    "DeviceRateExceeded": "device",
    "TopicRateExceeded": "topic",
    "TopicQuotaExceeded": "topic",
}
"""Whose rate limit it was."""


def test_the_table_has_every_response_of_the_fake() -> None:
    assert set(ANSWERS) == FATES - TRANSPORT - {"Canonical"}


@pytest.mark.parametrize("http2", RUNS)
async def test_every_response(http2: str, certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake, using(fcm_of(fake, http2=http2)) as client:
        for fate in UNPROVEN:  # no message of this shape was accepted yet
            result = await client.send(Message(token=fated_registration(fate), data=DATA))
            assert (result.verdict, result.reason) == (INVALID, "INVALID_ARGUMENT")
            assert (result.suspect, result.drop_token, result.row.blame) == (True, False, "token")
        assert (await client.send(message())).ok
        for fate, (status, verdict, reason, wait) in ANSWERS.items():
            ms = 5 if fate == "InternalTimeout" else 7000
            for push in (
                Message(token=fated_registration(fate, ms=ms), data=DATA),
                Message(fid=fated_fid(fate, ms=ms), data=DATA),
            ):
                result = await client.send(push)
                assert (result.status, result.verdict, result.reason) == (status, verdict, reason), fate
                assert result.drop_token == (verdict is UNREGISTERED), fate
                assert result.row.scope == SCOPES.get(fate), fate
                assert result.suspect is (reason == "SENDER_ID_MISMATCH"), fate
                assert result.push is push
                assert result.id is None
                if fate == "UnavailableUntilDate":  # whole seconds, some of which have passed
                    assert result.retry_after is not None
                    assert 5.0 <= result.retry_after <= 7.0
                else:
                    assert result.retry_after == wait, fate
        assert (await client.send(message())).ok  # nothing of it has hurt the client
        assert fake.connections == 2  # one for messages and one for tokens


@pytest.mark.parametrize("http2", RUNS)
async def test_an_accepted_message_has_its_name(http2: str, certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake, using(fcm_of(fake, http2=http2)) as client:
        result = await client.send(message())
        assert (result.verdict, result.status, result.attempts) == (ACCEPTED, 200, 1)
        assert result.id is not None
        assert result.id.startswith(f"projects/{fake.project_id}/messages/0:")
        trial = await client.send(message(validate_only=True))
        assert trial.id == f"projects/{fake.project_id}/messages/fake_message_id"
        sent = fake.received[-1]
        assert sent.path == f"/v1/projects/{fake.project_id}/messages:send"
        assert sent.headers["content-type"] == "application/json"
        assert sent.headers["x-goog-api-format-version"] == "2"
        assert sent.version == "2"


@pytest.mark.parametrize("http2", RUNS)
async def test_the_two_kinds_of_401(http2: str, certs: Certificates) -> None:
    """Only one of them says something about our token."""
    async with FakeFcm(certs=certs) as fake, using(fcm_of(fake, http2=http2)) as client:
        assert (await client.send(message())).ok
        theirs = await client.send(Message(token=fated_registration("ThirdPartyAuth"), data=DATA))
        assert (theirs.verdict, theirs.attempts) == (MISCONFIGURED, 1)
        assert fake.token_requests == 1
        ours = await client.send(Message(token=fated_registration("AccessTokenExpired"), data=DATA))
        assert (ours.verdict, ours.attempts) == (MISCONFIGURED, 2)
        assert fake.token_requests == 2


@pytest.mark.parametrize("http2", RUNS)
@pytest.mark.parametrize(
    ("fate", "verdict"),
    [
        ("Stall", UNKNOWN),
        ("Slow", ACCEPTED),
        ("InternalReset", UNKNOWN),
        ("GoAway", ACCEPTED),
        ("Cut", UNKNOWN),
        ("RefusedStream", Verdict.UNSENT),
        ("GoAwayBefore", Verdict.UNSENT),
    ],
)
async def test_garbage_responses(fate: str, verdict: Verdict, http2: str, certs: Certificates) -> None:
    async with (
        FakeFcm(certs=certs) as fake,
        using(fcm_of(fake, http2=http2, timeout=1.0)) as client,
    ):
        result = await client.send(Message(token=fated_registration(fate), data=DATA))
        assert result.verdict is verdict
        assert not result.drop_token
        if fate != "GoAwayBefore":  # then the pool dials more slowly than this test waits
            assert (await client.send(message())).ok


@pytest.mark.parametrize("http2", RUNS)
async def test_a_wrong_project_drops_no_token(http2: str, certs: Certificates) -> None:
    async with (
        FakeFcm(certs=certs) as fake,
        using(fcm_of(fake, http2=http2, project_id="another-project")) as client,
    ):
        result = await client.send(message())
        assert (result.status, result.verdict, result.reason) == (404, MISCONFIGURED, "NOT_FOUND")
        assert not result.drop_token


async def test_the_projects_number_will_do(certs: Certificates) -> None:
    async with (
        FakeFcm(certs=certs) as fake,
        using(fcm_of(fake, project_id=fake.project_number)) as client,
    ):
        assert (await client.send(message())).ok


@pytest.mark.parametrize(
    ("push", "words"),
    [
        (Message(data=DATA), "no target"),
        (Message(token=registration(), topic="news"), "more than one target"),
        (Message(token=registration(), data={"n": 1}), "string"),  # type: ignore[dict-item]  # what the types forbid
        (Message(token=registration(), data={"from": "x"}), "from"),
        (Message(token=registration(), data={"a": "x" * 5000}), "4096"),
        (Message(topic="a b"), "topic"),
        (Message(token="ab" * 32), "APNs"),
        (Message(token="ExponentPushToken[abc]"), "getDevicePushTokenAsync"),
    ],
)
async def test_invalid_messages_are_not_sent(push: Message, words: str, certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake, using(fcm_of(fake)) as client:
        result = await client.send(push)
        assert (result.verdict, result.status, result.attempts) == (INVALID, None, 0)
        assert words in str(result.detail)
        assert not any("messages:send" in request.path for request in fake.received)


@pytest.mark.parametrize("http2", RUNS)
async def test_through_the_engine(http2: str, certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake:
        async with plain_engine(fcm_of(fake, http2=http2)) as running:
            fates = [fate for fate in ANSWERS if fate not in ("InternalTimeout", "AccessTokenExpired")]
            pushes = [message(number) for number in range(2000)]
            pushes += [Message(token=fated_registration(fate), data=DATA) for fate in fates]
            results = [result async for result in running.send_many(pushes)]
        assert len(results) == len(pushes)
        assert {id(result.push) for result in results} == {id(push) for push in pushes}
        assert sum(result.ok for result in results) == 2000
        assert len({result.id for result in results if result.ok}) == 2000
        assert fake.token_requests == 1


async def test_a_client_that_is_not_open(certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake:
        client = fcm_of(fake)
        assert not client.opened
        await client.close()
        with pytest.raises(ClosedError):
            await client.send(message())
        with pytest.raises(ClosedError):
            client._dispatcher.pool_to(client._dispatcher.origin)
        async with client:
            assert client.opened
            with pytest.raises(ClosedError):
                await client.open()
        with pytest.raises(ClosedError):
            await client.send(message())
        async with client:  # and once more
            assert (await client.send(message())).ok
