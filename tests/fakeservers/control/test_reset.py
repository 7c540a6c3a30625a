"""`/v1/reset` begins anew: the same seed and the same requests make the same day."""

from __future__ import annotations

from typing import Any

import pytest

from fakeservers import ControlService, FakeApns, FakeFcm
from fakeservers.control.service import PARTS
from fakeservers.faults import Answer, Fault, FaultPlan, Reset, When
from tests.fakeservers.client import Client, headers_for, provider_token, soon
from tests.fakeservers.fcm_client import send_body, send_headers

PLAN = [
    Fault(id="busy", when=When(share=0.3), what=Answer(status=503)),
    Fault(id="refused", when=When(share=0.2), what=Reset()),
    Fault(id="third", when=When(nth=(3,)), what=Answer(status=500)),
]


async def day(fake: Any, headers: list[tuple[str, str]], body: bytes) -> list[Any]:
    """What becomes of twenty pushes on each of two connections, and the ids of those that were answered."""
    seen: list[Any] = []
    for _ in range(2):
        async with await Client.connect(fake) as client:
            for _ in range(20):
                reply = await client.push(headers, body)
                seen.append((reply.status, reply.reset, reply.headers.get("apns-id"), reply.body))
    return seen


@pytest.mark.parametrize("kind", [FakeApns, FakeFcm])
async def test_the_same_day_again(kind: Any) -> None:
    async with kind(faults=FaultPlan(7, PLAN), now=lambda: 1_800_000_000.0) as fake:
        is_apns = isinstance(fake, FakeApns)
        service = ControlService(**{"apns" if is_apns else "fcm": fake})
        if is_apns:
            headers, body = headers_for(fake, provider_token(fake, issued=1_800_000_000)), b"{}"
        else:
            headers, body = send_headers(fake), send_body()
        days, counters = [], []
        for _ in range(2):
            async with await Client.connect(fake) as idle:
                days.append(await day(fake, headers, body))
                counters.append((fake.counters(), dict(fake.counts), dict(fake.faults.hits)))
                service.reset(what=PARTS)
                await idle.until(lambda idle=idle: idle.goaway is not None)  # type: ignore[misc]  # bound now
            await soon(lambda: fake.connections == 0)
            # The GOAWAYs of the reset itself, and nothing else, are after it.
            assert {name: count for name, count in fake.counters().items() if count} in (
                {},
                {"goaways_received": 1},
            )
            fake.reset_counters()
        assert days[0] == days[1]
        assert counters[0] == counters[1]
        assert len({str(each) for each in days[0]}) > 3


async def test_fates_and_the_token_endpoint() -> None:
    fake = FakeFcm()
    fake.fates["a"] = "Unavailable"
    fake.next_fates.append("Internal")
    async with fake:
        service = ControlService(fcm=fake)
        fake.fates["b"] = "Internal"
        fake.next_fates.clear()
        fake.oauth.lifetime, fake.oauth.down, fake.oauth.error, fake.oauth.says = 5, True, "x", 9
        service.reset(what=["counters"])
        assert fake.oauth.down
        assert "b" in fake.fates
        service.reset(what=["fates", "oauth"])
        assert fake.fates == {"a": "Unavailable"}
        assert list(fake.next_fates) == ["Internal"]
        oauth = fake.oauth
        assert (oauth.lifetime, oauth.down, oauth.error, oauth.says) == (3599, False, "", None)
