"""A warning is logged once, and only so many different ones of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pushcore.models import warned


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    warned.forget()
    yield
    warned.forget()


def test_each_warning_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    for text in ("a", "b", "a"):
        warned.warn_once(text)
    assert caplog.record_tuples == [("pushcore.models", 30, "a"), ("pushcore.models", 30, "b")]


def test_the_number_of_warnings_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    for number in range(1000):
        warned.warn_once(str(number))
    assert len(caplog.messages) == warned.MAX_WARNINGS
