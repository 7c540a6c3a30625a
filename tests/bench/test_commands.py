"""Each command once, with a handful of notifications: that it runs, and that its rows have their fields.

No figure is looked at: they are meaningless at this size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from bench.__main__ import main
from bench.client import errors
from bench.harness import look, stage
from bench.servers import constant
from bench.servers.fakes import FORMS
from fakeservers import FakeApns
from tests.fakeservers.client import Client, headers_for, provider_token

pytestmark = [
    pytest.mark.ci,  # with h2load and a compiler they measure what they are for; without, what is left of it
    pytest.mark.xdist_group("cores"),  # they pin processes to cores and build the C target
]

needs_h2load = pytest.mark.needs("h2load")
needs_nghttpd = pytest.mark.needs("nghttpd")


def rows_of(tmp_path: Path, *arguments: str) -> list[dict[str, Any]]:
    """What a command wrote with --json."""
    file = tmp_path / "rows.json"
    result = CliRunner().invoke(main, [*arguments, "--json", str(file)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert f"Python {stage.interpreter()}" in result.output
    machine, rows = look.read(file)
    assert {"cpu", "cores", "system", "python", "openssl", "commit", "h2load"} <= machine.keys()
    assert all(row["measurement"] == arguments[0] for row in rows)
    return rows


@needs_h2load
@pytest.mark.parametrize("provider", ["apns", "fcm"])
def test_throughput(provider: str, tmp_path: Path) -> None:
    options = ("--count", "300", "--runs", "1", "--target", "bare", "--provider", provider)
    rows = rows_of(tmp_path, "throughput", *options)
    assert [(row["case"], row["target"]) for row in rows] == [
        (case, "bare") for case in ("h2load", "frames", "engine", "send")
    ]
    for row in rows:
        assert row["rate"] > 0
        assert row.keys() >= {"cpu_us", "rate_ratio", "cpu_ratio", "server_use", "server_bound"}


@needs_h2load
@needs_nghttpd
def test_throughput_on_nghttpd(tmp_path: Path) -> None:
    options = ("--count", "300", "--runs", "1", "--target", "nghttpd", "--case", "frames")
    assert [row["case"] for row in rows_of(tmp_path, "throughput", *options)] == ["h2load", "frames"]


def test_latency(tmp_path: Path) -> None:
    options = ("--seconds", "0.1", "--load", "10", "--case", "engine", "--case", "send", "--delay-ms", "2")
    rows = [
        row for row in rows_of(tmp_path, "latency", *options, "--target", "bare") if row["case"] != "h2load"
    ]
    assert [row["case"] for row in rows] == ["engine", "send"]
    for row in rows:
        assert row["offered"] > 0
        assert row["p50"] >= 1.0  # the server's own time
        assert row["max"] >= row["p50"]


@pytest.mark.parametrize("provider", ["apns", "fcm"])
def test_burst(provider: str, tmp_path: Path) -> None:
    options = ("--rows", "2000", "--runs", "1", "--lead", "4", "--target", "bare", "--provider", provider)
    one, two, *far = rows_of(tmp_path, "burst", *options)
    assert (one["part"], two["part"]) == ("one", "two")
    assert 0 < one["first_ms"] / 1000 <= one["last_s"]
    assert two["first_ms"] >= 0
    assert two["gap_ms"] >= 0
    assert [row["connections"] for row in far] == [8, 16]
    assert all(row["seconds"] > 0.5 for row in far)  # five round trips at least


@pytest.mark.parametrize("provider", ["apns", "fcm"])
def test_badday(provider: str, tmp_path: Path) -> None:
    options = ("--rate", "1000", "--seconds", "0.4", "--provider", provider)
    rows = rows_of(tmp_path, "badday", *options)
    assert [row["day"] for row in rows] == ["calm", "goaway-storm", "hundred"]
    for row in rows:
        assert (row["unsent"], row["unknown"]) == (0, 0)
        assert row["delivered"] > 0
    assert rows[2]["dials"] >= 4


@needs_h2load
def test_wan_through_the_relay(tmp_path: Path) -> None:
    options = (
        "--way",
        "relay",
        "--target",
        "bare",
        "--rtt-ms",
        "5",
        "--connections",
        "2",
        "--seconds",
        "0.02",
    )
    rows = rows_of(tmp_path, "wan", *options)
    assert [row["case"] for row in rows] == ["h2load", "engine"]
    for row in rows:
        assert (row["way"], row["limit"]) == ("relay", "window")
        assert 0 < row["rate"] < row["ideal"] * 10


@needs_h2load
def test_scaling(tmp_path: Path) -> None:
    options = (
        "--what",
        "size",
        "--what",
        "processes",
        "--few",
        "--case",
        "engine",
        "--count",
        "200",
        "--runs",
        "1",
    )
    rows = rows_of(tmp_path, "scaling", *options, "--target", "bare")
    assert {(row["dimension"], row["value"]) for row in rows} >= {
        ("size", 100),
        ("size", 4096),
        ("processes", 1),
    }


@needs_h2load
def test_errors_with_fated_tokens_on_the_strict_fake() -> None:
    rows = errors.measure(
        Console(quiet=True),
        provider="apns",
        count=400,
        runs=1,
        percents=(0, 50),
        kind="fake",
        cases=("engine", "send"),
    )
    assert {row["refused"] for row in rows} == {0.0, 0.5}
    assert {row["target"] for row in rows} == {"bare", "strict"}
    assert all(row["of_none"] is not None for row in rows)


@needs_h2load
def test_delay_and_fakes(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "delay", "--count", "300", "--runs", "1", "--delay-ms", "5")
    assert {row["case"] for row in rows} == {"h2load", "engine", "send"}
    rows = rows_of(tmp_path, "fakes", "--count", "300", "--runs", "1")
    assert {(row["provider"], row["profile"]) for row in rows} == {
        (provider, profile) for provider in ("apns", "fcm") for profile in ("strict", "bare")
    }
    assert [row["token"] for row in rows if row["token"]] == ["JOSE", "DER", "padded"]
    rows = rows_of(tmp_path, "watched", "--count", "300", "--runs", "2")
    assert [row["provider"] for row in rows] == ["apns", "fcm"]
    assert all(row["watched_rate"] and row["server_cpu_us"] is not None for row in rows)


def test_memory_and_a_report_from_its_file(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, "memory", "--count", "300")
    assert row.keys() >= {"count", "peak_mb", "half_mb", "last_mb", "rate", "samples"}
    arguments = ["report", str(tmp_path / "out"), "--from", str(tmp_path / "rows.json")]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "python -m bench" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize(("provider", "parts"), [("apns", ["journal"]), ("fcm", ["journal", "processes"])])
def test_campaign(provider: str, parts: list[str], tmp_path: Path) -> None:
    options = ["--rows", "1000", "--runs", "1", "--provider", provider]
    for part in parts:
        options += ["--part", part]
    rows = rows_of(tmp_path, "campaign", *options)
    ways = [("journal", None), ("processes", "inside"), ("processes", "inside"), ("processes", "wire")]
    assert [(row["part"], row.get("transport")) for row in rows] == [way for way in ways if way[0] in parts]
    assert {row["provider"] for row in rows} == {provider}


def test_flat(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "flat", "--count", "300", "--runs", "1")
    assert [row["connections"] for row in rows] == [1, 8]
    assert all(row.keys() >= {"cpu_us_100", "cpu_us_1000", "ratio"} for row in rows)


def test_startup(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "startup", "--runs", "1", "--target", "bare")
    assert [row["what"] for row in rows][:2] == ["import pushcore", "import pushcore.cli.main"]
    assert rows[-2]["what"] == "fake in a fixture: import and start"
    assert all(row["ms"] > 0 for row in rows)


@needs_h2load
def test_gateway(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "gateway", "--count", "100", "--runs", "1")
    assert {row["case"]: row["pushes"] for row in rows} == {
        "engine alone": 100,
        "single": 100,
        "batch of 100": 100,
        "stream": 20_000,
        "Expo, native tokens": 100,
        "Expo, sealed tokens": 100,
    }
    assert rows[0]["times"] == 1.0


def test_gateway_load(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "gateway-load", "--rate", "100", "--seconds", "1", "--delay-ms", "5")
    assert [row["case"] for row in rows] == ["alone", "hostile", "million"]
    assert rows[0]["of_alone"] == 1.0
    assert all(row["of_alone"] > 0 for row in rows)
    assert [row["beside"] is None for row in rows] == [True, True, False]
    assert rows[2]["beside"] > 0
    for row in rows:
        assert row["accepted"] == 1.0
        assert 5.0 <= row["p50"] <= row["max"]


def test_micro(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # In a process of pytest-xdist, pytest-benchmark measures nothing; the command starts a pytest of its own.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    rows = rows_of(tmp_path, "micro", "--only", "status or verdict", "--seconds", "0.01")
    assert {row["step"] for row in rows} >= {"the status of a block", "apns verdict"}


def test_rivals_without_any(tmp_path: Path) -> None:
    options = ("--provider", "apns", "--rival", "nobody", "--seconds", "0.01", "--target", "bare")
    rows = rows_of(tmp_path, "rivals", *options)
    assert {row["rival"] for row in rows} == {"pushcore engine", "pushcore send", "h2load"}


@needs_h2load
@pytest.mark.parametrize("provider", ["apns", "fcm"])
def test_the_c_target_accepts_and_refuses_as_it_is_told(provider: str) -> None:
    reason = constant.why_no_c_target()
    if reason is not None:
        pytest.skip(reason)
    rows = errors.measure(
        Console(quiet=True), provider=provider, count=500, runs=1, percents=(10,), kind="c", cases=("engine",)
    )
    assert [(row["case"], row["target"]) for row in rows] == [("h2load", "c"), ("engine", "c")]


@pytest.mark.parametrize("form", FORMS)
async def test_each_form_of_a_token_is_accepted_by_the_strict_fake(form: str) -> None:
    async with FakeApns() as fake, await Client.connect(fake) as client:
        plain = provider_token(fake)
        token = FORMS[form](plain)
        assert (token == plain) == (form == "JOSE")
        assert (await client.push(headers_for(fake, token))).status == 200
