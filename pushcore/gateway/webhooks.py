"""Webhooks: results to a URL of the app's owner, in batches, signed as Standard Webhooks describes (standardwebhooks.com).

Memory is bounded: a receiver that is too slow loses results, and the lost results are counted. Redirects are not followed. There
is no connection to an address of this machine or of a private network, whatever its name, unless the config allows it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
import logging
import random
import secrets
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final

import httpcore
import orjson

from ..audience.problems import BadInput, read_small
from ..http2.origin import is_host
from ..key_material import MAX_FILE
from ..reasons import printable_word
from ..redaction import split_address
from ..results import Result
from .config import Place, WebhookSection, blamed_on, is_plain, nowhere

log = logging.getLogger("pushcore.gateway")

MOST_QUEUED: Final = 20_000
"""Results that wait for one receiver; more are lost."""
BATCH: Final = 500
"""Results of one delivery."""
GATHER: Final = 1.0
"""Seconds in which results gather before a delivery that is not full."""
TIMEOUT: Final = 10.0
"""Seconds for one attempt."""
DELAYS: Final = (1.0, 5.0, 30.0, 120.0)
"""Seconds before each further attempt, and up to a fifth more; then the delivery is lost."""
CLOSING: Final = 5.0
"""Seconds for what waits when the gateway ends."""
_PREFIX: Final = "whsec_"
_NAT64: Final = ip_network("64:ff9b::/96")

Count = Callable[[str, int], None]
"""Counts results by what became of them: "delivered", "overflow", "rejected" or "unreachable"."""


class Webhook:
    """One receiver. Open it on the event loop that it is used on.

    Args:
        app: id of the app.
        section: its configuration.
        count: see `Count`.
        at: gives the place of its keys in the configuration.

    Raises:
        BadInput: the secret or the URL cannot be used.
    """

    def __init__(
        self,
        app: str,
        section: WebhookSection,
        count: Count,
        rng: random.Random | None = None,
        at: Place = nowhere,
    ) -> None:
        with blamed_on(at("url")):
            _check_url(section.url, private=section.private)
        self.only_dead = section.results == "dead"
        self.app = app
        self._url = section.url
        with blamed_on(at("secret-file")):
            self._key = read_secret(section.secret_file)
        with blamed_on(at("ca-file")):
            context = _context(section.ca_file)
        self._count = count
        self._rng = rng or random.Random()
        self._queue: deque[dict[str, Any]] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=1,
            network_backend=GuardedNetwork(private=section.private),
        )

    def open(self) -> None:
        """Begin to deliver."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"pushcore webhook {self.app}")

    async def close(self) -> None:
        """Deliver what waits within `CLOSING` seconds; the rest is lost and counted."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._task, CLOSING)
        self._lost("unreachable", len(self._queue))
        self._queue.clear()
        await self._pool.aclose()

    def add(self, provider: str, environment: str, caller: str, result: Result) -> None:
        """Deliver a result, if this receiver wants it."""
        if self.only_dead and not result.drop_token:
            return
        if len(self._queue) >= MOST_QUEUED:
            self._count("overflow", 1)
            return
        fields = {name: value for name, value in result.to_dict().items() if value is not None}
        origin = {"app": self.app, "provider": provider, "caller": caller}
        if environment:
            origin["environment"] = environment
        self._queue.append({**origin, **fields, "drop_token": result.drop_token, "at": round(time.time(), 3)})
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            if len(self._queue) < BATCH and not self._closing:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(GATHER):
                        while len(self._queue) < BATCH and not self._closing:
                            self._wake.clear()
                            await self._wake.wait()
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            if batch:
                try:
                    await self._deliver(batch)
                except asyncio.CancelledError:
                    self._lost("unreachable", len(batch))
                    raise
            if not self._queue:
                if self._closing:
                    return
                self._wake.clear()

    async def _deliver(self, batch: list[dict[str, Any]]) -> None:
        """Deliver a batch, with all its attempts, or count it as lost."""
        id = f"msg_{secrets.token_hex(12)}"
        body = orjson.dumps(
            {
                "type": "push.results",
                "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "data": {"results": batch},
            }
        )
        outcome = "unreachable"
        for delay in (0.0, *DELAYS):
            if delay:
                if self._closing:
                    break
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay * (1 + self._rng.random() / 5)):
                        while not self._closing:
                            self._wake.clear()
                            await self._wake.wait()
            outcome, status = await self._attempt(id, body)
            if outcome == "delivered":
                self._count(outcome, len(batch))
                return
            if status == 410:  # the receiver wants no more
                break
        self._lost(outcome, len(batch))

    async def _attempt(self, id: str, body: bytes) -> tuple[str, int]:
        """The outcome of an attempt, and the response's status, 0 without one."""
        at = str(int(time.time()))
        headers = [
            (b"content-type", b"application/json"),
            (b"webhook-id", id.encode()),
            (b"webhook-timestamp", at.encode()),
            (b"webhook-signature", sign(self._key, id, at, body).encode()),
            (b"user-agent", b"pushcore-gateway"),
        ]
        try:
            async with (
                asyncio.timeout(TIMEOUT),
                self._pool.stream("POST", self._url, headers=headers, content=body) as response,
            ):
                status: int = response.status
        except (
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.TimeoutException,
            OSError,
            ssl.SSLError,
        ) as error:
            log.warning(
                "webhook of %s: %s", self.app, printable_word(str(error), 200) or type(error).__name__
            )
            return "unreachable", 0
        if 200 <= status < 300:
            return "delivered", status
        log.warning("webhook of %s: the receiver responded %d", self.app, status)
        return "rejected", status

    def _lost(self, outcome: str, results: int) -> None:
        if results:
            self._count(outcome, results)
            log.error("webhook of %s: %d results were lost (%s)", self.app, results, outcome)


