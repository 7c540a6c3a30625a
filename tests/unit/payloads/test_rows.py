"""Rows for both providers: each becomes the push of its device, with what the payload and the row say."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from pushcore.audience.audience import Audience
from pushcore.audience.problems import BadInput
from pushcore.audience.shards import Shard
from pushcore.payloads.apns_rows import ApnsRow, ApnsRows, RowDefaults
from pushcore.payloads.duplicates import DUPLICATE, TokenSample, find_duplicates
from pushcore.payloads.fcm_rows import FcmRow, FcmRows
from pushcore.payloads.payload import ApnsPayload, ExpoPayload, FcmPayload
from pushcore.payloads.rows import Bad, Row, Rows
from pushcore.results import Verdict

APNS = "ab" * 32
FID = "dPx6Y0k3Qm2Vb1N9zW8aLk"
FCM = f"{FID}:APA91b" + "x" * 134
INVALID = Verdict.INVALID
OF_APNS = ApnsPayload({"aps": {"alert": "Hi"}}, "apns.json")
OF_FCM = FcmPayload({"data": {"title": "Hi"}}, "fcm.json")


def expo(**fields: Any) -> ExpoPayload:
    return ExpoPayload(fields, "payload.json")


def read(
    tmp_path: Path,
    content: str | bytes,
    apns: ApnsPayload | ExpoPayload | None = OF_APNS,
    fcm: FcmPayload | ExpoPayload | None = OF_FCM,
    defaults: RowDefaults | None = None,
    name: str = "devices.csv",
) -> tuple[list[Row], list[Bad]]:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    bad: list[Bad] = []
    with Audience(str(path)) as audience:
        rows = Rows(
            audience,
            ApnsRows(apns, defaults or RowDefaults()) if apns else None,
            FcmRows(fcm) if fcm else None,
            lambda *bad_row: bad.append(bad_row),
        )
        return list(rows), bad


def apns_row(row: Row) -> ApnsRow:
    assert isinstance(row, ApnsRow)
    return row


def fcm_row(row: Row) -> FcmRow:
    assert isinstance(row, FcmRow)
    return row


def test_each_row_goes_to_its_provider(tmp_path: Path) -> None:
    rows, bad = read(
        tmp_path, f"token,platform\n{APNS},\n{FCM},\n{FID},\n{APNS},ios\n{FCM},android\nxyz,\nq,tv\n\n"
    )
    assert [(type(row), row.row) for row in rows] == [
        (ApnsRow, 1),
        (FcmRow, 2),
        (FcmRow, 3),
        (ApnsRow, 4),
        (FcmRow, 5),
    ]
    second, third = fcm_row(rows[1]), fcm_row(rows[2])
    assert (second.token, second.fid, second.device, second.data) == (FCM, None, FCM, {"title": "Hi"})
    assert (third.token, third.fid, third.device) == (None, FID, FID)
    assert [(number, token, platform, verdict) for number, token, _, platform, verdict in bad] == [
        (6, "xyz", "", INVALID),
        (7, "q", "", INVALID),
    ]


def test_a_provider_without_credentials(tmp_path: Path) -> None:
    content = f"token\n{APNS}\n{FCM}\n"
    rows, bad = read(tmp_path, content, fcm=None)
    assert [type(row) for row in rows] == [ApnsRow]
    reason = "this is a device of FCM, and --fcm-service-account was not given"
    assert bad == [(2, FCM, reason, "fcm", INVALID)]
    rows, bad = read(tmp_path, content, apns=None)
    assert [type(row) for row in rows] == [FcmRow]
    reason = "this is a device of APNs, and --apns-key or --apns-cert was not given"
    assert bad == [(1, APNS, reason, "apns", INVALID)]


def test_rows_that_cannot_be_read_are_the_only_providers(tmp_path: Path) -> None:
    content = "token,name\naa\n"
    assert [bad_row[3] for bad_row in read(tmp_path, content)[1]] == [""]
    assert [bad_row[3] for bad_row in read(tmp_path, content, fcm=None)[1]] == ["apns"]
    assert [bad_row[3] for bad_row in read(tmp_path, content, apns=None)[1]] == ["fcm"]


def test_a_part_has_its_chunks_alone_good_rows_and_bad(tmp_path: Path) -> None:
    path = tmp_path / "devices.csv"
    rows = [APNS if number % 3 else "bad,row" for number in range(1, 24)]
    path.write_text("token\n" + "\n".join(rows))
    taken: list[list[int]] = []
    for number in range(3):
        shard = Shard(number, 3, chunk=4)
        bad: list[int] = []
        with Audience(str(path)) as audience:
            source = Rows(
                audience,
                ApnsRows(OF_APNS, RowDefaults()),
                None,
                lambda row, *_, bad=bad: bad.append(row),
                shard,
            )
            taken.append(sorted([row.row for row in source] + bad))
        assert source.ended
        assert shard.upto(source.taken) == shard.upto(23)
        assert len(taken[-1]) == shard.upto(23)
        assert len([row for row in taken[-1] if row <= 17]) == shard.upto(17)
    assert taken[0] == [1, 2, 3, 4, 13, 14, 15, 16]
    assert sorted(row for part in taken for row in part) == list(range(1, 24))


def test_the_columns_of_apns_are_ignored_in_rows_of_fcm(tmp_path: Path) -> None:
    rows, bad = read(tmp_path, f"token,priority,topic\n{FCM},high,x\n{APNS},high,x\n")
    assert fcm_row(rows[0]).android is None
    assert [(bad_row[0], bad_row[3]) for bad_row in bad] == [(2, "apns")]


def test_ndjson(tmp_path: Path) -> None:
    lines: list[Any] = [
        {"token": {"type": "ios", "data": APNS}},
        {"token": {"type": "android", "data": FCM}},
        {"token": FID, "platform": "fcm"},
        {"token": {"type": "expo", "data": "ExponentPushToken[x]"}},
        {"token": APNS, "platform": {"os": "ios"}},
    ]
    content = "\n".join(orjson.dumps(line).decode() for line in lines)
    rows, bad = read(tmp_path, content, name="devices.ndjson")
    assert [apns_row(rows[0]).token, fcm_row(rows[1]).token, fcm_row(rows[2]).fid] == [APNS, FCM, FID]
    assert [(number, token) for number, token, *_ in bad] == [(4, "ExponentPushToken[x]"), (5, APNS)]


def test_a_row_may_be_what_the_app_sent(tmp_path: Path) -> None:
    lines = [{"type": "fcm", "data": FCM}, {"type": "apns", "data": "abcd"}, {"type": "ios"}, {"data": "x"}]
    content = "\n".join(orjson.dumps(line).decode() for line in lines)
    rows, bad = read(tmp_path, content, name="devices.ndjson")
    assert [fcm_row(rows[0]).token, apns_row(rows[1]).token] == [FCM, "abcd"]
    assert [number for number, *_ in bad] == [3, 4]


@pytest.mark.parametrize("which", ["apns", "fcm"])
def test_an_unknown_column_is_found_before_anything_is_read(tmp_path: Path, which: str) -> None:
    payloads: dict[str, Any] = {
        "apns": ApnsPayload({"aps": {"alert": "{{nmae}}"}}, "mine.json"),
        "fcm": FcmPayload({"data": {"a": "{{nmae}}"}}, "mine.json"),
    }
    with pytest.raises(
        BadInput,
        match=r"mine\.json: the placeholder '\{\{nmae\}\}' in (aps\.alert|data\.a) names no column of",
    ):
        read(tmp_path, "token,name\n", **{which: payloads[which]})


def test_a_value_that_is_not_utf8_says_what_to_do(tmp_path: Path) -> None:
    payload = ApnsPayload({"aps": {"alert": "Hi {{name}}", "category": "{{name}}"}}, "p")
    content = f"token,name\n{APNS},René\n".encode("latin-1") + f"{APNS},Ada\n".encode()
    rows, bad = read(tmp_path, content, payload, None)
    assert [row.row for row in rows] == [2]
    assert "the value of 'name' cannot be JSON: it is not UTF-8 (Latin-1 or Windows-1252?)" in bad[0][2]


def test_a_name_in_another_spelling_gets_a_hint(tmp_path: Path) -> None:
    payload = ApnsPayload({"aps": {"alert": "{{name}}"}}, "p")
    with pytest.raises(BadInput, match="expected one of 'token, Name'; did you mean 'Name'"):
        read(tmp_path, f"token,Name\n{APNS},Ada\n", payload, None)
    lines = f'{{"deviceToken":"{APNS}","name":"x"}}\n{{"token":"{APNS}","Name":"x"}}\n'
    _, bad = read(tmp_path, lines, payload, None, name="devices.ndjson")
    assert [reason for _, _, reason, *_ in bad] == [
        "the row has no token; did you mean 'deviceToken'? Its name must be token",
        "there is no key 'name' (aps.alert of p); did you mean 'Name'?",
    ]


def test_duplicate_tokens_are_counted_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "devices.csv"
    path.write_text(f"token\n{APNS}\n{FCM}\n{APNS}\n{FID}\nq\n{FCM}\n{'cd' * 32}\n")
    makers = ApnsRows(OF_APNS, RowDefaults()), FcmRows(OF_FCM)
    bad: list[Bad] = []
    sample = TokenSample()
    with Audience(str(path)) as audience:
        assert len(list(Rows(audience, *makers, lambda *bad_row: bad.append(bad_row), sample=sample))) == 6
    assert (sample.same_token, sample.same_installation, len(bad)) == (2, 1, 1)
    bad.clear()
    duplicates = find_duplicates(str(path))
    assert (duplicates.same_token, duplicates.same_installation) == (2, 1)
    with Audience(str(path)) as audience:
        rows = list(Rows(audience, *makers, lambda *bad_row: bad.append(bad_row), duplicates=duplicates))
    assert [row.row for row in rows] == [1, 2, 7]
    assert [(number, reason, platform) for number, _, reason, platform, _ in bad if number != 5] == [
        (3, DUPLICATE, "apns"),
        (4, DUPLICATE, "fcm"),
        (6, DUPLICATE, "fcm"),
    ]


# --- Expo's format ----------------------------------------------------------------------------------------------------


def test_one_message_of_expos_for_both(tmp_path: Path) -> None:
    message = expo(title="T", body="B", data={"a": [1]}, priority="high", collapse_key="c", channelId="ch")
    rows, _ = read(tmp_path, f"token\n{APNS}\n{FCM}\n{APNS}\n", message, message)
    apns, fcm = apns_row(rows[0]), fcm_row(rows[1])
    assert isinstance(apns.payload, bytes)
    assert orjson.loads(apns.payload) == {"aps": {"alert": {"title": "T", "body": "B"}}, "body": {"a": [1]}}
    assert (apns.push_type, apns.priority, apns.expiration, apns.collapse_id) == ("alert", 10, None, "c")
    assert apns_row(rows[2]).payload is apns.payload  # encoded once
    assert fcm.data == {"title": "T", "message": "B", "channelId": "ch", "body": '{"a":[1]}'}
    assert fcm.to_dict()["message"]["notification"] == {"title": "T", "body": "B"}
    assert fcm.to_dict()["message"]["android"] == {
        "collapse_key": "c",
        "priority": "HIGH",
        "notification": {"channel_id": "ch"},
    }
    first, second = map(fcm_row, read(tmp_path, f"token\n{FCM}\n{FCM}\n", None, message)[0])
    assert first.json is second.json  # made once


def test_options_and_columns_override_the_message(tmp_path: Path) -> None:
    message = expo(title="{{t}}", priority="high", collapse_key="c", expiration=1_800_000_000)
    content = f"token,t,priority,collapse_id\n{APNS},x,1,\n{APNS},x,,mine\n"
    rows, _ = read(tmp_path, content, message, None)
    assert [(apns_row(row).priority, apns_row(row).collapse_id) for row in rows] == [
        (1, "c"),
        (10, "mine"),
    ]
    assert {apns_row(row).expiration for row in rows} == {1_800_000_000}
    rows, _ = read(tmp_path, content, message, None, RowDefaults("background", 5, 7, "option"))
    assert [(apns_row(row).priority, apns_row(row).collapse_id) for row in rows] == [
        (1, "option"),
        (5, "mine"),
    ]
    assert {(apns_row(row).push_type, apns_row(row).expiration) for row in rows} == {("background", 7)}


@pytest.mark.parametrize("title", ["fixed", "{{t}}"])
def test_a_silent_message_is_a_background_push(tmp_path: Path, title: str) -> None:
    message = expo(_contentAvailable=True, data={"t": title})
    rows, _ = read(tmp_path, f"token,t\n{APNS},x\n", message, None)
    assert (apns_row(rows[0]).push_type, apns_row(rows[0]).priority) == ("background", None)


@pytest.mark.parametrize("title", ["fixed", "{{t}}"])
def test_times_count_from_the_row(tmp_path: Path, title: str) -> None:
    content = f"token,t\n{APNS},x\n{FCM},x\n"
    before = int(time.time())
    apns, fcm = read(tmp_path, content, expo(title=title, ttl=60), expo(title=title, ttl=60))[0]
    expiration = apns_row(apns).expiration
    assert isinstance(expiration, int)
    assert before + 60 <= expiration <= time.time() + 60
    assert fcm_row(fcm).to_dict()["message"]["android"] == {"ttl": "60s"}
    expires_at = before + 1000
    apns, fcm = read(
        tmp_path, content, expo(title=title, expiration=expires_at), expo(title=title, expiration=expires_at)
    )[0]
    assert apns_row(apns).expiration == expires_at
    ttl = fcm_row(fcm).to_dict()["message"]["android"]["ttl"]
    assert expires_at - time.time() - 1 <= int(ttl.removesuffix("s")) <= 1000


def test_a_row_that_makes_no_message(tmp_path: Path) -> None:
    message = expo(title="x", badge="{{badge:int}}")
    _, bad = read(tmp_path, f"token,badge\n{APNS},-1\n{FCM},-1\n{FCM},many\n", message, message)
    assert [(number, reason, platform) for number, _, reason, platform, _ in bad] == [
        (1, "badge must be a number from 0 on, not -1", "apns"),
        (2, "badge must be a number from 0 on, not -1", "fcm"),
        (3, "'badge': 'many' is not a whole number (badge of payload.json)", "fcm"),
    ]


def test_validate_only_comes_from_the_file(tmp_path: Path) -> None:
    payload = FcmPayload({"validateOnly": True, "message": {"data": {"a": "{{t}}"}}}, "fcm.json")
    (row,), _ = read(tmp_path, f"token,t\n{FCM},x\n", None, payload)
    assert fcm_row(row).to_dict() == {"validate_only": True, "message": {"token": FCM, "data": {"a": "x"}}}


# --- values with a type, where only text is accepted ------------------------------------------------------------------


def typed_audience(tmp_path: Path, values: list[Any], form: str) -> tuple[str, Any]:
    """The name of an audience with a column `order` of these values, for both providers in turns."""
    lines = [{"token": token, "order": value} for value in values for token in (APNS, FCM)]
    if form == "ndjson":
        return "devices.ndjson", "\n".join(orjson.dumps(line).decode() for line in lines)
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.Table.from_pylist(lines), tmp_path / "devices.parquet")
    return "devices.parquet", (tmp_path / "devices.parquet").read_bytes()


@pytest.mark.parametrize("form", ["ndjson", "parquet"])
@pytest.mark.parametrize(("value", "text"), [(5, "5"), (2.5, "2.5"), (True, "true"), ("A-1", "A-1")])
def test_a_number_becomes_text_where_only_text_is_accepted(
    tmp_path: Path, form: str, value: Any, text: str
) -> None:
    name, content = typed_audience(tmp_path, [value], form)
    of_apns = ApnsPayload(
        {"aps": {"alert": {"title": "{{order}}"}, "thread-id": "{{order}}"}, "n": "{{order}}"}, "p"
    )
    of_fcm = FcmPayload(
        {
            "data": {"n": "{{order}}"},
            "android": {"notification": {"tag": "{{order}}"}},
            "notification": {"title": "{{order}}"},
        },
        "p",
    )
    to_apns, to_fcm = read(tmp_path, content, of_apns, of_fcm, name=name)[0]
    payload = apns_row(to_apns).payload
    assert isinstance(payload, bytes)
    assert orjson.loads(payload) == {"aps": {"alert": {"title": text}, "thread-id": text}, "n": value}
    assert fcm_row(to_fcm).to_dict()["message"] == {
        "token": FCM,
        "notification": {"title": text},
        "data": {"n": text},
        "android": {"notification": {"tag": text}},
    }
    message = expo(title="{{order}}", channelId="{{order}}", data={"n": "{{order}}"})
    to_apns, to_fcm = read(tmp_path, content, message, message, name=name)[0]
    payload = apns_row(to_apns).payload
    assert isinstance(payload, bytes)
    assert orjson.loads(payload) == {"aps": {"alert": {"title": text}}, "body": {"n": value}}
    data = fcm_row(to_fcm).data
    assert data is not None
    assert (data["title"], data["channelId"], orjson.loads(data["body"])) == (text, text, {"n": value})


@pytest.mark.parametrize("form", ["ndjson", "parquet"])
def test_null_where_only_text_is_accepted_names_its_column(tmp_path: Path, form: str) -> None:
    name, content = typed_audience(tmp_path, [5, None], form)
    message = expo(title="{{order}}")
    payload = FcmPayload({"data": {"n": "{{order}}"}}, "p")
    own = ApnsPayload({"aps": {"alert": "{{order}}"}}, "p")
    for of_apns, of_fcm, where in (
        (message, message, ["title of payload.json"] * 2),
        (own, payload, ["aps.alert of p", "data.n of p"]),
    ):
        rows, bad = read(tmp_path, content, of_apns, of_fcm, name=name)
        assert len(rows) == 2
        assert [reason for _, _, reason, *_ in bad] == [
            f"'order': null cannot replace a text ({place})" for place in where
        ]


@pytest.mark.parametrize(
    ("placeholder", "value", "reason"),
    [
        (
            "{{v}}",
            "18446744073709551616",
            "a number of more than 64 bits, which has lost digits; write it as a text",
        ),
        ("No {{v}}", "-18446744073709551617", "which has lost digits"),
        ("{{v:float}}", "true", "'v': 'true' is not a number"),
        ("{{v:float}}", '"1_000"', "'v': '1_000' is not a number"),
    ],
)
def test_numbers_that_would_be_other_numbers_are_refused(
    tmp_path: Path, placeholder: str, value: str, reason: str
) -> None:
    payload = ApnsPayload({"aps": {"alert": placeholder}}, "p")
    _, bad = read(tmp_path, f'{{"token":"{APNS}","v":{value}}}\n', payload, None, name="devices.ndjson")
    assert reason in bad[0][2]


def test_the_largest_numbers_of_64_bits_are_exact(tmp_path: Path) -> None:
    lines = "".join(f'{{"token":"{APNS}","v":{value}}}\n' for value in (2**64 - 1, -(2**63), 1.5))
    rows, _ = read(
        tmp_path, lines, ApnsPayload({"aps": {"alert": "{{v}}"}}, "p"), None, name="devices.ndjson"
    )
    shown = [orjson.loads(apns_row(row).payload)["aps"]["alert"] for row in rows]  # type: ignore[arg-type]
    assert shown == ["18446744073709551615", "-9223372036854775808", "1.5"]
