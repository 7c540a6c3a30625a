"""What the figures were measured on and with."""

from __future__ import annotations

from typing import Any

import pytest

from bench.harness.stage import interpreter_build


@pytest.mark.parametrize(
    ("configured", "build"),
    [
        ({"CONFIG_ARGS": "'--enable-optimizations' '--with-lto'"}, "PGO, LTO"),
        ({"CONFIG_ARGS": "'--prefix=/usr'", "PY_CORE_CFLAGS": "-O3 -fprofile-use -flto"}, "PGO, LTO"),
        ({"CONFIG_ARGS": "'--enable-shared'"}, "no PGO, no LTO"),
        ({"PGO_PROF_USE_FLAG": ""}, "a distribution's build, PGO and LTO unknown"),
        ({"CONFIG_ARGS": "'--enable-optimizations'", "PGO_PROF_USE_FLAG": ""}, "PGO, no LTO"),
        ({"CONFIG_ARGS": None, "Py_GIL_DISABLED": 1}, "no PGO, no LTO, free-threaded"),
        ({"CONFIG_ARGS": "'--enable-optimizations'", "Py_DEBUG": 1}, "PGO, no LTO, debug"),
    ],
)
def test_how_an_interpreter_was_built(configured: dict[str, Any], build: str) -> None:
    assert interpreter_build(configured) == build


def test_this_interpreter_is_told_apart() -> None:
    assert "PGO" in interpreter_build()
