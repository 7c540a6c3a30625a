"""Topic subscriptions, one registration at a time (`topicSubscriptions`) or in batches (instance-id): reference, 1.7.

Sources: "REST Resource: projects.registrations.topicSubscriptions" of the fcmtopics reference; "Instance ID server
API". Both see the same subscriptions.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import orjson

from fakeservers.fcm import fates
from fakeservers.fcm.fields import MessageType, message_type, parse_json, string, timestamp
from fakeservers.fcm.message import FID, TOPIC, is_registration
from fakeservers.fcm.strict import Call, FcmState, check_query
from fakeservers.responses.fcm import (
    RETRY_AFTER,
    Reply,
    error,
    fcm_error,
    html_page,
    invalid_argument,
    invalid_fields,
    json_reply,
    no_such_page,
    not_a_token,
    not_found,
)

MAX_TOPICS = 2000
"""Topics of one app instance."""
MAX_BATCH = 1000
PAGE_SIZE, MAX_PAGE_SIZE = 1000, 2000

_SERVICE = "google.firebase.fcm.v1.FcmTopicsService"
_SUBSCRIPTION: MessageType = message_type(
    "TopicSubscription", {"name": string, "topic_name": string, "create_time": timestamp}
)
_PARAMETERS = {
    "POST": ("topic_name", "topicName"),
    "DELETE": ("allow_missing", "allowMissing"),
    "PATCH": ("allow_missing", "allowMissing"),
    "GET": ("page_size", "pageSize", "page_token", "pageToken"),
}
_TOPICS = "/topics/"

IID_ERRORS = {
    "InvalidToken": "INVALID_ARGUMENT",
    "NotARegistrationToken": "INVALID_ARGUMENT",
    "Unregistered": "NOT_FOUND",
    "UnregisteredApns": "NOT_FOUND",
    "ApnsDisabled": "NOT_FOUND",
    "SenderIdMismatch": "PERMISSION_DENIED",
    "PermissionDenied": "PERMISSION_DENIED",
    "QuotaExceeded": "RESOURCE_EXHAUSTED",
    "QuotaWithoutRetryAfter": "RESOURCE_EXHAUSTED",
    "TopicRateExceeded": "RESOURCE_EXHAUSTED",
    "InternalTimeout": "DEADLINE_EXCEEDED",
    "Internal": "INTERNAL",
    "UnspecifiedError": "UNKNOWN",
}
"""The error of each fate in a batch; `TOO_MANY_TOPICS` depends on the number of topics. Other fates concern the whole call."""


class Subscriptions:
    """Topic subscriptions of app instances.

    `max_topics`: topics of one instance.
    """

    def __init__(self) -> None:
        self.max_topics = MAX_TOPICS
        self._topics: dict[str, dict[str, float]] = {}  # by instance, with the time of each subscription

    def topics(self, registration: str) -> dict[str, float]:
        """The topics of a token or installation id and when each was subscribed to, UNIX seconds, oldest first."""
        return dict(self._topics.get(_instance(registration), {}))

    def snapshot(self) -> dict[str, dict[str, float]]:
        """A copy for `restore`."""
        return {instance: dict(topics) for instance, topics in self._topics.items()}

    def restore(self, snapshot: dict[str, dict[str, float]]) -> None:
        """Restore the subscriptions of a snapshot."""
        self._topics = {instance: dict(topics) for instance, topics in snapshot.items()}

    def has_room(self, registration: str) -> bool:
        """Whether another topic can be subscribed to."""
        return len(self._topics.get(_instance(registration), {})) < self.max_topics

    def add(self, registration: str, topic: str, now: float) -> bool:
        """Subscribe; False when it was subscribed already."""
        topics = self._topics.setdefault(_instance(registration), {})
        if topic in topics:
            return False
        topics[topic] = now
        return True

    def remove(self, registration: str, topic: str) -> bool:
        """Unsubscribe; False when it was not subscribed."""
        return self._topics.get(_instance(registration), {}).pop(topic, None) is not None


def _instance(registration: str) -> str:
    """The installation id, with which today's tokens begin; for another token, the token."""
    head, colon, _ = registration.partition(":")
    return head if colon and FID.fullmatch(head) else registration


