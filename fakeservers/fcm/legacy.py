"""The legacy API: `POST /fcm/send` with a server key (reference/fcm.md, 1.5). Google shut it down in 2024.

Error strings and the formats of responses are Google's; the texts of a 400 and of a 401 are from memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import orjson

from fakeservers.fcm import fates
from fakeservers.fcm.message import (
    FID,
    MAX_PAYLOAD,
    MAX_TOPIC_PAYLOAD,
    MAX_TTL,
    TOPIC,
    is_condition,
    is_registration,
    is_reserved,
    size_of,
)
from fakeservers.fcm.strict import Call, FcmState
from fakeservers.responses.fcm import RETRY_AFTER, Reply, html_page, json_reply, status_header

MAX_REGISTRATION_IDS = 1000
MAX_FIELDS = 1000
"""Of a form; an assumed limit."""
PATH = "/fcm/send"
_TOPICS = "/topics/"
_TEXT = (b"content-type", b"text/plain; charset=UTF-8")

ERRORS = {
    "InvalidToken": "InvalidRegistration",
    "NotARegistrationToken": "InvalidRegistration",
    "TokenByTextAndField": "InvalidRegistration",
    "NoRecipient": "MissingRegistration",
    "Unregistered": "NotRegistered",
    "UnregisteredApns": "NotRegistered",
    "ApnsDisabled": "NotRegistered",
    "SenderIdMismatch": "MismatchSenderId",
    "TooBig": "MessageTooBig",
    "InvalidDataKey": "InvalidDataKey",
    "InvalidTtl": "InvalidTtl",
    "InvalidPackageName": "InvalidPackageName",
    "ThirdPartyAuth": "InvalidApnsCredential",
    "ApnsInvalidProviderToken": "InvalidApnsCredential",
    "ApnsBadEnvironmentKey": "InvalidApnsCredential",
    "ApnsAuth": "InvalidApnsCredential",
    "QuotaExceeded": "DeviceMessageRateExceeded",
    "QuotaWithoutRetryAfter": "DeviceMessageRateExceeded",
    "DeviceRateExceeded": "DeviceMessageRateExceeded",
    "TopicRateExceeded": "TopicsMessageRateExceeded",
    "TopicQuotaExceeded": "TopicsMessageRateExceeded",
    "Internal": "InternalServerError",
    "UnspecifiedError": "InternalServerError",
    "Unavailable": "Unavailable",
    "UnavailableWithoutRetryAfter": "Unavailable",
}
"""The error of each fate in this API, with status 200. `Unavailable` has `Retry-After`."""
WHOLE = frozenset({"InternalTimeout", "EmptyBody", "BadGateway", "HtmlNotFound", "UnavailableUntilDate"})
"""Fates of the whole request, with their status in v1."""
_UNAUTHORIZED = frozenset({"AccessTokenExpired", "PermissionDenied", "ServiceDisabled", "ProjectNotFound"})
_INVALID = frozenset({"InvalidArgument", "WrongType", "UnknownName", "ApnsKeyType"})

Result: TypeAlias = dict[str, Any]


class LegacyApi:
    """Answers `/fcm/send`.

    `groups`: device groups, notification key to registration tokens.
    """

    def __init__(self, state: FcmState) -> None:
        self.groups: dict[str, list[str]] = {}
        self._state = state

    def __call__(self, call: Call) -> Reply | None:
        """The response; None for another path."""
        if call.path != PATH:
            return None
        if call.method != "POST":
            text = f"The request method <code>{call.method:.20}</code> is inappropriate for the URL <code>{PATH}</code>."
            return html_page(405, "Method Not Allowed", text)
        if not self._state.has_server_key(call.authorization):
            return _unauthorized()
        if call.content_type.partition(";")[0].strip() == "application/x-www-form-urlencoded":
            try:
                return _as_text(self._answer(_from_form(call.body)))
            except ValueError:
                return _bad_request("InvalidParameters: too many fields")
        try:
            message = orjson.loads(call.body)
        except orjson.JSONDecodeError as error:
            return _bad_request(f"JSON_PARSING_ERROR: {error.msg} at position {error.pos}.")
        if not isinstance(message, dict):
            return _bad_request("JSON_TYPE_ERROR: the root must be an object.")
        return self._answer({name: value for name, value in message.items() if value is not None})

    def _answer(self, message: dict[str, Any]) -> Reply:
        problem = _problem(message)
        if problem:
            return _bad_request(problem)
        to, listed = message.get("to", ""), message.get("registration_ids")
        error = _error(message)
        if "condition" in message or to.startswith(_TOPICS):
            return self._to_topic(message.get("condition") or to, error, bool(message.get("dry_run")))
        if to in self.groups:
            return self._to_group(self.groups[to], error)
        return self._to_tokens(listed or [to], error, bool(message.get("dry_run")))

    def _to_tokens(self, tokens: Sequence[str], error: str, dry_run: bool) -> Reply:
        results, whole = self._results(tokens, error, dry_run)
        failures = sum("error" in result for result in results)
        ok = json_reply(
            200,
            {
                "multicast_id": self._state.take_id() + 10**18,
                "success": len(results) - failures,
                "failure": failures,
                "canonical_ids": sum("registration_id" in result for result in results),
                "results": results,
            },
            results[0].get("error", "") if len(results) == 1 else "",
            extra=_retry_after(whole),
        )
        return self._fated_reply(whole, ok)

    def _to_group(self, tokens: Sequence[str], error: str) -> Reply:
        results, whole = self._results(tokens, error, False)
        failed = [token for token, result in zip(tokens, results, strict=True) if "error" in result]
        content = {"success": len(tokens) - len(failed), "failure": len(failed)}
        return self._fated_reply(
            whole, json_reply(200, content | ({"failed_registration_ids": failed} if failed else {}))
        )

    def _to_topic(self, target: str, error: str, dry_run: bool) -> Reply:
        fate = "" if error else self._state.fate_of(target)
        error = error or ERRORS.get(fate, "")
        number = -1 if dry_run else self._state.take_id() + 10**18
        content = {"error": error} if error else {"message_id": number}
        return self._fated_reply(
            (fate, target), json_reply(200, content, error, extra=_retry_after((fate, target)))
        )

    def _results(
        self, tokens: Sequence[str], error: str, dry_run: bool
    ) -> tuple[list[Result], tuple[str, str]]:
        """A result for each token, and the fate of the whole request with its token."""
        whole = ("", "")
        results: list[Result] = []
        for token in tokens:
            identifier = "fake_message_id" if dry_run else self._state.message_id()
            if error or not token:
                results.append({"error": error or "MissingRegistration"})
                continue
            # Installation ids are newer than this API.
            if not is_registration(token) or FID.fullmatch(token):
                results.append({"error": "InvalidRegistration"})
                continue
            fate = self._state.fate_of(token)
            if not fate:
                results.append({"message_id": identifier})
            elif fate == fates.CANONICAL:
                results.append({"message_id": identifier, "registration_id": fates.canonical_of(token)})
            elif fate in ERRORS:
                results.append({"error": ERRORS[fate]})
                if fate == "Unavailable":
                    whole = whole if whole[0] else (fate, token)
            else:
                whole = whole if whole[0] not in ("", "Unavailable") else (fate, token)
                results.append({"message_id": identifier})
        return results, whole

    def _fated_reply(self, whole: tuple[str, str], ok: Reply) -> Reply:
        fate, token = whole
        if fate in _UNAUTHORIZED:
            return _unauthorized()
        if fate in _INVALID:
            return _bad_request("InvalidParameters")
        return self._state.fated_reply(fate, token, "to", ok) if fate and fate not in ERRORS else ok


def _problem(message: dict[str, Any]) -> str:
    """Why the whole request gets a 400, in Google's words as far as remembered."""
    for names, kinds, type_name in _TYPES:
        for name in names:
            value = message.get(name)
            if value is not None and (
                not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool)
            ):
                return f'Field "{name}" must be a JSON {type_name}: {orjson.dumps(value).decode():.100}'
    listed = message.get("registration_ids")
    if listed is not None:
        if "to" in message:
            return 'Must use either "registration_ids" field or "to", not both'
        if not all(isinstance(token, str) for token in listed):
            return 'Field "registration_ids" must be a JSON array of strings'
        if not listed:
            return '"registration_ids" field cannot be empty'
        if len(listed) > MAX_REGISTRATION_IDS:
            return (
                f"Number of messages on bulk ({len(listed)}) exceeds maximum allowed ({MAX_REGISTRATION_IDS})"
            )
    condition = message.get("condition")
    if condition is not None:
        if "to" in message or listed is not None:
            return 'Must use either "condition" field or "to", not both'
        if not is_condition(condition):
            return "InvalidParameters: Invalid condition expression provided."
    to = message.get("to", "")
    if to.startswith(_TOPICS) and TOPIC.fullmatch(to.removeprefix(_TOPICS)) is None:
        return "InvalidParameters: Invalid topic name."
    if message.get("priority", "normal") not in ("normal", "high"):
        return f'InvalidParameters: Invalid value for "priority": {message["priority"]:.100}'
    return ""


