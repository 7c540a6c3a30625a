"""`LegacyFcmClient`: sends through the legacy API, `/fcm/send`, which Google has shut down, but other servers still implement."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar, Unpack

from ..arguments import kind
from ..errors import ConfigurationError, GoAway, HeaderListTooLarge, ResponseTooLarge, TransportError
from ..http2.exchange import Exchange, header_of
from ..http2.origin import Origin, read_origin
from ..http2.protocol import Http2, Link
from ..http2.proxy import Proxy
from ..http2.streams import KEEPALIVE, KeepAlive
from ..http2.tls import PathOrContent, client_context
from ..models.fcm import MAX_REGISTRATION_IDS, LegacyMessage
from ..models.fcm_check import check_legacy_token
from ..models.fcm_values import FieldError
from ..provider_client import Dispatcher, ProviderClient, TransportOptions
from ..results import ACCEPTED, Result, Verdict
from .legacy_errors import LegacyOutcome, read_legacy
from .legacy_result import LegacyResult
from .request import LegacyRequestBuilder

L = TypeVar("L", bound=LegacyMessage)

_KEY: Final = re.compile(r"[!-~]{1,4096}", re.ASCII)


class LegacyFcmClient(ProviderClient[LegacyMessage]):
    """Sends through FCM's legacy API. Google shut it down in 2024: it lives on in gateways and private servers.

    Results are of the class `LegacyResult`. That of a message to several `registration_ids` is a summary:
    ACCEPTED when at least one device was accepted, never UNREGISTERED; look at its `devices`.

    Use it as an async context manager, on one event loop.

    Args:
        server_key: what stands behind "key=" in the `authorization` header.
        url: the server, "https://host:port"; there is no default, for Google's own no longer responds.
        ca_file: the only authorities to trust, as the path of a PEM file or its content; None for the system's.
        max_connections: how many to open at most.
        timeout: seconds from the moment that the client takes a push until its result.
        http2: "fast", or "reference" for the one on python-hyper/h2.
        proxy: an HTTP proxy or its address; None for none.
        idle_ping: seconds of silence after which an idle connection is pinged; None for never.
        keepalive: the system's probes of silent connections: seconds before the first, seconds between them,
            how many; None for none.
        now: the wall clock, UNIX seconds.

    Raises:
        ConfigurationError: an argument is wrong; the message names it.
    """

    _dispatcher: LegacyDispatcher

    def __init__(
        self,
        server_key: str,
        *,
        url: str,
        ca_file: PathOrContent | None = None,
        max_connections: int = 10,
        timeout: float = 10.0,
        http2: Http2 = "fast",
        proxy: Proxy | str | None = None,
        idle_ping: float | None = None,
        keepalive: KeepAlive | None = KEEPALIVE,
        now: Callable[[], float] = time.time,
    ) -> None:
        if not isinstance(server_key, str) or not _KEY.fullmatch(server_key):
            # The key is a secret, and so may be a value that was given instead of it.
            raise ConfigurationError('server_key is the text after "key=", without white space')
        dispatcher = LegacyDispatcher(
            server_key,
            read_origin(url),
            ca_file,
            max_connections=max_connections,
            timeout=timeout,
            http2=http2,
            proxy=proxy,
            idle_ping=idle_ping,
            keepalive=keepalive,
            now=now,
        )
        super().__init__(dispatcher)

    if TYPE_CHECKING:  # the same method, whose result knows a subclass

        async def send(self, push: L) -> LegacyResult[L]: ...

    async def send_multicast(self, push: LegacyMessage) -> list[LegacyResult[LegacyMessage]]:
        """Send one message to all its `registration_ids`, however many, in requests of 1000; one result per id.

        The results are in the order of the ids. An invalid id is INVALID by itself and does not affect the rest.

        Raises:
            ClosedError: the client is not open.
            TypeError: it is no `LegacyMessage`.
            ValueError: the message has no `registration_ids`.
        """
        if not isinstance(push, LegacyMessage):
            raise TypeError(f"this client sends LegacyMessage, not {kind(push)}")
        ids = list(push.registration_ids or ())
        if not ids:
            raise ValueError("the message has no registration_ids")
        results: dict[int, LegacyResult] = {}
        valid: list[int] = []
        for index, token in enumerate(ids):
            try:
                check_legacy_token(token, f"registration_ids[{index}]")
                valid.append(index)
            except FieldError as error:
                results[index] = LegacyResult(
                    _to_device(push, token),
                    Verdict.INVALID,
                    reason="InvalidRegistration",
                    detail=error.detail,
                )
        chunks = [
            valid[start : start + MAX_REGISTRATION_IDS]
            for start in range(0, len(valid), MAX_REGISTRATION_IDS)
        ]
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self.send(_to_devices(push, [ids[i] for i in chunk]))) for chunk in chunks
            ]
        for chunk, task in zip(chunks, tasks, strict=True):
            result = task.result()
            for position, index in enumerate(chunk):
                results[index] = (
                    result.devices[position]
                    if result.devices
                    else _device_result(result, _to_device(push, ids[index]))
                )
        return [results[index] for index in range(len(ids))]


class LegacyDispatcher(Dispatcher[LegacyMessage]):
    """Sends for a `LegacyFcmClient`, whose arguments these are."""

    handles: type[LegacyMessage] = LegacyMessage
    streams = 100
    """Requests at a time on a connection, as Google allowed."""
    requests: LegacyRequestBuilder
    quota = False
    """There is no rate that all gateways and private servers allow."""
    provider = "fcm"

    def __init__(
        self,
        server_key: str,
        origin: Origin,
        ca_file: PathOrContent | None,
        **transport: Unpack[TransportOptions],
    ) -> None:
        super().__init__(origin, client_context(ca_file=ca_file), **transport)
        self._authorization = b"key=" + server_key.removeprefix("key=").encode()
        self.requests = LegacyRequestBuilder(origin.authority)

    def _authorize(self, link: Link) -> None:
        link.connection.authorize(self._authorization)

    def result(self, exchange: Exchange, push: Any) -> LegacyResult:
        """The result of `push`, whose finished exchange this is."""
        ids = push.registration_ids
        error = exchange.error
        if error is not None and not isinstance(error, ResponseTooLarge):
            return _error_result(exchange, push, error)
        status, body = exchange.status, exchange.data
        # Headers are decoded, because a Retry-After may apply to any of a thousand devices.
        wait = (
            header_of(exchange.header_block, b"retry-after") if status != 200 or b'"error"' in body else None
        )
        outcomes = read_legacy(status, body, wait, self._now(), None if ids is None else len(ids))
        if ids is None:
            return _result(push, outcomes[0], exchange)
        devices = tuple(
            _result(_to_device(push, token), outcome, exchange)
            for token, outcome in zip(ids, outcomes, strict=True)
        )
        return _summary(push, devices, exchange)


def _result(push: Any, outcome: LegacyOutcome, exchange: Exchange) -> LegacyResult:
    return LegacyResult(
        push,
        outcome.verdict,
        status=exchange.status,
        attempts=exchange.attempts,
        id=outcome.id,
        reason=outcome.reason,
        retry_after=outcome.retry_after,
        detail=outcome.detail,
        canonical=outcome.canonical,
        failed=outcome.failed,
        row=outcome.row,
    )


def _summary(push: Any, devices: tuple[LegacyResult, ...], exchange: Exchange) -> LegacyResult:
    """One result for a message to several devices."""
    counts = Counter(device.verdict for device in devices)
    accepted = counts[ACCEPTED]
    rejected = next((device for device in devices if device.verdict is not ACCEPTED), devices[0])
    verdict = ACCEPTED if accepted else counts.most_common(1)[0][0]
    detail = None
    if len(devices) > 1:
        if verdict is Verdict.UNREGISTERED:
            verdict = Verdict.INVALID  # the message has no single token that could be dropped
        if accepted < len(devices):
            detail = f"{len(devices) - accepted} of {len(devices)} devices did not get it"
    same_verdict = len(counts) == 1  # and so the same reason
    return LegacyResult(
        push,
        verdict,
        status=exchange.status,
        attempts=exchange.attempts,
        id=devices[0].id if len(devices) == 1 else None,
        reason=rejected.reason if same_verdict else None,
        retry_after=max(
            (device.retry_after for device in devices if device.retry_after is not None), default=None
        ),
        detail=detail or rejected.detail,
        canonical=devices[0].canonical if len(devices) == 1 else None,
        devices=devices,
        row=rejected.row if same_verdict else None,
    )


def _error_result(exchange: Exchange, push: Any, error: TransportError) -> LegacyResult:
    """The result of an exchange that ended with an error instead of a complete response."""
    if isinstance(error, HeaderListTooLarge):
        verdict = Verdict.INVALID
    else:
        verdict = Verdict.UNSENT if error.unprocessed else Verdict.UNKNOWN
    result = LegacyResult(
        push,
        verdict,
        status=exchange.status or None,
        attempts=exchange.attempts,
        reason=error.reason if isinstance(error, GoAway) else None,
        detail=error,
    )
    if push.registration_ids is not None:
        result.devices = tuple(
            _device_result(result, _to_device(push, token)) for token in push.registration_ids
        )
    return result


def _device_result(result: Result, push: Any) -> LegacyResult:
    """The same result for one of the devices."""
    return LegacyResult(
        push,
        result.verdict,
        status=result.status,
        attempts=result.attempts,
        reason=result.reason,
        retry_after=result.retry_after,
        detail=result.detail,
        row=result.row,
    )


def _to_device(push: LegacyMessage, token: str) -> LegacyMessage:
    """The same message to one device."""
    message = _to_devices(push, None)
    message.to = token
    return message


def _to_devices(push: LegacyMessage, tokens: Sequence[str] | None) -> LegacyMessage:
    message = object.__new__(LegacyMessage)
    for name in LegacyMessage.__slots__:
        setattr(message, name, getattr(push, name))
    message.registration_ids = tokens
    return message