class TopicApi:
    """Answers `topicSubscriptions` and the instance-id calls.

    Args:
        state: what the fake's connections share.
        subscriptions: the subscriptions to read and change.
        rate: changes per second of the whole project, 0 for no limit; a second's worth may be used at once.
    """

    def __init__(self, state: FcmState, subscriptions: Subscriptions, rate: float) -> None:
        self._state = state
        self._subscriptions = subscriptions
        self._rate = rate
        self.refill()

    def refill(self) -> None:
        """Restore the project's allowance of changes."""
        self._credit, self._credit_at = self._rate, -math.inf

    def __call__(self, call: Call) -> Reply | None:
        """The response; None for another path."""
        if call.path.startswith("/v1/projects/"):
            parts = call.path[len("/v1/projects/") :].split("/")
            if len(parts) in (4, 5) and parts[1] == "registrations" and parts[3] == "topicSubscriptions":
                return self._subscription(call, *map(unquote, (parts[0], parts[2], *parts[4:])))
        elif call.path in ("/iid/v1:batchAdd", "/iid/v1:batchRemove"):
            return self._batch(call)
        elif call.path.startswith("/iid/info/"):
            return self._info(call, unquote(call.path[len("/iid/info/") :]))
        return None

    # projects.registrations.topicSubscriptions

    def _subscription(self, call: Call, project: str, registration: str, topic: str = "") -> Reply:
        state, method = self._state, call.method
        if (
            method not in _PARAMETERS
            or (method == "POST" and topic)
            or (method in ("DELETE", "PATCH") and not topic)
        ):
            return no_such_page(call.path)
        refusal = (
            check_query(call.query, _PARAMETERS[method])
            or state.refuse_token(call.authorization, f"{_SERVICE}.{_METHODS[method]}")
            or (None if state.is_project(project) else not_found())
            or (None if is_registration(registration) else not_a_token())
        )
        if refusal is not None:
            return refusal
        if method == "POST":
            topic = _parameter(call, "topic_name")
        if (topic or method == "POST") and TOPIC.fullmatch(topic) is None:
            return invalid_argument("topic_name", "Invalid topic name")
        if method != "GET" and not self._may_change():
            problem = "Quota exceeded for quota metric 'Topic subscription changes' and limit 'per second'."
            return error(429, problem, "RESOURCE_EXHAUSTED", fcm_error("QUOTA_EXCEEDED"))
        fate = state.fate_of(registration)
        if fate and fate not in fates.TRANSPORT and fate != fates.CANONICAL:
            return state.fated_reply(fate, registration, "registration", json_reply(200, {}))
        name = f"projects/{state.account.project_id}/registrations/{registration}/topicSubscriptions"
        if fate in (fates.REFUSED_STREAM, fates.GOAWAY_BEFORE):  # surely not processed
            return state.fated_reply(fate, registration, "registration", json_reply(200, {}))
        reply = self._change(call, registration, topic, name)
        return state.fated_reply(fate, registration, "registration", reply) if fate else reply

    def _change(self, call: Call, registration: str, topic: str, name: str) -> Reply:
        subscriptions, now = self._subscriptions, self._state.now()
        if call.method == "GET":
            return self._get(registration, topic, name) if topic else self._list(call, registration, name)
        if call.method == "DELETE":
            if subscriptions.remove(registration, topic) or _parameter(call, "allow_missing") == "true":
                return json_reply(200, {})
            return not_found()
        _, violations = parse_json(call.body, _SUBSCRIPTION)
        if violations:
            return invalid_fields(violations)
        subscribed = topic in subscriptions.topics(registration)
        if call.method == "PATCH":  # it has no field that can be changed
            if not subscribed and _parameter(call, "allow_missing") != "true":
                return not_found()
        elif subscribed:
            return error(409, "Requested entity already exists", "ALREADY_EXISTS")
        if not subscribed and not subscriptions.has_room(registration):
            return error(429, "Too many topics for this app instance.", "RESOURCE_EXHAUSTED")
        subscriptions.add(registration, topic, now)
        return self._get(registration, topic, name)

    def _get(self, registration: str, topic: str, name: str) -> Reply:
        since = self._subscriptions.topics(registration).get(topic)
        return not_found() if since is None else json_reply(200, _resource(name, topic, since))

    def _list(self, call: Call, registration: str, name: str) -> Reply:
        size, page = _parameter(call, "page_size") or "0", _parameter(call, "page_token")
        if not size.isascii() or not size.isdigit() or len(size) > 9:
            return invalid_fields(
                [("page_size", f"Invalid value at 'page_size' (TYPE_INT32), \"{size:.100}\"")]
            )
        topics = self._subscriptions.topics(registration)
        names = list(topics)
        if page and page not in topics:  # a page token is the first topic of the page
            return invalid_argument("page_token", "Invalid page token")
        start = names.index(page) if page else 0
        end = start + min(int(size) or PAGE_SIZE, MAX_PAGE_SIZE)
        content: dict[str, Any] = {}
        if names[start:end]:
            content["topic_subscriptions"] = [
                _resource(name, topic, topics[topic]) for topic in names[start:end]
            ]
        if end < len(names):
            content["next_page_token"] = names[end]
        return json_reply(200, content)

    # The instance-id API

    def _batch(self, call: Call) -> Reply:
        if call.method != "POST":
            return no_such_page(call.path)
        if self._state.oauth.check(call.authorization):
            return _iid_unauthorized()
        try:
            request = orjson.loads(call.body)
            to, tokens = request["to"], request["registration_tokens"]
            good = (
                isinstance(to, str)
                and isinstance(tokens, list)
                and all(isinstance(token, str) for token in tokens)
            )
        except (ValueError, KeyError, TypeError):
            return _iid_error(400, "InvalidArguments")
        topic = to.removeprefix(_TOPICS) if good and to.startswith(_TOPICS) else ""
        if not good or TOPIC.fullmatch(topic) is None or not 0 < len(tokens) <= MAX_BATCH:
            return _iid_error(400, "InvalidArguments")
        if not self._may_change(len(tokens)):
            return _iid_error(429, "RESOURCE_EXHAUSTED")
        subscribe = call.path.endswith("batchAdd")
        results = []
        for token in tokens:
            fate = self._state.fate_of(token)
            if fate and fate not in IID_ERRORS and fate != fates.CANONICAL:
                return self._fate_of_call(fate, token)
            problem = IID_ERRORS.get(fate, "") or self._subscribe(token, topic, subscribe)
            results.append({"error": problem} if problem else {})
        return json_reply(200, {"results": results})

    def _subscribe(self, token: str, topic: str, subscribe: bool) -> str:
        subscriptions = self._subscriptions
        if not is_registration(token):
            return "INVALID_ARGUMENT"
        if not subscribe:
            subscriptions.remove(token, topic)
        elif topic in subscriptions.topics(token) or subscriptions.has_room(token):
            subscriptions.add(token, topic, self._state.now())
        else:
            return "TOO_MANY_TOPICS"
        return ""

    def _fate_of_call(self, fate: str, token: str) -> Reply:
        if fate in ("AccessTokenExpired", "ServiceDisabled"):
            return _iid_unauthorized()
        if fate in fates.TRANSPORT or fate.startswith(("Unavailable", "BadGateway", "EmptyBody")):
            return self._state.fated_reply(
                fate, token, "registration_tokens", json_reply(200, {"results": []})
            )
        return _iid_error(400, "InvalidArguments")

    def _info(self, call: Call, token: str) -> Reply:
        if call.method not in ("GET", "POST") or "/" in token:
            return no_such_page(call.path)
        if self._state.oauth.check(call.authorization):
            return _iid_unauthorized()
        if not is_registration(token):
            return _iid_error(400, "InvalidToken")
        fate = self._state.fate_of(token)
        if IID_ERRORS.get(fate) == "NOT_FOUND":
            return _iid_error(404, "No information found about this instance id.")
        if fate and fate != fates.CANONICAL:
            return self._fate_of_call(fate, token)
        content: dict[str, Any] = {
            "application": "com.example.app",
            "authorizedEntity": self._state.projects[1],
            "platform": "ANDROID",
            "applicationVersion": "1",
        }
        topics = self._subscriptions.topics(token)
        if call.query.get("details") == "true" and topics:
            days = {name: {"addDate": _moment(since).strftime("%Y-%m-%d")} for name, since in topics.items()}
            content["rel"] = {"topics": days}
        return json_reply(200, content)

    def _may_change(self, changes: int = 1) -> bool:
        """Take changes from the project's allowance, which refills with the fake's clock."""
        if not self._rate:
            return True
        now = self._state.now()
        if now > self._credit_at:
            self._credit = min(self._rate, self._credit + (now - self._credit_at) * self._rate)
            self._credit_at = now
        if self._credit < changes:
            return False
        self._credit -= changes
        return True


_METHODS = {
    "POST": "CreateTopicSubscription",
    "GET": "GetTopicSubscription",
    "DELETE": "DeleteTopicSubscription",
    "PATCH": "UpdateTopicSubscription",
}


def _parameter(call: Call, name: str) -> str:
    """A query parameter in either spelling."""
    head, _, tail = name.partition("_")
    return call.query.get(name) or call.query.get(head + tail.capitalize()) or ""


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _resource(name: str, topic: str, since: float) -> dict[str, str]:
    created = _moment(since).strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"
    return {"name": f"{name}/{topic}", "topic_name": topic, "create_time": created}


def _iid_error(status: int, text: str) -> Reply:
    extra = [(b"retry-after", b"%d" % RETRY_AFTER)] if status == 429 else []
    return json_reply(status, {"error": text}, text, extra=extra)


def _iid_unauthorized() -> Reply:
    """An HTML page, as recorded."""
    return html_page(401, "Unauthorized", "Unauthorized", "Unauthorized")