_TYPES: tuple[tuple[tuple[str, ...], Any, str], ...] = (
    (("to", "condition", "collapse_key", "priority", "restricted_package_name"), str, "string"),
    (("content_available", "mutable_content", "dry_run"), bool, "boolean"),
    (("time_to_live",), (int, float), "number"),
    (("data", "notification"), dict, "object"),
    (("registration_ids",), list, "array"),
)


def _error(message: dict[str, Any]) -> str:
    """The error of an invalid message, for each recipient."""
    data = message.get("data", {})
    if any(is_reserved(key) for key in data):
        return "InvalidDataKey"
    ttl = message.get("time_to_live", 0)
    if not 0 <= ttl <= MAX_TTL or ttl != int(ttl):
        return "InvalidTtl"
    to_many = "condition" in message or message.get("to", "").startswith(_TOPICS)
    size = size_of(data) + size_of(message.get("notification", {}))
    return "MessageTooBig" if size > (MAX_TOPIC_PAYLOAD if to_many else MAX_PAYLOAD) else ""


def _from_form(body: bytes) -> dict[str, Any]:
    """A message in plain-text form: `registration_id=…&collapse_key=…&data.key=value`."""
    message: dict[str, Any] = {}
    text = body.decode("utf-8", "replace")
    for name, value in parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS):
        if name == "registration_id":
            message["to"] = value
        elif name.startswith("data."):
            message.setdefault("data", {})[name.removeprefix("data.")] = value
        elif name == "time_to_live":
            message[name] = int(value) if value.isascii() and value.isdigit() and len(value) < 10 else -1
        elif name in ("dry_run", "content_available", "mutable_content"):
            message[name] = value in ("1", "true")
        else:
            message[name] = value
    return message


