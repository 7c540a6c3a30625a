"""Topics: the app instances that get the messages to a topic.

Google's API for it takes one registration at a time, `projects.registrations.topicSubscriptions`, and 3 000 changes a
second for a project ("Topic messaging"). Its predecessor takes a thousand in a batch and will be shut down on 2027-09-29;
see `instance_id`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Final
from urllib.parse import quote

from ..arguments import check_flag, check_function, check_number, check_type, check_whole, kind
from ..errors import PushRejected, ResponseTooLarge
from ..http2.exchange import NO_FIELDS, Exchange, Sink, request
from ..http2.headers import LONGEST_PATH, HeaderTemplate
from ..http2.origin import Origin, read_origin
from ..http2.round_trip import round_trip
from ..models.fcm_check import check_token, check_topic
from ..models.fcm_values import FieldError
from ..reasons import UNNAMED, describe_unexpected, printable_word
from ..results import ACCEPTED, Result, Verdict
from .change_rate import ChangeRateLimiter
from .client import FcmClient
from .dispatcher import Reader
from .errors import FcmFailure, json_object, read_error
from .fan_out import FanOut
from .instance_id import (
    IID_URL,
    INFO_MEMBERS,
    MAX_BATCH,
    BatchRequestBuilder,
    InstanceInfo,
    read_batch,
    read_info,
    read_rejection,
)

RATE: Final = 3000.0
"""Changes a second that Google allows a project."""
CONCURRENCY: Final = 500
"""Requests at a time: enough for 3 000 a second if a response takes 160 ms. Google's own SDKs stop at 100."""
PAGE: Final = 50
"""Topics in one page of a list: with names of 900 characters, each there twice, it must be below `MAX_LIST`."""
MAX_PAGES: Final = 100
"""Pages of one registration's list: it has 2 000 topics at most."""
MAX_LIST: Final = 131_072  # bytes of one page, what the transport accepts
MAX_BATCHES: Final = 10
"""Requests of a thousand registrations at a time."""
PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds for which an exceeded quota stops all changes: if Google states no time, and at most."""

_SUBSCRIPTION: Final = frozenset(("topic_name", "topicName", "create_time", "createTime"))
"""Members of a TopicSubscription; other servers have a "name", too."""
_LIST: Final = frozenset(("topic_subscriptions", "topicSubscriptions", "next_page_token", "nextPageToken"))
"""Members of a list of them."""

_TOO_LONG: Final = (
    f"registration and topic are together too long for a request, whose path has {LONGEST_PATH} bytes"
)


@dataclass(frozen=True, slots=True)
class TopicChange:
    """One change of a subscription.

    Attributes:
        token: the registration token or installation id.
        topic: the topic's name.
        subscribe: true to subscribe, false to unsubscribe.
    """

    identifiers: ClassVar[tuple[str, ...]] = ("token", "topic")
    """The fields that `Result.to_dict` has."""

    token: str
    topic: str
    subscribe: bool


@dataclass(frozen=True, slots=True)
class Subscription:
    """A topic of an app instance. `since`: when it was subscribed to, in RFC 3339, None if Google does not say."""

    topic: str
    since: str | None = None


class Topics:
    """Subscribes app instances to topics with the project and the account of a client.

    Args:
        client: it must be open while this is used.
        rate: limit of changes per second, for all calls of this object.
        concurrency: limit of requests at a time.
        instance_id: whether to use the deprecated API, with 1 000 registrations per request, until it is shut down;
            `instance_id_url` is its server.
        instance_id_url: the server of that API.
        clock: seconds that never step back, the event loop's unless given.

    Raises:
        ConfigurationError: an argument is wrong; the message names it.
    """

    def __init__(
        self,
        client: FcmClient,
        *,
        rate: float = RATE,
        concurrency: int = CONCURRENCY,
        instance_id: bool = False,
        instance_id_url: str = IID_URL,
        clock: Callable[[], float] | None = None,
    ) -> None:
        check_type("client", client, FcmClient, "an FcmClient")
        check_number("rate", rate, above=0, infinite=True)
        check_whole("concurrency", concurrency, least=1)
        check_flag("instance_id", instance_id)
        if clock is not None:
            check_function("clock", clock, "time.monotonic")
        self._dispatcher = dispatcher = client._dispatcher
        self._rate = rate
        self._clock = clock
        self._limiter: ChangeRateLimiter | None = None
        self._concurrency = concurrency
        self._instance_id = instance_id
        self._iid = read_origin(instance_id_url, "instance_id_url")
        requests = dispatcher.requests
        self._prefix = b"/v1/projects/%b/registrations/" % requests.project_id.encode()
        fields = [
            (b":scheme", b"https"),
            (b":authority", dispatcher.origin.authority.encode("ascii")),
            (b"x-goog-api-format-version", b"2"),
            *requests.extra_fields,
        ]
        self._post = HeaderTemplate([(b":method", b"POST"), *fields, (b"content-type", b"application/json")])
        self._delete = HeaderTemplate([(b":method", b"DELETE"), *fields])
        self._get = HeaderTemplate([(b":method", b"GET"), *fields])
        self._batches = BatchRequestBuilder(self._iid.authority, requests.extra_fields)

    def subscribe(
        self, topic: str, registrations: Iterable[str] | AsyncIterable[str]
    ) -> AsyncGenerator[Result, None]:
        """Subscribe all of `registrations` to `topic`; one `Result` for each, in order of completion.

        `result.push` is the `TopicChange`. A registration that was subscribed already is ACCEPTED, too. The source is
        read as fast as the rate allows and never further ahead than `concurrency`. An exception of the source is raised
        when all results of its items have been yielded; leaving early cancels the requests in flight.

        Args:
            topic: the topic's name, without "/topics/".
            registrations: registration tokens or installation ids, not a single text.

        Returns:
            An async generator of one `Result` per registration.

        Raises:
            ValueError: `topic` is not the name of a topic, or `registrations` is not an iterable of tokens.
            ClosedError: the client is not open.
            EventLoopError: the client was opened on another event loop; raised with the first result.
        """
        return self._change(topic, registrations, True)

    def unsubscribe(
        self, topic: str, registrations: Iterable[str] | AsyncIterable[str]
    ) -> AsyncGenerator[Result, None]:
        """The reverse of `subscribe`; a registration that was not subscribed is ACCEPTED, too.

        Args:
            topic: as in `subscribe`.
            registrations: as in `subscribe`.

        Returns:
            An async generator of one `Result` per registration.

        Raises:
            ValueError: as in `subscribe`.
            ClosedError: the client is not open.
            EventLoopError: as in `subscribe`.
        """
        return self._change(topic, registrations, False)

    def _change(
        self, topic: str, registrations: Iterable[str] | AsyncIterable[str], subscribe: bool
    ) -> AsyncGenerator[Result, None]:
        try:
            check_topic(topic)
        except FieldError as error:
            raise ValueError(error.detail) from None
        listed = isinstance(registrations, Iterable | AsyncIterable)
        if not listed or isinstance(registrations, str | bytes | bytearray):
            raise ValueError(f"registrations must be an iterable of tokens, not {kind(registrations)}")
        if self._limiter is None:  # one for all runs, because the rate is that of the project
            self._limiter = ChangeRateLimiter(self._rate, self._clock or self._dispatcher.loop.time)
        change = self._in_batches if self._instance_id else self._one_by_one
        return change(topic, registrations, subscribe, self._limiter, self._dispatcher.loop.time)

    def _one_by_one(
        self,
        topic: str,
        registrations: Iterable[str] | AsyncIterable[str],
        subscribe: bool,
        limiter: ChangeRateLimiter,
        clock: Callable[[], float],
    ) -> AsyncGenerator[Result, None]:
        dispatcher = self._dispatcher
        pool, timeout, prefix = dispatcher.pool, dispatcher.timeout, self._prefix
        name = _percent_encoded(topic)
        if subscribe:
            template, body, suffix = self._post, b"{}", b"/topicSubscriptions?topic_name=" + name
        else:
            template, body, suffix = self._delete, b"", b"/topicSubscriptions/%b?allow_missing=true" % name

        def build(registration: Any, sink: Sink) -> tuple[Exchange | None, list[Result]]:
            change = TopicChange(registration, topic, subscribe)
            problem = _problem(registration)
            if problem is not None:
                return None, [_invalid(change, problem)]
            path = prefix + _percent_encoded(registration) + suffix
            if len(path) > LONGEST_PATH:
                return None, [_invalid(change, _TOO_LONG)]
            return request(template, path, body, NO_FIELDS, sink, change, clock() + timeout), []

        def finish(exchange: Exchange) -> list[Result] | None:
            if dispatcher.resend(exchange, pool):
                return None
            result = self._outcome(exchange, exchange.context, _is_subscription)
            _slow_down(limiter, result)
            return [result]

        run = FanOut(
            pool,
            build,
            finish,
            limiter=limiter,
            concurrency=self._concurrency,
            check_loop=dispatcher.check_loop,
            opened=lambda: dispatcher.opened and dispatcher.pool is pool,
        )
        return run.run(_iterate(registrations))

    def _in_batches(
        self,
        topic: str,
        registrations: Iterable[str] | AsyncIterable[str],
        subscribe: bool,
        limiter: ChangeRateLimiter,
        clock: Callable[[], float],
    ) -> AsyncGenerator[Result, None]:
        dispatcher = self._dispatcher
        pool, timeout = dispatcher.pool_to(self._iid), dispatcher.timeout
        path = BatchRequestBuilder.path(subscribe)

        def build(batch: Any, sink: Sink) -> tuple[Exchange | None, list[Result]]:
            valid: list[TopicChange] = []
            results: list[Result] = []
            for registration in batch:
                change = TopicChange(registration, topic, subscribe)
                problem = _problem(registration)
                if problem is None:
                    valid.append(change)
                else:
                    results.append(_invalid(change, problem))
            if not valid:
                return None, results
            body = BatchRequestBuilder.body(topic, [change.token for change in valid])
            return (
                request(self._batches.post, path, body, NO_FIELDS, sink, valid, clock() + timeout),
                results,
            )

        def finish(exchange: Exchange) -> list[Result] | None:
            if dispatcher.resend(exchange, pool):
                return None
            changes: list[TopicChange] = exchange.context
            if exchange.error is None and exchange.status == 200:
                outcomes = read_batch(exchange.data, len(changes))
                if any(outcome.verdict is Verdict.THROTTLED for outcome in outcomes):
                    limiter.pause(PAUSE)
                return [
                    _result(change, outcome, exchange)
                    for change, outcome in zip(changes, outcomes, strict=True)
                ]
            results = [self._outcome(exchange, change, _never, read_rejection) for change in changes]
            _slow_down(limiter, results[0])
            return results

        run = FanOut(
            pool,
            build,
            finish,
            limiter=limiter,
            concurrency=min(self._concurrency, MAX_BATCHES),
            check_loop=dispatcher.check_loop,
            opened=lambda: dispatcher.opened and dispatcher.pool_to(self._iid) is pool,
            weigh=len,
        )
        return run.run(_batched(registrations))

    async def list(self, registration: str) -> list[Subscription]:
        """The topics that an app instance is subscribed to.

        Raises:
            PushRejected: Google did not respond with a list, or `registration` is no registration token or installation id;
                `result` says why.
            ClosedError: the client is not open.
            EventLoopError: the client was opened on another event loop.
        """
        path = b"%b%b/topicSubscriptions?page_size=%d" % (self._prefix, _path_part(registration), PAGE)
        subscriptions: list[Subscription] = []
        page = b""
        for _ in range(MAX_PAGES):
            response = await self._get_json(
                self._dispatcher.origin, self._get, path + page, registration, _LIST
            )
            entries = response.get("topic_subscriptions", response.get("topicSubscriptions"))
            for entry in entries if isinstance(entries, list) else ():
                if isinstance(entry, dict):
                    name = printable_word(entry.get("topic_name", entry.get("topicName")), 900)
                    if name:
                        since = printable_word(entry.get("create_time", entry.get("createTime")), 40)
                        subscriptions.append(Subscription(name, since))
            next_page = response.get("next_page_token", response.get("nextPageToken"))
            if not isinstance(next_page, str) or not next_page or len(next_page) > 2000:
                break
            page = b"&page_token=" + _percent_encoded(next_page)
        return subscriptions

    async def info(self, registration: str) -> InstanceInfo:
        """The properties of an app instance in the deprecated instance-id API, including its topics.

        Raises:
            PushRejected: Google did not respond with the properties, or `registration` is no registration token or installation
                id; `result` says why.
            ClosedError: the client is not open.
            EventLoopError: the client was opened on another event loop.
        """
        path = b"/iid/info/%b?details=true" % _path_part(registration)
        response = await self._get_json(
            self._iid, self._batches.get, path, registration, INFO_MEMBERS, read=read_rejection
        )
        return read_info(response)

    async def _get_json(
        self,
        origin: Origin,
        template: HeaderTemplate,
        path: bytes,
        registration: str,
        members: frozenset[str],
        *,
        read: Reader = read_error,
    ) -> dict[str, Any]:
        """The JSON object that Google responds with: an empty one, or with one of these members.

        Raises `PushRejected` for any other response.
        """
        dispatcher = self._dispatcher
        if len(path) > LONGEST_PATH:
            _invalid(registration, _TOO_LONG).raise_for_verdict()
        pool = dispatcher.pool_to(origin)
        exchange = await round_trip(
            pool,
            template,
            path,
            b"",
            dispatcher.timeout,
            lambda exchange: dispatcher.resend(exchange, pool),
        )
        document = json_object(exchange.data, MAX_LIST)
        if exchange.error is None and exchange.status == 200:
            if document is not None and (not document or not members.isdisjoint(document)):
                return document
            detail = describe_unexpected("FCM", 200, exchange.data)
            raise PushRejected(Result(registration, Verdict.UNKNOWN, 200, exchange.attempts, detail=detail))
        raise PushRejected(self._outcome(exchange, registration, _never, read))

    def _outcome(
        self,
        exchange: Exchange,
        push: Any,
        is_success: Callable[[dict[str, Any]], bool],
        read: Reader = read_error,
    ) -> Result:
        """The result of one change, or of a request that has no response of Google's.

        Args:
            exchange: finished.
            push: the result's.
            is_success: whether the JSON object in a response of status 200 says that it was done.
            read: reads a rejection.
        """
        dispatcher, status, error = self._dispatcher, exchange.status, exchange.error
        if error is not None and not isinstance(error, ResponseTooLarge):
            return dispatcher.error_result(exchange, push, error)
        if status == 200 and error is None:
            document = json_object(exchange.data)
            if document is not None and is_success(document):
                return Result(push, ACCEPTED, status, exchange.attempts)
        failure = dispatcher.failure(exchange, read)
        if status == 409 and failure.reason == "ALREADY_EXISTS":
            failure = FcmFailure(UNNAMED[ACCEPTED], failure.reason)
        return _result(push, failure, exchange)


def _result(push: Any, outcome: FcmFailure, exchange: Exchange) -> Result:
    return Result(
        push,
        outcome.verdict,
        exchange.status,
        exchange.attempts,
        reason=outcome.reason,
        retry_after=outcome.retry_after,
        detail=outcome.detail,
        row=outcome.row,
    )


def _is_subscription(document: dict[str, Any]) -> bool:
    """Whether it is a TopicSubscription, or Empty as after a DELETE; the JSON of another server is neither."""
    return not document or not _SUBSCRIPTION.isdisjoint(document)


def _never(document: dict[str, Any]) -> bool:
    """For requests whose success has been checked before."""
    return False


def _slow_down(limiter: ChangeRateLimiter, result: Result) -> None:
    """A 429 for the project's quota stops all changes for a while; one for an app instance does not."""
    if result.verdict is Verdict.THROTTLED and (
        (result.row.name and result.row.scope == "project") or result.retry_after is not None
    ):
        limiter.pause(min(PAUSE if result.retry_after is None else result.retry_after, LONGEST_PAUSE))


def _problem(registration: object) -> str | None:
    """The reason why this cannot be a registration; None if it can."""
    try:
        check_token(registration, "registration")
    except FieldError as error:
        return error.detail
    return None


def _path_part(registration: str) -> bytes:
    """A registration for a path. Raises `PushRejected` if it cannot be one."""
    problem = _problem(registration)
    if problem is not None:
        _invalid(registration, problem).raise_for_verdict()
    return _percent_encoded(registration)


def _invalid(push: Any, problem: str) -> Result:
    return Result(push, Verdict.INVALID, reason="INVALID_ARGUMENT", detail=problem)


def _percent_encoded(text: str) -> bytes:
    return quote(text, safe="").encode("ascii")


async def _iterate(source: Iterable[str] | AsyncIterable[str]) -> AsyncGenerator[str, None]:
    if isinstance(source, AsyncIterable):
        async for item in source:
            yield item
    else:
        for item in source:
            yield item


async def _batched(source: Iterable[str] | AsyncIterable[str]) -> AsyncGenerator[list[str], None]:
    batch: list[str] = []
    async for item in _iterate(source):
        batch.append(item)
        if len(batch) == MAX_BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
