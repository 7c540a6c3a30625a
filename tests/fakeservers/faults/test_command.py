"""`python -m fakeservers … --faults PLAN --seed N`, and what it says of a plan that is wrong."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fakeservers import FakeApns
from fakeservers.__main__ import main
from fakeservers.faults import PRESETS, FaultError
from tests.fakeservers.client import Client, headers_for
from tests.fakeservers.test_command import running

PLAN = """\
[[faults]]
id = "x"
when = { share = 0.5 }
what = { kind = "answer", status = 503, reason = "Busy" }
"""


async def statuses(url: str, place: Path) -> list[int]:
    """What twenty pushes get that prove nothing."""
    fake = cast(FakeApns, SimpleNamespace(url=url, ca_file=str(place / "ca.pem"), topic="com.example.app"))
    async with await Client.connect(fake) as client:
        return [(await client.push(headers_for(fake))).status for _ in range(20)]


def test_a_plan_and_its_seed(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN)
    results = []
    for seed in ("5", "5", "6"):
        place = tmp_path / "certs"
        with running("--certs", str(place), "--faults", str(plan), "--seed", seed) as (_, url):
            results.append(asyncio.run(statuses(url, place)))
    assert results[0] == results[1] != results[2]
    assert set(results[0]) == {403, 503}


def test_a_preset_and_its_scale(tmp_path: Path) -> None:
    options = ("--faults", "key-revoked", "--faults-scale", "0.000001")
    with running("--certs", str(tmp_path), *options) as (_, url):
        assert set(asyncio.run(statuses(url, tmp_path))) == {403}


@pytest.mark.parametrize("service", ["apns", "fcm", "all"])
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (PLAN.replace("0.5", "1.5"), 'line 3: fault "x": when.share is 1.5, expected a number from 0 to 1'),
        (
            PLAN.replace("share", "chance"),
            'line 3: fault "x": when has an unknown key "chance", expected one of',
        ),
        (
            PLAN.replace("status = 503, ", ""),
            'line 4: fault "x": what.reason is "Busy", expected a status with it, or',
        ),
        ("[[faults]", "line 1, column 9: no TOML"),
    ],
)
def test_a_bad_plan_is_one_sentence_before_anything_listens(
    content: str,
    sentence: str,
    service: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: Any,
) -> None:
    def listens(*_: object) -> None:
        pytest.fail("it listens")

    monkeypatch.setattr(socket.socket, "listen", listens)
    plan, place = tmp_path / "plan.toml", tmp_path / "certs"
    plan.write_text(content)
    assert main([service, "--certs", str(place), "--faults", str(plan)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"fakeservers: {plan}, {sentence}")
    assert captured.err.count("\n") == 1
    assert not place.exists()


def test_what_is_neither_file_nor_preset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["apns", "--certs", str(tmp_path), "--faults", "clam"]) == 2
    said = capsys.readouterr().err
    assert said == (
        'fakeservers: there is no preset and no file "clam", expected a file or one of '
        + ", ".join(PRESETS)
        + "\n"
    )


@pytest.mark.parametrize("options", [("--faults-scale", "0"), ("--faults-scale", "x"), ("--seed", "-1")])
def test_bad_numbers(options: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["apns", "--certs", str(tmp_path), "--faults", "calm", *options])
    assert caught.value.code == 2
    assert options[0] in capsys.readouterr().err


def test_help_names_the_ready_made_plans(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["apns", "--help"])
    said = "".join(capsys.readouterr().out.split())
    assert all(name in said for name in PRESETS)


def test_in_code_a_bad_plan_is_an_exception_at_once() -> None:
    with pytest.raises(FaultError, match="no preset"):
        FakeApns(faults="clam")
    assert FakeApns(faults="brownout").faults.name == "brownout"
    assert len(FakeApns().faults) == 0


def test_faults_do_not_reach_the_disk_twice(tmp_path: Path) -> None:
    """A plan is read once, when it starts: changing the file changes nothing that runs."""
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN)
    fake = FakeApns(faults=plan)
    plan.unlink()
    assert [fault.id for fault in fake.faults] == ["x"]
