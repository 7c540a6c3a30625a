"""Keys of 2025: several at once in one process, and a connection that APNs has bound to another key."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fakeservers import ApnsRegistry, Certificates, FakeApns, Fault
from fakeservers.faults.actions import Answer
from fakeservers.faults.when import When
from pushcore import ApnsClient, ApnsKey, BreakerOpen, PushEngine, Result, Verdict
from pushcore.auth.provider_token import Environment
from pushcore.errors import ConfigurationError
from pushcore.http2.protocol import Http2
from tests.e2e.support import ENGINES, client_of, push, send_all, using, verdicts

pytestmark = [pytest.mark.usefixtures("clean"), pytest.mark.parametrize("http2", ENGINES)]

TEAM = "FAKETEAM01"
APP, WATCH, GAME = "com.example.app", "com.example.watch", "com.example.game"
UNRELATED = Answer(reason="UnrelatedKeyIdInToken")


def scoped(
    registry: ApnsRegistry, key_id: str, topics: list[str], environment: Environment | None = None
) -> ApnsKey:
    """A new topic-specific key that `registry` knows."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    registry.add_key(key_id, TEAM, pem, topics=topics, environment=environment)
    return ApnsKey.from_pem(pem, key_id=key_id, team_id=TEAM, topics=topics, environment=environment)


async def test_several_keys_at_once_have_connections_of_their_own(http2: str, certs: Certificates) -> None:
    registry = ApnsRegistry()
    watch, game = scoped(registry, "WATCHKEY01", [WATCH]), scoped(registry, "GAMEKEY001", [GAME])
    async with (
        FakeApns(certs=certs, registry=registry) as fake,
        using(client_of(fake, http2=http2)) as unscoped,
        using(client_of(fake, http2=http2, auth=watch, topic=WATCH)) as first,
        using(client_of(fake, http2=http2, auth=game, topic=None)) as second,
    ):
        for client, topic in ((unscoped, None), (first, None), (second, GAME)):
            pushes = [push(number, topic=topic) for number in range(30)]
            assert verdicts(await send_all(client, pushes)) == {Verdict.ACCEPTED: 30}
        assert fake.counts == {(200, ""): 90}
        connections = {(request.connection, request.headers["authorization"]) for request in fake.received}
        assert len(connections) == fake.accepted == len(fake.tokens_seen) == 3


async def test_an_engine_chooses_the_key_by_the_topic(http2: str, certs: Certificates) -> None:
    registry = ApnsRegistry()
    watch, game = scoped(registry, "WATCHKEY01", [WATCH]), scoped(registry, "GAMEKEY001", [GAME])
    async with FakeApns(certs=certs, registry=registry) as fake:
        clients = [
            client_of(fake, http2=http2, auth=watch, topic=WATCH),
            client_of(fake, http2=http2, auth=game, topic=GAME),
            client_of(fake, http2=http2),
        ]
        topics = (WATCH, GAME, APP, None, f"{WATCH}.voip")
        pushes = [
            push(number, topic=topics[number % 5], push_type="voip" if number % 5 == 4 else "alert")
            for number in range(500)
        ]
        async with PushEngine(*clients) as engine:
            results = [result async for result in engine.send_many(pushes)]
        assert verdicts(results) == {Verdict.ACCEPTED: 500}
        assert {result.push.token for result in results} == {sent_push.token for sent_push in pushes}
        # A push without a topic goes to the first client with one, and takes that client's.
        assert {
            (request.headers["apns-topic"], fake_key(request.headers["authorization"]))
            for request in fake.received
        } == {
            *((WATCH, "WATCHKEY01"), (GAME, "GAMEKEY001"), (APP, "FAKEKEY001")),
            (f"{WATCH}.voip", "WATCHKEY01"),
        }


def fake_key(authorization: str) -> str:
    """The `kid` of a provider token."""
    head = authorization.removeprefix("bearer ").partition(".")[0]
    text: str = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"]
    return text


async def test_a_rejected_key_stops_its_own_topics_alone(http2: str, certs: Certificates) -> None:
    registry = ApnsRegistry()
    watch = scoped(registry, "WATCHKEY01", [WATCH])
    registry.revoke_key("WATCHKEY01")
    async with FakeApns(certs=certs, registry=registry) as fake:
        clients = [client_of(fake, http2=http2, auth=watch, topic=WATCH), client_of(fake, http2=http2)]
        results: list[Result] = []
        pushes = [push(number, topic=(WATCH, APP)[number % 2]) for number in range(2000)]

        async def send(engine: PushEngine) -> None:
            async for result in engine.send_many(pushes):
                results.append(result)

        async with PushEngine(*clients) as engine:
            with pytest.raises(BreakerOpen, match="InvalidProviderToken"):
                await send(engine)
        assert len(results) == 2000
        assert verdicts(result for result in results if result.push.topic == APP) == {Verdict.ACCEPTED: 1000}


