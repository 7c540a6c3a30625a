"""The results of an `FcmClient`'s messages in virtual time: which responses are Google's, and what stops a campaign."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable

import orjson
import pytest

from pushcore import FcmClient, Message, PushEngine, Result
from pushcore.errors import BreakerOpen
from pushcore.reasons import UNEXPECTED, UNEXPECTED_SUCCESS
from pushcore.results import Verdict
from tests.support.virtual import Answer, connect_to, run
from tests.unit.fcm.building import TOKEN, accepted, account

PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>"
BODIES = {
    "empty": b"",
    "html": PAGE,
    "object": b"{}",
    "json": b'{"ok":true}',
    "number": b'{"name":7}',
    "name": b'{"name":"1"}',
    "topic": b'{"name":"projects/my-project/topics/a"}',
    "no id": b'{"name":"projects/my-project/messages/"}',
    "cut": b'{\n  "name": "projects/my-project/mess',
    "error": b'{"error":{"message":"no route"}}',
    "code": b'{"error":{"code":404,"message":"Not Found"}}',
    "json-rpc": b'{"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":null}',
    "facebook": b'{"error":{"message":"Invalid OAuth access token.","type":"OAuthException","code":190}}',
    "details": b'{"error":{"code":404,"details":[{"reason":"x"}]}}',
    "sentence": b'{"error":{"status":"not found"}}',
    "long": b"x" * 200_000,
}


def sent_to(
    monkeypatch: pytest.MonkeyPatch, response_to: Callable[[int], Answer], pushes: Iterable[Message]
) -> list[Result]:
    """The results of messages that are sent one after the other; `answer` says what to by the number of the request."""
    requests = itertools.count(1)

    def respond(fields: dict[str, str], body: bytes) -> Answer:
        if fields[":path"] == "/token":
            return 200, {}, b'{"access_token":"ya29.x","expires_in":3599}'
        return response_to(next(requests))

    connect_to(monkeypatch, respond)

    async def send() -> list[Result]:
        async with FcmClient(account(), url="https://fcm.test") as client:
            return [await client.send(push) for push in pushes]

    results: list[Result] = run(send())
    return results


@pytest.mark.parametrize("status", [200, 204, 301, 302, 307, 400, 401, 403, 404, 407, 410, 413])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_response_that_is_not_googles_is_named_as_such(
    status: int, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (result,) = sent_to(monkeypatch, lambda n: (status, {}, body), [Message(token=TOKEN)])
    assert result.verdict is (Verdict.UNKNOWN if status < 300 else Verdict.MISCONFIGURED)
    assert (result.status, result.reason) == (status, "UnexpectedResponse")
    assert result.row is (UNEXPECTED_SUCCESS if status < 300 else UNEXPECTED)
    assert str(result.detail).startswith(
        f"this is not a response of FCM (a proxy, a wrong URL?): {status} with "
    )


@pytest.mark.parametrize(
    "body",
    [
        accepted(),
        b'{"name":"projects/my-project/messages/1"}',
        b'{"name" : "projects/my-project/messages/1"}',
        b'{"name":"projects/123456789012/messages/1"}',
    ],
    ids=["google", "compact", "spaced", "number"],
)
def test_the_name_of_a_message_is_enough_in_any_layout(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = [body, body, accepted(2), body]
    results = sent_to(monkeypatch, lambda n: (200, {}, bodies[n - 1]), [Message(token=TOKEN)] * 4)
    assert [(result.ok, result.id) for result in results] == [
        (True, orjson.loads(body)["name"]) for body in bodies
    ]
    assert [result.attempts for result in results] == [1] * 4


@pytest.mark.parametrize("response", [(200, {}, PAGE), (404, {}, PAGE), (403, {}, b""), (200, {}, b"{}")])
def test_a_campaign_that_reaches_another_server_stops(
    response: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def send() -> None:
        async with FcmClient(account(), url="https://fcm.test") as client, PushEngine(client) as engine:
            async for result in engine.send_many(Message(token=TOKEN) for _ in range(100_000)):
                assert not result.ok
                assert not result.drop_token

    def respond(fields: dict[str, str], body: bytes) -> Answer:
        token = b'{"access_token":"ya29.x","expires_in":3599}'
        return (200, {}, token) if fields[":path"] == "/token" else response

    connect_to(monkeypatch, respond)
    with pytest.raises(BreakerOpen, match=re.escape("this is not a response of FCM (a proxy, a wrong URL?)")):
        run(send())


def test_a_token_endpoint_that_is_another_server_stops_what_waits_for_a_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect_to(monkeypatch, lambda fields, body: (200, {}, PAGE))

    async def send() -> Result:
        async with FcmClient(account(), url="https://fcm.test") as client:
            return await client.send(Message(token=TOKEN))

    result = run(send())
    assert (result.verdict, result.reason, result.row) == (
        Verdict.MISCONFIGURED,
        "UnexpectedResponse",
        UNEXPECTED,
    )
    assert "this is not a response of the token endpoint (a proxy, a wrong URL?)" in str(result.detail)
