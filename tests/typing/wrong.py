"""Mistakes of a user. Both type checkers must find one in each line that ends with "# wrong", and in no other line.

Read by test_typing.py, never run.
"""

from __future__ import annotations

from pathlib import Path

from pushcore import (
    AndroidConfig,
    AndroidConfigV2,
    AndroidNotification,
    ApnsCertificate,
    ApnsClient,
    ApnsKey,
    Aps,
    Broadcast,
    Channels,
    ExpoMessage,
    FcmClient,
    Journal,
    LegacyFcmClient,
    LegacyMessage,
    Message,
    Metrics,
    Notification,
    PushEngine,
    Rate,
    Result,
    RetryPolicy,
    ServiceAccount,
    Source,
    Template,
    Topics,
    Verdict,
)
from pushcore import ApnsCleint  # wrong
from pushcore import ConfigurationEror  # wrong

PAYLOAD = {"aps": {"alert": "Hi"}}


class Row(Notification):
    __slots__ = ("row",)
    row: int


def keys() -> None:
    ApnsKey.from_file("key.p8", key_id="ABC123DEFG", team_id="TEAM123456", environment="prod")  # wrong
    ApnsKey.from_file("key.p8", key_id="ABC123DEFG")  # wrong
    ApnsKey.from_file("key.p8", key_id="ABC123DEFG", team_id=7)  # wrong
    ApnsCertificate.from_file("cert.p12", passphrase="x")  # wrong


def clients(key: ApnsKey, account: ServiceAccount) -> None:
    ApnsClient(key, environment="prodution")  # wrong
    ApnsClient(key, environment="auto")  # wrong
    ApnsClient(key, http2="quick")  # wrong
    ApnsClient(key, timeout="10")  # wrong
    ApnsClient(key, max_connections="8")  # wrong
    ApnsClient(key, topics="com.example.app")  # wrong
    ApnsClient("key.p8")  # wrong
    ApnsClient(account)  # wrong
    FcmClient(key)  # wrong
    FcmClient(account, http2="h2")  # wrong
    FcmClient(account, environment="sandbox")  # wrong
    LegacyFcmClient("key")  # wrong
    LegacyFcmClient("key", url=7)  # wrong


def pushes() -> None:
    Notification("ab", PAYLOAD, push_type="alrt")  # wrong
    Notification("ab", PAYLOAD, priority=7)  # wrong
    Notification("ab", PAYLOAD, priority="10")  # wrong
    Notification("ab", PAYLOAD, expiration="1h")  # wrong
    Notification("ab", PAYLOAD, "com.example.app")  # wrong
    Notification("ab")  # wrong
    Notification(b"ab", PAYLOAD)  # wrong
    Notification("ab", "Hi")  # wrong
    Aps("Hi", badge="1")  # wrong
    Aps("Hi", interruption_level="timesensitive")  # wrong
    Aps("Hi", event="begin")  # wrong
    Aps("Hi", sound=7)  # wrong
    Aps(alerts="Hi")  # wrong
    Broadcast("channel", PAYLOAD, priority=4)  # wrong
    Message("token")  # wrong
    Message(token="ab", data={"badge": 1})  # wrong
    Message(token="ab", android=AndroidConfigV2())  # wrong
    AndroidConfig(priority="urgent")  # wrong
    AndroidNotification(visibility="public")  # wrong
    AndroidNotification(notification_priority="HIGH")  # wrong
    AndroidNotification(proxy="YES")  # wrong
    LegacyMessage(to="ab", priority="hihg")  # wrong
    ExpoMessage("token", priority="urgent")  # wrong
    ExpoMessage("token", interruptionLevel="time_sensitive")  # wrong


def policies() -> None:
    RetryPolicy(unknown="resnd")  # wrong
    RetryPolicy(max_attempts="3")  # wrong
    RetryPolicy(attempts=3)  # wrong
    Rate("100/s")  # wrong


