"""The two providers as the benchmarks see them: the same work for pushcore and, as paths, headers and body, for h2load."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson

from fakeservers import fated_registration, fated_token
from pushcore import ApnsClient, ApnsKey, FcmClient, Message, Notification, ServiceAccount

from .stage import Target

TIMEOUT: Final = 60.0
"""Seconds for each request; every case keeps deadlines, as a sender does."""


def payload(number: int) -> dict[str, Any]:
    """The APNs payload that every case sends: 194 bytes as JSON, whatever the number."""
    return {
        "aps": {
            "alert": {
                "title": "Order shipped",
                "body": "Your order is on its way and arrives on Tuesday between 9 and 12.",
            },
            "sound": "default",
            "badge": 3,
        },
        "order": 1_000_000 + number % 8_000_000,
        "link": "https://example.com/orders",
    }


@dataclass(frozen=True, slots=True)
class Workload:
    """What is sent, if it differs from the default.

    `size`: bytes of each body, None for the usual one. `fated`: per cent of the devices with a token that a strict fake
    rejects; every fourth rejection blames the token, the rest say that the device is gone.
    """

    size: int | None = None
    fated: int = 0

    def refused(self, number: int) -> bool:
        """Whether the n-th device is rejected. The first one is not, unless all are."""
        return (number * 37 + 99) % 100 < self.fated

    def blames_token(self, number: int) -> bool:
        """Whether the rejection of this device blames its token."""
        return (number // 100 + number) % 4 == 0


USUAL: Final = Workload()


def sized(number: int, size: int) -> dict[str, Any]:
    """An APNs payload of this many bytes as JSON, at least 20."""
    return {"aps": {"alert": f"{number:07d}".ljust(size - 20, "x")[: max(size - 20, 0)]}}


def registration(number: int) -> str:
    """A token of the usual length: 157 characters."""
    return f"dPx6Y0k3Qm2Vb1N9zW8aLk:APA91b{number:0128x}"


def message(number: int) -> Message:
    """The same notification for FCM, made anew for each device."""
    return Message(
        token=registration(number),
        notification={
            "title": "Order shipped",
            "body": "Your order is on its way and arrives on Tuesday between 9 and 12.",
        },
        data={"order": str(1_000_000 + number % 8_000_000), "link": "https://example.com/orders"},
        android={"priority": "HIGH"},
    )


def sized_message(number: int, size: int) -> Message:
    """A message for FCM of this many bytes as JSON, at least 208."""
    text = f"{number:07d}".ljust(size - 208, "x")[: max(size - 208, 0)]
    return Message(token=registration(number), notification={"body": text})


@dataclass(frozen=True, slots=True)
class Provider:
    """What the benchmarks know of a provider.

    `streams`: the limit on one connection. `sizes`: bytes of a body, from small to the largest allowed.
    `path`: differs from device to device with APNs. `pushes`: makes n pushes, for n devices.
    """

    name: str
    streams: int
    sizes: tuple[int, ...]
    path: Callable[[Target, int, Workload], str]
    headers: Callable[[Target], dict[str, str]]
    body: Callable[[Workload], bytes]
    client: Callable[[Target, int], ApnsClient | FcmClient]
    pushes: Callable[[int, Workload], Iterator[Any]]


def _apns_client(target: Target, connections: int) -> ApnsClient:
    return ApnsClient(
        _key(target),
        topic=target.settings["topic"],
        url=target.url,
        ca_file=target.ca_file,
        max_connections=connections,
        timeout=TIMEOUT,
    )


def _key(target: Target) -> ApnsKey:
    settings = target.settings
    return ApnsKey.from_file(settings["key_file"], key_id=settings["key_id"], team_id=settings["team_id"])


def _apns_headers(target: Target) -> dict[str, str]:
    return {
        "authorization": _key(target).token(time.time()).value.decode(),
        "apns-topic": target.settings["topic"],
        "apns-push-type": "alert",
    }


def _device(number: int, work: Workload) -> str:
    if not work.refused(number):
        return f"{number:064x}"
    return fated_token("BadDeviceToken" if work.blames_token(number) else "Unregistered", number)


def _apns_body(work: Workload) -> bytes:
    return orjson.dumps(payload(0) if work.size is None else sized(0, work.size))


def _notifications(count: int, work: Workload) -> Iterator[Notification]:
    if work.size is not None:
        for number in range(count):
            yield Notification(f"{number:064x}", sized(number, work.size))
    elif work.fated:
        for number in range(count):
            yield Notification(_device(number, work), payload(number))
    else:
        for number in range(count):
            yield Notification(f"{number:064x}", payload(number))


def _fcm_client(target: Target, connections: int) -> FcmClient:
    return FcmClient(
        ServiceAccount.from_file(target.settings["service_account_file"]),
        url=target.url,
        ca_file=target.ca_file,
        max_connections=connections,
        timeout=TIMEOUT,
    )


def _fcm_headers(target: Target) -> dict[str, str]:
    async def token() -> str:
        async with _fcm_client(target, 1) as client:
            (await client.send(message(0))).raise_for_verdict()
            authorization = client._dispatcher.pool.links[0].connection.authorization
            assert authorization is not None
            return authorization.decode()

    return {
        "authorization": asyncio.run(token()),
        "content-type": "application/json",
        "x-goog-api-format-version": "2",
    }


def _fcm_body(work: Workload) -> bytes:
    push = message(0) if work.size is None else sized_message(0, work.size)
    names = ("token", "notification", "data", "android")
    return orjson.dumps({"message": {name: getattr(push, name) for name in names if getattr(push, name)}})


def _messages(count: int, work: Workload) -> Iterator[Message]:
    if work.size is not None:
        for number in range(count):
            yield sized_message(number, work.size)
        return
    for number in range(count):
        push = message(number)
        if work.refused(number):
            fate = "InvalidToken" if work.blames_token(number) else "Unregistered"
            push.token = fated_registration(fate, number)
        yield push


PROVIDERS: Final = {
    "apns": Provider(
        "apns",
        1000,
        (100, 200, 500, 1000, 2000, 4096),
        lambda target, number, work: f"/3/device/{_device(number, work)}",
        _apns_headers,
        _apns_body,
        _apns_client,
        _notifications,
    ),
    "fcm": Provider(
        "fcm",
        100,
        (250, 500, 1000, 2000, 4000),
        lambda target, number, work: f"/v1/projects/{target.settings['project_id']}/messages:send",
        _fcm_headers,
        _fcm_body,
        _fcm_client,
        _messages,
    ),
}
