"""What is kept of the answers that a breaker stops a campaign for: never that a token is to be dropped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakeservers.apns.fates import fated_token
from fakeservers.fcm.fates import fated_registration
from pushcore.cli.run.fake_servers import FakeProcess
from pushcore.journal.journal import JournalView
from pushcore.results import Verdict
from tests.e2e.cli.journal_cli import JOURNAL, by_row, results, run, send, token

ROWS = 5000


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeProcess]:
    with FakeProcess(tmp_path_factory.mktemp("fake"), "all") as running:
        yield running


def apns(fate: str) -> list[str]:
    return [fated_token(fate, row) for row in range(ROWS)]


CASES: dict[str, tuple[list[str], dict[str, str], str]] = {
    "BadDeviceToken": (apns("BadDeviceToken"), {}, "INVALID"),
    "DeviceTokenNotForTopic": (apns("DeviceTokenNotForTopic"), {}, "INVALID"),
    "InvalidProviderToken": ([token(row) for row in range(ROWS)], {"key_id": "WRONGKEY01"}, "MISCONFIGURED"),
    "SENDER_ID_MISMATCH": (
        [fated_registration("SenderIdMismatch", row) for row in range(ROWS)],
        {},
        "MISCONFIGURED",
    ),
}


@pytest.mark.parametrize("reason", CASES)
def test_no_token_is_dropped_for_a_fault_of_the_configuration(
    both: FakeProcess, tmp_path: Path, reason: str
) -> None:
    tokens, changes, verdict = CASES[reason]
    (tmp_path / "devices.csv").write_text("\n".join(["token", *tokens]))
    (tmp_path / "payload.json").write_text('{"title":"Hi"}')
    config: dict[str, Any] = {**both.apns, **changes}
    more = ["--fcm-service-account", both.fcm["service_account_file"], "--fcm-url", both.fcm["url"]]
    done = send(tmp_path, config, *more, "--rate", "none", "--results", "results.csv", expected=3)
    assert f"would fail: {reason}: " in done.stderr
    assert "dead:" not in done.stderr

    rows = results(tmp_path)
    assert {(row["verdict"], row["reason"], row["drop_token"]) for row in rows.values()} == {
        (verdict, reason, "")
    }
    assert by_row((tmp_path / "results.csv").read_text()) == rows
    assert results(tmp_path, "--verdict", verdict) == rows
    assert results(tmp_path, "--verdict", "UNREGISTERED") == {}
    lines = run(tmp_path, "results", JOURNAL, "--format", "ndjson").stdout.splitlines()
    assert {json.loads(line)["drop_token"] for line in lines} == {False}
    with JournalView(tmp_path / JOURNAL) as view:
        assert {(result.verdict, result.reason) for result in view.results()} == {(Verdict[verdict], reason)}
    looked = json.loads(run(tmp_path, "status", JOURNAL, "--json").stdout)
    assert looked["verdicts"] == {verdict: len(rows)}
    assert reason in looked["why"]
    stdout = run(tmp_path, "status", JOURNAL).stdout
    assert "dead:" not in stdout
    assert ("suspect:" in stdout) == (reason != "InvalidProviderToken")
    assert looked["state"] == "stopped"
