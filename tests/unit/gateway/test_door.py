"""What is decompressed is bounded, by size and by ratio."""

from __future__ import annotations

import gzip
import os

import pytest

from pushcore.gateway.door import MOST_RATIO, inflate, json_of
from pushcore.gateway.problems import GatewayProblem

LIMIT = 8 * 1024 * 1024


def test_what_is_sound_comes_out() -> None:
    for content in (b"", b"{}", os.urandom(200_000), b'{"to": "abc"}' * 10_000):
        assert inflate(gzip.compress(content), LIMIT) == content


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 400),
        (b"no gzip", 400),
        (gzip.compress(b"abc", mtime=0)[:-1], 400),
        (gzip.compress(b"abc", mtime=0) + b"x", 400),
        (gzip.compress(b"x" * (LIMIT + 1), mtime=0), 413),
        (gzip.compress(b"x" * 2_000_000, mtime=0), 413),  # 1000 to 1
    ],
)
def test_what_is_not_sound_is_a_problem(data: bytes, status: int) -> None:
    with pytest.raises(GatewayProblem) as raised:
        inflate(data, LIMIT)
    assert raised.value.status == status


def test_a_small_body_may_have_any_ratio() -> None:
    content = b"x" * 900_000
    assert len(gzip.compress(content)) * MOST_RATIO < len(content)
    assert inflate(gzip.compress(content), LIMIT) == content


def test_a_body_that_is_no_json() -> None:
    assert json_of(b"[1]") == [1]
    with pytest.raises(GatewayProblem, match="no JSON"):
        json_of(b"[1")
