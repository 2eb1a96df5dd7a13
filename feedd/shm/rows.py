"""NumPy dtypes of the shared tables: board rows, book levels and instruments.

A test compares every offset with ``include/feedd/layout.h``.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np

from feedd.records import DERIV_FIELDS, GREEKS_FIELDS
from feedd.shm.layout import BOARD_ROW_BYTES

__all__ = [
    "BOARD",
    "INSTRUMENT",
    "INSTRUMENT_BYTES",
    "LEVEL",
    "Contract",
    "InstrumentKind",
    "InstrumentStatus",
    "SizeUnit",
]

LEVEL = np.dtype([("price", "<f8"), ("size", "<f8")])
"""One price level of a book."""


def _packed(fields: list[tuple[str, str]], itemsize: int, skip: frozenset[str]) -> np.dtype[Any]:
    """Fields one after the other; those in ``skip`` take room but have no name."""
    names, formats, offsets, at = [], [], [], 0
    for name, code in fields:
        if name not in skip:
            names.append(name)
            formats.append(code)
            offsets.append(at)
        at += np.dtype(code).itemsize
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": itemsize})


BOARD = _packed(
    [
        ("lock", "<u8"),
        ("ring_pos", "<u8"),
        ("instrument", "<u4"),
        ("state", "u1"),
        ("price_decimals", "u1"),
        ("size_decimals", "u1"),
        ("_", "u1"),
        ("updates", "<u8"),
        ("ts_state", "<i8"),
        ("gaps", "<u8"),
        ("resyncs", "<u8"),
        ("last_data", "<i8"),
        *((name, "<f8") for name in ("bid_price", "bid_size", "ask_price", "ask_size")),
        ("quote_ts_event", "<i8"),
        ("quote_ts_recv", "<i8"),
        ("quote_sequence", "<u8"),
        ("trade_price", "<f8"),
        ("trade_size", "<f8"),
        ("trade_id", "<u8"),
        ("trade_side", "<i8"),
        ("trade_ts_event", "<i8"),
        ("trade_ts_recv", "<i8"),
        ("trade_sequence", "<u8"),
        *((name, "<f8") for name in DERIV_FIELDS[:-1]),
        ("next_funding", "<i8"),
        ("deriv_mask", "<u8"),
        ("deriv_ts_event", "<i8"),
        ("deriv_ts_recv", "<i8"),
        *((name, "<f8") for name in GREEKS_FIELDS[:-1]),
        ("greeks_mark", "<f8"),
        ("greeks_ts_event", "<i8"),
        ("greeks_ts_recv", "<i8"),
        ("book_bid_price", "<f8"),
        ("book_bid_size", "<f8"),
        ("book_ask_price", "<f8"),
        ("book_ask_size", "<f8"),
        ("book_ts_event", "<i8"),
        ("book_ts_recv", "<i8"),
        ("book_sequence", "<u8"),
        ("bid_levels", "<u4"),
        ("ask_levels", "<u4"),
        ("liq_price", "<f8"),
        ("liq_size", "<f8"),
        ("liq_side", "<i8"),
        ("liq_ts_event", "<i8"),
    ],
    BOARD_ROW_BYTES,
    frozenset({"_"}),
)
"""A board row, 512 bytes; ``state`` is a ``BookState``, times are ns, absent floats NaN."""


class InstrumentKind(IntEnum):
    UNKNOWN = 0
    SPOT = 1
    PERPETUAL = 2
    FUTURE = 3
    OPTION = 4
    COMBO = 5
    INDEX = 6


class SizeUnit(IntEnum):
    """What a size counts."""

    UNKNOWN = 0
    BASE = 1
    QUOTE = 2
    CONTRACTS = 3


class Contract(IntEnum):
    UNKNOWN = 0
    LINEAR = 1
    INVERSE = 2
    QUANTO = 3


class InstrumentStatus(IntEnum):
    UNKNOWN = 0
    ACTIVE = 1
    HALTED = 2
    SETTLING = 3
    EXPIRED = 4
    PRE = 5


INSTRUMENT_BYTES = 512
INSTRUMENT = _packed(
    [
        ("lock", "<u8"),
        ("id", "<u4"),
        ("reader", "<i2"),
        ("kind", "u1"),
        ("status", "u1"),
        ("row", "<i4"),
        ("size_unit", "u1"),
        ("contract", "u1"),
        ("option_type", "i1"),
        ("flags", "u1"),
        ("price_decimals", "i1"),
        ("size_decimals", "i1"),
        ("_", "<u2"),
        ("__", "<u4"),
        ("tick", "<f8"),
        ("lot", "<f8"),
        ("min_size", "<f8"),
        ("contract_size", "<f8"),
        ("strike", "<f8"),
        ("expiry", "<i8"),
        ("listed_ts", "<i8"),
        ("venue", "S24"),
        ("symbol", "S64"),
        ("name", "S96"),
        ("base", "S16"),
        ("quote", "S16"),
        ("settle", "S16"),
        ("underlying", "S32"),
    ],
    INSTRUMENT_BYTES,
    frozenset({"_", "__"}),
)
"""A row of the instruments table, 512 bytes.

``id`` is the row's index and never changes; ``reader`` and ``row`` say who publishes it (-1:
nobody); texts are UTF-8, zero-padded; ``name`` is "venue:symbol"; ``tick``, ``lot``, ``min_size``,
``contract_size`` and ``strike`` are NaN where unknown, decimals -1; ``option_type`` is +1 for a
call, -1 for a put; ``expiry`` and ``listed_ts`` are ns since the Unix epoch, 0 where absent.
"""
