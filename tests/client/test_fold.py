"""BookBuilder against a dict: any sequence of snapshots, deltas and controls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedd.client.batch import Batch
from feedd.client.fold import LEVEL, BookBuilder, FoldedBook
from feedd.records import BookReason, BookState, Flag, Kind
from feedd.shm.ring import RingReader, RingWriter
from tests.client.segments import book_records, control, record

Level = tuple[float, float]
PRICES = st.integers(1, 400).map(lambda n: n / 4)
SIZES = st.one_of(st.just(0.0), st.integers(1, 50).map(float))
SIDE = st.lists(st.tuples(PRICES, SIZES), max_size=60)
FULL = st.dictionaries(PRICES, st.integers(1, 50).map(float), max_size=80).map(
    lambda levels: list(levels.items())
)


def stamped(rows: np.ndarray, first: int) -> np.ndarray:
    rows["ring_seq"] = np.arange(first, first + len(rows))
    return rows


def expected(levels: dict[float, float], side: int) -> list[Level]:
    return sorted(levels.items(), reverse=side > 0)


def shown(book: FoldedBook, side: int) -> list[Level]:
    return [(float(p), float(s)) for p, s in book.levels(side).tolist()]


EVENT = st.one_of(
    st.tuples(st.just("delta"), SIDE, SIDE),
    st.tuples(st.just("snapshot"), FULL, FULL),
    st.tuples(st.just("bracket"), FULL, FULL),
    st.tuples(st.just("long delta"), SIDE, SIDE),
    st.tuples(st.just("clear"), st.just([]), st.just([])),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), EVENT), max_size=30), st.integers(1, 40))
def test_against_dicts(events: list[tuple[int, Any]], chunk: int) -> None:
    model: dict[int, tuple[dict[float, float], dict[float, float]]] = {
        i: ({}, {}) for i in range(3)
    }
    parts = []
    for sequence, (instrument, (action, bids, asks)) in enumerate(events, start=1):
        if action == "clear":
            model[instrument] = ({}, {})
            parts.append(control(instrument, BookReason.CLEAR, sequence))
            continue
        snapshot = action in ("snapshot", "bracket")
        if snapshot:
            model[instrument] = ({}, {})
        for side, levels in zip(model[instrument], (bids, asks), strict=True):
            for price, size in levels:
                if size:
                    side[price] = size
                else:
                    side.pop(price, None)
        parts.append(
            book_records(
                instrument,
                bids,
                asks,
                sequence=sequence,
                snapshot=snapshot,
                bracket=action in ("bracket", "long delta"),
            )
        )
    rows = stamped(np.concatenate(parts), 100) if parts else np.empty(0, record(Kind.BOOK).dtype)
    builder = BookBuilder()
    for at in range(0, len(rows), chunk):
        builder.apply(rows[at : at + chunk])
    for instrument, sides in model.items():
        book = builder.get(instrument)
        if book is None:
            assert sides == ({}, {})
            continue
        assert shown(book, 1) == expected(sides[0], 1)
        assert shown(book, -1) == expected(sides[1], -1)
        best = book.best
        for i, side in ((0, 1), (2, -1)):
            levels = expected(sides[i // 2], side)
            assert (best[i], best[i + 1]) == (levels[0] if levels else best[i : i + 2])


def test_far_levels_and_many_levels() -> None:
    rng = np.random.default_rng(7)
    book, model = FoldedBook(3), {}
    for sequence in range(40):
        prices = rng.integers(1, 5000, 200)
        sizes = rng.integers(0, 3, 200)
        levels = list(zip(prices.astype(float).tolist(), sizes.astype(float).tolist(), strict=True))
        book.fold(stamped(book_records(3, levels, [], sequence=sequence), 1 + 1000 * sequence))
        model.update(levels)
    assert shown(book, 1) == sorted(((p, s) for p, s in model.items() if s), reverse=True)
    assert book.n_bids == len(shown(book, 1))


def test_states() -> None:
    builder = BookBuilder()
    builder.apply(stamped(book_records(1, [(10, 1)], [(11, 1)], snapshot=True), 1))
    book = builder[1]
    assert book.state is BookState.LIVE
    assert book.sequence == 1
    builder.apply(stamped(control(1, BookReason.GAP), 10))
    assert book.state is BookState.GAP
    builder.apply(stamped(book_records(1, [(10, 1)], [], sequence=5, snapshot=True), 20))
    assert book.state is BookState.LIVE
    builder.apply(stamped(control(1, BookReason.CHECKSUM), 30))
    assert book.state is BookState.CHECKSUM


def test_loss_marks_only_the_books_of_that_reader() -> None:
    builder = BookBuilder()
    for reader, instrument in ((0, 1), (1, 2)):
        rows = stamped(book_records(instrument, [(10, 1)], [], snapshot=True), 1)
        builder.apply(Batch(rows, reader=reader))
    builder.apply(Batch(rows[:0], reader=1, lost=3))
    assert builder[1].state is BookState.LIVE
    assert builder[2].state is BookState.GAP


def test_half_a_snapshot_is_never_shown() -> None:
    builder = BookBuilder()
    rows = stamped(book_records(1, [(p, 1.0) for p in range(50, 1, -1)], [], snapshot=True), 1)
    builder.apply(Batch(rows[:4]))
    assert builder[1].n_bids == 0
    builder.apply(Batch(rows[:0], lost=6))
    builder.apply(stamped(book_records(1, [(7, 7)], [], sequence=9), 100))
    assert builder[1].state is not BookState.LIVE
    assert shown(builder[1], 1) == [(7.0, 7.0)]


def test_seed_skips_what_is_in_the_book() -> None:
    builder = BookBuilder()
    bids = np.array([(10.0, 1.0), (9.0, 2.0)], dtype=LEVEL)
    builder.seed(4, bids, bids[:0], ring_pos=50, sequence=7)
    builder.apply(stamped(book_records(4, [(10, 0)], [], sequence=6), 50))
    assert shown(builder[4], 1) == [(10.0, 1.0), (9.0, 2.0)]
    builder.apply(stamped(book_records(4, [(10, 0)], [], sequence=8), 51))
    assert shown(builder[4], 1) == [(9.0, 2.0)]
    assert builder[4].sequence == 8


def test_levels_max_cuts_the_worst() -> None:
    book = FoldedBook(0, levels_max=3)
    book.fold(stamped(book_records(0, [(1, 1), (2, 1), (3, 1), (4, 1)], []), 1))
    assert shown(book, 1) == [(4.0, 1.0), (3.0, 1.0), (2.0, 1.0)]
    assert book.truncated
    book.fold(stamped(book_records(0, [(p, 1.0) for p in (9, 8, 7, 6)], [], snapshot=True), 9))
    assert shown(book, 1) == [(9.0, 1.0), (8.0, 1.0), (7.0, 1.0)]
    assert book.truncated


def test_wrong_dtype_is_refused() -> None:
    with pytest.raises(TypeError, match="RAW"):
        BookBuilder().apply(np.zeros(3))


def test_through_a_real_ring() -> None:
    writer = RingWriter.private(1024)
    reader = RingReader(writer)
    builder = BookBuilder()
    writer.put(book_records(0, [(5, 1), (4, 1)], [(6, 2)], snapshot=True))
    writer.put(record(Kind.TRADE, 0, price=5.0))
    writer.commit()
    assert builder.apply(reader.read()) == 1
    assert builder[0].best == (5.0, 1.0, 6.0, 2.0)
    assert builder[0].mid == 5.5
    assert "LIVE" in repr(builder[0])
    reader.close()
    writer.close()


def test_the_tail_of_a_snapshot_is_no_book() -> None:
    """A stream that begins inside a long snapshot, and goes on with changes."""
    levels = [(float(p), 1.0) for p in range(100, 50, -1)]
    tail = stamped(book_records(3, levels, [], snapshot=True, bracket=True), 100)[4:]
    change = stamped(book_records(3, [(99.0, 2.0)], [(101.0, 1.0)], sequence=2), 200)
    builder = BookBuilder()
    builder.apply(tail)
    builder.apply(change)
    assert builder[3].state is BookState.INIT
    assert 98.0 not in builder[3].bids["price"]


def test_a_book_that_moves_to_another_reader_goes_on_there() -> None:
    """Rings count by themselves: the new one may be far behind the old one."""
    builder = BookBuilder()
    first = book_records(3, [(10.0, 1.0)], [(11.0, 1.0)], snapshot=True)
    builder.apply(Batch(stamped(first, 5_000_000), reader=0))
    moved = book_records(3, [(20.0, 1.0)], [(21.0, 1.0)], snapshot=True)
    builder.apply(Batch(stamped(moved, 20_000), reader=1))
    assert builder[3].best == (20.0, 1.0, 21.0, 1.0)
    late = book_records(3, [(10.0, 2.0)], [])
    builder.apply(Batch(stamped(late, 5_000_001), reader=0))
    builder.apply(Batch(stamped(book_records(3, [(20.0, 2.0)], []), 20_001), reader=1))
    assert builder[3].bids.tolist() == [(20.0, 2.0)]
    builder.mark_lost(0)
    assert builder[3].state is BookState.LIVE
    builder.mark_lost(1)
    assert builder[3].state is BookState.GAP


def test_records_of_a_book_that_its_checksum_denies_are_not_live() -> None:
    """The daemon goes on with it, flagged, when the rule failed everywhere."""
    builder = BookBuilder()
    rows = book_records(3, [(10.0, 1.0)], [(11.0, 1.0)], snapshot=True)
    builder.apply(stamped(rows, 1))
    assert builder[3].state is BookState.LIVE
    for at, bracket in ((100, False), (200, True)):
        rows = book_records(3, [(10.0, 2.0)], [], bracket=bracket)
        rows["flags"] |= int(Flag.MAYBE_BAD_BOOK)
        builder.apply(stamped(rows, at))
        assert builder[3].state is BookState.CHECKSUM
        builder.apply(stamped(book_records(3, [(10.0, 3.0)], []), at + 50))
        assert builder[3].state is BookState.LIVE


def test_what_lies_below_a_cut_side_is_not_known() -> None:
    bids = np.array([(10.0, 1.0), (9.0, 1.0)], dtype=LEVEL)
    asks = np.array([(11.0, 1.0), (12.0, 1.0)], dtype=LEVEL)
    builder = BookBuilder()
    book = builder.seed(1, bids, asks, ring_pos=1, cut=(True, False))
    builder.apply(stamped(book_records(1, [(5.0, 1.0)], [(20.0, 1.0)]), 2))
    assert shown(book, 1) == [(10.0, 1.0), (9.0, 1.0)], "there may be bids at 8, 7, 6"
    assert shown(book, -1) == [(11.0, 1.0), (12.0, 1.0), (20.0, 1.0)]
    assert (book.n_bids, book.n_asks, book.state) == (2, 3, BookState.LIVE)
    builder.apply(stamped(book_records(1, [(10.0, 0.0), (9.0, 0.0)], []), 3))
    assert (book.n_bids, book.state) == (0, BookState.GAP)
    assert np.isnan(book.best[0])
    builder.apply(stamped(book_records(1, [(9.5, 2.0)], []), 4))
    assert (shown(book, 1), book.state) == ([(9.5, 2.0)], BookState.LIVE)
    builder.apply(stamped(book_records(1, [(5.0, 1.0)], [(6.0, 1.0)], snapshot=True), 5))
    assert (book.best, book.state) == ((5.0, 1.0, 6.0, 1.0), BookState.LIVE)
