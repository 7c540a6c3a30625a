"""`FcmDispatcher` sends for an `FcmClient`: it has the access tokens, and makes the results."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, Final, Unpack

import orjson

from ..auth.access_token import AccessToken, AccessTokens
from ..auth.google_credentials import GoogleCredentials
from ..auth.service_account import ServiceAccount
from ..errors import (
    AccessTokenError,
    ConfigurationError,
    GoAway,
    HeaderListTooLarge,
    ResponseTimeout,
    ResponseTooLarge,
    TransportError,
)
from ..http2.exchange import Exchange, header_of
from ..http2.origin import Origin, split_uri
from ..http2.pool import Pool
from ..http2.protocol import Link
from ..http2.tls import PathOrContent, client_context
from ..models.fcm import Message
from ..models.tokens import unlike_fcm
from ..provider_client import Dispatcher, TransportOptions
from ..reasons import UNEXPECTED, UNNAMED, Reason
from ..results import ACCEPTED, Accepted, Result, Verdict
from .confirmation import Confirm, TokenConfirmation
from .errors import (
    DEAD_TOKEN,
    SUSPECT_TOKEN,
    FcmFailure,
    find_name,
    message_name,
    read_error,
    read_unexpected,
)
from .request import FcmRequestBuilder
from .shapes import UNPROVING, shapes_of
from .token_endpoint import TokenEndpoint

log = logging.getLogger("pushcore.fcm")

STREAMS: Final = 100
"""SETTINGS_MAX_CONCURRENT_STREAMS of Google's servers."""
_MESSAGES: Final = b"/messages/"


def _name_range(beginning: bytes) -> tuple[bytes, bytes]:
    """The range of responses that have this beginning and then an id: from the first bytes to the second.

    Two comparisons find whether a response is one of them, without a call or an allocation.

    Args:
        beginning: of a response to an accepted message; its last character is a slash.
    """
    return beginning + b"#", beginning[:-1] + b"0"  # "#" follows the quotation mark, and "0" the slash


Reader = Callable[[int, bytes, str | None, float], FcmFailure]
"""Reads a rejection: its status, its body, the value of its Retry-After, and the time in UNIX seconds."""


def _quota_project(account: ServiceAccount | GoogleCredentials) -> str | None:
    return account.quota_project if isinstance(account, GoogleCredentials) else None


def _token_mistake(push: Message) -> str:
    """What is wrong with the form of a push's token; empty if nothing is. If it is wrong, Google's reason is not reliable.

    Nearly all such tokens are found before they are sent. One with a second colon, for example, is not (`burst_tokens`).
    """
    problem = unlike_fcm(push.token) if push.token is not None else ""
    return f"the token {problem}" if problem else ""


