"""Messages for the operator during a campaign, on the standard error, and metrics for Prometheus."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from typing import Final

import click

from ... import telemetry
from ...audience.problems import BadInput, printable
from ...errors import ConfigurationError
from ...metrics import Listener, Metrics
from ...payloads.devices import NAMES
from ...reasons import words
from ...redaction import redact

MAX_COMPLAINTS: Final = 20
"""Different warnings of the transport that are shown, at most."""
_WORTH_SAYING: Final = 1.0  # seconds
_SLOW_EVERY: Final = 60.0  # seconds


Say = Callable[[str], None]
"""Prints one line for the operator."""


def say(text: str) -> None:
    """Print one line on the standard error."""
    click.echo(f"pushcore: {redact(text)}", err=True)


class Notices(Listener):
    """Prints the pauses that a provider requests, each pause once.

    `put_off`: the number of retries so far. `trips`: by provider, why the breaker has stopped it.
    """

    def __init__(self, *, quiet: bool, say: Say = say) -> None:
        self.put_off = 0
        self.trips: dict[str, str] = {}
        self._quiet = quiet
        self._say = say
        self._until: dict[str, float] = {}
        self._slow_until: dict[str, float] = {}

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
            self._say(
                f"{NAMES.get(provider, provider)} asked for a pause of {seconds:.0f} s (429), so its pushes wait"
            )

    def slowed(self, provider: str, rate: float) -> None:
        """See `Listener`."""
        now = time.monotonic()
        if self._quiet or now < self._slow_until.get(provider, 0.0):
            return
        self._slow_until[provider] = now + _SLOW_EVERY
        pace = "" if rate == math.inf else f", so at most {rate:,.0f} a second are sent now"
        self._say(f"{NAMES.get(provider, provider)} rejects some pushes because of their rate (429){pace}")

    def breaker_opened(self, provider: str, sentence: str) -> None:
        """See `Listener`."""
        self.trips.setdefault(provider, sentence)


class MeteredNotices(Metrics):
    """The same with metrics; the engine counts in a listener that is a `Metrics`."""

    def __init__(self, notices: Notices) -> None:
        super().__init__(words())
        self._notices = notices

    def retried(self, provider: str, reason: str | None, count: int, delay: float) -> None:
        super().retried(provider, reason, count, delay)
        self._notices.retried(provider, reason, count, delay)

    def rate_limited(self, provider: str, seconds: float) -> None:
        super().rate_limited(provider, seconds)
        self._notices.rate_limited(provider, seconds)

    def slowed(self, provider: str, rate: float) -> None:
        super().slowed(provider, rate)
        self._notices.slowed(provider, rate)

    def breaker_opened(self, provider: str, sentence: str) -> None:
        super().breaker_opened(provider, sentence)
        self._notices.breaker_opened(provider, sentence)


@contextlib.contextmanager
def served(read: telemetry.Read, port: int, *, quiet: bool) -> Iterator[None]:
    """Serve the numbers that `read` returns at a port of this machine while the block runs.

    Raises:
        BadInput: the port is in use, or prometheus-client is not installed.
    """
    try:
        endpoint = telemetry.serve(read, port)
    except ConfigurationError as error:
        raise BadInput(f"--metrics-port: {error}") from None
    with endpoint:
        if not quiet:
            say(f"metrics at http://127.0.0.1:{endpoint.port}/metrics")
        yield


@contextlib.contextmanager
def listening(notices: Notices, port: int | None, *, quiet: bool) -> Iterator[Listener]:
    """The engine's listener: `notices`. With a port, it also counts and serves metrics for Prometheus there."""
    if port is None:
        yield notices
        return
    metrics = MeteredNotices(notices)
    with served(metrics.snapshot, port, quiet=quiet):
        yield metrics


@contextlib.contextmanager
def showing_warnings(say: Say = say) -> Iterator[None]:
    """Print the warnings of the library while the block runs."""
    log, logger = WarningHandler(say), logging.getLogger("pushcore")
    logger.addHandler(log)
    try:
        yield
    finally:
        logger.removeHandler(log)


class WarningHandler(logging.Handler):
    """Prints the warnings of the library, each text once: an unreachable server is dialled again and again.

    Warnings of the engine are left out: `Notices` and the summary report its events.
    """

    def __init__(self, say: Say = say) -> None:
        super().__init__(logging.WARNING)
        self._say = say
        self._seen: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Called by `logging`."""
        if record.name == "pushcore.engine":
            return
        text = record.getMessage()
        if text not in self._seen and len(self._seen) < MAX_COMPLAINTS:
            self._seen.add(text)
            self._say(printable(text, 300))
