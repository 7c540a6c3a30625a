"""Values that a program may pass by mistake, and that fail when they are looked at."""

from __future__ import annotations

from typing import Any


class Array:
    """As numpy's arrays: it has no truth, and comparisons return another one."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> Any:
        return self

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")


DEEP: Any = []
"""Nested more deeply than Python's recursion goes."""
for _ in range(3000):
    DEEP = [DEEP]
