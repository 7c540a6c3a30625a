"""The conversion of pushes to requests: the common part of `ApnsRequestBuilder`, `FcmRequestBuilder` and `LegacyRequestBuilder`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Protocol

from .http2.exchange import Exchange, Sink
from .results import Result

END: Final = object()
"""What stands for the push after the last one."""


class RequestBuilder(Protocol):
    """Makes requests of the pushes of one kind.

    A burst of pushes is made requests in one loop: a call for each would cost a sixth of the whole. And each push is
    made one before the next is read, for a source may change in place what it hands out.
    """

    def build(
        self,
        pushes: Iterable[Any],
        kind: type[Any],
        sink: Sink,
        deadline: float,
        exchanges: list[Exchange],
        rejected: list[Result],
    ) -> Any:
        """Read pushes up to the first that is not of the class `kind`, and return that one, or `END` if there is none.

        Appended to `exchanges` is the request of each that can be sent, to `rejected` the result of each that cannot. What
        the source raises passes through.
        """


def build_one(requests: RequestBuilder, push: Any, sink: Sink, deadline: float) -> Exchange | Result:
    """The request of one push, or the result that says why it cannot be sent."""
    exchanges: list[Exchange] = []
    rejected: list[Result] = []
    requests.build((push,), type(push), sink, deadline, exchanges, rejected)
    return exchanges[0] if exchanges else rejected[0]
