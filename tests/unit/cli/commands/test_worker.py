"""`pushcore worker` without a queue: its options, what it offers, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import click
import pytest

from pushcore.audience.problems import BadInput
from pushcore.cli.commands import worker as command
from pushcore.cli.run.campaign import OPEN_BEFORE
from pushcore.cli.run.client_options import CampaignClient, ClientOptions
from pushcore.cli.run.renewal import Renewal
from pushcore.engine.breaker import Trip
from pushcore.fcm.client import FcmClient
from pushcore.journal.journal import id_prefix
from pushcore.queue.access import Access
from pushcore.queue.campaign import CampaignState
from pushcore.queue.errors import CampaignConflict, QueueRefused, QueueUnavailable
from pushcore.queue.leases import WorkerReport

from .conftest import Run

REPORT = WorkerReport(chunks=3, rows=1200, lost=0, aside=0, released=1, trip=None)


class Scripted:
    """Stands in for queue, fleet, engine and worker; remembers what they were made with and what happened."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.engine: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})
        self.worker: dict[str, Any] = {}
        self.pushes: Any = None
        self.result: WorkerReport | Exception = REPORT
        self.waits = False
        self.hangup: asyncio.Event | None = None
        self.drained = asyncio.Event()

    async def open_queue(self, url: str, campaign: str, access: Access) -> Scripted:
        self.events.append(f"open {url} {campaign}")
        return self

    async def close(self) -> None:
        self.events.append("close")

    async def __aenter__(self) -> Scripted:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def make_engine(self, *clients: Any, **options: Any) -> Scripted:
        self.engine = clients, options
        return self

    def make_worker(self, queue: Any, engine: Any, fleet: Any, pushes: Any, **options: Any) -> Scripted:
        self.pushes, self.worker = pushes, options
        return self

    async def run(self) -> WorkerReport:
        if self.waits:
            os.kill(os.getpid(), signal.SIGTERM)
            await self.drained.wait()
        if self.hangup is not None:
            os.kill(os.getpid(), signal.SIGHUP)
            await self.hangup.wait()
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def drain(self, grace: float) -> None:
        self.events.append(f"drain {grace}")
        self.drained.set()


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    made = Scripted()
    monkeypatch.setattr(command, "open_queue", made.open_queue)
    monkeypatch.setattr(command, "Fleet", lambda queue: made)
    monkeypatch.setattr(command, "PushEngine", made.make_engine)
    monkeypatch.setattr(command, "Worker", made.make_worker)
    monkeypatch.setattr(command, "relax_collector", lambda: None)
    monkeypatch.setattr(command, "loop_factory", lambda: asyncio.new_event_loop)
    return made


@pytest.fixture
def arguments(credentials: list[str], payload: str) -> list[str]:
    return ["worker", "--queue", "redis://q", "--campaign", "autumn", "--payload", payload, *credentials]


def test_it_works_until_the_campaign_is_finished(scripted: Scripted, run: Run, arguments: list[str]) -> None:
    assert run(*arguments) == (0, "", "pushcore: 1200 rows of 3 chunks sent, 1 chunks given back\n")
    assert scripted.events == ["open redis://q autumn", "close"]
    assert run(*arguments, "--quiet") == (0, "", "")


def test_engine_and_worker_get_what_the_options_say(
    scripted: Scripted, run: Run, arguments: list[str]
) -> None:
    run(*arguments, "--retry", "none", "--window", "7", "--rate", "5/s")
    (client,), options = scripted.engine
    assert client._dispatcher.requests.topic == "com.example.app"
    assert (options["retry"], options["window"], options["rate"].pushes) == (None, 7, 5)
    assert options["shared"] is scripted
    assert scripted.worker["offers"] == {
        "apns": {"topic": "com.example.app", "team": "TEAM123456", "environment": "production"}
    }


