"""What is said of this machine's clock, by the date of a response."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from pushcore.auth.clock import TOLERANCE, clock_advice, read_date

NOW = 1_750_000_000.0


@pytest.mark.parametrize(
    ("lead", "words"),
    [
        (61, "1 min 1 s fast"),
        (-61, "1 min 1 s slow"),
        (3600, "1 h fast"),
        (-7260, "2 h 1 min slow"),
        (90_000, "1 d 1 h fast"),
        (86_400 * 400 + 59, "400 d 59 s fast"),
    ],
)
def test_the_difference_is_named(lead: float, words: str) -> None:
    date = formatdate(NOW, usegmt=True)
    assert clock_advice(date, NOW + lead) == f"set this machine's clock: it is {words}"


@pytest.mark.parametrize("lead", [0.0, TOLERANCE, -TOLERANCE, 1.9])
def test_nothing_while_both_clocks_agree(lead: float) -> None:
    assert clock_advice(formatdate(NOW, usegmt=True), NOW + lead) is None


@pytest.mark.parametrize(
    "date", [None, "", "yesterday", "Sun, 99 Jun 2025", "x" * 100_000, "\0", "1750000000"]
)
def test_nothing_without_a_valid_date(date: str | None) -> None:
    assert clock_advice(date, NOW) is None


@pytest.mark.parametrize(
    "date",
    [
        " Sun, 15 Jun 2025 15:06:40 GMT ",
        "Sun, 15 Jun 2025 15:06:40 -0000",
        "Sunday, 15-Jun-25 15:06:40 GMT",  # RFC 850, obsolete
        "Sun Jun 15 15:06:40 2025",  # asctime
    ],
)
def test_dates_are_read_in_all_forms_of_http(date: str) -> None:
    assert read_date(date.strip()) == NOW
    assert clock_advice(date, NOW + 3600) is not None
