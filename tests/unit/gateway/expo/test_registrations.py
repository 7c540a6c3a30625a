"""Requests for tokens are counted by network and by app. What they must hold: tests/e2e/gateway/test_expo.py."""

from __future__ import annotations

import pytest

from pushcore.gateway.expo.registrations import TokenBucket, network_of


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_has_its_burst_at_once_and_then_its_rate() -> None:
    clock = Clock()
    bucket = TokenBucket(2.0, 3.0, 10, clock)
    assert [bucket.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert bucket.take("b") == 0, "each key has its own"
    clock.now += 0.4
    assert bucket.take("a") == pytest.approx(0.1), "what was refused is not counted"
    clock.now += 0.2
    assert bucket.take("a") == 0
    clock.now += 1000
    assert [bucket.take("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_a_bucket_forgets_the_key_that_was_silent_longest() -> None:
    bucket = TokenBucket(1.0, 1.0, 2, Clock())
    assert [bucket.take(key) for key in "ab"] == [0, 0]
    assert bucket.take("a") == 1, "seen again"
    assert bucket.take("c") == 0
    assert bucket.take("b") == 0, "forgotten, and so full again"
    assert bucket.take("b") == 1


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("", ""),
        ("x" * 60_000, "x" * 64),
    ],
)
def test_a_network_is_an_address_of_ipv4_or_a_64_of_ipv6(host: str, network: str) -> None:
    assert network_of(host) == network
