"""What injected responses have asserted about devices, tokens, keys and topics: it holds for later requests.

Without it a fake would contradict itself. A sender whose token has been called expired makes another one, which must not be
TooManyProviderTokenUpdates; a push to a device that has been called dead must be rejected each time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

DEVICE = frozenset({"BadDeviceToken", "DeviceTokenNotForTopic", "ExpiredToken", "Unregistered"})
"""Reasons about the device token."""
PROVIDER_TOKEN = frozenset({"ExpiredProviderToken", "InvalidProviderToken"})
"""Reasons about the provider token, on every connection."""
KEY = frozenset({"BadEnvironmentKeyIdInToken", "BadEnvironmentKeyInToken"})
"""Reasons about the signing key, on every connection."""
TOPIC = frozenset({"BadTopic", "TopicDisallowed"})
"""Reasons about the topic."""
CERTIFICATE = frozenset({"BadCertificate", "BadCertificateEnvironment"})
"""Reasons about the connection's client certificate."""


@dataclass(slots=True)
class AssertedState:
    """What has been asserted since the plan began or changed last."""

    devices: dict[bytes, tuple[str, int | None]] = field(default_factory=dict)
    """By device token in lower case: the reason, and `timestamp` in milliseconds."""
    tokens: dict[bytes, str] = field(default_factory=dict)
    """Reasons by provider token."""
    keys: dict[str, str] = field(default_factory=dict)
    """Reasons by key id."""
    topics: dict[bytes, str] = field(default_factory=dict)
    """Reasons by `apns-topic`."""

    def clear(self) -> None:
        """Forget all of it."""
        for table in (self.devices, self.tokens, self.keys, self.topics):
            table.clear()
