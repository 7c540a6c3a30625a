"""`pushcore campaign` on a queue in memory: what it puts there, what it collects, and what it refuses."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import os
import re
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pushcore.cli.commands import campaign as command
from pushcore.errors import ConfigurationError
from pushcore.journal.journal import id_prefix
from pushcore.journal.outcome import RowDevice
from pushcore.payloads.duplicates import DUPLICATE
from pushcore.queue import coordinator
from pushcore.queue.access import Access
from pushcore.queue.brokers.memory import Memory, MemoryQueue
from pushcore.queue.campaign import CampaignState, read_info, read_state
from pushcore.queue.chunk import Chunk
from pushcore.queue.chunk_rows import ABSENT, BAD
from pushcore.queue.coordinator import CampaignStatus
from pushcore.queue.errors import QueueUnavailable
from pushcore.queue.heartbeats import WorkerHeartbeat
from pushcore.queue.ledger import Ledger, LedgerStatus
from pushcore.queue.outcomes import ChunkResult
from pushcore.queue.protocol import Lease, QueueStats
from pushcore.results import Result, Verdict

from .conftest import Run

ROWS = "token,name\naa,Ada\nbb\ncc,Carl\ndd,Dan\nee,Eve\n"


class Place:
    """A directory with an audience, and a queue in memory that every command opens."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.memory = Memory()
        self.opened: list[str] = []
        self.ledger = str(directory / "autumn.ledger")
        self.audience = directory / "devices.csv"
        self.audience.write_text(ROWS)

    async def open(self, url: str, campaign: str, access: Access) -> MemoryQueue:
        if not url.startswith("memory:"):
            raise ConfigurationError("a queue's URL begins with memory:")
        self.opened.append(campaign)
        return MemoryQueue(campaign, self.memory)

    def create(self, *more: str) -> list[str]:
        at = ("--queue", "memory:", "--ledger", self.ledger, "--name", "autumn")
        return ["campaign", "create", *at, "--audience", str(self.audience), "--chunk", "2", *more]

    def on(self, name: str, *more: str) -> list[str]:
        return ["campaign", name, "--queue", "memory:", "--ledger", self.ledger, *more]

    def queue(self) -> MemoryQueue:
        return MemoryQueue("autumn", self.memory)

    def chunks(self) -> list[Chunk]:
        """What is on the queue."""
        entries = sorted(self.memory.entries.values(), key=lambda each: each.number)
        return [Chunk.decode(each.data) for each in entries]

    def work(self, *, bad: int = -1) -> None:
        """What a worker would do; the chunk `bad` cannot be read."""

        async def finish() -> None:
            queue = self.queue()
            for lease in await queue.lease(100, 0.0):
                await queue.done(lease, result_of(lease, bad))

        asyncio.run(finish())


def result_of(lease: Lease, bad: int) -> bytes:
    chunk = Chunk.decode(lease.data)
    if chunk.number == bad:
        return ChunkResult(
            chunk.number, lease.nonce, "worker", 1.0, (), Counter(), bad="it is odd\x1b"
        ).encode()
    results = [
        Result(RowDevice(row, f"t{row}", "apns"), Verdict.INVALID, reason="odd") for row in chunk.missing()
    ]
    return ChunkResult.of(chunk.number, lease.nonce, "worker", results, id_prefix("autumn")).encode()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(tmp_path)
    monkeypatch.setattr(command, "open_queue", made.open)
    monkeypatch.setattr(coordinator, "WAIT", 0.0)
    return made


# --- create -----------------------------------------------------------------------------------------------------------


def test_every_row_is_on_the_queue_the_bad_ones_with_their_reason(place: Place, run: Run) -> None:
    assert run(*place.create()) == (0, "", "pushcore: 5 rows in 3 chunks are on the queue\n")
    one, two, three = place.chunks()
    assert (one.number, one.first, one.rows) == (0, 1, 2)
    assert one.columns() == {
        "token": ["aa", "bb"],
        "name": ["Ada", None],
        BAD: [None, "the row has 1 column, expected 2"],
        ABSENT: [None, ["name"]],
    }
    assert (two.first, three.first, three.rows) == (3, 5, 1)
    assert three.columns() == {"token": ["ee"], "name": ["Eve"]}
    assert place.opened == ["autumn"]


@pytest.mark.parametrize("at", [0, 1, 4, 5])
def test_a_bad_row_has_its_place_wherever_it_is(place: Place, run: Run, at: int) -> None:
    lines = [f"{row}{row},name" for row in range(5)]
    lines.insert(at, "bad")
    place.audience.write_text("\n".join(["token,name", *lines]))
    assert run(*place.create()) == (0, "", "pushcore: 6 rows in 3 chunks are on the queue\n")
    tokens = [token for chunk in place.chunks() for token in chunk.columns()["token"]]
    assert tokens == [line.partition(",")[0] for line in lines]


