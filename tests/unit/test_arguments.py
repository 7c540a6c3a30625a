"""Checks of arguments, and that every constructor says which argument is wrong, what it must be and what it is."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pushcore.apns.channels import Channels
from pushcore.apns.client import ApnsClient
from pushcore.arguments import (
    check_choice,
    check_number,
    check_type,
    check_whole,
    checked_clock,
    json_kind,
    json_shown,
    kind,
    shown,
)
from pushcore.auth.provider_token import ApnsKey
from pushcore.auth.service_account import ServiceAccount
from pushcore.engine.engine import PushEngine
from pushcore.engine.rate import Rate
from pushcore.engine.retry import RetryPolicy
from pushcore.errors import ConfigurationError
from pushcore.fcm.client import FcmClient
from pushcore.fcm.legacy import LegacyFcmClient
from pushcore.fcm.topics import Topics
from pushcore.http2.proxy import Proxy

EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
APNS_KEY = ApnsKey(EC_KEY, key_id="ABC123DEFG", team_id="TEAM123456")
ACCOUNT = ServiceAccount(
    RSA_KEY, client_email="a@b.example", token_uri="https://oauth2.example/token", project_id="project"
)
SECRET = "-----BEGIN PRIVATE KEY-----\nMIGHAgEA"

NO_NUMBERS: list[Any] = [
    "10",
    None,
    True,
    math.nan,
    math.inf,
    -math.inf,
    0,
    -1,
    [4],
    b"4",
    timedelta(seconds=4),
]
"""What is no number above 0."""


def apns(auth: Any = APNS_KEY, **arguments: Any) -> ApnsClient:
    return ApnsClient(auth, **{"topic": "com.example.app", **arguments})


def fcm(auth: Any = ACCOUNT, **arguments: Any) -> FcmClient:
    return FcmClient(auth, **arguments)


def legacy(server_key: Any = "key", **arguments: Any) -> LegacyFcmClient:
    return LegacyFcmClient(server_key, **{"url": "https://127.0.0.1:8443", **arguments})


def engine(*clients: Any, **arguments: Any) -> PushEngine:
    return PushEngine(*(clients or (apns(),)), **arguments)


def topics(**arguments: Any) -> Topics:
    return Topics(**{"client": fcm(), **arguments})


def apns_key(key: Any = EC_KEY, **arguments: Any) -> ApnsKey:
    return ApnsKey(key, **{"key_id": "ABC123DEFG", "team_id": "TEAM123456", **arguments})


def account(key: Any = RSA_KEY, **arguments: Any) -> ServiceAccount:
    return ServiceAccount(key, **{"client_email": "a@b", "token_uri": "https://a", **arguments})


def proxy(host: Any = "proxy.example", port: Any = 3128, **arguments: Any) -> Proxy:
    return Proxy(host, port, **arguments)


def rejected(make: Callable[..., object], *positional: Any, **arguments: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        make(*positional, **arguments)
    text = str(caught.value)
    assert len(text) < 300
    return text


# --- the checks


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("10", "'10'"),
        (b"10", "b'10'"),
        (None, "None"),
        (True, "True"),
        (math.nan, "nan"),
        ([1, 2], "list"),
        (object(), "object"),
        ("x" * 100, f"'{'x' * 58}…"),
        pytest.param(10**5000, "a very large number", id="10**5000"),
    ],
)
def test_values_in_messages(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (None, "null", "null"),
        (True, "true or false", "true"),
        (False, "true or false", "false"),
        (5, "a number", "5"),
        (1.5, "a number", "1.5"),
        ("x", "a string", "'x'"),
        ([1], "a list", "a list"),
        ({"a": 1}, "an object", "an object"),
        (b"x", "bytes", "b'x'"),
        (timedelta(), "timedelta", "timedelta"),
        (SECRET, "a string", "'[key material removed]'"),
    ],
)
def test_values_that_came_from_json(value: object, kind: str, text: str) -> None:
    assert json_kind(value) == kind
    assert json_shown(value) == text


def test_a_value_of_a_wrong_class_is_not_shown() -> None:
    assert (kind(None), kind(SECRET), kind([SECRET])) == ("None", "str", "list")
    with pytest.raises(ConfigurationError, match=r"^key must be a key, not str$"):
        check_type("key", SECRET, bytes, "a key")


def test_each_check_accepts_what_it_names() -> None:
    check_type("a", "", (str, type(None)), "a string or None")
    check_choice("a", "b", ("b", "c"))
    check_number("a", -0.5)
    check_number("a", 10**300, above=0)
    check_number("a", math.inf, above=0, infinite=True)
    check_whole("a", 3, least=1, most=3)


@pytest.mark.parametrize("value", [None, "d", ["b"], {"b"}, 0, b"b"])
def test_choices(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^a must be one of b, c, not "):
        check_choice("a", value, ("b", "c"), ValueError)


def test_limits() -> None:
    with pytest.raises(ConfigurationError, match=r"^a must be a whole number from 1 to 3, not 4$"):
        check_whole("a", 4, least=1, most=3)
    with pytest.raises(ConfigurationError, match=r"^a must be a finite number, not -inf$"):
        check_number("a", -math.inf, infinite=True)


# --- the constructors


@pytest.mark.parametrize("make", [apns, fcm, legacy], ids=["apns", "fcm", "legacy"])
@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_numbers_of_clients(make: Callable[..., object], value: Any) -> None:
    assert rejected(make, timeout=value) == f"timeout must be a number above 0, not {shown(value)}"
    expected = f"max_connections must be a whole number of at least 1, not {shown(value)}"
    assert rejected(make, max_connections=value) == expected
    assert rejected(make, max_connections=4.0).endswith("not 4.0")


@pytest.mark.parametrize("make", [apns, fcm, legacy], ids=["apns", "fcm", "legacy"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("http2", "h2"),
        ("http2", ["fast"]),
        ("url", b"https://127.0.0.1:8443"),
        ("url", 7),
        ("ca_file", 7),
        ("now", 1_700_000_000),
        ("proxy", 7),
    ],
)
def test_other_arguments_of_clients(make: Callable[..., object], name: str, value: Any) -> None:
    assert name in rejected(make, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("topic", b"com.example.app"),
        ("topic", ["com.example.app"]),
        ("topic", 7),
        ("environment", ["production"]),
        ("environment", "prod"),
        ("broadcast_url", 7),
    ],
)
def test_arguments_of_an_apns_client(name: str, value: Any) -> None:
    assert rejected(apns, **{name: value}).startswith(f"{name} must ")


@pytest.mark.parametrize("make", [apns, fcm])
@pytest.mark.parametrize("auth", [None, "AuthKey.p8", SECRET, SECRET.encode(), EC_KEY, [APNS_KEY]], ids=kind)
def test_credentials_of_clients(make: Callable[..., object], auth: Any) -> None:
    text = rejected(make, auth)
    assert text.startswith("auth must be ")
    assert text.endswith(f"not {kind(auth)}")


@pytest.mark.parametrize("value", [b"project", 7, ["project"], "a project"])
def test_projects(value: Any) -> None:
    assert rejected(fcm, project_id=value).startswith("project_id must be ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("rate", value) for value in NO_NUMBERS if value != math.inf),
        ("concurrency", "5"),
        ("concurrency", 0),
        ("concurrency", True),
        ("client", None),
        ("client", apns()),
        ("instance_id_url", None),
    ],
)
def test_topics(name: str, value: Any) -> None:
    assert rejected(topics, **{name: value}).startswith(f"{name} must ")


def test_channels() -> None:
    assert rejected(Channels, fcm()) == "client must be an ApnsClient, not FcmClient"
    assert "topic" in rejected(Channels, apns(), topic=7)


@pytest.mark.parametrize("clients", [([apns()],), (None,), (apns(), "fcm"), (APNS_KEY,)])
def test_clients_of_an_engine(clients: tuple[Any, ...]) -> None:
    text = rejected(engine, *clients)
    assert f"client {len(clients)} must be a client" in text
    assert text.endswith(f"not {shown(clients[-1])}")
    assert "as separate arguments" in text


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("rate", [5, 5.0, ("5", "s"), True, timedelta(seconds=1)]),
        ("window", ["10", 0, -1, True, 2.5, math.inf]),
        ("retry", [3, True, "report", {"max_attempts": 3}, RetryPolicy]),
        ("breaker", [None, "yes", 1]),
        ("listener", [print, "metrics", [None]]),
        ("shared", ["shared", 5, [None]]),
    ],
)
def test_arguments_of_an_engine(name: str, values: list[Any]) -> None:
    for value in values:
        assert rejected(engine, **{name: value}).startswith(f"{name} must be ")


@pytest.mark.parametrize("value", [*NO_NUMBERS[:4], *NO_NUMBERS[5:]], ids=repr)
def test_rates(value: Any) -> None:
    assert rejected(Rate, value).startswith("the rate's pushes must be a number above 0, not ")
    assert rejected(Rate, 5, value).startswith("the rate's seconds must be a number above 0, not ")
    assert "looks like" in rejected(Rate.parse, value)


@pytest.mark.parametrize("name", ["max_age", "max_delay", "jitter", "fcm_wait", "budget_share"])
@pytest.mark.parametrize(
    "value", ["10", None, True, math.nan, math.inf, -1, [4], timedelta(seconds=4)], ids=repr
)
def test_retry_policies(name: str, value: Any) -> None:
    assert name in rejected(RetryPolicy, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("key_id", None),
        ("team_id", b"TEAM123456"),
        ("slot", "1800"),
        ("slot", 0),
        ("margin", 1.5),
        ("margin", -1),
        ("topics", b"com.example.app"),
        ("topics", "com.example.app"),
        ("topics", 7),
        ("topics", [b"com.example.app"]),
        ("environment", ["sandbox"]),
        ("environment", b"sandbox"),
    ],
)
def test_arguments_of_a_key(name: str, value: Any) -> None:
    assert f"{name} must be " in rejected(apns_key, **{name: value})


@pytest.mark.parametrize("make", [apns_key, account])
@pytest.mark.parametrize("key", [None, SECRET, SECRET.encode(), ["key"]], ids=repr)
def test_keys_are_not_shown(make: Callable[..., object], key: Any) -> None:
    text = rejected(make, key)
    assert text.startswith("key must be ")
    assert text.endswith(f"not {kind(key)}")


@pytest.mark.parametrize("name", ["client_email", "token_uri", "key_id", "project_id"])
def test_arguments_of_an_account(name: str) -> None:
    assert rejected(account, **{name: b"x"}).startswith(f"{name} must be a string")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("host", None),
        ("host", ""),
        ("host", b"proxy"),
        ("port", "3128"),
        ("port", 0),
        ("port", 65_536),
        ("port", True),
    ],
)
def test_arguments_of_a_proxy(name: str, value: Any) -> None:
    assert rejected(proxy, **{name: value}).startswith(f"{name} must be ")
    assert rejected(proxy, password=b"hunter2") == "password must be a string, not bytes"


TIME = 1_750_000_000.0


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, -1.0, TIME * 1000, 1e300, 10**400, None, "1", datetime(2026, 11, 29)],
    ids=str,
)
def test_a_clock_that_shows_no_time(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    """It is refused at the beginning; later the system's clock is used, for an error would leave pushes without an end."""
    with pytest.raises(ConfigurationError, match="now must be a function that returns UNIX seconds"):
        checked_clock(lambda: value)
    moments = iter([TIME, TIME + 1, value, value, TIME + 2])
    clock = checked_clock(lambda: next(moments))
    assert clock() == TIME + 1
    with caplog.at_level(logging.WARNING, "pushcore.arguments"):
        assert clock() == pytest.approx(time.time(), abs=60)
        assert clock() == pytest.approx(time.time(), abs=60)
    assert len(caplog.records) == 1
    assert clock() == TIME + 2
    assert clock() == pytest.approx(time.time(), abs=60)  # the function raises


def test_the_system_clock_is_read_without_a_detour() -> None:
    assert checked_clock(time.time) is time.time


def test_an_item_of_a_wrong_type_is_told_from_the_list() -> None:
    with pytest.raises(ConfigurationError, match=r"^each of topics must be a string, not int$"):
        ApnsKey(EC_KEY, key_id="ABC123DEFG", team_id="TEAM123456", topics=[5])  # type: ignore[list-item]
