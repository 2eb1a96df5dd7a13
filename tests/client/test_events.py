"""EventBuffer against a model: whatever the commits and the batch size, events come whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedd.client.batch import select
from feedd.client.events import EventBuffer
from feedd.records import RAW, BookReason, Flag, Kind
from feedd.shm.ring import RingReader, RingWriter
from tests.client.segments import book_records, control, record

EVENT = st.one_of(
    st.tuples(st.just("single"), st.integers(0, 3), st.sampled_from(list(Kind))),
    st.tuples(st.just("delta"), st.integers(0, 3), st.integers(1, 60)),
    st.tuples(st.just("bracket"), st.integers(0, 3), st.integers(1, 200)),
)


def build(events: list[tuple[str, int, Any]]) -> list[np.ndarray]:
    out = []
    for sequence, (what, instrument, argument) in enumerate(events):
        if what == "single":
            kind = Kind.TRADE if argument is Kind.BOOK_CONTROL else argument
            out.append(record(kind, instrument, sequence=sequence))
        else:
            levels = [(float(price), 1.0) for price in range(argument)]
            out.append(
                book_records(
                    instrument,
                    levels,
                    [],
                    sequence=sequence,
                    snapshot=what == "bracket",
                    bracket=what == "bracket",
                )
            )
    return out


@settings(max_examples=80, deadline=None)
@given(
    st.lists(EVENT, max_size=40),
    st.lists(st.integers(1, 50), min_size=1, max_size=20),
    st.integers(16, 64),
    st.sampled_from([None, [Kind.TRADE], [Kind.BOOK, Kind.BOOK_CONTROL]]),
    st.sampled_from([None, b"\1\0\1\0"]),
)
def test_whole_events_in_order(
    events: list[tuple[str, int, Any]],
    commits: list[int],
    room: int,
    kinds: list[Kind] | None,
    wanted: bytes | None,
) -> None:
    writer = RingWriter.private(4096)
    reader = RingReader(writer)
    buffer = EventBuffer(room, kinds=kinds, wanted=wanted)
    slots = build(events)
    flat = np.concatenate(slots) if slots else np.empty(0, RAW)
    owner = np.repeat(np.arange(len(slots)), [len(rows) for rows in slots])
    batches: list[np.ndarray] = []
    at = turn = 0
    while at < len(flat):
        n = commits[turn % len(commits)]
        turn += 1
        writer.put(flat[at : at + n])
        writer.commit()
        at += n
        while buffer.fill(reader):
            taken = buffer.take()
            assert not isinstance(taken, int)
            records, lost, restarted, broken = taken
            assert (lost, restarted, broken) == (0, False, ())
            batches.append(records)
    got = np.concatenate(batches) if batches else np.empty(0, RAW)
    keep = np.ones(len(flat), dtype=bool)
    if kinds is not None:
        keep &= np.isin(flat["kind"], kinds)
    if wanted is not None:
        keep &= np.isin(flat["instrument"], [0, 2])
    assert got["sequence"].tolist() == flat["sequence"][keep].tolist()
    assert got["payload"].tobytes() == flat["payload"][keep].tobytes()
    assert buffer.held == 0
    first = reader.position - len(flat)
    for batch in batches:
        if len(batch):
            seqs = batch["ring_seq"].astype(np.int64) - first
            inside = owner[seqs[0] : seqs[-1] + 1]
            # no event of this batch has slots outside the span that the batch covers
            for edge in {int(inside[0]), int(inside[-1])}:
                mine = np.flatnonzero(keep & (owner == edge))
                assert set(mine.tolist()) <= set(seqs.tolist())
    reader.close()
    writer.close()


def test_unknown_instrument_is_asked_for_once() -> None:
    writer = RingWriter.private(1024)
    reader = RingReader(writer)
    buffer = EventBuffer(wanted=b"\1")
    writer.put(record(Kind.TRADE, 0))
    writer.put(record(Kind.TRADE, 5))
    writer.put(record(Kind.STATUS, 2**32 - 1))
    writer.commit()
    assert buffer.fill(reader)
    assert buffer.take() == 5
    buffer.want(b"\1\0\0\0\0\0")
    taken = buffer.take()
    assert not isinstance(taken, int)
    assert taken[0]["instrument"].tolist() == [0, 2**32 - 1]
    reader.close()
    writer.close()


def test_position_is_the_first_record_not_handed_out() -> None:
    writer = RingWriter.private(1024)
    reader = RingReader(writer)
    buffer = EventBuffer()
    writer.put(record(Kind.TRADE))
    writer.put(record(Kind.BOOK, last=False))
    writer.commit()
    start = reader.position
    assert buffer.fill(reader)
    assert buffer.position(reader) == start
    buffer.take()
    assert buffer.position(reader) == start + 1
    assert buffer.held == 1
    reader.close()
    writer.close()


def test_arrays_handed_out_never_change() -> None:
    writer = RingWriter.private(4096)
    reader = RingReader(writer)
    buffer = EventBuffer(64)
    kept = []
    for i in range(50):
        rows = np.concatenate([record(Kind.TRADE, i)] * 33)
        writer.put(rows)
        writer.commit()
        while buffer.fill(reader):
            taken = buffer.take()
            assert not isinstance(taken, int)
            kept.append((i, taken[0]))
    assert sum(len(rows) for _, rows in kept) == 50 * 33
    assert all((rows["instrument"] == i).all() for i, rows in kept)
    reader.close()
    writer.close()


def test_select() -> None:
    rows = np.concatenate([record(Kind.TRADE), record(Kind.QUOTE), record(Kind.TRADE)])
    assert select(rows, 1 << Kind.TRADE)["kind"].tolist() == [1, 1]
    assert select(rows, 1 << Kind.GREEKS).shape == (0,)
    trades = rows[[0, 2]]
    assert select(trades, 1 << Kind.TRADE) is trades
    assert len(select(rows[:0], 1 << Kind.TRADE)) == 0


def test_small_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16"):
        EventBuffer(4)


def test_a_clear_outside_brackets_is_an_event() -> None:
    writer = RingWriter.private(1024)
    reader = RingReader(writer)
    buffer = EventBuffer()
    writer.put(control(1, BookReason.CLEAR))
    writer.commit()
    assert buffer.fill(reader)
    taken = buffer.take()
    assert not isinstance(taken, int)
    assert taken[0]["flags"].tolist() == [Flag.LAST]
    reader.close()
    writer.close()