def test_with_unique_a_device_is_on_the_queue_once(place: Place, run: Run) -> None:
    first, second = "aa" * 32, "bb" * 32
    rows = (f"{first},Ada", f"{second},Bo", f"{first.upper()},Ada again", f"{second},Bo", "bad", "cc,Carl")
    place.audience.write_text("\n".join(["token,name", *rows]))
    status, out, said = run(*place.create("--unique", "--topic", "com.example.app"))
    assert (status, out) == (0, "")
    assert said.startswith("pushcore: 6 rows in 3 chunks are on the queue\n")
    assert "2  the token of an earlier row; left out" in said
    reasons = [reason for chunk in place.chunks() for reason in chunk.columns().get(BAD, [None] * chunk.rows)]
    assert reasons[:4] == [None, None, DUPLICATE, DUPLICATE]
    assert reasons[5] is None
    assert run(*place.create("--topic", "com.example.app"))[0] == 2  # another campaign than with --unique
    status, out, said = run(*place.create("--unique", "--by-reference"))
    assert (status, "exclude each other" in said) == (2, True)


def test_a_key_that_a_row_of_ndjson_lacks_is_named_as_absent(place: Place, run: Run) -> None:
    place.audience = place.directory / "devices.ndjson"
    place.audience.write_text('{"token":"aa","name":"Ada"}\n{"token":"bb","city":null}\n')
    assert run(*place.create())[0] == 0
    (chunk,) = place.chunks()
    assert chunk.columns()[ABSENT] == [["city"], ["name"]]


def test_absent_keys_are_named_also_behind_bad_rows(place: Place, run: Run) -> None:
    place.audience = place.directory / "devices.ndjson"
    place.audience.write_text('bad\nbad\n{"token":"cc"}\n{"token":"dd","name":"Dan"}\nbad\nbad\nbad\n')
    assert run(*place.create()) == (0, "", "pushcore: 7 rows in 4 chunks are on the queue\n")
    second = place.chunks()[1].columns()
    assert (second["token"], second["name"], second[ABSENT]) == (
        ["cc", "dd"],
        [None, "Dan"],
        [["name"], None],
    )


def test_a_campaign_names_the_needs_of_its_workers(place: Place, run: Run) -> None:
    needs = ["--topic", "com.example.app", "--environment", "sandbox", "--fcm-project", "my-project"]
    assert run(*place.create(*needs))[0] == 0
    info = asyncio.run(read_info(place.queue()))
    assert info is not None
    assert info.needs == {
        "apns": {"topic": "com.example.app", "environment": "sandbox"},
        "fcm": {"project": "my-project"},
    }
    assert (info.name, info.chunk_rows, info.options) == ("autumn", 2, {})


def test_without_needs_any_worker_will_do(place: Place, run: Run) -> None:
    run(*place.create())
    info = asyncio.run(read_info(place.queue()))
    assert info is not None
    assert info.needs == {}


def test_by_reference_only_places_of_rows_are_on_the_queue(place: Place, run: Run) -> None:
    assert run(*place.create("--by-reference"))[0] == 0
    chunks = place.chunks()
    assert {chunk.reference.uri for chunk in chunks if chunk.reference} == {str(place.audience)}
    assert [chunk.payload for chunk in chunks] == [b"", b"", b""]
    info = asyncio.run(read_info(place.queue()))
    assert info is not None
    assert info.options == {"audience": {"form": "csv", "columns": ["token", "name"]}}


def test_a_create_that_was_interrupted_is_run_again(place: Place, run: Run) -> None:
    first = run(*place.create())
    assert run(*place.create()) == first
    assert len(place.chunks()) == 3


@pytest.mark.parametrize(
    "change", [["--chunk", "3"], ["--by-reference"], ["audience"]], ids=["chunk", "reference", "audience"]
)
def test_a_ledger_of_another_campaign_is_refused(place: Place, run: Run, change: list[str]) -> None:
    run(*place.create())
    if change == ["audience"]:
        place.audience.write_text(ROWS + "ff,Fay\n")
        change = []
    status, out, error = run(*place.create(*change))
    assert (status, out) == (2, "")
    assert "has the campaign autumn with another audience or other settings" in error


def test_an_audience_that_cannot_be_read_again_is_refused(place: Place, run: Run, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"token\naa\n")
    os.close(writing)
    for audience, words in (
        ("-", "--audience is the standard input, which cannot be read again; expected a file"),
        (f"/dev/fd/{reading}", "is a pipe or a device, which cannot be read again; expected a file"),
    ):
        status, _, error = run(*place.create("--audience", audience))
        assert status == 2
        assert words in error
    os.close(reading)
    assert not os.path.exists(place.ledger)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--name", "no spaces"], "a campaign's name has 1 to 64 letters"),
        (["--chunk", "0"], "Invalid value for '--chunk'"),
        (["--queue", "http://x"], "a queue's URL begins with"),
        (["--environment", "test"], "Invalid value for '--environment'"),
    ],
)
def test_options_that_cannot_be_are_one_sentence(
    place: Place, run: Run, options: list[str], words: str
) -> None:
    status, out, error = run(*place.create(*options))
    assert (status, out, error.count("\n")) == (2, "", 1)
    assert words in error
    assert place.chunks() == []


