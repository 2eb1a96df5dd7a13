"""Who is asked for a REST snapshot, and when again."""

from __future__ import annotations

from feedd.clock import SECOND_NS
from feedd.reader.snapshots import SnapshotDesk, StreamDesk

S = SECOND_NS


def test_one_request_per_book_at_a_time() -> None:
    desk = SnapshotDesk()
    assert desk.want(0, "A", S)
    assert not desk.want(0, "A", 2 * S)
    assert desk.want(0, "B", 2 * S)
    assert desk.want(1, "A", 2 * S)
    desk.answered(0, "A", True, 3 * S)
    assert desk.want(0, "A", 3 * S)


def test_useless_answers_are_asked_for_again_ever_more_slowly() -> None:
    desk = SnapshotDesk()
    now, pauses = S, []
    for _ in range(10):
        assert desk.want(0, "A", now)
        desk.answered(0, "A", False, now)
        start = now
        assert not desk.want(0, "A", now)
        while not desk.due(now):
            now += S // 100
        pauses.append((now - start) / S)
    assert pauses[0] < 0.3
    assert pauses == sorted(pauses)
    assert 29 < pauses[-1] < 31
    desk.want(0, "A", now)
    desk.answered(0, "A", True, now)
    assert desk.due(now + 1000 * S) == []


def test_an_answer_that_never_comes_is_given_up() -> None:
    desk = SnapshotDesk()
    desk.want(0, "A", S)
    assert desk.due(50 * S) == []
    assert desk.due(62 * S) == [(0, "A")]
    assert desk.want(0, "A", 62 * S)


def test_a_resubscription_without_a_snapshot_is_repeated() -> None:
    desk = StreamDesk()
    waiting = {"A", "B"}

    def waits(venue: int, symbol: str) -> bool:
        return symbol in waiting

    desk.asked(0, "A", "book", S)
    desk.asked(0, "B", "book", 2 * S)
    assert desk.due(5 * S, waits) == []
    assert desk.due(6 * S, waits) == [(0, "A", "book")]
    desk.asked(0, "A", "book", 6 * S)
    waiting.clear()
    assert desk.due(1000 * S, waits) == []
    waiting.add("A")
    assert desk.due(2000 * S, waits) == [], "a book that was well needs no watch"
