"""A process that has only stored words, and imports no client, knows what they mean."""

from __future__ import annotations

import subprocess
import sys

import pytest

ASK = """
from pushcore.{module} import {name}
import pushcore.reasons as reasons
print(reasons.lookup("apns", 503, "SomethingNew").wait, reasons.lookup("apns", None, "BadDeviceToken").suspect,
      reasons.lookup("fcm", 429, None).scope, reasons.lookup("fcm", None, "NotRegistered").blame,
      reasons.lookup("apns", None, "ChannelNotRegistered").verdict.value)
"""


@pytest.mark.parametrize(
    ("module", "name"),
    [("reasons", "lookup"), ("journal.view", "JournalView"), ("results", "Result"), ("metrics", "Metrics")],
)
def test_every_table_is_registered_before_it_is_asked(module: str, name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK.format(module=module, name=name)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == ["900.0", "True", "project", "token", "INVALID"]
