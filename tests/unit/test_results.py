"""Results go where their caller takes them: copied, and pickled to another process."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pushcore import ApnsClient, ApnsKey, Notification, Result, Verdict
from pushcore.http2.exchange import NO_FIELDS, request
from pushcore.http2.headers import HeaderTemplate

ID = "eabeae54-14a8-11e5-b60b-1697f925ec7b"
COPIES: list[Callable[[Any], Any]] = [
    copy.copy,
    copy.deepcopy,
    lambda result: pickle.loads(pickle.dumps(result)),
]


def accepted() -> Result:
    key = ApnsKey(ec.generate_private_key(ec.SECP256R1()), key_id="ABC123DEFG", team_id="TEAM123456")
    exchange = request(HeaderTemplate(()), b"", b"", NO_FIELDS, print, Notification("ab", {}))
    exchange.status, exchange.attempts = 200, 2
    exchange.block = b"\x88\x00\x07apns-id\x24" + ID.encode()
    results: list[Result] = []
    assert ApnsClient(key, topic="com.example.app").accept([exchange], results) == []
    return results[0]


@pytest.mark.parametrize("copied", COPIES)
def test_an_accepted_one_can_be_copied(copied: Callable[[Any], Any]) -> None:
    result = copied(accepted())
    assert (result.ok, result.verdict, result.status, result.attempts) == (True, Verdict.ACCEPTED, 200, 2)
    assert result.push == Notification("ab", {})
    assert result.id == ID
    assert repr(result) == "<Result ACCEPTED 200>"


@pytest.mark.parametrize("copied", COPIES)
def test_and_any_other(copied: Callable[[Any], Any]) -> None:
    push = Notification("ab", {})
    result = copied(Result(push, Verdict.UNREGISTERED, 410, 1, reason="Unregistered", timestamp=7.0))
    assert (result.drop_token, result.reason, result.timestamp) == (True, "Unregistered", 7.0)
    assert result.push == push
