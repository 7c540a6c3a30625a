"""Signatures, secrets, deliveries and what is lost, and the addresses that a webhook may be sent to."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpcore
import orjson
import pytest

from pushcore.audience.problems import BadInput
from pushcore.gateway import webhooks
from pushcore.gateway.config import WebhookSection
from pushcore.gateway.webhooks import (
    BATCH,
    CLOSING,
    DELAYS,
    GATHER,
    GuardedNetwork,
    Webhook,
    is_public,
    read_secret,
    sign,
)
from pushcore.models.apns import Notification
from pushcore.results import Result, Verdict
from tests.support.virtual import run

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def secret_file(tmp_path: Path) -> str:
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    return str(path)


def test_the_signature_is_that_of_the_specifications_example(secret_file: str) -> None:
    """Vector of the libraries of Standard Webhooks (and of Svix)."""
    signature = sign(
        read_secret(secret_file), "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}'
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("content", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_?", "x" * 300])
def test_a_malformed_secret_is_rejected(tmp_path: Path, content: str) -> None:
    path = tmp_path / "secret"
    path.write_text(content)
    with pytest.raises(BadInput, match="base64 of 24 to 64 bytes") as raised:
        read_secret(str(path))
    assert len(content) < 10 or content not in str(raised.value)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::5db8:d822", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::1", False),
        ("2001:0:1::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("ff02::1", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) is public


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1", "2130706433", "::1"])
async def test_this_machine_is_not_connected_to_by_any_name(host: str) -> None:
    with pytest.raises(httpcore.ConnectError):
        await GuardedNetwork(private=False).connect_tcp(host, 1, timeout=1)


async def test_what_is_no_name_of_a_host_is_an_error_of_the_connection() -> None:
    """And not a UnicodeError, which would end the webhook's task."""
    with pytest.raises(httpcore.ConnectError, match="it is no name of a host"):
        await GuardedNetwork(private=True).connect_tcp("a" * 64 + ".invalid", 1, timeout=1)


@pytest.mark.parametrize("url", ["http://example.com/", "ftp://example.com", "example.com", "https://"])
def test_a_url_is_https(url: str, secret_file: str) -> None:
    with pytest.raises(BadInput, match="begins with https"):
        Webhook("a", WebhookSection(url=url, secret_file=secret_file), lambda outcome, results: None)


# --- deliveries -------------------------------------------------------------------------------------------------------


class Receiver:
    """In the place of httpcore's pool: a receiver that answers with `statuses` in turn, then 200; an exception is raised."""

    def __init__(self, *statuses: int | Exception | float) -> None:
        self.statuses = deque(statuses)
        self.deliveries: list[tuple[float, dict[str, str], dict[str, Any]]] = []
        self.closed = False

    @contextlib.asynccontextmanager
    async def stream(self, method: str, url: str, *, headers: Any, content: bytes) -> AsyncIterator[Any]:
        assert (method, url) == ("POST", "https://example.com/hook")
        fields = {name.decode(): value.decode() for name, value in headers}
        signature = sign(KEY, fields["webhook-id"], fields["webhook-timestamp"], content)
        assert fields["webhook-signature"] == signature
        self.deliveries.append((asyncio.get_running_loop().time(), fields, orjson.loads(content)))
        status = self.statuses.popleft() if self.statuses else 200
        if isinstance(status, float):
            await asyncio.sleep(status)
            status = 200
        if isinstance(status, Exception):
            raise status
        yield SimpleNamespace(status=status)

    async def aclose(self) -> None:
        self.closed = True

    @property
    def sizes(self) -> list[int]:
        return [len(document["data"]["results"]) for _, _, document in self.deliveries]


KEY = base64.b64decode(SECRET.removeprefix("whsec_"))
ACCEPTED = Result(Notification("00" * 32, {"aps": {}}), Verdict.ACCEPTED, 200, 1)
DEAD = Result(Notification("11" * 32, {"aps": {}}), Verdict.UNREGISTERED, 410, 1, reason="Unregistered")