async def one_push(apns: ApnsClient, fcm: FcmClient, legacy: LegacyFcmClient) -> None:
    await apns.send(Message(token="ab"))  # wrong
    await apns.send("ab")  # wrong
    await apns.send([Notification("ab", PAYLOAD)])  # wrong
    await apns.send("ab", PAYLOAD)  # wrong
    await fcm.send(Notification("ab", PAYLOAD))  # wrong
    await fcm.send(LegacyMessage(to="ab"))  # wrong
    await legacy.send(Message(token="ab"))  # wrong
    await apns.broadcast(Notification("ab", PAYLOAD))  # wrong
    await fcm.broadcast(Broadcast("channel", PAYLOAD))  # wrong
    apns.snd(Notification("ab", PAYLOAD))  # wrong
    apns.pool  # wrong
    apns.timeout = 5.0  # wrong
    result = await apns.send(Notification("ab", PAYLOAD))
    print(result.verdit)  # wrong
    print(result.push.tokn)  # wrong
    print(result.push.row)  # wrong
    print(result.retry_after + 1)  # wrong
    print(result.status > 400)  # wrong
    print(Verdict.ACEPTED)  # wrong
    print(result.canonical)  # wrong
    other: Result[Message] = result  # wrong
    row = await apns.send(Row("ab", PAYLOAD))
    print(row.push.rwo)  # wrong
    print((await legacy.send(LegacyMessage(to="ab"))).cannonical)  # wrong
    apns.send(Notification("ab", PAYLOAD)).ok  # wrong
    print(other)


async def streams(apns: ApnsClient, fcm: FcmClient, names: list[str]) -> None:
    PushEngine(apns, widnow=10)  # wrong
    PushEngine(apns, window="10")  # wrong
    PushEngine(apns, rate=100)  # wrong
    PushEngine(apns, retry="none")  # wrong
    PushEngine(apns, listener=print)  # wrong
    PushEngine(apns, "fcm")  # wrong
    PushEngine([apns, fcm])  # wrong
    engine = PushEngine(apns)
    both = PushEngine(apns, fcm)
    engine.send_many(["ab", "cd"])  # wrong
    engine.send_many(names)  # wrong
    both.send_many(names)  # wrong
    engine.send_many(Notification("ab", PAYLOAD))  # wrong
    engine.send_many([Message(token="ab")])  # wrong
    both.send_many([LegacyMessage(to="ab")])  # wrong
    engine.stream(names)  # wrong
    engine.send_many([[Notification("ab", PAYLOAD)]])  # wrong
    engine.send_many([Notification("ab", PAYLOAD)], journal="a.journal")  # wrong
    async for result in engine.send_many([Row("ab", PAYLOAD)]):
        print(result.push.tokn)  # wrong
        print(result.verdit)  # wrong
    async for one in both.send_many([Message(token="ab")]):
        print(one.push.payload)  # wrong
    async with engine.stream([Notification("ab", PAYLOAD)]) as results:
        async for one_of in results:
            print(one_of.push.row)  # wrong
    for late in engine.send_many([Notification("ab", PAYLOAD)]):  # wrong
        pass
    async with engine.send_many([Notification("ab", PAYLOAD)]):  # wrong
        pass
    narrow: PushEngine[Message] = engine  # wrong
    print(narrow)


def journals(source: Source, path: Path) -> None:
    Journal.create(path, "tokens.txt")  # wrong
    Journal.create(path, source, rows="3")  # wrong
    Journal.open(path, source, unknown="resnd")  # wrong
    Journal.open(path, source, force="yes")  # wrong
    Journal.open(source)  # wrong
    with Journal.open(path) as journal:
        journal.record("accepted")  # wrong
        journal.finnish()  # wrong
        print(journal.status().row)  # wrong


def others(apns: ApnsClient, fcm: FcmClient) -> None:
    Channels(fcm)  # wrong
    Topics(apns)  # wrong
    Metrics(7)  # wrong
    apns.watch(print)  # wrong


def templates(rows: list[dict[str, str]]) -> None:
    template = Template(PAYLOAD, format="sms")  # wrong
    Template("payload.json")  # wrong
    Template(PAYLOAD, priority=7)  # wrong
    template.render("ab" * 32)  # wrong
    template.render({"token": "ab"}).payload  # wrong
    template.render_many(rows, rows)  # wrong
    Template.from_file("payload.json", priority="high")  # wrong
    Template.from_file("payload.json", topic="com.example.app")  # wrong
    template.render_many(rows[0])  # wrong
