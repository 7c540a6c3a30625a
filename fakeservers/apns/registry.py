"""The registry of a fake APNs: signing keys, the topics of each team, devices with their state, and broadcast channels."""

from __future__ import annotations

import os
from binascii import unhexlify
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import orjson
from cryptography.hazmat.primitives.asymmetric import ec

from fakeservers.apns.channels import ChannelRegistry
from fakeservers.apns.fates import CODES
from fakeservers.certs import load_key
from fakeservers.serving.small_files import read_small

ENVIRONMENTS = ("sandbox", "production")


class RegistryError(ValueError):
    """A registry file that cannot be used; the message is one sentence that names the file."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A provider's key as registered with Apple (P-TOK, "key kinds")."""

    key_id: str
    team_id: str
    public: ec.EllipticCurvePublicKey
    topics: frozenset[str] | None = None
    """Bundle ids of a topic-specific key; None for a team-scoped key."""
    environment: str | None = None
    """`sandbox`, `production`, or None for an old key that is valid in both."""
    related: str | None = None
    """The one key id that may share a connection with this topic-specific key."""

    def may_follow(self, first: SigningKey) -> bool:
        """Whether it may be used on a connection whose first push was signed with `first`."""
        if self.key_id == first.key_id:
            return True
        if self.team_id != first.team_id or self.environment != first.environment:
            return False
        if self.topics is None and first.topics is None:
            return True
        return self.related == first.key_id or first.related == self.key_id


@dataclass(frozen=True, slots=True)
class DeviceState:
    """One device token's state."""

    topic: str | None = None
    """The bundle id that it belongs to; None allows any."""
    fate: str = ""
    """Empty for a registered device, otherwise what happens to a push: a reason of Apple's or a fate of `fates`."""
    since: int | None = None
    """With `Unregistered` and `ExpiredToken`: the `timestamp` of the response, in milliseconds."""


Topics: TypeAlias = dict[str, dict[str, None]]
"""Bundle ids by team, in the order given."""
Registered: TypeAlias = tuple[dict[str, SigningKey], Topics, dict[bytes, DeviceState]]
"""Keys by id, topics, and devices by token."""


