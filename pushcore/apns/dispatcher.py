"""`ApnsDispatcher` sends for an `ApnsClient`: it has the provider tokens, and makes the results."""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar, Unpack

from ..arguments import check_type
from ..auth.clock import clock_advice, read_retry_after
from ..auth.expiry import DAY, expiry_warning
from ..auth.provider_token import HOLD, MAX_AGE, ApnsKey, Environment, TokenLease
from ..errors import ConfigurationError, GoAway, HeaderListTooLarge, ResponseTooLarge, TransportError
from ..http2.exchange import Exchange, header_of
from ..http2.headers import Field
from ..http2.origin import Origin
from ..http2.pool import Pool
from ..http2.protocol import Link
from ..http2.round_trip import round_trip
from ..http2.streams import ConnectionState, Streams
from ..http2.tls import ApnsCertificate, PathOrContent, client_context
from ..models.apns import Broadcast, Notification
from ..provider_client import Dispatcher, TransportOptions
from ..reasons import UNNAMED, ReasonTable, describe_unexpected
from ..results import Accepted, Finder, Result, Verdict
from .broadcast import build, find_id, template_for
from .reasons import CHANNEL_TABLE, REASONS, TABLE, read_error
from .request import ApnsRequestBuilder

log = logging.getLogger("pushcore.apns")

B = TypeVar("B", bound=Broadcast)

NETWORK_SLACK: Final = 30.0
"""Seconds that a connection keeps a token beyond Apple's 20 minutes: the first push with the old one may have
been delayed, so that Apple saw it that much later than we sent it."""

DATED: Final = frozenset({"ExpiredProviderToken", "InvalidProviderToken"})
"""Reasons of the rejection of a token that was made by a wrong clock, among other causes."""

DRAIN_WINDOW: Final = 60.0
"""Seconds in which at most `max_connections` are drained because APNs has bound them to another key. Apple states no limit."""


def _find(
    push: Any, header_block: bytes | list[Field], name: str, environment: str | None = None
) -> str | None:
    """For `Result`: the push's own id, or that of the response."""
    if name == "environment":
        return environment
    if name == "id":
        return str(push.apns_id) if push.apns_id else header_of(header_block, b"apns-id")
    return header_of(header_block, b"apns-unique-id")


