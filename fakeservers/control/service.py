"""The calls to the fakes of one process, with JSON values: `ControlService.call(name, arguments)`.

The control port has checked the arguments (`requests`); with several processes each has its `ControlService`, and
`processes` sends the same calls to all of them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Literal, Protocol, TypeAlias, get_args

from fakeservers.apns.fates import CODES
from fakeservers.apns.registry import DeviceState, SigningKey
from fakeservers.apns.server import FakeApns
from fakeservers.control.channels import ChannelCalls
from fakeservers.control.faults import FaultCalls
from fakeservers.control.problem import Problem
from fakeservers.control.records import Record, drawn, record, token_of, topic_of
from fakeservers.fcm.fates import FATES
from fakeservers.fcm.server import FakeFcm

Answered: TypeAlias = dict[str, Any]

Part: TypeAlias = Literal[
    "received", "counters", "faults", "connections", "fates", "oauth", "registry", "channels", "subscriptions"
]
"""Parts that a reset restores."""
PARTS: tuple[Part, ...] = get_args(Part)
MAX_REGISTERED = 100_000
"""Maximum of registered devices, of keys, of topics of a team, of fates."""
DRAWN = 12
"""Notifications in a snapshot."""


class Calls(Protocol):
    """The receiver of the control port's calls: the service of this process, or those of all processes."""

    async def call(self, name: str, arguments: Mapping[str, Any]) -> Answered:
        """The result as a JSON value.

        Raises:
            Problem: it cannot be done.
        """


