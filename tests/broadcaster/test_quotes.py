"""Board rows and records as messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from feedd.broadcaster.publisher import Interest
from feedd.broadcaster.quotes import Dirty, quote_of, topic_of, trade_body, trades_of
from feedd.client.batch import Batch
from feedd.records import RAW, TRADE, BookState, Kind
from feedd.shm.rows import BOARD


def row(**fields: Any) -> Any:
    made = np.zeros(1, dtype=BOARD)
    for name in BOARD.names or ():
        if BOARD[name].kind == "f":
            made[name] = np.nan
    for name, value in fields.items():
        made[name] = value
    return made[0]


def records(*pairs: tuple[Kind, int]) -> np.ndarray[Any, Any]:
    made = np.zeros(len(pairs), dtype=RAW)
    for i, (kind, instrument) in enumerate(pairs):
        made[i]["kind"], made[i]["instrument"] = kind, instrument
    return made


def test_the_venues_own_quote_is_preferred() -> None:
    book = {"book_ts_recv": 5, "book_bid_price": 1.0, "book_ask_price": 2.0}
    assert quote_of(row()) is None
    found = quote_of(row(state=BookState.LIVE, **book))
    assert found is not None
    assert (found["source"], found["bid_price"], found["bid_size"]) == ("book", 1.0, None)
    found = quote_of(row(state=BookState.GAP, quote_ts_recv=7, bid_price=1.5, **book))
    assert found is not None
    assert (found["source"], found["bid_price"], found["ts_recv"]) == ("quote", 1.5, 7)
    assert found["book_state"] == "gap"


def test_what_changed_is_noted_once() -> None:
    dirty = Dirty()
    assert dirty.take() == (True, set()), "at the start everything is news"
    dirty.note(Batch(records((Kind.QUOTE, 3), (Kind.BOOK, 3), (Kind.TRADE, 9), (Kind.BOOK, 1))))
    assert dirty.take() == (False, {1, 3})
    assert dirty.take() == (False, set())
    dirty.note(Batch(records(), lost=5))
    assert dirty.take() == (True, set()), "after loss nobody knows what changed"


def test_trades_that_somebody_wants() -> None:
    made = np.zeros(3, dtype=TRADE)
    made["kind"] = [Kind.TRADE, Kind.TRADE, Kind.LIQUIDATION]
    made["instrument"] = [0, 1, 0]
    made["price"], made["size"], made["side"] = [1.5, 2.5, 3.5], 2.0, [1, 0, -1]
    made["trade_id_text"] = [b"T1", b"T2", b"L1"]
    names = {0: "deribit:A", 1: "okx:B"}
    batch = Batch(made.view(RAW))
    interest = Interest()
    assert trades_of(batch, names, interest) == []
    interest.add(b"trade.deribit.")
    found = trades_of(batch, names, interest)
    assert [name for name, _ in found] == ["deribit:A", "deribit:A"]
    first, second = (trade_body(*item) for item in found)
    assert (first["price"], first["side"], first["trade_id"]) == (1.5, "buy", "T1")
    assert (second["side"], second["liquidation"]) == ("sell", True)
    assert first["liquidation"] is False


@pytest.mark.parametrize(("name", "tail"), [("deribit:A-B", "deribit.A-B"), ("x:a:b", "x.a:b")])
def test_topics(name: str, tail: str) -> None:
    assert topic_of("quote", name) == f"quote.{tail}"
