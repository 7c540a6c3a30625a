"""Which fates the senders meet, and in which order."""

from __future__ import annotations

from typing import Final

from fakeservers.apns import fates as apns
from fakeservers.fcm import fates as fcm

_TRANSPORT: Final = (apns.REFUSED_STREAM, apns.INTERNAL_RESET, apns.GOAWAY, apns.GOAWAY_BEFORE, apns.CUT)
_WITHOUT: Final = {apns.STALL, apns.SLOW}
"""A stalled answer is a timeout, whose length each sender chooses; a slow one is an answer."""

CONNECTION: Final[dict[str, tuple[str, ...]]] = {
    "apns": (*_TRANSPORT, "TooManyProviderTokenUpdates", "ExpiredProviderToken"),
    "fcm": _TRANSPORT,
}
"""What happens to the connection, or changes what its next requests meet. Each is followed by an ordinary push."""

RESPONSES: Final[dict[str, tuple[str, ...]]] = {
    "apns": tuple(
        fate for fate in apns.CODES.values() if fate not in _WITHOUT and fate not in CONNECTION["apns"]
    ),
    "fcm": tuple(
        fate for fate in fcm.CODES.values() if fate not in _WITHOUT and fate not in CONNECTION["fcm"]
    ),
}
"""What is a response to one push and nothing else."""

_RETRY_AFTER_MS: Final = 1000
_TIMEOUT_MS: Final = 100


def token(provider: str, fate: str, number: int = 0) -> str:
    """A token to which `fate` happens; an ordinary one for ""."""
    if provider == "apns":
        return apns.fated_token(fate, number) if fate else f"{number + 1:064x}"
    if not fate:
        return f"dPx6Y0k3Qm2Vb1N9zW8aLk:APA91b{number:0128x}"
    milliseconds = _TIMEOUT_MS if fate == "InternalTimeout" else _RETRY_AFTER_MS
    return fcm.fated_registration(fate, number, ms=milliseconds)
