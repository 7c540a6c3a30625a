"""`POST /v1/push`: one push in, its result out."""

from __future__ import annotations

import gzip
from typing import Any

import orjson
import pytest

from pushcore.gateway.callers import digest_of
from pushcore.gateway.config import CallerSection
from pushcore.gateway.plain.pushes import check
from pushcore.models.fcm import Message
from pushcore.payloads.template import Template
from pushcore.results import Result, Verdict
from tests.support.gateway import TOKEN, config_of
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


def test_the_result_is_the_providers_verdict(providers: Providers) -> None:
    providers.fates[IPHONE] = refused(410, "Unregistered", timestamp=1_700_000_000_000)

    async def work(client: VirtualClient) -> None:
        result = await client.push(to=IPHONE, payload=ALERT, ref="r")
        assert (result["verdict"], result["reason"], result["status"]) == (
            "UNREGISTERED",
            "Unregistered",
            410,
        )
        assert (result["drop_token"], result["timestamp"], result["ref"]) == (True, 1_700_000_000, "r")
        accepted = await client.push(to=ANDROID, payload=EXPO)
        assert accepted == {
            "verdict": "ACCEPTED",
            "status": 200,
            "id": "projects/my-project/messages/17",
        }

    serve(work)


@pytest.mark.parametrize(
    ("body", "status", "name"),
    [
        (b"", 400, "json"),
        (b"{", 400, "json"),
        (b'{"payload":' * 100_000, 400, "json"),
        (b"[]", 422, "invalid"),
        (b'{"payload":{},"colour":1}', 422, "invalid"),
        (b'{"to":"x"}', 422, "invalid"),
        (orjson.dumps({"to": IPHONE, "payload": ALERT, "app": "other"}), 422, "no-app"),
        (orjson.dumps({"to": IPHONE, "payload": ALERT, "ref": "r" * 257}), 422, "invalid"),
    ],
)
def test_a_wrong_request_is_a_problem(providers: Providers, body: bytes, status: int, name: str) -> None:
    async def work(client: VirtualClient) -> None:
        reply = await client.post("/v1/push", body)
        assert (reply.status, reply.problem) == (status, name)

    serve(work)
    assert not providers.requests


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_a_byte_order_mark_before_the_body_is_ignored(providers: Providers, encoding: str) -> None:
    """As .NET writes UTF-8."""
    body = b"\xef\xbb\xbf" + orjson.dumps({"to": IPHONE, "payload": ALERT})
    if encoding == "gzip":
        body = gzip.compress(body)

    async def work(client: VirtualClient) -> None:
        reply = await client.post("/v1/push", body, content_encoding=encoding)
        assert reply.json()["verdict"] == "ACCEPTED"

    serve(work)


def test_a_push_that_cannot_be_sent_is_a_result(providers: Providers) -> None:
    async def work(client: VirtualClient) -> None:
        result = await client.push(to="?", payload=ALERT, ref="r")
        assert (result["verdict"], result["ref"]) == ("INVALID", "r")

    serve(work)
    assert not providers.requests


def test_validate_only_delivers_nothing(providers: Providers) -> None:
    async def work(client: VirtualClient) -> None:
        checked = await client.push(to=IPHONE, payload=ALERT, validate_only=True)
        assert (checked["verdict"], checked["detail"]) == ("UNSENT", "checked, and not sent")
        broadcast = await client.push(channel="Y2g=", payload=ALERT, validate_only=True)
        assert broadcast["detail"] == "checked, and not sent"
        long = await client.push(to=IPHONE, payload={"aps": {}, "x": "x" * 5000}, validate_only=True)
        assert (long["verdict"], long["reason"]) == ("INVALID", "PayloadTooLarge")
        assert not providers.requests
        fcm = await client.push(to=ANDROID, payload=EXPO, validate_only=True)
        assert fcm["verdict"] == "ACCEPTED"

    serve(work)
    ((_, _, body),) = providers.requests
    assert body["validate_only"] is True


def test_a_rendered_template_is_checked_as_a_message(providers: Providers) -> None:
    async def work(client: VirtualClient) -> None:
        sender = client.gateway.apps["shop"].to_fcm()
        rendered = Template({"title": "Hi {{name}}"}, format="expo").render({"token": ANDROID, "name": "Ada"})
        checked = check((sender, rendered))
        assert not isinstance(checked, Result)
        assert type(checked[1]) is Message
        assert (checked[1].validate_only, checked[1].token) == (True, ANDROID)

    serve(work)


def test_a_caller_above_its_rate_is_told_before_the_push(providers: Providers) -> None:
    callers = (CallerSection(name="web", tokens=(digest_of(TOKEN),), rate=1.0),)

    async def work(client: VirtualClient) -> None:
        body = {"to": IPHONE, "payload": ALERT}
        assert (await client.post("/v1/push", body)).status == 200
        reply = await client.post("/v1/push", body)
        assert (reply.status, reply.problem, reply.headers["retry-after"]) == (429, "rate-exceeded", "1")

    serve(work, config_of(app(), callers=callers))
    assert providers.tokens == [IPHONE]


def test_a_repeat_by_its_key_sends_nothing(providers: Providers) -> None:
    async def work(client: VirtualClient) -> None:
        body = {"to": IPHONE, "payload": ALERT}
        first = await client.post("/v1/push", body, idempotency_key="k")
        again = await client.post("/v1/push", body, idempotency_key="k")
        assert (again.body, again.headers["idempotent-replayed"]) == (first.body, "true")
        other = await client.post("/v1/push", {**body, "ref": "r"}, idempotency_key="k")
        assert (other.status, other.problem) == (422, "idempotency-key")

    serve(work)
    assert providers.tokens == [IPHONE]


def test_after_a_crash_the_repeat_hears_that_it_may_have_been_delivered(
    providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pushcore.gateway.idempotency.LOST", -1.0)

    async def work(client: VirtualClient) -> Any:
        idempotency = client.gateway.idempotency

        async def die(key: bytes, record: bytes) -> None:
            raise SystemError("killed")

        with monkeypatch.context() as patch:
            patch.setattr(idempotency._store, "complete", die)
            body = {"to": IPHONE, "payload": ALERT, "ref": "r"}
            assert (await client.post("/v1/push", body, idempotency_key="k")).status == 500
        return (await client.post("/v1/push", body, idempotency_key="k")).json()

    result = serve(work)
    assert (result["verdict"], result["ref"]) == (Verdict.UNKNOWN.value, "r")
    assert "interrupted" in result["detail"]
    assert providers.tokens == [IPHONE]
