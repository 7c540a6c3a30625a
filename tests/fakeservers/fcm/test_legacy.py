"""The legacy API of the fake FCM: `/fcm/send` with a server key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fakeservers import FakeFcm, fated_registration
from fakeservers.fcm.fates import CANONICAL, FATES, canonical_of
from fakeservers.fcm.legacy import ERRORS, MAX_REGISTRATION_IDS, WHOLE
from fakeservers.responses.fcm import BY_FATE
from tests.fakeservers.client import Client, Reply
from tests.fakeservers.fcm_client import FID, FORM, TOKEN, Headers, curl, request_headers

GOOGLES_ERRORS = {
    *(
        "MissingRegistration",
        "InvalidRegistration",
        "NotRegistered",
        "InvalidPackageName",
        "MismatchSenderId",
    ),
    *("MessageTooBig", "InvalidDataKey", "InvalidTtl", "Unavailable", "InternalServerError"),
    *("DeviceMessageRateExceeded", "TopicsMessageRateExceeded", "InvalidApnsCredential"),
}


def legacy_headers(fake: FakeFcm, **changes: str | None) -> Headers:
    path = changes.pop("path", None) or "/fcm/send"
    changes.setdefault("authorization", f"key={fake.server_key}")
    return request_headers(fake, path, **changes)


async def push(fake: FakeFcm, client: Client, **message: Any) -> Reply:
    return await client.push(legacy_headers(fake), json.dumps(message).encode())


def results(reply: Reply) -> list[dict[str, Any]]:
    """What each device got, after a look at the sums."""
    assert reply.status == 200
    content = json.loads(reply.body)
    assert content.keys() == {"multicast_id", "success", "failure", "canonical_ids", "results"}
    listed: list[dict[str, Any]] = content["results"]
    assert content["failure"] == sum("error" in key for key in listed)
    assert content["success"] == sum("message_id" in key for key in listed)
    assert content["canonical_ids"] == sum("registration_id" in key for key in listed)
    assert content["success"] + content["failure"] == len(listed)
    return listed


def test_every_error_of_googles_can_be_had() -> None:
    assert set(ERRORS.values()) == GOOGLES_ERRORS
    assert ERRORS.keys() | WHOLE <= BY_FATE.keys()


async def test_one_device() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        reply = await push(fake, client, to=TOKEN, data={"deep": {"is": ["allowed", 1]}}, priority="high")
        [result] = results(reply)
        assert result.keys() == {"message_id"}
        assert result["message_id"].startswith("0:")
        assert fake.counts == {(200, ""): 1}


@pytest.mark.parametrize("fate", ERRORS)
async def test_each_error(fate: str) -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        reply = await push(fake, client, to=fated_registration(fate))
        assert results(reply) == [{"error": ERRORS[fate]}]
        assert ("retry-after" in reply.headers) == (fate == "Unavailable")
        assert fake.counts == {(200, ERRORS[fate]): 1}


@pytest.mark.parametrize(
    ("fate", "status"),
    [
        ("InternalTimeout", 500),
        ("EmptyBody", 500),
        ("BadGateway", 502),
        ("UnavailableUntilDate", 503),
        ("AccessTokenExpired", 401),
        ("PermissionDenied", 401),
        ("ServiceDisabled", 401),
        ("ProjectNotFound", 401),
        ("InvalidArgument", 400),
        ("WrongType", 400),
        ("UnknownName", 400),
        ("ApnsKeyType", 400),
    ],
)
async def test_what_the_whole_request_shares(fate: str, status: int) -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        reply = await push(fake, client, registration_ids=[TOKEN, fated_registration(fate, 1, ms=1)])
        assert reply.status == status
        if status == 400:
            assert reply.body == b"InvalidParameters\n"
        assert ("retry-after" in reply.headers) == (fate == "UnavailableUntilDate")


def test_every_fate_was_looked_at() -> None:
    shared = {"AccessTokenExpired", "PermissionDenied", "ServiceDisabled", "ProjectNotFound"}
    shared |= {"InvalidArgument", "WrongType", "UnknownName", "ApnsKeyType"}
    transport = {"Stall", "Slow", "RefusedStream", "InternalReset", "GoAway", "GoAwayBefore", "Cut"}
    assert ERRORS.keys() | WHOLE | shared | transport | {CANONICAL} == FATES


async def test_many_devices() -> None:
    canonical = fated_registration("Canonical", 9)
    tokens = [TOKEN, fated_registration("Unregistered"), canonical, "nonsense", FID, ""]
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        result = results(await push(fake, client, registration_ids=tokens))
        assert [item.get("error") for item in result] == [
            None,
            "NotRegistered",
            None,
            "InvalidRegistration",
            "InvalidRegistration",
            "MissingRegistration",
        ]
        assert result[2]["registration_id"] == canonical_of(canonical)
        assert "registration_id" not in result[0]
        assert fake.counts == {(200, ""): 1}
        # The new token is an ordinary one.
        assert results(await push(fake, client, to=canonical_of(canonical)))[0].keys() == {"message_id"}


async def test_retry_after_of_one_among_many() -> None:
    tokens = [TOKEN, fated_registration("Unavailable", 1, ms=17_000), TOKEN]
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        reply = await push(fake, client, registration_ids=tokens)
        assert [result.get("error") for result in results(reply)] == [None, "Unavailable", None]
        assert reply.headers["retry-after"] == "17"
        reply = await push(fake, client, registration_ids=[*tokens, fated_registration("BadGateway")])
        assert reply.status == 502


async def test_a_thousand_and_no_more() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        tokens = [f"{TOKEN}{number}" for number in range(MAX_REGISTRATION_IDS)]
        result = results(await push(fake, client, registration_ids=tokens))
        assert len({item["message_id"] for item in result}) == 1000
        reply = await push(fake, client, registration_ids=[*tokens, TOKEN])
        assert (reply.status, reply.body) == (
            400,
            b"Number of messages on bulk (1001) exceeds maximum allowed (1000)\n",
        )


async def test_topics_and_conditions() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        for target in ({"to": "/topics/news"}, {"condition": "'a' in topics && 'b' in topics"}):
            content = json.loads((await push(fake, client, **target)).body)
            assert content.keys() == {"message_id"}
            assert isinstance(content["message_id"], int)
        fake.fates["/topics/news"] = "TopicRateExceeded"
        content = json.loads((await push(fake, client, to="/topics/news")).body)
        assert content == {"error": "TopicsMessageRateExceeded"}
        assert (await push(fake, client, to="/topics/a b")).status == 400
        assert (await push(fake, client, condition="nonsense")).status == 400
        reply = await push(fake, client, to="/topics/news", data={"k": "x" * 2048})
        assert json.loads(reply.body) == {"error": "MessageTooBig"}


async def test_device_groups() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        dead = fated_registration("Unregistered")
        fake.groups["aUniqueKey"] = [TOKEN, dead]
        fake.groups["another"] = [TOKEN]
        reply = await push(fake, client, to="aUniqueKey")
        assert json.loads(reply.body) == {"success": 1, "failure": 1, "failed_registration_ids": [dead]}
        assert json.loads((await push(fake, client, to="another")).body) == {"success": 1, "failure": 0}
        assert results(await push(fake, client, to="unknown")) == [{"error": "InvalidRegistration"}]


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({}, "MissingRegistration"),
        ({"to": ""}, "MissingRegistration"),
        ({"to": TOKEN, "data": {"from": "x"}}, "InvalidDataKey"),
        ({"to": TOKEN, "data": {"google.x": "x"}}, "InvalidDataKey"),
        ({"to": TOKEN, "time_to_live": -1}, "InvalidTtl"),
        ({"to": TOKEN, "time_to_live": 2_419_201}, "InvalidTtl"),
        ({"to": TOKEN, "time_to_live": 1.5}, "InvalidTtl"),
        ({"to": TOKEN, "data": {"k": "x" * 4096}}, "MessageTooBig"),
        ({"to": TOKEN, "data": {"k": "x" * 4000}, "notification": {"body": "x" * 100}}, "MessageTooBig"),
        ({"to": TOKEN, "data": {"k": "x" * 4095}, "time_to_live": 2_419_200}, None),
        ({"to": TOKEN, "an_unknown_key": 1, "collapse_key": None}, None),
    ],
    ids=lambda case: str(case)[:60],
)
async def test_rules_that_every_recipient_shares(message: dict[str, Any], error: str | None) -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        [result] = results(await push(fake, client, **message))
        assert result.get("error") == error


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"to": 5}, 'Field "to" must be a JSON string: 5'),
        ({"to": TOKEN, "data": "x"}, 'Field "data" must be a JSON object: "x"'),
        ({"to": TOKEN, "notification": []}, 'Field "notification" must be a JSON object: []'),
        ({"to": TOKEN, "dry_run": "yes"}, 'Field "dry_run" must be a JSON boolean: "yes"'),
        ({"to": TOKEN, "time_to_live": "5"}, 'Field "time_to_live" must be a JSON number: "5"'),
        ({"to": TOKEN, "time_to_live": True}, 'Field "time_to_live" must be a JSON number: true'),
        ({"to": TOKEN, "priority": "urgent"}, 'InvalidParameters: Invalid value for "priority": urgent'),
        ({"registration_ids": TOKEN}, 'Field "registration_ids" must be a JSON array'),
        ({"registration_ids": [1]}, 'Field "registration_ids" must be a JSON array of strings'),
        ({"registration_ids": []}, '"registration_ids" field cannot be empty'),
        ({"registration_ids": [TOKEN], "to": TOKEN}, 'Must use either "registration_ids" field or "to"'),
        ({"condition": "'a' in topics", "to": TOKEN}, 'Must use either "condition" field or "to"'),
    ],
    ids=lambda case: str(case)[:60],
)
async def test_what_is_refused_as_a_whole(message: dict[str, Any], words: str) -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        reply = await push(fake, client, **message)
        assert (reply.status, reply.headers["content-type"]) == (400, "text/plain; charset=UTF-8")
        assert reply.body.decode().startswith(words)
        assert fake.counts == {(400, "InvalidParameters"): 1}


@pytest.mark.parametrize("body", [b"nonsense", b"", b"[1]", b'"x"'])
async def test_what_is_no_json(body: bytes) -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        reply = await client.push(legacy_headers(fake), body)
        assert (reply.status, reply.body[:5]) == (400, b"JSON_")


async def test_dry_run() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        assert results(await push(fake, client, to=TOKEN, dry_run=True)) == [
            {"message_id": "fake_message_id"}
        ]
        reply = await push(fake, client, to="/topics/a", dry_run=True)
        assert json.loads(reply.body) == {"message_id": -1}


@pytest.mark.parametrize("authorization", [None, "key=", "key=wrong", "Bearer x", "key"])
async def test_keys(authorization: str | None) -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        reply = await client.push(legacy_headers(fake, authorization=authorization), b"{}")
        assert (reply.status, reply.headers["content-type"]) == (401, "text/html; charset=UTF-8")
        assert fake.counts == {(401, "Unauthorized"): 1}


async def test_another_key_and_another_method() -> None:
    async with FakeFcm(server_key="mine") as fake, await Client.connect(fake) as client:
        headers = legacy_headers(fake, authorization="key=mine")
        assert (await client.push(headers, json.dumps({"to": TOKEN}).encode())).status == 200
        reply = await client.push(legacy_headers(fake, method="GET"), b"")
        assert (reply.status, reply.headers["content-type"]) == (405, "text/html; charset=UTF-8")


@pytest.mark.parametrize(
    ("form", "status", "answer"),
    [
        (f"registration_id={TOKEN}&data.a=b&time_to_live=60&dry_run=1", 200, "id=fake_message_id"),
        (f"registration_id={fated_registration('Unregistered')}", 200, "Error=NotRegistered"),
        (f"registration_id={TOKEN}&time_to_live=x", 200, "Error=InvalidTtl"),
        (f"registration_id={TOKEN}&data.from=x", 200, "Error=InvalidDataKey"),
        ("data.a=b", 200, "Error=MissingRegistration"),
        (f"registration_id={TOKEN}&priority=x", 400, "InvalidParameters"),
    ],
)
async def test_forms(form: str, status: int, answer: str) -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        reply = await client.push(legacy_headers(fake, content_type=FORM), form.encode())
        assert (reply.status, reply.headers["content-type"]) == (status, "text/plain; charset=UTF-8")
        assert reply.body.decode().startswith(answer)


async def test_the_canonical_id_of_a_form() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        token = fated_registration("Canonical")
        reply = await client.push(
            legacy_headers(fake, content_type=FORM), f"registration_id={token}".encode()
        )
        first, second = reply.body.decode().split("\n")
        assert first.startswith("id=0:")
        assert second == f"registration_id={canonical_of(token)}"


@pytest.mark.parametrize(("fate", "code"), [("RefusedStream", 7), ("InternalReset", 2)])
async def test_a_reset_stream(fate: str, code: int) -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        reply = await push(fake, client, registration_ids=[TOKEN, fated_registration(fate)])
        assert reply.reset == code


@pytest.mark.needs("curl")
async def test_curl() -> None:
    async with FakeFcm() as fake:
        code, output = await curl(
            *("--http1.1", "--cacert", fake.ca_file, "-H", f"authorization: key={fake.server_key}"),
            *("-H", "content-type: application/json", "--data-binary", json.dumps({"to": TOKEN})),
            f"{fake.url}/fcm/send",
        )
        assert code == 0
        assert json.loads(output)["success"] == 1
