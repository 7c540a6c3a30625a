"""`Template`: the pushes of rows that a program has, and what is wrong with a payload or a row."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import uuid
from collections import UserDict
from pathlib import Path
from typing import Any

import pytest

import pushcore
from pushcore import ConfigurationError, Message, Notification, Template
from tests.support.strange_values import DEEP, Array

APNS = "ab" * 32
FID = "dPx6Y0k3Qm2Vb1N9zW8aLk"
FCM = f"{FID}:APA91b" + "x" * 134
EXPO = {"title": "Hi {{name}}", "data": {"order": "{{order}}"}}


def payload_of(push: Notification | Message) -> Any:
    assert isinstance(push, Notification)
    assert isinstance(push.payload, bytes)
    return json.loads(push.payload)


def test_a_row_becomes_the_push_of_its_device() -> None:
    template = Template(EXPO)
    assert (template.columns, template.notices) == (("name", "order"), [])
    assert template.platforms == {"apns", "fcm"}
    push = template.render({"token": APNS, "name": 'Ada "A"', "order": 7})
    assert isinstance(push, Notification)
    assert payload_of(push) == {"aps": {"alert": {"title": 'Hi Ada "A"'}}, "body": {"order": 7}}
    message = template.render({"token": FCM, "name": "Bob", "order": "8"})
    assert isinstance(message, Message)
    assert message.to_dict() == {
        "message": {
            "token": FCM,
            "notification": {"title": "Hi Bob"},
            "data": {"title": "Hi Bob", "body": '{"order":"8"}'},
        }
    }
    app_sent = template.render({"type": "android", "data": FID, "name": "", "order": None})
    assert isinstance(app_sent, Message)
    assert (app_sent.fid, app_sent.data) == (FID, {"title": "Hi ", "body": '{"order":null}'})


def test_no_two_pushes_have_the_same_apns_id() -> None:
    template = Template({"aps": {"alert": "Hi"}})
    rows = [{"token": APNS}] * 3
    pushes = [*map(template.render, rows), *template.render_many(rows), *template.render_many(rows)]
    ids = [push.apns_id for push in pushes if isinstance(push, Notification)]
    assert len(set(ids)) == 9


@pytest.mark.parametrize(
    ("payload", "options", "platforms"),
    [
        ({"aps": {"alert": "Hi"}}, {}, {"apns"}),
        ({"mine": "{{name}}"}, {"format": "apns", "push_type": "voip"}, {"apns"}),
        ({"message": {"data": {"a": "{{name}}"}}}, {}, {"fcm"}),
        ({"notification": {"title": "{{name}}"}}, {}, {"fcm"}),
        ({"data": {"a": "{{name}}"}}, {"format": "fcm"}, {"fcm"}),
        ({"title": "{{name}}"}, {"format": "expo"}, {"apns", "fcm"}),
        (
            {"apns": {"aps": {"alert": "{{a}}"}}, "fcm": {"message": {"data": {"a": "{{b}}"}}}},
            {},
            {"apns", "fcm"},
        ),
        ({"fcm": {"message": {"data": {"a": "{{b}}"}}}}, {}, {"fcm"}),
    ],
)
def test_each_format_serves_its_providers(payload: Any, options: Any, platforms: set[str]) -> None:
    template = Template(payload, **options)
    assert template.platforms == platforms
    row = {"name": "Ada", "a": "A", "b": "B"}
    for platform, token in (("apns", APNS), ("fcm", FCM)):
        if platform in platforms:
            assert template.render({"token": token, **row}).token == token
        else:
            with pytest.raises(ValueError, match="and the template has no payload for it"):
                template.render({"token": token, **row})


def test_options_and_the_rows_own_columns() -> None:
    template = Template(EXPO, priority=5, collapse_id="c", expiration=1_800_000_000, push_type="alert")
    row = {"token": APNS, "name": "Ada", "order": 1}
    push = template.render(row)
    assert isinstance(push, Notification)
    assert (push.priority, push.collapse_id, push.expiration) == (5, "c", 1_800_000_000)
    push = template.render({**row, "priority": 10, "topic": "com.example.other"})
    assert isinstance(push, Notification)
    assert (push.priority, push.topic) == (10, "com.example.other")
    data = Template(EXPO, android="data").render({**row, "token": FCM})
    assert isinstance(data, Message)
    assert data.notification is None


def test_many_rows_have_their_numbers_and_a_bad_one_is_bad_alone() -> None:
    template = Template({"title": "{{name}}", "badge": "{{n:int}}"}, name="hello.json")
    rows: list[dict[str, Any]] = [
        {"token": APNS, "name": "Ada", "n": 1},
        {"token": "ExponentPushToken[x]", "name": "Eve", "n": 1},
        {"token": FCM, "name": None, "n": 1},
        {"token": FCM, "n": 1},
        {"token": APNS, "name": "Cy", "n": "many"},
        {"token": APNS, "name": "Cy", "n": -1},
        {"token": FCM, "name": "Dan", "n": 2},
    ]
    bad: dict[int, str] = {}
    pushes = list(template.render_many(rows, bad.__setitem__))
    assert [(push.row, push.token) for push in pushes] == [(1, APNS), (7, FCM)]  # type: ignore[union-attr]
    assert bad.keys() == {2, 3, 4, 5, 6}
    assert "must register with getDevicePushTokenAsync" in bad[2]
    assert bad[3] == "'name': null cannot replace a text (title of hello.json)"
    assert bad[4] == "there is no key 'name' (title of hello.json)"
    assert bad[5] == "'n': 'many' is not a whole number (badge of hello.json)"
    assert bad[6] == "badge must be a number from 0 on, not -1"
    for row, reason in zip(rows[1:6], bad.values(), strict=True):
        with pytest.raises(ValueError) as caught:
            template.render(row)
        assert str(caught.value) == reason
    with pytest.raises(ValueError, match="row 2: this is a token of Expo's"):
        list(template.render_many(rows))


@pytest.mark.parametrize("row", [None, 7, APNS, [APNS], object()])
def test_a_row_that_is_no_mapping_is_named(row: Any) -> None:
    with pytest.raises(ValueError, match="a row must be a mapping, not "):
        Template(EXPO).render(row)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (None, "a row must be a mapping, not None"),
        ([APNS], "a row must be a mapping, not list"),
        (APNS, "a row must be a mapping, not str"),
        ({1: 2}, "the row has no token"),
        ({"token": Array()}, "the row has a value that cannot be part of a push"),
        ({"token": APNS, "platform": Array()}, "the row has a value that cannot be part of a push"),
        ({"token": APNS, "platform": object()}, "platform: 'object' is neither ios"),
        (
            {"token": APNS, "name": b"x", "order": 1},
            "the value of 'name' cannot be JSON: it must be a value of",
        ),
        ({"token": APNS, "name": 1 << 70, "order": 1}, "it must be a whole number of 64 bits"),
        ({"token": APNS, "name": "x", "order": "\ud800"}, "it must be valid Unicode"),
        ({"token": APNS, "name": "x", "order": {"a": {1}}}, "it.a must be a value of JSON, not set"),
        ({"token": APNS, "name": "x", "order": DEEP}, "it is nested too deeply"),
    ],
)
def test_one_strange_row_does_not_end_the_others(row: Any, words: str) -> None:
    right = {"token": APNS, "name": "x", "order": 1}
    template = Template(EXPO)
    bad: list[tuple[int, str]] = []
    pushes: list[Any] = list(template.render_many([right, row, right], lambda *given: bad.append(given)))
    assert [push.row for push in pushes] == [1, 3]
    assert [number for number, _ in bad] == [2]
    assert words in bad[0][1]
    with pytest.raises(ValueError) as caught:  # what it says is looked at below
        template.render(row)
    assert words in str(caught.value)


def test_rows_that_are_none() -> None:
    wrong: Any = 7
    with pytest.raises(ValueError, match="rows must be an iterable of mappings, not int"):
        next(Template(EXPO).render_many(wrong))


def test_one_row_is_read_at_a_time() -> None:
    read: list[int] = []

    def rows() -> Any:
        for number in range(5):
            read.append(number)
            yield {"token": APNS, "name": "x", "order": number}

    pushes = Template(EXPO).render_many(rows())
    next(pushes)
    assert read == [0]


@pytest.mark.parametrize(
    ("payload", "options", "complaint"),
    [
        ([], {}, "the template must be a JSON object, not list"),
        (
            {"aps": {"alert": "{{name"}},
            {},
            "the template: '{{name' in aps.alert opens a placeholder and does not close it",
        ),
        (
            {"title": "x", "priority": "max"},
            {},
            "the template: priority must be one of default, normal, high",
        ),
        ({"message": {"token": "x"}}, {}, "the template: the message has a token; expected none"),
        ({"data": {"a": "b"}}, {}, "expected format expo, or a payload for each"),
        ({"titel": "x"}, {}, "format"),
        ({1: 2}, {}, "the keys of the template must be strings, not int (1)"),
        ({"apns": {"aps": {}}, "fcm": {1: 2}}, {}, "the keys of the template.fcm must be strings"),
        ({"aps": {"alert": object()}}, {}, "the template.aps.alert must be a value of JSON, not object"),
        ({"aps": UserDict(alert="x")}, {}, "the template.aps must be a dict, not UserDict"),
        ({"aps": {"alert": "x"}, "n": DEEP}, {}, "the template is nested too deeply"),
        ({"aps": {}}, {"format": object()}, "format must be one of auto, expo, apns, fcm, not object"),
        ({"aps": {}}, {"android": "dta"}, "android must be one of notification, data, not 'dta'"),
        ({"title": "x"}, {"experience_id": 7}, "experience_id must be a string or None, not int"),
        ({"title": "x"}, {"scope_key": b"x"}, "scope_key must be a string or None, not bytes"),
        ({"title": "x"}, {"format": "sms"}, "format must be one of auto, expo, apns, fcm, not 'sms'"),
        (
            {"apns": {"aps": {}}, "fcm": {"message": {"data": {"google.x": "a"}}}},
            {},
            'the template, "fcm": data must not have',
        ),
    ],
)
def test_unusable_templates(payload: Any, options: Any, complaint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Template(payload, **options)
    assert complaint in str(caught.value)


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "payload.json"
    path.write_text(json.dumps(EXPO))
    assert Template.from_file(path, priority=5).columns == ("name", "order")
    path.write_text("{")
    with pytest.raises(ConfigurationError, match=r"payload\.json is not JSON"):
        Template.from_file(path)
    with pytest.raises(ConfigurationError, match=r"nothing\.json cannot be read"):
        Template.from_file(str(tmp_path / "nothing.json"))


@pytest.mark.parametrize("path", [None, 7, b"x", object, ["x"]])
def test_a_path_of_a_wrong_type(path: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^path must be a path, not "):
        Template.from_file(path)


def test_it_is_imported_when_it_is_used() -> None:
    assert pushcore.Template is Template


# --- values of other types than JSON has --------------------------------------------------------------------------------


class Word(str):
    __slots__ = ()


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int


TEXTS = [
    (Word('a"b'), 'a"b'),
    (Colour.RED, "red"),
    (datetime.date(2026, 1, 2), "2026-01-02"),
    (datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), "2026-01-02T00:00:00+00:00"),
    (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    (-0.0, "-0.0"),
    (2**63, "9223372036854775808"),
    (True, "true"),
]


@pytest.mark.parametrize(("value", "text"), TEXTS)
@pytest.mark.parametrize("around", ["", "<>"])
def test_a_text_has_the_text_of_a_value_of_any_type(value: object, text: str, around: str) -> None:
    """What orjson writes as a string stands in a text without its quotation marks."""
    written = f"{around[:1]}{{{{x}}}}{around[1:]}"
    expected = f"{around[:1]}{text}{around[1:]}"
    apns = Template({"aps": {"alert": written}}).render({"token": "ab" * 32, "x": value})
    assert isinstance(apns, Notification)
    assert isinstance(apns.payload, bytes)
    assert json.loads(apns.payload) == {"aps": {"alert": expected}}
    token = "dPx6Y0k3Qm2Vb1N9zW8aLk:APA91b" + "x" * 134
    fcm = Template({"message": {"data": {"k": written}}}).render({"token": token, "x": value})
    assert isinstance(fcm, Message)
    assert fcm.data == {"k": expected}


@pytest.mark.parametrize(
    "value", [None, [1], (1, 2), {"a": 1}, Point(1), float("nan"), b"x", {1}, 10**30, "\ud800"]
)
@pytest.mark.parametrize("written", ["{{x}}", "<{{x}}>", "{{x:text}}"])
def test_what_has_no_text_is_refused_by_the_column(value: object, written: str) -> None:
    template = Template({"message": {"data": {"k": written}}})
    with pytest.raises(ValueError, match=r"'x'.*\(data\.k of the template\)$"):
        template.render({"token": "dPx6Y0k3Qm2Vb1N9zW8aLk:APA91b" + "x" * 134, "x": value})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("name", 5),
        ("push_type", "allert"),
        ("push_type", 5),
        ("priority", "10"),
        ("priority", 7),
        ("priority", True),
        ("expiration", 3600),
        ("expiration", 1_800_000_000_000),
        ("expiration", "1800000000"),
        ("expiration", 1.8e9),
        ("expiration", datetime.datetime(2027, 1, 1)),
        ("collapse_id", 5),
    ],
)
def test_an_option_that_no_push_could_have_is_refused_at_once(option: str, value: Any) -> None:
    options: Any = {option: value}
    with pytest.raises(ConfigurationError, match=option):
        Template({"aps": {"alert": "x"}}, **options)


@pytest.mark.parametrize(
    "expiration",
    [0, 1_800_000_000, datetime.timedelta(hours=1), datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC)],
)
def test_expirations_of_a_template(expiration: Any) -> None:
    Template({"aps": {"alert": "x"}}, expiration=expiration, priority=5, push_type="alert", collapse_id="c")


@pytest.mark.parametrize("value", [[1, float("nan")], {"a": [float("inf")]}])
def test_a_number_within_a_value_that_json_does_not_have_is_refused(value: Any) -> None:
    template = Template({"aps": {"alert": "x"}, "o": "{{v}}"})
    with pytest.raises(ValueError, match=r"'v': it.* is (nan|inf), a number that JSON does not have"):
        template.render({"token": "ab" * 32, "v": value})
    kept: Any = template.render({"token": "ab" * 32, "v": ["null", None]})
    assert json.loads(kept.payload)["o"] == ["null", None]
