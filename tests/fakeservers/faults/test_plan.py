"""Plans as data: from files and code and back, changed while they run, and every mistake in one sentence."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from fakeservers.faults import (
    ILLEGAL,
    KINDS,
    PRESETS,
    REASONS,
    Answer,
    Connect,
    Delay,
    Fault,
    FaultError,
    FaultPlan,
    Goaway,
    Reset,
    Slow,
    Stall,
    When,
)
from fakeservers.faults.when import within

TOML = """\
# what happens on Fridays
seed = 7
name = "friday"

[[faults]]
id = "busy"
description = "One device gets too many"
when = { provider = "apns", share = 0.01 }
what = { kind = "answer", reason = "TooManyRequests", retry_after = 5 }

[[faults]]
id = "slow"
enabled = false
[faults.when]
token = "ab"
nth = [3, "10-20", "100-"]
[faults.what]
kind = "delay"
percentiles = { 50 = 0.01, 99.9 = 1 }

[[faults]]
what = [
    { kind = "delay", seconds = 1 },
    { kind = "reset", code = "REFUSED_STREAM" },
]
"""


def test_a_toml_file(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(TOML.replace("99.9", '"99.9"'))
    plan = FaultPlan.from_file(file)
    assert (plan.seed, plan.name, [fault.id for fault in plan]) == (7, "friday", ["busy", "slow", "delay-1"])
    assert plan["busy"].when == When(provider=("apns",), share=0.01)
    assert plan["busy"].what == Answer(reason="TooManyRequests", retry_after=5)
    assert plan["slow"].when.nth == (3, "10-20", "100-")
    assert plan["slow"].what == Delay(percentiles=((50.0, 0.01), (99.9, 1.0)))
    assert plan["delay-1"].actions == (Delay(seconds=1.0), Reset())
    assert [fault.id for fault in plan.enabled] == ["busy", "delay-1"]


def test_json_says_the_same(tmp_path: Path) -> None:
    toml, js = tmp_path / "plan.toml", tmp_path / "plan.json"
    toml.write_text(TOML.replace("99.9", '"99.9"'))
    plan = FaultPlan.from_file(toml)
    js.write_text(json.dumps(plan.to_dict()))
    assert FaultPlan.from_file(js).to_dict() == plan.to_dict()


def test_a_file_without_a_name_gives_the_plan_its_own(tmp_path: Path) -> None:
    (tmp_path / "monday.toml").write_text("")
    plan = FaultPlan.from_file(tmp_path / "monday.toml")
    assert (plan.name, plan.seed, len(plan)) == ("monday", 0, 0)


GOOD: list[dict[str, Any]] = [
    {"kind": "answer", "status": 502, "body": "<html>", "headers": {"x-a": "1"}},
    {"kind": "answer", "status": 200, "headers": [["x-a", "1"], ["x-a", "2"]]},
    {"kind": "answer", "reason": "QUOTA_EXCEEDED", "details": False},
    {"kind": "stall"},
    {"kind": "reset", "code": 99, "processed": True},
    {"kind": "cut", "how": "frame"},
    {"kind": "half-open", "how": "eof"},
    {"kind": "delay", "between": [0.1, 0.2]},
    {"kind": "delay", "table": [[9, 0.1], [1, 5]]},
    {"kind": "goaway", "last": 7, "code": "ENHANCE_YOUR_CALM", "debug": "x", "grace": 1},
    {"kind": "goaway", "notice": 2},
    {"kind": "settings", "values": {"MAX_FRAME_SIZE": 20000}},
    {"kind": "streams", "limits": [1, 1000], "restore": 5},
    {"kind": "ping", "count": 3},
    {"kind": "access-tokens", "lifetime": 60, "says": 3600, "expire": True, "forget": True},
    {"kind": "frame", "name": "garbage"},
    {"kind": "frame", "hex": "00ff", "count": 2},
    {"kind": "connect", "how": "delay", "seconds": 1},
    {"kind": "tls", "how": "expired"},
    {"kind": "slow", "bytes": 10, "seconds": 0.1},
    {"kind": "truncate", "bytes": 10, "how": "reset"},
    {"kind": "greeting", "values": {"HEADER_TABLE_SIZE": 0}},
    {"kind": "window", "stream": 0, "drip": 100},
    {"kind": "shape", "fragment": 1, "pad": 2, "continuation": 3, "table": 0},
]


@pytest.mark.parametrize("what", GOOD, ids=lambda what: f"{what['kind']} {len(what)}")
def test_every_kind_survives_the_way_to_json_and_back(what: dict[str, Any]) -> None:
    plan = FaultPlan.from_dict({"faults": [{"id": "x", "what": what}]})
    table = json.loads(json.dumps(plan.to_dict()))
    again = FaultPlan.from_dict(table)
    assert again["x"] == plan["x"]
    assert again.to_dict() == plan.to_dict()


def test_good_examples_have_every_kind() -> None:
    assert {what["kind"] for what in GOOD} == set(KINDS)


BAD: list[tuple[str, str, str]] = [
    # what is replaced in TOML, by what, and the sentence; the line is that of the mistake
    ("seed = 7", "sed = 7", 'line 2: the plan has an unknown key "sed", expected one of seed, name, faults'),
    ("seed = 7", "seed = -1", "line 2: seed is -1, expected a whole number from 0 to "),
    ("seed = 7", "seed = true", "line 2: seed is True, expected a whole number from 0 to "),
    ("share = 0.01", "share = 1.5", 'line 8: fault "busy": when.share is 1.5, expected a number from 0 to 1'),
    ("share = 0.01", "share = nan", 'line 8: fault "busy": when.share is nan, expected a number from 0 to 1'),
    (
        "share = 0.01",
        "chance = 1",
        'line 8: fault "busy": when has an unknown key "chance", expected one of provider',
    ),
    (
        '"apns", share',
        '"hms", share',
        'line 8: fault "busy": when.provider is "hms", expected one of apns, fcm, oauth',
    ),
    (
        '"TooManyRequests"',
        '"TooMany"',
        'line 9: fault "busy": what.reason is "TooMany", expected a status with it, or one',
    ),
    (
        '"TooManyRequests"',
        '"Unavailable"',
        'line 9: fault "busy": what.reason is "Unavailable", expected a status',
    ),
    (
        "retry_after = 5",
        "retryafter = 5",
        'line 9: fault "busy": what has an unknown key "retryafter", expected one of re',
    ),
    ("retry_after = 5", "status = 99", 'line 9: fault "busy": what.status is 99, expected 200 to 599'),
    ("retry_after = 5", "headers = { X = '1' }", 'line 9: fault "busy": what.headers is '),
    (
        'kind = "answer"',
        'kind = "anser"',
        'line 9: fault "busy": what.kind is "anser", expected one of answer, stall',
    ),
    ('id = "slow"', 'id = "busy"', 'line 12: fault "busy" is there twice, expected ids that differ'),
    (
        'id = "slow"',
        'id = "a b"',
        'line 12: fault "a b": id is "a b", expected 1 to 64 letters, digits, dots',
    ),
    ("enabled = false", "enabled = 0", 'line 13: fault "slow": enabled is 0, expected true or false'),
    ('"10-20"', '"20-10"', 'line 16: fault "slow": when.nth is '),
    ("50 = 0.01", "150 = 0.01", 'line 19: fault "slow": what.percentiles is '),
    ("50 = 0.01", "50 = 2.0", 'line 19: fault "slow": what.percentiles fall, expected them to rise'),
    (
        "seconds = 1 ",
        "seconds = 1, between = [0, 1] ",
        "line 22: a fault: a delay needs one of seconds, between",
    ),
    ('kind = "delay", seconds = 1', 'kind = "stall"', "line 22: a fault: what ends the request twice"),
    ('kind = "delay", seconds = 1', 'kind = "slow"', "line 22: a fault: what mixes actions on connections"),
    ('"REFUSED_STREAM"', '"REFUSED"', 'line 24: a fault: what.code is "REFUSED", expected one of NO_ERROR'),
    ("seed = 7", "seed =", "line 2, column 7: no TOML: Invalid value"),
]


@pytest.mark.parametrize(("old", "new", "sentence"), BAD, ids=[new for _, new, _ in BAD])
def test_a_mistake_is_one_sentence_with_file_and_line(
    old: str, new: str, sentence: str, tmp_path: Path
) -> None:
    good = TOML.replace("99.9", '"99.9"')
    assert old in good
    file = tmp_path / "plan.toml"
    file.write_text(good.replace(old, new, 1))
    with pytest.raises(FaultError) as caught:
        FaultPlan.from_file(file)
    assert str(caught.value).startswith(f"{file}, {sentence}")
    assert "\n" not in str(caught.value)


WRONG: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"kind": "connect"}, {"token": "ab"}, "when.token is for requests"),
    ({"kind": "slow"}, {"errors": 3}, "when.errors is for requests"),
    ({"kind": "tls", "how": "cut"}, {"provider": "oauth"}, "when.provider is oauth, expected fcm"),
    ({"kind": "connect", "how": "refuse"}, {"share": 0.5}, "when.share cannot be known of what is refused"),
    ({"kind": "connect", "how": "refuse"}, {"connection": 3}, "when.connection cannot be known"),
    ({"kind": "access-tokens"}, {"provider": "apns"}, "when.provider has apns, which has no access tokens"),
    ({"kind": "stall"}, {"period": 5}, "when.lasting is 0, expected more than 0 and 5 at most"),
    ({"kind": "stall"}, {"lasting": 5}, "when.lasting needs a period"),
    ({"kind": "stall"}, {"after": 5, "until": 4}, "when.until is 4, expected more than 5"),
    ({"kind": "stall"}, {"nth": 0}, "when.nth is 0, expected a number from 1"),
    ({"kind": "tls"}, {}, "what has no how"),
    ({"kind": "frame"}, {}, "a frame needs one of name, hex"),
    ({"kind": "frame", "name": "nice"}, {}, 'what.name is "nice", expected one of data-stream-0'),
    ({"kind": "frame", "hex": "f"}, {}, "what.hex is"),
    (
        {"kind": "frame", "name": "continuation-endless", "count": 1000},
        {},
        "what.count is 1000, expected 16777216 bytes at most in all",
    ),
    ({"kind": "answer"}, {}, "an answer needs a reason or a status"),
    ({"kind": "answer", "reason": "invalid_grant"}, {"provider": "fcm"}, 'what.reason is "invalid_grant"'),
    ({"kind": "goaway", "last": "before", "notice": 1}, {}, "what.last is before, expected all: a notice"),
    ({"kind": "goaway", "last": -1}, {}, "what.last is -1, expected all, none, before, max, or a stream id"),
    ({"kind": "settings", "values": {"WINDOW": 1}}, {}, "what.values is"),
    ({"kind": "settings", "values": {"MAX_FRAME_SIZE": 1}}, {}, "what.values is"),
    ({"kind": "settings"}, {}, "what has no values"),
    ({"kind": "streams", "limits": []}, {}, "what.limits is [], expected a list of 1 to 1000"),
    ({"kind": "delay", "seconds": -1}, {}, "what.seconds is -1, expected seconds from 0 to"),
    ({"kind": "delay", "between": [2, 1]}, {}, "what.between falls"),
    ({"kind": "delay", "between": [2]}, {}, "what.between is [2], expected a list of 2 to 2"),
    ({"kind": "delay", "table": [[0, 1]]}, {}, "what.table has no weight above 0"),
    ({"kind": "shape", "pad": 256}, {}, "what.pad is 256, expected a whole number from 0 to 255"),
    ({"kind": "ping", "count": 0}, {}, "what.count is 0, expected a whole number from 1"),
]


@pytest.mark.parametrize(("what", "when", "sentence"), WRONG, ids=[sentence for _, _, sentence in WRONG])
def test_what_does_not_go_together(what: dict[str, Any], when: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FaultError) as caught:
        Fault.from_dict({"id": "x", "when": when, "what": what})
    assert str(caught.value).startswith(f'fault "x": {sentence}')


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ([], "the plan is [], expected a table"),
        ({"faults": {}}, "faults is {}, expected a list of faults"),
        ({"faults": [7]}, "a fault is 7, expected a table"),
        ({"faults": [{"id": "x"}]}, 'fault "x": it has no what'),
        ({"faults": [{"what": []}]}, "a fault: what has 0 actions, expected 1 to 20"),
        ({"faults": [{"what": "stall"}]}, 'a fault: what is "stall", expected a table with kind'),
        ({"faults": [{"what": {"kind": ["x"]}}]}, "a fault: what.kind is ['x'], expected one of answer"),
        ({"faults": [{"what": {"kind": "stall"}}] * 1001}, "the plan has 1001 faults, expected 1000 at most"),
    ],
)
def test_what_is_no_plan(table: Any, sentence: str) -> None:
    with pytest.raises(FaultError) as caught:
        FaultPlan.from_dict(table)
    assert str(caught.value).startswith(sentence)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    cases = {
        "no.toml": "cannot be read: No such file or directory",
        "bad.toml": "is no text",
        "deep.json": "line 1",
    }
    (tmp_path / "bad.toml").write_bytes(b"\xff\xfe")
    (tmp_path / "deep.json").write_text('{"seed": }')
    for name, words in cases.items():
        with pytest.raises(FaultError, match=re.escape(str(tmp_path / name))) as caught:
            FaultPlan.from_file(tmp_path / name)
        assert words in str(caught.value)
    (tmp_path / "nested.json").write_text("[" * 100_000)
    with pytest.raises(FaultError, match="nested too deeply"):
        FaultPlan.from_file(tmp_path / "nested.json")
    (tmp_path / "digits.toml").write_text(f"seed = {'9' * 5000}")
    with pytest.raises(FaultError, match="a number of thousands of digits"):
        FaultPlan.from_file(tmp_path / "digits.toml")
    (tmp_path / "mark.toml").write_text("\ufeffseed = 3", "utf-8")
    assert FaultPlan.from_file(tmp_path / "mark.toml").seed == 3


def test_code_is_checked_as_files_are() -> None:
    with pytest.raises(FaultError, match=r"when\.share is 2"):
        FaultPlan(0, [Fault(what=Stall(), when=When(share=2))])
    with pytest.raises(FaultError, match="the seed is -1"):
        FaultPlan(-1)


def test_changes_and_who_is_told() -> None:
    plan = FaultPlan(5)
    heard: list[int] = []
    unwatch = plan.watch(lambda: heard.append(plan.version))
    first = plan.add(Fault(what=Stall()))
    assert first.id == "stall-1"
    assert plan.add(Fault(what=Stall())).id == "stall-2"
    with pytest.raises(FaultError, match="is there twice"):
        plan.add(Fault(id="stall-1", what=Reset()))
    plan.replace(Fault(id="stall-1", what=Reset()))
    assert plan["stall-1"].what == Reset()
    plan.enable("stall-1", False)
    plan.enable("stall-1", False)  # nothing new: nobody is told
    assert plan.enabled == (plan["stall-2"],)
    assert "stall-1" in plan
    plan.remove("stall-2")
    with pytest.raises(KeyError):
        plan.remove("stall-2")
    with pytest.raises(KeyError):
        plan.enable("stall-2")
    plan.become(FaultPlan.preset("brownout", seed=9))
    assert (plan.name, plan.seed, len(plan)) == ("brownout", 9, 7)
    plan.clear()
    assert not len(plan)
    assert heard == list(range(1, 8))
    unwatch()
    plan.add(Fault(what=Stall()))
    assert len(heard) == 7


def test_times() -> None:
    when = When(after=10.0, until=100.0, period=20.0, lasting=5.0)
    for elapsed, inside in {
        0: 0,
        9.9: 0,
        10: 1,
        14.9: 1,
        15: 0,
        30: 1,
        95: 0,
        94.9: 1,
        100: 0,
        110: 0,
    }.items():
        assert when.in_time(elapsed) == bool(inside), elapsed
    assert When().in_time(0.0)
    assert not When(after=1.0).in_time(0.0)


def test_spans() -> None:
    results = [number for number in range(1, 30) if within((3, "5-7", "25-"), number)]
    assert results == [3, 5, 6, 7, *range(25, 30)]


def test_scaling_stretches_every_time_and_nothing_else() -> None:
    faults = [
        Fault(id="a", when=When(after=10, until=20), what=Delay(table=((1, 5.0), (2, 7.0)))),
        Fault(id="b", what=Answer(status=429, retry_after=7, body="7")),
        Fault(id="c", what=(Goaway(grace=4.0, code=4), Delay(percentiles=((50, 2.0),)))),
        Fault(id="d", what=Slow(bytes=10, seconds=1.0)),
    ]
    plan = FaultPlan(3, faults, name="x").scaled(0.5)
    assert (plan.seed, plan.name) == (3, "x")
    assert plan["a"].when == When(after=5.0, until=10.0)
    assert plan["a"].what == Delay(table=((1.0, 2.5), (2.0, 3.5)))
    assert plan["b"].what == Answer(status=429, retry_after=4, body="7")
    assert plan["c"].actions == (Goaway(grace=2.0, code=4), Delay(percentiles=((50.0, 1.0),)))
    assert plan["d"].what == Slow(bytes=10, seconds=0.5)


@pytest.mark.parametrize("name", PRESETS)
def test_ready_made_plans_are_plans(name: str) -> None:
    plan = FaultPlan.load(name, seed=4, scale=0.1)
    assert (plan.name, plan.seed) == (name, 4)
    assert FaultPlan.from_dict(plan.to_dict()).to_dict() == plan.to_dict()
    assert all(fault.name for fault in plan)


def test_what_is_neither_preset_nor_file() -> None:
    with pytest.raises(
        FaultError, match='no preset and no file "clam", expected a file or one of calm, realistic'
    ):
        FaultPlan.load("clam")
    with pytest.raises(FaultError, match=r"no\.toml cannot be read"):
        FaultPlan.load("no.toml")
    with pytest.raises(FaultError, match="there is no preset"):
        FaultPlan.preset("clam")


def test_nothing_secret_or_endless_in_a_repr() -> None:
    plan = FaultPlan(1, [Fault(id="a", what=Answer(status=500, body="x" * 60_000))])
    assert repr(plan) == "FaultPlan('', seed=1, faults=['a'])"


def test_every_reason_of_the_tables_can_be_answered() -> None:
    for provider, reasons in REASONS.items():
        for reason in reasons:
            Fault.from_dict({"when": {"provider": provider}, "what": {"kind": "answer", "reason": reason}})
    assert len(ILLEGAL) > 50
    assert all(illegal.build(7) for illegal in ILLEGAL.values())


def test_connect_is_on_connections_and_stall_on_requests() -> None:
    assert Fault(what=Connect()).on_connection
    assert not Fault(what=Stall()).on_connection


# The reference


DOCS = Path(__file__).parents[3] / "docs" / "reference" / "fakeservers-faults.md"


def examples() -> list[str]:
    return re.findall(r"^```toml\n(.*?)^```", DOCS.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("number", range(len(examples())))
def test_examples_of_the_reference_are_plans(number: int, tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(examples()[number])
    assert len(FaultPlan.from_file(file)) >= 1


def test_the_reference_has_all_there_is() -> None:
    text = DOCS.read_text()
    used = {action["kind"] for example in examples() for action in _actions(example)}
    assert used == set(KINDS)
    for kind, made in KINDS.items():
        assert f"### `{kind}`" in text
        section = text.split(f"### `{kind}`")[1].split("\n## ")[0].split("\n### ")[0]
        missing = [name for name in made.__slots__ if not re.search(rf"\b{name}\b", section)]
        assert not missing, (kind, missing)
    assert all(
        f"| `{name}` | {illegal.description} | {illegal.effect} |" in text
        for name, illegal in ILLEGAL.items()
    )
    for name, summary in PRESETS.items():
        ids = ", ".join(f"`{item.id}`" for item in FaultPlan.preset(name)) or "-"
        assert f"| `{name}` | {summary} | {ids} |" in text
    conditions = text.split("\n## When")[1].split("\n## ")[0]
    assert all(f"`{name}`" in conditions for name in When.__slots__)
    assert all(
        reason in text
        for reason in (*REASONS["oauth"], *REASONS["fcm"])
        if not reason[:1].isupper() or "_" in reason
    )


def _actions(example: str) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    for fault in tomllib.loads(example)["faults"]:
        results += fault["what"] if isinstance(fault["what"], list) else [fault["what"]]
    return results
