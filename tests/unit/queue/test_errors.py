"""Which errors of a queue waiting can cure."""

from __future__ import annotations

import pytest

from pushcore.queue import errors
from pushcore.queue.errors import LATER, QueueError


@pytest.mark.parametrize(
    ("kind", "later"),
    [
        (errors.QueueUnavailable, True),
        (errors.QueueFull, True),
        (errors.QueueReadOnly, False),
        (errors.QueueRefused, False),
        (errors.SourceUnavailable, False),
        (errors.CampaignConflict, False),
        (errors.ChunkError, False),
    ],
)
def test_waiting_cures_an_absence_and_a_lack_of_room_alone(kind: type[QueueError], later: bool) -> None:
    assert issubclass(kind, QueueError)
    assert issubclass(kind, LATER) is later
