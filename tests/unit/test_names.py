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
    "Answer": {"pushcore/auth/service_account.py", "fakeservers/faults/actions.py"},
    "Block": {"pushcore/http2/headers.py", "fakeservers/serving/wire_in.py"},
    "Book": {"fakeservers/apns/received.py", "fakeservers/fcm/strict.py"},
    "Channels": {"pushcore/apns/channels.py", "fakeservers/apns/channels.py"},
    "ClientCertificate": {"pushcore/http2/tls.py", "fakeservers/certs.py"},
    "Connection": {"pushcore/http2/connection.py", "fakeservers/serving/types.py"},
    "Device": {"pushcore/payloads/devices.py", "fakeservers/apns/world.py"},
    "Faults": {"fakeservers/pytest_plugin.py", "fakeservers/serving/types.py"},
    "Limits": {"pushcore/http2/streams.py", "fakeservers/serving/types.py"},
    "Line": {"fakeservers/control/processes.py", "fakeservers/faults/rules.py"},
    "Outgoing": {"pushcore/http2/outgoing.py", "fakeservers/serving/wire_out.py"},
    "ProviderToken": {"pushcore/auth/provider_token.py", "fakeservers/apns/provider_tokens.py"},
    "Received": {"fakeservers/apns/received.py", "fakeservers/fcm/strict.py"},
    "Sender": {"pushcore/sender.py", "fakeservers/apns/rules.py"},
    "ServiceAccount": {"pushcore/auth/service_account.py", "fakeservers/fcm/service_account.py"},
    "Streams": {"pushcore/http2/streams.py", "fakeservers/faults/actions.py"},
    "Template": {"pushcore/http2/headers.py", "pushcore/payloads/template.py"},
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


def test_the_classes_are_seen() -> None:
    """Otherwise the test above could not fail."""
    names = {name for name, _ in classes()}
    assert {"Result", "FakeApns", "Workload", "ScriptedClient"} <= names
    assert len(names) > 250
