"""Broadcast channels of an app: created, read, listed and deleted on Apple's server for channels.

Source: "Sending channel management requests to APNs". `ApnsClient.broadcast` sends to a channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from ..arguments import check_flag, check_type
from ..errors import ConfigurationError, PushRejected, ResponseTooLarge
from ..http2.exchange import NO_FIELDS, header_of
from ..http2.headers import Field, HeaderTemplate
from ..http2.origin import Origin, read_origin
from ..http2.round_trip import round_trip
from ..reasons import describe_unexpected
from ..results import Result, Verdict
from .broadcast import bundle_id_of, channel_field
from .client import ApnsClient
from .reasons import CHANNEL_TABLE
from .values import InvalidPush

SERVERS: Final = {
    "production": Origin("api-manage-broadcast.push.apple.com", 2196),
    "sandbox": Origin("api-manage-broadcast.sandbox.push.apple.com", 2195),
}
MAX_LIST: Final = 1024 * 1024
"""Bytes of a list: the 10 000 channels that an app may have, with ids four times as long as Apple's are."""

_METHODS: Final = (b"POST", b"GET", b"DELETE")


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel.

    Attributes:
        id: as Apple has assigned it.
        stores: whether APNs keeps its newest message, for 8 hours at most, for devices that are offline.
    """

    id: str
    stores: bool


class Channels:
    """Manages the broadcast channels of an app with the key or certificate of a client.

    A channel belongs to one app and one environment, which may have 10 000 of them; its storage policy never
    changes, and a deleted one does not come back.

    A call is retried within the client's `timeout` only when APNs certainly did not process it. Without a
    response (`error.result.verdict` is UNKNOWN), or when a call is cancelled, a channel may have been created
    or deleted all the same; `list` tells.

    Args:
        client: it must be open while this is used.
        topic: the app's bundle id, unless it is the client's.
        url: another server than Apple's, such as "https://127.0.0.1:2196"; a client with a `url` needs one
            here, too.

    Raises:
        ConfigurationError: an argument is wrong; the message names it.
    """

    def __init__(self, client: ApnsClient, *, topic: str | None = None, url: str | None = None) -> None:
        check_type("client", client, ApnsClient, "an ApnsClient")
        if url is not None:
            self._origin = read_origin(url)
        elif client.environment is not None:
            self._origin = SERVERS[client.environment]
        else:
            raise ConfigurationError(
                "the client has a url, so Channels needs the url of the server for channels"
            )
        try:
            bundle_id = bundle_id_of(topic, client._dispatcher.requests)
        except InvalidPush as error:
            raise ConfigurationError(error.detail) from None
        self._dispatcher = client._dispatcher
        self._bundle_id = bundle_id
        self._path = b"/1/apps/%b/channels" % bundle_id.encode()
        self._list_path = b"/1/apps/%b/all-channels" % bundle_id.encode()
        authority = self._origin.authority.encode("ascii")
        self._templates = {
            method: HeaderTemplate(
                [
                    (b":method", method),
                    (b":scheme", b"https"),
                    (b":authority", authority),
                    *([(b"content-type", b"application/json")] if method == b"POST" else ()),
                ]
            )
            for method in _METHODS
        }

    async def create(self, *, stores: bool = False) -> Channel:
        """Create a channel. With `stores` APNs keeps its newest message; without it, APNs accepts more messages per hour.

        Raises:
            PushRejected: APNs did not create the channel; `result` says why.
            ClosedError: the client is not open.
            EventLoopError: the client was opened on another event loop.
            ValueError: `stores` is neither true nor false.
        """
        check_flag("stores", stores, ValueError)
        attributes = {"message-storage-policy": int(stores), "push-type": "LiveActivity"}
        result, body = await self._request(b"POST", self._path, orjson.dumps(attributes))
        channel_id = result.id
        if not channel_id:
            raise _unexpected(result, body)
        return Channel(channel_id, stores)

    async def read(self, channel_id: str) -> Channel:
        """The properties of a channel at APNs.

        Raises:
            PushRejected: APNs did not respond with them, or `channel_id` cannot be the id of a channel; `result` says why.
            ClosedError: the client is not open.
            EventLoopError: the client was opened on another event loop.
        """
        result, body = await self._request(b"GET", self._path, channel_id=channel_id)
        policy = _object(body).get("message-storage-policy")
        if type(policy) is not int or policy not in (0, 1):
            raise _unexpected(result, body)
        return Channel(channel_id, policy == 1)

    async def delete(self, channel_id: str) -> None:
        """Delete a channel permanently. Messages that it stores may still be delivered.

        Raises:
            PushRejected: APNs did not delete the channel, or `channel_id` cannot be the id of a channel; `result` says why.
            ClosedError: the client is not open.
            EventLoopError: the client was opened on another event loop.
        """
        result, body = await self._request(b"DELETE", self._path, channel_id=channel_id)
        if body:
            raise _unexpected(result, body)

    async def list(self) -> list[str]:
        """The ids of all channels of the app in this environment.

        Raises:
            PushRejected: APNs did not respond with a list; `result` says why.
            ClosedError: the client is not open.
            EventLoopError: the client was opened on another event loop.
        """
        result, body = await self._request(b"GET", self._list_path)
        ids = _object(body).get("channels")
        if not isinstance(ids, list) or not all(isinstance(channel_id, str) for channel_id in ids):
            raise _unexpected(result, body)
        return ids

    async def _request(
        self, method: bytes, path: bytes, content: bytes = b"", *, channel_id: str | None = None
    ) -> tuple[Result, bytes]:
        """The result and the body of a response with a status of 2xx. Raises `PushRejected` for any other."""
        dispatcher = self._dispatcher
        pool = dispatcher.pool_to(self._origin, MAX_LIST)
        own_fields: tuple[Field, ...] = NO_FIELDS
        if channel_id is not None:
            try:
                own_fields = (channel_field(channel_id),)
            except InvalidPush as error:
                Result(
                    channel_id, error.verdict, reason=error.reason, detail=error.detail
                ).raise_for_verdict()
        exchange = await round_trip(
            pool,
            self._templates[method],
            path,
            content,
            dispatcher.timeout,
            lambda exchange: dispatcher.resend(exchange, pool),
            own_fields,
        )
        push, status = channel_id or self._bundle_id, exchange.status
        if isinstance(exchange.error, ResponseTooLarge) and 200 <= status < 300:  # a list may be too long
            result = Result(push, Verdict.UNKNOWN, status, exchange.attempts, detail=exchange.error)
            raise PushRejected(result)
        if exchange.error is not None or not 200 <= status < 300:
            dispatcher.outcome(exchange, push, CHANNEL_TABLE, _find).raise_for_verdict()
        result = Result(push, Verdict.ACCEPTED, status, exchange.attempts, exchange.header_block, _find)
        return result, exchange.data


def _find(push: object, header_block: Any, name: str) -> str | None:
    """For `Result`: the id of the channel that was created."""
    return header_of(header_block, b"apns-channel-id") if name == "id" else None


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def _unexpected(result: Result, body: bytes) -> PushRejected:
    """The error of a 2xx without the body that Apple documents: the outcome of the request is unknown."""
    result.verdict = Verdict.UNKNOWN
    result.detail = describe_unexpected("APNs", result.status or 0, body)
    return PushRejected(result)
