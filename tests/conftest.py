"""Runs `async def` tests, each on a fresh event loop, and fails one that leaves a task behind. Sorts tests into tiers."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import signal
import warnings
from typing import Any

import pytest
import uvloop

from tests import tiers

DEADLINE = 100.0
"""Seconds after which an asynchronous test is cancelled; a marker `deadline(seconds)` changes it."""


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So a shell starts what runs in its background; the commands under test would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # so does nohup
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    for name in list(os.environ):  # what this machine's proxies are is nothing to the fakes
        if name.upper() in ("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
            del os.environ[name]
    for mark in tiers.MARKS:
        config.addinivalue_line("markers", mark)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """For `-n auto`: one more than there are cores, for a quarter of the time of all tests is waiting."""
    return (os.cpu_count() or 1) + 1 if config.option.numprocesses == "auto" else None


def pytest_collection_finish() -> None:
    # Many tests collect garbage at their end, to hear of what nobody closed. What was there before them is no part of
    # that, and ten thousand collected tests are a tenth of a second each time.
    gc.collect()
    gc.freeze()


def pytest_itemcollected(item: pytest.Item) -> None:
    tiers.sort(item)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tiers.keep_groups(items)


async def _watched(function: Any, arguments: dict[str, Any], deadline: float) -> None:
    async with asyncio.timeout(deadline):
        await function(**arguments)
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not left, f"tasks left running: {left}"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    marker = pyfuncitem.get_closest_marker("deadline")
    factory = uvloop.new_event_loop if pyfuncitem.get_closest_marker("uvloop") else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_watched(pyfuncitem.obj, arguments, marker.args[0] if marker else DEADLINE))
    if pyfuncitem.get_closest_marker("leaves_sockets"):
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):
            gc.collect()  # else a later test of this worker is told of them
    return True
