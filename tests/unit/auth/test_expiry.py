"""What is said about credentials that end."""

from __future__ import annotations

import pytest

from pushcore.auth.expiry import DAY, expiry_text, expiry_warning

NOW = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (-1.0, "expired since 2027-01-15"),
        (3600.0 + 90, "until 2027-01-15 09:01 UTC (1 h 01 min)"),
        (12 * DAY, "until 2027-01-27 (12 days)"),
    ],
)
def test_text(left: float, expected: str) -> None:
    assert expiry_text(NOW + left, NOW) == expected


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (30 * DAY, None),
        (30 * DAY - 1, "the certificate is valid until 2027-02-14 (29 days): renew it"),
        (-DAY, "the certificate has expired on 2027-01-14: renew it"),
    ],
)
def test_a_warning_from_thirty_days_on(left: float, expected: str | None) -> None:
    assert expiry_warning("the certificate", NOW + left, NOW) == expected
