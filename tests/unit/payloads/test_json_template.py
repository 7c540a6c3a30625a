"""The payload template: what is replaced, with what, and that a value never breaks out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushcore.audience.problems import BadInput, BadRow
from pushcore.payloads.json_template import JsonTemplate
from pushcore.payloads.values import ANY, TEXT, TEXT_OR_OBJECT

NASTY = 'Eve "E" \\ {{token}}\n\t\x01 </script> 李雷 🎉 "},"aps":{"badge":99'


def filled(payload: Any, row: dict[str, Any], *, csv: bool = False, takes: str = ANY) -> Any:
    """The payload of a row, decoded; as a row of a CSV when `csv`. `takes`: what all its fields take."""
    template = JsonTemplate.from_object(payload, "payload.json", lambda path: takes)
    if csv:
        return json.loads(template.bind(list(row))(list(row.values())))
    return json.loads(template.bind(None)(row))


@pytest.mark.parametrize("csv", [True, False])
def test_placeholders_are_replaced_in_every_text(csv: bool) -> None:
    payload: dict[str, Any] = {
        "aps": {"alert": {"title": "Hi {{name}}", "loc-args": ["{{name}}", "a {{ name }} and {{order}}!"]}},
        "order": "{{order}}",
        "n": [1, 2.5, None, True, "plain", {}],
    }
    assert filled(payload, {"name": NASTY, "order": "A-1"}, csv=csv) == {
        "aps": {"alert": {"title": f"Hi {NASTY}", "loc-args": [NASTY, f"a {NASTY} and A-1!"]}},
        "order": "A-1",
        "n": [1, 2.5, None, True, "plain", {}],
    }


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_no_value_changes_the_structure(one: str, two: str) -> None:
    payload = {"a": "{{one}}", "b": ["x{{two}}y{{one}}", "{{two}}"]}
    assert filled(payload, {"one": one, "two": two}, csv=True) == {"a": one, "b": [f"x{two}y{one}", two]}


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("{{v}}", 5, 5),
        ("{{v}}", "5", "5"),
        ("{{v}}", None, None),
        ("{{v}}", {"a": [1]}, {"a": [1]}),
        ("{{v:int}}", "5", 5),
        ("{{v:int}}", "-07", -7),
        ("{{v:int}}", 5, 5),
        ("{{v:float}}", "2.5", 2.5),
        ("{{v:float}}", 3, 3),
        ("{{v:json}}", '{"a": [1, null]}', {"a": [1, None]}),
        ("{{v:json}}", [1], [1]),
        ("{{ v : json }}", "true", True),
        ("n={{v}}", 5, "n=5"),
        ("n={{v}}", True, "n=true"),
        ("n={{v:int}}", "0012", "n=12"),
        ("n={{v:json}}", '"quoted"', "n=quoted"),
        ("{{v:text}}", 5, "5"),
        ("{{v:text}}", 2.5, "2.5"),
        ("{{v:text}}", False, "false"),
        ("{{v:text}}", "x", "x"),
        ("n={{v:text}}", 5, "n=5"),
        ("\\{{v}}", "x", "{{v}}"),
        ("a \\{{v}} {{v}}", "x", "a {{v}} x"),
        ("{v} }} {", "x", "{v} }} {"),
    ],
)
def test_a_value_keeps_or_converts_its_type(text: str, value: Any, expected: Any) -> None:
    assert filled({"k": text}, {"v": value}) == {"k": expected}


@pytest.mark.parametrize(
    ("text", "value", "complaint"),
    [
        ("{{v:int}}", "", "'v': '' is not a whole number"),
        ("{{v:int}}", "1.5", "not a whole number"),
        ("{{v:int}}", "\u0661", "not a whole number"),
        ("{{v:int}}", True, "not a whole number"),
        ("{{v:int}}", "9" * 30, "cannot be JSON"),
        ("{{v:float}}", "nan", "not a number"),
        ("{{v:float}}", "x\x1b[31m", r"'x\x1b[31m' is not a number"),
        ("{{v:json}}", "{", "not JSON"),
        ("{{v:text}}", None, "'v': null cannot replace a text"),
        ("{{v:text}}", [1], "an object or a list cannot replace a text"),
        ("{{v}}", float("nan"), "'v': nan is not a number that JSON has"),
        ("{{v:json}}", float("inf"), "inf is not a number that JSON has"),
        ("n={{v}}", float("nan"), "nan is not a number that JSON has"),
        ("{{v:text}}", float("nan"), "nan is not a number that JSON has"),
        ("a {{v}}", None, "null cannot be part of a text"),
        ("a {{v}}", [1], "an object or a list cannot be part of a text"),
        ("{{v}}", "\udc80", "cannot be JSON"),
        ("{{w}}", "", "there is no key 'w'"),
    ],
)
def test_a_value_that_does_not_fit_is_a_bad_row(text: str, value: Any, complaint: str) -> None:
    with pytest.raises(BadRow) as caught:
        filled({"first": "{{u}}", "k": text}, {"u": "x", "v": value})
    assert complaint in str(caught.value)


@pytest.mark.parametrize("takes", [TEXT, TEXT_OR_OBJECT])
@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("{{v}}", 5, "5"),
        ("{{v}}", -2.5, "-2.5"),
        ("{{v}}", True, "true"),
        ("{{v}}", 12345678901234567, "12345678901234567"),
        ("{{v}}", NASTY, NASTY),
        ("{{v:int}}", "007", "7"),
        ("{{v:float}}", 3, "3"),
        ("{{v:text}}", 5, "5"),
        ("{{v:json}}", "[]", None),
        ("{{v}}", None, None),
        ("{{v}}", [1], None),
    ],
)
def test_a_field_that_takes_text_alone(takes: str, text: str, value: Any, expected: str | None) -> None:
    if expected is not None:
        assert filled({"k": text}, {"v": value}, takes=takes) == {"k": expected}
        return
    with pytest.raises(BadRow, match=r"'v': (null|an object or a list) cannot replace a text"):
        filled({"k": text}, {"v": value}, takes=takes)


def test_an_object_for_a_field_that_takes_text_or_an_object() -> None:
    value = {"title": "T", "n": 1}
    assert filled({"k": "{{v}}"}, {"v": value}, takes=TEXT_OR_OBJECT) == {"k": value}
    with pytest.raises(BadRow, match="cannot replace a text"):
        filled({"k": "{{v}}"}, {"v": value}, takes=TEXT)


def test_a_payload_without_placeholders_is_encoded_once() -> None:
    template = JsonTemplate.from_json(b'\xef\xbb\xbf { "aps": {"alert": "Hi"} }', "payload.json")
    assert template.columns == ()
    fill = template.bind(["token"])
    assert fill(["a"]) is fill(["b"]) is template.constant
    assert template.constant == b'{"aps":{"alert":"Hi"}}'


def test_the_columns_that_it_needs() -> None:
    template = JsonTemplate.from_json(b'{"a": "{{x}} {{ y y }}", "b": "{{x:int}}", "c": "\\\\{{z}}"}', "p")
    assert template.columns == ("x", "y y")


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b'{"a": NaN}', "is not JSON"),
        ('{"a": "René"}'.encode("latin-1"), "is not UTF-8 (Latin-1 or Windows-1252?): convert the file"),
        (b"[]", "is not a JSON object"),
        (b'"{{name}}"', "is not a JSON object"),
        (b'{"{{name}}": 1}', "holds a placeholder; expected placeholders in values only"),
        (b'{"a": "Hi {{name}"}', "does not close it"),
        (b'{"a": "{{}}"}', "malformed"),
        (
            b'{"a": "{{name:number}}"}',
            "expected {{column}}, or after the column one of :int, :float, :json, :text",
        ),
        (b'{"a":' * 600 + b"1" + b"}" * 600, "nested too deeply"),
    ],
)
def test_invalid_payloads(payload: bytes, complaint: str) -> None:
    with pytest.raises(BadInput) as caught:
        JsonTemplate.from_json(payload, "payload.json")
    assert str(caught.value).startswith("payload.json")
    assert complaint in str(caught.value)
