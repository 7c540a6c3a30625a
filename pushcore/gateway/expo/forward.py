"""Forwards to Expo's push service what only Expo can handle: messages to tokens that Expo has issued, and requests for their receipts.

One HTTP/2 connection, 600 notifications per second, Expo's tickets and receipts unchanged. A request that Expo rejects as a whole is sent
again in parts, so that only the bad message fails: Expo has sent nothing of a rejected request.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import orjson

from ...engine.rate import Rate, RateLimiter
from ...errors import ClosedError
from ...http2.exchange import Exchange, header_of
from ...http2.headers import Field, HeaderTemplate
from ...http2.origin import read_origin
from ...http2.pool import Pool
from ...http2.proxy import Proxy, find_proxy
from ...http2.round_trip import round_trip
from ...http2.streams import KEEPALIVE, Limits
from ...http2.tls import client_context
from ...reasons import describe_unexpected, printable_word
from .tickets import Json, error_ticket

URL: Final = "https://exp.host"
RATE: Final = 600.0
"""Notifications a second that Expo takes for a project."""
TIMEOUT: Final = 10.0
"""Seconds that one request may take, unless configured."""
MAX_BODY: Final = 1 << 20
"""Bytes of a response: a thousand receipts with their errors are some 300 000."""

_SEND: Final = b"/--/api/v2/push/send"
_RECEIPTS: Final = b"/--/api/v2/push/getReceipts"
_MAX_TEXT: Final = 300


class Rejection(NamedTuple):
    """Why Expo's service did not accept a request.

    `name`: for the tickets. `text`: one sentence. `divisible`: whether parts of the request may be accepted; nothing of it was sent.
    `groups`: Expo's own division, tokens by project.
    """

    name: str
    text: str
    divisible: bool = False
    groups: tuple[frozenset[str], ...] = ()


class ExpoService:
    """Expo's push service, for the tokens that it has issued.

    Args:
        access_token: of the Expo account, if its projects require one.
        url: of the service, without a path.
        ca_file: authorities for it; None for the system's.
        proxy: as of the clients.
        rate: notifications a second.
        timeout: seconds for a request and its parts.

    Raises:
        ConfigurationError: one of them cannot work.
    """

    def __init__(
        self,
        access_token: str | None = None,
        *,
        url: str = URL,
        ca_file: str | None = None,
        proxy: Proxy | str | None = None,
        rate: float = RATE,
        timeout: float = TIMEOUT,
    ) -> None:
        self._origin = read_origin(url)
        self._context = client_context(ca_file=ca_file)
        self._proxy = find_proxy(proxy, self._origin.host, self._origin.port)
        self._limiter = RateLimiter(Rate(rate))
        self._timeout = timeout
        fields: list[Field] = [
            (b":method", b"POST"),
            (b":scheme", b"https"),
            (b":authority", self._origin.authority.encode("ascii")),
            (b"content-type", b"application/json"),
            (b"accept", b"application/json"),
        ]
        if access_token is not None:
            fields.append((b"authorization", b"Bearer " + access_token.encode("ascii")))
        self._template = HeaderTemplate(fields)
        self._pool: Pool | None = None
        self._active = 0
        self._idle: asyncio.Future[None] | None = None

    async def open(self) -> None:
        """Get ready; the connection is opened for the first message."""
        self._pool = Pool(
            host=self._origin.host,
            port=self._origin.port,
            context=self._context,
            limits=Limits(self._timeout, idle_ping=None, keepalive=KEEPALIVE, max_body=MAX_BODY),
            max_connections=1,
            proxy=self._proxy,
            name="expo",
        )

    async def close(self) -> None:
        """Wait for open requests and close the connection."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            await pool.close()

    async def close_when_idle(self) -> None:
        """Close it as soon as no request uses it; it has been replaced."""
        while self._active:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle
        await self.close()

    async def send(self, messages: list[Json], seconds: float) -> list[Json]:
        """Forward messages with one recipient each.

        Args:
            messages: in Expo's JSON.
            seconds: in which the tickets must be here.

        Returns:
            Expo's tickets in the order of the messages, or errors in their places.
        """
        if not messages:
            return []
        deadline = asyncio.get_running_loop().time() + min(seconds, self._timeout)
        with self._in_use():
            return await self._send(messages, deadline)

    async def _send(self, messages: list[Json], deadline: float) -> list[Json]:
        if not await self._permitted(len(messages), deadline):
            text = f"not forwarded: Expo accepts at most {self._limiter.rate.pushes:g} notifications a second"
            return _rejected(messages, Rejection("MessageRateExceeded", text))
        outcome = read_tickets(await self._post(_SEND, messages, deadline), len(messages))
        if not isinstance(outcome, Rejection):
            return outcome
        parts = divide(outcome, [message["to"] for message in messages])
        if len(parts) < 2:
            return _rejected(messages, outcome)
        tickets: list[Json] = [{}] * len(messages)
        for part in parts:
            found = await self._send([messages[number] for number in part], deadline)
            for number, ticket in zip(part, found, strict=True):
                tickets[number] = ticket
        return tickets

    async def receipts(self, ids: list[str], seconds: float) -> Json:
        """Expo's receipts for these ids; empty while Expo cannot be reached."""
        deadline = asyncio.get_running_loop().time() + min(seconds, self._timeout)
        with self._in_use():
            data = read_data(await self._post(_RECEIPTS, {"ids": ids}, deadline))
        if not isinstance(data, dict):
            return {}
        return {name: receipt for name, receipt in data.items() if name in ids and isinstance(receipt, dict)}

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        self._active += 1
        try:
            yield
        finally:
            self._active -= 1
            if not self._active and self._idle is not None and not self._idle.done():
                self._idle.set_result(None)

    async def _post(self, path: bytes, document: Any, deadline: float) -> Exchange:
        if self._pool is None:
            raise ClosedError("Expo's service was closed")
        seconds = max(deadline - asyncio.get_running_loop().time(), 0.001)
        return await round_trip(self._pool, self._template, path, orjson.dumps(document), seconds)

    async def _permitted(self, count: int, deadline: float) -> bool:
        """Wait until the rate permits these messages. False if that would be after the deadline: then none are counted."""
        now, limiter = asyncio.get_running_loop().time, self._limiter
        permitted = limiter.permits(count, now())
        while permitted < count:
            wait = limiter.wait(now())
            if now() + wait > deadline:
                limiter.give_back(permitted, now())
                return False
            await asyncio.sleep(wait)
            permitted += limiter.permits(count - permitted, now())
        return True


