"""Whatever a client sends, the fake FCM answers it and goes on; and it answers clients that read slowly."""

from __future__ import annotations

import json
import socket
from typing import Any

import h2.settings
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakeservers import FakeFcm, FakeServiceAccount, fated_registration
from fakeservers.fcm.fates import FATES
from fakeservers.fcm.legacy import LegacyApi
from fakeservers.fcm.message import is_condition, read_send
from fakeservers.fcm.oauth import GRANT_TYPE, OAuthServer
from fakeservers.fcm.strict import Api, Call, FcmRecord, FcmState, StrictFcm
from fakeservers.fcm.topics import Subscriptions, TopicApi
from fakeservers.records import Records
from fakeservers.serving.types import Answer, ConnectionFaults, ServerConnection
from tests.fakeservers.client import Client
from tests.fakeservers.fcm_client import FID, TOKEN, request_headers, send_body, send_headers

WORDS = st.sampled_from(
    [
        *("message", "validate_only", "validateOnly", "token", "fid", "topic", "condition", "data"),
        *("android", "android_v2", "androidV2", "apns", "webpush", "notification", "payload", "aps", "badge"),
        *("ttl", "priority", "fcm_options", "analytics_label", "light_settings", "color", "red", "headers"),
        *(
            "remote_notification",
            "background_sync",
            "title_loc_args",
            "event_time",
            "vibrate_timings",
            "link",
        ),
        *("to", "registration_ids", "dry_run", "time_to_live", "registration_tokens", "topic_name", "a", ""),
    ]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.sampled_from([TOKEN, FID, "/topics/a", "'a' in topics", "3.5s", "-1s", "high", "1e999", "https://a"]),
    st.sampled_from(sorted(FATES)).map(fated_registration),
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=25,
)
BODIES = (
    JSON.map(orjson.dumps)
    | st.binary(max_size=60)
    | st.dictionaries(WORDS, JSON, max_size=4).map(lambda message: orjson.dumps({"message": message}))
)


class NoLink:
    """A connection that takes anything."""

    id = number = 1
    version = "2"
    entry: ConnectionFaults | None = None
    sock: socket.socket | None = None
    waiting = 0
    handler: Any = None

    def after(self, seconds: float, answers: Any) -> None: ...

    def forget(self, stream_id: int) -> None: ...

    def reset(self, stream_id: int, error_code: int) -> None: ...

    def goaway(
        self, error_code: int = 0, *, last_stream_id: int | None = None, debug: bytes = b""
    ) -> None: ...

    def abort(self) -> None: ...

    def give(self, answers: Any) -> None: ...

    def cut(self, how: str) -> None: ...

    def mute(self, *, eof: bool = False) -> None: ...


def handler() -> tuple[StrictFcm, FcmState]:
    account = FakeServiceAccount.create()
    oauth = OAuthServer(account, "https://x/token", now=lambda: 1e9)
    state = FcmState(
        account, oauth, (account.project_id, "1"), "key", 100_000, lambda: 1e9, Records(1, FcmRecord.of)
    )
    link: ServerConnection = NoLink()
    apis: list[Api] = [LegacyApi(state), TopicApi(state, Subscriptions(), 0.0)]
    return StrictFcm(link, state, apis, 0.0), state


def ask(path: bytes, method: bytes, authorization: bytes, body: bytes, kind: bytes) -> list[Answer]:
    strict, state = handler()
    headers = [
        (b":method", method),
        (b":path", path),
        (b"authorization", authorization or b"Bearer " + state.oauth.issue().encode()),
        (b"content-type", kind),
    ]
    return list(strict([(1, headers, body)]))


