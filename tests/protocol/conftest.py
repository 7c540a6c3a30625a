"""Every test of a section runs with both engines, and with the server's bytes whole and one at a time."""

from __future__ import annotations

import pytest

from tests.support.http2 import DELIVERIES, ENGINES, Dial, UncheckedServer


@pytest.fixture(
    params=[(engine, delivery) for engine in ENGINES for delivery in DELIVERIES],
    ids=lambda param: "-".join(param),
)
def dial(request: pytest.FixtureRequest) -> Dial:
    return Dial(*request.param)


@pytest.fixture
def wire() -> UncheckedServer:
    return UncheckedServer()
