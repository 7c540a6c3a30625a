"""Expo's push API without HTTP: from a request's JSON to pushes, and to receipts. `tickets` reports the results.

    body ──read_send──▶ Recipients ──plan──▶ Plan ──Contents──▶ pushes … results ──ticket──▶ response

The errors of a request are `ExpoError`s. An error of one message or of one recipient is its ticket, and the others are sent.

Sources: "Send notifications with the Expo Push Service" at docs.expo.dev; expo-server-sdk-node; expo-server-sdk-python.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any, Final, NamedTuple

import orjson

from ...models.apns import Notification
from ...models.expo import AndroidForm, message_fields, to_notification
from ...models.expo_apns import quick_notification
from ...models.expo_message import ExpoMessage
from ...models.fcm import Message
from ...models.tokens import TokenKind, recognise
from .sealed import PREFIX, AppDevice, Receipts, SealedTokens, new_device
from .tickets import Json, error_ticket

MAX_RECIPIENTS: Final = 100
"""Recipients of one request."""
MAX_RECEIPTS: Final = 1000
"""Ids in one request for receipts."""
MAX_RECEIPT_ID: Final = 200
"""Characters of an id that is looked at. Expo's own have 36."""

NOT_FORWARDED: Final = (
    "this token was issued by Expo, and this gateway does not forward to Expo: the app must request its token from the gateway "
    "(getExpoPushTokenAsync with baseUrl), or register with getDevicePushTokenAsync"
)
NOT_SEALED: Final = (
    "this token was not issued by this gateway, or its key, app or topic is no longer configured"
)
FOREIGN_APP: Final = "this token belongs to an app that this caller may not use"
NO_APP: Final = (
    "this caller may use several apps, and the app of this token is unknown: use a token that this gateway issued, or add "
    "?app= to the URL"
)

_EXPO: Final = re.compile(
    r"Expo(?:nent)?PushToken\[[^\]]*\]|[0-9a-z]{8}(?:-[0-9a-z]{4}){3}-[0-9a-z]{12}", re.ASCII | re.IGNORECASE
)
"""What `isExpoPushToken` of expo-server-sdk-node accepts."""
_APNS_TOKEN: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
"""The usual form, which needs no second look."""


class ExpoError(Exception):
    """A whole request is rejected; nothing of it was sent.

    Args:
        status: of the response.
        code: Expo's name.
        message: one sentence.
        details: JSON.
        retry_after: seconds, for the header of that name.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        details: Json | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.details = status, code, message, details
        self.retry_after = retry_after

    def body(self) -> bytes:
        """The response's body."""
        error: Json = {"code": self.code, "message": self.message}
        if self.details is not None:
            error["details"] = self.details
        return orjson.dumps({"errors": [error]})


def invalid(message: str) -> ExpoError:
    """The error of a request that is not in Expo's format."""
    return ExpoError(400, "VALIDATION_ERROR", message)


# --- requests -------------------------------------------------------------------------------------------------------


Recipient = tuple[int, Any]
"""A recipient: the number of its message, and what stands in `to`: text, or anything at all."""


class SendRequest(NamedTuple):
    """The messages and recipients of a request.

    `single`: one message to one recipient, not in a list; then its ticket is not in a list either. `contents`: the messages, without
    `to`; an error text in place of one that is not an object. `recipients`: in the order of the tickets.
    """

    single: bool
    contents: list[Json | str]
    recipients: list[Recipient]