def test_the_apns_ids_follow_from_the_campaigns_name(
    scripted: Scripted, run: Run, arguments: list[str]
) -> None:
    run(*arguments)
    assert scripted.pushes._template.apns._prefix == id_prefix("autumn")


def test_a_campaign_that_its_breaker_stopped_is_status_3(
    scripted: Scripted, run: Run, arguments: list[str]
) -> None:
    trip = Trip("InvalidProviderToken", "InvalidProviderToken: check the key\x1b")
    scripted.result = WorkerReport(3, 20, 0, 0, 0, trip)
    words = "pushcore: the campaign is stopped: InvalidProviderToken: check the key\\x1b\n"
    assert run(*arguments) == (3, "", words)
    assert run(*arguments, "--quiet") == (3, "", words)


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (
            QueueUnavailable("redis://q went away"),
            1,
            "redis://q went away; other workers repeat the leased rows without a delivered result",
        ),
        (CampaignConflict("campaign autumn needs fcm"), 2, "campaign autumn needs fcm"),
    ],
)
def test_a_later_error_is_one_sentence_and_closes_the_queue(
    scripted: Scripted, run: Run, arguments: list[str], error: Exception, status: int, words: str
) -> None:
    scripted.result = error
    assert run(*arguments) == (status, "", f"pushcore: {words}\n")
    assert scripted.events[-1] == "close"


def test_a_queue_that_does_not_open_is_bad_input(
    scripted: Scripted, run: Run, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(url: str, campaign: str, access: Access) -> Scripted:
        raise QueueRefused("redis://q wants a password")

    monkeypatch.setattr(command, "open_queue", refuse)
    assert run(*arguments) == (2, "", "pushcore: redis://q wants a password\n")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--campaign", "no spaces"], "a campaign's name has 1 to 64 letters"),
        (["--grace", "-1"], "Invalid value for '--grace'"),
        (["--key-id", "short"], "key_id"),
        (["--payload", "/nonexistent"], "cannot be read"),
        (["--max-age", "3", "--retry", "none"], "--max-age has no effect with --retry none"),
    ],
)
def test_options_that_cannot_be_open_no_queue(
    scripted: Scripted, run: Run, arguments: list[str], more: list[str], words: str
) -> None:
    status, out, error = run(*arguments, *more)
    assert (status, out, error.count("\n")) == (2, "", 1)
    assert words in error
    assert scripted.events == []


def test_a_signal_drains_with_the_grace_that_was_given(
    scripted: Scripted, run: Run, arguments: list[str]
) -> None:
    # A test before this one in the same process may have left the handler of a uvloop that is closed.
    left = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    scripted.waits = True
    status, _, error = run(*arguments, "--grace", "7")
    assert status == 0
    assert error.startswith("pushcore: draining; send the signal again to stop at once\n")
    assert scripted.events == ["open redis://q autumn", "drain 7.0", "close"]
    assert signal.signal(signal.SIGTERM, left) == signal.SIG_DFL


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (["the key was renewed"], "the key was renewed"),
        (
            BadInput("key.p8 is no key\x1b"),
            r"the options cannot be read again, so the credentials do not change: key.p8 is no key\x1b",
        ),
        (
            click.UsageError("No such option --odd"),
            "the options cannot be read again, so the credentials do not change: No such option --odd",
        ),
    ],
)
def test_a_hangup_reads_the_credentials_again(
    scripted: Scripted,
    run: Run,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    outcome: Any,
    words: str,
) -> None:
    read: list[ClientOptions] = []
    scripted.hangup = asyncio.Event()

    def renew(self: Any, options: ClientOptions) -> list[str]:
        assert scripted.hangup is not None
        read.append(options)
        scripted.hangup.set()
        if isinstance(outcome, Exception):
            raise outcome
        return list(outcome)

    monkeypatch.setattr(Renewal, "renew", renew)
    status, _, error = run(*arguments)
    assert (status, error.splitlines()[0]) == (0, f"pushcore: {words}")
    assert [options.topic for options in read] == ["com.example.app"]