def test_a_queue_that_cannot_be_reached_is_one_sentence(
    place: Place, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(url: str, campaign: str, access: Access) -> MemoryQueue:
        raise QueueUnavailable("redis://10.0.0.1 cannot be reached")

    monkeypatch.setattr(command, "open_queue", away)
    assert run(*place.create()) == (2, "", "pushcore: redis://10.0.0.1 cannot be reached\n")


# --- run, results -----------------------------------------------------------------------------------------------------


def test_run_ends_when_every_row_has_a_result_and_results_writes_them(
    place: Place, run: Run, tmp_path: Path
) -> None:
    run(*place.create())
    place.work()
    assert run(*place.on("run")) == (0, "", "pushcore: 5 of 5 rows have a result\n")
    assert asyncio.run(read_state(place.queue())) is CampaignState.FINISHED
    assert run("campaign", "results", "--ledger", place.ledger, "--results", str(tmp_path / "r.csv"))[0] == 0
    with (tmp_path / "r.csv").open(newline="") as file:
        assert [(row["row"], row["verdict"]) for row in csv.DictReader(file)] == [
            (f"{row}", "INVALID") for row in range(1, 6)
        ]


def test_a_chunk_that_was_set_aside_is_named_and_tried_again_on_request(place: Place, run: Run) -> None:
    run(*place.create())
    place.work(bad=1)
    status, out, error = run(*place.on("run"))
    assert (status, out) == (1, "")
    assert error.splitlines() == [
        r"pushcore: chunk 1 was set aside: it is odd\x1b",
        "pushcore: 3 of 5 rows have a result",
    ]
    running = "pushcore: autumn is running; 0 of 0 workers obey\n"
    assert run(*place.on("resume")) == (0, "", running)
    assert place.chunks() == []
    assert run(*place.on("resume", "--aside")) == (0, "", running)
    assert [chunk.number for chunk in place.chunks()] == [1]


def test_results_never_replace_the_ledger(place: Place, run: Run, tmp_path: Path) -> None:
    run(*place.create())
    (tmp_path / "link").hardlink_to(place.ledger)
    for path in (place.ledger, str(tmp_path / "link")):
        status, _, error = run("campaign", "results", "--ledger", place.ledger, "--results", path)
        assert (status, "is the ledger; expected another file for the results" in error) == (2, True)
    with Ledger.open(place.ledger) as ledger:
        assert ledger.status().rows == 5


@pytest.mark.parametrize("name", ["run", "status", "pause", "resume", "cancel", "watch"])
def test_without_a_ledger_nothing_is_asked_of_the_queue(place: Place, run: Run, name: str) -> None:
    status, out, error = run(*place.on(name))
    assert (status, out) == (2, "")
    assert "there is no ledger" in error
    assert place.opened == []


# --- orders and status ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "state"),
    [("pause", CampaignState.PAUSED), ("cancel", CampaignState.CANCELLED), ("resume", CampaignState.RUNNING)],
)
def test_an_order_is_on_the_queue_and_in_the_ledger(
    place: Place, run: Run, name: str, state: CampaignState
) -> None:
    run(*place.create())
    run(*place.on("pause"))
    said = f"pushcore: autumn is {state.value}; 0 of 0 workers obey\n"
    assert run(*place.on(name)) == (0, "", said)
    assert asyncio.run(read_state(place.queue())) is state
    with Ledger.open(place.ledger) as ledger:
        assert ledger.state is state


def test_status_says_how_far_it_is(place: Place, run: Run) -> None:
    run(*place.create())
    status, out, error = run(*place.on("status"))
    assert (status, error) == (0, "")
    lines = out.splitlines()
    assert lines[:4] == [
        "campaign   autumn, running",
        "rows       0 of 5 have a result",
        "chunks     3 wait, 0 are with workers, 0 finished, 0 set aside",
        "results    0 wait to be collected",
    ]
    assert lines[5:8] == ["rate       0/s", "left       unknown", "repeats    0"]


def test_status_as_json(place: Place, run: Run) -> None:
    run(*place.create())
    status, out, error = run(*place.on("status"), "--json")
    assert (status, error) == (0, "")
    values = json.loads(out)
    assert (values["campaign"], values["state"], values["complete"]) == ("autumn", "running", True)
    assert (values["rows"], values["done"], values["repeats"], values["stopped"]) == (5, 0, 0, None)
    assert values["chunks"] == {"waiting": 3, "leased": 0, "finished": 0, "aside": 0}
    assert (values["reasons"], values["left"], values["rate"]) == ([], None, 0.0)


