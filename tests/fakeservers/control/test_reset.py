"""`/v1/reset` begins anew: the same seed and the same requests make the same day."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fakeservers import ControlService, FakeApns, FakeFcm, fated_token
from fakeservers.control.problem import Problem
from fakeservers.control.service import PARTS
from fakeservers.faults import Answer, Fault, FaultPlan, Reset, When
from tests.fakeservers.client import Client, headers_for, provider_token, soon
from tests.fakeservers.fcm_client import send_body, send_headers

PLAN = [
    Fault(id="busy", when=When(share=0.3), what=Answer(status=503)),
    Fault(id="refused", when=When(share=0.2), what=Reset()),
    Fault(id="third", when=When(nth=(3,)), what=Answer(status=500)),
]


async def day(fake: Any, headers: list[tuple[str, str]], body: bytes) -> list[Any]:
    """What becomes of twenty pushes on each of two connections, and the ids of those that were answered."""
    seen: list[Any] = []
    for _ in range(2):
        async with await Client.connect(fake) as client:
            for _ in range(20):
                reply = await client.push(headers, body)
                seen.append((reply.status, reply.reset, reply.headers.get("apns-id"), reply.body))
    return seen


@pytest.mark.parametrize("kind", [FakeApns, FakeFcm])
async def test_the_same_day_again(kind: Any) -> None:
    async with kind(faults=FaultPlan(7, PLAN), now=lambda: 1_800_000_000.0) as fake:
        is_apns = isinstance(fake, FakeApns)
        service = ControlService(**{"apns" if is_apns else "fcm": fake})
        if is_apns:
            headers, body = headers_for(fake, provider_token(fake, issued=1_800_000_000)), b"{}"
        else:
            headers, body = send_headers(fake), send_body()
        days, counters = [], []
        for _ in range(2):
            async with await Client.connect(fake) as idle:
                days.append(await day(fake, headers, body))
                counters.append((fake.counters(), dict(fake.counts), dict(fake.faults.hits)))
                service.reset(what=PARTS)
                await idle.until(lambda idle=idle: idle.goaway is not None)  # type: ignore[misc]  # bound now
            await soon(lambda: fake.connections == 0)
            # The GOAWAYs of the reset itself, and nothing else, are after it.
            assert {name: count for name, count in fake.counters().items() if count} in (
                {},
                {"goaways_received": 1},
            )
            fake.reset_counters()
        assert days[0] == days[1]
        assert counters[0] == counters[1]
        assert len({str(item) for item in days[0]}) > 3


async def test_fates_and_the_token_endpoint() -> None:
    fake = FakeFcm()
    fake.fates["a"] = "Unavailable"
    fake.next_fates.append("Internal")
    async with fake:
        service = ControlService(fcm=fake)
        fake.fates["b"] = "Internal"
        fake.next_fates.clear()
        fake.oauth.lifetime, fake.oauth.down, fake.oauth.error, fake.oauth.says = 5, True, "x", 9
        service.reset(what=["counters"])
        assert fake.oauth.down
        assert "b" in fake.fates
        service.reset(what=["fates", "oauth"])
        assert fake.fates == {"a": "Unavailable"}
        assert list(fake.next_fates) == ["Internal"]
        oauth = fake.oauth
        assert (oauth.lifetime, oauth.down, oauth.error, oauth.says) == (3599, False, "", None)


def state(apns: FakeApns, fcm: FakeFcm) -> list[Any]:
    """Everything that the control port or a request can change."""
    registry, oauth = apns.registry, fcm.oauth
    return [
        registry.snapshot(),
        registry.channels.snapshot(),
        fcm.subscriptions.snapshot(),
        dict(fcm.groups),
        dict(fcm.fates),
        list(fcm.next_fates),
        set(fcm.ios_tokens),
        (
            oauth.lifetime,
            oauth.delay,
            oauth.down,
            oauth.error,
            oauth.says,
            oauth.requests,
            dict(oauth.counts),
        ),
        apns.server.settings,
        fcm.server.settings,
        [plan.to_dict() for plan in (apns.faults, fcm.faults)],
        apns.counters(),
        fcm.counters(),
        len(apns.received),
        len(fcm.received),
    ]


CHANNEL = "dHN0LXNyY2gtY2hubA=="
TOKEN = "c" * 22 + ":APA91b" + "0" * 128


async def test_every_part_is_set_back_and_kept_ones_are_not() -> None:
    async with FakeApns() as apns, FakeFcm(topic_rate=2) as fcm:
        service = ControlService(apns=apns, fcm=fcm)
        first = state(apns, fcm)
        for _ in range(2):
            service.add_devices(devices=[{"token": "aabb", "fate": "Unregistered"}])
            service.add_topics(team_id=apns.team_id, topics=["com.example.two"])
            service.remove_key(key_id=apns.key_id)
            apns.registry.channels.add("com.example.app", CHANNEL, 1)
            apns.registry.channels.disabled.add("com.example.two")
            service.subscribe(registration=TOKEN, topics=["news"])
            fcm.groups["group"] = [TOKEN]
            service.add_fates(fates=[{"target": TOKEN, "fate": "Internal"}], next=["Internal"])
            fcm.ios_tokens.add(TOKEN)
            service.oauth(lifetime=5, down=True)
            await service.call("set_faults", {"preset": "goaway-storm"})
            for fake in (apns, fcm):
                fake.update_settings({3: 5})
                fake.pushes.count(200)
                fake.server.counters.connections_accepted += 1
            changed = state(apns, fcm)
            assert all(new != old for new, old in zip(changed[:-2], first[:-2], strict=True))
            assert service.reset(keep=PARTS) == {"reset": []}
            assert state(apns, fcm) == changed
            assert service.reset() == {"reset": list(PARTS)}
            assert state(apns, fcm) == first


@pytest.mark.parametrize("kept", PARTS)
async def test_each_part_can_be_kept(kept: str) -> None:
    async with FakeApns() as apns, FakeFcm() as fcm:
        service = ControlService(apns=apns, fcm=fcm)
        apns.registry.add_device("aabb")
        apns.registry.channels.add("com.example.app", CHANNEL)
        fcm.fates[TOKEN] = "Internal"
        fcm.subscriptions.add(TOKEN, "news", 0.0)
        fcm.oauth.down = True
        fcm.server.settings = {3: 5}
        await service.call("set_faults", {"preset": "goaway-storm"})
        apns.pushes.count(200)
        async with await Client.connect(apns) as client:
            await client.push(headers_for(apns, provider_token(apns)), b"{}")
        service.reset(keep=[kept])
        left = {
            "received": bool(apns.received),
            "counters": bool(apns.pushes.received),
            "faults": len(apns.faults) > 0,
            "connections": fcm.server.settings == {3: 5},
            "fates": bool(fcm.fates),
            "oauth": fcm.oauth.down,
            "registry": bool(apns.registry.devices()),
            "channels": bool(apns.registry.channels.of("com.example.app")),
            "subscriptions": bool(fcm.subscriptions.topics(TOKEN)),
        }
        assert [part for part in PARTS if left[part]] == [kept]


async def requests_of_one_day(
    fake: Any, path: str, headers: list[tuple[str, str]], bodies: list[bytes]
) -> Any:
    """Every answer to the same requests on a new connection."""
    url = fake.channels_url if isinstance(fake, FakeApns) else fake.url
    port: Any = SimpleNamespace(url=url, ca_file=fake.ca_file)
    async with await Client.connect(port) as client:
        replies = []
        for body in bodies:
            fields = [(name, path if name == ":path" else value) for name, value in headers]
            reply = await client.push(fields, body)
            replies.append((reply.status, reply.headers.get("apns-channel-id"), reply.body))
        return replies


async def test_channels_that_were_created_are_created_again_with_the_same_ids() -> None:
    async with FakeApns(faults=FaultPlan(7), now=lambda: 1_800_000_000.0) as fake:
        fake.registry.channels.limit = 2
        service = ControlService(apns=fake)
        headers = headers_for(fake, provider_token(fake, issued=1_800_000_000))
        days = []
        for _ in range(2):
            body = b'{"message-storage-policy":1,"push-type":"LiveActivity"}'
            days.append(
                await requests_of_one_day(fake, "/1/apps/com.example.app/channels", headers, [body] * 3)
            )
            service.reset()
        assert [status for status, _, _ in days[0]] == [201, 201, 400]
        assert days[0] == days[1]


async def test_topics_are_subscribed_to_again() -> None:
    async with FakeFcm(faults=FaultPlan(7), now=lambda: 1_800_000_000.0, topic_rate=3) as fake:
        service = ControlService(fcm=fake)
        headers = send_headers(fake)
        path = f"/v1/projects/{fake.project_id}/registrations/{TOKEN}/topicSubscriptions?topic_name=news"
        days = []
        for _ in range(2):
            days.append(await requests_of_one_day(fake, path, headers, [b"{}"] * 4))
            service.reset()
        assert [status for status, _, _ in days[0]] == [200, 409, 409, 429]
        assert days[0] == days[1]


async def test_provider_tokens_are_seen_again() -> None:
    async with FakeApns() as fake:
        service = ControlService(apns=fake)
        headers = headers_for(fake, provider_token(fake))
        async with await Client.connect(fake) as client:
            for _ in range(2):
                assert (await client.push(headers, b"{}")).status == 200
                assert len(fake.tokens_seen) == 1
                service.reset(keep=["connections"])
                assert not fake.tokens_seen


async def test_errors_that_a_fault_has_counted_are_forgotten() -> None:
    """A connection that is kept begins anew, too: the fault happens at the same request of each day."""
    plan = FaultPlan(7, [Fault(id="away", when=When(errors=2), what=Answer(status=503))])
    async with FakeApns(faults=plan) as fake:
        service = ControlService(apns=fake)
        token = provider_token(fake)
        async with await Client.connect(fake) as client:
            days = []
            for _ in range(2):
                pushes = [
                    fated_token("BadDeviceToken", 1),
                    "ab" * 32,
                    fated_token("BadDeviceToken", 2),
                    "ab" * 32,
                ]
                replies = [
                    await client.push(headers_for(fake, token, device), b"{}") for device in pushes[:3]
                ]
                days.append([reply.status for reply in replies])
                service.reset(keep=["connections"])
            assert days == [[400, 200, 400]] * 2
            replies = [await client.push(headers_for(fake, token, device), b"{}") for device in pushes]
            assert [reply.status for reply in replies] == [400, 200, 400, 503]


async def test_topics_are_subscribed_to_all_or_none() -> None:
    async with FakeFcm() as fake:
        fake.subscriptions.max_topics = 2
        service = ControlService(fcm=fake)
        service.subscribe(registration=TOKEN, topics=["a"])
        with pytest.raises(Problem, match="at most 2 topics"):
            service.subscribe(registration=TOKEN, topics=["b", "a", "c"])
        assert [*service.subscriptions(registration=TOKEN)["topics"]] == ["a"]
        assert [*service.subscribe(registration=TOKEN, topics=["a", "b", "b"])["topics"]] == ["a", "b"]
