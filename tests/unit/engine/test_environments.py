"""Pushes of unknown environment with two clients for Apple, in virtual time: which of them is asked, and what is the outcome."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pushcore import PushEngine
from pushcore.apns.client import HOSTS, ApnsClient
from pushcore.auth.provider_token import ApnsKey, Environment
from pushcore.models.apns import Notification
from pushcore.results import Result, Verdict
from tests.support.virtual import Answer, connect_to, run

PRIVATE = ec.generate_private_key(ec.SECP256R1())
UNKNOWN: Answer = (400, {}, orjson.dumps({"reason": "BadDeviceToken"}))
ACCEPTED: Answer = (200, {}, b"")


def client_of(environment: Environment, **scope: Any) -> ApnsClient:
    key = ApnsKey(PRIVATE, key_id="ABC123DEFG", team_id="TEAM123456", **scope)
    return ApnsClient(key, topic="com.example.app", environment=environment)


def push(number: int = 0, **fields: Any) -> Notification:
    return Notification(f"{number:064x}", {"aps": {"alert": "Hi"}}, **fields)


class Apple:
    """Responds in each environment with what a test says, and records which of them each push reached."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, production: Answer, sandbox: Answer) -> None:
        self.answers = {
            HOSTS["production"]: ("production", production),
            HOSTS["sandbox"]: ("sandbox", sandbox),
        }
        self.asked: list[tuple[str, str]] = []
        connect_to(monkeypatch, self)

    def __call__(self, fields: dict[str, str], body: bytes) -> Answer:
        name, answer = self.answers[fields[":authority"]]
        self.asked.append((name, fields[":path"][-1]))
        return answer


def results_of(pushes: list[Notification], *clients: ApnsClient, **options: Any) -> list[Result]:
    async def send() -> list[Result]:
        made = clients or (client_of("production"), client_of("sandbox"))
        async with PushEngine(*made, **options) as engine:
            return [result async for result in engine.send_many(pushes)]

    results: list[Result] = run(send())
    return results


def test_a_token_that_the_first_does_not_know_and_the_second_does_is_the_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    apple = Apple(monkeypatch, UNKNOWN, ACCEPTED)
    (result,) = results_of([push(7)])
    assert apple.asked == [("production", "7"), ("sandbox", "7")]
    assert (result.verdict, result.attempts, result.environment) == (Verdict.ACCEPTED, 2, "sandbox")
    assert result.detail == "the token is of sandbox"


def test_a_token_that_neither_knows_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    apple = Apple(monkeypatch, UNKNOWN, UNKNOWN)
    (result,) = results_of([push()])
    assert len(apple.asked) == 2
    assert (result.verdict, result.reason, result.drop_token) == (Verdict.INVALID, "BadDeviceToken", False)


def test_what_the_second_says_of_a_token_that_it_knows_is_the_outcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = orjson.dumps({"reason": "Unregistered", "timestamp": 1_700_000_000_000})
    Apple(monkeypatch, UNKNOWN, (410, {}, gone))
    (result,) = results_of([push()])
    assert (result.verdict, result.reason, result.environment) == (
        Verdict.UNREGISTERED,
        "Unregistered",
        "sandbox",
    )


def test_a_token_whose_environment_is_known_is_tried_there_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    apple = Apple(monkeypatch, UNKNOWN, ACCEPTED)
    results = results_of([push(1, environment="production"), push(2, environment="sandbox")])
    assert {result.push.token[-1]: result.verdict for result in results} == {
        "1": Verdict.INVALID,
        "2": Verdict.ACCEPTED,
    }
    assert sorted(apple.asked) == [("production", "1"), ("sandbox", "2")]


def test_a_token_that_the_first_knows_is_no_matter_of_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    apple = Apple(monkeypatch, ACCEPTED, UNKNOWN)
    (result,) = results_of([push()])
    assert (result.ok, result.environment, len(apple.asked)) == (True, "production", 1)


def test_a_key_that_the_second_rejects_leaves_the_firsts_outcome_and_is_tried_no_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rejected = orjson.dumps({"reason": "BadEnvironmentKeyInToken"})
    apple = Apple(monkeypatch, UNKNOWN, (403, {}, rejected))

    async def send() -> list[Result]:
        results = []
        async with PushEngine(client_of("production"), client_of("sandbox")) as engine:
            async for result in engine.send_many([push(1), push(2)]):
                results.append(result)
        return results

    results = run(send())
    assert {(result.verdict, result.reason) for result in results} == {(Verdict.INVALID, "BadDeviceToken")}
    warnings = [
        text
        for text in caplog.messages
        if "devices of unknown environment are tried in one environment only" in text
    ]
    assert len(warnings) == 1
    assert "BadEnvironmentKeyInToken" in warnings[0]
    assert [name for name, _ in apple.asked].count("production") == 2


def test_a_topic_that_is_not_of_the_seconds_key_leaves_the_firsts_outcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    apple = Apple(monkeypatch, UNKNOWN, ACCEPTED)
    clients = client_of("production"), client_of("sandbox", topics=["com.other"])
    (result,) = results_of([push()], *clients)
    assert (result.verdict, result.reason, apple.asked) == (
        Verdict.INVALID,
        "BadDeviceToken",
        [("production", "0")],
    )


def test_a_retry_in_the_second_environment_is_known_to_be_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is throttled there at first, which says that the token is known."""
    apple = Apple(monkeypatch, UNKNOWN, ACCEPTED)
    throttled: list[Answer] = [(429, {}, orjson.dumps({"reason": "TooManyRequests"}))]
    respond = apple.__call__

    def first_throttled(fields: dict[str, str], body: bytes) -> Answer:
        answer = respond(fields, body)
        return throttled.pop() if answer is ACCEPTED and throttled else answer

    connect_to(monkeypatch, first_throttled)
    (result,) = results_of([push()])
    assert (result.ok, result.environment, result.attempts) == (True, "sandbox", 3)
    assert [name for name, _ in apple.asked] == ["production", "sandbox", "sandbox"]
