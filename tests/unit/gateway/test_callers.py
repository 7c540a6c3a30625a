"""Callers: found by token, limited in requests and in pushes."""

from __future__ import annotations

import pytest

from pushcore.gateway.callers import Caller, Callers, digest_of, new_token
from pushcore.gateway.config import CallerSection
from pushcore.gateway.problems import GatewayProblem


def section(name: str, *tokens: str, **options: object) -> CallerSection:
    return CallerSection(name=name, tokens=tuple(map(digest_of, tokens)), **options)  # type: ignore[arg-type]


def test_a_caller_is_found_by_any_of_its_tokens() -> None:
    first, second, third = new_token(), new_token(), new_token()
    callers = Callers([section("a", first, second), section("b", third)])
    assert callers.find(f"Bearer {second}".encode()).name == "a"
    assert callers.find(f"bearer  {third} ".encode()).name == "b"


@pytest.mark.parametrize(
    "header", [None, b"", b"Bearer", b"Bearer ", b"Basic abc", b"Bearer abc", b"Bearer " + b"x" * 300]
)
def test_a_request_without_a_valid_token_is_unauthorized(header: bytes | None) -> None:
    with pytest.raises(GatewayProblem) as raised:
        Callers([section("a", new_token())]).find(header)
    assert raised.value.status == 401
    assert raised.value.headers()["www-authenticate"].startswith("Bearer")


def test_all_requests_have_one_caller_if_none_is_configured() -> None:
    callers = Callers([])
    assert callers.find(None) is callers.find(b"Bearer x")


def test_a_reload_keeps_what_a_caller_has_in_progress_and_takes_its_new_limits() -> None:
    token = new_token()
    before = Callers([section("a", token)])
    before.find(f"Bearer {token}".encode()).enter()
    other = new_token()
    after = Callers([section("a", other, concurrent=1)], before)
    caller = after.find(f"Bearer {other}".encode())
    with pytest.raises(GatewayProblem, match="1 requests in progress"):
        caller.enter()
    with pytest.raises(GatewayProblem):
        after.find(f"Bearer {token}".encode())


def test_the_rate_is_a_seconds_worth_at_once_and_then_by_time() -> None:
    now = [0.0]
    caller = Caller("a", rate=10, clock=lambda: now[0])
    caller.spend(10)
    with pytest.raises(GatewayProblem) as raised:
        caller.spend(1)
    assert raised.value.status == 429
    assert raised.value.headers() == {"retry-after": "1"}
    now[0] = 0.2
    caller.spend(2)
    assert caller.wait_for(1) == pytest.approx(0.1)


def test_a_batch_above_a_seconds_worth_is_permitted_and_owed() -> None:
    now = [0.0]
    caller = Caller("a", rate=10, clock=lambda: now[0])
    caller.spend(30)
    now[0] = 2.0
    assert caller.wait_for(1) == pytest.approx(0.1)
    now[0] = 2.2
    caller.spend(1)


def test_the_first_push_of_a_slow_caller_does_not_wait() -> None:
    now = 0.0
    caller = Caller("slow", rate=0.01, clock=lambda: now)
    assert [caller.wait_for(1), caller.wait_for(1)] == [0.0, 100.0]
    now = 99.0
    assert caller.wait_for(1) == pytest.approx(1.0)
    now = 100.0
    assert [caller.wait_for(1), caller.wait_for(1)] == [0.0, 100.0]
