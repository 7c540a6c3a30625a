"""What is said while a campaign runs, and its numbers for Prometheus."""

from __future__ import annotations

import logging
import math
import sys
import urllib.request
from typing import Any

import pytest

from pushcore.audience.problems import BadInput
from pushcore.cli.report.notices import (
    MAX_COMPLAINTS,
    MeteredNotices,
    Notices,
    WarningHandler,
    listening,
    served,
    showing_warnings,
)


def test_a_closed_gate_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    notices = Notices(quiet=False)
    for seconds in (0.5, 60.0, 59.9, 3600.0):
        notices.rate_limited("fcm", seconds)
    notices.rate_limited("oauth", 5.0)
    assert capsys.readouterr().err == (
        "pushcore: FCM asked for a pause of 60 s (429), so its pushes wait\n"
        "pushcore: oauth asked for a pause of 5 s (429), so its pushes wait\n"
    )
    Notices(quiet=True).rate_limited("fcm", 60.0)
    assert capsys.readouterr().err == ""


def test_how_slowly_it_goes_is_said_once_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    notices = Notices(quiet=False)
    metered = MeteredNotices(notices)
    for pace in (8300.4, 8200.0, 100.0):
        metered.slowed("fcm", pace)
    assert capsys.readouterr().err == (
        "pushcore: FCM rejects some pushes because of their rate (429), so at most 8,300 a second are sent now\n"
    )
    Notices(quiet=False).slowed("fcm", math.inf)
    assert capsys.readouterr().err == "pushcore: FCM rejects some pushes because of their rate (429)\n"
    Notices(quiet=True).slowed("fcm", 1.0)
    assert capsys.readouterr().err == ""


def test_with_metrics_both_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    notices = Notices(quiet=False)
    metered = MeteredNotices(notices)
    metered.retried("apns", "TooManyRequests", 3, 30.0)
    metered.retried("fcm", "QUOTA_EXCEEDED", 2, 60.0)
    metered.rate_limited("fcm", 60.0)
    assert notices.put_off == 5
    assert metered.retries == {("apns", "TooManyRequests"): 3, ("fcm", "QUOTA_EXCEEDED"): 2}
    assert "FCM asked for a pause" in capsys.readouterr().err


def test_the_first_reason_of_each_provider_is_kept() -> None:
    notices = Notices(quiet=True)
    metered = MeteredNotices(notices)
    for provider, sentence in (("apns", "a key"), ("apns", "another"), ("fcm", "a project")):
        metered.breaker_opened(provider, sentence)
    assert notices.trips == {"apns": "a key", "fcm": "a project"}
    assert metered.breaker == {("apns",): 1, ("fcm",): 1}


@pytest.mark.slow
def test_the_port(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("prometheus_client")
    metered = MeteredNotices(Notices(quiet=True))
    with served(metered.snapshot, 0, quiet=False):
        metered.retried("apns", "TooManyRequests", 3, 30.0)
        url = capsys.readouterr().err.split()[-1]
        with urllib.request.urlopen(url, timeout=5) as answer:
            assert b'reason="TooManyRequests"} 3.0' in answer.read()
    with pytest.raises(OSError):
        urllib.request.urlopen(url, timeout=5)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    watched = served(MeteredNotices(Notices(quiet=True)).snapshot, 0, quiet=True)
    with pytest.raises(
        BadInput, match=r"--metrics-port: this needs prometheus-client, .* \"pushcore\[prometheus\]\""
    ):
        watched.__enter__()


def test_each_warning_once(capsys: pytest.CaptureFixture[str]) -> None:
    handler = WarningHandler()
    for number in range(3 * MAX_COMPLAINTS):
        for _ in range(2):
            handler.emit(logging.LogRecord("x", logging.WARNING, "", 0, "no \x1b way %d", (number,), None))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [rf"pushcore: no \x1b way {number}" for number in range(MAX_COMPLAINTS)]


@pytest.mark.parametrize("quiet", [True, False])
def test_with_a_port_the_listener_counts_as_well_and_says_where(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], quiet: bool
) -> None:
    asked: list[Any] = []

    class Endpoint:
        def __init__(self, read: Any, port: int) -> None:
            asked.append(port)
            self.port, self.read = 4321, read

        def __enter__(self) -> Endpoint:
            return self

        def __exit__(self, *_: object) -> None:
            asked.append("closed")

    monkeypatch.setattr("pushcore.telemetry.serve", Endpoint)
    notices = Notices(quiet=True)
    with listening(notices, 9, quiet=quiet) as listener:
        assert isinstance(listener, MeteredNotices)
        listener.breaker_opened("apns", "a key")
    assert asked == [9, "closed"]
    assert notices.trips == {"apns": "a key"}
    said = "" if quiet else "pushcore: metrics at http://127.0.0.1:4321/metrics\n"
    assert capsys.readouterr().err == said
    with listening(notices, None, quiet=quiet) as listener:
        assert listener is notices


def test_the_librarys_warnings_are_shown_while_it_runs_but_not_the_engines() -> None:
    said: list[str] = []
    with showing_warnings(said.append):
        logging.getLogger("pushcore.http2").warning("cannot be reached")
        logging.getLogger("pushcore.http2").info("opened")
        logging.getLogger("pushcore.engine").warning("stopped")
    logging.getLogger("pushcore.http2").warning("too late")
    assert said == ["cannot be reached"]
