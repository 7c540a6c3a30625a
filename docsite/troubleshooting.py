"""The troubleshooting pages: the providers' reasons from their tables, errors from the code that raises them."""

from __future__ import annotations

import ast
import inspect
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pushcore
from docsite.markdown import table
from pushcore.apns.reasons import CHANNEL_REASONS as CHANNELS
from pushcore.apns.reasons import REASONS as APNS
from pushcore.fcm.errors import REASONS as FCM
from pushcore.fcm.errors import SUSPECT_TOKEN
from pushcore.fcm.instance_id import REASONS as INSTANCE_ID
from pushcore.fcm.legacy_errors import REASONS as LEGACY
from pushcore.reasons import UNEXPECTED, UNNAMED, Reason, Verdict

PACKAGE: Final = Path(pushcore.__file__).parent


def reason_pages() -> dict[str, str]:
    """A page for each interface of a provider, and one heading for each reason, so that each has an address."""
    suspect = replace(SUSPECT_TOKEN, name=SUSPECT_TOKEN.stored or "")
    fcm = (*FCM.values(), suspect, UNEXPECTED)
    return {
        "troubleshooting/apns": _page("APNs", "APNs", (*APNS.values(), UNEXPECTED)),
        "troubleshooting/fcm": _page("FCM", "FCM's HTTP v1 API and Google's token endpoint", fcm),
        "troubleshooting/channels": _page(
            "APNs' channels", "APNs for channels and broadcasts", CHANNELS.values(), retried=False
        ),
        "troubleshooting/instance-id": _page(
            "the instance-id API",
            "Google's API of subscriptions to topics, for each device",
            INSTANCE_ID.values(),
            retried=False,
        ),
        "troubleshooting/legacy": _page("FCM's legacy API", "servers of FCM's legacy API", LEGACY.values()),
    }


def _page(title: str, whose: str, rows: Iterable[Reason], *, retried: bool = True) -> str:
    parts = [
        f"# Reasons of {title}\n",
        f"The reasons of {whose}, with meaning and advice. A reason is `Result.reason`"
        f"{', and the column `reason` of the results' if retried else ''}. [Verdicts](#verdicts) are below.\n",
    ]
    for row in rows:
        parts.append(f"## {row.name}\n")
        parts.append(f"{row.advice}\n")
        parts.append(_facts(row, retried))
        if row.if_all:
            parts.append(
                f"If most pushes are rejected with this reason: {row.if_all[0].lower()}{row.if_all[1:].rstrip('.')}.\n"
            )
        if row.suspect:
            parts.append("It counts as *suspect*: it may also mean a wrong environment, topic or project.\n")
        if row.scope:
            parts.append(f"The rate limit is that of a {row.scope}.\n")
    parts.append("## Verdicts\n")
    parts.append(table(("verdict", "meaning", "what to do"), verdicts()))
    return "\n".join(parts)


def _facts(row: Reason, retried: bool) -> str:
    status = f"Status {row.status}" if row.status else "Any status"
    again = retried and row.wait is not None
    retry = f"retried after {row.wait:g} s, or when the provider says" if again else "not retried"
    return f"{status} · `{row.verdict.name}` · the {row.blame} is to blame · {retry}\n"


def verdicts() -> list[tuple[str, ...]]:
    """Each verdict with the sentence below it in the code, and the advice for a result without a reason."""
    body = ast.parse(inspect.getsource(Verdict)).body[0]
    assert isinstance(body, ast.ClassDef)
    said: dict[str, str] = {}
    for name, text in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(name, ast.Assign)
            and isinstance(name.targets[0], ast.Name)
            and isinstance(text, ast.Expr)
        ):
            assert isinstance(text.value, ast.Constant)
            said[name.targets[0].id] = str(text.value.value)
    return [(f"`{verdict.name}`", said[verdict.name], UNNAMED[verdict].advice) for verdict in Verdict]


def errors_page() -> str:
    """Every public exception with the sentences that it is raised with in this code."""
    sentences: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for file in sorted(PACKAGE.rglob("*.py")):
        for name, sentence in raised(file):
            sentences[name].append((sentence, file.relative_to(PACKAGE.parent).as_posix()))
    parts = [
        "# Errors\n",
        "The sentences that pushcore prints or raises, by exception; `…` stands for what varies. A command prints",
        "`pushcore: ` and the sentence. [Exceptions](../reference/errors.md) has the attributes.\n",
    ]
    for name in sorted(sentences):
        error = getattr(pushcore, name, None)
        parts += [f"## {name}\n", f"{_ABOUT[name] if error is None else what_happened(error)}\n"]
        parts += [f"- {literal(sentence)} (`{where}`)" for sentence, where in sorted(set(sentences[name]))]
        parts.append("")
    return "\n".join(parts)


def what_happened(error: type[BaseException]) -> str:
    """The first paragraph of an exception's docstring, and the one that says what to do."""
    first, *others = (inspect.getdoc(error) or "").split("\n\n")
    return "\n\n".join([first, *(text for text in others if text.startswith(WHAT_TO_DO))])


WHAT_TO_DO: Final = "What to do:"
"""The beginning of the paragraph of advice in the docstring of each public exception."""

_ABOUT: Final = {
    "BadInput": "A file, an option or an argument of a command is wrong. Exit status 2; nothing was sent.\n\n"
    "What to do: correct what the message names, and run the command again.",
    "BadParameter": "The value of an option is wrong. Exit status 2; nothing was sent.\n\n"
    "What to do: correct the value; `pushcore COMMAND --help` says what is allowed.",
    "UsageError": "A command was given options that do not go together. Exit status 2; nothing was sent.\n\n"
    "What to do: leave one of them out, or add the missing one.",
    "TypeError": "The caller passed an object of a wrong type: a bug of the program. Nothing was queued.\n\n"
    "What to do: pass an object of the type that the message names.",
}


def raised(file: Path) -> Iterator[tuple[str, str]]:
    """Each exception of this file that is made with a sentence for people, and the sentence."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and node.args:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in _ABOUT or (name in pushcore.__all__ and _is_error(name)):
                sentence = text_of(node.args[0])
                if sentence is not None and len(sentence.split()) > 2:
                    yield name, sentence


def _is_error(name: str) -> bool:
    value = getattr(pushcore, name)
    return isinstance(value, type) and issubclass(value, BaseException)


def text_of(node: ast.expr) -> str | None:
    """A sentence as it is printed, with … for what varies; None for what is no text in the source."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = text_of(node.left), text_of(node.right)
        return None if left is None and right is None else f"{left or '…'}{right or '…'}"
    return None


def literal(sentence: str) -> str:
    text = " ".join(sentence.split())
    fence = "``" if "`" in text else "`"
    return f"{fence} {text} {fence}" if fence == "``" else f"`{text}`"
