"""The access token in force, by clocks that are moved by hand: nothing here waits for time to pass."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from pushcore.auth.access_token import (
    COOL_DOWN,
    EARLY,
    FIRST_PAUSE,
    LONGEST_LIFE,
    LONGEST_PAUSE,
    LONGEST_WAIT,
    MARGIN,
    AccessToken,
    AccessTokens,
)
from pushcore.errors import AccessTokenError

START = 1_750_000_000.0


class Issuer:
    """Responds when the test calls `respond` or `fail`, and counts the requests."""

    def __init__(self) -> None:
        self.requests = 0
        self.open: list[asyncio.Future[AccessToken]] = []

    async def __call__(self) -> AccessToken:
        self.requests += 1
        future: asyncio.Future[AccessToken] = asyncio.get_running_loop().create_future()
        self.open.append(future)
        return await future

    async def respond(self, token: str, expires_in: float = 3599) -> None:
        self.open.pop().set_result(AccessToken(token, expires_in))
        await turns()

    async def fail(self, error: Exception) -> None:
        self.open.pop().set_exception(error)
        await turns()


class Bench:
    """`AccessTokens` with everything that it is given."""

    def __init__(self) -> None:
        self.wall = START
        self.clock = 0.0
        self.changes = 0
        self.issuer = Issuer()
        self.tokens = AccessTokens(
            self.issuer,
            self._changed,
            now=lambda: self.wall,
            clock=lambda: self.clock,
            rng=random.Random(1),
        )

    def _changed(self) -> None:
        self.changes += 1

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.clock += seconds

    async def started(self, expires_in: float = 3599) -> Bench:
        """With the token "one" in force."""
        assert self.tokens.current() is None
        await turns()
        await self.issuer.respond("one", expires_in)
        assert self.tokens.current() == b"Bearer one"
        return self


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_request_for_all_waiting_pushes() -> None:
    bench = Bench()
    for _ in range(1000):
        assert bench.tokens.current() is None
    await turns()
    assert bench.issuer.requests == 1
    assert bench.tokens.missing
    assert not bench.tokens.hopeless
    await bench.issuer.respond("one")
    assert bench.changes == 1
    assert bench.tokens.current() == b"Bearer one"
    assert not bench.tokens.missing
    assert (bench.issuer.requests, bench.tokens.minted) == (1, 1)


async def test_no_request_without_demand() -> None:
    bench = await Bench().started()
    bench.pass_time(100_000)
    await turns()
    assert bench.issuer.requests == 1


async def test_the_old_token_serves_while_the_new_one_is_fetched() -> None:
    bench = await Bench().started(3599)
    bench.pass_time(3599 - 2 * EARLY - 1)
    assert bench.tokens.current() == b"Bearer one"
    await turns()
    assert bench.issuer.requests == 1
    bench.pass_time(EARLY + 1)
    for _ in range(100):
        assert bench.tokens.current() == b"Bearer one"
    await turns()
    assert bench.issuer.requests == 2
    assert bench.tokens.current() == b"Bearer one"
    await bench.issuer.respond("two")
    assert bench.tokens.current() == b"Bearer two"


async def test_a_token_is_not_used_to_its_last_second() -> None:
    bench = await Bench().started(3599)
    bench.pass_time(3599 - MARGIN - 0.5)
    assert bench.tokens.current() == b"Bearer one"
    bench.pass_time(0.5)
    assert bench.tokens.current() is None
    assert bench.tokens.missing
    await bench.tokens.close()


@pytest.mark.parametrize("expires_in", [0.5, 8, 60, 600, 43_200])
async def test_expires_in_is_obeyed_however_short(expires_in: float) -> None:
    bench = await Bench().started(expires_in)
    bench.pass_time(expires_in * 0.49)
    assert bench.tokens.current() == b"Bearer one"
    await turns()
    assert bench.issuer.requests == 1
    bench.pass_time(expires_in * 0.51)
    assert bench.tokens.current() is None
    await turns()
    assert bench.issuer.requests == 2
    await bench.tokens.close()


async def test_processes_renew_at_moments_of_their_own() -> None:
    moments = set()
    for seed in range(20):
        bench = Bench()
        bench.tokens._rng = random.Random(seed)
        await bench.started(3599)
        moments.add(bench.tokens._renew_at)
        assert EARLY <= START + 3599 - bench.tokens._renew_at <= 2 * EARLY
    assert len(moments) == 20


# --- failures -----------------------------------------------------------------------------------------------------


async def test_temporary_failures_back_off() -> None:
    bench = Bench()
    pauses = []
    for _ in range(12):
        begin = bench.clock
        while True:
            assert bench.tokens.current() is None
            await turns()
            if bench.issuer.open:
                break
            bench.pass_time(0.05)
        pauses.append(bench.clock - begin)
        await bench.issuer.fail(AccessTokenError("503"))
        assert not bench.tokens.hopeless
        assert str(bench.tokens.error) == "503"
    assert pauses[0] == 0
    assert FIRST_PAUSE / 2 <= pauses[1] <= FIRST_PAUSE + 0.1
    assert all(LONGEST_PAUSE / 2 <= pause <= LONGEST_PAUSE + 0.1 for pause in pauses[-3:])
    assert len(set(pauses[-3:])) == 3  # jitter
    assert bench.issuer.requests == 12


async def test_a_success_resets_the_backoff() -> None:
    bench = Bench()
    for _ in range(6):
        bench.pass_time(LONGEST_PAUSE)
        bench.tokens.current()
        await turns()
        await bench.issuer.fail(AccessTokenError("503"))
    bench.pass_time(LONGEST_PAUSE)
    await bench.started()
    assert bench.tokens.error is None
    bench.pass_time(3599)
    bench.tokens.current()
    await turns()
    await bench.issuer.fail(AccessTokenError("503"))
    bench.pass_time(FIRST_PAUSE)
    bench.tokens.current()
    await turns()
    assert len(bench.issuer.open) == 1
    await bench.tokens.close()


@pytest.mark.parametrize(("requested", "obeyed"), [(120.0, 120.0), (1e9, LONGEST_WAIT)])
async def test_retry_after_is_obeyed(requested: float, obeyed: float) -> None:
    bench = Bench()
    bench.tokens.current()
    await turns()
    await bench.issuer.fail(AccessTokenError("429", retry_after=requested))
    bench.pass_time(obeyed - 1)
    bench.tokens.current()
    await turns()
    assert bench.issuer.requests == 1
    bench.pass_time(1)
    bench.tokens.current()
    await turns()
    assert bench.issuer.requests == 2
    await bench.tokens.close()


async def test_a_failed_renewal_does_not_touch_the_old_token() -> None:
    bench = await Bench().started(3599)
    bench.pass_time(3599 - EARLY)
    assert bench.tokens.current() == b"Bearer one"
    await turns()
    await bench.issuer.fail(AccessTokenError("invalid_grant", permanent=True))
    assert bench.tokens.current() == b"Bearer one"
    assert not bench.tokens.hopeless
    bench.pass_time(EARLY)
    assert bench.tokens.missing


async def test_a_permanent_failure_is_hopeless_until_it_has_cooled_down() -> None:
    bench = Bench()
    bench.tokens.current()
    await turns()
    await bench.issuer.fail(AccessTokenError("invalid_grant", permanent=True, reason="invalid_grant"))
    assert bench.changes == 1
    for _ in range(59):
        assert bench.tokens.current() is None
        assert bench.tokens.hopeless
        await turns()
        bench.pass_time(COOL_DOWN / 60)
    assert bench.issuer.requests == 1
    bench.pass_time(COOL_DOWN / 60)
    assert bench.tokens.current() is None
    assert not bench.tokens.hopeless  # it is being asked about again
    await turns()
    await bench.issuer.respond("one")
    assert bench.tokens.current() == b"Bearer one"


@pytest.mark.parametrize("step", [-7200.0, 7200.0])
async def test_after_a_rejection_a_change_of_the_clock_triggers_a_request_at_once(step: float) -> None:
    bench = Bench()
    bench.tokens.current()
    await turns()
    await bench.issuer.fail(AccessTokenError("invalid_grant", permanent=True, reason="invalid_grant"))
    bench.pass_time(1.0)
    assert bench.tokens.current() is None
    assert bench.tokens.hopeless
    bench.wall += step
    assert bench.tokens.current() is None
    assert not bench.tokens.hopeless
    await turns()
    await bench.issuer.respond("one")
    assert bench.tokens.current() == b"Bearer one"


async def test_a_change_of_the_clock_during_a_request_counts_too() -> None:
    bench = Bench()
    bench.tokens.current()
    await turns()
    bench.wall -= 7200.0  # the assertion is of the old time
    await bench.issuer.fail(AccessTokenError("invalid_grant", permanent=True))
    assert bench.tokens.current() is None
    await turns()
    assert bench.issuer.requests == 2
    await bench.issuer.fail(AccessTokenError("invalid_grant", permanent=True))
    assert bench.tokens.current() is None
    assert bench.tokens.hopeless  # it was not the clock
    assert bench.issuer.requests == 2


async def test_a_change_of_the_clock_ends_no_retry_after_and_nothing_after_close() -> None:
    bench = Bench()
    bench.tokens.current()
    await turns()
    await bench.issuer.fail(AccessTokenError("429", retry_after=30.0))
    bench.wall -= 7200.0
    bench.tokens.current()
    await turns()
    assert bench.issuer.requests == 1
    bench.pass_time(30.0)
    bench.tokens.current()
    await turns()
    await bench.issuer.fail(AccessTokenError("invalid_grant", permanent=True))
    await bench.tokens.close()
    bench.wall += 7200.0
    assert bench.tokens.current() is None
    await turns()
    assert bench.issuer.requests == 2


async def test_a_token_from_before_the_clock_was_set_back_is_replaced_while_it_serves() -> None:
    """Its end is known by the old time alone."""
    bench = await Bench().started()
    bench.wall -= 7200.0
    assert bench.tokens.current() == b"Bearer one"
    await turns()
    assert bench.issuer.requests == 2
    await bench.issuer.respond("two")
    assert bench.tokens.current() == b"Bearer two"
    bench.pass_time(100.0)
    assert bench.tokens.current() == b"Bearer two"
    assert bench.issuer.requests == 2


async def test_an_unexpected_error_ends_the_wait(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.tokens.current()
    await turns()
    await bench.issuer.fail(KeyError("secret"))
    assert bench.changes == 1
    assert "KeyError" in str(bench.tokens.error)
    assert "unexpectedly" in caplog.text
    bench.pass_time(FIRST_PAUSE)
    await bench.started()


# --- tokens that are refused ----------------------------------------------------------------------------------------


async def test_a_refused_token_is_replaced_once() -> None:
    bench = await Bench().started()
    for _ in range(100):  # as many answers say so
        assert bench.tokens.invalidate()
    assert bench.tokens.current() is None
    await turns()
    assert bench.issuer.requests == 2
    await bench.issuer.respond("two")
    assert bench.tokens.current() == b"Bearer two"
    assert not bench.tokens.invalidate()  # it is not the token's fault
    assert bench.tokens.current() == b"Bearer two"
    bench.pass_time(COOL_DOWN)
    assert bench.tokens.invalidate()
    await turns()
    assert bench.issuer.requests == 3
    await bench.tokens.close()


async def test_a_refused_token_is_not_used_while_its_successor_is_late() -> None:
    bench = await Bench().started()
    assert bench.tokens.invalidate()
    await turns()
    await bench.issuer.fail(AccessTokenError("503"))
    assert bench.tokens.current() is None
    assert not bench.tokens.hopeless
    assert bench.tokens.invalidate()


# --- the end --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", [0, 1, 2])
async def test_closed_during_a_request(wait: int) -> None:
    bench = Bench()
    bench.tokens.current()
    for _ in range(wait):
        await asyncio.sleep(0)
    await bench.tokens.close()
    assert all(future.cancelled() for future in bench.issuer.open)
    assert bench.changes == 0
    assert bench.tokens.current() is None
    await turns()
    assert bench.issuer.requests == len(bench.issuer.open)


@pytest.mark.parametrize(
    ("token", "expires_in"),
    [
        (None, 3600),
        ("", 3600),
        ("two words", 3600),
        ("line\nbreak", 3600),
        ("é", 3600),
        ("x" * 8193, 3600),
        (7, 3600),
        ("t", None),
        ("t", "3600"),
        ("t", 0),
        ("t", -1),
        ("t", True),
        ("t", float("nan")),
    ],
)
def test_invalid_tokens_are_refused(token: Any, expires_in: Any) -> None:
    with pytest.raises(AccessTokenError) as caught:
        AccessToken(token, expires_in)
    assert not caught.value.permanent
    assert caught.value.unprocessed


def test_a_token_lives_no_longer_than_a_day() -> None:
    assert AccessToken("t", 10**12).expires_in == LONGEST_LIFE
    assert AccessToken("t", float("inf")).expires_in == LONGEST_LIFE


@pytest.mark.parametrize("show", [repr, str])
def test_secrets_are_not_shown(show: Callable[[object], str]) -> None:
    assert "ya29" not in show(AccessToken("ya29.secret", 3600))
    bench = Bench()
    bench.tokens._adopt(AccessToken("ya29.secret", 3600))
    assert "ya29" not in show(bench.tokens)


async def test_another_issuer_is_asked_at_once_and_the_old_token_serves() -> None:
    bench = await Bench().started()
    bench.tokens.renew()
    await turns()
    assert bench.issuer.requests == 2
    assert bench.tokens.current() == b"Bearer one"
    await bench.issuer.respond("two")
    assert bench.tokens.current() == b"Bearer two"
    assert bench.tokens.expires == pytest.approx(bench.wall + 3599, abs=60)


async def test_a_token_of_the_previous_issuer_is_ignored() -> None:
    bench = await Bench().started()
    bench.tokens.renew()
    await turns()
    bench.tokens.renew()  # once more, while the first is asked
    await bench.issuer.respond("first")
    assert (bench.issuer.requests, bench.tokens.current()) == (3, b"Bearer one")
    await bench.issuer.respond("second")
    assert (bench.issuer.requests, bench.tokens.current()) == (3, b"Bearer second")


async def test_another_issuer_ends_the_pause_after_a_rejection() -> None:
    bench = Bench()
    assert bench.tokens.current() is None
    await turns()
    await bench.issuer.fail(AccessTokenError("rejected", permanent=True))
    assert bench.tokens.hopeless
    bench.tokens.renew()
    assert not bench.tokens.hopeless
    await turns()
    await bench.issuer.respond("two")
    assert bench.tokens.current() == b"Bearer two"
