"""Every code block of README and docs is run by a test, or a comment before it says why not: `<!-- not run: … -->`.

Data (JSON, TOML, CSV, YAML) must be readable. Blocks without a language are what is printed, and pictures in characters. The options of every
command of ours, wherever it stands, are those of its help.
"""

from __future__ import annotations

import asyncio
import configparser
import csv
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import click
import pytest
import yaml

from fakeservers import FakeApns
from pushcore import ApnsClient, ApnsKey, FcmClient, Message, Metrics, Notification, ServiceAccount
from pushcore.cli.main import cli

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def read_unit(text: str) -> list[str]:
    """The sections of a file of systemd."""
    parser = configparser.RawConfigParser(strict=False)
    parser.read_string(text)
    return parser.sections()


DATA: Final[dict[str, Callable[[str], object]]] = {
    "json": lambda text: (
        [json.loads(text)] if text.count("\n{") == 0 else [json.loads(line) for line in text.splitlines()]
    ),
    "toml": tomllib.loads,
    "csv": lambda text: list(csv.DictReader(text.splitlines(), strict=True)),
    "yaml": yaml.safe_load,
    "ini": read_unit,
}
PRINTED: Final = ("", "text")

RUN: Final = {
    "README.md": ("tests/docs/test_readme.py", "python sh"),
    "docs/start/first-push.md": ("tests/docs/test_start.py", "python sh"),
    "docs/start/credentials.md": ("tests/docs/test_start.py", "sh"),
    "docs/start/install.md": ("tests/docs/test_start.py", "sh"),
    "docs/guides/embedding.md": ("tests/docs/test_embedding.py", "python"),
    "docs/guides/from-expo.md": ("tests/docs/test_from_expo.py", "php python sh"),
    "docs/guides/load-testing.md": ("tests/docs/test_load_testing.py", "js python sh"),
    "docs/guides/postgresql.md": ("tests/docs/test_postgresql.py", "sql"),
    "docs/guides/queue.md": ("tests/docs/test_queue.py", "python"),
    "docs/guides/sending.md": ("tests/docs/test_sending.py", "sh"),
    "docs/guides/synchronous.md": ("tests/docs/test_guides.py", "python"),
    "docs/guides/testing.md": ("tests/docs/test_guides.py", "python"),
    "docs/operations/operators.md": ("tests/docs/test_blocks.py", "python"),
    "docs/reference/fakeservers.md": ("tests/docs/test_blocks.py", "python"),
    "docs/reference/fakeservers-control.md": ("tests/fakeservers/control/test_docs.py", "python sh"),
    **{
        page.relative_to(ROOT).as_posix(): ("tests/docs/test_recipes.py", "python")
        for page in (ROOT / "docs" / "recipes").glob("*.md")
    },
}
"""The test that runs the code of a page, and the languages of which it runs every block that has no reason."""


@dataclass(frozen=True, slots=True)
class Block:
    page: str
    line: int
    language: str
    text: str
    excuse: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks() -> Iterator[Block]:
    """All of them; fences may be indented, as in a list."""
    fence = re.compile(
        r"(?:^[ ]*<!-- not run: (?P<excuse>.*?) -->\n)?^(?P<indent>[ ]*)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
        re.DOTALL | re.MULTILINE,
    )
    for page in PAGES:
        text = page.read_text()
        for match in fence.finditer(text):
            line = text[: match.start("text")].count("\n")
            name = page.relative_to(ROOT).as_posix()
            yield Block(name, line, match["language"], match["text"], match["excuse"] or "")


BLOCKS = list(blocks())


def test_every_fence_belongs_to_a_block() -> None:
    fences = sum(len(re.findall(r"^ *```", page.read_text(), re.MULTILINE)) for page in PAGES)
    assert fences == 2 * len(BLOCKS)
    assert len(BLOCKS) > 80


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_is_run_or_excused(block: Block) -> None:
    if block.excuse:
        assert len(block.excuse.split()) > 3, "a reason is a sentence"
    elif block.language in DATA:
        assert DATA[block.language](block.text)
    elif block.language not in PRINTED:
        assert block.language in RUN.get(block.page, ("", ""))[1].split(), (
            "no test runs this page's code: add one, or say before the block why not"
        )


