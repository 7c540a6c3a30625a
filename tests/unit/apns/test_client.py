"""`ApnsClient` when it is made: what cannot work is one sentence, and the environment is a host of Apple's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pushcore.apns.client import HOSTS
from pushcore.auth.provider_token import Environment
from pushcore.errors import (
    ConfigurationError,
)
from tests.unit.apns.clients import client_of, key


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"environment": "staging", "url": None}, "one of production, sandbox, not 'staging'"),
        ({"auth": "key.p8"}, "auth must be an ApnsKey or an ApnsCertificate, not str"),
        ({"auth": key(environment="sandbox"), "url": None}, "the key is for sandbox, and the environment is"),
        ({"url": "http://127.0.0.1"}, "url must look like"),
        ({"broadcast_url": "127.0.0.1"}, "url must look like"),
        ({"topic": "com example"}, "topic"),
        ({"ca_file": "missing.pem"}, "missing.pem"),
        ({"max_connections": 0}, "at least 1"),
    ],
)
def test_unusable_options_are_named_in_one_sentence(
    options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        client_of(**options)
    assert words in str(caught.value)


@pytest.mark.parametrize("environment", HOSTS)
def test_the_environment_is_a_host_of_apples_unless_there_is_a_url(environment: Environment) -> None:
    client = client_of(key(environment=environment), url=None, environment=environment)
    assert (client._dispatcher.origin.authority, client.environment) == (HOSTS[environment], environment)
    assert client_of(key(environment=environment)).environment is None
