"""What the gateway's unit tests share."""

from __future__ import annotations

import pytest

from tests.support.virtual_gateway import Providers


@pytest.fixture
def providers(monkeypatch: pytest.MonkeyPatch) -> Providers:
    return Providers(monkeypatch)