class FcmDispatcher(Dispatcher[Message]):
    """Sends for an `FcmClient`, and for its `Topics`. `account`: what signs. The rest are the client's arguments."""

    handles: type[Message] = Message
    streams = STREAMS
    """Requests at a time on a connection, as Google allows."""
    requests: FcmRequestBuilder
    quota = True
    """Google limits the rate of a whole project ("Best practices when sending FCM messages at scale")."""
    provider = "fcm"

    def __init__(
        self,
        account: ServiceAccount | GoogleCredentials,
        origin: Origin,
        project_id: str,
        ca_file: PathOrContent | None,
        *,
        confirm: Confirm | None,
        **transport: Unpack[TransportOptions],
    ) -> None:
        self._account = account
        self.ca_file = ca_file
        self._confirm = confirm
        self._confirmation: TokenConfirmation | None = None
        super().__init__(origin, client_context(ca_file=ca_file), **transport)
        if isinstance(account, ServiceAccount):
            self._proxy_for(split_uri(account.token_uri)[0])
        self.requests = FcmRequestBuilder(self.origin.authority, project_id, _quota_project(account))
        self._name_range = _name_range(b'{\n  "name": "projects/%b/messages/' % project_id.encode())
        self._shapes = self.requests.accepted_shapes
        self._tokens: AccessTokens
        self._endpoints: dict[str, TokenEndpoint] = {}
        self._fail_handle: asyncio.Handle | None = None

    # --- opening and closing --------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Request an access token; the first connection to FCM is made when there is something to send."""
        await super().open()
        if self._confirm is not None:
            self._confirmation = TokenConfirmation(self.pool, self.resend, self.timeout)
        self._endpoints.clear()
        if isinstance(self._account, ServiceAccount):
            self._endpoint_of(self._account)
        self._tokens = AccessTokens(self._issue, self._on_token, now=self._now, clock=self._loop.time)
        self._tokens.current()

    def use(self, account: ServiceAccount | GoogleCredentials) -> None:
        """See `FcmClient.use`."""
        self.check_loop()
        if _quota_project(account) != _quota_project(self._account):
            raise ConfigurationError("the account has another quota project, which needs another client")
        if isinstance(account, ServiceAccount):
            self._proxy_for(split_uri(account.token_uri)[0])
        self._account = account
        if self.opened:
            self._tokens.renew()

    async def _close_pools(self) -> None:
        if self._confirmation is not None:
            self._confirmation.close()
        if self._fail_handle is not None:
            self._fail_handle.cancel()
            self._fail_handle = None
        async with contextlib.AsyncExitStack() as stack:  # each is closed even if this is cancelled meanwhile
            stack.push_async_callback(super()._close_pools)
            for endpoint in self._endpoints.values():
                stack.push_async_callback(endpoint.close)
            await self._tokens.close()

    def _abandon_pools(self) -> None:
        self._fail_handle = None
        for endpoint in self._endpoints.values():
            endpoint.pool.abandon()
        super()._abandon_pools()

    # --- sending --------------------------------------------------------------------------------------------------

    def accept(self, finished: list[Exchange], results: list[Result]) -> list[Exchange]:
        """See `Dispatcher.accept`. A push was accepted when a 200 names its message: other servers say 200, too.

        To compare its beginning costs less than to read the JSON. A response in another spelling, or without the name of a
        message, is left to `result`.
        """
        shapes, (start, end), results_before = self._shapes, self._name_range, len(results)
        responses = shapes.responses = shapes.responses + len(finished)
        current = shapes.current
        not_accepted = []
        for exchange in finished:
            body = exchange.data
            if exchange.status == 200 and exchange.error is None and start <= body < end:
                if exchange.shape is not current:
                    # The accepted push before it, if this batch has one, was of the current shape.
                    shapes.accepted_at[current] = (
                        responses if len(results) > results_before else shapes.current_at
                    )
                    current = exchange.shape
                accepted = Accepted()
                accepted.push = exchange.context
                accepted.attempts = exchange.attempts
                accepted._id = body
                accepted._find = find_name
                results.append(accepted)
            else:
                not_accepted.append(exchange)
        if len(results) > results_before:
            shapes.current, shapes.current_at = current, responses
        return not_accepted

    def result(self, exchange: Exchange, push: Any) -> Result | None:
        """The result of `push`, whose exchange `accept` has not accepted; None when it was sent again."""
        error = exchange.error
        if error is not None and not isinstance(error, ResponseTooLarge):
            return self.error_result(exchange, push, error)
        if exchange.status == 200 and error is None and message_name(exchange.data) is not None:
            before, found, _ = exchange.data.partition(_MESSAGES)
            if found:  # the layout of this server, and its name for the project
                self._name_range = _name_range(before + found)
            self._shapes.add(exchange.shape)
            return Result(
                push, ACCEPTED, 200, exchange.attempts, exchange.data, find_name, row=UNNAMED[ACCEPTED]
            )
        failure = self.failure(exchange)
        if failure.refresh_token and self.replay(exchange, self._pool):
            return None
        row, detail = failure.row, failure.detail
        if row is SUSPECT_TOKEN:
            suspect_row = self._suspect_row(exchange)
            if suspect_row is None:
                return None
            row = suspect_row
        if row.verdict is Verdict.UNREGISTERED and (mistake := _token_mistake(push)):
            row, detail = UNNAMED[Verdict.INVALID], mistake
        return Result(
            push,
            row.verdict,
            exchange.status,
            exchange.attempts,
            reason=failure.reason,
            retry_after=failure.retry_after,
            detail=detail,
            row=row,
        )

    def _suspect_row(self, exchange: Exchange) -> Reason | None:
        """The row of a 400 that blames the token; None while a dry run asks Google about it, and the result waits."""
        shape = exchange.shape
        if shape is UNPROVING and exchange.context.token is not None:  # a dry run: that of the message itself
            message = orjson.loads(exchange.body)["message"]
            pair = self._shapes.pair(shapes_of(message), apns="apns" in message)
            shape = pair.alerting if "notification" in message else pair.silent
        if self._shapes.accepted_lately(shape):
            return DEAD_TOKEN
        return SUSPECT_TOKEN if self._confirmation is None else self._confirmation.row_of(exchange)

    def failure(self, exchange: Exchange, read: Reader = read_error) -> FcmFailure:
        """Read an error response. Its headers are decoded only where one of them matters."""
        status = exchange.status
        if exchange.error is not None:  # the body is too long to be Google's
            return read_unexpected(status, exchange.data)
        wait = None
        if status == 429 or status >= 500:
            wait = header_of(exchange.header_block, b"retry-after")
        return read(status, exchange.data, wait, self._now())

    def error_result(self, exchange: Exchange, push: Any, error: TransportError) -> Result:
        """The result of an exchange that ended with an error instead of a complete response."""
        if isinstance(error, ResponseTimeout) and error.unprocessed and self._tokens.missing:
            error = self._why_no_token()
        reason = error.reason if isinstance(error, GoAway | AccessTokenError) else None
        if isinstance(error, HeaderListTooLarge):
            verdict = Verdict.INVALID
        elif isinstance(error, AccessTokenError) and (error.permanent or error.reason == UNEXPECTED.name):
            verdict = Verdict.MISCONFIGURED
        else:
            verdict = Verdict.UNSENT if error.unprocessed else Verdict.UNKNOWN
        return Result(push, verdict, exchange.status or None, exchange.attempts, reason=reason, detail=error)

    # --- access tokens --------------------------------------------------------------------------------------------

    async def _issue(self) -> AccessToken:
        account = self._account
        if isinstance(account, GoogleCredentials):
            return await account.issue()
        return await account.issue(self._endpoint_of(account).post, self._now())

    def _endpoint_of(self, account: ServiceAccount) -> TokenEndpoint:
        endpoint = self._endpoints.get(account.token_uri)
        if endpoint is None:
            endpoint = self._endpoints[account.token_uri] = TokenEndpoint(
                account.token_uri,
                self._context,
                engine=self._engine,
                now=self._now,
                proxy=self._proxy_for(split_uri(account.token_uri)[0]),
                keepalive=self.keepalive,
            )
        return endpoint

    def _authorize(self, link: Link) -> bool:
        """Give a connection the current token before requests are sent on it; False while there is none."""
        value = self._tokens.current()
        if value is None:
            if self._fail_handle is None and self._tokens.hopeless:
                self._fail_handle = self._loop.call_soon(self._fail_waiting)
            return False
        link.connection.authorize(value)
        return True

    def _on_token(self) -> None:
        """Called when there is a new token, or when there will be none."""
        value = self._tokens.current()
        if value is None:
            if self._tokens.hopeless:
                self._fail_waiting()
            return  # the pool calls `_authorize` again, a few times a second, as long as requests are queued
        log.info("there is a new access token")
        self.expiries["access_token"] = self._tokens.expires
        if self._pool is not None:
            self._pool.events.token_rotated("fcm")
        for pool in self._pools.values():
            for link in pool.links:
                connection = link.connection
                if connection.authorization != value:
                    connection.authorize(value)
                    # If the old token is rejected, that says nothing about the new one: see `replay`.
                    for exchange in connection.streams.values():
                        if not hasattr(exchange, "replayed"):
                            exchange.replayed = False
            pool.pump()

    def _fail_waiting(self) -> None:
        """End the exchanges that wait for a token, because there will be none."""
        self._fail_handle = None
        if self._tokens.hopeless:
            for pool in list(self._pools.values()):
                pool.fail_waiting(self._why_no_token())

    def _why_no_token(self) -> AccessTokenError:
        error = self._tokens.error
        if error is not None:
            return error
        endpoints = list(self._endpoints.values())
        connect_error = endpoints[-1].pool.last_error if endpoints else None
        return AccessTokenError(
            f"no access token was received in time{f': {connect_error}' if connect_error else ''}"
        )

    def resend(self, exchange: Exchange, pool: Pool) -> bool:
        """Send an exchange again whose response blames the access token. False if it does not, or if that cannot help."""
        if exchange.error is not None or exchange.status != 401:
            return False
        return self.failure(exchange).refresh_token and self.replay(exchange, pool)

    def replay(self, exchange: Exchange, pool: Pool | None) -> bool:
        """After a 401 that blames the access token: send the exchange again with another. False if that cannot help.

        `replayed` is unset while an exchange was sent with its connection's newest token, False when that has changed
        since, True when it has been sent again.
        """
        replayed = getattr(exchange, "replayed", None)
        if pool is None or replayed or self._pool is None or pool not in self._pools.values():
            return False  # closing: the response stands
        if replayed is None and not self._tokens.invalidate():
            return False
        exchange.replayed = True
        exchange.restart()
        pool.waiting.appendleft(exchange)  # the pool sends it when this batch of responses is done
        return True
