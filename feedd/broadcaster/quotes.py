"""Quotes and trades of the rings as messages: conflation by instrument, numbers per topic.

A quote message is the state of an instrument at the moment of sending, from the board: nothing is
queued, so a burst of a thousand updates costs one message. Records of the rings only say which
instruments changed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from feedd.broadcaster.publisher import Interest
from feedd.client.batch import Batch
from feedd.records import BookState, Kind, Side, TradeFlag

__all__ = ["Dirty", "quote_body", "quote_of", "topic_of", "trade_body", "trades_of"]

_CHANGES = np.zeros(256, dtype=bool)
_CHANGES[[Kind.QUOTE, Kind.BOOK, Kind.BOOK_CONTROL]] = True
_QUOTE = ("bid_price", "bid_size", "ask_price", "ask_size")


class Dirty:
    """Ids of instruments that changed since they were last sent. Pure."""

    def __init__(self) -> None:
        self._ids: set[int] = set()
        self.everything = True
        """Set after loss: whoever changed meanwhile is not known."""

    def note(self, batch: Batch) -> None:
        if batch.lost or batch.restarted:
            self.everything = True
        records = batch.records
        changed = records["instrument"][_CHANGES[records["kind"]]]
        self._ids.update(np.unique(changed).tolist())

    def mark(self, ids: set[int]) -> None:
        self._ids |= ids

    def take(self) -> tuple[bool, set[int]]:
        """(everything, ids), and begin anew."""
        everything, ids = self.everything, self._ids
        self.everything, self._ids = False, set()
        return everything, ids


def quote_of(row: Any) -> dict[str, Any] | None:
    """The best bid and offer of a board row; None while neither quotes nor a book came.

    The venue's own best-bid/offer channel where there is one, else the top of the book.
    """
    if row["quote_ts_recv"]:
        source, ts_event, ts_recv = "quote", row["quote_ts_event"], row["quote_ts_recv"]
        values = [float(row[name]) for name in _QUOTE]
    elif row["book_ts_recv"]:
        source, ts_event, ts_recv = "book", row["book_ts_event"], row["book_ts_recv"]
        values = [float(row[f"book_{name}"]) for name in _QUOTE]
    else:
        return None
    state = int(row["state"])
    out: dict[str, Any] = {
        name: None if math.isnan(value) else value
        for name, value in zip(_QUOTE, values, strict=True)
    }
    return out | {
        "source": source,
        "book_state": BookState(state).name.lower() if state in set(BookState) else str(state),
        "ts_event": int(ts_event),
        "ts_recv": int(ts_recv),
    }


def quote_body(name: str, row: Any) -> dict[str, Any] | None:
    quote = quote_of(row)
    return None if quote is None else {"instrument": name, **quote}


def trades_of(batch: Batch, names: dict[int, str], interest: Interest) -> list[tuple[str, Any]]:
    """(instrument name, record) of the trades and liquidations that somebody wants."""
    found: list[tuple[str, Any]] = []
    for part in (batch.trades, batch.liquidations):
        ids: npt.NDArray[Any] = part["instrument"]
        for number in np.unique(ids).tolist():
            name = names.get(number)
            if name is None or not interest.wants(topic_of("trade", name).encode()):
                continue
            found += [(name, record) for record in part[ids == number]]
    return found


def trade_body(name: str, record: Any) -> dict[str, Any]:
    side, kind, marks = int(record["side"]), record["kind"], int(record["trade_flags"])
    text = bytes(record["trade_id_text"]).rstrip(b"\0").decode("utf-8", "replace")
    return {
        "instrument": name,
        "price": float(record["price"]),
        "size": float(record["size"]),
        "side": Side(side).name.lower() if side in set(Side) else "unknown",
        "trade_id": text,
        "liquidation": bool(kind == Kind.LIQUIDATION or marks & TradeFlag.LIQUIDATION),
        "flags": int(record["flags"]),
        "ts_event": int(record["ts_event"]),
        "ts_recv": int(record["ts_recv"]),
    }


def topic_of(kind: str, name: str) -> str:
    """The topic of an instrument: ``deribit:BTC-PERPETUAL`` is ``quote.deribit.BTC-PERPETUAL``."""
    return f"{kind}.{name.replace(':', '.', 1)}"