# --- workers, and watching --------------------------------------------------------------------------------------------


def a_heartbeat(name: str, state: str, *, held: int = 0, ago: float = 0.0) -> WorkerHeartbeat:
    return WorkerHeartbeat(name, 0, state, time.time() - ago, 12, held, 3)


@pytest.fixture
def heartbeats(monkeypatch: pytest.MonkeyPatch) -> list[list[WorkerHeartbeat]]:
    """The heartbeats of the workers at each look; the last ones stay."""
    looks: list[list[WorkerHeartbeat]] = []

    async def read(store: object) -> list[WorkerHeartbeat]:
        return looks.pop(0) if len(looks) > 1 else looks[0]

    monkeypatch.setattr(coordinator, "read_heartbeats", read)
    return looks


def test_a_worker_that_does_not_obey_is_named(
    place: Place, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def obeyed(self: object) -> tuple[list[WorkerHeartbeat], list[WorkerHeartbeat]]:
        return [a_heartbeat("good", "paused")], [a_heartbeat("odd\x1b", "running")]

    run(*place.create())
    monkeypatch.setattr(coordinator.Coordinator, "obeyed", obeyed)
    status, out, error = run(*place.on("pause"))
    assert (status, out) == (1, "")
    assert error.splitlines() == [
        "pushcore: autumn is paused; 1 of 2 workers obey",
        r"pushcore: odd\x1b is running, 3 requests in flight",
    ]


def test_watching_ends_when_no_worker_holds_rows_of_a_cancelled_campaign(
    place: Place, run: Run, heartbeats: list[list[WorkerHeartbeat]]
) -> None:
    run(*place.create())
    heartbeats.append([])
    assert run(*place.on("cancel"))[0] == 0
    heartbeats[:] = [
        [a_heartbeat("one", "cancelled", held=1), a_heartbeat("dead", "running", held=9, ago=99)],
        [a_heartbeat("one", "gone")],
    ]
    status, out, error = run(*place.on("watch", "--every", "0.1"))
    assert (status, error) == (0, "")
    first, second, rest = out.split("\n\n")
    assert first.splitlines()[0] == "campaign   autumn, cancelled"
    assert first.splitlines()[-2:] == [
        "worker     one: cancelled, 12 rows finished, 1 chunks, 3 in flight, last heartbeat 0 s ago",
        "worker     dead: gone, 12 rows finished, 9 chunks, 3 in flight, last heartbeat 99 s ago",
    ]
    assert second.splitlines()[-1].startswith("worker     one: gone, 12 rows finished, 0 chunks")
    assert rest == ""


def test_one_look_says_when_it_will_end(place: Place, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    values: tuple[Any, ...] = (True, 0.0, CampaignState.RUNNING, 9, 2, 0, 4500, 8, 3, 0, Counter())
    found = CampaignStatus("autumn", LedgerStatus(*values), QueueStats(4, 2, 5, 12.6), None, 99.5, 30.2)

    async def status(self: object) -> CampaignStatus:
        return found

    run(*place.create())
    monkeypatch.setattr(coordinator.Coordinator, "status", status)
    code, out, _ = run(*place.on("watch", "--once"))
    lines = out.splitlines()
    assert (code, lines[6]) == (0, "left       30 s")
    assert re.fullmatch(r"end        about \d\d:\d\d:\d\d", lines[7])
    assert lines[8] == "repeats    3"


def test_on_a_terminal_each_look_is_drawn_over_the_last(
    place: Place, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(*place.create())
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    status, out, _ = run(*place.on("watch", "--once"))
    assert status == 0
    assert out.startswith("\x1b[H\x1b[2Jcampaign   autumn, running\n")


def test_figures_are_served_while_it_collects(
    place: Place, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports: list[int] = []

    @contextlib.contextmanager
    def serving(port: int) -> Any:
        ports.append(port)
        yield SimpleNamespace(run=lambda coordinator: coordinator.run())

    monkeypatch.setattr(command, "serving_gauges", serving)
    run(*place.create())
    place.work()
    assert run(*place.on("run", "--metrics-port", "9123")) == (0, "", "pushcore: 5 of 5 rows have a result\n")
    assert ports == [9123]


def test_a_queue_that_goes_away_is_one_sentence(
    place: Place, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(self: object) -> QueueStats:
        raise QueueUnavailable("redis://q went away")

    run(*place.create())
    monkeypatch.setattr(MemoryQueue, "stats", away)
    assert run(*place.on("status")) == (2, "", "pushcore: redis://q went away\n")
