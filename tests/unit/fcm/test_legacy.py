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
    exchange.status, exchange.error, exchange.block = 0 if error else status, error, list(block)
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
    whole = result_of(push, OK, GONE, LATER)
    assert [each.push.to for each in whole.devices] == [A, B, C]
    assert {each.push.collapse_key for each in whole.devices} == {"k"}
    assert all(each.push.registration_ids is None for each in whole.devices)
    assert [each.verdict for each in whole.devices] == [
        Verdict.ACCEPTED,
        Verdict.UNREGISTERED,
        Verdict.UNAVAILABLE,
    ]
    assert (whole.verdict, whole.reason, whole.id) == (Verdict.ACCEPTED, None, None)
    assert whole.detail == "2 of 3 devices did not get it"
    assert push.registration_ids == [A, B, C]


@pytest.mark.parametrize(
    ("results", "verdict", "reason"),
    [
        ([GONE, GONE], Verdict.INVALID, "NotRegistered"),  # there is no one token to drop
        ([LATER, LATER, GONE], Verdict.UNAVAILABLE, None),
        ([GONE, GONE, LATER], Verdict.INVALID, None),
    ],
)
def test_where_no_device_got_it_the_sum_is_what_most_of_them_say(
    results: list[Any], verdict: Verdict, reason: str | None
) -> None:
    whole = result_of(LegacyMessage(registration_ids=[A, B, C][: len(results)]), *results)
    assert (whole.verdict, whole.reason, whole.drop_token) == (verdict, reason, False)


def test_a_list_of_one_is_as_good_as_the_one() -> None:
    whole = result_of(LegacyMessage(registration_ids=[A]), {**OK, "registration_id": "new"})
    assert (whole.verdict, whole.id, whole.canonical, whole.detail) == (
        Verdict.ACCEPTED,
        "0:1",
        "new",
        None,
    )
    assert result_of(LegacyMessage(registration_ids=[A]), GONE).verdict is Verdict.UNREGISTERED


def test_the_longest_wait_that_a_device_was_told_is_the_sums() -> None:
    block = [(b":status", b"200"), (b"retry-after", b"7")]
    whole = result_of(LegacyMessage(registration_ids=[A, B]), OK, LATER, block=block)
    assert [each.retry_after for each in whole.devices] == [None, 7.0]
    assert whole.retry_after == 7.0


@pytest.mark.parametrize(
    ("error", "verdict", "reason"),
    [
        (ConnectionLost("x"), Verdict.UNKNOWN, None),
        (StreamReset(7, unprocessed=True), Verdict.UNSENT, None),
        (HeaderListTooLarge("x"), Verdict.INVALID, None),
        (GoAway(0, b"", unprocessed=True, reason="bye"), Verdict.UNSENT, "bye"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_no_answer_is_every_devices(error: TransportError, verdict: Verdict, reason: str | None) -> None:
    whole = result_of(LegacyMessage(registration_ids=[A, B]), error=error)
    for each in (whole, *whole.devices):
        assert (each.verdict, each.reason, each.status, each.detail) == (verdict, reason, None, error)
    assert [each.push.to for each in whole.devices] == [A, B]
    assert result_of(LegacyMessage(to=A), error=error).devices == ()


# --- send_multicast -----------------------------------------------------------------------------------------------


def multicast(
    monkeypatch: pytest.MonkeyPatch, ids: list[Any], status: int = 200
) -> tuple[list[LegacyResult], list[int]]:
    """The results, and how many ids were in each request; those that end with "x" are gone."""
    sizes: list[int] = []

    def answers(fields: dict[str, str], body: bytes) -> Answer:
        assert fields["authorization"] == "key=secret"
        found = orjson.loads(body)["registration_ids"]
        sizes.append(len(found))
        results = [GONE if each.endswith("x") else {"message_id": each} for each in found]
        return status, {}, orjson.dumps({"multicast_id": 1, "results": results})

    connect_to(monkeypatch, answers)

    async def send() -> list[LegacyResult]:
        async with client_of() as client:
            return await client.send_multicast(LegacyMessage(registration_ids=ids, data={"k": "v"}))

    return run(send()), sizes


def test_any_number_of_ids_leaves_in_requests_of_a_thousand(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [f"device-{number}" for number in range(2500)]
    results, sizes = multicast(monkeypatch, ids)
    assert sorted(sizes) == [500, 1000, 1000]
    assert {each.verdict for each in results} == {Verdict.ACCEPTED}
    assert [(each.push.to, each.id) for each in results] == [(each, each) for each in ids]


def test_an_id_that_cannot_be_one_hinders_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    results, sizes = multicast(monkeypatch, [A, "", "gone-x", 7, D])
    assert sizes == [3]
    assert [(each.verdict, each.reason) for each in results] == [
        (Verdict.ACCEPTED, None),
        (Verdict.INVALID, "InvalidRegistration"),
        (Verdict.UNREGISTERED, "NotRegistered"),
        (Verdict.INVALID, "InvalidRegistration"),
        (Verdict.ACCEPTED, None),
    ]
    assert "registration_ids[1]" in str(results[1].detail)


def test_a_request_that_was_refused_as_a_whole_is_every_ids_result(monkeypatch: pytest.MonkeyPatch) -> None:
    results, _ = multicast(monkeypatch, [A, B], status=401)
    assert [each.verdict for each in results] == [Verdict.MISCONFIGURED] * 2
    assert [each.push.to for each in results] == [A, B]


async def test_a_message_without_ids_is_an_error_of_the_caller() -> None:
    async with client_of() as client:
        with pytest.raises(ValueError, match="no registration_ids"):
            await client.send_multicast(LegacyMessage(to=A))
