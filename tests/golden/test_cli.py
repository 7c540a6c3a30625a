"""What the commands print, write and end with. A session of commands is a golden text in `cli/`.

The commands run in this process, against fakes on threads, in a directory of their own, so that no path is shown.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import pytest

from fakeservers import FakeApns, FakeFcm, fated_registration, fated_token
from pushcore import __version__
from pushcore.cli.main import cli
from pushcore.cli.sections import Command
from tests.golden.command_line import WIDTH, CommandLine
from tests.golden.compare import golden_names, same_as_golden

pytestmark = pytest.mark.slow  # servers, and some start a Python of their own

REGISTRATION: Final = "dPx6Y0k3Qm2Vb1N9zW8aLk:APA91b" + "x" * 134
PAYLOAD: Final = '{"aps":{"alert":"Hi {{name}}"}}'
ONCE: Final = ("--retry", "none")
FAKES: Final = ("", "apns", "fcm", "all")


def commands(group: click.Group = cli, *path: str) -> Iterator[tuple[str, ...]]:
    """The words of every command, that of the group itself first."""
    yield path
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield *path, name


def commands_with_rare_options() -> Iterator[tuple[str, ...]]:
    """The words of the commands that have `--help-all`."""
    for words in commands():
        command: click.Command = cli
        for word in words:
            assert isinstance(command, click.Group)
            command = command.commands[word]
        if isinstance(command, Command) and command.brief:
            yield words


def help_name(words: tuple[str, ...], kind: str = "help") -> str:
    return "-".join((kind, *words)) + ".txt"


@pytest.fixture
def inputs(pushcore: CommandLine, apns: FakeApns, fcm: FakeFcm) -> CommandLine:
    """The same command line with an audience, a payload, keys and certificates beside it."""
    place = pushcore.place
    shutil.copyfile(apns.key_file, place / "key.p8")
    shutil.copyfile(apns.ca_file, place / "ca.pem")
    shutil.copyfile(fcm.service_account_file, place / "account.json")
    (place / "payload.json").write_text(PAYLOAD)
    write(place / "devices.csv", ["token,name", *(f"{row:064x},Ada" for row in range(1, 4))])
    pushcore.replaced |= {apns.url: "<apns>", fcm.url: "<fcm>"}
    return pushcore


def write(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines), encoding="utf-8")


def of_apns(apns: FakeApns) -> list[str]:
    options = {
        "apns-key": "key.p8",
        "key-id": apns.key_id,
        "team-id": apns.team_id,
        "topic": apns.topic,
        "apns-url": apns.url,
        "ca-file": "ca.pem",
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def of_fcm(fcm: FakeFcm) -> list[str]:
    return ["--fcm-service-account", "account.json", "--fcm-url", fcm.url, "--ca-file", "ca.pem"]


# --- help -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [*commands()], ids=" ".join)
def test_help(pushcore: CommandLine, words: tuple[str, ...]) -> None:
    pushcore.run(*words, "--help")
    same_as_golden(f"cli/{help_name(words)}", pushcore.text)


@pytest.mark.parametrize("words", [*commands_with_rare_options()], ids=" ".join)
def test_complete_help(pushcore: CommandLine, words: tuple[str, ...]) -> None:
    pushcore.run(*words, "--help-all")
    same_as_golden(f"cli/{help_name(words, 'help-all')}", pushcore.text)


@pytest.fixture(scope="module")
def printed() -> dict[str, str]:
    """What programs of their own print, by the name of each. They start together, as each takes a while."""
    fakes = [sys.executable, "-m", "fakeservers"]
    words = {service: [*fakes, *([service] if service else []), "--help"] for service in FAKES}
    words["script"] = [str(Path(sys.executable).with_name("pushcore")), "--version"]
    words["module"] = [sys.executable, "-m", "pushcore", "--version"]
    environment = {**os.environ, "COLUMNS": WIDTH, "NO_COLOR": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    found = {}
    with contextlib.ExitStack() as running:
        programs = {
            name: running.enter_context(subprocess.Popen(each, env=environment, **pipes))  # type: ignore[call-overload]  # of keyword arguments in a dict
            for name, each in words.items()
        }
        for name, program in programs.items():
            found[name], _ = program.communicate(timeout=60)
            assert program.returncode == 0, found[name]
    return found


@pytest.mark.parametrize("service", FAKES)
def test_help_of_the_fakes(printed: dict[str, str], service: str) -> None:
    same_as_golden(f"cli/{help_name(('fakeservers', *filter(None, [service])))}", printed[service])


def test_the_program_has_its_name(printed: dict[str, str]) -> None:
    assert printed["script"] == printed["module"] == f"pushcore, version {__version__}\n"


def test_without_a_command_and_with_unknown_ones(pushcore: CommandLine) -> None:
    for words in (
        [],
        ["nonsense"],
        ["send", "--nonsense"],
        ["campaign"],
        ["campaign", "nonsense"],
        ["status"],
    ):
        pushcore.run(*words)
    same_as_golden("cli/usage.txt", pushcore.text)


# --- sending ----------------------------------------------------------------------------------------------------------


def test_send_to_apns(inputs: CommandLine, apns: FakeApns) -> None:
    tokens = [
        "ab" * 32,
        fated_token("Unregistered"),
        fated_token("BadDeviceToken"),
        fated_token("DeviceTokenNotForTopic"),
        fated_token("TooManyRequests"),
        fated_token("InternalServerError"),
        fated_token("InternalReset"),
        "../../etc/passwd",
        fated_token("TopicDisallowed"),
    ]
    lines = [f"{token},Ada,,2030-01-01T00:00:00Z" for token in tokens]
    lines += ["aa,too,many,columns,here", f"{'cd' * 32},{'x' * 5000},,", f"{'ef' * 32},Bob,{'y' * 65},"]
    lines += [f"{fated_token('Unregistered', 2)},Eve,,", '"a\nb",Ada,,']
    write(inputs.place / "devices.csv", ["token,name,collapse_id,registered_at", *lines])
    words = ("send", *ONCE, "--audience", "devices.csv", "--payload", "payload.json")
    inputs.run(*words, "--results", "results.csv", hidden=of_apns(apns))
    inputs.show("results.csv", rows=True)
    same_as_golden("cli/send-apns.txt", inputs.session)


def test_send_to_both(inputs: CommandLine, apns: FakeApns, fcm: FakeFcm) -> None:
    rows = [
        {"token": "aa" * 32, "name": "Ada", "apns_id": "01234567-89ab-4cde-8f01-23456789abcd"},
        {"token": "bb" * 32, "name": "Bob", "push_type": "voip", "priority": 10},
        {"token": REGISTRATION, "name": "Cleo"},
        {"token": fated_registration("Unregistered"), "name": "Dora"},
        {"token": fated_registration("InvalidArgument"), "name": "Eve"},
        {"token": "ExponentPushToken[x]", "name": "Fay"},
        {"token": "dd" * 32, "name": "Gus", "platform": "android"},
        {"name": "Hal"},
    ]
    write(inputs.place / "devices.ndjson", [*map(json.dumps, rows), "[1]"])
    (inputs.place / "payload.json").write_text('{"title":"Hi {{name}}","data":{"screen":"inbox"}}')
    words = ("send", *ONCE, "--audience", "devices.ndjson", "--payload", "payload.json")
    both = [*of_apns(apns), *of_fcm(fcm)]
    inputs.run(*words, "--results", "-", hidden=both, rows=True)
    inputs.run(*words, "--results", "-", "--quiet", hidden=both, rows=True)
    inputs.run(*words, "--dry-run", hidden=both)
    inputs.run(*words, "--dry-run", hidden=of_apns(apns))
    inputs.run("tokens", "devices.ndjson", "--output", "kinds.csv")
    inputs.show("kinds.csv")
    same_as_golden("cli/send-both.txt", inputs.session)


def test_a_stop_for_what_would_fail_every_push(inputs: CommandLine, apns: FakeApns) -> None:
    words = ("send", "--audience", "devices.csv", "--payload", "payload.json")
    inputs.run(*words, "--results", "-", "--key-id", "WRONGKEY01", hidden=of_apns(apns), rows=True)
    same_as_golden("cli/send-stopped.txt", inputs.session)


def test_a_campaign_with_a_journal(inputs: CommandLine, apns: FakeApns) -> None:
    # No two reasons as often as each other: the order of those depends on which is committed first.
    gone = [f"{fated_token('Unregistered', row)},Ada" for row in range(4)]
    bad = [*(f"{fated_token('BadDeviceToken', row)},Ada" for row in range(2)), "x,y,z"]
    good = [f"{row:064x},Ada" for row in range(1, 6)]
    write(inputs.place / "devices.csv", ["token,name", *good, *gone, *bad])
    words = ("send", *ONCE, "--audience", "devices.csv", "--payload", "payload.json")
    inputs.run(*words, "--journal", "campaign.db", "--results", "results.csv", hidden=of_apns(apns))
    inputs.show("results.csv")
    out, _ = inputs.run("status", "campaign.db", "--json")
    inputs.replaced[json.loads(out)["campaign"]] = "<campaign>"
    inputs.run("status", "campaign.db")
    inputs.run("results", "campaign.db")
    inputs.run("results", "campaign.db", "--format", "ndjson", "--verdict", "UNREGISTERED")
    inputs.run("results", "campaign.db", "--output", "campaign.db")
    inputs.run(
        "results", "campaign.db", "--output", "again.csv", "--verdict", "INVALID", "--verdict", "UNKNOWN"
    )
    inputs.show("again.csv")
    inputs.run("resume", "campaign.db", "--payload", "payload.json", hidden=of_apns(apns))
    inputs.run(*words, "--journal", "campaign.db", hidden=of_apns(apns))
    same_as_golden("cli/journal.txt", inputs.session)


# --- looking ----------------------------------------------------------------------------------------------------------


def test_tokens(pushcore: CommandLine) -> None:
    rows = ["ab" * 32, REGISTRATION, "dPx6Y0k3Qm2Vb1N9zW8aLk", "ExponentPushToken[abc]", "odd", ""]
    lines = [f"{token},{platform}" for token in rows for platform in ("", "ios", "android")]
    write(pushcore.place / "devices.csv", ["token,platform", *lines, "a,b,c"])
    pushcore.run("tokens", "devices.csv")
    pushcore.run("tokens", "devices.csv", "--output", "-")
    pushcore.run("tokens", "devices.csv", "--output", "devices.csv")
    pushcore.run("tokens", "nowhere.csv")
    same_as_golden("cli/tokens.txt", pushcore.session)


def test_check(inputs: CommandLine, apns: FakeApns, fcm: FakeFcm) -> None:
    inputs.run("check", hidden=[*of_apns(apns), *of_fcm(fcm)])
    inputs.run("check", "--key-id", "WRONGKEY01", hidden=[*of_apns(apns), *of_fcm(fcm)])
    inputs.run("check", "--topic", "com.example.unknown", hidden=of_apns(apns))
    inputs.run("check", "--fcm-project", "another-project", hidden=of_fcm(fcm))
    account = json.loads((inputs.place / "account.json").read_text())
    account["client_email"] = "nobody@fake-project.iam.gserviceaccount.com"
    (inputs.place / "account.json").write_text(json.dumps(account))
    inputs.run("check", hidden=of_fcm(fcm))
    inputs.run("check")
    same_as_golden("cli/check.txt", inputs.session)


def test_channels(inputs: CommandLine, apns: FakeApns) -> None:
    (inputs.place / "update.json").write_text(
        '{"aps":{"event":"update","timestamp":1700000000,"content-state":{"goals":1}}}'
    )
    to = [*of_apns(apns), "--channels-url", apns.channels_url]
    channel = inputs.run("channels", "create", "--store", hidden=to)[0].strip()
    inputs.replaced[channel] = "<channel>"
    inputs.run("channels", "list", hidden=to)
    inputs.run("channels", "list", "--json", hidden=to)
    inputs.run("channels", "show", channel, hidden=to)
    inputs.run("channels", "show", channel, "--json", hidden=to)
    inputs.run("channels", "broadcast", channel, "update.json", hidden=of_apns(apns))
    inputs.run("channels", "delete", channel, hidden=to)
    inputs.run("channels", "show", channel, hidden=to)
    inputs.run("channels", "show", "a b", hidden=to)
    inputs.run("channels", "create", hidden=of_apns(apns))
    same_as_golden("cli/channels.txt", inputs.session)


# --- bad input --------------------------------------------------------------------------------------------------------


def test_bad_input(inputs: CommandLine, apns: FakeApns) -> None:
    place = inputs.place
    words = ("send", "--audience", "devices.csv", "--payload", "payload.json", "--results", "results.csv")
    for changes in (
        ("--audience", "nowhere.csv"),
        ("--payload", "nowhere.json"),
        ("--apns-key", "payload.json"),
        ("--results", "devices.csv"),
        ("--window", "0"),
        ("--retry", "often"),
        ("--rate", "fast"),
        ("--environment", "test"),
        ("--dry-run",),
        ("--dry-run", "--journal", "campaign.db"),
        ("--config", "nowhere.toml"),
        ("--metrics-port", "70000"),
    ):
        inputs.run(*words, *changes, hidden=of_apns(apns))
    inputs.run(*words)
    inputs.run(*words[:5], hidden=of_apns(apns))
    contents = {
        "payload.json": ("[1]", '{"a":"{{nmae}}"}', '{"message":{"data":{}}}'),
        "devices.csv": ("", "device\naa\n"),
    }
    for name, texts in contents.items():
        for text in texts:
            before = (place / name).read_text()
            (place / name).write_text(text)
            inputs.show(name)
            inputs.run(*words, hidden=of_apns(apns))
            (place / name).write_text(before)
    for command in ("status", "results", "resume"):
        more = [] if command != "resume" else ["--payload", "payload.json", *of_apns(apns)]
        inputs.run(command, "nowhere.db", hidden=more)
        inputs.run(command, "devices.csv", hidden=more)
    same_as_golden("cli/bad-input.txt", inputs.session)


def test_campaigns_without_a_broker(inputs: CommandLine, apns: FakeApns) -> None:
    at = ("--queue", "redis://127.0.0.1:1", "--ledger", "autumn.ledger")
    create = ("campaign", "create", *at, "--name", "autumn", "--audience")
    inputs.run(*create, "nowhere.csv")
    inputs.run(*create, "-")
    inputs.run(*create, "devices.csv", "--chunk", "0")
    inputs.run("campaign", "create", "--queue", "ftp://x", *create[4:], "devices.csv")
    inputs.run("campaign", "create", *at, "--name", "no name", "--audience", "devices.csv")
    for name in ("run", "status", "pause", "resume", "cancel"):
        inputs.run("campaign", name, *at[:2], "--ledger", "nowhere.ledger")
    inputs.run("campaign", "results", "--ledger", "nowhere.ledger", "--results", "-")
    inputs.run("campaign", "results", "--ledger", "devices.csv", "--results", "-")
    inputs.run("worker", "--campaign", "autumn")
    inputs.run("worker", *at[:2], "--campaign", "autumn")
    inputs.run("worker", *at[:2], "--campaign", "autumn", "--payload", "nowhere.json", hidden=of_apns(apns))
    same_as_golden("cli/campaigns.txt", inputs.session)


# --- nothing is forgotten ---------------------------------------------------------------------------------------------


def test_every_golden_session_is_run() -> None:
    sessions = {
        *("usage", "send-apns", "send-both", "send-stopped", "journal", "tokens", "check", "channels"),
        *("bad-input", "campaigns"),
    }
    wanted = {f"{name}.txt" for name in sessions} | {help_name(words) for words in commands()}
    wanted |= {help_name(words, "help-all") for words in commands_with_rare_options()}
    wanted |= {help_name(("fakeservers", *filter(None, [service]))) for service in FAKES}
    assert golden_names("cli") == wanted
