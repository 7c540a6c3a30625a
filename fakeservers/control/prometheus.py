"""Counters in Prometheus' text form, version 0.0.4 ("Exposition formats" of its documentation)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any

from fakeservers.serving.latency import BOUNDS

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_EVERY = 4
"""Every so many-th bucket is told: those at powers of two times 10 µs."""

_COUNTERS = {
    "requests": "Requests that arrived.",
    "accepted": "Connections that were accepted.",
    "refused": "Connections that were one too many.",
    "resets": "Streams that clients reset.",
    "protocol_errors": "Connections that were ended for what they sent.",
}
_GAUGES = {"connections": "Connections open now.", "streams": "Requests begun and not answered."}


def exposition(snapshot: Mapping[str, Any]) -> str:
    """A snapshot of `ControlService` for a scraper."""
    services: dict[str, Any] = snapshot["services"]
    lines: list[str] = []
    for kind, described, ending in (("counter", _COUNTERS, "_total"), ("gauge", _GAUGES, "")):
        for field, text in described.items():
            values = [
                _line(f"{field}{ending}", {"service": name}, each[field]) for name, each in services.items()
            ]
            lines += _family(f"{field}{ending}", kind, text, values)
    answers = [
        _line(
            "answers_total",
            {"service": name, "status": each["status"], "reason": each["reason"]},
            each["count"],
        )
        for name, service in services.items()
        for each in service["answers"]
    ]
    lines += _family("answers_total", "counter", "Answers by status and reason; 0 for none.", answers)
    hits = [_line("fault_hits_total", {"fault": each["id"]}, each["hits"]) for each in snapshot["faults"]]
    lines += _family("fault_hits_total", "counter", "How often each fault has happened.", hits)
    enabled = [
        _line("fault_enabled", {"fault": each["id"]}, int(each["enabled"])) for each in snapshot["faults"]
    ]
    lines += _family("fault_enabled", "gauge", "Whether a fault is switched on.", enabled)
    buckets = [line for name, each in services.items() for line in _histogram(name, each["latency"])]
    lines += _family("answer_seconds", "histogram", "From a request's arrival to its answer.", buckets)
    lines += _family(
        "processes", "gauge", "Processes that serve.", [_line("processes", {}, len(snapshot["processes"]))]
    )
    return "\n".join(lines) + "\n"


def _histogram(service: str, latency: Mapping[str, Any]) -> Iterable[str]:
    sums = list(accumulate(latency["buckets"]))
    for at in range(0, len(BOUNDS), _EVERY):
        yield _line("answer_seconds_bucket", {"service": service, "le": f"{BOUNDS[at]:.6g}"}, sums[at])
    yield _line("answer_seconds_bucket", {"service": service, "le": "+Inf"}, sums[-1])
    yield _line("answer_seconds_sum", {"service": service}, latency["seconds"])
    yield _line("answer_seconds_count", {"service": service}, sums[-1])


def _family(name: str, kind: str, text: str, lines: list[str]) -> list[str]:
    return [f"# HELP fakeservers_{name} {text}", f"# TYPE fakeservers_{name} {kind}", *lines]


def _line(name: str, labels: Mapping[str, Any], value: float) -> str:
    inside = ",".join(f'{label}="{_escaped(str(each))}"' for label, each in labels.items())
    return f"fakeservers_{name}{{{inside}}} {value}" if inside else f"fakeservers_{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
