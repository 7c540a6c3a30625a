"""`FcmClient` and `LegacyFcmClient` at construction: what cannot work is one sentence, and nothing is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pushcore import FcmClient, LegacyFcmClient, LegacyMessage, Message
from pushcore.errors import ConfigurationError
from pushcore.fcm.dispatcher import FcmDispatcher
from pushcore.fcm.legacy import LegacyDispatcher
from pushcore.http2.origin import Origin
from tests.unit.fcm.building import account

SECRET = "AAAA-secret:APA91b"


def test_the_options_of_the_client() -> None:
    client = FcmClient(account())
    assert client._dispatcher.origin == Origin("fcm.googleapis.com", 443)
    assert client._dispatcher.origin.authority == "fcm.googleapis.com"
    assert (client.max_connections, client.timeout, client.opened) == (10, 10.0, False)
    assert client._dispatcher.requests.project_id == "my-project"
    assert FcmClient(account(), project_id="other")._dispatcher.requests.project_id == "other"
    assert (FcmDispatcher.streams, LegacyDispatcher.streams) == (100, 100)
    assert FcmDispatcher.handles is Message
    assert LegacyDispatcher.handles is LegacyMessage


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"auth": "service-account.json"}, "ServiceAccount or a credentials object"),
        ({"auth": None}, "ServiceAccount or a credentials object"),
        ({"auth": account(None)}, "project_id must be given"),
        ({"project_id": "a/b"}, "project_id must be"),
        ({"project_id": "x y"}, "project_id must be"),
        ({"url": "http://127.0.0.1:1"}, "https://127.0.0.1:8443"),
        ({"url": 5}, "https://127.0.0.1:8443"),
        ({"http2": "slow"}, "fast, reference"),
        ({"max_connections": 0}, "at least 1"),
        ({"timeout": 0}, "above 0"),
        ({"proxy": "ftp://proxy.example"}, "proxies"),
        ({"ca_file": "missing.pem"}, "missing.pem"),
    ],
)
def test_unusable_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        FcmClient(**{"auth": account(), **options})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"server_key": ""}, "server_key"),
        ({"server_key": f"{SECRET} {SECRET}"}, "server_key"),
        ({"server_key": f"{SECRET}\n"}, "server_key"),
        ({"server_key": None}, "server_key"),
        ({"url": "https://h/fcm/send"}, "url must look like"),
        ({"http2": "slow"}, "fast, reference"),
        ({"max_connections": 0}, "at least 1"),
        ({"timeout": -1}, "above 0"),
        ({"proxy": "ftp://proxy.example"}, "proxies"),
    ],
)
def test_unusable_options_of_the_legacy_client(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        LegacyFcmClient(**{"server_key": SECRET, "url": "https://127.0.0.1:8443", **options})
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)


def test_the_legacy_api_has_no_server_of_its_own() -> None:
    with pytest.raises(TypeError, match="url"):
        LegacyFcmClient(SECRET)  # type: ignore[call-arg]  # what the types forbid


@pytest.mark.parametrize("server_key", [SECRET, f"key={SECRET}"])
def test_a_server_key_is_taken_with_its_prefix_or_without(server_key: str) -> None:
    client = LegacyFcmClient(server_key, url="https://127.0.0.1:8443")
    assert client._dispatcher._authorization == f"key={SECRET}".encode()
    assert SECRET not in repr(client)


@pytest.mark.slow
def test_google_auth_is_not_imported_before_it_is_used(tmp_path: Path) -> None:
    import subprocess
    import sys

    program = "import sys, pushcore; sys.exit(any(name.split('.')[0] == 'google' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], check=False, cwd=tmp_path).returncode == 0
