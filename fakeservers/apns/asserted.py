"""What injected responses have said of devices, tokens, keys and topics: it stays true for the requests that follow.

Without it a fake would contradict itself. A sender that is told that its token has expired mints another one, and must
not be blamed for that; a sender that keeps a dead device must be told so each time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

DEVICE = frozenset({"BadDeviceToken", "DeviceTokenNotForTopic", "ExpiredToken", "Unregistered"})
"""What a reason says of the device token."""
PROVIDER_TOKEN = frozenset({"ExpiredProviderToken", "InvalidProviderToken"})
"""Of the provider token, on every connection."""
KEY = frozenset({"BadEnvironmentKeyIdInToken", "BadEnvironmentKeyInToken"})
"""Of the signing key, on every connection."""
TOPIC = frozenset({"BadTopic", "TopicDisallowed"})
"""Of the topic."""
CERTIFICATE = frozenset({"BadCertificate", "BadCertificateEnvironment"})
"""Of the connection's client certificate."""


@dataclass(slots=True)
class AssertedState:
    """What has been said since the plan began or changed last."""

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
