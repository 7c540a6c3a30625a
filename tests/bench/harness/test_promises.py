"""Which promises the rows of a measurement keep."""

from __future__ import annotations

from typing import Any

from bench.harness.promises import judge


def throughput(**changed: Any) -> list[dict[str, Any]]:
    row: dict[str, Any] = {"provider": "apns", "target": "c", "cpu_ratio": 1.0, "rate_ratio": 1.0}
    row |= {"server_bound": False}
    return [row | {"case": "h2load"}, row | {"case": "engine"} | changed]


def said(measurement: str, rows: list[dict[str, Any]]) -> list[tuple[Any, str, str]]:
    return [(row["measured"], row["bound"], row["holds"]) for row in judge(measurement, rows)]


def test_cpu_and_rate_are_judged_by_their_ratios_to_h2load() -> None:
    assert said("throughput", throughput(cpu_ratio=0.84, rate_ratio=0.7)) == [
        (0.84, "at least 0.85", "NO"),
        (0.7, "at least 0.7", "yes"),
    ]


def test_fcm_has_bounds_of_its_own() -> None:
    rows = [row | {"provider": "fcm"} for row in throughput(cpu_ratio=0.54, rate_ratio=0.5)]
    assert said("throughput", rows) == [(0.54, "at least 0.55", "NO"), (0.5, "at least 0.5", "yes")]


def test_a_rate_is_not_judged_where_the_server_was_the_bound() -> None:
    rows = [row | {"server_bound": True} for row in throughput(cpu_ratio=2.0)]
    assert said("throughput", rows)[1] == (None, "at least 0.7", "cannot be told: the server was the bound")


def test_there_is_no_promise_about_nghttpd() -> None:
    assert judge("throughput", [row | {"target": "nghttpd"} for row in throughput()]) == []
    assert judge("startup", [{"what": "import pushcore", "provider": None, "ms": 1.0}]) == []


def test_each_rival_has_its_bound_and_an_absent_one_is_said() -> None:
    row: dict[str, Any] = {"provider": "apns", "language": "Python"}
    rows = [
        row | {"rival": "pushcore engine", "ours": True, "times": 1.0},
        row | {"rival": "h2load", "ours": False, "times": 0.5},
        row | {"rival": "aioapns", "ours": False, "times": 59.0},
        row | {"rival": "a2", "ours": False, "times": 1.1},
        row | {"rival": "gone", "absent": "no such package"},
    ]
    assert said("rivals", rows) == [
        (59.0, "at least 60", "NO"),
        (1.1, "at least 1", "yes"),
        (None, "at least 1", "absent: no such package"),
    ]


def test_p99_is_judged_at_half_load_only() -> None:
    row: dict[str, Any] = {"case": "engine", "provider": "fcm", "delay_ms": 20.0, "p99": 35.1}
    rows = [row | {"p99_limit": None}, row | {"p99_limit": 35.0}, row | {"p99": None, "p99_limit": 35.0}]
    assert said("latency", rows) == [
        (35.1, "at most 35", "NO"),
        (None, "at most 35", "cannot be told: too few pushes"),
    ]


def test_over_a_distance_the_worst_path_counts_and_the_lower_of_both_bounds() -> None:
    row: dict[str, Any] = {"case": "engine", "provider": "apns", "rtt_ms": 20.0, "core_bound": False}
    good = row | {"connections": 1, "of_ideal": 0.45, "of_h2load": 0.95}
    worse = row | {"connections": 2, "of_ideal": 0.81, "of_h2load": 0.7}
    busy = row | {"connections": 16, "of_ideal": 0.1, "of_h2load": 0.5, "core_bound": True}
    assert said("wan", [good, busy]) == [(1.0, "at least 1", "yes")]
    (found,) = judge("wan", [good, worse, busy])
    assert (found["measured"], found["holds"]) == (0.9, "NO")
    assert "20 ms, 2 connections, the worst of 3" in found["what"]
    assert said("wan", [busy])[0][0] is None


def test_half_refused_costs_at_most_twice_the_cpu() -> None:
    row: dict[str, Any] = {"case": "send", "provider": "apns", "refused": 0.5}
    assert said("errors", [row | {"of_none": 2.01}, row | {"refused": 0.1, "of_none": 9.0}]) == [
        (2.01, "at most 2", "NO")
    ]


def test_a_bad_day_is_judged_by_deliveries_and_by_unknown_results_beyond_the_cuts() -> None:
    row: dict[str, Any] = {"provider": "apns", "day": "hundred", "offered": 20_000, "delivered": 0.94}
    row |= {"unsent": 0, "unknown": 5, "cut": 3, "client_use": 0.5, "server_use": 0.5}
    assert said("badday", [row]) == [
        (0.94, "at least 0.95", "NO"),
        (0, "at most 0", "yes"),
        (2, "at most 0", "NO"),
    ]
    (delivered, *_) = said("badday", [row | {"server_use": 0.97}])
    assert delivered == (None, "at least 0.95", "cannot be told: a core was full (server)")
    (delivered, *_) = said("badday", [row | {"server_use": 0.97, "delivered": 0.96}])
    assert delivered == (0.96, "at least 0.95", "yes")


def test_a_burst_is_judged_by_its_first_and_last_result_and_by_how_far_two_processes_are_apart() -> None:
    row: dict[str, Any] = {"provider": "apns", "rows": 1_000_000}
    one = row | {"part": "one", "first_ms": 21.0, "last_s": 5.0, "alone_s": 4.5, "ratio": 1.11}
    two = row | {"part": "two", "rows": 4000, "first_ms": 3.0, "gap_ms": 12.0}
    far = {"provider": "apns", "part": "far", "rtt_ms": 100.0, "connections": 8, "seconds": 2.1}
    assert said("burst", [one, two, far]) == [
        (21.0, "at most 20", "NO"),
        (1.11, "at most 1.2", "yes"),
        (12.0, "at most 50", "yes"),
        (2.1, "at most 2", "NO"),
    ]