class ControlService:
    """Answers calls about the fakes of this process.

    Args:
        apns: the fake APNs, if there is one; entered already.
        fcm: the fake FCM, if there is one; entered already.
    """

    def __init__(self, apns: FakeApns | None = None, fcm: FakeFcm | None = None) -> None:
        self._apns = apns
        self._fcm = fcm
        self._fakes: dict[str, FakeApns | FakeFcm] = {}
        if apns is not None:
            self._fakes["apns"] = apns
        if fcm is not None:
            self._fakes["fcm"] = fcm
        self._faults = FaultCalls(self._fakes)
        self._parts = (self, self._faults, ChannelCalls(apns))

    async def call(self, name: str, arguments: Mapping[str, Any]) -> Answered:
        """See `Calls`."""
        part = next(part for part in self._parts if hasattr(part, name))
        method: Callable[..., Answered] = getattr(part, name)
        return method(**arguments)

    # Reading

    def snapshot(self, notifications: int = DRAWN) -> Answered:
        """Counters since the start or the last reset, what is open now, and the last notifications as phones show them."""
        shown: list[Answered] = []
        for name, fake in self._fakes.items():
            newest = (drawn(name, received) for received in islice(_newest(fake), 4 * notifications))
            shown += islice(
                (notification for notification in newest if notification is not None), notifications
            )
        shown.sort(key=_time, reverse=True)
        return {
            "services": {name: _counters(fake) for name, fake in self._fakes.items()},
            "notifications": shown[:notifications],
            "processes": [os.getpid()],
            **self._faults.faults(),
        }

    def received(
        self,
        *,
        service: str = "",
        token: str = "",
        topic: str = "",
        since: float = 0.0,
        until: float | None = None,
        offset: int = 0,
        limit: int = 100,
    ) -> Answered:
        """Requests that match the filters, newest first."""
        matching = self._matching(service, token, topic, since, until)
        # Stable: of two with the same time the later is first.
        matching.sort(key=lambda row: row[1].time, reverse=True)
        page = [record(name, received) for name, received in matching[offset : offset + limit]]
        return {"received": page, "matching": len(matching)}

    def clear_received(
        self,
        *,
        service: str = "",
        token: str = "",
        topic: str = "",
        since: float = 0.0,
        until: float | None = None,
    ) -> Answered:
        """Delete the requests that match the filters."""
        matching = {id(received) for _, received in self._matching(service, token, topic, since, until)}
        for fake in self._fakes.values():
            kept = [received for received in fake.received if id(received) not in matching]
            fake.received.clear()
            fake.received.extend(kept)  # type: ignore[arg-type]  # each deque gets its own records back
        return {"cleared": len(matching)}

    def reset(self, *, what: Iterable[str] = PARTS, keep: Iterable[str] = ()) -> Answered:
        """Restore parts to the start, so that the same seed and the same requests make the same day.

        Args:
            what: parts of `PARTS`.
            keep: parts that are not reset, although they are in `what`.
        """
        parts = set(what) - set(keep)
        for fake in self._fakes.values():
            if "connections" in parts:  # first: its GOAWAYs must not be counted in the new day
                fake.reset_connections()
            if "received" in parts:
                fake.received.clear()
            if "counters" in parts:
                fake.reset_counters()
            if "fates" in parts:
                fake.reset_fates()
        if self._apns is not None:
            if "registry" in parts:
                self._apns.reset_registry()
            if "channels" in parts:
                self._apns.reset_channels()
        if self._fcm is not None:
            if "oauth" in parts:
                self._fcm.reset_oauth()
            if "subscriptions" in parts:
                self._fcm.reset_subscriptions()
        if "faults" in parts:
            self._faults.restore()
        return {"reset": [part for part in PARTS if part in parts]}

    def _matching(
        self, service: str, token: str, topic: str, since: float, until: float | None
    ) -> list[tuple[str, Record]]:
        """Requests that match, newest first within each service."""
        return [
            (name, received)
            for name, fake in self._fakes.items()
            if service in ("", name)
            for received in _newest(fake)
            if since <= received.time
            and (until is None or received.time <= until)
            and (not token or token_of(received) == token)
            and (not topic or topic_of(received) == topic)
        ]

    # APNs: devices, keys, topics

    def devices(self, *, offset: int = 0, limit: int = 100) -> Answered:
        """Devices in the order in which they were registered."""
        registered = self._need_apns().registry.devices()
        page = islice(registered.items(), offset, offset + limit)
        return {"devices": [_device(token, state) for token, state in page], "matching": len(registered)}

    def add_devices(self, *, devices: list[dict[str, Any]]) -> Answered:
        """Register devices, or change the state of registered ones; all of them or none."""
        registry = self._need_apns().registry
        for device in devices:
            if len(device["token"]) % 2:
                raise Problem(400, "a device token has an even number of hexadecimal digits")
            if device.get("fate") and device["fate"] not in CODES.values():
                raise Problem(400, f"fate is none of {', '.join(sorted(CODES.values()))}")
        known = registry.devices().keys()
        _bound(len(known | {device["token"].lower() for device in devices}), "devices")
        for device in devices:
            registry.add_device(**device)
        return {"devices": len(devices)}

    def remove_device(self, *, token: str) -> Answered:
        """Make a token unknown."""
        registry = self._need_apns().registry
        if registry.device(token.lower().encode()) is None:
            raise Problem(404, "no such device is registered")
        registry.remove_device(token)
        return {}

    def keys(self) -> Answered:
        """Signing keys, without the key itself."""
        return {"keys": [_key(key) for key in self._need_apns().registry.keys().values()]}

    def add_key(self, *, key_id: str, team_id: str, pem: str, **more: Any) -> Answered:
        """Register or replace a signing key."""
        registry = self._need_apns().registry
        _bound(len(registry.keys().keys() | {key_id}), "keys")
        try:
            registry.add_key(key_id, team_id, pem.encode(), **more)
        except (ValueError, TypeError):  # TypeError: the PEM has a password
            raise Problem(400, "pem is no P-256 key in PEM without a password") from None
        return {"key_id": key_id}

    def remove_key(self, *, key_id: str) -> Answered:
        """Revoke a signing key."""
        registry = self._need_apns().registry
        if registry.key(key_id) is None:
            raise Problem(404, "no such key is registered")
        registry.revoke_key(key_id)
        return {}

    def topics(self) -> Answered:
        """Bundle ids by team."""
        return {"teams": {team: list(topics) for team, topics in self._need_apns().registry.teams().items()}}

    def add_topics(self, *, team_id: str, topics: list[str]) -> Answered:
        """Allow a team to push to these topics."""
        registry = self._need_apns().registry
        _bound(len({*registry.topics(team_id), *topics}), "topics of one team")
        _bound(len(registry.teams().keys() | {team_id}), "teams")
        registry.allow(team_id, *topics)
        return {"team_id": team_id, "topics": list(registry.topics(team_id))}

    def remove_topic(self, *, team_id: str, topic: str) -> Answered:
        """Forbid a topic to a team."""
        registry = self._need_apns().registry
        if topic not in registry.topics(team_id):
            raise Problem(404, "the team has no such topic")
        if len(registry.topics(team_id)) == 1:
            raise Problem(409, "a team keeps its last topic")
        registry.disallow(team_id, topic)
        return {}

    # FCM: fates, topic subscriptions, OAuth

    def fates(self, *, offset: int = 0, limit: int = 100) -> Answered:
        """Fates of targets, and those of the next sends."""
        fcm = self._need_fcm()
        page = islice(fcm.fates.items(), offset, offset + limit)
        return {
            "fates": [{"target": target, "fate": fate} for target, fate in page],
            "next": list(islice(fcm.next_fates, 1000)),
            "matching": len(fcm.fates),
        }

    def add_fates(self, *, fates: Sequence[dict[str, str]] = (), next: Sequence[str] = ()) -> Answered:
        """Set what happens to sends to these targets, and to the next sends whatever their target."""
        fcm = self._need_fcm()
        if not {*next, *(row["fate"] for row in fates)} <= FATES:
            raise Problem(400, f"fate is none of {', '.join(sorted(FATES))}")
        _bound(len(fcm.fates.keys() | {row["target"] for row in fates}), "fates")
        _bound(len(fcm.next_fates) + len(next), "fates of next sends")
        fcm.fates.update({row["target"]: row["fate"] for row in fates})
        fcm.next_fates.extend(next)
        return {"fates": len(fates), "next": len(fcm.next_fates)}

    def remove_fate(self, *, target: str) -> Answered:
        """Make a target an ordinary one."""
        if self._need_fcm().fates.pop(target, None) is None:
            raise Problem(404, "this target has no fate")
        return {}

    def subscriptions(self, *, registration: str) -> Answered:
        """Topics of one registration, and when each was subscribed to."""
        topics = self._need_fcm().subscriptions.topics(registration)
        return {"registration": registration, "topics": topics}

    def subscribe(self, *, registration: str, topics: list[str]) -> Answered:
        """Subscribe one registration to topics, all of them or none."""
        subscriptions = self._need_fcm().subscriptions
        if len(subscriptions.topics(registration).keys() | set(topics)) > subscriptions.max_topics:
            raise Problem(409, f"a registration has at most {subscriptions.max_topics} topics")
        for topic in topics:
            subscriptions.add(registration, topic, time.time())
        return self.subscriptions(registration=registration)

    def unsubscribe(self, *, registration: str, topic: str) -> Answered:
        """Unsubscribe one registration from a topic."""
        if not self._need_fcm().subscriptions.remove(registration, topic):
            raise Problem(404, "it is not subscribed to this topic")
        return {}

    def oauth(
        self,
        *,
        lifetime: int | None = None,
        delay: float | None = None,
        down: bool | None = None,
        error: str | None = None,
        tokens: str | None = None,
    ) -> Answered:
        """Change settings of the token endpoint; absent ones are not changed."""
        endpoint = self._need_fcm().oauth
        if lifetime is not None:
            endpoint.lifetime = lifetime
        if delay is not None:
            endpoint.delay = delay
        if down is not None:
            endpoint.down = down
        if error is not None:
            endpoint.error = error
        if tokens == "expire":
            endpoint.expire_all()
        elif tokens == "forget":
            endpoint.forget_all()
        return {
            "lifetime": endpoint.lifetime,
            "delay": min(endpoint.delay, 1e9),  # JSON has no infinity
            "down": endpoint.down,
            "error": endpoint.error,
        }

    def _need_apns(self) -> FakeApns:
        if self._apns is None:
            raise Problem(404, "there is no fake APNs here")
        return self._apns

    def _need_fcm(self) -> FakeFcm:
        if self._fcm is None:
            raise Problem(404, "there is no fake FCM here")
        return self._fcm


