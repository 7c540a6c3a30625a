"""Prometheus and OpenTelemetry see what was counted; the dashboard and the alerts ask for nothing else."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client.parser import text_string_to_metric_families

from pushcore import telemetry
from pushcore.errors import ConfigurationError, ConnectError
from pushcore.latency import EXPORTED
from pushcore.metrics import DURATION, FAMILIES, Metrics, merge
from pushcore.results import Result, Verdict

ROOT = Path(__file__).parents[2]
OPERATORS = (ROOT / "docs" / "operations" / "operators.md").read_text()
DASHBOARD = json.loads((ROOT / "docs" / "operations" / "grafana-dashboard.json").read_text())


def counted() -> Metrics:
    """Something in every metric."""
    metrics = Metrics(["Unregistered", "TooManyRequests"])
    metrics.results("apns", [Result(None, Verdict.ACCEPTED)] * 3)
    metrics.results("apns", [Result(None, Verdict.UNREGISTERED, 410, reason="Unregistered")])
    metrics.results("fcm", [Result(None, Verdict.UNSENT, detail=ConnectError("no"))])
    metrics.connection_opened("apns", "host")
    metrics.goaway("apns", "host", 0, 'a "reason" with\nits tricks')
    metrics.token_rotated("apns")
    metrics.retried("apns", "TooManyRequests", 2, 10.0)
    metrics.breaker_opened("fcm", "wrong project")
    metrics.queue_depth["fcm", "retry"] = 7
    metrics.time_lag[("fcm",)] = 1.5
    metrics.allowed_rate[("fcm",)] = 8000.0
    metrics.duration("apns").observe_all([0.004, 0.04, 0.4, 400.0])
    return metrics


def scrape(port: int) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """All samples, by name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.slow
def test_prometheus_sees_every_number() -> None:
    metrics = counted()
    with telemetry.serve(metrics.snapshot, 0) as endpoint:
        found = scrape(endpoint.port)

        def value(name: str, **labels: str) -> float:
            return found[name, frozenset(labels.items())]

        assert value("pushcore_sent_total", provider="apns", outcome="ACCEPTED", reason="") == 3
        assert (
            value("pushcore_sent_total", provider="apns", outcome="UNREGISTERED", reason="Unregistered") == 1
        )
        assert value("pushcore_sent_total", provider="fcm", outcome="UNSENT", reason="ConnectError") == 1
        assert value("pushcore_goaway_total", provider="apns", reason="other") == 1
        assert value("pushcore_dials_total", provider="apns", outcome="opened") == 1
        assert value("pushcore_token_rotations_total", provider="apns") == 1
        assert value("pushcore_retries_total", provider="apns", reason="TooManyRequests") == 2
        assert value("pushcore_breaker_open", provider="fcm") == 1
        assert value("pushcore_queue_depth", provider="fcm", queue="retry") == 7
        assert value("pushcore_time_lag_seconds", provider="fcm") == 1.5
        bucket = "pushcore_operation_duration_seconds_bucket"
        assert value(bucket, provider="apns", le="0.0025") == 0
        assert value(bucket, provider="apns", le="0.005") == 1
        assert value(bucket, provider="apns", le="1.0") == 3
        assert value(bucket, provider="apns", le="60.0") == 3
        assert value(bucket, provider="apns", le="+Inf") == 4
        assert value("pushcore_operation_duration_seconds_count", provider="apns") == 4
        assert value("pushcore_operation_duration_seconds_sum", provider="apns") == pytest.approx(400.444)

        metrics.results("apns", [Result(None, Verdict.ACCEPTED)])
        found = scrape(endpoint.port)
        assert value("pushcore_sent_total", provider="apns", outcome="ACCEPTED", reason="") == 4
    with pytest.raises(urllib.error.URLError):
        scrape(endpoint.port)


@pytest.mark.slow
def test_prometheus_sees_merged_processes() -> None:
    shards = [counted(), counted()]
    with telemetry.serve(lambda: merge(each.snapshot() for each in shards), 0) as endpoint:
        found = scrape(endpoint.port)
    labels = frozenset({"provider": "apns", "outcome": "ACCEPTED", "reason": ""}.items())
    assert found["pushcore_sent_total", labels] == 6