def read_json(body: bytes | bytearray | memoryview) -> Any:
    """The JSON of a body. Raises `ExpoError`."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        words = "it is not UTF-8" if "valid UTF-8" in str(error) else error
        raise invalid(f"the body is not JSON: {words}") from None


def read_send(document: Any) -> SendRequest:
    """The messages of a request and their recipients.

    Raises:
        ExpoError: it is neither an object nor a list, or has more than `MAX_RECIPIENTS` recipients.
    """
    if type(document) is dict:
        single = not isinstance(document.get("to"), list)
        document = [document]
    elif type(document) is list:
        single = False
    else:
        raise invalid("the body must be a message or a list of messages")
    contents: list[Json | str] = []
    recipients: list[Recipient] = []
    for number, message in enumerate(document):
        if type(message) is not dict:
            contents.append("a message must be an object")
            recipients.append((number, None))
        else:
            to = message.pop("to", None)
            contents.append(message)
            if type(to) is list:
                recipients += [(number, token) for token in to]
            else:
                recipients.append((number, to))
        if len(recipients) > MAX_RECIPIENTS:
            count = len(recipients) + len(document) - number - 1
            raise ExpoError(
                400,
                "PUSH_TOO_MANY_NOTIFICATIONS",
                f"a request may have at most {MAX_RECIPIENTS} notifications, and this one has {count} or more",
            )
    return SendRequest(single, contents, recipients)


Planned = tuple[int, int, AppDevice]
"""Number of the ticket, number of the content, and where it goes."""


class Plan:
    """What is done for each recipient of a request.

    `app`: the id of the request's app, None where nothing says which. `tickets`: in order; None for those that are not known yet.
    `devices`: number of the ticket, number of the content, and where it goes. `forwards`: number of the ticket, and of the content, and a
    token that Expo has issued. `copies`: number of a ticket, and of the one whose outcome is its own as well: the same content to the same
    device.
    """

    __slots__ = ("app", "copies", "devices", "forwards", "tickets")

    def __init__(self, count: int) -> None:
        self.app: str | None = None
        self.tickets: list[Json | None] = [None] * count
        self.devices: list[Planned] = []
        self.forwards: list[tuple[int, int, str]] = []
        self.copies: list[tuple[int, int]] = []


def plan(
    request: SendRequest,
    sealed: SealedTokens | None,
    apps: Collection[str],
    app: str | None,
    forwards: Callable[[str], bool],
) -> Plan:
    """Find the sender for each recipient.

    Args:
        request: its messages and recipients.
        sealed: opens the gateway's own tokens; None if it issues none.
        apps: ids of the apps that the caller may use.
        app: the app of native tokens, if it is known: the caller has no other, or has named it.
        forwards: whether Expo's tokens of an app are forwarded.

    Raises:
        ExpoError: the request is for more than one app, which Expo rejects, too.
    """
    planned = Plan(len(request.recipients))
    tickets, contents = planned.tickets, request.contents
    natives: list[Planned] = []
    opened: list[Planned] = []
    issued: list[tuple[int, int, str]] = []
    for number, (content, token) in enumerate(request.recipients):
        problem = contents[content]
        if type(problem) is str:
            tickets[number] = error_ticket("DeveloperError", problem, token)
        elif type(token) is not str:
            _native(planned, natives, app, number, content, token)
        elif token.startswith(PREFIX) and sealed is not None and (device := sealed.open(token)) is not None:
            if device.app in apps:
                opened.append((number, content, device))
            else:
                tickets[number] = error_ticket("DeveloperError", FOREIGN_APP, token)
        elif _APNS_TOKEN.fullmatch(token):
            natives.append((number, content, new_device((app or "", TokenKind.APNS, token, "", None))))
        elif ":" not in token and _EXPO.fullmatch(token):
            issued.append((number, content, token))
        else:
            _native(planned, natives, app, number, content, token)
    found = {device.app for _, _, device in opened}
    if len(found | ({app} if app is not None else set())) > 1:
        raise _too_many_apps(request, opened)
    if app is None:
        app = next(iter(found), None)
        natives = [_placed(planned, entry, app) for entry in natives]
    planned.app = app
    for number, content, token in issued:
        if app is not None and forwards(app):
            planned.forwards.append((number, content, token))
        else:
            text = NOT_FORWARDED if len(token) < 60 else NOT_SEALED
            tickets[number] = error_ticket("DeveloperError", text, token)
    _unique(planned, opened + natives if app is not None else opened, contents)
    return planned


def _native(
    planned: Plan, natives: list[Planned], app: str | None, number: int, content: int, token: Any
) -> None:
    """A recipient that is a native token, or nothing that a push can be sent to."""
    device = recognise(token)
    if device.usable:
        text = device.token.lower() if device.kind is TokenKind.APNS else device.token
        natives.append((number, content, AppDevice(app or "", device.kind, text)))
    else:
        reason = device.reason if token is not None else 'the message has no "to"'
        planned.tickets[number] = error_ticket("DeveloperError", reason, token)


def _placed(planned: Plan, entry: Planned, app: str | None) -> Planned:
    """A native token with the app of the request; without an app, its ticket says so."""
    number, content, device = entry
    if app is None:
        planned.tickets[number] = error_ticket("DeveloperError", NO_APP, device.token)
        return entry
    return number, content, device._replace(app=app)


def _unique(planned: Plan, entries: list[Planned], contents: list[Json | str]) -> None:
    """Leave out pushes that a device would get twice. Two different messages to one device are both sent."""
    if len({device[2] for _, _, device in entries}) == len(entries):  # by their tokens
        planned.devices += entries
        return
    seen: dict[str, Planned] = {}
    several: dict[str, list[Planned]] = {}
    for entry in entries:
        token = entry[2].token
        earliest = seen.setdefault(token, entry)
        if earliest is not entry:
            number, content, _ = entry
            earlier = several.setdefault(token, [earliest])
            for first, its_content, _ in earlier:
                if content == its_content or equal(contents[content], contents[its_content]):
                    planned.copies.append((number, first))
                    break
            else:
                earlier.append(entry)
                planned.devices.append(entry)
        else:
            planned.devices.append(entry)


def _too_many_apps(request: SendRequest, opened: list[Planned]) -> ExpoError:
    details: dict[str, list[str]] = {}
    for number, _, device in opened:
        details.setdefault(device.app, []).append(request.recipients[number][1])
    return ExpoError(
        400,
        "PUSH_TOO_MANY_EXPERIENCE_IDS",
        "all push notification messages of a request must be for one project; details has the tokens of each",
        details,
    )


def equal(one: object, other: object) -> bool:
    """Whether two values of JSON are equal. Values that are nested too deeply for Python are not."""
    try:
        return one == other
    except RecursionError:
        return False


class Contents:
    """Makes pushes of the contents of one request. Equal contents in a row are read once.

    Args:
        contents: as in `SendRequest`.
        android: the form for Android.
        now: UNIX seconds, from which a `ttl` counts.
    """

    __slots__ = ("_android", "_contents", "_fields", "_first", "_last", "_message", "_now")

    def __init__(self, contents: list[Json | str], android: AndroidForm, now: float) -> None:
        self._contents = contents
        self._android: AndroidForm = android
        self._now = now
        self._last: Any = None
        # What the last content was made, once that is needed.
        self._message: ExpoMessage | None = None
        self._first: Notification | None = None
        self._fields: Json | None = None

    def push(self, content: int, device: AppDevice) -> Notification | Message:
        """The push of a content to a device.

        Raises:
            ValueError: no such message can be sent; one sentence.
        """
        source: Any = self._contents[content]
        _, kind, token, topic, _ = device
        if source is not self._last:
            if not equal(source, self._last):
                self._message = self._first = self._fields = None
            self._last = source
        if kind is TokenKind.APNS:
            return self._notification(source, token, topic or None)
        if self._fields is None:
            self._fields = message_fields(self._read(source), android=self._android, now=self._now)
        if kind is TokenKind.FID:
            return Message(fid=token, **self._fields)
        return Message(token=token, **self._fields)

    def _notification(self, source: Any, token: str, topic: str | None) -> Notification:
        first = self._first
        if first is None:
            push = quick_notification(source, token, topic)
            if push is None:
                push = to_notification(self._read(source), token, topic=topic, now=self._now)
            self._first = push
            return push
        return Notification(
            token,
            first.payload,
            topic=topic,
            push_type=first.push_type,
            priority=first.priority,
            expiration=first.expiration,
            collapse_id=first.collapse_id,
        )

    def _read(self, source: Any) -> ExpoMessage:
        if self._message is None:
            self._message = ExpoMessage.from_dict(source)
        return self._message


# --- responses and receipts ------------------------------------------------------------------------------------------


def send_response(request: SendRequest, tickets: list[Json | None]) -> bytes:
    """The body of the response: one ticket for each recipient, in order."""
    return orjson.dumps({"data": tickets[0] if request.single else tickets})


def read_receipt_ids(document: Any) -> list[str]:
    """The ids of a request for receipts, each once; values that cannot be ids are left out.

    Raises:
        ExpoError: it has no list of ids, or more than `MAX_RECEIPTS`.
    """
    ids = document.get("ids") if type(document) is dict else None
    if type(ids) is not list:
        raise invalid('the body must be an object with "ids", a list')
    if len(ids) > MAX_RECEIPTS:
        raise ExpoError(
            400,
            "PUSH_TOO_MANY_RECEIPTS",
            f"a request may have at most {MAX_RECEIPTS} ids of receipts, and this one has {len(ids)}",
        )
    return list(dict.fromkeys(one for one in ids if isinstance(one, str) and 0 < len(one) <= MAX_RECEIPT_ID))


def receipts(
    ids: list[str], receipts: Receipts, caller: str, apps: Collection[str], now: float
) -> tuple[Json, list[str]]:
    """The known receipts, and the ids that this gateway has not made.

    Args:
        ids: of the request.
        receipts: opens those of this gateway.
        caller: of the request.
        apps: that the caller may use.
        now: UNIX seconds.
    """
    known: Json = {}
    foreign: list[str] = []
    for receipt in ids:
        if receipts.ok(receipt, caller, apps, now):
            known[receipt] = {"status": "ok"}
        elif not receipts.made(receipt):
            foreign.append(receipt)
    return known, foreign
