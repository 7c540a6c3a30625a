"""The gateway's numbers for Prometheus: those of each app's providers, and of its own requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder

from ...latency import cumulate
from ...metrics import DURATION, FAMILIES

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from ..senders import AppSender

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0)
_OWN = ("app", "environment")


class GatewayNumbers:
    """See the module. `active`: requests in progress.

    Args:
        senders: gives those of now.
    """

    def __init__(self, senders: Callable[[], Iterable[AppSender]]) -> None:
        self.active = 0
        self._senders = senders
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "pushcore_gateway_requests", "HTTP requests.", ("route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "pushcore_gateway_request_seconds",
            "Seconds from a request's first byte to its response's last.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._webhooks = Counter(
            "pushcore_gateway_webhook_results",
            "Results for webhooks by outcome: delivered, or why they were lost.",
            ("app", "outcome"),
            registry=self._registry,
        )
        self._forwarded = Counter(
            "pushcore_gateway_forwarded",
            "Pushes that were forwarded to Expo, by ticket: ok, or the error.",
            ("app", "ticket"),
            registry=self._registry,
        )
        self._children: dict[tuple[str, int], tuple[Any, Any]] = {}
        self._registry.register(self)

    def request(self, route: str, status: int, seconds: float, trace: str | None) -> None:
        """Count a request. Its trace is the exemplar of its duration."""
        children = self._children.get((route, status))
        if children is None:
            children = self._children[route, status] = (
                self._requests.labels(route, str(status)),
                self._seconds.labels(route),
            )
        children[0].inc()
        children[1].observe(seconds, None if trace is None else {"trace_id": trace})

    def webhook(self, app: str, outcome: str, results: int) -> None:
        """Count results for a webhook by their outcome."""
        self._webhooks.labels(app, outcome).inc(results)

    def forwarded(self, app: str, ticket: str) -> None:
        """Count a push that was forwarded to Expo by its ticket."""
        self._forwarded.labels(app, ticket).inc()

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The text for Prometheus and its media type, in OpenMetrics, with exemplars, where `accept` asks for it."""
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type

    def collect(self) -> Iterator[Metric]:
        """Called by the registry for each scrape."""
        senders = list(self._senders())
        snapshots = [(sender, sender.metrics.snapshot()) for sender in senders]
        for name, family in FAMILIES.items():
            if name == "breaker":
                continue
            new = GaugeMetricFamily if family.gauge else CounterMetricFamily
            metric = new(family.name, family.text, labels=(*_OWN, *family.labels))
            for sender, snapshot in snapshots:
                for *labels, value in snapshot[name]:
                    metric.add_metric((sender.app, sender.environment, *labels), value)
            yield metric
        durations = HistogramMetricFamily(DURATION.name, DURATION.text, labels=(*_OWN, *DURATION.labels))
        for sender, snapshot in snapshots:
            for provider, duration in snapshot["duration"].items():
                buckets = [
                    ("+Inf" if bound == float("inf") else str(bound), float(count))
                    for bound, count in cumulate(duration["counts"])
                ]
                durations.add_metric((sender.app, sender.environment, provider), buckets, duration["total"])
        yield durations
        yield from self._own(senders)

    def _own(self, senders: list[AppSender]) -> Iterator[Metric]:
        labels = (*_OWN, "provider")
        queued = GaugeMetricFamily("pushcore_gateway_queued", "Pushes in the queue.", labels=labels)
        breakers = GaugeMetricFamily(
            "pushcore_gateway_breaker_open", "1 while a caller's breaker is open.", labels=(*labels, "caller")
        )
        age = GaugeMetricFamily(
            "pushcore_gateway_token_age_seconds", "Age of the provider or access token.", labels=labels
        )
        for sender in senders:
            own = sender.app, sender.environment, sender.provider
            queued.add_metric(own, sender.queued)
            for caller in sender.open_breakers:
                breakers.add_metric((*own, caller), 1)
            if sender.token_age is not None:
                age.add_metric(own, sender.token_age)
        active = GaugeMetricFamily(
            "pushcore_gateway_active_requests", "Requests in progress.", value=self.active
        )
        yield from (queued, breakers, age, active)
