"""The page of sentences that are no exception by themselves: collected from the source of pushcore and of the fakes."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import fakeservers
import pushcore
from docsite.advice import GROUPS, advice_of_line, group_of
from docsite.troubleshooting import literal, raised, text_of
from pushcore.cli import statuses

LOGGED: Final = {"log.info", "log.warning", "log.error", "log.exception", "logger.warning", "warn_once"}
SILENT: Final = {
    *("execute", "executemany", "executescript", "compile", "search", "fullmatch", "partition"),
    *("option", "argument", "command", "group", "add_argument", "create_task", "ArgumentParser", "FastAPI"),
    *("Field", "MetricFamily", "GaugeMetricFamily", "CounterMetricFamily", "Counter", "Histogram", "Reason"),
    *("NewType", "TypeVar", "cast", "DemoDevice", "_get", "_post"),
}
"""Calls whose texts are patterns, SQL, help or tables of other pages."""

FORMATTED: Final = re.compile(r"%(?:\.\d+)?[sdrf]")
"""What varies in a log line."""

NAMES: Final = re.compile(r"[A-Z]{2,}|APNs|Android|Expo|Correct the|Unregistered,")
"""How a message may begin, beside a small letter; help and titles begin with another capital."""

NO_SENTENCE: Final = re.compile(
    r"\(\?|(?:select|insert|create table|create index|update|pragma|begin immediate|default-src)\s"
)


ELSEWHERE: Final = {Path(statuses.__file__)}
"""Files whose texts are on a page of their own."""

NO_MESSAGE: Final = {"help", "short_help", "epilog", "metavar", "description", "summary"}
"""Arguments whose texts are help, or the OpenAPI document."""


def messages_page() -> str:
    """Log lines with their advice, then each sentence once for each file, in the groups of `advice`."""
    logged: set[str] = set()
    lines: dict[str, set[str]] = defaultdict(set)
    for file, is_logged, sentence in all_messages():
        line = f"- {literal(sentence)} (`{file}`)"
        if is_logged and file.startswith("pushcore/"):
            level, text = advice_of_line(sentence) or ("", "")
            logged.add(f"{line} · {level}: {text}" if text else line)
        else:
            group = group_of(file)
            lines[group.heading if group is not None else ""].add(line)
    parts = [
        "# Messages\n",
        "Sentences that are not in [Errors](errors.md), and parts of sentences, each with the file that it comes from: a command prints",
        "them, a program logs them, or they are the `detail` of a result or of a response. `…` stands for what varies: search for words",
        "that do not vary. The first paragraph below a heading says what has happened and what to do.\n",
        "## Log lines\n",
        "Lines that a program writes with the standard library's `logging`, with their level and what to do.\n",
        *sorted(logged),
        "",
    ]
    for group in GROUPS:
        parts += [f"## {group.heading}\n", f"{group.advice}\n", *sorted(lines[group.heading]), ""]
    return "\n".join(parts)


def all_messages() -> Iterator[tuple[str, bool, str]]:
    """Each sentence of pushcore and of the fakes with its file, and whether it is logged."""
    for package in (pushcore, fakeservers):
        root = Path(package.__file__ or "").parent
        for file in sorted(set(root.rglob("*.py")) - ELSEWHERE):
            for is_logged, sentence in messages(file):
                yield file.relative_to(root.parent).as_posix(), is_logged, sentence


def messages(file: Path) -> Iterator[tuple[bool, str]]:
    """Each sentence of this file that is not on the page of errors, and whether it is logged."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    known = {sentence for _, sentence in raised(file)}
    for node, calls in _texts(tree, ()):
        text = text_of(node) or ""
        logged = not LOGGED.isdisjoint(calls)
        sentence = " ".join((FORMATTED.sub("…", text) if logged else text).split())
        if text in known or not SILENT.isdisjoint(calls):
            continue
        words = re.findall("[a-z]{2,}", sentence)
        if words if logged else len(words) > 2 and is_sentence(sentence, file):
            yield logged, sentence


def is_sentence(text: str, file: Path) -> bool:
    """Whether this text is a message: not a pattern, SQL, help or a title. Google's sentences begin with capitals."""
    begins = not text[:1].isupper() or NAMES.match(text) or file.parent.name in {"responses", "fcm"}
    return bool(begins) and " " in text and len(text) < 400 and not NO_SENTENCE.match(text)


def _texts(node: ast.AST, calls: tuple[str, ...]) -> Iterator[tuple[ast.expr, tuple[str, ...]]]:
    """Each text below this node that is no docstring, with the names of the calls around it."""
    if isinstance(node, ast.Call):
        calls = (*calls, *_names_of(node.func))
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.BinOp | ast.JoinedStr | ast.Constant) and text_of(node) is not None:
        yield node, calls
        return
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.keyword) and child.arg in NO_MESSAGE):
            yield from _texts(child, calls)


def _names_of(called: ast.expr) -> tuple[str, ...]:
    """A function's name, and of a method also the name with its object."""
    if isinstance(called, ast.Attribute):
        return called.attr, f"{getattr(called.value, 'id', '')}.{called.attr}"
    return (getattr(called, "id", ""),)