class Delivered:
    """A webhook with a receiver in its process. `counts`: by what became of results."""

    def __init__(self, secret_file: str, receiver: Receiver, **options: Any) -> None:
        section = WebhookSection(**{"url": "https://example.com/hook", "secret_file": secret_file, **options})
        self.receiver = receiver
        self.counts: Counter[str] = Counter()
        rng = SimpleNamespace(random=lambda: 0.0)
        self.webhook = Webhook("shop", section, self._count, rng)  # type: ignore[arg-type]
        self.webhook._pool = receiver  # type: ignore[assignment]

    def _count(self, outcome: str, results: int) -> None:
        self.counts[outcome] += results

    def add(self, count: int, result: Result = ACCEPTED) -> None:
        for _ in range(count):
            self.webhook.add("apns", "production", "web", result)

    def run(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        async def whole() -> None:
            self.webhook.open()
            await work()
            await self.webhook.close()

        run(whole())
        assert self.receiver.closed


def test_results_are_delivered_within_a_second_in_batches(secret_file: str) -> None:
    made = Delivered(secret_file, Receiver())

    async def work() -> None:
        made.add(3)
        await asyncio.sleep(GATHER + 0.1)
        assert made.receiver.sizes == [3]
        made.add(BATCH + 7)
        await asyncio.sleep(0.01)
        assert made.receiver.sizes == [3, BATCH], "a full batch waits for nothing"
        await asyncio.sleep(GATHER)
        assert made.receiver.sizes == [3, BATCH, 7]

    made.run(work)
    assert made.counts == {"delivered": 10 + BATCH}
    _, _, document = made.receiver.deliveries[0]
    assert document["type"] == "push.results"
    result = document["data"]["results"][0]
    assert {name: result[name] for name in ("app", "provider", "caller", "environment", "verdict")} == {
        **{"app": "shop", "provider": "apns", "caller": "web", "environment": "production"},
        "verdict": "ACCEPTED",
    }
    assert result["drop_token"] is False
    assert len({fields["webhook-id"] for _, fields, _ in made.receiver.deliveries}) == 3


def test_dead_tokens_alone(secret_file: str) -> None:
    made = Delivered(secret_file, Receiver(), results="dead")

    async def work() -> None:
        made.add(3)
        made.webhook.add("fcm", "", "web", DEAD)
        await asyncio.sleep(2)

    made.run(work)
    assert made.receiver.sizes == [1]
    (result,) = made.receiver.deliveries[0][2]["data"]["results"]
    assert (result["reason"], result["drop_token"], "environment" in result) == ("Unregistered", True, False)


def test_a_delivery_that_fails_is_tried_again_with_the_same_id(secret_file: str) -> None:
    failures = (503, httpcore.ConnectError("refused"), OSError(), httpcore.ReadTimeout(""))
    made = Delivered(secret_file, Receiver(*failures))

    async def work() -> None:
        made.add(2)
        await asyncio.sleep(200)

    made.run(work)
    assert made.counts == {"delivered": 2}
    times = [at for at, _, _ in made.receiver.deliveries]
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert waits == pytest.approx(DELAYS, abs=0.01)
    assert len({fields["webhook-id"] for _, fields, _ in made.receiver.deliveries}) == 1


@pytest.mark.parametrize(
    ("statuses", "outcome", "attempts"),
    [
        ((302,) * 9, "rejected", 5),
        ((httpcore.ConnectError(""),) * 9, "unreachable", 5),
        ((410,), "rejected", 1),
        ((100.0,) * 9, "unreachable", 5),
    ],
)
def test_what_cannot_be_delivered_is_counted(
    secret_file: str, statuses: tuple[Any, ...], outcome: str, attempts: int, caplog: pytest.LogCaptureFixture
) -> None:
    made = Delivered(secret_file, Receiver(*statuses))

    async def work() -> None:
        made.add(2)
        await asyncio.sleep(300)

    made.run(work)
    assert made.counts == {outcome: 2}
    assert len(made.receiver.deliveries) == attempts
    assert f"2 results were lost ({outcome})" in caplog.text


def test_what_is_too_much_is_lost_and_counted(secret_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "MOST_QUEUED", 5)
    made = Delivered(secret_file, Receiver())

    async def work() -> None:
        made.add(8)
        await asyncio.sleep(2)

    made.run(work)
    assert made.counts == {"overflow": 3, "delivered": 5}


def test_closing_delivers_what_waits_at_once(secret_file: str) -> None:
    made = Delivered(secret_file, Receiver())

    async def work() -> None:
        made.add(BATCH + 1)

    made.run(work)
    assert made.receiver.sizes == [BATCH, 1]
    assert made.counts == {"delivered": BATCH + 1}


@pytest.mark.parametrize("status", [503, 100.0])
def test_closing_waits_for_no_receiver_that_fails(secret_file: str, status: Any) -> None:
    made = Delivered(secret_file, Receiver(*[status] * 9))
    took: list[float] = []

    async def work() -> None:
        made.add(BATCH + 1)
        await asyncio.sleep(1)
        made.add(1)
        took.append(asyncio.get_running_loop().time())

    async def whole() -> None:
        made.webhook.open()
        await work()
        await made.webhook.close()
        took.append(asyncio.get_running_loop().time())

    run(whole())
    assert sum(made.counts.values()) == BATCH + 2
    assert "delivered" not in made.counts
    assert took[1] - took[0] <= CLOSING + 0.1


def test_a_webhook_that_was_never_opened_can_be_closed(secret_file: str) -> None:
    made = Delivered(secret_file, Receiver())
    run(made.webhook.close())
    assert made.receiver.closed
    assert not made.counts


def test_authorities_that_are_none(secret_file: str) -> None:
    with pytest.raises(BadInput, match="holds no certificates"):
        Delivered(secret_file, Receiver(), ca_file=secret_file)


# --- addresses --------------------------------------------------------------------------------------------------------


class Addresses:
    """Names that resolve to `found`, and a network on which some addresses cannot be connected to."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *found: str, unreachable: tuple[str, ...] = ()
    ) -> None:
        self.tried: list[str] = []
        self._found, self._unreachable = found, unreachable
        monkeypatch.setattr(asyncio.SelectorEventLoop, "getaddrinfo", self.resolve)

    async def resolve(self, *_: Any, **__: Any) -> Any:
        if not self._found:
            raise OSError(1, "no such name")
        return [(0, 0, 0, "", (address, 443)) for address in self._found]

    async def connect_tcp(self, host: str, *_: Any) -> Any:
        self.tried.append(host)
        if host in self._unreachable:
            raise httpcore.ConnectError("refused")
        return host

    def connect(self, *, private: bool = False) -> Any:
        network = GuardedNetwork(private=private)
        network._network = self  # type: ignore[assignment]
        return run(network.connect_tcp("example.com", 443))


def test_each_public_address_of_a_name_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ("10.0.0.1", "93.184.216.34", "93.184.216.34", "93.184.216.35", "93.184.216.36")
    addresses = Addresses(monkeypatch, *found, unreachable=("93.184.216.34",))
    assert addresses.connect() == "93.184.216.35"
    assert addresses.tried == ["93.184.216.34", "93.184.216.35"]


def test_the_error_of_the_last_address_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = Addresses(monkeypatch, "93.184.216.34", unreachable=("93.184.216.34",))
    with pytest.raises(httpcore.ConnectError, match="refused"):
        addresses.connect()


def test_private_addresses_where_the_config_allows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Addresses(monkeypatch, "fe80::1%eth0").connect(private=True) == "fe80::1"
    with pytest.raises(httpcore.ConnectError, match="private = true"):
        Addresses(monkeypatch, "fe80::1%eth0").connect()


def test_a_name_that_cannot_be_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(httpcore.ConnectError, match="no such name"):
        Addresses(monkeypatch).connect()


async def test_httpcore_waits_as_the_loop_does(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await GuardedNetwork(private=False).sleep(3.5)
    assert waits == [3.5]
