"""README's example and commands do what it says they do."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pushcore
from fakeservers import FakeApns, fated_token

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


async def test_the_example_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = blocks("python")
    async with FakeApns() as fake:
        client, key = pushcore.ApnsClient, pushcore.ApnsKey

        def local_client(auth: Any, **options: Any) -> pushcore.ApnsClient:
            return client(auth, topic=fake.topic, url=fake.url, ca_file=fake.ca_file)

        class LocalKey:
            @staticmethod
            def from_file(path: str, **options: Any) -> pushcore.ApnsKey:
                return key.from_file(fake.key_file, key_id=fake.key_id, team_id=fake.team_id)

        monkeypatch.setattr(pushcore, "ApnsClient", local_client)
        monkeypatch.setattr(pushcore, "ApnsKey", LocalKey)
        names: dict[str, Any] = {}
        exec(example, names)
        await names["main"](["ab" * 32, fated_token("Unregistered")])
        assert fake.counts == {(200, ""): 1, (410, "Unregistered"): 1}
    assert "UNREGISTERED 410 Unregistered" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["pushcore send", "pushcore demo", "fakeservers apns"])
def test_the_commands_exist_with_the_options_shown(command: str) -> None:
    words = command.split()
    output = subprocess.run(
        [sys.executable, "-m", *words, "--help"], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    for block in blocks("sh"):
        for line in block.replace("\\\n", " ").splitlines():
            if command in line:
                assert set(re.findall(r"(--[a-z-]+)", line)) <= set(re.findall(r"(--[a-z-]+)", output))


def test_make_has_the_targets_shown() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z]+)", README, re.MULTILINE)) <= targets


def test_the_public_names_are_these() -> None:
    assert sorted(pushcore.__all__) == [
        "Alert",
        "ApnsCertificate",
        "ApnsClient",
        "ApnsKey",
        "Aps",
        "Notification",
        "PushEngine",
        "PushcoreError",
        "Result",
        "Sound",
        "Verdict",
    ]
