"""A trace id is read as W3C Trace Context has it, and nothing else."""

from __future__ import annotations

import pytest

from pushcore.gateway.operations.access import trace_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", TRACE),
        (f"01-{TRACE}-00f067aa0ba902b7-01-more", TRACE),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", None),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE}", None),
        ("\n", None),
    ],
)
def test_the_trace_of_a_request(value: str, expected: str | None) -> None:
    assert trace_of(value.encode()) == expected
