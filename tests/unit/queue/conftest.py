"""The ledger of the campaign of `stage`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pushcore.queue.ledger import Ledger
from tests.unit.queue.stage import INFO


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """New and empty."""
    with Ledger.create(tmp_path / "ledger", INFO) as made:
        yield made
