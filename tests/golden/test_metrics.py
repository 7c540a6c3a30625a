"""Names, kinds, texts and labels of all metrics: dashboards and alerts of others are made of them."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from fakeservers import Control, ControlService, FakeApns, FakeFcm, Fault
from fakeservers.faults.actions import Stall
from fakeservers.faults.when import When
from pushcore import ApnsClient, ApnsKey, Metrics, Notification, Result, Verdict, telemetry
from pushcore.cli.report.campaign_metrics import figures_of
from pushcore.queue.brokers.memory import MemoryQueue
from pushcore.queue.campaign import CampaignInfo
from pushcore.queue.coordinator import Coordinator
from pushcore.queue.ledger import Ledger
from tests.golden.compare import golden_names, same_as_golden


class _Pool:
    """A pool with something in everything that metrics look at."""

    waiting = (None,)
    links = ()
    expiries: ClassVar = {"provider_token": 1.0}


def counted() -> Metrics:
    """Something in every metric, so that each has its labels."""
    metrics = Metrics(["Unregistered"])
    metrics.results("apns", [Result(None, Verdict.ACCEPTED), Result(None, Verdict.UNREGISTERED, 410)])
    metrics.connection_opened("apns", "host")
    metrics.goaway("apns", "host", 0, "Unregistered")
    metrics.token_rotated("apns")
    metrics.retried("apns", "Unregistered", 1, 1.0)
    metrics.breaker_opened("apns", "a sentence")
    metrics.queue_depth["apns", "retry"] = 1
    metrics.time_lag[("apns",)] = 1.0
    metrics.allowed_rate[("apns",)] = 1.0
    metrics.duration("apns").observe(0.1)
    metrics.watch("apns", _Pool())
    return metrics


def described(families: Iterable[Any]) -> str:
    """Families of prometheus_client as text: each sample's name and labels once, bounds of buckets with their values."""
    lines = []
    for family in families:
        lines.append(f"{family.name} ({family.type}): {family.documentation}")
        samples: dict[str, None] = {}
        for sample in family.samples:
            bound = f"={sample.labels['le']}" if "le" in sample.labels else ""
            names = ", ".join(name + (bound if name == "le" else "") for name in sorted(sample.labels))
            samples[f"  {sample.name} {{{names}}}"] = None
        lines += samples
    return "\n".join(lines) + "\n"


def test_prometheus() -> None:
    registry = CollectorRegistry()
    registry.register(telemetry.Collector(counted().snapshot))
    same_as_golden("metrics/prometheus.txt", described(registry.collect()))


def test_opentelemetry() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    telemetry.instrument(counted().snapshot, provider.get_meter("golden"))
    data = reader.get_metrics_data()
    provider.shutdown()
    assert data is not None
    lines = []
    for metric in data.resource_metrics[0].scope_metrics[0].metrics:
        kind = type(metric.data).__name__
        lines.append(f"{metric.name} ({kind}, {metric.unit or 'no unit'}): {metric.description}")
        lines += dict.fromkeys(
            f"  {{{', '.join(sorted(point.attributes or {}))}}}" for point in metric.data.data_points
        )
    same_as_golden("metrics/opentelemetry.txt", "\n".join(lines) + "\n")


def test_snapshots_between_processes() -> None:
    """The form that goes from process to process, by the names of its parts."""
    snapshot = counted().snapshot()
    lines = [
        f"{name}: {value[0][:-1] if isinstance(value, list) else sorted(value)}"
        for name, value in snapshot.items()
    ]
    lines += [f"duration of a provider: {sorted(snapshot['duration']['apns'])}"]
    same_as_golden("metrics/snapshot.txt", "\n".join(lines) + "\n")


async def test_campaigns(tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "ledger", CampaignInfo("autumn", "fingerprint")) as ledger:
        figures = figures_of(await Coordinator(MemoryQueue("autumn"), ledger).status())
    lines = [f"{name} {{{f'state={state}' if state else ''}}}: {text}" for name, text, state in figures]
    same_as_golden("metrics/campaign.txt", "\n".join(lines) + "\n")


async def test_the_fakes() -> None:
    async with (
        FakeApns() as apns,
        FakeFcm(certs=apns.certs) as fcm,
        Control(ControlService(apns, fcm)) as control,
        ApnsClient(
            ApnsKey.from_file(apns.key_file, key_id=apns.key_id, team_id=apns.team_id),
            topic=apns.topic,
            url=apns.url,
            ca_file=apns.ca_file,
        ) as client,
    ):
        apns.faults.add(Fault(what=Stall(), when=When(path="/nowhere/")))
        assert (await client.send(Notification("ab" * 32, {"aps": {"alert": "Hi"}}))).ok
        text = await asyncio.to_thread(_get, f"{control.url}/metrics")
    same_as_golden("metrics/fakeservers.txt", described(text_string_to_metric_families(text)))


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def test_every_golden_list_is_made() -> None:
    names = {"prometheus", "opentelemetry", "snapshot", "campaign", "fakeservers"}
    assert golden_names("metrics") == {f"{name}.txt" for name in names}
