"""An engine that starts at a time, and one whose event loop has ended, in virtual time."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from pushcore.engine.engine import PushEngine
from pushcore.errors import ConfigurationError, EventLoopError
from tests.support.scripted import ScriptedClient, pushes
from tests.support.virtual import VirtualLoop, run
from tests.unit.engine.test_engine import Answering


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"start_at": datetime(2999, 1, 1)}, "start_at must be a datetime with a time zone"),
        ({"start_at": "tomorrow"}, "start_at must be a datetime with a time zone"),
        ({"pending_timeout": 0}, "pending_timeout must be a number above 0"),
    ],
)
def test_a_start_and_a_timeout_that_cannot_be(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        PushEngine(ScriptedClient(), **options)


@pytest.mark.parametrize(("seconds", "least"), [(3600.0, 3590.0), (-60.0, 0.0)])
def test_nothing_is_sent_before_the_start(seconds: float, least: float) -> None:
    async def send() -> float:
        start = datetime.fromtimestamp(time.time() + seconds, UTC)
        async with PushEngine(Answering(), start_at=start) as engine:
            began = asyncio.get_running_loop().time()
            assert [result.ok async for result in engine.send_many(pushes(3))] == [True] * 3
            return asyncio.get_running_loop().time() - began

    waited = run(send())
    assert least <= waited <= max(seconds, 0.0) + 1.0


def test_the_time_of_the_start_is_the_same_in_every_zone() -> None:
    moment = datetime.now(UTC) + timedelta(hours=1)
    engines = [
        PushEngine(Answering(), start_at=moment.astimezone(timezone(timedelta(hours=offset))))
        for offset in (-8, 0, 9)
    ]

    async def starts() -> list[float]:
        found = []
        for engine in engines:
            async with engine:
                found.append(engine._rules.start)
        return found

    first, *others = run(starts())
    assert others == pytest.approx([first, first], abs=1.0)


def test_an_engine_whose_loop_has_ended_is_closed_on_another_and_opened_there() -> None:
    engine = PushEngine(Answering())
    first, second = VirtualLoop(), VirtualLoop()
    first.run_until_complete(engine.open())
    first.close()

    async def go_on() -> list[bool]:
        await engine.close()
        async with engine:
            return [result.ok async for result in engine.send_many(pushes(2))]

    assert second.run_until_complete(go_on()) == [True, True]
    second.close()


async def test_an_engine_is_not_closed_on_another_loop_while_its_own_runs() -> None:
    async def close() -> None:
        await engine.close()

    async with PushEngine(ScriptedClient()) as engine:
        with pytest.raises(EventLoopError, match="opened on another event loop: close it there"):
            await asyncio.to_thread(asyncio.run, close())


async def test_a_source_that_is_none_is_refused_at_once() -> None:
    async with PushEngine(ScriptedClient()) as engine:
        with pytest.raises(
            TypeError, match="source must be an iterable or async iterable of pushes, not int"
        ):
            engine.send_many(5)  # type: ignore[arg-type]
