"""The result of a push: a `Verdict` says what to do, a `Result` has the details."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic

from .reasons import UNNAMED, Reason, lookup
from .reasons import Verdict as Verdict
from .transport_errors import PushcoreError, TransportError

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    P_co = TypeVar("P_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    P_co = TypeVar("P_co", covariant=True)


Finder = Callable[[Any, Any, str], str | None]
"""`find(push, answer, name)`: what a response says of a `Result`'s "id", "unique_id" or "environment", if it does."""

ACCEPTED = Verdict.ACCEPTED
_RETRYABLE = frozenset({Verdict.THROTTLED, Verdict.UNAVAILABLE, Verdict.UNSENT})


class Result(Generic[P_co]):
    """The outcome of one push. It is generic in the class of the push: `Result[Notification]`.

    Args:
        push: the object that was passed in.
        verdict: a `Verdict`.
        status: the HTTP status; None without a response.
        attempts: how many times the push was passed to a connection; 0 if it was rejected before that.
        id: the apns-id or message name; with `find`, the response in which it is looked up when the property
            `id` is read.
        find: looks the id up.
        reason: the provider's reason, such as "BadDeviceToken".
        timestamp: UNIX seconds (float) at which APNs confirmed that the token was dead, with 410 only.
        retry_after: seconds that the provider asks to wait, if it said so.
        detail: a sentence or a `TransportError`, for logs.
        row: the reason's row of the provider's table; without it, the property looks it up.
    """

    __slots__ = (
        "_find",
        "_id",
        "_row",
        "attempts",
        "detail",
        "push",
        "reason",
        "retry_after",
        "status",
        "timestamp",
        "verdict",
    )

    def __init__(
        self,
        push: P_co,
        verdict: Verdict,
        status: int | None = None,
        attempts: int = 0,
        id: Any = None,
        find: Finder | None = None,
        reason: str | None = None,
        timestamp: float | None = None,
        retry_after: float | None = None,
        detail: str | TransportError | None = None,
        row: Reason | None = None,
    ) -> None:
        self.push = push
        self.verdict = verdict
        self.status = status
        self.attempts = attempts
        self.reason = reason
        self.timestamp = timestamp
        self.retry_after = retry_after
        self.detail = detail
        # Finding the id in a response costs a header decode, and most callers never read it: so only when it is read.
        self._id = id
        self._find = find
        self._row = row

    @property
    def id(self) -> str | None:
        """The apns-id that was sent, otherwise that of the response; or FCM's message name. None without any."""
        if self._find is not None:
            return self._find(self.push, self._id, "id")
        id: str | None = self._id
        return id

    @property
    def unique_id(self) -> str | None:
        """The `apns-unique-id`, under which Apple's Push Notifications Console lists a push; only in the sandbox."""
        return None if self._find is None else self._find(self.push, self._id, "unique_id")

    @property
    def environment(self) -> str | None:
        """The environment that knows the token, "production" or "sandbox". None if neither response says so, or if the
        client has a `url`. Store it in your table of devices."""
        return None if self._find is None else self._find(self.push, self._id, "environment")

    @property
    def ok(self) -> bool:
        """True when the provider accepted the push."""
        return self.verdict is ACCEPTED

    @property
    def drop_token(self) -> bool:
        """True when the provider said that this token is dead; never for tokens that are only suspect."""
        return self.verdict is Verdict.UNREGISTERED

    @property
    def retryable(self) -> bool:
        """True when the same push may succeed later and sending it again cannot double it."""
        return self.verdict in _RETRYABLE

    @property
    def row(self) -> Reason:
        """The meaning of the reason: what it blames, the wait before a retry, the scope of a limit, the advice.

        Its verdict is always the result's. A result that no client made has its row by reason and status, then by
        reason; where no table has one of this verdict, it is the verdict's own.
        """
        row, verdict = self._row, self.verdict
        if row is not None and row.verdict is verdict:
            return row
        for status in (self.status, None):
            row = lookup(None, status, self.reason)
            if row.verdict is verdict:
                return row
        return UNNAMED[verdict]

    @property
    def suspect(self) -> bool:
        """True for a reason that blames the token, and as often means a wrong environment, topic or project."""
        return self.row.suspect

    def to_dict(self) -> dict[str, Any]:
        """The outcome in values of JSON, as a line of a log or a message queue wants it.

        Returns:
            Always these keys, None where there is nothing to say:

            * "push": what identifies it, a dict of those of its `identifiers` that it has: "token" and "apns_id" of a
                `Notification`; one of "token", "fid", "topic" and "condition" of a `Message`. A push that is text is
                that text; one without identifiers is {}.
            * "verdict": the name of the `Verdict`, such as "ACCEPTED".
            * "status", "reason", "id", "timestamp", "retry_after", "attempts": as the attributes of those names.
            * "detail": the sentence, or what the `TransportError` says.
            * "advice": what to do, from the reason's row; None for an accepted push.
        """
        return {
            "push": _identity(self.push),
            "verdict": self.verdict.value,
            "status": self.status,
            "reason": self.reason,
            "id": self.id,
            "timestamp": _plain(self.timestamp),
            "retry_after": _plain(self.retry_after),
            "attempts": self.attempts,
            "detail": None if self.detail is None else str(self.detail),
            "advice": None if self.verdict is ACCEPTED else self.row.advice,
        }

    def raise_for_verdict(self) -> None:
        """Raise an exception unless the push was accepted.

        Raises:
            PushRejected: it was not; the exception carries this result.
        """
        if self.verdict is not ACCEPTED:
            raise PushRejected(self)

    def __str__(self) -> str:
        words = [self.verdict.value]
        if self.status is not None:
            words.append(str(self.status))
        if self.reason:
            words.append(self.reason)
        if self.detail is not None:
            words.append(f"({self.detail})")
        return " ".join(words)

    def __repr__(self) -> str:
        return f"<Result {self}>"


def _identity(push: object) -> Any:
    if isinstance(push, str):
        return push
    names = getattr(type(push), "identifiers", ())
    fields = {name: getattr(push, name, None) for name in names}
    return {name: _plain(value) for name, value in fields.items() if value is not None}


def _plain(value: Any) -> Any:
    """A value of JSON: what has none, such as a wrong token, becomes text; a number that is not finite None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else str(value)


class PushRejected(PushcoreError):
    """`Result.raise_for_verdict()` was called on a push that was not accepted.

    What to do: read `result`; its `row.advice` says what to do for its reason.
    """

    def __init__(self, result: Result) -> None:
        super().__init__(str(result))
        self.result = result


class Accepted(Result[P_co]):
    """The result of nearly every push. What all of them have in common is kept in the class, and none is made by a call
    of `__init__`: who makes one sets `push`, `attempts`, `_id` and `_find`."""

    __slots__ = ()
    __init__ = object.__init__

    verdict = ACCEPTED
    status = 200
    reason = None
    timestamp = None
    retry_after = None
    detail = None
    row = UNNAMED[ACCEPTED]
    ok = True
    drop_token = False
    retryable = False
    suspect = False

    def __reduce__(self) -> tuple[Any, ...]:
        return _accepted, (self.push, self.attempts, self._id, self._find)


def _accepted(push: Any, attempts: int, id: Any, find: Finder | None) -> Accepted[Any]:
    """For copies, pickled ones among them: what stands in the class cannot be set again."""
    accepted: Accepted[Any] = Accepted()
    accepted.push = push
    accepted.attempts = attempts
    accepted._id = id
    accepted._find = find
    return accepted
