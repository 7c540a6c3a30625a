"""Fixtures `fake_apns` and `fake_fcm` for pytest: a fake per test, on a thread of its own, for any event loop or none.

```python
def test_a_push(fake_apns):
    my_sender(fake_apns.url, fake_apns.ca_file, fake_apns.key_file, fake_apns.key_id, fake_apns.team_id).push("ab" * 32)
    assert fake_apns.received[0].status == 200
```

A marker of the fixture's name passes options on: `@pytest.mark.fake_apns(delay=0.05)`. Nothing of the fakes is imported
before a test asks for one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pytest

if TYPE_CHECKING:
    from fakeservers.apns import strict as apns_strict
    from fakeservers.apns.server import FakeApns
    from fakeservers.faults import Fault, FaultPlan
    from fakeservers.fcm import strict as fcm_strict
    from fakeservers.fcm.server import FakeFcm
    from fakeservers.in_thread import InThread

    F = TypeVar("F", bound=FakeApns | FakeFcm)
else:
    F = TypeVar("F")
T = TypeVar("T")
MARKERS = ("fake_apns", "fake_fcm")


class FaultControl:
    """The fault plan of a fake on another thread; see `fakeservers.faults.FaultPlan` for what the calls do."""

    def __init__(self, call: Callable[[Callable[[], Any]], Any], plan: FaultPlan) -> None:
        self._call = call
        self._plan = plan

    def add(self, fault: Fault | dict[str, Any]) -> Fault:
        """Add a fault, or what a table as in a plan's file describes."""
        from fakeservers.faults import Fault

        new = Fault.from_dict(fault) if isinstance(fault, dict) else fault
        added: Fault = self._call(lambda: self._plan.add(new))
        return added

    def use(self, plan: FaultPlan | str) -> None:
        """Put another plan, a ready-made one by its name or one of a file, in the place of this one."""
        from fakeservers.faults import FaultPlan

        other = FaultPlan.load(plan) if isinstance(plan, str) else plan
        self._call(lambda: self._plan.become(other))

    def remove(self, fault_id: str) -> None:
        """Remove a fault."""
        self._call(lambda: self._plan.remove(fault_id))

    def enable(self, fault_id: str, on: bool = True) -> None:
        """Switch a fault on or off."""
        self._call(lambda: self._plan.enable(fault_id, on))

    def clear(self) -> None:
        """Take all faults out."""
        self._call(self._plan.clear)

    @property
    def hits(self) -> dict[str, int]:
        """How often each fault has happened, by id."""
        hits: dict[str, int] = self._call(lambda: dict(self._plan.hits))
        return hits

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._call(lambda: list(self._plan)))

    def __len__(self) -> int:
        return int(self._call(lambda: len(self._plan)))


class Running(Generic[F]):
    """What both fixtures have: where the fake is, what it received, and what goes wrong with it."""

    def __init__(self, running: InThread[F]) -> None:
        self._running = running
        self._fake = running.fake
        self.url: str = running.call(lambda: self._fake.url)
        """`https://127.0.0.1:PORT`."""
        self.ca_file = self._fake.ca_file
        """What a client must trust, PEM."""
        self.faults = FaultControl(running.call, self._fake.faults)
        """The fault plan; may be changed at any time."""

    @property
    def counts(self) -> dict[tuple[int, str], int]:
        """Answers by (status, reason), `(200, "")` for the good ones."""
        return self.call(lambda: dict(self._fake.counts))

    @property
    def connections(self) -> int:
        """Connections open now."""
        return self.call(lambda: self._fake.connections)

    @property
    def accepted(self) -> int:
        """Connections accepted so far."""
        return self.call(lambda: self._fake.accepted)

    def clear(self) -> None:
        """Forget what was received and counted so far."""

        def forget() -> None:
            self._fake.received.clear()
            self._fake.counts.clear()

        self.call(forget)

    def call(self, function: Callable[[], T]) -> T:
        """What `function()` gives, called on the fake's thread: for whatever else `fake` can do."""
        return self._running.call(function)

    @property
    def fake(self) -> F:
        """The fake itself, to be used in functions given to `call`."""
        return self._fake


class ApnsFixture(Running["FakeApns"]):
    """`fake_apns`: a fake APNs with a signing key, `key_file`, `key_id`, `team_id`, that may push to `topic`."""

    def __init__(self, running: InThread[FakeApns]) -> None:
        super().__init__(running)
        self.channels_url: str = running.call(lambda: self._fake.channels_url)
        """Where channels are managed."""
        self.key_file = self._fake.key_file
        """The `.p8` to sign provider tokens with."""
        self.key_id = self._fake.key_id
        self.team_id = self._fake.team_id
        self.topic = self._fake.topic
        """A bundle id that may be pushed to."""

    @property
    def received(self) -> list[apns_strict.ApnsRecord]:
        """The last 1000 requests and their answers, oldest first: a copy."""
        return self.call(lambda: list(self._fake.received))


class FcmFixture(Running["FakeFcm"]):
    """`fake_fcm`: a fake FCM with a service account of `project_id`."""

    def __init__(self, running: InThread[FakeFcm]) -> None:
        super().__init__(running)
        self.service_account_file = self._fake.service_account_file
        """What Google's console hands out; its `token_uri` is this fake's."""
        self.project_id = self._fake.project_id
        self.server_key = self._fake.server_key
        """The legacy API's `Authorization: key=…`."""

    def access_token(self) -> str:
        """An access token that is good for an hour, for clients that do not fetch their own."""
        return self.call(self._fake.oauth.issue)

    @property
    def received(self) -> list[fcm_strict.FcmRecord]:
        """The last 1000 requests and their answers, token requests too, oldest first: a copy."""
        return self.call(lambda: list(self._fake.received))


def pytest_configure(config: pytest.Config) -> None:
    """Say which markers there are."""
    for name in MARKERS:
        config.addinivalue_line("markers", f"{name}(**options): options of the fixture {name}")


@pytest.fixture
def fake_apns(request: pytest.FixtureRequest) -> Iterator[ApnsFixture]:
    """A fake APNs for this test, with `url`, `ca_file`, `received`, `faults`, `key_file`, `key_id`, `team_id`, `topic`."""
    make, in_thread = _parts("FakeApns")
    options = _options(request, "fake_apns")
    with in_thread(lambda: make(**options)) as running:
        yield ApnsFixture(running)


@pytest.fixture
def fake_fcm(request: pytest.FixtureRequest) -> Iterator[FcmFixture]:
    """A fake FCM for this test, with `url`, `ca_file`, `received`, `faults`, `service_account_file`, `project_id`."""
    make, in_thread = _parts("FakeFcm")
    options = _options(request, "fake_fcm")
    with in_thread(lambda: make(**options)) as running:
        yield FcmFixture(running)


def _parts(name: str) -> tuple[Any, Any]:
    try:
        import fakeservers

        return getattr(fakeservers, name), fakeservers.InThread
    except ImportError as error:
        pytest.fail(str(error), pytrace=False)


def _options(request: pytest.FixtureRequest, name: str) -> dict[str, Any]:
    """The options of the nearest markers, those further out behind."""
    options: dict[str, Any] = {}
    for marker in request.node.iter_markers(name):
        options = {**marker.kwargs, **options}
    return options