def test_a_system_without_hangups_needs_none(
    scripted: Scripted, run: Run, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "HANGUP", None)
    assert run(*arguments, "--quiet") == (0, "", "")


def test_a_notice_about_the_payload_is_printed_once(
    scripted: Scripted, run: Run, arguments: list[str], payload: str
) -> None:
    Path(payload).write_text('{"aps":{}}')
    status, _, error = run(*arguments)
    assert (status, error.count(payload)) == (0, 1)
    assert payload not in run(*arguments, "--quiet")[2]


async def test_connections_are_open_shortly_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    done = asyncio.Event()

    async def open_connections(clients: Any) -> None:
        opened.append(clients)
        done.set()

    monkeypatch.setattr(command, "open_connections", open_connections)
    clients: Any = object()
    soon = datetime.now() + timedelta(seconds=OPEN_BEFORE)
    async with command._opening(clients, soon):
        await done.wait()
    assert opened == [clients]
    async with command._opening(clients, soon + timedelta(hours=1)):
        pass
    async with command._opening(clients, None):
        pass
    assert opened == [clients]


def test_a_change_of_the_campaigns_state_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    say_state = command._said_state()
    for state in ("RUNNING", "PAUSED", "PAUSED", "RUNNING", "CANCELLED", "FINISHED"):
        say_state(CampaignState[state])
    assert capsys.readouterr().err.splitlines() == [
        "pushcore: the campaign is paused; waiting",
        "pushcore: the campaign continues",
        "pushcore: the campaign is cancelled; unsent rows are given back",
    ]


async def test_after_the_first_signal_the_next_one_does_what_it_does_elsewhere(
    scripted: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, lambda: None)
    command._drain(cast(Any, scripted), 1.0, signal.SIGTERM)
    assert not loop.remove_signal_handler(signal.SIGTERM)  # it has gone
    assert "draining" in capsys.readouterr().err


def test_offers_hold_no_secret() -> None:
    sender = ClientOptions(topic="com.example.app", team_id="TEAM123456", key_id="SECRET1234")
    fcm = FcmClient.__new__(FcmClient)
    clients = {"apns": cast(CampaignClient, SimpleNamespace(environment=None)), "fcm": fcm}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FcmClient, "project_id", "my-project", raising=False)
        assert command.offers_of(sender, clients) == {
            "apns": {"topic": "com.example.app", "team": "TEAM123456", "environment": None},
            "fcm": {"project": "my-project"},
        }


@pytest.mark.parametrize("name", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
@pytest.mark.parametrize("given", ["command line", "settings", "variable"])
def test_a_file_in_the_url_of_the_queue_is_checked(
    given: str,
    name: str,
    run: Run,
    credentials: list[str],
    payload: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = f"rediss://127.0.0.1:1/0?{name}={tmp_path}/gone.pem"
    arguments = {
        "command line": ["--queue", url],
        "settings": ["--config", f"{tmp_path}/s.toml"],
        "variable": [],
    }
    (tmp_path / "s.toml").write_text(f'[send]\nqueue = "{url}"\n')
    if given == "variable":
        monkeypatch.setenv("PUSHCORE_QUEUE", url)
    said = f"{name} in the URL of Redis: {tmp_path}/gone.pem cannot be read (No such file or directory); expected a PEM file"
    options = [*arguments[given], "--campaign", "autumn"]
    assert run("worker", *options, *credentials, "--payload", payload) == (2, "", f"pushcore: {said}\n")
    (tmp_path / "devices.csv").write_text("token\naa\n")
    create = ["--name", "autumn", "--ledger", f"{tmp_path}/l", "--audience", f"{tmp_path}/devices.csv"]
    assert run("campaign", "create", *arguments[given], *create) == (2, "", f"pushcore: {said}\n")
