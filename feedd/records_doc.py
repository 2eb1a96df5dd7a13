"""``docs/records.md`` from the dtypes: offsets and types are never written twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum, IntFlag
from typing import Any

import numpy as np

from feedd.records import (
    HEADER_FIELDS,
    KIND_DTYPES,
    RAW,
    RECORD_BYTES,
    BookReason,
    BookState,
    Event,
    Flag,
    Kind,
    Scope,
    Side,
    TradeFlag,
)

__all__ = ["MEANINGS", "markdown"]

MEANINGS: dict[str, str] = {
    # header
    "ring_seq": "position in the ring, counts every record; also the stamp that a reader checks",
    "kind": "which payload follows: the kinds below",
    "flags": "`Flag`, see below",
    "n": "levels used (BOOK), else 0",
    "side_mask": "bit i set: level i is an ask (BOOK), else 0",
    "instrument": "id: row of the instruments table; 2^32-1 where none is concerned",
    "ts_event": "the venue's time, ns since the Unix epoch; 0: it gave none",
    "ts_recv": "when the message was received, ns since the Unix epoch",
    "sequence": "the venue's sequence number; 2^64-1: it gives none",
    "publish_delta_ns": "from receipt to this record in the ring",
    "line": "number of the connection in its reader",
    "epoch": "low 16 bits of the writer's epoch",
    # trades
    "price": "of the trade",
    "size": "of the trade, in the venue's unit",
    "trade_id": "the decimal id, else FNV-1a 64 of its text",
    "trade_id_text": "the id as sent, cut to 48 bytes",
    "side": "the aggressor: `Side`",
    "trade_flags": "`TradeFlag`, see below",
    # quotes
    "bid_price": "best bid; NaN: the side is empty",
    "bid_size": "its size",
    "ask_price": "best ask; NaN: the side is empty",
    "ask_size": "its size",
    # books
    "levels": "up to five (price, size) of one event; size 0 deletes; further records of the event "
    "follow until the flag LAST",
    "reason": "`BookReason`, see below",
    "depth": "levels a side of the shared book",
    "expected": "gap: the sequence that should have come",
    "got": "gap: the one that came",
    # derivatives
    "mark": "mark price",
    "index": "index price",
    "last": "last traded price",
    "open_interest": "in the venue's contract unit",
    "funding_rate": "fraction for the venue's own interval",
    "predicted_funding": "of the next interval",
    "settlement": "settlement price, or its estimate",
    "next_funding": "ns since the Unix epoch",
    "mask": "bit i: field i of this message was there, in this order",
    # greeks
    "delta": "Black-Scholes, in the venue's unit",
    "gamma": "the same",
    "vega": "the same",
    "theta": "the same",
    "rho": "the same",
    "mark_iv": "implied volatility of the mark, a fraction",
    "bid_iv": "of the best bid",
    "ask_iv": "of the best ask",
    "underlying": "price of the underlying",
    # status
    "scope": "`Scope`: what it speaks of",
    "state": "`BookState` from now on",
    "previous": "`BookState` before",
    "code": "`Event`: what happened",
    "since": "when `state` began, ns since the Unix epoch",
    "last_data": "when data last came, ns since the Unix epoch",
    "arg0": "gap: expected; instrument_state: the status now, as in the instruments table; "
    "else by event",
    "arg1": "gap: got; instrument_state: the status before; else by event",
    "text": "the reason in words, cut to 40 bytes",
}
_PADDING = ("payload",)

_HEAD = f"""# Records

Made from the dtypes in `feedd/records.py`: `feedd records`. Do not edit.

A record is {RECORD_BYTES} bytes, little endian, naturally aligned: a header of 48 bytes and a
payload that `kind` selects. An absent float64 is NaN, an absent time 0. Times are ns since the Unix
epoch. Prices and sizes are the venue's own, correctly rounded; units are in the instruments table.
`feedd/shm/include/feedd/feedd.h` states the same for C, and a test compares the two.
"""
_NAMES = {"f8": "float64", "u8": "uint64", "i8": "int64", "u4": "uint32", "i4": "int32"}
_SMALL = {"u2": "uint16", "u1": "uint8", "i1": "int8"}


def _type(dtype: np.dtype[np.generic]) -> str:
    if dtype.subdtype is not None:
        inner, shape = dtype.subdtype
        return f"{shape[0]} x ({', '.join(f'{n} float64' for n in inner.names or ())})"
    if dtype.kind == "S":
        return f"{dtype.itemsize} bytes of text"
    return (_NAMES | _SMALL)[f"{dtype.kind}{dtype.itemsize}"]


def _table(dtype: np.dtype[np.void], names: Iterable[str]) -> list[str]:
    fields: Mapping[str, Any] = dtype.fields or {}
    rows = ["| offset | field | type | meaning |", "| --- | --- | --- | --- |"]
    rows += [
        f"| {fields[name][1]} | `{name}` | {_type(fields[name][0])} | {MEANINGS[name]} |"
        for name in names
    ]
    return rows


def _values(kind: type[IntEnum] | type[IntFlag]) -> str:
    members: Iterable[Any] = kind
    return ", ".join(f"{member.name} {member.value}" for member in members)


def markdown() -> str:
    lines = [_HEAD, "## Header\n", *_table(RAW, HEADER_FIELDS)]
    seen: dict[int, list[Kind]] = {}
    for kind, dtype in KIND_DTYPES.items():
        seen.setdefault(id(dtype), []).append(kind)
    for kinds in seen.values():
        dtype = KIND_DTYPES[kinds[0]]
        names = [n for n in dtype.names or () if n not in HEADER_FIELDS and n not in _PADDING]
        title = ", ".join(f"{kind.name} ({kind.value})" for kind in kinds)
        lines += [f"\n## {title}\n", *_table(dtype, names)]
    lines.append("\n## Values\n")
    flags: tuple[type[IntFlag], ...] = (Flag, TradeFlag)
    groups: tuple[type[IntEnum], ...] = (Side, BookState, BookReason, Scope, Event)
    lines += [f"- **{flag.__name__}**: {_values(flag)}" for flag in flags]
    for group in groups:
        lines.append(f"- **{group.__name__}**: {_values(group)}")
    return "\n".join(lines) + "\n"
