"""A payload that is compiled makes the same requests, and says the same of bad rows, as one that is converted for each row."""

from __future__ import annotations

import os
import time
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pushcore.audience.problems import BadInput
from pushcore.payloads.apns_rows import ApnsRows, RowDefaults
from pushcore.payloads.compiled import MAX_FORMS, Compiled, Marks, Role
from pushcore.payloads.fcm_rows import FcmRows
from pushcore.payloads.json_template import JsonTemplate
from pushcore.payloads.payload import ExpoPayload, FcmPayload

from .rendering import APNS, FCM, FID, Requests, audience, slow_apns, slow_fcm, slow_own

NOW = 1_790_000_000.25
EXAMPLES = int(os.environ.get("EXAMPLES", "60"))
COLUMNS = ["a", "b", "n"]

texts = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(
    [
        "",
        "default",
        "0",
        "high",
        '"',
        "\\",
        '<"',
        "#00ff7f",
        "https://x.y/z",
        "passive",
        "x" * 3000,
        "\ud800",
        "true",
    ]
)
numbers = st.integers(-2, 3) | st.sampled_from([2**31, 2**40, 2**63, 10**18, 1.5, -0.0, 1e300])
plain = st.none() | st.booleans() | numbers | texts
values = plain | st.lists(plain, max_size=2) | st.dictionaries(texts.filter(str.isascii), plain, max_size=2)
csv_rows = st.lists(texts | numbers.map(str) | st.just('{"k": [1]}'), min_size=3, max_size=3)
json_rows = st.fixed_dictionaries({}, optional=dict.fromkeys(COLUMNS, values))

placeholders = st.sampled_from(
    [
        *("{{a}}", "{{b}}", "{{n}}", "{{n:int}}", "{{a:json}}", "{{n:float}}", "{{a:text}}", "Hi {{a}}!"),
        *("{{a}}{{b}}", '"{{b}}"\\ {{a}}', "no {{n:int}}", "\\{{a}}", "{{b:json}} ", "<{{a}}>"),
    ]
)
leaves = placeholders | st.sampled_from(["", "x", 'a "quoted" \\ text', 0, 1, 7, True, None])
TEXT_FIELDS = [
    *(
        "title",
        "subtitle",
        "body",
        "categoryId",
        "channelId",
        "icon",
        "link",
        "collapse_key",
        "collapseId",
        "tag",
    ),
    *("threadId", "launchImage", "targetContentId", "filterCriteria", "color", "_category"),
]
data = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["k", "l"]), inner, max_size=2)
    ),
    max_leaves=4,
)
expo_messages = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(TEXT_FIELDS, placeholders | st.sampled_from(["", "x"])),
        "badge": leaves,
        "sound": placeholders | st.sampled_from(["default", "x"]) | st.fixed_dictionaries({}, optional={"name": placeholders, "volume": leaves, "critical": leaves}),
        "priority": placeholders | st.sampled_from(["high", "normal"]),
        "interruptionLevel": placeholders | st.just("passive"),
        "ttl": leaves | st.just(60),
        "expiration": leaves | st.just(NOW + 100),
        "relevanceScore": leaves,
        "mutableContent": leaves,
        "contentAvailable": leaves,
        "_contentAvailable": leaves,
        "vibrate": leaves | st.lists(leaves, max_size=2),
        "sticky": leaves,
        "autoDismiss": leaves,
        "richContent": placeholders | st.fixed_dictionaries({}, optional={"image": placeholders | st.just(""), "x": data}),
        "data": placeholders | st.dictionaries(st.sampled_from(["k", "l"]), data, max_size=2),
        "unknown": leaves,
    },
)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _still_clock() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: NOW)
        yield


def twice(rows: list[Any]) -> list[Any]:
    """What a value decides is compiled when it is seen again."""
    return [*rows, *rows]


@settings(deadline=None, max_examples=EXAMPLES)
@given(
    expo_messages, st.lists(csv_rows, min_size=1, max_size=3) | st.lists(json_rows, min_size=1, max_size=3)
)
@example({"title": "{{a}}", "data": {"k": "{{a}}"}}, [["x", "", ""], ["", "", ""]])
@example({"title": "{{a}}{{b}}", "badge": "{{n:int}}"}, [["", "", "0"], ["x", "", "5"], ["x", "y", "6"]])
@example({"title": "x", "badge": "{{n:int}}"}, [["", "", "5"], ["", "", "0"], ["", "", "12"]])
@example(
    {"title": "x", "threadId": "{{a}}", "channelId": "{{b}}"}, [{"a": "1"}, {"b": "1"}, {"a": "1", "b": "2"}]
)
@example({"body": "{{a}}", "sound": "{{b}}"}, [{"a": "x", "b": "default"}, {"a": "", "b": {"name": "s"}}])
@example({"title": "x", "data": {"k": "{{a}}"}}, [{"a": orjson.loads("[" * 220 + "]" * 220)}, {"a": [[1]]}])
@example({"title": "x", "collapseId": "{{a}}", "ttl": "{{n:int}}"}, [["one", "", "60"], ["two", "", "0"]])
@example(
    {"title": "Hi {{a}}", "richContent": {"image": "{{b}}"}}, [["x", "https://x.y/z", ""], ["x", "", ""]]
)
def test_a_message_in_expos_format(content: dict[str, Any], rows: list[Any]) -> None:
    columns = None if isinstance(rows[0], dict) else COLUMNS
    requests = Requests()
    try:
        payload = ExpoPayload(content, "p")
    except BadInput:
        return
    apns = ApnsRows(payload, RowDefaults()).bind(audience(columns))
    fcm = FcmRows(payload).bind(audience(columns))
    as_data = FcmRows(ExpoPayload(content, "p", android="data")).bind(audience(columns))
    for row in twice(rows):
        expected = requests.of(slow_apns, content, columns, row, NOW)
        assert _without_id(requests.of(apns, 1, APNS, row)) == expected
        expected = requests.of(slow_fcm, content, columns, row, NOW)
        assert requests.of(fcm, 1, FCM, False, row) == expected
        expected = requests.of(slow_fcm, content, columns, row, NOW, "data")
        assert requests.of(as_data, 1, FCM, False, row) == expected


