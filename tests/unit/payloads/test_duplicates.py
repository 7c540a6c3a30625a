"""Devices that an audience holds more than once: found exactly, or counted by a sample of bounded size."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushcore.audience.problems import BadInput
from pushcore.payloads import duplicates
from pushcore.payloads.duplicates import DuplicateFinder, TokenSample, duplicate_lines, find_duplicates

FID = "dPx6Y0k3Qm2Vb1N9zW8aLk"
FCM = f"{FID}:APA91b" + "x" * 134
OTHER = f"{FID}:APA91b" + "y" * 134


def find_in(rows: list[tuple[str, str]]) -> tuple[list[int], int, int]:
    with contextlib.closing(DuplicateFinder()) as finder:
        for number, (token, platform) in enumerate(rows, 1):
            finder.add(number, token, platform)
        duplicates_found = finder.finish()
    return (
        [row for row in range(len(rows) + 2) if row in duplicates_found],
        duplicates_found.same_token,
        duplicates_found.same_installation,
    )


@given(st.lists(st.sampled_from([f"{number:064x}" for number in range(20)]), max_size=60))
def test_every_row_but_the_first_of_a_token_is_found(tokens: list[str]) -> None:
    first: dict[str, int] = {}
    expected = [number for number, token in enumerate(tokens, 1) if first.setdefault(token, number) != number]
    assert find_in([(token, "apns") for token in tokens]) == (expected, len(expected), 0)


def test_rows_of_the_same_device() -> None:
    assert find_in([("ABCD", "apns"), ("abcd", "apns")]) == ([2], 1, 0)
    assert find_in([(FCM, "fcm"), (FCM.upper(), "fcm")])[0] == []
    assert find_in([(FID, "fcm"), (FCM, "fcm")]) == ([2], 0, 1)
    assert find_in([(FCM, "fcm"), (FID, "fcm")]) == ([2], 0, 1)
    assert find_in([(FCM, "fcm"), (OTHER, "fcm")]) == ([], 0, 0)  # one of them may be dead
    assert find_in([(FCM, "fcm"), (OTHER, "fcm"), (FID, "fcm")]) == ([2, 3], 0, 2)
    assert find_in([(FID, "fcm"), (FID, "fcm"), (FCM, "fcm")]) == ([2, 3], 1, 1)


def test_more_rows_than_memory_is_used_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_BLOCK", 2 * duplicates._ENTRY.size)
    count = 3000
    rows = [(f"{number % 2000:064x}", "apns") for number in range(count)]
    assert find_in(rows) == (list(range(2001, count + 1)), 1000, 0)


def test_a_sample_counts_exactly_up_to_its_limit() -> None:
    sample = TokenSample()
    for number in range(1000):
        sample.add(f"{number % 900:064x}")
    for token in (FCM, FID, OTHER, FCM):
        sample.add_of_fcm(token)
    assert (sample.exact, sample.same_token, sample.same_installation) == (True, 101, 1)


def test_beyond_the_limit_the_count_is_an_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "LIMIT", 1000)
    sample, rng = TokenSample(), random.Random(1)
    tokens = [rng.randbytes(32).hex() for _ in range(20_000)]
    mask = 0
    for token in tokens + tokens[:5000]:
        if not hash(token) & mask:
            mask = sample.add(token)
    assert len(sample._repeats) <= 1000
    assert not sample.exact
    assert 3000 < sample.same_token < 7000  # 5000, by some 200 of the sample: ten standard deviations
    for token in tokens:
        sample.add_of_fcm(f"d{token[:21]}")
        sample.add_of_fcm(f"d{token[:21]}:APA91b{token}")
    assert len(sample._installations) <= 1000
    assert len(sample._repeats) <= 1000
    assert 10_000 < sample.same_installation < 30_000


def test_an_audience_is_read_for_its_tokens(tmp_path: Path) -> None:
    path = tmp_path / "devices.csv"
    path.write_text("token,name,platform\nabcd,x,ios\nABCD,y,apns\na,b\nabcd,z,ios\n,x,\n")
    result = find_duplicates(str(path))
    assert [row for row in range(9) if row in result] == [2, 4]
    (tmp_path / "devices.ndjson").write_text(
        '{"token":"abcd"}\n{"token":{"type":"ios","data":"abcd"}}\n{"type":"ios","data":"abcd"}\n'
    )
    result = find_duplicates(str(tmp_path / "devices.ndjson"), "apns")
    assert [row for row in range(9) if row in result] == [2, 3]
    with pytest.raises(BadInput, match="cannot be read"):
        find_duplicates(str(tmp_path / "nothing.csv"))


def test_summary_lines() -> None:
    sample = TokenSample()
    assert duplicate_lines(sample, left_out=False) == []
    for _ in range(3):
        sample.add("abcd")
    assert duplicate_lines(sample, left_out=False) == [
        "  duplicate                2  the token of an earlier row; --unique sends to each device once"
    ]
    sample.mask = 1
    assert duplicate_lines(sample, left_out=True)[0].split()[:2] == ["duplicate", "~4"]
