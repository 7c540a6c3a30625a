"""The demo's audience: every kind of device is in it, and a row that came back otherwise is found."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import orjson
import pytest

from pushcore.audience.problems import BadRow
from pushcore.cli.run.demo_audience import PAYLOAD, DemoDevice, compare, kinds, write_demo_audience
from pushcore.payloads.devices import find_device

pytest.importorskip("fakeservers")
COLUMNS = ("row", "platform", "verdict", "status", "reason", "timestamp")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def came_back(
    place: Path, planted: list[DemoDevice], changes: dict[int, dict[str, str]] | None = None
) -> Path:
    """Results in which every row is as planted, but for these."""
    path = place / "results.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row, kind in enumerate(planted, 1):
            moment = "2023-11-14T22:13:20.000Z" if kind.status == "410" else ""
            values = (row, kind.platform, kind.verdict, kind.status, kind.reason, moment)
            writer.writerow({**dict(zip(COLUMNS, values, strict=True)), **(changes or {}).get(row, {})})
    return path


def test_the_shares_leave_room_for_devices_that_are_in_order() -> None:
    (rest, *others) = kinds()
    assert (rest.verdict, rest.share) == ("ACCEPTED", 0)
    assert 0.3 < sum(kind.share for kind in others) < 0.9
    assert len({kind.name for kind in kinds()}) == len(kinds())


@pytest.mark.parametrize("devices", [100, 2000])
def test_every_kind_is_planted_and_the_file_has_as_many_rows_as_asked_for(
    tmp_path: Path, devices: int
) -> None:
    planted = write_demo_audience(devices, tmp_path)
    rows = read(tmp_path / "audience.csv")
    assert len(rows) == len(planted) == devices
    counted = Counter(kind.name for kind in planted)
    assert set(counted) == {kind.name for kind in kinds()}
    for kind in kinds()[1:]:
        assert counted[kind.name] == max(1, round(devices * kind.share))
    assert orjson.loads((tmp_path / "payload.json").read_bytes()) == PAYLOAD
    assert len({row["token"] for row in rows}) > 0.99 * devices


def test_each_row_is_of_the_platform_that_it_was_planted_for(tmp_path: Path) -> None:
    planted = write_demo_audience(300, tmp_path)
    for row, kind in zip(read(tmp_path / "audience.csv"), planted, strict=True):
        try:
            platform = find_device(row["token"], row["platform"]).platform
        except BadRow as error:
            assert kind.name == "Expo's own token"
            platform = error.platform
        assert platform == kind.platform
        assert row["name"]
        assert 0 <= int(row["badge"]) < 100


def test_tokens_of_two_demos_differ(tmp_path: Path) -> None:
    seen: list[set[str]] = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        planted = write_demo_audience(200, tmp_path / name)
        rows = read(tmp_path / name / "audience.csv")
        seen.append({row["token"] for row, kind in zip(rows, planted, strict=True) if kind.share == 0})
    assert not seen[0] & seen[1]


def test_fewer_devices_than_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="5 devices are fewer than the kinds"):
        write_demo_audience(5, tmp_path)


def test_when_all_came_back_as_planted_every_kind_is_right(tmp_path: Path) -> None:
    planted = write_demo_audience(150, tmp_path)
    assert compare(came_back(tmp_path, planted), planted) == Counter(kind.name for kind in planted)


@pytest.mark.parametrize("column", COLUMNS[1:])
def test_a_row_that_came_back_otherwise_is_not_right(tmp_path: Path, column: str) -> None:
    planted = write_demo_audience(150, tmp_path)
    right = compare(came_back(tmp_path, planted, {7: {column: "other"}}), planted)
    if column == "timestamp" and planted[6].status == "410":  # any time is right there
        assert right.total() == 150
    else:
        assert right.total() == 149
        assert right[planted[6].name] == sum(kind is planted[6] for kind in planted) - 1


def test_a_dead_device_without_a_time_is_not_right(tmp_path: Path) -> None:
    planted = write_demo_audience(150, tmp_path)
    row = 1 + next(at for at, kind in enumerate(planted) if kind.status == "410")
    assert compare(came_back(tmp_path, planted, {row: {"timestamp": ""}}), planted).total() == 149


def test_a_row_that_is_missing_or_came_twice_is_not_right(tmp_path: Path) -> None:
    planted = write_demo_audience(150, tmp_path)
    assert compare(came_back(tmp_path, planted, {7: {"row": "8"}}), planted).total() == 148
    path = came_back(tmp_path, planted)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, lines[5], lines[5]]))
    assert compare(path, planted).total() == 149
    path.write_text("".join([*lines[:5], *lines[6:]]))
    assert compare(path, planted).total() == 149
