"""`python -m bench queue`, with a handful of rows: that it runs, and that its rows have their fields."""

from __future__ import annotations

import pytest
from rich.console import Console

from bench.campaigns import brokers, queues
from bench.campaigns.queue_worker import burn, calibrate
from bench.harness import promises
from bench.harness.stage import CannotMeasure
from pushcore.queue.opening import open_queue

pytestmark = pytest.mark.xdist_group("cores")  # it pins processes to cores and builds the C target


@pytest.mark.ci
def test_cost_and_workers() -> None:
    names = [name for name in brokers.BROKERS if not brokers.missing(name)][:1]
    if not names:
        pytest.skip("no broker is installed")
    cost, workers = queues.measure(Console(quiet=True), rows=4000, chunk=500, runs=1, names=names)
    assert (cost["part"], cost["broker"], cost["rows"]) == ("cost", names[0], 4000)
    assert cost["worker_us"] > 0
    assert cost["engine_us"] > 0
    assert (workers["part"], workers["rows"], workers["work_us"]) == ("workers", 10_000, 25.0)
    assert 0 < workers["least"] <= workers["ratio"] <= workers["most"]
    assert workers["runs"] == queues.LEAST_RUNS
    told = promises.judge("queue", [cost, workers])
    assert [row["bound"] for row in told] == ["at most 3", "at least 1.7"]


@pytest.mark.parametrize("name", brokers.BROKERS)
async def test_each_broker_starts(name: str) -> None:
    if why := brokers.missing(name):
        pytest.skip(why)
    with brokers.broker(name) as url:
        async with await open_queue(url, "camp") as queue:
            assert (await queue.stats()).depth == 0


def test_a_broker_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brokers, "missing", lambda name: f"{name} is missing")
    with pytest.raises(CannotMeasure, match="nats is missing"):
        queues.measure(Console(quiet=True), rows=1000, chunk=100, runs=1, names=("nats",))
    with pytest.raises(CannotMeasure, match="there is no broker"):
        queues.measure(Console(quiet=True), rows=1000, chunk=100, runs=1)


def test_work_is_calibrated() -> None:
    loops = calibrate(25.0)
    assert 10 < loops < 100_000
    burn(loops)
