"""What a later run of a campaign makes of its journal: which rows are in doubt, given out again, or passed over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pushcore.journal import journal as journals
from pushcore.journal.format import BLOCK
from pushcore.journal.journal import Journal, JournalView, Outcome, push_id
from pushcore.results import Result, Verdict

from .support import CAMPAIGN, SOURCE, Push, accepted, create, killed, pushes, rows


def cut_short(path: Path, *, given: int, answered: set[int]) -> Path:
    """A journal whose sender was killed when it had so many rows, and answers to some."""
    with create(path.with_suffix(".live")) as journal:
        for push in journal.pending(pushes(given)):
            if push.row in answered:
                journal.record(accepted(push))
        journal.flush()
        return killed(journal, path)


def test_after_a_kill_rows_in_doubt_are_reported_and_not_sent(tmp_path: Path) -> None:
    path = cut_short(tmp_path / "j.db", given=35, answered=set(range(1, 31)) - {4, 17})
    started = Journal.read(path).status().started
    assert 35 <= started <= 45
    with Journal.open(path, SOURCE) as journal:
        sent = [push.row for push in journal.pending(pushes(60))]
        assert sent == list(range(started + 1, 61))
        for row in sent:
            journal.record(accepted(Push(row)))
        journal.finish()
    with JournalView(path) as view:
        doubt = list(view.results(Verdict.UNKNOWN))
        assert [each.row for each in doubt] == [4, 17, *range(31, started + 1)]
        assert doubt[0] == Outcome(
            4,
            Push(4).token,
            "apns",
            Verdict.UNKNOWN,
            None,
            "the sender was stopped before the response came",
            push_id(CAMPAIGN, 4),
            None,
            1,
        )
        assert rows(view) == list(range(1, 61))
        status = view.status()
    assert (status.cut_short, status.runs, status.repeats, status.complete) == (1, 2, 0, True)


def test_a_run_that_only_reports_and_is_killed_has_sent_nothing_again(tmp_path: Path) -> None:
    path = cut_short(tmp_path / "j.db", given=20, answered=set())
    with Journal.open(path) as journal:

        def read_slowly() -> Iterator[Push]:
            for row in range(1, 21):
                yield Push(row)
                if row == 1:
                    journal.flush()  # it says how far it may have come, which is beyond this row
                    killed(journal, tmp_path / "again.db")

        assert list(journal.pending(read_slowly())) == []
    again = tmp_path / "again.db"
    assert Journal.read(again).status().done == 1
    with Journal.open(again) as journal:
        assert list(journal.pending(pushes(20))) == []
    with JournalView(again) as view:
        assert {each.row: each.attempts for each in view.results(Verdict.UNKNOWN)} == dict.fromkeys(
            range(1, 21), 1
        )
        assert (view.status().cut_short, view.status().repeats) == (2, 0)


def test_after_a_kill_rows_in_doubt_are_sent_again(tmp_path: Path) -> None:
    path = cut_short(tmp_path / "j.db", given=35, answered=set(range(1, 31)) - {4, 17})
    started = Journal.read(path).status().started
    with Journal.open(path, SOURCE, unknown="resend") as journal:
        again = list(journal.pending(pushes(60)))
        assert [push.row for push in again] == [4, 17, *range(31, 61)]
        for push in again:
            journal.record(accepted(push))
        journal.finish()
    with JournalView(path) as view:
        assert {each.row for each in view.results() if each.attempts == 2} == {4, 17, *range(31, started + 1)}
        assert {each.attempts for each in view.results()} == {1, 2}
        assert [each.id for each in view.results()] == [push_id(CAMPAIGN, row) for row in range(1, 61)]
        assert view.status().repeats == 2 + started - 30


def test_each_kill_adds_an_attempt_to_rows_that_it_may_have_reached(tmp_path: Path) -> None:
    path = cut_short(tmp_path / "j.db", given=20, answered={2, 3})
    with Journal.open(path, unknown="resend") as journal:
        source = journal.pending(pushes(20))
        assert [next(source).row for _ in range(2)] == [1, 4]
        journal.flush()
        reached = journal.status()
        again = killed(journal, tmp_path / "again.db")
    assert reached.started >= 20
    with Journal.open(again, unknown="resend") as journal:
        for push in journal.pending(pushes(20)):
            journal.record(accepted(push))
    with JournalView(again) as view:
        attempts = {each.row: each.attempts for each in view.results()}
        status = view.status()
    assert [attempts[row] for row in (1, 2, 3, 4)] == [3, 1, 1, 3]
    assert attempts[20] == 2  # the second run was cut short far from it
    assert status.cut_short == 2
    assert status.repeats == sum(each - 1 for each in attempts.values())


def test_a_sender_that_ends_in_order_leaves_nothing_in_doubt(tmp_path: Path) -> None:
    with create(tmp_path / "j.db") as journal:
        source = journal.pending(pushes(100))
        for _ in range(33):
            journal.record(accepted(next(source)))
    status = JournalView(tmp_path / "j.db").status()
    assert (status.started, status.done, status.rows, status.complete) == (33, 33, None, False)
    assert status.ended is not None
    with Journal.open(tmp_path / "j.db") as journal:
        assert [push.row for push in journal.pending(pushes(100))] == list(range(34, 101))


def test_a_row_in_flight_at_the_end_is_in_doubt(tmp_path: Path) -> None:
    with create(tmp_path / "j.db") as journal:
        for push in journal.pending(pushes(7)):
            if push.row != 3:
                journal.record(accepted(push))
    with Journal.open(tmp_path / "j.db", unknown="resend") as journal:
        assert [push.row for push in journal.pending(pushes(9))] == [3, 8, 9]


def test_pushes_that_wait_for_a_repeat_are_not_in_doubt(tmp_path: Path) -> None:
    with create(tmp_path / "j.db") as journal:
        for push in journal.pending(pushes(10)):
            if push.row <= 3:
                journal.put_back(push, 2)
            else:
                journal.record(accepted(push))
        journal.flush()
        journal.take_back(Push(2), 2)
        journal.take_back(Push(3), 2)
        journal.record(accepted(Push(3), attempts=3))
        journal.flush()
        path = killed(journal, tmp_path / "killed.db")
    with Journal.open(path) as journal:
        assert [push.row for push in journal.pending(pushes(10))] == [1]  # and 2 is UNKNOWN
        again = killed(journal, tmp_path / "again.db")  # as if it had been killed with 1 on its way
        journal.record(accepted(Push(1)))
    with JournalView(path) as view:
        attempts = [(each.verdict.name, each.attempts) for each in view.results()]
        assert attempts[:4] == [("ACCEPTED", 3), ("UNKNOWN", 3), ("ACCEPTED", 3), ("ACCEPTED", 1)]
        assert view.status().repeats == 0
    with Journal.open(again) as journal:
        assert list(journal.pending(pushes(10))) == []
    with JournalView(again) as view:
        found = {each.row: each.attempts for each in view.results(Verdict.UNKNOWN)}
    assert found == {1: 3, 2: 3}  # the second run may have come as far as 1, and passed over 2


def test_a_push_in_doubt_stays_so_when_its_repeat_is_refused_for_now(tmp_path: Path) -> None:
    path = cut_short(tmp_path / "j.db", given=2, answered={2})
    with Journal.open(path, unknown="resend") as journal:
        push = next(journal.pending(pushes(2)))
        journal.put_back(push, 1)
    with Journal.open(path) as journal:
        assert list(journal.pending(pushes(2))) == []
    with JournalView(path) as view:
        assert rows(view, Verdict.UNKNOWN) == [1]


def test_a_refusal_does_not_say_that_a_push_in_doubt_was_not_delivered(tmp_path: Path) -> None:
    path = cut_short(tmp_path / "j.db", given=1, answered=set())
    with Journal.open(path, unknown="resend") as journal:
        push = next(journal.pending(pushes(1)))
        journal.record(Result(push, Verdict.THROTTLED, 429, 1, push.apns_id, reason="TooManyRequests"))
    with JournalView(path) as view:
        (found,) = view.results()
    assert (found.verdict, found.status, found.reason, found.attempts) == (
        Verdict.UNKNOWN,
        429,
        "TooManyRequests",
        2,
    )


def test_many_rows_with_outcomes_are_passed_over(tmp_path: Path) -> None:
    count = 2 * BLOCK + 100
    with create(tmp_path / "j.db", chunk_size=500) as journal:
        for push in journal.pending(pushes(count)):
            journal.record(accepted(push))
    with Journal.open(tmp_path / "j.db") as journal:
        assert [push.row for push in journal.pending(pushes(count + 2))] == [count + 1, count + 2]


def test_an_event_loop_has_its_turn_while_rows_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "TURN", 100)
    with create(tmp_path / "j.db") as journal:
        for push in journal.pending(pushes(1000)):
            journal.record(accepted(push))
    with Journal.open(tmp_path / "j.db") as journal:
        steps = [None if push is None else push.row for push in journal.steps(pushes(1002))]
    assert steps == [None] * 10 + [1001, 1002]


def test_whether_it_is_running(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    with create(path) as journal, JournalView(path) as view:
        for push in journal.pending(pushes(10)):
            journal.record(accepted(push))
        journal.flush()
        assert view.running
        assert (view.status().run_done, view.status().done) == (0, 10)
    with JournalView(path) as view:
        assert not view.running
    with Journal.open(path), JournalView(path) as view:
        assert view.running
        assert view.status().run_done == 10
        assert view.status().run_began >= view.status().began


def test_a_shard_has_its_own_chunks(tmp_path: Path) -> None:
    given = []
    for shard in range(3):
        path = tmp_path / f"{shard}.db"
        journal = Journal.create(
            path, SOURCE, chunk_size=7, campaign_id=CAMPAIGN, shard=shard, shards=3, rows=100
        )
        with journal:
            mine = []
            for push in journal.pending(pushes(60)):
                mine.append(push.row)
                if len(mine) % 5:
                    journal.record(accepted(push))
            journal.flush()
            again = killed(journal, tmp_path / f"{shard}-killed.db")
        with Journal.open(again, unknown="resend") as journal:
            rest = []
            for push in journal.pending(pushes(100)):
                rest.append(push.row)
                journal.record(accepted(push))
            journal.finish()
            if shard == 0:
                assert not journal.note(113, "t", "", "of another shard")
        with JournalView(again) as view:
            assert rows(view) == sorted({*mine, *rest})
            assert view.status().complete
            assert view.status().rows == len({*mine, *rest})
        assert set(mine) & set(rest) == set(mine[4::5])
        given += rows(JournalView(again))
    assert sorted(given) == list(range(1, 101))
