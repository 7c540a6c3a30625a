"""Broadcast channels of each app, for channel management and for the checks of broadcasts."""

from __future__ import annotations

import os
import re
import secrets
from base64 import b64encode
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TypeAlias

MAX_CHANNELS = 10_000
"""Channels that one app may have in an environment (P-CHAN)."""

POLICIES = (0, 1)
"""`message-storage-policy`: 0 stores nothing, 1 the newest message."""

MAX_CHANNEL_ID = 64
"""Characters of an id; Apple says not to assume a length; this one is assumed."""

CHANNEL_ID = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", re.ASCII)


def is_channel_id(text: str) -> bool:
    """Whether it can be a channel id: base64, and not too long."""
    return 0 < len(text) <= MAX_CHANNEL_ID and CHANNEL_ID.fullmatch(text) is not None


Channels: TypeAlias = tuple[dict[str, dict[str, int]], set[str]]
"""Channels and their policies by bundle id, and the bundle ids for which broadcasts are not enabled."""


class ChannelRegistry:
    """The channels of all apps, by bundle id. May be changed while servers run.

    `limit`: channels that one app may have.
    """

    def __init__(self, limit: int = MAX_CHANNELS) -> None:
        self.limit = limit
        self.disabled: set[str] = set()
        """Bundle ids for which broadcasts are not enabled: FeatureNotEnabled."""
        self._place: Path | None = None
        self._apps: dict[str, dict[str, int]] = {}

    def share(self, directory: Path) -> None:
        """Store the channels in this empty directory from now on, for several processes that serve one port."""
        self._place = directory
        for bundle_id, channels in self._apps.items():
            self._of(bundle_id).update(channels)

    def snapshot(self) -> Channels:
        """A copy for `restore`. Of shared channels: those that existed when sharing began."""
        return {bundle_id: dict(channels) for bundle_id, channels in self._apps.items()}, set(self.disabled)

    def restore(self, snapshot: Channels) -> None:
        """Restore the channels and the disabled apps of a snapshot."""
        apps, disabled = snapshot
        self.disabled.clear()
        self.disabled.update(disabled)
        if self._place is None:
            self._apps = {bundle_id: dict(channels) for bundle_id, channels in apps.items()}
            return
        first = {_folder(self._place, bundle_id): channels for bundle_id, channels in apps.items()}
        for folder in {*self._place.iterdir(), *first}:
            channels, kept = _Folder(folder), first.get(folder, {})
            for channel_id in channels.keys() - kept.keys():
                channels.pop(channel_id, None)  # None: another process may have deleted it
            channels.update(kept)

    def create(self, bundle_id: str, policy: int, random: bytes | None = None) -> str:
        """A new channel's id, made of 16 random bytes.

        Raises:
            OverflowError: the app has the maximum number of channels.
        """
        if len(self._of(bundle_id)) >= self.limit:
            raise OverflowError(f"{bundle_id} has {self.limit} channels")
        channel_id = b64encode(random or secrets.token_bytes(16)).decode()
        self.add(bundle_id, channel_id, policy)
        return channel_id

    def add(self, bundle_id: str, channel_id: str, policy: int = 0) -> None:
        """Register a channel under an id of your own.

        Raises:
            ValueError: the id is not base64, or the policy neither 0 nor 1.
        """
        if not is_channel_id(channel_id):
            raise ValueError(f"a channel id is base64 of at most {MAX_CHANNEL_ID} characters")
        if type(policy) is not int or policy not in POLICIES:
            raise ValueError("a channel's policy is 0 (no storage) or 1 (the newest message)")
        if self._place is None:
            self._apps.setdefault(bundle_id, {})[channel_id] = policy
        else:
            self._of(bundle_id)[channel_id] = policy

    def remove(self, bundle_id: str, channel_id: str) -> bool:
        """Delete a channel; False when there was none."""
        try:
            del self._of(bundle_id)[channel_id]
        except KeyError:  # also when another process has deleted it
            return False
        return True

    def clear(self, bundle_id: str) -> int:
        """Delete all channels of an app, as Apple does when broadcasts are switched off; returns how many there were."""
        return sum(self.remove(bundle_id, channel_id) for channel_id in self.of(bundle_id))

    def policy(self, bundle_id: str, channel_id: str) -> int | None:
        """The storage policy of a channel; None when there is no such channel."""
        return self._of(bundle_id).get(channel_id)

    def of(self, bundle_id: str) -> dict[str, int]:
        """The channels of an app and their storage policies."""
        channels = self._of(bundle_id)
        policies = {channel_id: channels.get(channel_id) for channel_id in channels}
        return {channel_id: policy for channel_id, policy in policies.items() if policy is not None}

    @property
    def apps(self) -> int:
        """Number of apps that have had a channel."""
        return len(self._apps) if self._place is None else len(os.listdir(self._place))

    def _of(self, bundle_id: str) -> MutableMapping[str, int]:
        return (
            self._apps.get(bundle_id, {}) if self._place is None else _Folder(_folder(self._place, bundle_id))
        )


def _folder(directory: Path, bundle_id: str) -> Path:
    """The folder of an app's channels. Its name is a hash: a bundle id may be longer than a file's name, or be ".."."""
    return directory / blake2b(bundle_id.encode(), digest_size=16).hexdigest()


class _Folder(MutableMapping[str, int]):
    """The channels of one app as files, so that all processes see a change at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _file(self, channel_id: str) -> Path:
        return self._folder / channel_id.translate(_TO_NAME)

    def __getitem__(self, channel_id: str) -> int:
        try:
            return int(self._file(channel_id).readlink().name)
        except OSError:
            raise KeyError(channel_id) from None

    def __setitem__(self, channel_id: str, policy: int) -> None:
        self._folder.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            self._file(channel_id).unlink()
        # A dangling link whose target is the policy is made atomically, unlike a file with contents.
        with suppress(FileExistsError):  # another process has made it
            self._file(channel_id).symlink_to(str(policy))

    def __delitem__(self, channel_id: str) -> None:
        try:
            self._file(channel_id).unlink()
        except OSError:
            raise KeyError(channel_id) from None

    def __iter__(self) -> Iterator[str]:
        return (name.translate(_FROM_NAME) for name in self._names())

    def __len__(self) -> int:
        return len(self._names())

    def _names(self) -> list[str]:
        try:
            return os.listdir(self._folder)
        except FileNotFoundError:
            return []


_TO_NAME = str.maketrans("+/", "-_")
_FROM_NAME = str.maketrans("-_", "+/")
