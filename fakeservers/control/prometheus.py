"""The counters for Prometheus, written by its own client library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from fakeservers.serving.latency import BOUNDS

_EVERY = 4
"""Every fourth bucket is exported: those at powers of two times 10 µs."""
_COUNTERS = {
    "requests": "Requests that came whole, pushes and others.",
    "received": "Pushes that came whole.",
    "accepted": "Pushes that were answered with 200.",
    "rejected": "Pushes that were answered with an error.",
    "unprocessed": "Pushes that were not processed, and the client was told so.",
    "cut": "Pushes that were never answered, and the client cannot know their fate.",
    "connections_accepted": "Connections that were accepted.",
    "connections_refused": "Connections that were one too many.",
    "connections_turned_away": "Connections that a fault gave no TLS.",
    "handshakes_failed": "Connections whose TLS handshake failed.",
    "streams_over_limit": "Streams beyond the limit, reset with REFUSED_STREAM.",
    "streams_refused": "Streams within the limit, reset with REFUSED_STREAM.",
    "streams_reset_by_server": "Streams that were reset with another code.",
    "streams_reset_by_client": "Streams that clients reset.",
    "goaways": "GOAWAYs that were sent.",
    "goaway_unprocessed": "Requests that GOAWAYs left unprocessed.",
    "goaways_received": "GOAWAYs of clients.",
    "protocol_errors": "Connections that were ended for what they sent.",
}
_GAUGES = {"connections": "Connections open now.", "streams": "Requests begun and not answered."}


def exposition(snapshot: Mapping[str, Any], accept: str) -> tuple[bytes, str]:
    """A snapshot of `ControlService` as text for a scraper, and its content type, by the `Accept` header."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(snapshot))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Snapshot(Collector):
    def __init__(self, snapshot: Mapping[str, Any]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        services: dict[str, Any] = self._snapshot["services"]
        faults: list[dict[str, Any]] = self._snapshot["faults"]
        for kind, described in ((CounterMetricFamily, _COUNTERS), (GaugeMetricFamily, _GAUGES)):
            for field, text in described.items():
                rows = (([name], service[field]) for name, service in services.items())
                yield _family(kind, field, text, ["service"], rows)
        responses = (
            ([name, str(row["status"]), row["reason"]], row["count"])
            for name, service in services.items()
            for row in service["answers"]
        )
        labels = ["service", "status", "reason"]
        yield _family(
            CounterMetricFamily, "answers", "Answers by status and reason; 0 for none.", labels, responses
        )
        hits = (([fault["id"]], fault["hits"]) for fault in faults)
        yield _family(
            CounterMetricFamily, "fault_hits", "How often each fault has happened.", ["fault"], hits
        )
        enabled = (([fault["id"]], fault["enabled"]) for fault in faults)
        yield _family(
            GaugeMetricFamily, "fault_enabled", "Whether a fault is switched on.", ["fault"], enabled
        )
        latency = HistogramMetricFamily(
            "fakeservers_answer_seconds", "From a request's arrival to its answer.", labels=["service"]
        )
        for name, service in services.items():
            sums = list(accumulate(service["latency"]["buckets"]))
            buckets = [(f"{BOUNDS[at]:.6g}", sums[at]) for at in range(0, len(BOUNDS), _EVERY)]
            latency.add_metric([name], [*buckets, ("+Inf", sums[-1])], service["latency"]["seconds"])
        yield latency
        yield GaugeMetricFamily(
            "fakeservers_processes", "Processes that serve.", value=len(self._snapshot["processes"])
        )


def _family(
    kind: type[CounterMetricFamily] | type[GaugeMetricFamily],
    name: str,
    text: str,
    labels: list[str],
    rows: Iterable[tuple[list[str], float]],
) -> Metric:
    family = kind(f"fakeservers_{name}", text, labels=labels)
    for values, number in rows:
        family.add_metric(values, number)
    return family