fcm_notifications = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("title", "body", "image"), placeholders | st.just("x")),
        **dict.fromkeys(("color", "channelId", "click_action", "visibility", "event_time"), placeholders),
        "notification_count": leaves,
        "vibrate_timings": st.lists(placeholders, max_size=1),
        "title_loc_args": st.lists(placeholders, max_size=2),
    },
)
strings = st.dictionaries(
    st.sampled_from(["k", "l", "title", "message"]), placeholders | st.just("x"), max_size=2
)
fcm_messages = st.fixed_dictionaries(
    {},
    optional={
        "notification": st.dictionaries(
            st.sampled_from(["title", "body", "image", "bad"]), placeholders | st.just("x")
        ),
        "data": strings,
        "android": st.fixed_dictionaries(
            {},
            optional={
                "data": strings,
                "notification": fcm_notifications,
                "priority": placeholders | st.just("high"),
                "ttl": placeholders | st.just("{{n}}s"),
                "collapseKey": placeholders,
                "directBootOk": leaves,
            },
        ),
        "apns": st.fixed_dictionaries(
            {},
            optional={
                "headers": st.dictionaries(
                    st.sampled_from(["apns-priority", "apns-push-type", "apns-expiration", "x"]), placeholders
                ),
                "payload": st.fixed_dictionaries(
                    {},
                    optional={
                        "aps": placeholders
                        | st.fixed_dictionaries(
                            {},
                            optional={
                                "alert": data,
                                "badge": leaves,
                                "timestamp": leaves,
                                "sound": placeholders,
                            },
                        ),
                        "own": data,
                    },
                ),
                "fcm_options": st.dictionaries(st.sampled_from(["analytics_label", "image"]), placeholders),
            },
        ),
        "webpush": st.fixed_dictionaries(
            {},
            optional={
                "notification": placeholders | st.dictionaries(st.sampled_from(["k", "title"]), data),
                "headers": st.dictionaries(st.sampled_from(["TTL", "x"]), placeholders),
                "fcm_options": st.dictionaries(st.sampled_from(["link"]), placeholders),
                "data": strings,
            },
        ),
        "fcm_options": st.dictionaries(st.just("analytics_label"), placeholders),
    },
)


@settings(deadline=None, max_examples=EXAMPLES)
@given(fcm_messages, st.lists(csv_rows, min_size=1, max_size=3) | st.lists(json_rows, min_size=1, max_size=3))
@example({"android": {"notification": {"color": "{{a}}"}}}, [["#00ff7f", "", ""], ["red", "", ""]])
@example(
    {"apns": {"headers": {"apns-priority": "{{n}}"}, "payload": {"aps": {}}}}, [["", "", "5"], ["", "", "10"]]
)
@example(
    {"webpush": {"notification": {"k": "{{a}}"}}}, [{"a": orjson.loads("[" * 240 + "]" * 240)}, {"a": None}]
)
@example({"data": {"k": "{{a}}"}}, [["x" * 5000, "", ""], ["\ud800", "", ""]])
def test_a_message_in_fcms_own_format(content: dict[str, Any], rows: list[Any]) -> None:
    columns = None if isinstance(rows[0], dict) else COLUMNS
    requests = Requests()
    try:
        payload = FcmPayload(content, "p")
    except BadInput:
        return
    make = FcmRows(payload).bind(audience(columns))
    for row in twice(rows):
        expected = requests.of(slow_own, content, columns, row)
        assert requests.of(make, 1, FCM, False, row) == expected


def _without_id(request: tuple[object, ...]) -> tuple[object, ...]:
    """Rows have an apns-id."""
    if len(request) != 5:
        return request
    body, path, own_fields, *rest = request
    assert isinstance(own_fields, tuple)
    return (body, path, tuple(field for field in own_fields if field[0] != b"apns-id"), *rest)


# --- examples ---------------------------------------------------------------------------------------------------------


