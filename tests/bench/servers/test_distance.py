"""What netem is told, and what is said where it cannot be had."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from bench.harness.stage import CannotMeasure
from bench.servers import distance


def test_every_packet_is_held_for_half_of_the_round_trip() -> None:
    add, up, delay = distance.netem_commands("name", 25.0)
    assert add == ["ip", "netns", "add", "name"]
    assert up == ["ip", "netns", "exec", "name", "ip", "link", "set", "lo", "up"]
    assert delay[:4] == ["ip", "netns", "exec", "name"]
    assert delay[4:11] == ["tc", "qdisc", "add", "dev", "lo", "root", "netem"]
    assert delay[11:13] == ["delay", "12.5ms"]


def test_a_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda tool: None if tool == "tc" else tool)
    assert distance.why_no_netem() == "netem needs tc: Debian's package iproute2"


def test_without_root_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda tool: tool)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert distance.why_no_netem() == "netem needs root"


def test_a_kernel_without_netem_is_said_and_the_namespace_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        called.append(command)
        broken = "tc" in command
        said = "Error: Specified qdisc kind is unknown." if broken else ""
        return subprocess.CompletedProcess(command, 2 if broken else 0, "", said)

    monkeypatch.setattr("shutil.which", lambda tool: tool)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("subprocess.run", run)
    with pytest.raises(CannotMeasure, match="qdisc kind is unknown"), distance.namespace(10.0):
        pass
    assert called[-1][:3] == ["ip", "netns", "delete"]
    assert called[-1][3] == called[0][3]
