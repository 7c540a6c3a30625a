"""A suspect token is asked about once more: what is sent, how fast, and what comes of each response."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from pushcore import FcmClient, Message, PushEngine, Result
from pushcore.errors import BreakerOpen, ConfigurationError
from pushcore.fcm.confirmation import MAX_WAITING, PUSH_AT_FAULT, RATE
from pushcore.fcm.errors import DEAD_TOKEN, SUSPECT_TOKEN
from pushcore.results import Verdict
from tests.support.virtual import Answer, connect_to, run
from tests.unit.fcm.building import FID, TOKEN, accepted, account
from tests.unit.fcm.test_shapes import APNS, blamed

UNREGISTERED: Answer = (
    404,
    {},
    b'{"error":{"code":404,"details":[{"@type":"x.FcmError","errorCode":"UNREGISTERED"}]}}',
)


class Google:
    """Blames the token of every message with an `apns` part; a minimal one is responded as `answer` says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, respond: Callable[[int], Answer]) -> None:
        self.sent = 0
        self.questions: list[dict[str, Any]] = []
        self.times: list[float] = []
        self._respond = respond
        connect_to(monkeypatch, self)

    def __call__(self, fields: dict[str, str], body: bytes) -> Answer:
        if fields[":path"] == "/token":
            return 200, {}, b'{"access_token":"ya29.x","expires_in":3599}'
        request = orjson.loads(body)
        if "apns" in request["message"]:
            self.sent += 1
            return 400, {}, blamed()
        self.questions.append(request)
        self.times.append(asyncio.get_running_loop().time())
        return self._respond(len(self.questions))


def send(*pushes: Message, **options: Any) -> list[Result]:
    async def work() -> list[Result]:
        async with FcmClient(
            account(), url="https://fcm.test", **{"confirm": "validate_only", **options}
        ) as client:
            return list(await asyncio.gather(*(client.send(push) for push in pushes)))

    results: list[Result] = run(work())
    return results


def to(number: int = 0) -> Message:
    return Message(token=f"{FID}:APA91b{number:0134x}", apns=APNS)


@pytest.mark.parametrize(
    ("response", "row"),
    [
        ((200, {}, accepted()), PUSH_AT_FAULT),
        ((400, {}, blamed()), DEAD_TOKEN),
        (UNREGISTERED, DEAD_TOKEN),
        ((200, {}, b"<html>"), SUSPECT_TOKEN),
        ((400, {}, blamed("message.data")), SUSPECT_TOKEN),
        ((403, {}, b'{"error":{"code":403}}'), SUSPECT_TOKEN),
        ((404, {}, b"<html>"), SUSPECT_TOKEN),
        ((429, {}, b""), SUSPECT_TOKEN),
        ((503, {}, b""), SUSPECT_TOKEN),
    ],
)
def test_the_result_of_a_response(response: Answer, row: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    google = Google(monkeypatch, lambda n: response)
    push = to()
    (result,) = send(push)
    assert result.row is row
    assert (result.verdict, result.push, result.status) == (row.verdict, push, 400)
    assert result.reason == "INVALID_ARGUMENT"
    assert result.drop_token is (row is DEAD_TOKEN)
    assert result.suspect is (row is SUSPECT_TOKEN)
    assert google.questions == [{"validate_only": True, "message": {"token": push.token}}]


def test_an_installation_id_is_confirmed_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    google = Google(monkeypatch, lambda n: (400, {}, blamed("message.fid")))
    (result,) = send(Message(fid=FID, apns=APNS))
    assert result.drop_token
    assert google.questions == [{"validate_only": True, "message": {"fid": FID}}]


def test_no_confirmation_unless_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    google = Google(monkeypatch, lambda n: (400, {}, blamed()))
    (result,) = send(to(), confirm=None)
    assert result.suspect
    assert google.questions == []


def test_no_response_leaves_it_suspect(monkeypatch: pytest.MonkeyPatch) -> None:
    Google(monkeypatch, lambda n: (103, {}, b""))  # an interim response, and no other
    (result,) = send(to(), timeout=1.0)
    assert result.suspect


def test_a_rejected_access_token_is_renewed_for_a_confirmation_too(monkeypatch: pytest.MonkeyPatch) -> None:
    expired = b'{"error":{"code":401,"status":"UNAUTHENTICATED"}}'
    google = Google(monkeypatch, lambda n: (401, {}, expired) if n == 1 else (200, {}, accepted()))
    (result,) = send(to())
    assert result.row is PUSH_AT_FAULT
    assert len(google.questions) == 2


def test_confirmations_have_a_rate_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    google = Google(monkeypatch, lambda n: (200, {}, accepted()) if n % 2 else (400, {}, blamed()))
    results = send(*map(to, range(500)), timeout=30.0)
    assert len(google.questions) == 500
    assert [result.verdict for result in results].count(Verdict.UNREGISTERED) == 250
    assert google.times[-1] - google.times[0] >= 499 / RATE - 0.1
    for start in range(400):
        assert google.times[start + 100] - google.times[start] >= 100 / RATE - 0.1


def test_tokens_beyond_the_queue_limit_stay_suspect(monkeypatch: pytest.MonkeyPatch) -> None:
    google = Google(monkeypatch, lambda n: (200, {}, accepted()))
    results = send(*map(to, range(MAX_WAITING + 200)), timeout=60.0)
    suspect = sum(result.suspect for result in results)
    assert 0 < suspect <= 200
    assert len(google.questions) == len(results) - suspect


def test_tokens_queued_when_the_client_is_closed_stay_suspect(monkeypatch: pytest.MonkeyPatch) -> None:
    Google(monkeypatch, lambda n: (200, {}, accepted()))

    async def work() -> list[Result]:
        async with FcmClient(account(), url="https://fcm.test", confirm="validate_only") as client:
            sending = [asyncio.ensure_future(client.send(to(number))) for number in range(300)]
            await asyncio.sleep(1.0)
        return list(await asyncio.gather(*sending))

    results = run(work())
    assert {result.row for result in results} == {PUSH_AT_FAULT, SUSPECT_TOKEN}


def test_a_campaign_ends_with_a_result_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    google = Google(monkeypatch, lambda n: (400, {}, blamed()) if n % 3 else (200, {}, accepted()))

    async def work() -> list[Result]:
        async with (
            FcmClient(account(), url="https://fcm.test", confirm="validate_only") as client,
            PushEngine(client) as engine,
        ):
            return [result async for result in engine.send_many(map(to, range(1200)))]

    results = run(work())
    assert len({result.push.token for result in results}) == 1200
    assert google.sent == 1200
    assert sum(result.drop_token for result in results) == len(google.questions) - len(google.questions) // 3


def test_a_campaign_whose_message_is_at_fault_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Google accepts each token in a minimal message: no token is suspect any more, and all others would end so."""
    Google(monkeypatch, lambda n: (200, {}, accepted()))
    results: list[Result] = []

    async def work() -> None:
        async with (
            FcmClient(account(), url="https://fcm.test", confirm="validate_only") as client,
            PushEngine(client) as engine,
        ):
            async for result in engine.send_many(map(to, range(MAX_WAITING))):
                results.append(result)

    with pytest.raises(BreakerOpen, match="Google accepts the tokens in a minimal message"):
        run(work())
    assert {result.row for result in results} == {PUSH_AT_FAULT}
    assert not any(result.drop_token for result in results)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="validate_only"):
        FcmClient(account(), confirm="yes")  # type: ignore[arg-type]  # what the types forbid


def test_the_token_of_the_tests_is_one() -> None:
    assert len(to().token or "") == len(TOKEN)
