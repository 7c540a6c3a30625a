"""The status of a campaign on a queue, for people and for programs."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import orjson

from pushcore.cli.report.campaign_status import status_lines, status_values
from pushcore.engine.breaker import Trip
from pushcore.queue.campaign import CampaignState
from pushcore.queue.coordinator import CampaignStatus
from pushcore.queue.ledger import LedgerStatus
from pushcore.queue.protocol import QueueStats


def test_every_line_of_a_status() -> None:
    tally = Counter({("fcm", "ACCEPTED", ""): 7, ("", "INVALID", "odd\x1b"): 1})
    values: tuple[Any, ...] = (False, 0.0, CampaignState.PAUSED, 9, 2, 1, 4500, 8, 3, 0, tally)
    trip = Trip("BadKey", "every push would fail\n")
    found = CampaignStatus("autumn", LedgerStatus(*values), QueueStats(4, 2, 5, 12.6), trip, 99.5, 30.2)
    assert list(status_lines(found)) == [
        "campaign   autumn, paused",
        "rows       8 of 4500 so far have a result",
        "chunks     4 wait, 2 are with workers, 2 finished, 1 set aside",
        "results    5 wait to be collected",
        "oldest     13 s",
        "rate       100/s",
        "left       30 s",
        "repeats    3",
        r"neither    INVALID odd\x1b 1",
        "fcm        ACCEPTED  7",
        r"stopped    every push would fail\n",
    ]


def test_every_value_of_a_status() -> None:
    tally = Counter({("fcm", "ACCEPTED", ""): 7, ("", "INVALID", "odd\udcff"): 1})
    counted: tuple[Any, ...] = (False, 0.0, CampaignState.PAUSED, 9, 2, 1, 4500, 8, 3, 0, tally)
    trip = Trip("BadKey", "every push would fail\n")
    found = CampaignStatus("autumn", LedgerStatus(*counted), QueueStats(4, 2, 5, 12.6), trip, 99.54, 30.24)
    values = json.loads(orjson.dumps(status_values(found)))
    assert (values["rate"], values["left"], values["oldest"], values["results"]) == (99.5, 30.2, 12.6, 5)
    assert values["stopped"] == "every push would fail\\n"
    assert values["reasons"] == [
        {"platform": None, "verdict": "INVALID", "reason": "odd\\udcff", "rows": 1},
        {"platform": "fcm", "verdict": "ACCEPTED", "reason": None, "rows": 7},
    ]
