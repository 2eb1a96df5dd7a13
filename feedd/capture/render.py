"""Ring records as the JSON objects of ``feedd decode`` (one per venue event)."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from typing import Any

from feedd.records import (
    DERIV_FIELDS,
    GREEKS_FIELDS,
    KIND_NAMES,
    NO_INSTRUMENT,
    RECORD_BYTES,
    BookReason,
    BookState,
    Event,
    Flag,
    Kind,
    Side,
    TradeFlag,
    known_sequence,
    lower_names,
)
from feedd.shm.rows import InstrumentStatus

__all__ = ["STATE_NAMES", "Renderer"]

_HEADER = struct.Struct("<QBBBBIqqQIHH")
_TRADE = struct.Struct("<ddQ48sbB")
_QUOTE = struct.Struct("<4d")
_LEVELS = struct.Struct("<10d")
_CONTROL = struct.Struct("<IIQQ")
_DERIV = struct.Struct("<7dqI")
_GREEKS = struct.Struct("<10d")
_STATUS = struct.Struct("<BBBxiqqqq40s")

_FLAGS = lower_names(Flag)
_TRADE_FLAGS = lower_names(TradeFlag)
_SIDES = lower_names(Side)
STATE_NAMES = lower_names(BookState)
_EVENT_NAMES = lower_names(Event)
_STATUS_NAMES = lower_names(InstrumentStatus)


class Renderer:
    """Turns slots into events; keeps the slots of an unfinished event. ``name(id)`` gives the
    instrument's name."""

    def __init__(self, name: Callable[[int], str]) -> None:
        self._name = name
        self._bids: list[list[float]] = []
        self._asks: list[list[float]] = []
        self._open: dict[str, Any] | None = None

    def render(self, records: bytes) -> Iterator[dict[str, Any]]:
        """The events that end in these slots, in order."""
        for offset in range(0, len(records), RECORD_BYTES):
            event = self._record(records, offset)
            if event is not None:
                yield event

    def _record(self, data: bytes, at: int) -> dict[str, Any] | None:
        header = _HEADER.unpack_from(data, at)
        kind, flags, n, side_mask = header[1:5]
        at += 48
        if kind == Kind.BOOK:
            return self._book(data, at, header, n, side_mask)
        if kind == Kind.BOOK_CONTROL:
            return self._control(data, at, flags)
        event = self._common(header)
        if kind in (Kind.TRADE, Kind.LIQUIDATION):
            price, size, _, text, side, trade_flags = _TRADE.unpack_from(data, at)
            event["flags"] += [name for bit, name in _TRADE_FLAGS.items() if trade_flags & bit]
            event |= {
                "price": price,
                "size": size,
                "side": _SIDES[side],
                "trade_id": text.rstrip(b"\0").decode("utf-8", "replace"),
            }
        elif kind == Kind.QUOTE:
            names = ("bid_price", "bid_size", "ask_price", "ask_size")
            event |= zip(names, _QUOTE.unpack_from(data, at), strict=True)
        elif kind == Kind.DERIV:
            *values, mask = _DERIV.unpack_from(data, at)
            event |= {
                name: value
                for i, (name, value) in enumerate(zip(DERIV_FIELDS, values, strict=True))
                if mask >> i & 1
            }
        elif kind == Kind.GREEKS:
            event |= {
                name: value
                for name, value in zip(GREEKS_FIELDS, _GREEKS.unpack_from(data, at), strict=True)
                if not math.isnan(value)
            }
        elif kind == Kind.STATUS:
            event |= _status(data, at)
        return event

    def _common(self, header: tuple[Any, ...]) -> dict[str, Any]:
        _, kind, flags, _, _, instrument, ts_event, ts_recv, sequence, _, _, _ = header
        return {
            "kind": KIND_NAMES.get(kind, f"kind_{kind}"),
            "instrument": None if instrument == NO_INSTRUMENT else self._name(instrument),
            "ts_event": ts_event or None,
            "ts_recv": ts_recv or None,
            "sequence": known_sequence(sequence),
            "flags": [name for bit, name in _FLAGS.items() if flags & bit],
        }

    def _book(
        self, data: bytes, at: int, header: tuple[Any, ...], n: int, side_mask: int
    ) -> dict[str, Any] | None:
        if self._open is None:
            self._open = self._common(header)
            self._open["action"] = "snapshot" if header[2] & Flag.SNAPSHOT else "delta"
            self._bids, self._asks = [], []
        levels = _LEVELS.unpack_from(data, at)
        for i in range(n):
            side = self._asks if side_mask >> i & 1 else self._bids
            side.append([levels[2 * i], levels[2 * i + 1]])
        return self._finish() if header[2] & Flag.LAST else None

    def _control(self, data: bytes, at: int, flags: int) -> dict[str, Any] | None:
        """The brackets of a long snapshot end its event; a gap's record is told by its STATUS."""
        reason = _CONTROL.unpack_from(data, at)[0]
        if reason == BookReason.SNAPSHOT_END and flags & Flag.LAST and self._open is not None:
            return self._finish()
        return None

    def _finish(self) -> dict[str, Any]:
        event, self._open = self._open, None
        assert event is not None  # noqa: S101 - callers have an open event
        if "last" not in event["flags"]:
            event["flags"].append("last")
        event["bids"] = self._bids
        event["asks"] = self._asks
        return event


def _status(data: bytes, at: int) -> dict[str, Any]:
    _, state, previous, code, _, _, arg0, arg1, text = _STATUS.unpack_from(data, at)
    event: dict[str, Any] = {"event": _EVENT_NAMES.get(code, f"event_{code}")}
    if code in (Event.GAP, Event.CHECKSUM):
        event |= {"expected": known_sequence(arg0), "got": known_sequence(arg1)}
    if code in (Event.GAP, Event.CHECKSUM, Event.LIVE, Event.RESYNC, Event.STALE):
        event |= {"state": STATE_NAMES.get(state), "previous": STATE_NAMES.get(previous)}
    if code == Event.INSTRUMENT_STATE:
        event |= {"state": _STATUS_NAMES.get(arg0), "previous": _STATUS_NAMES.get(arg1)}
    event["reason"] = text.rstrip(b"\0").decode("utf-8", "replace")
    return event
