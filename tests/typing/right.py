# pyright: strict
"""What a user writes and both type checkers must accept. Read by test_typing.py, never run."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import assert_type

from pushcore import (
    AndroidConfig,
    AndroidNotification,
    ApnsCertificate,
    ApnsClient,
    ApnsKey,
    ApnsPriority,
    ApnsPushType,
    Aps,
    BreakerOpen,
    Broadcast,
    Coordinator,
    Environment,
    ExpoMessage,
    FcmClient,
    Http2,
    InterruptionLevel,
    Journal,
    LegacyFcmClient,
    LegacyMessage,
    LegacyResult,
    Listener,
    Message,
    Metrics,
    Notification,
    ProviderClient,
    PushEngine,
    PushRejected,
    QueueError,
    Rate,
    Result,
    RetryPolicy,
    ServiceAccount,
    Source,
    Template,
    TransportError,
    Verdict,
    push_id,
)


class Row(Notification):
    __slots__ = ("row",)

    def __init__(self, token: str, row: int) -> None:
        super().__init__(token, {"aps": {"alert": "Hi"}}, apns_id=push_id("campaign", row))
        self.row = row


@dataclass(slots=True)
class User(Message):
    name: str

    def __post_init__(self) -> None:
        Message.__init__(self, token=self.name)


def clients(environment: Environment = "production", http2: Http2 = "fast") -> tuple[ApnsClient, FcmClient]:
    key = ApnsKey.from_file("key.p8", key_id="ABC123DEFG", team_id="TEAM123456", environment="sandbox")
    apns = ApnsClient(key, topic="com.example.app", environment=environment, http2=http2, max_connections=2)
    ApnsClient(ApnsCertificate.from_file("cert.p12", password=b"x"), url="https://127.0.0.1:2197")
    return apns, FcmClient(ServiceAccount.from_file("account.json"), timeout=5)


async def one_push(apns: ApnsClient, fcm: FcmClient, legacy: LegacyFcmClient) -> None:
    async with apns, fcm, legacy:
        result = await apns.send(Notification("ab", {"aps": {}}, push_type="background", priority=5))
        assert_type(result, Result[Notification])
        row = await apns.send(Row("ab", 7))
        assert_type(row.push.row, int)
        user = await fcm.send(User("me"))
        assert_type(user.push.name, str)
        many = await legacy.send(LegacyMessage(registration_ids=["a", "b"], priority="high"))
        assert_type(many, LegacyResult[LegacyMessage])
        dead = [device.push.to for device in many.devices if device.drop_token]
        assert_type(dead, list[str | None])
        goal = await apns.broadcast(Broadcast("channel", Aps(event="end", timestamp=1), priority=5))
        assert_type(goal.push.channel_id, str)
    if result.verdict is Verdict.THROTTLED and result.retry_after is not None:
        print(result.retry_after + 1.0, result.id, result.unique_id, result.attempts, result.suspect)
    if isinstance(result.detail, TransportError):
        print(result.detail.unprocessed)
    print(json.dumps(result.to_dict()))


async def streams(apns: ApnsClient, fcm: FcmClient, legacy: LegacyFcmClient) -> None:
    both = PushEngine(apns, fcm, rate="100/s", retry=RetryPolicy(unknown="resend"), listener=Metrics())
    assert_type(both, PushEngine[Notification | Message])
    async with both, PushEngine(apns, rate=Rate(5), window=10, retry=None) as only_apns:
        async for result in only_apns.send_many(Row("ab", number) for number in range(3)):
            assert_type(result.push.row, int)
        async with only_apns.stream(rows()) as results:
            async for result in results:
                assert_type(result, Result[Row])
                break
        async for result in only_apns.send_many(pages()):
            assert_type(result, Result[Row])
        mixed: list[Notification | Message] = [Notification("ab", {}), Message(token="cd")]
        async for either in both.send_many(mixed):
            assert_type(either, Result[Notification | Message])
            print(either.push.token)
        async for one in both.send_many([Notification("ab", {})]):
            assert_type(one, Result[Notification])
        async with aclosing(both.send_many(users())) as found:
            async for reached in found:
                assert_type(reached.push.name, str)
    engine = PushEngine(apns, fcm, legacy)
    assert_type(engine, PushEngine[Notification | Message | LegacyMessage])
    await engine.open()
    async for old in engine.send_many([LegacyMessage(to="ab")]):
        assert_type(old, Result[LegacyMessage])
    await engine.close()
    await narrow(both)


async def narrow(engine: PushEngine[Notification]) -> None:
    """An engine that sends more serves as well."""
    async for result in engine.send_many([Row("ab", 1)]):
        print(result.push.row)


async def unsaid(engine: PushEngine, result: Result) -> None:
    """Without an argument the classes are generic in anything."""
    print(result.push.whatever)
    async for other in engine.send_many([Notification("ab", {})]):
        print(other.push.token)


async def campaign(engine: PushEngine[Notification]) -> None:
    source = Source.of_file("tokens.txt")
    with Journal.create("a.journal", source, rows=3, options={"a": [1]}) as journal:
        async for result in engine.send_many([Row("ab", 1)], journal=journal):
            print(result.push.row)
        journal.finish()
    with Journal.open("a.journal", source, unknown="resend") as journal:
        print(journal.status().rows)


async def template(engine: PushEngine[Notification | Message], rows: list[dict[str, str]]) -> None:
    hello = Template({"title": "Hello {{name}}"}, format="expo", priority=5, android="data")
    assert_type(hello.render({"token": "ab", "name": 7}), Notification | Message)
    assert_type(Template.from_file("payload.json", priority=10), Template)
    print(hello.columns, hello.notices, "apns" in hello.platforms)
    async for result in engine.send_many(
        hello.render_many(rows, lambda number, reason: print(number, reason))
    ):
        assert_type(result, Result[Notification | Message])


async def pages() -> AsyncIterator[list[Row]]:
    """A source that has several pushes at a time."""
    yield [Row("ab", 1), Row("cd", 2)]


async def rows() -> AsyncIterator[Row]:
    yield Row("ab", 1)


def users() -> Iterator[User]:
    yield User("me")


class Mine(Listener):
    def rate_limited(self, provider: str, seconds: float) -> None:
        print(provider, seconds)


def watch(client: ProviderClient[Notification], coordinator: Coordinator) -> Callable[[], None]:
    print(client.timeout, client.max_connections, client.opened, client.idle_ping, coordinator)
    return client.watch(Mine())


def choices(level: InterruptionLevel, push_type: ApnsPushType, priority: ApnsPriority) -> None:
    aps = Aps("Hi", badge=1, interruption_level=level)
    print({Notification("ab", aps, push_type=push_type, priority=priority): 1})
    print(AndroidConfig(priority="HIGH", ttl=3.5, notification=AndroidNotification(visibility="PUBLIC")))
    print(ExpoMessage("token", priority="high", interruptionLevel="active"))


def rejected(result: Result[Row]) -> str:
    parent: Result[Notification] = result
    try:
        parent.raise_for_verdict()
    except PushRejected as error:
        return str(error.result.reason)
    except (BreakerOpen, QueueError):
        raise
    return parent.push.token