@pytest.mark.slow
def test_nothing_counted_yet() -> None:
    with telemetry.serve(Metrics().snapshot, 0) as endpoint:
        assert scrape(endpoint.port) == {}


@pytest.mark.parametrize("port", [70_000, None])
def test_port_that_cannot_be_had(port: int | None) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = port or taken.getsockname()[1]
        with pytest.raises(ConfigurationError) as caught:
            telemetry.serve(Metrics().snapshot, port)
    assert str(port) in str(caught.value)


def observed(metrics: Metrics) -> dict[str, dict[frozenset[tuple[str, Any]], float]]:
    """What the SDK reads, by name and attributes."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    telemetry.instrument(metrics.snapshot, provider.get_meter("test"))
    data = reader.get_metrics_data()
    provider.shutdown()
    assert data is not None
    return {
        metric.name: {
            frozenset((point.attributes or {}).items()): getattr(point, "value", None)  # type: ignore[misc]  # there are points without attributes and without a value
            for point in metric.data.data_points
        }
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_opentelemetry_sees_every_number() -> None:
    metrics = counted()
    found = observed(metrics)
    # An instrument without observations is not reported: no pool is watched here.
    names = {
        family.name
        for name, family in FAMILIES.items()
        if name not in ("in_flight", "connections", "expiries")
    }
    names |= {f"messaging.client.operation.duration.{each}" for each in ("bucket", "count", "sum")}
    assert set(found) == names | {"messaging.client.sent.messages"}
    system = {
        "messaging.system": "apns",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
    }
    sent = found["messaging.client.sent.messages"]
    assert sent[frozenset(system.items())] == 3
    refused = {**system, "error.type": "Unregistered", "pushcore.outcome": "UNREGISTERED"}
    assert sent[frozenset(refused.items())] == 1
    labels = {"provider": "apns", "outcome": "ACCEPTED", "reason": ""}
    assert found["pushcore_sent"][frozenset(labels.items())] == 3
    assert found["pushcore_time_lag_seconds"][frozenset({("provider", "fcm")})] == 1.5
    assert found["messaging.client.operation.duration.count"] == {frozenset(system.items()): 4}
    buckets = found["messaging.client.operation.duration.bucket"]
    assert len(buckets) == len(EXPORTED) + 1
    assert buckets[frozenset({**system, "le": "0.05"}.items())] == 2
    assert buckets[frozenset({**system, "le": "+Inf"}.items())] == 4


@pytest.mark.parametrize(
    ("module", "call", "extra"),
    [
        ("prometheus_client", lambda: telemetry.serve(Metrics().snapshot, 0), "prometheus"),
        ("prometheus_client.core", lambda: telemetry.Collector(Metrics().snapshot), "prometheus"),
        ("opentelemetry.metrics", lambda: telemetry.instrument(Metrics().snapshot), "opentelemetry"),
    ],
)
def test_missing_library_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, module: str, call: Any, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=rf"pushcore\[{extra}\]"):
        call()


@pytest.mark.slow
def test_libraries_are_imported_only_when_asked_for() -> None:
    program = "import sys, pushcore, pushcore.telemetry; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    assert "pushcore.telemetry" in loaded
    assert not {each for each in loaded if each.startswith(("prometheus_client", "opentelemetry"))}


# --- what is asked of them in docs/ -------------------------------------------------------------------------------

EXPORTED_NAMES = {
    *(family.name if family.gauge else f"{family.name}_total" for family in FAMILIES.values()),
    *(f"{DURATION.name}_{each}" for each in ("bucket", "count", "sum")),
}
LABELS = {"le", "instance", *(label for family in FAMILIES.values() for label in family.labels)}
LABELS_OF = {
    **{
        family.name if family.gauge else f"{family.name}_total": set(family.labels)
        for family in FAMILIES.values()
    },
    **{f"{DURATION.name}_{each}": {"provider", "le"} for each in ("bucket", "count", "sum")},
}
WORDS = {"sum", "min", "max", "time", "rate", "increase", "histogram_quantile", "by", "and"}


def check(expression: str) -> set[str]:
    """The metrics that an expression asks for, all of which, and all labels, there must be."""
    plain = re.sub(r'"[^"]*"', '""', expression)
    names = set(re.findall(r"\bpushcore_\w+", plain))
    assert names, expression
    assert names <= EXPORTED_NAMES, expression
    for name, selector in re.findall(r"(\w+)\{([^}]*)\}", plain):
        assert set(re.findall(r"(\w+)\s*[=!]", selector)) <= LABELS_OF[name] | {"instance"}, expression
    for group in re.findall(r"\bby \(([^)]*)\)", plain):
        assert set(re.findall(r"\w+", group)) <= LABELS, expression
    rest = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\bby \([^)]*\)|\bpushcore_\w+", " ", plain)
    assert set(re.findall(r"[A-Za-z_]\w*", rest)) <= WORDS, expression
    assert plain.count("(") == plain.count(")")
    return names


def test_dashboard_asks_for_what_there_is() -> None:
    asked: set[str] = set()
    for panel in DASHBOARD["panels"]:
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            asked |= check(target["expr"])
            grouped = " ".join(re.findall(r"by \(([^)]*)\)", target["expr"]))
            known = set(re.findall(r"\w+", grouped))
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= known
    assert asked >= EXPORTED_NAMES  # and leaves nothing out


def test_dashboard_can_be_imported() -> None:
    assert DASHBOARD["schemaVersion"] == 42
    assert "id" not in DASHBOARD
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        grid = panel["gridPos"]
        cells = {(grid["x"] + x, grid["y"] + y) for x in range(grid["w"]) for y in range(grid["h"])}
        assert not cells & taken, f"{panel['title']} lies over another"
        assert grid["x"] + grid["w"] <= 24
        taken |= cells
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs)
    variables = DASHBOARD["templating"]["list"]
    assert variables[0]["name"] == "datasource"
    assert variables[0]["type"] == "datasource"
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) - {"__rate_interval", "__all"}
    assert used == {each["name"] for each in variables}
    for variable in variables[1:]:
        name, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()  # type: ignore[union-attr]  # where it matches nothing, the test fails all the same
        assert name in EXPORTED_NAMES
        assert label in LABELS


def test_alerts_ask_for_what_there_is() -> None:
    (rules,) = re.findall(r"```yaml\n(.*?)```", OPERATORS, re.DOTALL)
    alerts = re.split(r"^ +- alert: ", rules, flags=re.MULTILINE)[1:]
    assert len(alerts) >= 8
    for alert in alerts:
        (expression,) = re.findall(r"expr: (?:>\n)?(.*?)\n +(?:for|labels):", alert, re.DOTALL)
        check(expression)
        shown = set(re.findall(r"\$labels\.(\w+)", alert))
        grouped = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", expression))))
        assert shown <= grouped
        assert re.search(r"severity: (page|warn)", alert)


def test_operators_page_lists_every_metric_with_its_labels() -> None:
    listed = {
        name: set(re.findall(r"`(\w+)`", labels))
        for name, labels in re.findall(r"^\| `(pushcore_\w+)` \| ([^|]*) \|", OPERATORS, re.MULTILINE)
    }
    expected = {
        family.name if family.gauge else f"{family.name}_total": set(family.labels)
        for family in FAMILIES.values()
    }
    assert listed == {**expected, DURATION.name: {"provider"}}


def test_log_lines_listed_are_written_somewhere() -> None:
    table = OPERATORS[OPERATORS.index("## Log lines") :].split("\n\n")
    lines = re.findall(r"^\| (?:INFO|WARNING|ERROR) \| `([^`]*)`", "\n".join(table), re.MULTILINE)
    assert len(lines) >= 8
    source = "".join(path.read_text() for path in (ROOT / "pushcore").rglob("*.py"))
    for line in lines:
        words = (
            re.sub(r"\b(?:HOST|PORT|EVENT)\b|…", "%", line).replace("port %", "port %d").replace("%:", "%s:")
        )
        fixed = max(re.split(r"%[sd]?", words), key=len).strip(" :")
        assert fixed in source, line