class ApnsRegistry:
    """Keys, topics, devices and channels. May be changed while servers run, with effect from the next request.

    Args:
        known_only: reject tokens that are not in `devices` with `BadDeviceToken`; otherwise they count as registered.
        environment: `sandbox` or `production` to reject keys and certificates of the other one; None accepts all.
    """

    def __init__(self, *, known_only: bool = False, environment: str | None = None) -> None:
        self.known_only = known_only
        self.environment = environment
        self.changes = 0
        self.channels = ChannelRegistry()
        """Broadcast channels by app."""
        self._keys: dict[str, SigningKey] = {}
        self._topics: Topics = {}
        self._devices: dict[bytes, DeviceState] = {}

    def add_key(
        self,
        key_id: str,
        team_id: str,
        pem: bytes,
        *,
        topics: Iterable[str] | None = None,
        environment: str | None = None,
        related: str | None = None,
    ) -> None:
        """Register a signing key by the PEM of its public or private half (only the public one is kept).

        Raises:
            ValueError: the PEM holds no P-256 key.
        """
        listed = None if topics is None else frozenset(topics)
        self._keys[key_id] = SigningKey(key_id, team_id, load_key(pem), listed, environment, related)
        self.changes += 1

    def revoke_key(self, key_id: str) -> None:
        """Forget a key: its tokens become `InvalidProviderToken`."""
        self._keys.pop(key_id, None)
        self.changes += 1

    def key(self, key_id: str) -> SigningKey | None:
        """The key of this id."""
        return self._keys.get(key_id)

    def keys(self) -> dict[str, SigningKey]:
        """All keys by their ids, in the order in which they were added."""
        return dict(self._keys)

    def allow(self, team_id: str, *topics: str) -> None:
        """Allow a team to push to these bundle ids, each with every suffix of a push type."""
        self._topics.setdefault(team_id, {}).update(dict.fromkeys(topics))
        self.changes += 1

    def topics(self, team_id: str) -> tuple[str, ...]:
        """The team's bundle ids, in the order in which they were allowed."""
        return tuple(self._topics.get(team_id, ()))

    def disallow(self, team_id: str, topic: str) -> bool:
        """Forbid a topic to a team, on new connections; False when it was not allowed."""
        allowed = topic in self._topics.get(team_id, {})
        self._topics.get(team_id, {}).pop(topic, None)
        self.changes += 1
        return allowed

    def teams(self) -> dict[str, tuple[str, ...]]:
        """The bundle ids of every team."""
        return {team_id: tuple(topics) for team_id, topics in self._topics.items()}

    def add_device(
        self, token: str, *, topic: str | None = None, fate: str = "", since: int | None = None
    ) -> None:
        """Set a device's state; see `DeviceState`.

        Raises:
            ValueError: the token is not hexadecimal or the fate is none.
        """
        unhexlify(token)
        if fate and fate not in CODES.values():
            raise ValueError(f"unknown fate {fate!r}")
        self._devices[token.lower().encode()] = DeviceState(topic, fate, since)

    def remove_device(self, token: str) -> None:
        """Make a token unknown."""
        self._devices.pop(token.lower().encode(), None)

    def device(self, token: bytes) -> DeviceState | None:
        """The state of a token (lower case); None when it is not known."""
        return self._devices.get(token)

    def devices(self) -> dict[str, DeviceState]:
        """All devices by their tokens (lower case), in the order in which they were added."""
        return {token.decode(): device for token, device in self._devices.items()}

    def snapshot(self) -> Registered:
        """Keys, topics and devices, for `restore`."""
        return dict(self._keys), _copied(self._topics), dict(self._devices)

    def restore(self, snapshot: Registered) -> None:
        """Restore the keys, topics and devices of a snapshot; channels have their own."""
        keys, topics, devices = snapshot
        self._keys, self._topics, self._devices = dict(keys), _copied(topics), dict(devices)
        self.changes += 1

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> ApnsRegistry:
        """Read a registry from JSON; docs/reference/fakeservers.md has the format.

        Raises:
            RegistryError: the file cannot be read, is not JSON, or has unknown contents.
        """
        file = Path(path)
        try:
            document = orjson.loads(read_small(file))
        except OSError as error:
            raise RegistryError(f"cannot read the registry file {file}: {error.strerror}") from error
        except orjson.JSONDecodeError as error:
            raise RegistryError(f"the registry file {file} is not JSON: {error}") from error
        except ValueError as error:
            raise RegistryError(f"cannot read the registry file {file}: {error}") from error
        try:
            return cls._from_json(document, file.parent)
        except (ValueError, TypeError, OSError) as error:
            raise RegistryError(f"the registry file {file} cannot be used: {error}") from error

    @classmethod
    def _from_json(cls, document: Any, directory: Path) -> ApnsRegistry:
        top = _fields(document, "the top level", *_TOP)
        environment = top.get("environment")
        _expect(environment is None or environment in ENVIRONMENTS, f"unknown environment {environment!r}")
        _expect(isinstance(top.get("known_only", False), bool), "known_only is not true or false")
        registry = cls(known_only=top.get("known_only", False), environment=environment)
        for table in top.get("keys", ()):
            key = _fields(table, "a key", "key_id", "team_id", "file", "topics", "environment", "related")
            _expect({"key_id", "team_id", "file"} <= key.keys(), "a key needs key_id, team_id and file")
            _expect(key.get("environment") in (None, *ENVIRONMENTS), "a key's environment is unknown")
            _expect(
                key.get("topics") is None or _is_strings(key["topics"]),
                "a key's topics are not a list of strings",
            )
            pem = read_small(directory / key.pop("file"))
            registry.add_key(key.pop("key_id"), key.pop("team_id"), pem, **key)
        for team_id, topics in _fields(top.get("teams", {}), "teams").items():
            _expect(_is_strings(topics), f"the topics of team {team_id} are not a list of strings")
            registry.allow(team_id, *topics)
        for token, state in _fields(top.get("devices", {}), "devices").items():
            device = _fields(state, f"device {token}", "topic", "fate", "since")
            _expect(
                isinstance(device.get("since", 0), int),
                f"since of device {token} is not in whole milliseconds",
            )
            registry.add_device(token, **device)
        for bundle_id, channels in _fields(top.get("channels", {}), "channels").items():
            for channel_id, policy in _fields(channels, f"channels of {bundle_id}").items():
                registry.channels.add(bundle_id, channel_id, policy)
        return registry


def _copied(topics: Topics) -> Topics:
    return {team_id: dict(bundle_ids) for team_id, bundle_ids in topics.items()}


_TOP = ("known_only", "environment", "keys", "teams", "devices", "channels")


def _fields(value: Any, where: str, *known: str) -> dict[str, Any]:
    """`value` as a dict whose keys are among `known`; without `known` any keys are allowed."""
    _expect(isinstance(value, dict), f"{where} is not an object")
    unknown = sorted(value.keys() - set(known)) if known else []
    _expect(not unknown, f"unknown key {_shown(unknown[0])} in {where}" if unknown else "")
    return dict(value)


def _shown(key: str) -> str:
    return repr(key) if len(key) <= 20 else f"of {len(key)} characters"  # it may be a secret


def _is_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _expect(holds: bool, complaint: str) -> None:
    if not holds:
        raise ValueError(complaint)
