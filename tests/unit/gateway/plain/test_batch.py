"""`POST /v1/push/batch`: results in the order of the pushes, whatever is wrong with one of them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.gateway import config_of
from tests.support.virtual_gateway import (
    ALERT,
    ANDROID,
    EXPO,
    IPHONE,
    Providers,
    VirtualClient,
    app,
    refused,
    serve,
)


def test_results_are_in_order_whatever_is_wrong_with_one(providers: Providers) -> None:
    pushes: list[Any] = [
        {"to": f"{number:064x}", "payload": ALERT, "ref": str(number)} for number in range(20)
    ]
    pushes[7] = {"to": IPHONE}
    pushes[8] = {"to": IPHONE, "payload": ALERT, "colour": "red"}
    pushes[9] = 9
    pushes[11] = {"to": IPHONE, "payload": ALERT, "app": "nobody", "ref": "eleven"}
    pushes[12] = {"to": "?", "payload": ALERT}
    providers.fates[f"{10:064x}"] = refused(400, "BadDeviceToken")

    async def work(client: VirtualClient) -> list[dict[str, Any]]:
        return await client.batch(pushes)

    results = serve(work)
    verdicts = ["ACCEPTED"] * 20
    verdicts[7:13] = ["INVALID"] * 6
    assert [result["verdict"] for result in results] == verdicts
    assert results[10]["reason"] == "BadDeviceToken"
    assert results[11]["ref"] == "eleven"
    assert [results[number]["ref"] for number in (0, 19)] == ["0", "19"]


def test_validate_only_of_one_and_of_all(providers: Providers) -> None:
    async def work(client: VirtualClient) -> None:
        one = await client.batch([{"to": IPHONE, "payload": ALERT, "validate_only": True}])
        every = await client.batch(
            [{"to": IPHONE, "payload": ALERT}, {"to": ANDROID, "payload": EXPO}], validate_only=True
        )
        assert [result["verdict"] for result in one + every] == ["UNSENT", "UNSENT", "ACCEPTED"]

    serve(work)
    ((path, _, body),) = providers.requests
    assert path.startswith("/v1/projects/")
    assert body["validate_only"] is True


def test_the_app_of_pushes_that_name_none(providers: Providers) -> None:
    config = config_of(app(), app(id="other"))

    async def work(client: VirtualClient) -> None:
        push = {"to": IPHONE, "payload": ALERT}
        (unclear,) = await client.batch([push])
        assert "expected app" in unclear["detail"]
        results = await client.batch([push, {**push, "app": "other"}, push], app="shop")
        assert [result["verdict"] for result in results] == ["ACCEPTED"] * 3
        assert [len(client.gateway.apps[name].senders) for name in ("shop", "other")] == [2, 2]
        assert client.gateway.apps["other"].apns().connections == 1

    serve(work, config)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"pushes": [{"to": IPHONE, "payload": ALERT}], "template": EXPO},
        {"template": EXPO},
        {"rows": [{"token": IPHONE}]},
        {"pushes": [{"to": IPHONE, "payload": ALERT}], "rows": []},
        {"pushes": []},
        {"pushes": [1] * 1001},
    ],
)
def test_either_pushes_or_a_template_with_rows(providers: Providers, body: dict[str, Any]) -> None:
    async def work(client: VirtualClient) -> None:
        reply = await client.post("/v1/push/batch", body)
        assert (reply.status, reply.problem) == (422, "invalid")

    serve(work)
    assert not providers.requests


def test_a_template_with_rows(providers: Providers) -> None:
    request = {
        "template": {"title": "Hi {{name}}"},
        "rows": [
            {"token": IPHONE, "name": 'Ada "', "ref": "ada"},
            {"token": ANDROID, "name": "Bo"},
            {"token": IPHONE},
            {"token": "?", "name": "Ed", "ref": 5},
            {"token": IPHONE, "name": "Flo", "topic": "com.other", "ref": "r" * 257},
        ],
        "collapse_id": "c",
        "expiration": 2_000_000_000,
    }

    async def work(client: VirtualClient) -> list[dict[str, Any]]:
        reply = await client.post("/v1/push/batch", request)
        results: list[dict[str, Any]] = reply.json()["results"]
        return results

    results = serve(work)
    assert [result["verdict"] for result in results] == ["ACCEPTED"] * 2 + ["INVALID"] * 3
    assert [result.get("ref") for result in results] == ["ada", None, None, None, None]
    assert "name" in results[2]["detail"]
    assert "no key or certificate for this topic" in results[4]["detail"]
    (_, fields, iphone), (_, _, android) = providers.requests
    assert iphone["aps"]["alert"] == {"title": 'Hi Ada "'}
    assert (fields["apns-collapse-id"], fields["apns-expiration"]) == ("c", "2000000000")
    assert android["message"]["notification"]["title"] == "Hi Bo"


def test_a_template_that_is_only_checked(providers: Providers) -> None:
    async def work(client: VirtualClient) -> list[dict[str, Any]]:
        request = {"template": EXPO, "rows": [{"token": IPHONE}, {"token": ANDROID}], "validate_only": True}
        results: list[dict[str, Any]] = (await client.post("/v1/push/batch", request)).json()["results"]
        return results

    assert [result["verdict"] for result in serve(work)] == ["UNSENT", "ACCEPTED"]
    assert len(providers.requests) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"template": {}}, "an empty object; expected a message"),
        ({"push_type": "loud"}, "unknown push_type; expected one of"),
        ({"priority": 3}, "expected priority 1, 5 or 10"),
        ({"app": "other"}, "no such app"),
    ],
)
def test_a_template_that_fits_no_row_is_rejected(
    providers: Providers, changes: dict[str, Any], words: str
) -> None:
    async def work(client: VirtualClient) -> None:
        reply = await client.post(
            "/v1/push/batch", {"template": EXPO, "rows": [{"token": IPHONE}], **changes}
        )
        assert reply.status == 422
        assert words in reply.json()["detail"]

    serve(work)
    assert not providers.requests


def test_after_a_crash_every_push_of_the_repeat_is_unknown(
    providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pushcore.gateway.idempotency.LOST", -1.0)
    body = {"pushes": [{"to": IPHONE, "payload": ALERT, "ref": "a"}, {"to": "?", "payload": ALERT}]}

    async def work(client: VirtualClient) -> list[dict[str, Any]]:
        async def die(key: bytes, record: bytes) -> None:
            raise SystemError("killed")

        with monkeypatch.context() as patch:
            patch.setattr(client.gateway.idempotency._store, "complete", die)
            assert (await client.post("/v1/push/batch", body, idempotency_key="k")).status == 500
        reply = await client.post("/v1/push/batch", body, idempotency_key="k")
        results: list[dict[str, Any]] = reply.json()["results"]
        return results

    unknown, wrong = serve(work)
    assert (unknown["verdict"], unknown["ref"], wrong["verdict"]) == ("UNKNOWN", "a", "INVALID")
    assert providers.tokens == [IPHONE]
