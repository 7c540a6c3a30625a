"""The legacy client: one result for a message, one for each of its devices, and what they have in common."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pushcore.errors import ConnectionLost, GoAway, HeaderListTooLarge, StreamReset, TransportError
from pushcore.fcm.legacy import LegacyFcmClient
from pushcore.fcm.legacy_result import LegacyResult
from pushcore.http2.exchange import request
from pushcore.models.fcm import LegacyMessage
from pushcore.results import Verdict
from tests.support.http2 import TEMPLATE
from tests.support.virtual import Answer, connect_to, run

A, B, C, D = "device-a", "device-b", "device-c", "device-d"
OK, GONE, LATER = {"message_id": "0:1"}, {"error": "NotRegistered"}, {"error": "Unavailable"}


def client_of() -> LegacyFcmClient:
    return LegacyFcmClient("secret", url="https://push.test")


def result_of(
    push: LegacyMessage,
    *results: Any,
    status: int = 200,
    error: TransportError | None = None,
    block: Any = (),
) -> LegacyResult:
    """What the client makes of an answer with these results."""
    exchange = request(TEMPLATE, b"/", b"{}", (), lambda _: None, push)
    exchange.status, exchange.error, exchange.header_block = 0 if error else status, error, list(block)
    exchange.data = orjson.dumps({"multicast_id": 1, "results": results})
    return client_of()._dispatcher.result(exchange, push)


def test_one_device_has_one_result() -> None:
    push = LegacyMessage(to=A)
    accepted = result_of(push, {"message_id": "0:1", "registration_id": "new"})
    assert (accepted.push, accepted.verdict, accepted.id) == (push, Verdict.ACCEPTED, "0:1")
    assert (accepted.canonical, accepted.devices, accepted.failed) == ("new", (), ())
    gone = result_of(push, GONE)
    assert (gone.verdict, gone.reason, gone.drop_token) == (Verdict.UNREGISTERED, "NotRegistered", True)


def test_each_of_several_devices_has_its_own_result_in_their_order() -> None:
    push = LegacyMessage(registration_ids=[A, B, C], collapse_key="k")
    result = result_of(push, OK, GONE, LATER)
    assert [device.push.to for device in result.devices] == [A, B, C]
    assert {device.push.collapse_key for device in result.devices} == {"k"}
    assert all(device.push.registration_ids is None for device in result.devices)
    assert [device.verdict for device in result.devices] == [
        Verdict.ACCEPTED,
        Verdict.UNREGISTERED,
        Verdict.UNAVAILABLE,
    ]
    assert (result.verdict, result.reason, result.id) == (Verdict.ACCEPTED, None, None)
    assert result.detail == "2 of 3 devices did not get it"
    assert push.registration_ids == [A, B, C]


@pytest.mark.parametrize(
    ("results", "verdict", "reason"),
    [
        ([GONE, GONE], Verdict.INVALID, "NotRegistered"),  # there is no one token to drop
        ([LATER, LATER, GONE], Verdict.UNAVAILABLE, None),
        ([GONE, GONE, LATER], Verdict.INVALID, None),
    ],
)
def test_where_no_device_got_it_the_result_is_that_of_most(
    results: list[Any], verdict: Verdict, reason: str | None
) -> None:
    result = result_of(LegacyMessage(registration_ids=[A, B, C][: len(results)]), *results)
    assert (result.verdict, result.reason, result.drop_token) == (verdict, reason, False)


def test_a_list_of_one_device_has_the_result_of_that_device() -> None:
    result = result_of(LegacyMessage(registration_ids=[A]), {**OK, "registration_id": "new"})
    assert (result.verdict, result.id, result.canonical, result.detail) == (
        Verdict.ACCEPTED,
        "0:1",
        "new",
        None,
    )
    assert result_of(LegacyMessage(registration_ids=[A]), GONE).verdict is Verdict.UNREGISTERED


def test_the_retry_after_is_the_longest_of_all_devices() -> None:
    block = [(b":status", b"200"), (b"retry-after", b"7")]
    result = result_of(LegacyMessage(registration_ids=[A, B]), OK, LATER, block=block)
    assert [device.retry_after for device in result.devices] == [None, 7.0]
    assert result.retry_after == 7.0


@pytest.mark.parametrize(
    ("error", "verdict", "reason"),
    [
        (ConnectionLost("x"), Verdict.UNKNOWN, None),
        (StreamReset(7, unprocessed=True), Verdict.UNSENT, None),
        (HeaderListTooLarge("x"), Verdict.INVALID, None),
        (GoAway(0, b"", unprocessed=True, reason="bye"), Verdict.UNSENT, "bye"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_transport_error_is_every_devices_result(
    error: TransportError, verdict: Verdict, reason: str | None
) -> None:
    result = result_of(LegacyMessage(registration_ids=[A, B]), error=error)
    for outcome in (result, *result.devices):
        assert (outcome.verdict, outcome.reason, outcome.status, outcome.detail) == (
            verdict,
            reason,
            None,
            error,
        )
    assert [device.push.to for device in result.devices] == [A, B]
    assert result_of(LegacyMessage(to=A), error=error).devices == ()


# --- send_multicast -----------------------------------------------------------------------------------------------


def multicast(
    monkeypatch: pytest.MonkeyPatch, ids: list[Any], status: int = 200
) -> tuple[list[LegacyResult], list[int]]:
    """The results, and how many ids were in each request; those that end with "x" are gone."""
    sizes: list[int] = []

    def respond(fields: dict[str, str], body: bytes) -> Answer:
        assert fields["authorization"] == "key=secret"
        ids = orjson.loads(body)["registration_ids"]
        sizes.append(len(ids))
        results = [GONE if token.endswith("x") else {"message_id": token} for token in ids]
        return status, {}, orjson.dumps({"multicast_id": 1, "results": results})

    connect_to(monkeypatch, respond)

    async def send() -> list[LegacyResult]:
        async with client_of() as client:
            return await client.send_multicast(LegacyMessage(registration_ids=ids, data={"k": "v"}))

    return run(send()), sizes


def test_any_number_of_ids_leaves_in_requests_of_a_thousand(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [f"device-{number}" for number in range(2500)]
    results, sizes = multicast(monkeypatch, ids)
    assert sorted(sizes) == [500, 1000, 1000]
    assert {result.verdict for result in results} == {Verdict.ACCEPTED}
    assert [(result.push.to, result.id) for result in results] == [(token, token) for token in ids]


def test_an_invalid_id_does_not_affect_the_valid_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    results, sizes = multicast(monkeypatch, [A, "", "gone-x", 7, D])
    assert sizes == [3]
    assert [(result.verdict, result.reason) for result in results] == [
        (Verdict.ACCEPTED, None),
        (Verdict.INVALID, "InvalidRegistration"),
        (Verdict.UNREGISTERED, "NotRegistered"),
        (Verdict.INVALID, "InvalidRegistration"),
        (Verdict.ACCEPTED, None),
    ]
    assert "registration_ids[1]" in str(results[1].detail)


def test_the_rejection_of_a_request_is_every_ids_result(monkeypatch: pytest.MonkeyPatch) -> None:
    results, _ = multicast(monkeypatch, [A, B], status=401)
    assert [result.verdict for result in results] == [Verdict.MISCONFIGURED] * 2
    assert [result.push.to for result in results] == [A, B]


async def test_a_message_without_ids_is_an_error_of_the_caller() -> None:
    async with client_of() as client:
        with pytest.raises(ValueError, match="no registration_ids"):
            await client.send_multicast(LegacyMessage(to=A))
