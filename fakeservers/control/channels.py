"""Calls of the control port about broadcast channels, by app."""

from __future__ import annotations

from itertools import islice
from typing import Any

from fakeservers.apns.channels import MAX_CHANNELS, ChannelRegistry
from fakeservers.apns.server import FakeApns
from fakeservers.control.problem import Problem

Answered = dict[str, Any]

MAX_APPS = 1000
"""Apps with channels, and apps without the capability, at most."""


class ChannelCalls:
    """The calls of a `ControlService` about channels; results are JSON values."""

    def __init__(self, apns: FakeApns | None) -> None:
        self._apns = apns

    def channels(self, *, bundle_id: str, offset: int = 0, limit: int = 100) -> Answered:
        """The channels of an app."""
        channels = self._channels()
        registered = channels.of(bundle_id)
        return {
            "channels": [
                {"channel_id": channel_id, "policy": policy}
                for channel_id, policy in islice(registered.items(), offset, offset + limit)
            ],
            "matching": len(registered),
            "enabled": bundle_id not in channels.disabled,
        }

    def add_channels(self, *, bundle_id: str, channels: list[dict[str, Any]]) -> Answered:
        """Register channels with given ids; all of them or none."""
        known = self._channels()
        try:
            for channel in channels:
                ChannelRegistry().add(bundle_id, channel["channel_id"], channel.get("policy", 0))
        except ValueError as error:
            raise Problem(400, str(error)) from None
        if known.apps >= MAX_APPS and not known.of(bundle_id):
            raise Problem(409, f"{MAX_APPS} apps have channels, and no more may")
        number = len(known.of(bundle_id).keys() | {channel["channel_id"] for channel in channels})
        if number > MAX_CHANNELS:
            raise Problem(409, f"that would be {number} channels, and an app may have {MAX_CHANNELS}")
        for channel in channels:
            known.add(bundle_id, channel["channel_id"], channel.get("policy", 0))
        return {"channels": len(channels)}

    def clear_channels(self, *, bundle_id: str, channel_id: str = "") -> Answered:
        """Delete one channel of an app, or all."""
        channels = self._channels()
        if channel_id:
            return {"cleared": int(channels.remove(bundle_id, channel_id))}
        return {"cleared": channels.clear(bundle_id)}

    def switch_channels(self, *, bundle_id: str, enabled: bool) -> Answered:
        """Enable or disable broadcasts of an app; disabling deletes its channels, as at Apple."""
        channels = self._channels()
        if enabled:
            channels.disabled.discard(bundle_id)
        else:
            if len(channels.disabled) >= MAX_APPS:
                raise Problem(409, f"{MAX_APPS} apps may not broadcast, and no more can be told so")
            channels.disabled.add(bundle_id)
            channels.clear(bundle_id)
        return {"bundle_id": bundle_id, "enabled": enabled}

    def _channels(self) -> ChannelRegistry:
        if self._apns is None:
            raise Problem(404, "there is no fake APNs here")
        return self._apns.registry.channels
