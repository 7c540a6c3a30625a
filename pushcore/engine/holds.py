"""Topics and devices whose rate limit was exceeded: only their pushes wait.

FCM limits the messages to a topic and to a device, APNs those to a device (`reasons.Reason.scope`). A push that was
rejected for such a limit waits by the retry policy, and every other push for the same topic or device waits behind it.
"""

from __future__ import annotations

from typing import Any, Final

from ..reasons import LimitScope

_TARGETS: Final = {"topic": ("topic", "condition", "to"), "device": ("token", "fid", "to")}
"""By the scope of a limit: the attributes of a push that may name its topic or device. One of them has a value."""


class Hold:
    """One topic or device whose pushes wait, as long as there are any."""

    __slots__ = ("attribute", "scope", "until", "value", "waiting")

    def __init__(self, scope: LimitScope, attribute: str, value: str) -> None:
        self.scope = scope
        self.attribute = attribute
        self.value = value
        self.until = 0.0
        """When its pushes may be sent, in seconds of the event loop's clock."""
        self.waiting = 0
        """Pushes that wait for that."""


class Holds:
    """The topics and devices of one lane whose pushes wait."""

    __slots__ = ("by_attribute",)

    def __init__(self) -> None:
        self.by_attribute: dict[str, dict[Any, Hold]] = {}
        """By the attribute of a push that names its target, and its value. Empty where nothing waits."""

    def join(self, push: Any, scope: LimitScope | None, until: float) -> Hold | None:
        """A push was rejected for a limit of this scope, and waits until then: so does all for its target.

        Returns:
            What it waits with; None where the limit is neither a topic's nor a device's, or the push names none.
        """
        if scope is None or scope == "project":
            return None
        for attribute in _TARGETS[scope]:
            value = getattr(push, attribute, None)
            if value:
                holds = self.by_attribute.setdefault(attribute, {})
                hold = holds.get(value) or holds.setdefault(value, Hold(scope, attribute, value))
                hold.until = max(hold.until, until)
                hold.waiting += 1
                return hold
        return None

    def find(self, push: Any) -> Hold | None:
        """The topic or device for whose limit this push must wait; None if it may be sent."""
        for attribute, holds in self.by_attribute.items():
            hold = holds.get(getattr(push, attribute, None))
            if hold is not None:
                return hold
        return None

    def leave(self, hold: Hold) -> None:
        """A push waits no longer. Where it was the last one, the next are sent at once."""
        hold.waiting -= 1
        if not hold.waiting:
            holds = self.by_attribute[hold.attribute]
            del holds[hold.value]
            if not holds:
                del self.by_attribute[hold.attribute]