def test_each_row_has_the_target_that_it_is_for() -> None:
    make = FcmRows(
        FcmPayload(
            {
                "data": {"k": "{{a}}"},
            },
            "p",
        )
    ).bind(audience(["a"]))
    requests = Requests()
    for token, fid in ((FCM, False), (FID, True)):
        push = make(7, token, fid, ["x"])
        assert (push.row, push.device, push.data) == (7, token, {"k": "x"})
        body = requests.of(make, 7, token, fid, ["x"])[0]
        name = "fid" if fid else "token"
        assert body == orjson.dumps(
            {"message": {"data": {"k": "x"}, name: token}}, option=orjson.OPT_SORT_KEYS
        )


def test_the_time_to_live_of_a_message_counts_from_when_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = ExpoPayload({"title": "{{a}}", "expiration": NOW + 10}, "p")
    make = FcmRows(payload).bind(audience(["a"]))
    for now, ttl in ((NOW, "10s"), (NOW + 0.5, "9s"), (NOW + 4, "6s"), (NOW, "10s"), (NOW + 11, "0s")):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        for _ in range(3):
            assert make(1, FCM, False, ["x"]).message().to_dict()["message"]["android"]["ttl"] == ttl


def test_forms_are_bounded_however_many_values_decide() -> None:
    made = []

    class Made:
        def stale(self, now: float) -> bool:
            return False

    def convert(content: dict[str, Any], now: float, marks: Marks | None) -> Made:
        made.append(content["a"])
        return Made()

    compiled = Compiled(JsonTemplate.from_object({"a": "{{a}}"}, "p"), [Role.FIXED], convert)
    for number in range(3 * MAX_FORMS):
        assert compiled.form([b"%d" % number], 0.0) is None  # a value that only one row has
    assert len(compiled._forms) <= MAX_FORMS
    assert made == []
    forms = [compiled.form([b"%d" % number], 0.0) for number in (3 * MAX_FORMS - 1,) * 3]
    assert forms[0] is not None
    assert forms == [forms[0]] * 3
    assert made == [3 * MAX_FORMS - 1]


def test_a_template_that_cannot_be_compiled_is_tried_once() -> None:
    tried = []

    def convert(content: dict[str, Any], now: float, marks: Marks | None) -> Any:
        tried.append(marks is not None)
        raise ValueError("no")

    compiled: Compiled[Any] = Compiled(JsonTemplate.from_object({"a": "{{a}}"}, "p"), [Role.FIXED], convert)
    assert [compiled.form([b"1"], 0.0) for _ in range(5)] == [None] * 5
    assert tried == [True]


def test_a_mark_that_is_no_value_is_no_form() -> None:
    template = JsonTemplate.from_object({"a": "{{a}}"}, "p")
    marks = Marks(b"{}")
    text = orjson.loads(marks.text(0, template.placeholders[0]))
    with pytest.raises(ValueError, match="a marker is left"):
        marks.cut(orjson.dumps({"a": text + "!"}))


@pytest.mark.parametrize(
    "content",
    [
        {"title": "Hi {{a}}", "body": "x", "data": {"k": ["{{b}}", {"n": "{{n}}"}]}, "priority": "high"},
        {"title": "{{a}}", "body": "{{b}}", "badge": "{{n:int}}", "tag": "{{a}}", "collapseId": "{{b}}"},
        {"body": "{{a}}", "sound": "{{b}}", "richContent": {"image": "{{a}}"}, "ttl": 60},
        {"contentAvailable": True, "data": {"k": "{{a}}"}, "expiration": NOW + 100},
    ],
)
def test_usual_expo_payloads_are_compiled(content: dict[str, Any]) -> None:
    payload = ExpoPayload(content, "p")
    apns = ApnsRows(payload, RowDefaults()).bind(audience(COLUMNS))
    fcm = FcmRows(payload).bind(audience(COLUMNS))
    for _ in range(2):
        push, message = apns(1, APNS, ["one", "two", "3"]), fcm(1, FCM, False, ["one", "two", "3"])
    assert isinstance(push.payload, bytes)
    assert message.form is not None


@pytest.mark.parametrize(
    "content",
    [
        {"notification": {"title": "Hi {{a}}", "image": "{{b}}"}, "data": {"k": "{{n}}"}},
        {"android": {"notification": {"channelId": "{{a}}", "color": "#{{n}}"}, "data": {"k": "{{a}}"}}},
        {"android_v2": {"remoteNotification": {"notification": {"title": "{{a}}"}}}},
        {
            "apns": {"payload": {"aps": {"alert": {"title": "{{a}}"}}, "k": "{{b}}"}},
            "webpush": {"data": {"k": "{{a}}"}},
        },
    ],
)
def test_usual_fcm_payloads_are_compiled(content: dict[str, Any]) -> None:
    make = FcmRows(FcmPayload(content, "p")).bind(audience(COLUMNS))
    messages = [make(1, FCM, False, ["one", "two", "00ff7f"]) for _ in range(2)]
    assert messages[-1].form is not None