def _as_text(reply: Reply) -> Reply:
    """The response to a form."""
    if reply.status != 200:
        return reply
    content = orjson.loads(reply.body)
    [result] = content.get("results", [content])
    if "error" in result:
        body = f"Error={result['error']}"
    else:
        body = f"id={result.get('message_id', '')}"
        if "registration_id" in result:
            body += f"\nregistration_id={result['registration_id']}"
    headers = [_TEXT if name == b"content-type" else (name, value) for name, value in reply.headers]
    return replace(reply, headers=headers, body=body.encode())


def _retry_after(whole: tuple[str, str]) -> list[tuple[bytes, bytes]]:
    """The `Retry-After` of the fate `Unavailable`, whose status is 200 here."""
    fate, token = whole
    seconds = fates.milliseconds_of(token) // 1000 or RETRY_AFTER
    return [(b"retry-after", b"%d" % seconds)] if fate == "Unavailable" else []


def _bad_request(text: str) -> Reply:
    return Reply(400, (status_header(400), _TEXT), text.encode() + b"\n", "InvalidParameters")


def _unauthorized() -> Reply:
    challenge = (b"www-authenticate", b'Bearer realm="https://accounts.google.com/"')
    return html_page(401, "Unauthorized", "Unauthorized", "Unauthorized", extra=[challenge])
