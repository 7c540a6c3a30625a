"""The drivers say what they are, and what cannot be had is a row with its reason."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from rich.console import Console

from bench.harness.stage import Target
from bench.rivals import install, run
from bench.rivals.catalogue import DRIVERS, HELPERS, read, rivals

TARGET = Target(
    "c",
    "apns",
    "https://127.0.0.1:1",
    "ca.pem",
    0,
    {"topic": "com.example.app", "key_file": "", "key_id": "ABC123DEFG", "team_id": "TEAM123456"},
)
DRIVER = """# rival: nobody
# provider: apns
# install: nothing
# streams: 10
# source: {source}
# and a second line
import json
{body}
"""


def test_every_driver_says_what_it_is() -> None:
    found = rivals()
    assert {rival.file.name for rival in found} | HELPERS == {
        file.name for file in DRIVERS.iterdir() if file.is_file()
    }
    assert len({(rival.name, rival.provider) for rival in found}) == len(found)
    for rival in found:
        assert rival.source, rival.file
        assert 1 <= rival.streams <= 1000, rival.file


def test_a_copied_file_is_a_rival(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in DRIVERS.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr("bench.rivals.catalogue.DRIVERS", tmp_path)
    before = len(rivals())
    text = (tmp_path / "py_aioapns.py").read_text()
    (tmp_path / "py_mine.py").write_text(text.replace("# rival: aioapns", "# rival: mine"))
    assert [rival.name for rival in rivals() if rival.file.stem == "py_mine"] == ["mine"]
    assert len(rivals()) == before + 1


def test_every_rival_of_the_list_has_a_driver() -> None:
    named: dict[str, set[str]] = {"apns": set(), "fcm": set()}
    for rival in rivals():
        named[rival.provider].add(rival.name)
    python = {"aioapns", "PyAPNs2 (fork apns2-up)", "mopyapns", "httpx", "kalyke", "ngh2 (libnghttp2)"}
    python |= {"python-hyper/h2", "pycurl multi"}
    assert named["apns"] >= python | {"@parse/node-apn", "apns2 (npm)", "Node http2"}
    assert named["apns"] >= {"sideshow/apns2", "Pushy", "a2", "apns-h2"}
    assert named["fcm"] >= {"firebase-admin", "firebase-admin for Node", "httpx"}


def driver(tmp_path: Path, body: str) -> Path:
    file = tmp_path / "py_nobody.py"
    file.write_text(DRIVER.format(source="nowhere", body=body))
    return file


def test_the_first_comments_are_read_to_their_end(tmp_path: Path) -> None:
    rival = read(driver(tmp_path, ""))
    assert (rival.name, rival.provider, rival.install, rival.streams) == ("nobody", "apns", (), 10)
    assert rival.source == "nowhere and a second line"
    assert rival.language == "Python"


def test_a_driver_that_does_not_say_enough_is_named(tmp_path: Path) -> None:
    file = tmp_path / "py_nobody.py"
    file.write_text("# rival: nobody\n# provider: apns\n")
    with pytest.raises(ValueError, match=r"py_nobody\.py does not say: install, source, streams"):
        read(file)


def row_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> dict[str, object]:
    rival = read(driver(tmp_path, body))
    monkeypatch.setattr(run, "work", lambda rival, target, count: {"COUNT": str(count)})
    return run._one(Console(quiet=True), rival, [sys.executable, str(rival.file)], TARGET, 1, 0.01)


def test_a_driver_that_sends_everything_gets_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = "{'rate': 100000.0, 'cpu_us': 4.0, 'ok': int(os.environ['COUNT']), 'version': '1'}"
    row = row_of(tmp_path, monkeypatch, f"import os\nprint(json.dumps({line}))")
    assert (row["rate"], row["cpu_us"], row["per_cpu_second"]) == (100_000, 4.0, 250_000)
    assert "absent" not in row


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise SystemExit('no such library')", "its driver failed: no such library"),
        ("print(json.dumps({'rate': 1.0, 'cpu_us': 1.0, 'ok': 3, 'version': ''}))", "3 of 300 were accepted"),
        ("pass", "its driver failed: it said nothing"),
    ],
)
def test_a_driver_that_fails_is_a_row_with_the_reason(
    body: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = row_of(tmp_path, monkeypatch, body)
    assert row["absent"] == reason
    assert row["rate"] is None


def test_a_missing_toolchain_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "SCRATCH", tmp_path)
    monkeypatch.setattr("shutil.which", lambda tool: None)
    files = ("go_sideshow_apns2.go", "rust_a2.rs", "JavaPushy.java", "node_apn.mjs")
    chosen = [read(DRIVERS / file) for file in files]
    for rival, reason in zip(chosen, run.install_all(chosen), strict=True):
        assert isinstance(reason, install.RivalUnavailable)
        assert str(reason).endswith("is not installed")
        row = run._one(Console(quiet=True), rival, reason, TARGET, 1, 0.01)
        assert (row["rival"], row["absent"]) == (rival.name, str(reason))


def test_an_installation_that_fails_is_said_and_not_taken_for_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "SCRATCH", tmp_path)
    # What stands for Python cannot make an environment, and says so in its last line.
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho warning >&2\necho no such package >&2\nexit 1\n")
    broken.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(install.RivalUnavailable, match=r"failed: no such package$"):
        install.install(read(driver(tmp_path, "")))
    assert not (tmp_path / "rivals" / "py_nobody" / "installed").exists()


def test_a_new_installation_keeps_what_cargo_compiled_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "SCRATCH", tmp_path)
    monkeypatch.setitem(install._LANGUAGES, ".py", lambda program, place, fresh: [str(fresh)])
    place = tmp_path / "senders" / "py_nobody"
    (place / "target").mkdir(parents=True)
    (place / "src").mkdir()
    (place / "Cargo.toml").touch()
    assert install.install(read(driver(tmp_path, "")), "senders") == ["True"]
    assert sorted(path.name for path in place.iterdir()) == ["installed", "target"]
    assert install.install(read(driver(tmp_path, "")), "senders") == ["False"]