def test_two_clients_for_the_same_pushes_are_rejected(http2: Http2, certs: Certificates) -> None:
    key = ApnsKey.from_file(certs.key_file, key_id=certs.key_id, team_id=certs.team_id)
    clients = [ApnsClient(key, http2=http2), ApnsClient(key, http2=http2)]
    with pytest.raises(ConfigurationError, match="restricted to topics"):
        PushEngine(*clients)
    with pytest.raises(ConfigurationError, match="at least one client"):
        PushEngine()


async def test_a_topic_that_is_not_the_keys_is_found_before_it_is_sent(
    http2: str, certs: Certificates
) -> None:
    registry = ApnsRegistry()
    watch = scoped(registry, "WATCHKEY01", [WATCH])
    async with (
        FakeApns(certs=certs, registry=registry) as fake,
        using(client_of(fake, http2=http2, auth=watch, topic=None)) as client,
    ):
        result = await client.send(push(topic=APP))
        assert (result.verdict, result.reason) == (Verdict.MISCONFIGURED, "TopicDisallowed")
        assert (await client.send(push())).reason == "MissingTopic"
        assert fake.accepted == 0
        assert (await client.send(push(topic=f"{WATCH}.voip", push_type="voip"))).ok


async def test_a_key_of_the_other_environment(http2: str, certs: Certificates) -> None:
    registry = ApnsRegistry(environment="production")
    sandbox = scoped(registry, "SANDBOXKEY", [APP], "sandbox")
    with pytest.raises(ConfigurationError, match="the key is for sandbox, and the environment is production"):
        ApnsClient(sandbox, topic=APP)
    assert ApnsClient(sandbox, topic=APP, environment="sandbox").environment == "sandbox"
    async with (
        FakeApns(certs=certs, registry=registry) as fake,
        using(client_of(fake, http2=http2, auth=sandbox)) as client,
    ):
        result = await client.send(push())
        assert (result.verdict, result.reason) == (Verdict.MISCONFIGURED, "BadEnvironmentKeyInToken")


async def test_a_connection_of_another_key_is_left(http2: str, certs: Certificates) -> None:
    """As if a proxy lent us a connection on which somebody else had pushed: the fake refuses, another one is opened."""
    registry = ApnsRegistry()
    watch = scoped(registry, "WATCHKEY01", [WATCH])
    async with (
        FakeApns(certs=certs, registry=registry) as fake,
        using(client_of(fake, http2=http2)) as client,
    ):
        assert (await client.send(push())).ok
        client._dispatcher._key = watch
        client._dispatcher._leases.clear()
        client._dispatcher.requests = client_of(fake, auth=watch, topic=WATCH)._dispatcher.requests
        results = await send_all(client, [push(number) for number in range(50)])
        assert verdicts(results) == {Verdict.ACCEPTED: 50}
        refused = fake.counts[403, "UnrelatedKeyIdInToken"]
        assert refused >= 1
        assert sum(result.attempts - 1 for result in results) == refused
        assert fake.accepted == 2
        assert {request.connection for request in fake.received if request.status == 403} == {1}


async def test_responses_of_a_fault_move_the_pushes_to_another_connection(
    http2: str, certs: Certificates
) -> None:
    async with FakeApns(certs=certs) as fake, using(client_of(fake, http2=http2)) as client:
        fake.faults.add(Fault(what=UNRELATED, when=When(connection=(1,))))
        result = await client.send(push())
        assert (result.verdict, result.attempts) == (Verdict.ACCEPTED, 2)
        assert [request.connection for request in fake.received] == [1, 2]


async def test_connections_are_not_left_for_ever(http2: str, certs: Certificates) -> None:
    """Where every connection says so, it is the answer, and no storm of connections."""
    async with (
        FakeApns(certs=certs) as fake,
        using(client_of(fake, http2=http2, max_connections=3)) as client,
    ):
        fake.faults.add(Fault(what=UNRELATED))
        for number in range(20):
            result = await client.send(push(number))
            assert (result.verdict, result.reason) == (Verdict.MISCONFIGURED, "UnrelatedKeyIdInToken")
        assert fake.accepted <= 4


def test_a_wrong_scope_is_rejected(http2: str, certs: Certificates) -> None:
    options: dict[str, Any] = {"key_id": certs.key_id, "team_id": certs.team_id}
    with pytest.raises(ConfigurationError, match="sandbox"):
        ApnsKey.from_file(certs.key_file, environment="moon", **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="a list"):
        ApnsKey.from_file(certs.key_file, topics=APP, **options)
    unscoped = ApnsKey.from_file(certs.key_file, **options)
    assert (unscoped.topics, unscoped.environment) == (None, None)
