"""The metrics of a sender for Prometheus and OpenTelemetry.

Both read snapshots on demand, so a push costs the same with and without an exporter: one
`add` of OpenTelemetry's SDK takes 4.5 µs, more than a push. Needs the extra `pushcore[prometheus]` or
`pushcore[opentelemetry]`, whose library is imported by the functions that need it.

`read` is `Metrics.snapshot`, or a function that merges the snapshots of several processes.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from .errors import ConfigurationError
from .latency import cumulate
from .metrics import DURATION, FAMILIES, Snapshot

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

Read = Callable[[], Snapshot]

SENT_MESSAGES: Final = "messaging.client.sent.messages"
OPERATION_DURATION: Final = "messaging.client.operation.duration"
"""Names of OpenTelemetry's semantic conventions for messaging, whose status is Development."""
_ACCEPTED: Final = "ACCEPTED"
_LIBRARIES: Final = {
    "prometheus_client": ("prometheus-client", "prometheus"),
    "prometheus_client.core": ("prometheus-client", "prometheus"),
    "opentelemetry.metrics": ("opentelemetry-api", "opentelemetry"),
}


class Collector:
    """A collector for a `prometheus_client.CollectorRegistry`: the metrics of `FAMILIES` and the latencies."""

    def __init__(self, read: Read) -> None:
        """Import the library.

        Raises:
            ConfigurationError: prometheus-client is not installed.
        """
        self._core = prometheus_core()
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """The metric families; the registry calls this for each scrape."""
        core, snapshot = self._core, self._read()
        for name, family in FAMILIES.items():
            new = core.GaugeMetricFamily if family.gauge else core.CounterMetricFamily
            metric = new(family.name, family.text, labels=family.labels)
            for *labels, value in snapshot[name]:
                metric.add_metric(labels, value)
            yield metric
        metric = core.HistogramMetricFamily(DURATION.name, DURATION.text, labels=DURATION.labels)
        for provider, counts in snapshot["duration"].items():
            buckets = [[_le(bound), count] for bound, count in cumulate(counts["counts"])]
            metric.add_metric([provider], buckets, counts["total"])
        yield metric


class MetricsServer:
    """A running `/metrics`. Close it, or use it in `with`.

    Attributes:
        port: the port on which it listens.
    """

    def __init__(self, server: Any, thread: threading.Thread) -> None:
        """For `serve`, which makes one.

        Args:
            server: of prometheus_client.
            thread: in which it runs.
        """
        self.port: int = server.server_port
        self._server = server
        self._thread = thread

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> MetricsServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def serve(read: Read, port: int, host: str = "127.0.0.1") -> MetricsServer:
    """Serve Prometheus at `http://host:port/metrics`, in a thread of prometheus_client's server.

    Every program that can reach the address can read the metrics; there is no password.

    Args:
        read: returns a snapshot; it is called for each scrape.
        port: the port to listen on; 0 takes a free one.
        host: the address to listen on.

    Returns:
        The running server.

    Raises:
        ConfigurationError: the address or port cannot be used, or prometheus-client is not installed.
    """
    return serve_collector(Collector(read), port, host)


def serve_collector(collector: Any, port: int, host: str = "127.0.0.1") -> MetricsServer:
    """As `serve`, with a collector of your own.

    Args:
        collector: an object whose method `collect` yields metric families of prometheus_client.
        port: the port to listen on; 0 takes a free one.
        host: the address to listen on.

    Returns:
        The running server.

    Raises:
        ConfigurationError: as in `serve`.
    """
    client = _import("prometheus_client")
    registry: CollectorRegistry = client.CollectorRegistry()
    registry.register(collector)
    try:
        server, thread = client.start_http_server(port, addr=host, registry=registry)
    except (OSError, OverflowError) as error:
        raise ConfigurationError(f"metrics cannot be served on {host} port {port}: {error}") from None
    return MetricsServer(server, thread)


def prometheus_core() -> Any:
    """The module `prometheus_client.core`, for callers that make metric families.

    Raises:
        ConfigurationError: prometheus-client is not installed.
    """
    return _import("prometheus_client.core")


def instrument(read: Read, meter: Meter | None = None) -> None:
    """Make observable instruments, through which OpenTelemetry reads the metrics.

    These are the metrics of Prometheus, under the same names, and those of OpenTelemetry's conventions. OpenTelemetry has no
    observable histogram, so `messaging.client.operation.duration` is exported as the three counters that Prometheus makes of a
    histogram: `.bucket` with the attribute `le`, `.count` and `.sum`. Only a shutdown of the provider ends the reading.

    Args:
        read: returns a snapshot; it is called for each instrument at each reading.
        meter: gets the instruments; None for a meter of the global provider.

    Raises:
        ConfigurationError: opentelemetry-api is not installed.
    """
    api = _import("opentelemetry.metrics")
    if meter is None:
        meter = api.get_meter("pushcore")
    reading = _Reading(read, api.Observation)
    for name, family in FAMILIES.items():
        create = meter.create_observable_gauge if family.gauge else meter.create_observable_counter
        create(family.name, [reading.of_family(name, family.labels)], description=family.text)
    meter.create_observable_counter(
        SENT_MESSAGES, [reading.sent_messages], unit="{message}", description=FAMILIES["sent"].text
    )
    for suffix, unit in (("bucket", "{message}"), ("count", "{message}"), ("sum", "s")):
        meter.create_observable_counter(
            f"{OPERATION_DURATION}.{suffix}",
            [reading.durations(suffix)],
            unit=unit,
            description=DURATION.text,
        )


class _Reading:
    """The callbacks of the instruments."""

    def __init__(self, read: Read, observation: type[Observation]) -> None:
        self._read = read
        self._new = observation

    def of_family(
        self, name: str, labels: Sequence[str]
    ) -> Callable[[CallbackOptions], Iterator[Observation]]:
        def observe(options: CallbackOptions) -> Iterator[Observation]:
            for *values, number in self._read()[name]:
                yield self._new(number, dict(zip(labels, values, strict=True)))

        return observe

    def sent_messages(self, options: CallbackOptions) -> Iterator[Observation]:
        for provider, outcome, reason, number in self._read()["sent"]:
            attributes = _attributes(provider)
            if outcome != _ACCEPTED:
                attributes["error.type"] = reason or outcome
                attributes["pushcore.outcome"] = outcome
            yield self._new(number, attributes)

    def durations(self, suffix: str) -> Callable[[CallbackOptions], Iterator[Observation]]:
        def observe(options: CallbackOptions) -> Iterator[Observation]:
            for provider, counts in self._read()["duration"].items():
                attributes = _attributes(provider)
                if suffix == "sum":
                    yield self._new(counts["total"], attributes)
                elif suffix == "count":
                    yield self._new(sum(counts["counts"]), attributes)
                else:
                    for bound, count in cumulate(counts["counts"]):
                        yield self._new(count, {**attributes, "le": _le(bound)})

        return observe


def _attributes(provider: str) -> dict[str, str]:
    return {
        "messaging.system": provider,
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
    }


def _le(bound: float) -> str:
    return "+Inf" if bound == math.inf else str(bound)


def _import(module: str) -> Any:
    with contextlib.suppress(ImportError):
        return importlib.import_module(module)
    library, extra = _LIBRARIES[module]
    raise ConfigurationError(f'this needs {library}, which is not installed; pip install "pushcore[{extra}]"')
