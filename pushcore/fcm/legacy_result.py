"""`LegacyResult`: the result of a message through the legacy API, which may be for a thousand devices."""

from __future__ import annotations

from ..models.fcm import LegacyMessage
from ..reasons import Reason
from ..results import P_co, Result, Verdict
from ..transport_errors import TransportError


class LegacyResult(Result[P_co]):
    """The result of a legacy message, or of one of the devices that it was addressed to.

    Beyond `Result`: `canonical`, the token that replaces the one it was sent to; `failed`, of a device group, the
    tokens that did not get it; `devices`, of a message with `registration_ids`, one result for each of them in their
    order, whose `push` is the message to that device alone.

    Args:
        push: see `Result`, as for all that follow but the last three.
        verdict: what became of it.
        status: of HTTP.
        attempts: how often it was sent.
        id: the message's.
        reason: the provider's word.
        retry_after: seconds.
        detail: a sentence or an error.
        canonical: the token that replaces the one it was sent to.
        failed: of a device group: the tokens that did not get it.
        devices: of a message with `registration_ids`: one result for each, in their order.
        row: the reason's row.
    """

    __slots__ = ("canonical", "devices", "failed")

    def __init__(
        self,
        push: P_co,
        verdict: Verdict,
        *,
        status: int | None = None,
        attempts: int = 0,
        id: str | None = None,
        reason: str | None = None,
        retry_after: float | None = None,
        detail: str | TransportError | None = None,
        canonical: str | None = None,
        failed: tuple[str, ...] = (),
        devices: tuple[LegacyResult[LegacyMessage], ...] = (),
        row: Reason | None = None,
    ) -> None:
        super().__init__(
            push,
            verdict,
            status,
            attempts,
            id,
            reason=reason,
            retry_after=retry_after,
            detail=detail,
            row=row,
        )
        self.canonical = canonical
        self.failed = failed
        self.devices = devices
