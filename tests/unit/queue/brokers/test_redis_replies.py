"""Replies and errors of Redis, whichever way the client gives them."""

from __future__ import annotations

from typing import Any

import pytest
from redis import exceptions

from pushcore.queue.brokers.redis_replies import REVISION, code, entries, named, note, text
from pushcore.queue.errors import QueueError, QueueFull, QueueReadOnly, QueueRefused, QueueUnavailable
from pushcore.queue.protocol import NOTHING, StoredValue


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (exceptions.ResponseError("OOM command not allowed"), QueueFull),
        (exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), QueueFull),
        (exceptions.ResponseError("command not allowed when used memory > 'maxmemory'."), QueueFull),
        (exceptions.ResponseError("MISCONF Redis is configured to save RDB snapshots"), QueueFull),
        (exceptions.ReadOnlyError("You can't write against a read only replica."), QueueReadOnly),
        (exceptions.ResponseError("READONLY You can't write"), QueueReadOnly),
        (exceptions.NoPermissionError("this user has no permissions"), QueueRefused),
        (exceptions.ResponseError("WRONGPASS invalid username-password pair"), QueueRefused),
        (exceptions.ResponseError("NOAUTH Authentication required."), QueueRefused),
        (exceptions.ResponseError("LOADING Redis is loading the dataset"), QueueUnavailable),
        (exceptions.ResponseError("NOREPLICAS Not enough good replicas"), QueueUnavailable),
        (exceptions.ResponseError("ERR unknown command 'XAUTOCLAIM', with args"), QueueRefused),
        (exceptions.ResponseError("ERR secret-token is no stream"), QueueError),
    ],
)
def test_an_error_is_one_of_ours_and_quotes_no_command(error: Exception, kind: type[QueueError]) -> None:
    found = named(error, "Redis at h:1")
    assert type(found) is kind
    assert str(found).startswith("Redis at h:1 ")
    assert "secret" not in str(found)


def test_the_code_is_found_behind_what_a_pipeline_says() -> None:
    error = exceptions.ResponseError("Command # 2 (XADD s * d x) of pipeline caused error: OOM command not")
    assert code(error) == "OOM"
    assert code(exceptions.ResponseError("ERR wrong")) == ""
    assert code(ValueError("nothing of Redis")) == ""


ENTRY: Any = (b"1-0", {b"d": b"x"})


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        (None, []),
        ([], []),
        ({}, []),
        ([[b"s", []]], []),
        ([[b"s", [ENTRY]]], [ENTRY]),
        ([[b"s", [ENTRY, (b"2-0", None)]]], [ENTRY, (b"2-0", {})]),
        ({b"s": [[ENTRY, ENTRY]]}, [ENTRY, ENTRY]),
        ({b"s": [[(b"2-0", None)]]}, [(b"2-0", {})]),
        ({b"s": [[]]}, []),
    ],
)
def test_entries_of_a_stream_in_both_protocols(reply: Any, found: list[Any]) -> None:
    assert list(entries(reply)) == found


def test_ids_and_values() -> None:
    assert (text(b"1-0"), text("1-0"), text(7)) == ("1-0", "1-0", "7")
    assert note(None) is NOTHING
    assert note((258).to_bytes(REVISION, "big") + b"value") == StoredValue(b"value", 258)
