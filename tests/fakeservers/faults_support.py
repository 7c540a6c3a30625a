"""What the tests of faults share: plans in a line, pushcore's own clients under a plan, and the account of every push."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from copy import copy
from pathlib import Path
from typing import Any

from fakeservers import FakeApns, FakeFcm
from fakeservers.faults import Fault, FaultPlan, When
from pushcore import FcmClient, Message, Notification, PushEngine, Result, RetryPolicy, ServiceAccount
from pushcore.engine.rate import Rate
from tests.e2e.fcm_support import DATA, registration
from tests.e2e.support import PAYLOAD, client_of

HASTY = RetryPolicy(
    max_attempts=6,
    max_delay=2.0,
    apns_device_wait=0.02,
    apns_error_wait=0.02,
    apns_unavailable_wait=0.02,
    apns_token_wait=0.02,
    apns_early_wait=0.02,
    fcm_wait=0.02,
    fcm_quota_wait=0.02,
    transport_wait=0.02,
    budget_share=10.0,
    budget_rate=100_000.0,
)
"""Repeats as the default policy does, without its patience."""

TIMEOUT = 0.8
RUN = 40.0
"""Seconds within which any run must end."""


def plan_of(what: Any, seed: int = 0, **when: Any) -> FaultPlan:
    """A plan of one fault, `x`."""
    return FaultPlan(seed, [Fault(id="x", when=When(**when), what=what)])


class Paused(FaultPlan):
    """A plan whose time is what a test says."""

    now = 0.0

    @property
    def elapsed(self) -> float:
        """`now`."""
        return self.now


def one(fault_id: str, what: Any, **when: Any) -> Fault:
    """A fault in a line."""
    return Fault(id=fault_id, when=When(**when), what=what)


_accounts: dict[str, ServiceAccount] = {}


def account_of(fake: FakeFcm) -> ServiceAccount:
    """The fake's account. All fakes of a process have one RSA key, and to read it takes longer than many a test."""
    info = json.loads(Path(fake.service_account_file).read_bytes())
    key = info["private_key"]
    if key not in _accounts:
        _accounts[key] = ServiceAccount.from_info(info)
    account = copy(_accounts[key])
    account.token_uri = info["token_uri"]
    return account


class Account:
    """Sends pushes to a fake until it has seen enough, and checks what became of every one of them."""

    def __init__(self, fake: FakeApns | FakeFcm, **options: Any) -> None:
        self.fake = fake
        self.is_apns = isinstance(fake, FakeApns)
        self.results: list[Result] = []
        self.sent = 0
        self._options = options

    def _pushes(self, least: int, most: int, enough: Callable[[], bool]) -> Iterator[Notification | Message]:
        while self.sent < least or (self.sent < most and not enough()):
            number = self.sent
            self.sent += 1
            if self.is_apns:
                yield Notification(f"{number:064x}", PAYLOAD)
            else:
                yield Message(token=registration(number), data=DATA)

    async def run(
        self, least: int, most: int = 0, enough: Callable[[], bool] = lambda: True, *, window: int = 50
    ) -> Counter[str]:
        """Send so many, and more until it is enough; the verdicts' names."""
        options = {"timeout": TIMEOUT, **self._options}
        if isinstance(self.fake, FakeApns):
            client: Any = client_of(self.fake, **options)
        else:
            client = FcmClient(account_of(self.fake), url=self.fake.url, ca_file=self.fake.ca_file, **options)
        engine = PushEngine(client, retry=HASTY, rate=Rate.parse("none"), breaker=False, window=window)
        async with asyncio.timeout(RUN), engine:
            async for result in engine.send_many(self._pushes(least, most, enough)):
                self.results.append(result)
        return Counter(item.verdict.name for item in self.results)

    @property
    def delivered(self) -> Counter[str]:
        """How often each token was pushed to, by the fake's own record."""
        assert self.fake.received.maxlen is None or len(self.fake.received) < self.fake.received.maxlen
        if isinstance(self.fake, FakeApns):
            return Counter(record.token for record in self.fake.received if record.status == 200)
        sends = [record for record in self.fake.received if record.status == 200 and record.path != "/token"]
        return Counter(json.loads(send.body)["message"]["token"] for send in sends)

    def check(self, *, honest: bool = True) -> None:
        """Every push has one result; nothing was doubled, and nothing that was accepted is missing.

        `honest` is False when the fault claims that what was taken was not.
        """
        tokens = Counter(result.push.token for result in self.results)
        assert len(tokens) == self.sent
        assert set(tokens.values()) == {1}
        delivered = self.delivered
        assert not [token for token, count in delivered.items() if count > 1 and honest]
        for result in self.results:
            name = result.verdict.name
            if name == "ACCEPTED":
                assert delivered[result.push.token]
            elif name != "UNKNOWN" and honest:
                assert not delivered[result.push.token], result