# --- responses ------------------------------------------------------------------------------------------------------


def read_data(exchange: Exchange) -> Any:
    """`data` of a response; None if it has none."""
    if exchange.error is not None or exchange.status != 200:
        return None
    try:
        document = orjson.loads(exchange.data)
    except orjson.JSONDecodeError:
        return None
    return document.get("data") if isinstance(document, dict) else None


def read_tickets(exchange: Exchange, count: int) -> list[Json] | Rejection:
    """The tickets of a response, one for each message, or why there are none."""
    error = exchange.error
    if error is not None:
        if error.unprocessed:
            return Rejection("ExpoError", f"not forwarded: Expo's service cannot be reached: {error}")
        return Rejection("ProviderError", f"may have been delivered: Expo's service did not respond: {error}")
    tickets = read_data(exchange)
    if isinstance(tickets, list) and len(tickets) == count and all(isinstance(one, dict) for one in tickets):
        return tickets
    if exchange.status == 200 and not _first_error(exchange.data):
        text = "Expo's response does not have one ticket for each message"
        if tickets is None:
            text = describe_unexpected("Expo", 200, exchange.data)
        return Rejection("ProviderError", f"may have been delivered: {text}")
    return _read_rejection(exchange)


def _read_rejection(exchange: Exchange) -> Rejection:
    status = exchange.status
    error = _first_error(exchange.data)
    if not error and status != 429:
        return Rejection("ExpoError", describe_unexpected("Expo", status, exchange.data))
    code = printable_word(error.get("code"), 100) or f"HTTP {status}"
    text = f"Expo's service rejected it: {code}: {printable_word(error.get('message'), _MAX_TEXT) or 'no reason'}"
    if status == 429 or code == "TOO_MANY_REQUESTS":
        wait = header_of(exchange.header_block, b"retry-after")
        return Rejection("MessageRateExceeded", f"{text}; send it again after {wait} s" if wait else text)
    if status in (401, 403) or code == "UNAUTHORIZED":
        return Rejection("InvalidCredentials", text)
    if status >= 500 or status in (404, 405, 408):
        return Rejection("ExpoError", text)
    details = error.get("details")
    groups: tuple[frozenset[str], ...] = ()
    if code == "PUSH_TOO_MANY_EXPERIENCE_IDS" and isinstance(details, Mapping):
        groups = tuple(
            frozenset(token for token in tokens if isinstance(token, str))
            for tokens in details.values()
            if isinstance(tokens, list)
        )
    return Rejection("DeveloperError", text, True, groups)


def _first_error(body: bytes) -> Mapping[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    errors = document.get("errors") if isinstance(document, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else None
    return first if isinstance(first, dict) else {}


def divide(rejection: Rejection, tokens: list[str]) -> list[list[int]]:
    """The parts of a rejected request to send again, as numbers of messages; with one part nothing is sent again."""
    numbers = list(range(len(tokens)))
    if not rejection.divisible or len(numbers) < 2:
        return [numbers]
    parts = [[number for number in numbers if tokens[number] in group] for group in rejection.groups]
    placed = {number for part in parts for number in part}
    parts.append([number for number in numbers if number not in placed])
    parts = [part for part in parts if part]
    if len(parts) > 1 and sum(map(len, parts)) == len(numbers):
        return parts
    middle = len(numbers) // 2
    return [numbers[:middle], numbers[middle:]]


def _rejected(messages: list[Json], rejection: Rejection) -> list[Json]:
    return [error_ticket(rejection.name, rejection.text, message["to"]) for message in messages]
