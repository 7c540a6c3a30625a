"""One class name, one meaning in the whole repository: a reader who has met a name once knows what it is everywhere."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("pushcore", "fakeservers", "bench", "tests/support")

REMAINING: dict[str, set[str]] = {
    "AccessToken": {"pushcore/auth/access_token.py", "fakeservers/fcm/oauth.py"},
    "AccessTokens": {"pushcore/auth/access_token.py", "fakeservers/faults/actions.py"},
    "Book": {"fakeservers/fcm/strict.py", "fakeservers/apns/received.py"},
    "Channels": {"pushcore/apns/channels.py", "fakeservers/apns/channels.py"},
    "Connection": {"pushcore/http2/connection.py", "fakeservers/serving/types.py"},
    "Device": {"pushcore/payloads/devices.py", "fakeservers/apns/world.py"},
    "Faults": {"fakeservers/serving/types.py", "fakeservers/pytest_plugin.py"},
    "Limits": {"pushcore/http2/streams.py", "fakeservers/serving/types.py"},
    "Line": {"fakeservers/faults/rules.py", "fakeservers/control/processes.py"},
    "ProviderToken": {"pushcore/auth/provider_token.py", "fakeservers/apns/provider_tokens.py"},
    "Received": {"fakeservers/fcm/strict.py", "fakeservers/apns/received.py"},
    "ServiceAccount": {"pushcore/auth/service_account.py", "fakeservers/fcm/service_account.py"},
    "Streams": {"pushcore/http2/streams.py", "fakeservers/faults/actions.py"},
    "TokenEndpoint": {"pushcore/fcm/token_endpoint.py", "fakeservers/fcm/oauth.py"},
}
"""Names that still stand for two classes, with the files that have them. To be emptied."""


def classes() -> Iterator[tuple[str, str]]:
    """The name and the file of every public class at the top of a module."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    yield node.name, path.relative_to(ROOT).as_posix()


def test_each_class_name_has_one_meaning() -> None:
    files: dict[str, list[str]] = defaultdict(list)
    for name, file in classes():
        files[name].append(file)
    twice = {
        name: places
        for name, places in files.items()
        if len(places) > 1 and not set(places) <= REMAINING.get(name, set())
    }
    assert not twice, f"names that stand for several classes: {twice}"
    stale = {name for name, places in REMAINING.items() if set(files[name]) != places}
    assert not stale, f"names that no longer stand for two classes: {stale}"


def test_the_classes_are_seen() -> None:
    """Otherwise the test above could not fail."""
    names = {name for name, _ in classes()}
    assert {"Result", "FakeApns", "Workload", "ScriptedClient"} <= names
    assert len(names) > 250
