"""What an operator should know while a campaign runs, on the standard error, and the numbers for Prometheus."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from typing import Final

import click

from .. import telemetry
from ..apns.reasons import REASONS as APNS_REASONS
from ..errors import ConfigurationError
from ..fcm.errors import REASONS as FCM_REASONS
from ..metrics import Listener, Metrics
from .devices import NAMES
from .problems import BadInput, printable

MAX_COMPLAINTS: Final = 20
"""Different warnings of the transport that are shown."""
_WORTH_SAYING: Final = 1.0  # seconds


class Notices(Listener):
    """Says when a provider wants nothing for a while, once for each while. `put_off`: pushes that were, so far."""

    def __init__(self, *, quiet: bool) -> None:
        self.put_off = 0
        self._quiet = quiet
        self._until: dict[str, float] = {}

    def retried(self, provider: str, reason: str | None, count: int, delay: float) -> None:
        """See `Listener`."""
        self.put_off += count

    def rate_limited(self, provider: str, seconds: float) -> None:
        """See `Listener`."""
        now = time.monotonic()
        if seconds < _WORTH_SAYING or now < self._until.get(provider, 0.0):
            return
        self._until[provider] = now + seconds
        if not self._quiet:
            name = NAMES.get(provider, provider)
            click.echo(f"pushcore: {name} wants nothing for {seconds:.0f} s, so its pushes wait", err=True)


class MeteredNotices(Metrics):
    """The same for a run with metrics; the engine looks for a `Metrics` to count in."""

    def __init__(self, notices: Notices) -> None:
        super().__init__((*APNS_REASONS, *FCM_REASONS))
        self._notices = notices

    def retried(self, provider: str, reason: str | None, count: int, delay: float) -> None:
        super().retried(provider, reason, count, delay)
        self._notices.retried(provider, reason, count, delay)

    def rate_limited(self, provider: str, seconds: float) -> None:
        super().rate_limited(provider, seconds)
        self._notices.rate_limited(provider, seconds)


@contextlib.contextmanager
def watching(notices: Notices, port: int | None, *, quiet: bool) -> Iterator[Listener]:
    """The engine's listener, and while the block runs its numbers at a port of this machine, if one is given.

    Raises:
        BadInput: the port is taken, or prometheus-client is not installed.
    """
    if port is None:
        yield notices
        return
    metrics = MeteredNotices(notices)
    try:
        endpoint = telemetry.serve(metrics.snapshot, port)
    except ConfigurationError as error:
        raise BadInput(f"--metrics-port: {error}") from None
    with endpoint:
        if not quiet:
            click.echo(f"pushcore: metrics at http://127.0.0.1:{endpoint.port}/metrics", err=True)
        yield metrics


class Complaints(logging.Handler):
    """Shows the transport's warnings, each once: what cannot be reached is tried again and again."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._seen: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Called by `logging`."""
        text = record.getMessage()
        if text not in self._seen and len(self._seen) < MAX_COMPLAINTS:
            self._seen.add(text)
            click.echo(f"pushcore: {printable(text, 300)}", err=True)
