"""The progress of a campaign for Prometheus, while `pushcore campaign run` collects."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any, Final

from ... import telemetry
from ...audience.problems import BadInput
from ...errors import ConfigurationError
from ...queue.coordinator import CampaignStatus, Coordinator
from ...queue.errors import QueueError
from ...queue.ledger import LedgerStatus
from ...queue.tasks import end
from .notices import say

EVERY: Final = 2.0
"""Seconds between two updates."""

Figures = dict[tuple[str, str, str], float]
"""The value of each gauge, by name, help text and label `state` (which may be empty)."""


def figures_of(status: CampaignStatus) -> Figures:
    """The gauges of a campaign."""
    ledger, queue = status.ledger, status.queue
    chunks = "Chunks of the campaign."
    return {
        ("pushcore_campaign_rows", "Rows of the campaign.", ""): ledger.rows,
        ("pushcore_campaign_rows_done", "Rows that have an outcome.", ""): ledger.done,
        ("pushcore_campaign_chunks", chunks, "waiting"): queue.depth,
        ("pushcore_campaign_chunks", chunks, "leased"): queue.leased,
        ("pushcore_campaign_chunks", chunks, "finished"): ledger.finished,
        ("pushcore_campaign_chunks", chunks, "aside"): ledger.aside,
        ("pushcore_campaign_results", "Results that wait to be collected.", ""): queue.results,
        ("pushcore_campaign_oldest_seconds", "Age of the oldest chunk on the queue.", ""): queue.oldest,
        ("pushcore_campaign_rate", "Outcomes a second, over the last minute.", ""): status.rate,
        (
            "pushcore_campaign_repeats",
            "Pushes that were, or may have been, sent more than once.",
            "",
        ): ledger.repeats,
        ("pushcore_campaign_strays", "Results that could not be read or placed.", ""): ledger.strays,
        ("pushcore_campaign_stopped", "1 when the breaker has stopped the campaign.", ""): float(
            status.trip is not None
        ),
    }


class CampaignGauges:
    """The latest figures; prometheus_client reads them in another thread."""

    def __init__(self) -> None:
        self._core = telemetry.prometheus_core()
        self._figures: Figures = {}

    async def run(self, coordinator: Coordinator) -> LedgerStatus:
        """Run `Coordinator.run`, and update the figures meanwhile."""
        looking = asyncio.create_task(self._look(coordinator))
        try:
            return await coordinator.run()
        finally:
            await end([looking])

    async def _look(self, coordinator: Coordinator) -> None:
        while True:
            with contextlib.suppress(QueueError):  # the figures stay as they are
                self._figures = figures_of(await coordinator.status())
            await asyncio.sleep(EVERY)

    def collect(self) -> Iterator[Any]:
        """Called by the registry for each scrape."""
        metrics: dict[str, Any] = {}
        for (name, text, state), value in self._figures.items():
            labels = ["state"] if state else []
            metric = metrics.get(name) or self._core.GaugeMetricFamily(name, text, labels=labels)
            metric.add_metric([state] if state else [], value)
            metrics[name] = metric
        yield from metrics.values()


@contextlib.contextmanager
def serving_gauges(port: int) -> Iterator[CampaignGauges]:
    """Serve the figures at a port of this machine while the block runs.

    Raises:
        BadInput: the port is in use, or prometheus-client is not installed.
    """
    try:
        watch = CampaignGauges()
        endpoint = telemetry.serve_collector(watch, port)
    except ConfigurationError as error:
        raise BadInput(f"--metrics-port: {error}") from None
    with endpoint:
        say(f"metrics at http://127.0.0.1:{endpoint.port}/metrics")
        yield watch