class ApnsDispatcher(Dispatcher[Notification]):
    """Sends for an `ApnsClient`, and for its `Channels`.

    `broadcasts`: the server for broadcasts. The rest are the client's arguments.
    """

    handles: type[Notification] = Notification
    streams = 1000
    """Requests at a time on a connection, as APNs usually allows."""
    requests: ApnsRequestBuilder
    quota = False
    """APNs limits no project's rate; its 429 is about one device."""
    provider = "apns"

    def __init__(
        self,
        auth: ApnsKey | ApnsCertificate,
        origin: Origin,
        broadcasts: Origin,
        topic: str | None,
        ca_file: PathOrContent | None,
        *,
        environment: Environment | None,
        **transport: Unpack[TransportOptions],
    ) -> None:
        self.environment = environment
        self._key = auth if isinstance(auth, ApnsKey) else None
        self._certificate = auth if isinstance(auth, ApnsCertificate) else None
        self._ca_file = ca_file
        super().__init__(
            origin,
            client_context(ca_file=ca_file, certificate=self._certificate),
            **transport,
        )
        self._find: Finder = partial(_find, environment=environment) if environment is not None else _find
        self._identified = False  # whether a 200 has shown if it is APNs that responds
        self.requests = ApnsRequestBuilder(
            origin.authority,
            topic,
            token_auth=self._key is not None,
            key_topics=self._key.topics if self._key is not None else None,
            now=self._now,
            environment=environment,
        )
        self._broadcasts = broadcasts
        self._broadcast = template_for(self._broadcasts.authority)
        self._expiry_timer: asyncio.TimerHandle | None = None
        self._leases: dict[Link, TokenLease] = {}
        self._token = b""  # the newest that each connection has
        self._drained = 0  # connections, since `_drained_since`, that were bound to another key
        self._drained_since = -math.inf

    async def open(self) -> None:
        """See `Dispatcher.open`."""
        await super().open()
        self._watch_expiry()

    async def close(self) -> None:
        """See `ProviderClient.close`."""
        await super().close()
        self._leases.clear()
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()
            self._expiry_timer = None

    def use(self, auth: ApnsKey | ApnsCertificate) -> None:
        """See `ApnsClient.use`."""
        check_type("auth", auth, (ApnsKey, ApnsCertificate), "an ApnsKey or an ApnsCertificate")
        self.check_loop()
        key, certificate = (auth, None) if isinstance(auth, ApnsKey) else (None, auth)
        context = self._context
        if certificate is not None or self._certificate is not None:
            if key is not None and self.requests.topic is None:
                # Waiting requests may have no topic, as a certificate implies it.
                raise ConfigurationError(
                    "a key cannot take the place of the certificate: it needs a topic, and the client was made without one"
                )
            context = client_context(ca_file=self._ca_file, certificate=certificate)
        if certificate is not None and self._key is not None:
            self._leases.clear()
            self._token = b""
        was, now = ("certificate" if one is None else "key" for one in (self._key, key))
        self._key, self._certificate = key, certificate
        self.expiries.pop("provider_token" if key is None else "certificate", None)
        self.requests.use(token_auth=key is not None, key_topics=key.topics if key is not None else None)
        log.info("the %s was replaced%s", was, "" if now == was else f" by a {now}")
        self._renew(context)
        if self.opened:
            self._watch_expiry()

    def _watch_expiry(self) -> None:
        """Record when the certificate expires, and warn once a day in its last month."""
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()
            self._expiry_timer = None
        if self._certificate is None:
            return
        self.expiries["certificate"] = expires = self._certificate.expires.timestamp()
        self._expiry_timer = self._loop.call_later(DAY, self._watch_expiry)
        if text := expiry_warning(f"the certificate {self._certificate.subject!r}", expires, self._now()):
            log.warning("%s", text)

    # --- sending --------------------------------------------------------------------------------------------------

    def accept(self, finished: list[Exchange], results: list[Result]) -> list[Exchange]:
        """See `Dispatcher.accept`. A 200 with a body is left to `result`: Apple's has none."""
        if not self._identified:
            self._identify(finished)
        find = self._find
        not_accepted = []
        for exchange in finished:
            if exchange.status == 200 and exchange.error is None and not exchange.data:
                accepted = Accepted()
                accepted.push = exchange.context
                accepted.attempts = exchange.attempts
                accepted._id = exchange.header_block
                accepted._find = find
                results.append(accepted)
            else:
                not_accepted.append(exchange)
        return not_accepted

    def _identify(self, finished: list[Exchange]) -> None:
        """Warn if the client's first 200 is not Apple's, whose responses always have an apns-id.

        It counts as accepted: servers for tests often leave the id out, and only Apple's own server has a certificate
        for Apple's host.
        """
        for exchange in finished:
            if exchange.status == 200 and exchange.error is None:
                self._identified = True
                if header_of(exchange.header_block, b"apns-id") is None:
                    log.warning(
                        "the responses have no apns-id, so they are not APNs' (a proxy, a wrong URL?)"
                    )
                return

    def result(self, exchange: Exchange, push: Any) -> Result | None:
        """The result of `push`, whose finished exchange this is; None when it was sent again."""
        if self.resend(exchange, self._pool):
            return None
        result = self.outcome(exchange, push, TABLE, _find)
        if result.row.blame == "token" and not result.row.unknown_token:
            result._find = self._find  # which knows the environment
        return result

    async def broadcast(self, push: B) -> Result[B]:
        """See `ApnsClient.broadcast`."""
        if not isinstance(push, Broadcast):
            raise TypeError(f"a broadcast is a Broadcast, not {type(push).__name__}")
        pool, started = self.pool_to(self._broadcasts), self.loop.time()
        result = await self._broadcast_to(pool, push)
        self.tell(result, started)
        return result

    async def _broadcast_to(self, pool: Pool, push: B) -> Result[B]:
        request = build(push, self.requests)
        if isinstance(request, Result):
            return request
        exchange = await round_trip(
            pool,
            self._broadcast,
            request.path,
            request.body,
            self.timeout,
            lambda exchange: self.resend(exchange, pool),
            request.own_fields,
        )
        if exchange.status == 200 and exchange.error is None and not exchange.data:
            return Result(push, Verdict.ACCEPTED, 200, exchange.attempts, exchange.header_block, find_id)
        return self.outcome(exchange, push, CHANNEL_TABLE, find_id)

    @property
    def takes_all(self) -> bool:
        """Whether its key is for every topic of the team."""
        return self._key is None or self._key.topics is None

    def takes(self, push: Notification) -> bool:
        """Whether its key is for the topic of this push, and the push not for another environment."""
        requests = self.requests
        return requests.takes_environment(push.environment) and requests.takes(push.topic)

    def outcome(self, exchange: Exchange, push: Any, table: ReasonTable, find: Finder) -> Result:
        """The result of a finished exchange that was not accepted, by one of Apple's tables.

        Apple's rejections have a JSON body with a reason. Any other response is not Apple's, whatever
        its status. A 410 drops the token only with one of Apple's reasons for 410, or with a new reason and Apple's timestamp.
        """
        status, error = exchange.status, exchange.error
        if error is not None and not isinstance(error, ResponseTooLarge):
            return _error_result(exchange, push, error, find)
        reason, timestamp = (None, None)
        if status >= 400 and error is None:
            reason, timestamp = read_error(exchange.data, exchange.header_block)
        detail = None
        if reason is None or (
            (timestamp is None or reason in table.rows)
            and table.find(status, reason) is None
            and table.of_status(status).verdict is Verdict.UNREGISTERED
        ):
            row = table.of_unexpected(status)
            reason = row.name or None
            detail = describe_unexpected("APNs", status, exchange.data)
        else:
            row = table.lookup(status, reason)
            if reason in DATED and self._key is not None:
                detail = clock_advice(header_of(exchange.header_block, b"date"), self._now())
        wait = None
        # Apple documents no Retry-After, but a server in front of it may send one.
        if status == 429 or status >= 500:
            wait = header_of(exchange.header_block, b"retry-after")
        return Result(
            push,
            row.verdict,
            status,
            exchange.attempts,
            exchange.header_block,
            find,
            reason,
            timestamp,
            retry_after=None if wait is None else read_retry_after(wait, self._now()),
            detail=detail,
            row=row,
        )

    def resend(self, exchange: Exchange, pool: Pool | None) -> bool:
        """Send an exchange again, over another connection, when its response blames the connection or the token.

        APNs rejected it, so no push is delivered twice.

        Args:
            exchange: finished.
            pool: its connections; None while the client closes: then the response stands.

        Returns:
            Whether it was sent again.
        """
        if exchange.status not in (403, 429) or exchange.error is not None:
            return False
        reason = read_error(exchange.data)[0]
        replayed = getattr(exchange, "replayed", False)
        if exchange.connection.retired:
            helps = reason is not None  # it is about the credentials that were replaced
        elif self._key is None:
            return False
        elif reason == "ExpiredProviderToken":
            helps = self._drain_expired(self._key, exchange.connection)
        elif reason == "UnrelatedKeyIdInToken":
            # A second connection with this response was not bound by another client: then the response stands.
            helps = not replayed and pool is not None and self._drain_bound(exchange.connection)
        elif reason == "TooManyProviderTokenUpdates":
            helps = not replayed and pool is not None and self._drain_updated(exchange.connection)
        else:
            return False
        if pool is None or self._pool is None or not helps or replayed:
            return False
        exchange.replayed = True
        exchange.restart()
        pool.waiting.append(exchange)
        return True

    # --- provider tokens ------------------------------------------------------------------------------------------

    def _authorize(self, link: Link) -> None:
        """Give a connection the current token; called before the first request of each tick."""
        if self._key is None:
            return
        lease = self._leases.get(link)
        if lease is None:
            self._leases = {
                other_link: other_lease
                for other_link, other_lease in self._leases.items()
                if not other_link.gone.done()
            }
            lease = self._leases[link] = TokenLease(self._key, HOLD + NETWORK_SLACK)
        now = self._now()
        if not lease.since <= now < lease.due:
            value = lease.renew(now)
            if lease.must_drain:
                link.connection.drain()
            elif value is not None:
                link.connection.authorize(value)
                assert lease.token is not None
                self.expiries["provider_token"] = float(lease.token.iat + MAX_AGE)
                self._emit_rotation(value)

    def _emit_rotation(self, value: bytes) -> None:
        if value != self._token and self._pool is not None:
            if self._token:
                log.info("the provider token was renewed")
            self._token = value
            self._pool.events.token_rotated("apns")

    def _drain_expired(self, key: ApnsKey, connection: Streams) -> bool:
        """After an ExpiredProviderToken: drain all connections that have ever used another token than the newest.

        Apple rejects every request on a connection that has used an expired token, whatever token comes later.

        Returns:
            Whether a new connection may help; False if `connection` has used only the newest token, and no younger one can
            be made. It is kept until there is another token, because a new connection would get the same response.
        """
        now = self._now()
        newest = key.token(now)
        first = next(
            (lease.first for link, lease in self._leases.items() if link.connection is connection), None
        )
        if first is not None and first.iat == newest.iat:
            newest = key.renew(now)
        helps = True
        for link, lease in self._leases.items():
            if lease.first is None or lease.first.iat != newest.iat:
                link.connection.drain()
            elif link.connection is connection:
                lease.rejected = True
                helps = False
        return helps

    def _drain_bound(self, connection: Streams) -> bool:
        """After an UnrelatedKeyIdInToken: drain a connection, because its first push had another key.

        This client has one key, so a proxy on the path shares connections between clients.
        """
        return self._drain(connection, "APNs has bound a connection to another key: opening a new one")

    def _drain_updated(self, connection: Streams) -> bool:
        """After a TooManyProviderTokenUpdates: drain a connection that has used two tokens, 20 minutes apart by our clock.

        So the clock was slow and has been set right. Apple would reject the second token until its own 20 minutes are over.
        """
        lease = next((lease for link, lease in self._leases.items() if link.connection is connection), None)
        if lease is None or not lease.updated:
            return False
        return self._drain(connection, "APNs takes a token for too young: opening a new connection for it")

    def _drain(self, connection: Streams, why: str) -> bool:
        """Drain a connection that APNs rejects everything on. False when as many were drained within `DRAIN_WINDOW` as the
        client may have: Apple treats rapid connects as an attack."""
        if connection.state is not ConnectionState.OPEN:
            return True
        now = self._loop.time()
        if now - self._drained_since >= DRAIN_WINDOW:
            self._drained_since, self._drained = now, 0
        if self._drained >= self.max_connections:
            return False
        self._drained += 1
        log.warning("%s", why)
        connection.drain()
        return True


def _error_result(exchange: Exchange, push: Any, error: TransportError, find: Finder) -> Result:
    """The result of an exchange that ended with an error instead of a complete response."""
    reason = error.reason if isinstance(error, GoAway) else None
    row = REASONS.get(reason or "")
    if isinstance(error, HeaderListTooLarge):
        verdict = Verdict.INVALID
    elif error.unprocessed:
        # GOAWAY can say why: {"reason": "BadCertificateEnvironment"} rejects every later push, too.
        configured = row is not None and row.verdict is Verdict.MISCONFIGURED
        verdict = Verdict.MISCONFIGURED if configured else Verdict.UNSENT
    else:
        verdict = Verdict.UNKNOWN
    if row is not None and row.verdict is not verdict:
        # The reason why the connection ended is not about the push; one early retry over another connection may succeed.
        row = replace(UNNAMED[verdict], early=row.early)
    status = exchange.status or None
    return Result(push, verdict, status, exchange.attempts, b"", find, reason, detail=error, row=row)
