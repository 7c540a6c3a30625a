"""What a user sees is found in the troubleshooting pages, by the words of it that do not vary."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import pushcore
from docsite.advice import GROUPS, advice_of_line, fixed_part, group_of
from docsite.messages import all_messages, messages, messages_page
from docsite.troubleshooting import WHAT_TO_DO, errors_page
from fakeservers.apns.registry import ApnsRegistry, RegistryError
from pushcore import Notification, Template
from pushcore.apns.request import ApnsRequestBuilder
from pushcore.models.expo import NO_IMAGE
from pushcore.reasons import words
from pushcore.requests import build_one
from pushcore.results import Result

ROOT = Path(__file__).parents[2]
CONSTANTS = ("the certificate … is valid …: renew it", NO_IMAGE)
"""Log lines whose text stands somewhere else."""

CLICK = re.compile(r"No such (?:command|option)|Missing (?:option|argument)")


@cache
def fixed_parts() -> frozenset[str]:
    page = errors_page() + messages_page()
    parts = (fixed_part(sentence) for _, sentence in re.findall(r"^- (`+)(.*?)\1 \(", page, re.MULTILINE))
    return frozenset(part for part in parts if len(part.split()) > 1)


def is_found(printed: str) -> bool:
    return any(part in printed for part in fixed_parts())


def printed_lines() -> Iterator[str]:
    """Each line of the golden files with which a command says that something is wrong, without those of click."""
    for file in sorted((ROOT / "tests" / "golden" / "cli").glob("*.txt")):
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.startswith("pushcore: ") and not CLICK.search(line):
                yield line


def test_what_commands_print_is_found() -> None:
    lines = list(printed_lines())
    assert len(lines) > 20
    reasons = words()  # these have headings of their own
    assert [line for line in lines if not is_found(line) and reasons.isdisjoint(re.split(r"\W+", line))] == []


@pytest.mark.parametrize(
    "push",
    [
        Notification("not hexadecimal", {}),
        Notification("ab" * 32, {"aps": {}}, collapse_id="é"),
        Notification("ab" * 32, {"aps": {"x": "x" * 5000}}),
        Notification("ab" * 32, {"aps": {}}, expiration=-1),
    ],
    ids=["token", "collapse_id", "size", "expiration"],
)
def test_why_a_push_is_invalid_is_found(push: Notification) -> None:
    builder = ApnsRequestBuilder("api.push.apple.com", "com.example.app", token_auth=True)
    result = build_one(builder, push, lambda finished: None, 10.0)
    assert isinstance(result, Result)
    assert is_found(str(result.detail)), result.detail


def test_why_a_row_and_a_registry_cannot_be_used_is_found(tmp_path: Path) -> None:
    with pytest.raises(ValueError) as row:
        Template({"title": "{{name}}", "badge": "{{count:int}}"}).render(
            {"token": "ab" * 32, "count": "many"}
        )
    assert is_found(str(row.value)), row.value
    (tmp_path / "registry.json").write_text("{")
    with pytest.raises(RegistryError) as registry:
        ApnsRegistry.from_file(tmp_path / "registry.json")
    assert is_found(str(registry.value)), registry.value


def test_every_log_line_has_its_advice() -> None:
    logged = {
        sentence for file, is_logged, sentence in all_messages() if is_logged and file.startswith("pushcore/")
    }
    assert len(logged) > 30
    assert [line for line in (*CONSTANTS, *logged) if advice_of_line(line) is None] == []
    page = messages_page()
    assert "logged once a day in its last 30 days" in str(advice_of_line(CONSTANTS[0]))
    assert "`webhook of …: … results were lost (…)` (`pushcore/gateway/webhooks.py`) · ERROR: look at" in page


def test_every_message_has_advice_above_it_and_every_advice_its_messages() -> None:
    files = {file for file, _, _ in all_messages()}
    assert {file for file in files if group_of(file) is None} == set()
    sections = dict(re.findall(r"^## (.+?)$(.*?)(?=^## |\Z)", messages_page(), re.MULTILINE | re.DOTALL))
    assert [group.heading for group in GROUPS] == [heading for heading in sections if heading != "Log lines"]
    for group in GROUPS:
        assert sections[group.heading].strip().startswith(group.advice), group.heading
        assert "\n- `" in sections[group.heading], group.heading
        for start in group.files:
            assert any(group_of(file) is group for file in files if file.startswith(start)), start


def test_every_exception_says_what_to_do() -> None:
    errors = {
        name: value
        for name in pushcore.__all__
        if isinstance(value := getattr(pushcore, name), type) and issubclass(value, BaseException)
    }
    assert len(errors) > 20
    assert {name for name, error in errors.items() if WHAT_TO_DO not in (error.__doc__ or "")} == set()
    sections = errors_page().split("\n## ")[1:]
    assert [section.split("\n")[0] for section in sections if section.count(f"\n{WHAT_TO_DO} ") != 1] == []


def test_texts_of_other_pages_are_no_messages(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(
        '"""of the module and more"""\n'
        'raise ValueError(f"the row {row} cannot be read")\n'
        'log.warning("it took %.1f s", seconds)\n'
        'connection.execute("select a from b where c")\n'
        'option("--x", help="the help of an option")\n'
        'HELP = "The help of a command."\n'
    )
    assert list(messages(tmp_path / "x.py")) == [
        (False, "the row … cannot be read"),
        (True, "it took … s"),
    ]
