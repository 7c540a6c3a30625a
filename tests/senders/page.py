"""Writes docs/inside/senders.md: what each sender reports for each reason. Also writes the table of senders in docs/guides/load-testing.md.

Cells of senders that were not run are kept: they are read from the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from tests.senders import fates
from tests.senders.catalogue import Sender

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = DOCS / "inside" / "senders.md"
GUIDE: Final = DOCS / "guides" / "load-testing.md"
"""Has the table of senders between two comments."""
Cells: TypeAlias = dict[tuple[str, str, str], str]
"""By provider, fate and sender."""
Runs: TypeAlias = dict[str, tuple[str, int, int]]
"""By sender: its version, the number of its starts, and the total of accepted pushes."""

NO_OUTCOME: Final = "no outcome for"
"""The beginning of the outcome of a push if its sender reported nothing and was killed."""

_LONGEST: Final = 80
_PORT: Final = re.compile(r"(localhost|127\.0\.0\.\d):\d+")
_TOKEN: Final = re.compile(r"deadfa7e[0-9a-zA-Z:_-]+")
_STREAM: Final = re.compile(r"\bstream \d+")
_TITLES: Final = {"apns": "APNs", "fcm": "FCM"}
_TABLE: Final = re.compile(r"(?<=<!-- senders -->\n).*(?=<!-- /senders -->)", re.DOTALL)
_BEFORE: Final = """# Other senders and the providers' reasons

This page shows what other libraries report to their caller for each fate of the fakes: look here before your program acts on their errors.
[load-testing.md](../guides/load-testing.md#senders-that-were-tried) lists the libraries, and how they are connected to the fakes.
`make senders` runs them all and writes this page.
"""
_MATRIX: Final = """
## {provider}

A cell has the class and the text of the error that the sender's caller gets, cut to {longest} characters.

- *ok*: the sender reports that the push was accepted.
- *4 requests*: the sender sent that push four times.
- *1 accepted*: the fake accepted one of the requests, although the sender reports an error.
- *still sending it*: the sender retried the push without end, and was killed.

"""
_CONNECTION: Final = """
The next table has events of the connection, described in [fakeservers.md](../reference/fakeservers.md#fated-tokens). A new sender was started
for each, and sent an ordinary push afterwards: *next* is the outcome of that push, if it was not ok.

"""


_RUNS: Final = """
## Many starts in a row

Each sender was started several times, each time with a new strict fake without faults, and sent 2000 pushes per start. A row is written
only if each push was accepted once, by the counts of the sender and of the fake.
`make senders SENDERS_ARGS="--count 2000 --times 20"` writes this table, and the weekly tests repeat it.

"""
_RUNS_TITLE: Final = ("sender", "version", "starts", "pushes accepted")


def cell(row: Mapping[str, Any]) -> str:
    """One row of a report, as a cell of the page."""
    text = _TOKEN.sub("TOKEN", _PORT.sub(r"\1:PORT", row["outcome"]))
    text = _STREAM.sub("stream N", text)
    return _code(text) + _notes(row)


def _notes(row: Mapping[str, Any]) -> str:
    notes = []
    if row["requests"] > 1 and row["outcome"].startswith(NO_OUTCOME):
        notes.append("still sending it")
    elif row["requests"] > 1:
        notes.append(f"{row['requests']} requests")
    if row["accepted"] > 1 or (row["accepted"] and row["outcome"] != "ok"):
        notes.append(f"{row['accepted']} accepted")
    if row.get("next", "ok") != "ok":
        notes.append(f"next: {_code(row['next'])}")
    return f" ({', '.join(notes)})" if notes else ""


def _code(text: str) -> str:
    if text == "ok":
        return text
    short = text if len(text) <= _LONGEST else text[: _LONGEST - 1].rstrip() + "…"
    return f"`{short.replace('`', chr(39)).replace('|', '/')}`"


def cells(sender: Sender, report: Mapping[str, Any]) -> Cells:
    """The cell of each fate in a report."""
    rows = (*report["responses"], *report["connection"])
    return {(sender.provider, row["fate"], sender.name): cell(row) for row in rows}


def read(text: str) -> Cells:
    """The cells of the page's matrices."""
    result: Cells = {}
    provider, names = "", [""]
    for line in text.splitlines():
        if line.startswith("## "):  # in the table of runs, no provider
            ending = line.removeprefix("## ")
            provider = next((key for key, title in _TITLES.items() if title == ending), "")
        elif provider and line.startswith("| "):
            first, *others = (part.strip() for part in line.strip("|").split("|"))
            if first == "fate":
                names = others
            else:
                result |= {
                    (provider, first, name): part for name, part in zip(names, others, strict=True) if part
                }
    return result


def read_runs(text: str) -> Runs:
    """The rows of the page's table of runs."""
    _, _, table = text.partition(_row(*_RUNS_TITLE))
    rows = (line.strip("| ").split(" | ") for line in table.splitlines()[1:])
    return {name: (version, int(starts), int(accepted)) for name, version, starts, accepted in rows}


def run_of(sender: Sender, report: Mapping[str, Any]) -> Runs:
    """The row of a run without an error."""
    days = report["calm"]
    return {sender.name: (sender.version, len(days), sum(day["accepted"] for day in days))}


def write(known: Iterable[Sender], contents: Cells, runs: Runs) -> str:
    """The whole page. A run of another version of a sender is left out."""
    known = list(known)
    text = _BEFORE
    for provider, title in _TITLES.items():
        names = [sender.name for sender in known if sender.provider == provider]
        text += _MATRIX.format(provider=title, longest=_LONGEST)
        text += _matrix(provider, fates.RESPONSES[provider], names, contents)
        text += _CONNECTION + _matrix(provider, fates.CONNECTION[provider], names, contents)
    text += _RUNS + _row(*_RUNS_TITLE) + "|---|---|---:|---:|\n"
    for sender in known:
        version, starts, accepted = runs.get(sender.name, ("", 0, 0))
        if version == sender.version:
            text += _row(sender.name, version, str(starts), str(accepted))
    return text


def guide(text: str, known: Iterable[Sender]) -> str:
    """The guide with the table of these senders."""
    table = _row("sender", "version", "language", "service", "how it is connected to the fakes")
    table += "|---|---|---|---|---|\n"
    for sender in sorted(known, key=lambda sender: (sender.provider, sender.language, sender.name)):
        table += _row(sender.name, sender.version, sender.language, _TITLES[sender.provider], sender.how)
    return _TABLE.sub(lambda _: table, text)


def update(known: Sequence[Sender], contents: Cells, runs: Runs) -> None:
    """Write the page and the guide's table; these cells and runs replace those of the same senders."""
    before = PAGE.read_text() if PAGE.exists() else ""
    PAGE.write_text(write(known, read(before) | contents, read_runs(before) | runs))
    GUIDE.write_text(guide(GUIDE.read_text(), known))


def _matrix(provider: str, rows: Iterable[str], names: list[str], contents: Cells) -> str:
    lines = [_row("fate", *names), "|---" * (len(names) + 1) + "|\n"]
    lines += [_row(fate, *(contents.get((provider, fate, name), "") for name in names)) for fate in rows]
    return "".join(lines)


def _row(*parts: str) -> str:
    return f"| {' | '.join(parts)} |\n"
