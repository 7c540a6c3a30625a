"""The gauges of a campaign: what each says, and that a queue that is away leaves them as they were."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any, cast

import pytest

from pushcore import telemetry
from pushcore.audience.problems import BadInput
from pushcore.cli.report import campaign_metrics
from pushcore.cli.report.campaign_metrics import CampaignGauges, figures_of, serving_gauges
from pushcore.engine.breaker import Trip
from pushcore.errors import ConfigurationError
from pushcore.queue.campaign import CampaignState
from pushcore.queue.coordinator import CampaignStatus, Coordinator
from pushcore.queue.errors import QueueUnavailable
from pushcore.queue.ledger import LedgerStatus
from pushcore.queue.protocol import QueueStats

LEDGER = LedgerStatus(True, 0.0, CampaignState.RUNNING, 9, 2, 1, 4500, 1200, 7, 3, Counter())
STATUS = CampaignStatus("autumn", LEDGER, QueueStats(4, 2, 5, 12.5), None, 99.5, 30.0)


class Scripted:
    """A coordinator whose looks are given; after the last one its run ends."""

    def __init__(self, *looks: CampaignStatus | Exception) -> None:
        self.looks = list(looks)
        self.done = asyncio.Event()

    async def status(self) -> CampaignStatus:
        look = self.looks.pop(0)
        if not self.looks:
            self.done.set()
        if isinstance(look, Exception):
            raise look
        return look

    async def run(self) -> LedgerStatus:
        await self.done.wait()
        await asyncio.sleep(0)
        return LEDGER


def samples(watch: CampaignGauges) -> dict[tuple[str, str], float]:
    """What Prometheus is told, by name and state."""
    return {
        (sample.name, sample.labels.get("state", "")): sample.value
        for metric in watch.collect()
        for sample in metric.samples
    }


async def watched(watch: CampaignGauges, *looks: CampaignStatus | Exception) -> LedgerStatus:
    return await watch.run(cast(Coordinator, Scripted(*looks)))


def test_each_figure_is_a_gauge_with_its_name() -> None:
    found = {(name, state): value for (name, _, state), value in figures_of(STATUS).items()}
    assert found == {
        ("pushcore_campaign_rows", ""): 4500,
        ("pushcore_campaign_rows_done", ""): 1200,
        ("pushcore_campaign_chunks", "waiting"): 4,
        ("pushcore_campaign_chunks", "leased"): 2,
        ("pushcore_campaign_chunks", "finished"): 2,
        ("pushcore_campaign_chunks", "aside"): 1,
        ("pushcore_campaign_results", ""): 5,
        ("pushcore_campaign_oldest_seconds", ""): 12.5,
        ("pushcore_campaign_rate", ""): 99.5,
        ("pushcore_campaign_repeats", ""): 7,
        ("pushcore_campaign_strays", ""): 3,
        ("pushcore_campaign_stopped", ""): 0,
    }


def test_a_campaign_that_its_breaker_stopped_says_so() -> None:
    stopped = replace(STATUS, trip=Trip("InvalidProviderToken", "Check the key"))
    assert [value for (name, *_), value in figures_of(stopped).items() if name.endswith("stopped")] == [1.0]


async def test_prometheus_is_told_the_last_look() -> None:
    pytest.importorskip("prometheus_client")
    watch = CampaignGauges()
    assert samples(watch) == {}
    assert await watched(watch, STATUS) is LEDGER
    found = samples(watch)
    assert len(found) == 12
    assert found["pushcore_campaign_chunks", "leased"] == 2
    assert found["pushcore_campaign_rate", ""] == 99.5
    assert len(list(watch.collect())) == 9  # the states of chunks are one metric


@pytest.mark.deadline(5)
async def test_a_queue_that_is_away_leaves_the_figures_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("prometheus_client")
    monkeypatch.setattr(campaign_metrics, "EVERY", 0.0)
    watch = CampaignGauges()
    away = QueueUnavailable("not now")
    await watched(watch, STATUS, away)
    assert samples(watch)["pushcore_campaign_rate", ""] == 99.5
    await watched(watch, away, replace(STATUS, rate=5.0), away)
    assert samples(watch)["pushcore_campaign_rate", ""] == 5.0


async def test_the_looking_ends_with_the_run_also_when_that_fails() -> None:
    pytest.importorskip("prometheus_client")

    class Failing(Scripted):
        async def run(self) -> LedgerStatus:
            await self.done.wait()
            raise QueueUnavailable("gone for good")

    with pytest.raises(QueueUnavailable, match="gone for good"):
        await CampaignGauges().run(cast(Coordinator, Failing(STATUS)))
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_a_port_that_cannot_be_had_is_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise ConfigurationError("port 9 is taken")

    monkeypatch.setattr(telemetry, "serve_collector", refuse)
    with pytest.raises(BadInput, match=r"--metrics-port: port 9 is taken"), serving_gauges(9):
        pass