def _check_url(url: str, *, private: bool) -> None:
    """Raises `BadInput` for a receiver's URL that nothing can be delivered to."""
    parts = split_address(url)
    schemes = ("https", "http") if private else ("https",)
    if parts is None or parts.scheme not in schemes or not parts.hostname:
        raise BadInput(
            "a webhook's url begins with https://, or http:// where private is true, has a host, and has either no port "
            "or one from 1 to 65535"
        )
    if not is_plain(url) or not is_host(parts.hostname):
        raise BadInput(
            "a webhook's url is of printable ASCII without blanks, and each part of its host has 1 to 63 characters; "
            "others are written with %, or xn--"
        )
    if "@" in parts.netloc:
        raise BadInput("a webhook's url has no user and no password; the receiver checks the signature")
    try:
        address = ip_address(parts.hostname)
    except ValueError:
        return
    if not private and not is_public(address):
        raise BadInput("the receiver is on this machine or a private network; private = true allows it")


def sign(key: bytes, id: str, timestamp: str, body: bytes) -> str:
    """The `webhook-signature` of a delivery, version 1: HMAC-SHA256 of id, timestamp and body."""
    signed = b".".join((id.encode(), timestamp.encode(), body))
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


def read_secret(path: str) -> bytes:
    """The key in a file: "whsec_" and base64 of 24 to 64 bytes, as Standard Webhooks has it.

    Raises:
        BadInput: it is none.
    """
    text = read_small(path, "a file with a webhook's secret", 4096).strip()
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX.encode()), validate=True)
    except binascii.Error:
        key = b""
    if not 24 <= len(key) <= 64:
        raise BadInput(f'{path}: expected "{_PREFIX}" and base64 of 24 to 64 bytes')
    return key


def _context(ca_file: str | None) -> ssl.SSLContext:
    if ca_file is None:
        return ssl.create_default_context()
    content = read_small(ca_file, "a PEM file of authorities", MAX_FILE)
    try:
        return ssl.create_default_context(cadata=content.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):  # the latter for an empty file
        raise BadInput(f"{ca_file} holds no certificates; expected a PEM file of authorities") from None


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is of the public internet: none of this machine, of a private network, or with such a one inside."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None:
            return False
    return address.is_global and not address.is_multicast


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to public addresses alone. The address that was checked is the one that is connected to.

    Args:
        private: whether every address may be connected to.
    """

    def __init__(self, *, private: bool) -> None:
        self._private = private
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """See `httpcore.AsyncNetworkBackend`. Raises `httpcore.ConnectError` for a host that may not be connected to."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # the latter for a label of more than 63 characters
            why = getattr(error, "strerror", None) or "it is no name of a host"
            raise httpcore.ConnectError(f"the receiver's name cannot be resolved: {why}") from None
        addresses = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
        if not self._private:
            addresses = [address for address in addresses if is_public(ip_address(address))]
        if not addresses:
            raise httpcore.ConnectError(
                "the receiver is on this machine or a private network; private = true allows it"
            )
        for number, address in enumerate(addresses, 1):
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number == len(addresses):
                    raise
        raise AssertionError

    async def sleep(self, seconds: float) -> None:
        """See `httpcore.AsyncNetworkBackend`."""
        await asyncio.sleep(seconds)
