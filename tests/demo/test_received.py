"""Ring records as events: what the recorder keeps is what compare.py sees."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from feedd.client.batch import Batch
from feedd.demo.received import read_events
from feedd.demo.recording import Recorder, load
from feedd.records import RAW, BookReason, Flag, Kind
from tests.client.segments import book_records, control, record

NAMES = {0: "deribit:BTC-PERPETUAL", 1: "binance_spot:BTCUSDT"}


def events(*parts: np.ndarray) -> list[tuple[object, ...]]:
    rows = np.concatenate(parts)
    return [e.content for e in read_events(rows, np.arange(len(rows)), NAMES)]


def test_trade_fields() -> None:
    row = record(Kind.TRADE, 1, price=0.1, size=float("nan"), ts_event=7, sequence=9)
    row["payload"][0, 24:26] = list(b"42")
    row["payload"][0, 72] = 1
    assert events(row) == [("trade", 0.1, None, 1, "42", 7, 9)]


def test_deriv_mask_must_agree_with_the_values() -> None:
    row = record(Kind.DERIV, 0, price=5.0, size=float("nan"))
    row["payload"].view("<f8")[0, 2:7] = math.nan
    row["payload"].view("<u4")[0, 16] = 1
    assert events(row)[0][1:9] == (5.0, *[None] * 7)
    row["payload"].view("<u4")[0, 16] = 3  # says that "index" is present
    assert "mask" in str(events(row)[0][2])


def test_books_are_put_together() -> None:
    bids = [(10.0 - i, 1.0) for i in range(7)]
    asks = [(11.0, 2.0)]
    delta = book_records(0, bids, asks, sequence=3)
    long = book_records(0, bids, asks, sequence=4, bracket=True)
    snapshot = book_records(0, bids[::-1], asks, sequence=5, snapshot=True)
    bracket = book_records(1, bids, asks, sequence=6, snapshot=True, bracket=True)
    got = events(delta, record(Kind.TRADE, 0), long, snapshot, bracket)
    assert got[0] == ("book", "delta", tuple(bids), tuple(asks), 0, 3)
    assert got[1][0] == "trade"
    assert got[2] == ("book", "delta", tuple(bids), tuple(asks), 0, 4)
    assert got[3] == ("book", "snapshot", tuple(bids), tuple(asks), 0, 5)
    assert got[4] == ("book", "snapshot", tuple(bids), tuple(asks), 0, 6)


def test_gap_and_broken() -> None:
    status = record(Kind.STATUS, 0)
    status["payload"].view("<i4")[0, 1] = 1
    rows = np.concatenate([status, control(0, BookReason.GAP), control(0, BookReason.CLEAR)])
    kinds = [e.kind for e in read_events(rows, np.zeros(3, dtype=np.int64), NAMES)]
    assert kinds == ["gap", "broken", "broken"]


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(TypeError):
        read_events(np.zeros(1), np.zeros(1), NAMES)


def test_recorder_round_trip(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    first = book_records(0, [(10.0, 1.0)], [(11.0, 1.0)], snapshot=True)
    first["ring_seq"] = 100
    second = record(Kind.TRADE, 1, price=3.0)
    recorder.add(Batch(first, reader=0, read_ns=5))
    recorder.add(Batch(second, reader=1, read_ns=6, lost=2))
    recorder.add(Batch(np.empty(0, RAW), reader=1, read_ns=7, lost=3))
    recorder.finish(NAMES, {})
    recording = load(tmp_path)
    assert [e.kind for e in recording.events] == ["book", "trade"]
    assert [e.read_ns for e in recording.events] == [5, 6]
    assert recording.ring_lost == 5
    assert recording.books == {NAMES[0]: ({10.0: 1.0}, {11.0: 1.0})}
    assert first["flags"][0] & Flag.LAST
