"""One lane, a run that writes down what the lane tells it, and a clock that the test moves."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any

from pushcore.engine.breaker import Trip
from pushcore.engine.lane import Lane
from pushcore.results import Result, Verdict
from tests.support.scripted import ScriptedClient, ScriptedJournal, ScriptedPush, rules


class Owner:
    """The run that a lane belongs to."""

    def __init__(self) -> None:
        self.outstanding = 0
        self.stopping = False
        self.stops: list[BaseException | None] = []
        self.trips: list[Trip] = []
        self.spawned: list[Coroutine[Any, Any, None]] = []

    def stop(self, error: BaseException | None = None) -> None:
        self.stopping = True
        self.stops.append(error)

    def stopped_by(self, lane: Lane, trip: Trip) -> None:
        self.trips.append(trip)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.spawned.append(work)

    def flow(self, lane: Lane) -> None:
        lane.flow(0.0)


class Stage:
    """Drives a lane as a run does. `rows()`: the rows of the results that the caller has got so far."""

    def __init__(
        self, client: ScriptedClient | None = None, *, journal: ScriptedJournal | None = None, **given: Any
    ) -> None:
        self.now = 1000.0
        self.client = client or ScriptedClient()
        self.ready: list[Result] = []
        self.owner = Owner()
        self.lane = Lane(self.owner, self.client, rules(**given), self.ready, lambda: self.now, journal)
        self.client.scripted.listeners.append(self.lane.record.flush)
        self.due = 0.0
        """When the lane wants to be called again."""

    def send(self, pushes: Iterable[ScriptedPush]) -> None:
        """A burst from the source."""
        self.lane.build(iter(pushes), ScriptedPush, self.now)
        read = self.lane.begin(self.now)
        self.owner.outstanding += read
        self.lane.report_not_built()
        self.lane.record.flush()
        self.due = self.lane.flow(self.now)

    def wait(self, seconds: float = 0.0) -> None:
        """Let time pass, and call the lane."""
        self.now += seconds
        self.due = self.lane.flow(self.now)
        self.lane.record.flush()

    async def run_spawned(self) -> None:
        """What the lane does beside the run, to its end."""
        spawned, self.owner.spawned = self.owner.spawned, []
        for work in spawned:
            await work
        self.lane.record.flush()

    def rows(self) -> list[int]:
        return [result.push.row for result in self.ready]

    def verdicts(self) -> list[Verdict]:
        return [result.verdict for result in self.ready]