def _newest(fake: FakeApns | FakeFcm) -> Iterable[Record]:
    return reversed(fake.received)


def _counters(fake: FakeApns | FakeFcm) -> Answered:
    server = fake.server
    peers: set[Any] = server.peers | getattr(server, "http1_peers", set())
    return {
        "url": fake.url,
        "profile": fake.profile,
        **fake.counters(),
        "answers": [
            {"status": status, "reason": reason, "count": count}
            for (status, reason), count in fake.counts.items()
        ],
        "connections": server.connections,
        "streams": sum(peer.waiting for peer in peers),
        "latency": {"buckets": list(server.latency.counts), "seconds": server.latency.total},
    }


def _time(notification: Answered) -> float:
    return float(notification["time"])


def _device(token: str, device: DeviceState) -> Answered:
    return {"token": token, "topic": device.topic, "fate": device.fate, "since": device.since}


def _key(key: SigningKey) -> Answered:
    return {
        "key_id": key.key_id,
        "team_id": key.team_id,
        "topics": None if key.topics is None else sorted(key.topics),
        "environment": key.environment,
        "related": key.related,
    }


def _bound(number: int, what: str) -> None:
    if number > MAX_REGISTERED:
        raise Problem(409, f"that would be {number} {what}, and there may be {MAX_REGISTERED}")