PATHS = [
    b"/v1/projects/fake-project/messages:send",
    b"/fcm/send",
    b"/iid/v1:batchAdd",
    b"/iid/v1:batchRemove",
    b"/token",
    b"/v1/projects/fake-project/registrations/%s/topicSubscriptions?topic_name=a" % FID.encode(),
]


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(PATHS),
    BODIES,
    st.sampled_from([b"application/json", b"application/x-www-form-urlencoded"]),
)
def test_any_body_is_answered(path: bytes, body: bytes, kind: bytes) -> None:
    authorization = b"key=key" if path == b"/fcm/send" else b""
    for _, headers, content in ask(path, b"POST", authorization, body, kind):
        status = int(headers[0][1])
        assert headers[0][0] == b":status"
        assert status in (200, 400, 401, 403, 404, 409, 429, 500, 502, 503)
        kinds = dict(headers)
        if kinds[b"content-type"].startswith(b"application/json"):
            json.loads(content)


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(["GET", "POST", "DELETE", "PATCH", "PUT", ""]),
    st.lists(
        st.sampled_from(["v1", "projects", "fake-project", "registrations", FID, "topicSubscriptions", "iid"])
        | st.sampled_from(["info", "fcm", "send", "messages:send", "%2F", "", "a", "..", "v1:batchAdd"]),
        max_size=7,
    ),
    st.text(max_size=20)
    | st.sampled_from(["page_size=9999999999", "pageToken=a", "topicName=%ff", "&&=", ""]),
)
def test_any_path_is_answered(method: str, parts: list[str], query: str) -> None:
    path = f"/{'/'.join(parts)}?{query}".encode()
    [(_, headers, _)] = ask(path, method.encode(), b"", b"{}", b"")
    assert headers[0][0] == b":status"


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet="'\"ab in topics&|!() ", max_size=60))
def test_any_condition_is_judged(text: str) -> None:
    assert is_condition(text) in (True, False)


@settings(deadline=None)
@given(st.binary(max_size=200), st.text(max_size=50))
def test_any_token_request_is_answered(body: bytes, assertion: str) -> None:
    oauth = OAuthServer(FakeServiceAccount.create(), "https://x/token", now=lambda: 1e9)
    form = f"grant_type={GRANT_TYPE}&assertion={assertion}".encode("utf-8", "surrogatepass")
    for item in (body, form):
        assert oauth(item).status == 400


def test_what_would_take_long_does_not() -> None:
    many = b"&".join(b"a%d=b" % number for number in range(200_000))
    oauth = OAuthServer(FakeServiceAccount.create(), "https://x/token", now=lambda: 1e9)
    assert oauth(many).status == 400
    [(_, headers, _)] = ask(
        b"/fcm/send", b"POST", b"key=key", many[:90_000], b"application/x-www-form-urlencoded"
    )
    assert headers[0][1] == b"400"
    assert not is_condition("(" * 100_000)
    assert not is_condition("'" * 100_000)
    assert read_send(b'{"message":{"condition":"' + b"!" * 90_000 + b'"}}')[0].refusal is not None


async def test_a_client_with_a_small_window() -> None:
    """The body comes as credit does, and its end after it."""
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 10})
        client.flush()
        for fate in ("Unregistered", "BadGateway"):
            reply = await client.push(send_headers(fake), send_body(token=fated_registration(fate)))
            assert reply.status in (404, 502)
            assert len(reply.body) > 200


async def test_headers_that_come_twice_and_odd_ones() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        headers = send_headers(fake)
        assert (await client.push([*headers, headers[-1]], send_body())).status == 200
        odd = request_headers(fake, "/v1/projects/%zz/messages:send?%ff=%00&&", authorization="Bearer \xff")
        assert (await client.push(odd, send_body())).status in (400, 401, 404)
        assert (await client.push(headers, send_body())).status == 200


async def test_a_fate_that_there_is_not_is_seen() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        fake.fates[TOKEN] = "Luck"
        reply = await client.push(send_headers(fake), send_body())
        assert reply.status == 500
        assert b"'Luck' is none of the fates" in reply.body


@pytest.mark.parametrize(
    "null", ["to", "data", "time_to_live", "condition", "registration_ids", "notification"]
)
def test_null_in_the_legacy_api_is_absent(null: str) -> None:
    _, state = handler()
    message = {"to": TOKEN} | {null: None}
    reply = LegacyApi(state)(
        Call("POST", "/fcm/send", {}, b"key=key", "application/json", orjson.dumps(message))
    )
    assert reply is not None
    assert reply.status == 200