@pytest.mark.parametrize("page", RUN)
def test_the_test_of_a_page_reads_it(page: str) -> None:
    test, languages = RUN[page]
    assert any(part in (ROOT / test).read_text().lower() for part in (Path(page).stem.lower(), '/ "recipes"'))
    assert {block.language for block in BLOCKS if block.page == page and not block.excuse} >= {
        *languages.split()
    }


@cache
def options(program: str, *command: str) -> frozenset[str]:
    """The options in a command's help."""
    if program == "pushcore":
        found: click.Command = cli
        for name in command:
            assert isinstance(found, click.Group)
            found = found.commands[name]
        return frozenset(["--help", "--help-all", *(option for each in found.params for option in each.opts)])
    said = subprocess.run(
        [sys.executable, "-m", program, *command, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return frozenset(re.findall(r"--[a-z-]+", said.stdout))


def commands() -> Iterator[tuple[str, tuple[str, ...], set[str]]]:
    """Each command of ours that a page shows: where, the command, and the options it is given."""
    start = r"^\s*(?:\$ )?(?:CHANNEL=\$\()?(?:python -m )?(pushcore(?: campaign| channels)? [a-z]+|fakeservers [a-z]+)\b(.*)$"
    for block in BLOCKS:
        if block.language in (*PRINTED, "sh", "bash"):
            joined = re.sub(r"\\\n|\n {11,}(?=\[?-)", " ", block.text)
            for command, rest in re.findall(start, joined, re.MULTILINE):
                shown = re.findall(r"--[a-z-]+", rest.split("#")[0])
                yield str(block), tuple(command.split()), set(shown)


@pytest.mark.slow
def test_commands_exist_with_the_options_shown() -> None:
    found = list(commands())
    assert len(found) > 40
    wrong = [(where, command, shown - options(*command)) for where, command, shown in found]
    assert [each for each in wrong if each[2]] == []


def run(block: Block, names: dict[str, Any]) -> None:
    """Run an example that may await at its top."""
    lines = "".join(f"    {line}\n" for line in block.text.splitlines())
    exec(f"async def example():\n{lines}    globals().update(locals())\n", names)
    asyncio.run(names["example"]())


def of(page: str) -> list[Block]:
    return [
        block for block in BLOCKS if block.page == page and block.language == "python" and not block.excuse
    ]


class Sender:
    """What the pages of the fakes call `my_client`: the reader's sender, which is ours here."""

    def __init__(self, url: str, ca_file: str, *credentials: str) -> None:
        self._options: dict[str, Any] = {"url": url, "ca_file": ca_file}
        self._credentials: Any = credentials

    async def send(self, token: str, *_: object) -> None:
        if len(self._credentials) == 1:
            account = ServiceAccount.from_file(*self._credentials)
            async with FcmClient(account, **self._options) as fcm:
                await fcm.send(Message(token=token, data={}))
        else:
            file, key_id, team_id, topic = self._credentials
            key = ApnsKey.from_file(file, key_id=key_id, team_id=team_id)
            async with ApnsClient(key, topic=topic, **self._options) as apns:
                await apns.send(Notification(token, {"aps": {}}))


def test_the_fakes_in_a_program() -> None:
    apns, fcm = of("docs/reference/fakeservers.md")
    run(apns, {"my_client": Sender})
    run(fcm, {"my_client": Sender})


def test_the_control_port_in_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    block, test = of("docs/reference/fakeservers-control.md")
    assert "def test_" in test.text  # tests/fakeservers/control/test_docs.py runs it
    run(Block(block.page, block.line, "python", block.text.replace("8025", "0"), ""), {})
    assert capsys.readouterr().out.startswith("http://127.0.0.1:")


async def test_the_metrics_of_an_operator() -> None:
    names: dict[str, Any] = {}
    measured, endpoint, instruments = of("docs/operations/operators.md")
    async with FakeApns() as fake:
        key = ApnsKey.from_file(fake.key_file, key_id=fake.key_id, team_id=fake.team_id)
        async with ApnsClient(key, topic=fake.topic, url=fake.url, ca_file=fake.ca_file) as client:
            exec(measured.text, names)
            metrics = names["metrics"] = names["measured"](client)
            await client.send(Notification("ab" * 32, {"aps": {}}))
    assert isinstance(metrics, Metrics)
    exec(endpoint.text.replace("9400", "0"), names)
    names["endpoint"].close()
    exec(instruments.text, names)
