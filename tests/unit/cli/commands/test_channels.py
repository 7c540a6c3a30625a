"""`pushcore channels` with a server that is scripted: what is asked, what is written, and the exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pushcore.apns.channels import Channel, Channels
from pushcore.apns.client import ApnsClient
from pushcore.cli.commands import channels as command
from pushcore.errors import PushRejected
from pushcore.models.apns import Broadcast
from pushcore.results import Result, Verdict

from .conftest import Run


class Server:
    """Remembers what it was asked; answers with `channel`, or with `refusal`."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.channel = Channel("Zm9v", True)
        self.refusal: Result | None = None

    def answer(self, *question: Any) -> None:
        self.asked.append(question)
        if self.refusal is not None:
            raise PushRejected(self.refusal)

    async def create(self, channels: Channels, *, stores: bool = False) -> Channel:
        self.answer("create", stores, channels._origin.authority)
        return self.channel

    async def read(self, channels: Channels, channel_id: str) -> Channel:
        self.answer("read", channel_id)
        return self.channel

    async def delete(self, channels: Channels, channel_id: str) -> None:
        self.answer("delete", channel_id)

    async def list(self, channels: Channels) -> list[str]:
        self.answer("list")
        return ["Zm9v", "YmFy\x1b"]

    async def broadcast(self, client: ApnsClient, push: Broadcast) -> Result:
        self.asked.append((push.channel_id, push.payload, push.priority, push.expiration))
        return self.refusal or Result(push, Verdict.ACCEPTED, 200, 1, "request-id")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()

    def method(name: str) -> Any:
        async def ask(self: Any, *arguments: Any, **options: Any) -> Any:
            return await getattr(made, name)(self, *arguments, **options)

        return ask

    for name in ("create", "read", "delete", "list"):
        monkeypatch.setattr(Channels, name, method(name))
    monkeypatch.setattr(ApnsClient, "broadcast", method("broadcast"))
    return made


def refused(verdict: Verdict, status: int | None, attempts: int, reason: str) -> Result:
    return Result(None, verdict, status, attempts, reason=reason)


@pytest.mark.parametrize(
    ("words", "asked", "lines", "found"),
    [
        (["create"], ("create", False), "Zm9v\n", {"id": "Zm9v", "stores": True}),
        (["create", "--store"], ("create", True), "Zm9v\n", {"id": "Zm9v", "stores": True}),
        (["show", "Zm9v"], ("read", "Zm9v"), "stores its newest message\n", {"id": "Zm9v", "stores": True}),
        (["list"], ("list",), "Zm9v\nYmFy\\x1b\n", {"channels": ["Zm9v", "YmFy\x1b"]}),
    ],
)
def test_an_answer_is_written_as_lines_or_as_json(
    server: Server,
    run: Run,
    credentials: list[str],
    words: list[str],
    asked: tuple[Any, ...],
    lines: str,
    found: dict[str, Any],
) -> None:
    assert run("channels", *words, *credentials) == (0, lines, "")
    assert server.asked[0][: len(asked)] == asked
    status, out, _ = run("channels", *words, "--json", *credentials)
    assert (status, json.loads(out)) == (0, found)


def test_a_channel_that_stores_nothing_says_so(server: Server, run: Run, credentials: list[str]) -> None:
    server.channel = Channel("Zm9v", False)
    assert run("channels", "show", "Zm9v", *credentials) == (0, "stores no message\n", "")


def test_a_deletion_says_nothing(server: Server, run: Run, credentials: list[str]) -> None:
    assert run("channels", "delete", "Zm9v", *credentials) == (0, "", "")
    assert server.asked == [("delete", "Zm9v")]


def test_the_server_follows_from_the_environment_or_is_given(
    server: Server, run: Run, credentials: list[str]
) -> None:
    urls = ["--apns-url", "https://127.0.0.1:1", "--channels-url", "https://127.0.0.1:2"]
    for more in ([], ["--environment", "sandbox"], urls):
        assert run("channels", "create", *credentials, *more)[0] == 0
    assert [asked[2] for asked in server.asked] == [
        "api-manage-broadcast.push.apple.com:2196",
        "api-manage-broadcast.sandbox.push.apple.com:2195",
        "127.0.0.1:2",
    ]


@pytest.mark.parametrize(
    ("result", "status", "words"),
    [
        (
            refused(Verdict.MISCONFIGURED, 403, 1, "TopicMismatch"),
            3,
            "403 TopicMismatch; Use a key",
        ),
        (
            refused(Verdict.INVALID, 404, 1, "ChannelNotRegistered"),
            1,
            "ChannelNotRegistered; Create the channel",
        ),
        (refused(Verdict.INVALID, None, 0, "BadChannelId"), 2, "BadChannelId"),
        (refused(Verdict.UNKNOWN, None, 1, "Odd\x1b"), 1, r"Odd\x1b"),
    ],
)
def test_a_refusal_is_one_sentence_with_advice(
    server: Server, run: Run, credentials: list[str], tmp_path: Path, result: Result, status: int, words: str
) -> None:
    server.refusal = result
    (tmp_path / "update.json").write_text("{}")
    for arguments in (("show", "Zm9v"), ("broadcast", "Zm9v", str(tmp_path / "update.json"))):
        found, out, error = run("channels", *arguments, *credentials)
        assert (found, out, error.count("\n")) == (status, "", 1)
        assert words in error


def test_a_broadcast_has_the_files_bytes_and_the_options(
    server: Server, run: Run, credentials: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "update.json"
    path.write_bytes(b'{"aps":  {}}')
    assert run("channels", "broadcast", "Zm9v", str(path), *credentials) == (0, "request-id\n", "")
    more = ["--priority", "5", "--expiration", "99", "--json"]
    status, out, _ = run("channels", "broadcast", "Zm9v", str(path), *more, *credentials)
    assert (status, json.loads(out)) == (0, {"id": "request-id"})
    assert server.asked == [("Zm9v", b'{"aps":  {}}', 10, 0), ("Zm9v", b'{"aps":  {}}', 5, 99)]


@pytest.mark.parametrize(
    ("words", "without", "sentence"),
    [
        (
            ["create", "--apns-url", "https://127.0.0.1:1"],
            (),
            "--channels-url is missing; --apns-url needs it",
        ),
        (["list"], ("--topic",), "--topic is missing"),
        (["list"], ("--apns-key", "--key-id", "--team-id"), "expected either --apns-key FILE or --apns-cert"),
        (["broadcast", "Zm9v", "/nonexistent"], (), "cannot be read (No such file or directory)"),
        (["broadcast", "Zm9v", "/dev/zero"], (), f"has more than {command.MAX_PAYLOAD} bytes"),
        (["broadcast", "Zm9v"], (), "Missing argument 'PAYLOAD'"),
        (["create", "--fcm-project", "x"], (), "--fcm-project"),
    ],
)
def test_a_wrong_command_asks_no_server(
    server: Server,
    run: Run,
    credentials: list[str],
    words: list[str],
    without: tuple[str, ...],
    sentence: str,
) -> None:
    pairs = zip(credentials[::2], credentials[1::2], strict=True)
    left = [word for option, value in pairs if option not in without for word in (option, value)]
    status, out, error = run("channels", *words, *left)
    assert (status, out, error.count("\n")) == (2, "", 1)
    assert sentence in error
    assert server.asked == []
