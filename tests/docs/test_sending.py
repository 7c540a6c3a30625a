"""docs/guides/sending.md: its commands and files do what it says they do."""

from __future__ import annotations

import asyncio
import csv
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fakeservers import FakeApns, fated_token
from fakeservers.fcm.server import FakeFcm
from tests.docs.commands import run, run_line, start_line

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guides" / "sending.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(
    "command", ["pushcore send", "pushcore check", "pushcore tokens", "pushcore status", "pushcore results"]
)
def test_the_commands_exist_with_the_options_shown(command: str) -> None:
    words = command.split()
    words.append("--help-all" if words[-1] in ("send", "check") else "--help")
    output = subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    for block in blocks("sh"):
        for line in block.replace("\\\n", " ").splitlines():
            if command in line:
                assert set(re.findall(r"(--[a-z-]+)", line)) <= set(re.findall(r"(--[a-z-]+)", output))


async def test_the_command_for_both_providers_runs(tmp_path: Path) -> None:
    (command,) = [block for block in blocks("sh") if block.startswith("pushcore send --apns-key")]
    write_files(tmp_path)
    async with FakeApns() as apns, FakeFcm(certs=apns.certs) as fcm:
        found = await run(command, tmp_path, apns, fcm)
    assert outcomes(found) == [("apns", "ACCEPTED"), ("fcm", "ACCEPTED"), ("fcm", "ACCEPTED")]


async def test_the_commands_with_a_settings_file_run(tmp_path: Path) -> None:
    (block,) = [block for block in blocks("sh") if block.startswith("pushcore tokens")]
    write_files(tmp_path)
    async with FakeApns() as apns, FakeFcm(certs=apns.certs) as fcm:
        variables = files_of(tmp_path, apns, fcm)
        said = [await run_line(line, tmp_path, variables) for line in block.splitlines()]
        assert len(apns.received) == 2  # of check and of the last send
    assert len(said) == 4
    assert re.search(r"^apns +1 .*\nfcm +1 .*\nfid +1 ", said[0], re.MULTILINE)
    assert [line.split()[:2] for line in said[1].splitlines()] == [["APNs", "ok"], ["FCM", "ok"]]
    assert "nothing was sent" in said[2]
    with (tmp_path / "results.csv").open(newline="") as file:
        found = {int(row["row"]): row for row in csv.DictReader(file)}
    assert outcomes(found) == [("apns", "ACCEPTED"), ("fcm", "ACCEPTED"), ("fcm", "ACCEPTED")]


async def test_the_commands_for_a_channel_run(tmp_path: Path) -> None:
    (block,) = [block for block in blocks("sh") if "pushcore channels" in block]
    write_files(tmp_path)
    async with FakeApns() as apns, FakeFcm(certs=apns.certs) as fcm:
        variables = {**files_of(tmp_path, apns, fcm), "CHANNELS_URL": apns.channels_url}
        command = f'pushcore() {{ "{sys.executable}" -m pushcore "$@"; }}\n{block}'
        process = await asyncio.create_subprocess_exec(
            *("sh", "-euc", command),
            cwd=tmp_path,
            env={**os.environ, **{f"PUSHCORE_{name}": value for name, value in variables.items()}},
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60.0):
            out, _ = await process.communicate()
        assert process.returncode == 0
        assert out.decode().splitlines()[0] == "stores its newest message"
        assert apns.counts == {(201, ""): 1, (200, ""): 2, (204, ""): 1}
        assert b'"score": "1:0"' in apns.received[-2].body


async def test_a_campaign_is_killed_and_goes_on(tmp_path: Path) -> None:
    (begin,) = [block for block in blocks("sh") if block.startswith("pushcore send") and "--journal" in block]
    (rest,) = [block for block in blocks("sh") if block.startswith("pushcore status")]
    write_files(tmp_path)
    tokens = [f"{number:064x}" for number in range(19_999)] + [fated_token("Unregistered")]
    (tmp_path / "devices.csv").write_text(
        "\n".join(["token,platform,name", *(f"{each},ios,Ada" for each in tokens)])
    )
    async with FakeApns() as apns, FakeFcm(certs=apns.certs) as fcm:
        variables = files_of(tmp_path, apns, fcm)
        process = await start_line(begin, tmp_path, {**variables, "RATE": "2500/s"})
        while sum(apns.counts.values()) < 1000:
            assert process.returncode is None
            await asyncio.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()
        said = [await run_line(line, tmp_path, variables) for line in rest.splitlines()]
    assert len(said) == 4
    assert re.search(r"^state +cut short$", said[0], re.MULTILINE)
    with (tmp_path / "results.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [each["token"] for each in found] == tokens
    assert {each["verdict"] for each in found} == {"ACCEPTED", "UNKNOWN", "UNREGISTERED"}
    with (tmp_path / "dead.csv").open(newline="") as file:
        assert [each["token"] for each in csv.DictReader(file)] == tokens[-1:]


def files_of(place: Path, apns: FakeApns, fcm: FakeFcm) -> dict[str, str]:
    """The fakes' keys under the page's names; what else is needed to reach them, as variables."""
    (place / "AuthKey_ABC123DEFG.p8").write_bytes(Path(apns.key_file).read_bytes())
    (place / "service-account.json").write_bytes(Path(fcm.service_account_file).read_bytes())
    return {
        **{"KEY_ID": apns.key_id, "TEAM_ID": apns.team_id, "TOPIC": apns.topic, "APNS_URL": apns.url},
        **{"FCM_URL": fcm.url, "CA_FILE": str(apns.ca_file), "PROXY": "none"},
    }


def write_files(place: Path) -> None:
    """The files that the page shows."""
    (audience,), (payload,), (settings,) = blocks("csv"), blocks("json"), blocks("toml")
    (place / "devices.csv").write_text(audience)
    (place / "payload.json").write_text(payload)
    (place / "pushcore.toml").write_text(settings)


def outcomes(found: dict[int, dict[str, str]]) -> list[tuple[str, str]]:
    return [(found[row]["platform"], found[row]["verdict"]) for row in sorted(found)]
