"""The control port: looking at the fakes and changing them while they run."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client.parser import text_string_to_metric_families

from fakeservers import Control, ControlService, FakeApns, FaultPlan, fated_token
from fakeservers.control.service import PARTS
from tests.fakeservers.client import DEVICE, Client, headers_for, provider_token
from tests.fakeservers.control_client import ISSUED, ask, scene
from tests.fakeservers.fcm_client import Watcher, send_body, send_headers


async def test_counters() -> None:
    async with scene() as running:
        for device in (DEVICE, DEVICE, fated_token("Unregistered")):
            await running.push(device)
        content = (await running.ask("GET", "/v1/counters")).json["services"]
        apns = content["apns"]
        assert (apns["requests"], apns["connections"], apns["streams"]) == (3, 1, 0)
        assert {(row["status"], row["reason"]): row["count"] for row in apns["answers"]} == {
            (200, ""): 2,
            (410, "Unregistered"): 1,
        }
        assert apns["latency"]["answers"] == 3
        assert 0 < apns["latency"]["p50"] <= apns["latency"]["p90"] <= apns["latency"]["p99"] < 5
        assert content["fcm"]["requests"] == 0


async def test_prometheus() -> None:
    async with scene() as running:
        await running.push()
        await running.push(fated_token("TooManyRequests"))
        answer = await running.ask("GET", "/metrics")
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
        samples = {
            (sample.labels["service"], sample.labels["status"], sample.labels["reason"]): sample.value
            for sample in families["fakeservers_answers"].samples
        }
        assert samples == {("apns", "200", ""): 1, ("apns", "429", "TooManyRequests"): 1}
        buckets = [
            sample.value
            for sample in families["fakeservers_answer_seconds"].samples
            if sample.name.endswith("_bucket") and sample.labels["service"] == "apns"
        ]
        assert buckets == sorted(buckets)
        assert buckets[-1] == 2


async def test_what_was_received_is_found_by_token_topic_and_time() -> None:
    async with scene() as running:
        running.apns.registry.allow(running.apns.team_id, "com.example.two")
        running.client.transport.close()
        async with await Client.connect(running.apns) as running.client:
            await running.push("aa" * 32)
            await running.push("bb" * 32, apns_topic="com.example.two")
            await running.push("aa" * 32, apns_topic="com.example.two")
        times = [record.time for record in running.apns.received]

        async def tokens(query: str) -> list[str]:
            content = (await running.ask("GET", f"/v1/received?{query}")).json
            assert content["matching"] == len(content["received"])
            return [record["token"][:2] + record["topic"][-1] for record in content["received"]]

        assert await tokens("") == ["aao", "bbo", "aap"]
        assert await tokens("token=" + "aa" * 32) == ["aao", "aap"]
        assert await tokens("topic=com.example.two") == ["aao", "bbo"]
        assert await tokens("topic=com.example.two&token=" + "bb" * 32) == ["bbo"]
        assert await tokens(f"since={times[1]}") == ["aao", "bbo"]
        assert await tokens(f"until={times[1]}") == ["bbo", "aap"]
        assert await tokens("service=fcm") == []


async def test_pages_stay_as_they_are_while_more_arrives() -> None:
    async with scene() as running:
        for number in range(5):
            await running.push(f"{number:064x}")
        seen: list[str] = []
        path = "/v1/received?limit=2"
        while path:
            page = (await running.ask("GET", path)).json
            seen += [record["token"][-1] for record in page["received"]]
            path = page.get("next", "")
            await running.push("ff" * 32)
        assert seen == ["4", "3", "2", "1", "0"]


async def test_a_record_says_all_but_the_secret() -> None:
    async with scene() as running:
        await running.push(body=b'{"aps":{"alert":"<b>Hi</b>"}}')
        answer = await running.ask("GET", "/v1/received")
        (record,) = answer.json["received"]
        token = provider_token(running.apns, issued=ISSUED)
        assert record["payload"] == {"aps": {"alert": "<b>Hi</b>"}}
        assert record["headers"]["authorization"].startswith("bearer … (")
        assert token.split(".")[2].encode() not in answer.body
        assert (record["service"], record["status"], record["token"]) == ("apns", 200, DEVICE)


@pytest.mark.parametrize(
    ("body", "field", "value"),
    [
        (b"\xff\x00", "body_base64", "/wA="),
        (b'{"aps":' + b"[" * 300 + b"]" * 300 + b"}", "body_bytes", 608),
        (b"", "body_bytes", 0),
    ],
)
async def test_a_body_that_is_no_payload_is_shown_all_the_same(body: bytes, field: str, value: Any) -> None:
    async with scene() as running:
        await running.push(body=body)
        (record,) = (await running.ask("GET", "/v1/received")).json["received"]
        assert record[field] == value
        assert (await running.ask("GET", "/v1/state")).status == 200


async def test_forgetting() -> None:
    async with scene() as running:
        await running.push("aa" * 32)
        await running.push("bb" * 32)
        assert (await running.ask("DELETE", "/v1/received?token=" + "aa" * 32)).json == {"cleared": 1}
        assert [record.token for record in running.apns.received] == ["bb" * 32]
        assert (await running.ask("DELETE", "/v1/received")).json == {"cleared": 1}
        assert not running.apns.received
        assert running.apns.received.maxlen == 1000


async def test_reset() -> None:
    async with scene() as running:
        await running.push()
        await running.ask("PUT", "/v1/faults", {"plan": {"faults": [{"what": {"kind": "stall"}}]}})
        assert (await running.ask("POST", "/v1/reset", {"what": ["counters"]})).status == 200
        assert (running.apns.counts, running.apns.server.counters.requests, len(running.apns.received)) == (
            {},
            0,
            1,
        )
        assert len(running.apns.faults) == 1
        assert (await running.ask("POST", "/v1/reset", {})).json == {"reset": list(PARTS)}
        assert (len(running.apns.received), len(running.apns.faults)) == (0, 0)
        assert sum(running.apns.server.latency.counts) == 0


async def test_reset_puts_back_the_plan_of_the_start() -> None:
    plan = FaultPlan.preset("brownout", seed=9)
    first = plan.to_dict()
    async with FakeApns(faults=plan) as apns, Control(ControlService(apns)) as control:
        await ask(control, "PATCH", "/v1/faults/stall", {"enabled": False})
        await ask(control, "DELETE", "/v1/faults/down")
        await ask(control, "POST", "/v1/faults", {"id": "mine", "what": {"kind": "stall"}})
        plan.hits["mine"] = 3
        await ask(control, "POST", "/v1/reset", {"what": ["counters", "received"]})
        assert "mine" in plan
        epoch = plan.epoch
        await ask(control, "POST", "/v1/reset", {"what": ["faults"]})
        assert (plan.to_dict(), plan.hits, plan.epoch) == (first, {}, epoch + 1)
        await ask(control, "PUT", "/v1/faults", {"plan": {}})
        assert len(plan) == 0
        await ask(control, "POST", "/v1/reset", {})
        assert plan.to_dict() == first


async def test_devices_are_registered_and_forgotten() -> None:
    async with scene() as running:
        devices = [{"token": "AA" * 32, "fate": "Unregistered", "since": 5}, {"token": "bb" * 32}]
        assert (await running.ask("POST", "/v1/apns/devices", {"devices": devices})).json == {"devices": 2}
        assert (await running.push("aa" * 32)).body == b'{"reason":"Unregistered","timestamp":5}'
        page = (await running.ask("GET", "/v1/apns/devices?offset=1&limit=1")).json
        assert page == {
            "devices": [{"token": "bb" * 32, "topic": None, "fate": "", "since": None}],
            "matching": 2,
        }
        assert (await running.ask("DELETE", "/v1/apns/devices/" + "aa" * 32)).status == 204
        assert (await running.push("aa" * 32)).status == 200
        assert (await running.ask("DELETE", "/v1/apns/devices/" + "aa" * 32)).status == 404


async def test_keys_are_registered_and_revoked() -> None:
    async with scene() as running:
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        body = {"team_id": running.apns.team_id, "pem": pem.decode(), "topics": ["com.example.app"]}
        assert (await running.ask("PUT", "/v1/apns/keys/OTHERKEY01", body)).status == 200
        listed = (await running.ask("GET", "/v1/apns/keys")).json["keys"]
        assert [item["key_id"] for item in listed] == ["FAKEKEY001", "OTHERKEY01"]
        assert "pem" not in listed[1]
        token = provider_token(running.apns, issued=ISSUED, header={"kid": "OTHERKEY01"}, key=key)
        async with await Client.connect(running.apns) as client:
            assert (await client.push(headers_for(running.apns, token))).status == 200
            assert (await running.ask("DELETE", "/v1/apns/keys/OTHERKEY01")).status == 204
            assert (await client.push(headers_for(running.apns, token))).reason == "InvalidProviderToken"
        bad = await running.ask("PUT", "/v1/apns/keys/OTHERKEY01", {"team_id": "T", "pem": "nonsense"})
        assert (bad.status, bad.detail) == (400, "pem is no P-256 key in PEM without a password")


async def test_topics_are_allowed_and_taken() -> None:
    async with scene() as running:
        team = running.apns.team_id
        answer = await running.ask("POST", "/v1/apns/topics", {"team_id": team, "topics": ["a.b"]})
        assert answer.json == {"team_id": team, "topics": ["com.example.app", "a.b"]}
        assert (await running.push(apns_topic="a.b")).status == 200
        assert (await running.ask("DELETE", f"/v1/apns/topics/{team}/a.b")).status == 204
        assert (await running.ask("GET", "/v1/apns/topics")).json == {"teams": {team: ["com.example.app"]}}
        assert (await running.ask("DELETE", f"/v1/apns/topics/{team}/com.example.app")).status == 409


async def test_channels_are_registered_found_and_deleted() -> None:
    async with scene() as running:
        path = "/v1/apns/channels/com.example.app"
        body: dict[str, Any] = {
            "channels": [{"channel_id": "Zm9v", "policy": 1}, {"channel_id": "YmFy"}, {"channel_id": "+/+/"}]
        }
        assert (await running.ask("POST", path, body)).json == {"channels": 3}
        assert (await running.ask("GET", f"{path}?limit=2")).json == {
            "channels": [{"channel_id": "Zm9v", "policy": 1}, {"channel_id": "YmFy", "policy": 0}],
            "matching": 3,
            "enabled": True,
        }

        async def broadcast(channel_id: str) -> str:
            reply = await running.push(
                path="/4/broadcasts/apps/com.example.app",
                apns_channel_id=channel_id,
                apns_push_type="liveactivity",
                apns_expiration="0",
                apns_priority="10",
            )
            return reply.reason or str(reply.status)

        assert await broadcast("Zm9v") == await broadcast("+/+/") == "200"
        assert (await running.ask("DELETE", f"{path}?channel_id=%2B%2F%2B%2F")).json == {"cleared": 1}
        assert (await running.ask("DELETE", f"{path}?channel_id=Zm9v")).json == {"cleared": 1}
        assert await broadcast("Zm9v") == "ChannelNotRegistered"
        assert (await running.ask("PATCH", path, {"enabled": False})).json["enabled"] is False
        assert await broadcast("YmFy") == "FeatureNotEnabled"
        await running.ask("PATCH", path, {"enabled": True})
        assert await broadcast("YmFy") == "ChannelNotRegistered"  # it went with the capability
        assert (await running.ask("DELETE", path)).json == {"cleared": 0}

        bad = await running.ask("POST", path, {"channels": [{"channel_id": "YmFy"}, {"channel_id": "abc"}]})
        assert (bad.status, bad.detail[:51]) == (400, "the body.channels[1].channel_id is 'abc': String sh")
        many = [{"channel_id": f"{number:08d}"} for number in range(10_000)]
        assert (await running.ask("POST", path, {"channels": many})).status == 200
        bad = await running.ask("POST", path, {"channels": [{"channel_id": "YmFy"}]})
        assert (bad.status, bad.detail) == (409, "that would be 10001 channels, and an app may have 10000")
        shown = (await running.ask("GET", "/v1/received?limit=1")).json["received"]
        assert shown[0]["token"] == "/4/broadcasts/apps/com.example.app"
        assert (await running.ask("GET", "/v1/state")).status == 200


async def test_fates_subscriptions_and_oauth_of_fcm() -> None:
    body: dict[str, Any]
    target, registration = "'a' in topics || 'b/c' in topics", "c" * 22 + ":APA91b" + "0" * 128
    async with scene() as running:
        body = {"fates": [{"target": target, "fate": "Unavailable"}], "next": ["Internal"]}
        assert (await running.ask("POST", "/v1/fcm/fates", body)).json == {"fates": 1, "next": 1}
        token = f"Bearer {running.fcm.oauth.issue()}"
        async with await Watcher.connect(running.fcm) as client:
            answer = await client.push(send_headers(running.fcm, authorization=token), send_body())
            assert answer.status == 500
        content = (await running.ask("GET", "/v1/fcm/fates")).json
        assert content == {"fates": [{"target": target, "fate": "Unavailable"}], "next": [], "matching": 1}
        path = "/v1/fcm/fates/%27a%27%20in%20topics%20%7C%7C%20%27b%2Fc%27%20in%20topics"
        assert (await running.ask("DELETE", path)).status == 204
        assert running.fcm.fates == {}

        path = f"/v1/fcm/subscriptions/{registration}"
        content = (await running.ask("POST", path, {"topics": ["news", "sport"]})).json
        assert list(content["topics"]) == ["news", "sport"]
        assert (await running.ask("DELETE", f"{path}/news")).status == 204
        assert list(running.fcm.subscriptions.topics(registration)) == ["sport"]
        assert (await running.ask("DELETE", f"{path}/news")).status == 404

        body = {"lifetime": 60, "delay": 0.5, "down": True, "error": "invalid_grant", "tokens": "expire"}
        oauth = await running.ask("PATCH", "/v1/fcm/oauth", body)
        assert oauth.json == {"lifetime": 60, "delay": 0.5, "down": True, "error": "invalid_grant"}
        assert running.fcm.oauth.down
        assert running.fcm.oauth.check(token.encode()) == "ACCESS_TOKEN_EXPIRED"


async def test_faults_are_added_switched_replaced_and_removed() -> None:
    async with scene() as running:
        fault = {
            "id": "busy",
            "when": {"provider": "apns"},
            "what": {"kind": "answer", "reason": "ServiceUnavailable"},
        }
        added = await running.ask("POST", "/v1/faults", fault)
        assert (added.status, added.json["id"]) == (201, "busy")
        assert (await running.push()).status == 503
        assert (await running.ask("POST", "/v1/faults", fault)).status == 409
        assert (await running.ask("PATCH", "/v1/faults/busy", {"enabled": False})).status == 200
        assert (await running.push()).status == 200
        (listed,) = (await running.ask("GET", "/v1/faults")).json["faults"]
        assert (listed["hits"], listed["enabled"], listed["in_force"]) == (1, False, False)
        fault["what"] = {"kind": "answer", "reason": "TooManyRequests"}
        assert (await running.ask("PUT", "/v1/faults/busy", fault)).status == 200
        assert (await running.push()).status == 429
        assert (await running.ask("DELETE", "/v1/faults/busy")).status == 204
        assert (await running.push()).status == 200
        assert (await running.ask("DELETE", "/v1/faults/busy")).status == 404


async def test_a_ready_made_plan_takes_the_place_of_another() -> None:
    async with scene() as running:
        names = (await running.ask("GET", "/v1/faults")).json["presets"]
        for name in names:
            answer = await running.ask("PUT", "/v1/faults", {"preset": name, "seed": 7, "scale": 0.5})
            assert answer.status == 200
            assert answer.json["plan"]["seed"] == 7
            plan = running.apns.faults.to_dict()
            assert [fault["id"] for fault in plan["faults"]] == [
                fault["id"] for fault in answer.json["faults"]
            ]
            assert running.fcm.faults.to_dict() == plan


@pytest.mark.parametrize(
    ("method", "path", "body", "complaint"),
    [
        ("PUT", "/v1/faults", {"preset": "no-such"}, "no-such"),
        ("PUT", "/v1/faults", {}, "one of plan and preset is needed"),
        ("PUT", "/v1/faults", {"plan": {}, "preset": "calm"}, "one of plan and preset is needed"),
        ("PUT", "/v1/faults", {"plan": {"faults": [{"what": {"kind": "luck"}}]}}, "luck"),
        (
            "PUT",
            "/v1/faults",
            {"plan": {"faults": [{"what": {"kind": "stall"}, "when": {"share": 2}}]}},
            "share",
        ),
        ("PUT", "/v1/faults", {"plan": {"fault": []}}, "unknown key"),
        ("POST", "/v1/faults", {"what": {"kind": "answer", "reason": "Luck"}}, "Luck"),
        ("POST", "/v1/faults", {"id": "x"}, "the body.what: Field required"),
        ("POST", "/v1/faults", [], "the body is []: Input should be a valid dictionary"),
        ("PATCH", "/v1/faults/x", {"enabled": 1}, "the body.enabled is 1: Input should be a valid boolean"),
        (
            "PATCH",
            "/v1/faults/x",
            {"enabled": True, "hits": 0},
            "the body.hits is 0: Extra inputs are not permitted",
        ),
        ("PATCH", "/v1/faults/..x", {"enabled": True}, "fault_id is '..x': String should match pattern"),
        (
            "POST",
            "/v1/apns/devices",
            {"devices": []},
            "the body.devices is []: List should have at least 1 item",
        ),
        ("POST", "/v1/apns/devices", {"devices": [{"token": "abc"}]}, "the body.devices[0].token is 'abc'"),
        (
            "POST",
            "/v1/apns/devices",
            {"devices": [{"token": "ab\n"}]},
            "the body.devices[0].token is 'ab\\n'",
        ),
        ("POST", "/v1/apns/devices", {"devices": [{"token": "ab", "fate": "Luck"}]}, "is none of"),
        (
            "POST",
            "/v1/apns/topics",
            {"team_id": "T", "topics": ["<b>"]},
            "the body.topics[0] is '<b>': String should match pattern",
        ),
        (
            "POST",
            "/v1/reset",
            {"what": ["all"]},
            "the body.what[0] is 'all': Input should be 'received', 'counters', 'faults', 'connections', 'fates', 'oauth', 'registry', 'channels' or 'subscriptions'",
        ),
        (
            "PATCH",
            "/v1/fcm/oauth",
            {"delay": -1},
            "the body.delay is -1: Input should be greater than or equal to 0",
        ),
        ("PATCH", "/v1/fcm/oauth", {"delay": "1"}, "the body.delay is '1': Input should be a valid number"),
        (
            "GET",
            "/v1/received?limit=1001",
            None,
            "limit is '1001': Input should be less than or equal to 1000",
        ),
        ("GET", "/v1/received?limit=x", None, "limit is 'x': Input should be a valid integer"),
        ("GET", "/v1/received?since=nan", None, "since is 'nan': Input should be a finite number"),
        ("GET", "/v1/received?sort=up", None, "there is no parameter 'sort', but service, token"),
        ("GET", "/v1/received?limit=1&limit=2", None, "limit is there twice"),
        ("GET", "/v1/state?x=1", None, "there is no parameter 'x', but none"),
    ],
)
async def test_bad_input_is_one_sentence_and_changes_nothing(
    method: str, path: str, body: Any, complaint: str
) -> None:
    async with scene() as running:
        answer = await running.ask(method, path, body)
        assert answer.status == 400
        assert complaint in answer.detail
        assert "\n" not in answer.detail
        assert len(running.apns.faults) == 0
        assert running.apns.registry.devices() == {}


@pytest.mark.parametrize("body", [b"{", b"nan", b'{"scale": NaN}', b'{"what": ["\xff"]}', b"[" * 100_000])
async def test_a_body_that_is_not_json(body: bytes) -> None:
    async with scene() as running:
        answer = await running.ask("PUT", "/v1/faults", body, {"content-type": "application/json"})
        assert answer.status == 400
        assert "the body is not JSON" in answer.detail


async def test_a_body_that_is_missing() -> None:
    async with scene() as running:
        answer = await running.ask("POST", "/v1/reset", b"", {"content-type": "application/json"})
        assert (answer.status, answer.detail) == (400, "the body: Field required")


async def test_a_whole_number_may_be_written_with_a_fraction_of_zero() -> None:
    async with scene() as running:
        sent: tuple[tuple[str, str, bytes, bytes], ...] = (
            ("PATCH", "/v1/fcm/oauth", b'{"lifetime": 60.0}', b'{"lifetime": 60.5}'),
            ("PUT", "/v1/faults", b'{"preset": "calm", "seed": 7.0}', b'{"preset": "calm", "seed": 7.5}'),
            (
                "POST",
                "/v1/apns/devices",
                b'{"devices": [{"token": "ab", "since": 1.0}]}',
                b'{"devices": [{"token": "ab", "since": true}]}',
            ),
            (
                "POST",
                "/v1/apns/channels/app",
                b'{"channels": [{"channel_id": "Zm9v", "policy": 1.0}]}',
                b'{"channels": [{"channel_id": "Zm9v", "policy": true}]}',
            ),
        )
        for method, path, good, bad in sent:
            kind = {"content-type": "application/json"}
            assert (await running.ask(method, path, good, kind)).status == 200
            assert (await running.ask(method, path, bad, kind)).status == 400
        (device,) = (await running.ask("GET", "/v1/apns/devices")).json["devices"]
        assert type(device["since"]) is int


async def test_a_payload_is_shown_as_deep_as_it_is_read() -> None:
    async with scene() as running:
        for depth in (1, 100, 248):
            await running.push(body=b'{"a":' * depth + b"1" + b"}" * depth)
            (record,) = (await running.ask("GET", "/v1/received?limit=1")).json["received"]
            assert "payload" in record


async def test_a_service_that_does_not_run() -> None:
    async with FakeApns() as apns, Control(ControlService(apns)) as control:
        answer = await ask(control, "GET", "/v1/fcm/fates")
        assert (answer.status, answer.detail) == (404, "there is no fake FCM here")
        assert list((await ask(control, "GET", "/v1/state")).json["services"]) == ["apns"]


async def test_unknown_paths() -> None:
    async with scene() as running:
        for path in ("/v2", "/v1", "/docs", "/redoc"):
            answer = await running.ask("GET", path)
            assert (answer.status, answer.detail[:21]) == (404, "there is nothing here")


async def test_events_come_as_things_happen() -> None:
    async with scene() as running:
        host, port = running.control.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /v1/events HTTP/1.1\r\nHost: %b:%b\r\n\r\n" % (host.encode(), port.encode()))
        assert b"text/event-stream" in await reader.readuntil(b"\r\n\r\n")

        async def event() -> tuple[str, Any]:
            await reader.readuntil(b"\nevent: ")
            name = (await reader.readline()).decode().strip()
            data = (await reader.readline()).decode()
            return name, json.loads(data.removeprefix("data: "))

        async with asyncio.timeout(10):
            name, history = await event()
            assert (name, len(history)) == ("history", 1)
            assert (await event())[0] == "state"
            await running.push(body=b'{"aps":{"alert":{"title":"T","subtitle":"S","body":"B"},"badge":2}}')
            fault = {"id": "late", "what": {"kind": "delay", "seconds": 0.1}}
            await running.ask("POST", "/v1/faults", fault)  # shown at once, not with the next second
            name, state = await event()
        writer.close()
        await writer.wait_closed()
        assert name == "state"
        assert [fault["id"] for fault in state["faults"]] == ["late"]
        (shown,) = state["notifications"]
        assert [shown[name] for name in ("title", "subtitle", "body", "badge")] == ["T", "S", "B", "2"]
