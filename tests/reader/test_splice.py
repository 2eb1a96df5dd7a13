"""Where a reader process goes on behind another: nothing twice, nothing left out."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from feedd.clock import SECOND_NS
from feedd.reader.splice import splice
from feedd.records import NO_INSTRUMENT, RAW, Kind
from tests.client.segments import book_records, record

NOW = 1_700_000_000 * SECOND_NS
MS = 1_000_000
Records = npt.NDArray[Any]


def trade(number: int, at: int, instrument: int = 1, line: int = 0) -> Records:
    row = record(Kind.TRADE, instrument, price=100.0, size=1.0, ts_event=at, ts_recv=at + line)
    row["line"], row["epoch"], row["ring_seq"] = line, 3 + line, number + 70 * line
    row["payload"].view("<u8")[0, 2] = number
    return row


def change(number: int, at: int, price: float = 5.0, instrument: int = 1) -> Records:
    rows = book_records(instrument, [(price, 1.0)], [], sequence=number)
    rows["ts_recv"] = at
    return rows


def join(*parts: Records) -> Records:
    return np.concatenate(parts) if parts else np.empty(0, dtype=RAW)


def times(n: int) -> list[int]:
    """The last ``n`` of a stream of one a millisecond."""
    return [NOW - (n - i) * MS for i in range(n)]


def test_trades_behind_the_last_published_are_new() -> None:
    at = [t - 2 * SECOND_NS for t in times(20)[:3]] + times(20)[3:]  # before we listened
    published = join(*(trade(i, at[i]) for i in range(12)))
    held = join(*(trade(i, at[i], line=1) for i in range(3, 20)))
    found = splice(published, held, NOW)
    assert not found.behind
    assert np.flatnonzero(found.new).tolist() == list(range(9, 17))


def test_it_is_told_when_the_other_was_ahead() -> None:
    at = times(10)
    published = join(*(trade(i, at[i]) for i in range(10)), *(change(i, at[i]) for i in range(10)))
    held = join(*(trade(i, at[i]) for i in range(8)), *(change(i, at[i]) for i in range(9)))
    found = splice(published, held, NOW)
    assert found.others == {1}
    assert found.books == {1}
    assert not found.new.any()
    late = join(held, trade(8, at[8]), trade(9, at[9]), change(9, NOW))
    assert not splice(published, late, NOW).behind


def test_two_streams_of_one_kind_may_be_interleaved_in_another_way() -> None:
    a = [trade(i, t) for i, t in enumerate(times(6))]
    published = join(a[0], a[1], a[3])
    held = join(a[1], a[0], a[2], a[3], a[4])
    assert np.flatnonzero(splice(published, held, NOW).new).tolist() == [2, 4]


def test_quiet_instruments_and_old_records_are_no_matter() -> None:
    old = NOW - 60 * SECOND_NS
    published = join(trade(1, old, 7), change(1, old, instrument=8), trade(2, NOW - MS, 1))
    held = join(trade(2, NOW - MS, 1))
    found = splice(published, held, NOW)
    assert not found.behind
    assert not found.new.any()
    found = splice(published, join(held, change(2, NOW, instrument=8)), NOW)
    assert found.new.tolist() == [False, True]


def test_equal_changes_are_told_apart_by_what_came_before() -> None:
    """A venue that numbers nothing: the same change comes again and again."""
    prices = [1.0, 2.0, 1.0, 3.0, 1.0, 2.0, 1.0, 4.0]
    rows = [change(2**64 - 1, t, p) for t, p in zip(times(8), prices, strict=True)]
    for cut in range(3, 8):
        found = splice(join(*rows[:cut]), join(*rows), NOW)
        assert np.flatnonzero(found.new).tolist() == list(range(cut, 8)), cut


def test_numbers_of_a_connection_do_not_count() -> None:
    ours = [change(100 + i, t) for i, t in enumerate(times(4))]
    theirs = [change(i, t) for i, t in enumerate(times(4))]
    for i, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        mine["ts_event"] = other["ts_event"] = i
    assert splice(join(*theirs[:2]), join(*ours), NOW, frozenset({1})).new.sum() == 2
    assert splice(join(*theirs[:2]), join(*ours), NOW).books == {1}


def test_brackets_and_statuses_of_a_book_go_with_it() -> None:
    levels = [(float(i), 1.0) for i in range(7)]
    snapshot = book_records(1, levels, [], sequence=9, snapshot=True, bracket=True)
    status = record(Kind.STATUS, 1)
    for rows in (snapshot, status):
        rows["ts_recv"] = NOW - MS
    of_process = record(Kind.STATUS, NO_INSTRUMENT, ts_recv=NOW)
    first = change(8, NOW - 2 * MS)
    held = join(status, first, snapshot, status, of_process)
    found = splice(join(first), held, NOW)
    assert found.new.tolist() == [False, False, *[True] * (len(snapshot) + 1), False]


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(TypeError, match="RAW"):
        splice(np.zeros(1), np.zeros(1, dtype=RAW), NOW)


@pytest.mark.parametrize("seed", range(30))
def test_any_cut_of_any_streams(seed: int) -> None:
    """Two processes hear the same streams, each interleaved in its own way and with its own delay;
    one stops anywhere. What it published and what is new make each stream whole, once."""
    rng = random.Random(seed)
    streams = [[], [], [], []]
    for i, at in enumerate(times(200)):
        which = rng.randrange(4)
        price = rng.choice([1.0, 2.0, 3.0])
        made = trade(i, at, which) if which < 2 else change(i, at, price, which)
        streams[which].append(made)

    def heard(cut: list[int]) -> Records:
        left = [stream[:end] for stream, end in zip(streams, cut, strict=True)]
        order = [n for n, stream in enumerate(left) for _ in stream]
        rng.shuffle(order)
        heads = [iter(stream) for stream in left]
        return join(*(next(heads[n]) for n in order))

    ends = [len(stream) for stream in streams]
    published = heard([max(1, end - rng.randrange(20)) for end in ends])
    held = heard(ends)
    found = splice(published, held, NOW)
    assert not found.behind
    whole = join(published, held[found.new])
    for which, stream in enumerate(streams):
        got = whole[whole["instrument"] == which]
        assert got.tobytes() == join(*stream).tobytes()
