"""The record contract: kinds, flags and the NumPy dtypes of the 128-byte slot.

One record is one ring slot: a 48-byte header and an 80-byte payload whose shape the ``kind``
selects. Little endian, naturally aligned, unused bytes zero. An absent float64 is NaN, an absent
sequence ``NO_SEQUENCE``, an absent time 0. Times are ns since the Unix epoch. Sizes are in the
venue's own unit (see the instruments table). ``feedd/shm/include/feedd/feedd.h`` states the same
offsets for other languages; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, IntFlag
from typing import Any

import numpy as np

__all__ = [
    "BOOK",
    "BOOK_CONTROL",
    "BOOK_LEVELS_PER_SLOT",
    "DERIV",
    "DERIV_FIELDS",
    "GREEKS",
    "GREEKS_FIELDS",
    "HEADER_FIELDS",
    "KIND_DTYPES",
    "KIND_NAMES",
    "NO_INSTRUMENT",
    "NO_SEQUENCE",
    "QUOTE",
    "RAW",
    "RECORD_BYTES",
    "STATUS",
    "TRADE",
    "BookReason",
    "BookState",
    "Event",
    "Flag",
    "Kind",
    "Scope",
    "Side",
    "TradeFlag",
    "known_sequence",
    "lower_names",
]

RECORD_BYTES = 128
HEADER_BYTES = 48
BOOK_LEVELS_PER_SLOT = 5
NO_SEQUENCE = 2**64 - 1
NO_INSTRUMENT = 2**32 - 1
"""``instrument`` of records that concern a connection or the reader as a whole."""


class Kind(IntEnum):
    TRADE = 1
    LIQUIDATION = 2
    QUOTE = 3
    BOOK = 4
    BOOK_CONTROL = 5
    DERIV = 6
    GREEKS = 7
    STATUS = 8


class Flag(IntFlag):
    """Header flags; the common bits are those of Databento's DBN."""

    INEXACT = 1  # a decimal on the wire did not survive float64
    REPLAY = 2  # past data that the venue sent on subscription
    MAYBE_BAD_BOOK = 4  # the book of this instrument is not live
    BAD_TS = 8  # the venue's time is implausible
    SNAPSHOT = 32  # replaces the book
    LAST = 128  # last record of the venue's event


class TradeFlag(IntFlag):
    LIQUIDATION = 1
    BLOCK = 2
    COMBO = 4
    ID_CUT = 8  # the id is longer than 48 bytes


class Side(IntEnum):
    """The aggressor: BUY means that the taker bought."""

    SELL = -1
    UNKNOWN = 0
    BUY = 1


class BookState(IntEnum):
    INIT = 0  # nothing received yet
    SYNCING = 1  # updates arrive, waiting for a snapshot
    LIVE = 2
    GAP = 3
    CHECKSUM = 4
    STALE = 5


class BookReason(IntEnum):
    """``reason`` of BOOK_CONTROL records."""

    CLEAR = 1
    SNAPSHOT_BEGIN = 2
    SNAPSHOT_END = 3
    GAP = 4
    CHECKSUM = 5


class Scope(IntEnum):
    """What a STATUS record speaks of."""

    INSTRUMENT = 1
    CONNECTION = 2
    READER = 3
    VENUE = 4


class Event(IntEnum):
    """``code`` of STATUS records."""

    GAP = 1
    CHECKSUM = 2
    RESYNC = 3
    LIVE = 4
    STALE = 5
    LINE_UP = 6
    LINE_DOWN = 7
    BAD_FRAME = 8
    READER_START = 9
    READER_STOP = 10
    BOOK_OVERFLOW = 11
    SUBSCRIBE_ERROR = 12
    QUARANTINED = 13  # a book that does not heal: no resync for arg1 ns
    RULE_CHANGED = 14  # every checksum of a channel fails: the venue computes another one
    DRIFT = 15  # a field of a whole channel vanished, changed its type or stands still
    INSTRUMENT_STATE = 16  # the venue lists, halts, settles or ends an instrument


_HEADER: list[tuple[str, str, int]] = [
    ("ring_seq", "<u8", 0),
    ("kind", "u1", 8),
    ("flags", "u1", 9),
    ("n", "u1", 10),
    ("side_mask", "u1", 11),
    ("instrument", "<u4", 12),
    ("ts_event", "<i8", 16),
    ("ts_recv", "<i8", 24),
    ("sequence", "<u8", 32),
    ("publish_delta_ns", "<u4", 40),
    ("line", "<u2", 44),
    ("epoch", "<u2", 46),
]
HEADER_FIELDS: tuple[str, ...] = tuple(name for name, _, _ in _HEADER)


def _dtype(payload: list[tuple[str, Any, int]]) -> np.dtype[Any]:
    fields = _HEADER + payload
    return np.dtype(
        {
            "names": [name for name, _, _ in fields],
            "formats": [fmt for _, fmt, _ in fields],
            "offsets": [offset for _, _, offset in fields],
            "itemsize": RECORD_BYTES,
        }
    )


RAW = _dtype([("payload", ("u1", (80,)), 48)])
"""Any record: the header fields and ``payload`` as 80 bytes."""

TRADE = _dtype(
    [
        ("price", "<f8", 48),
        ("size", "<f8", 56),
        ("trade_id", "<u8", 64),
        ("trade_id_text", "S48", 72),
        ("side", "i1", 120),
        ("trade_flags", "u1", 121),
    ]
)
"""TRADE and LIQUIDATION; ``trade_id`` is the decimal id, else FNV-1a 64 of its bytes."""

QUOTE = _dtype(
    [
        ("bid_price", "<f8", 48),
        ("bid_size", "<f8", 56),
        ("ask_price", "<f8", 64),
        ("ask_size", "<f8", 72),
    ]
)

BOOK = _dtype([("levels", (np.dtype([("price", "<f8"), ("size", "<f8")]), (5,)), 48)])
"""``n`` levels used, bit i of ``side_mask`` set: level i is an ask; size 0 deletes."""

BOOK_CONTROL = _dtype(
    [("reason", "<u4", 48), ("depth", "<u4", 52), ("expected", "<u8", 56), ("got", "<u8", 64)]
)

DERIV_FIELDS: tuple[str, ...] = (
    "mark",
    "index",
    "last",
    "open_interest",
    "funding_rate",
    "predicted_funding",
    "settlement",
    "next_funding",
)
"""Order of the bits in ``mask``; all float64 but ``next_funding`` (ns)."""
DERIV = _dtype(
    [
        *((name, "<f8", 48 + 8 * i) for i, name in enumerate(DERIV_FIELDS[:-1])),
        ("next_funding", "<i8", 104),
        ("mask", "<u4", 112),
    ]
)

GREEKS_FIELDS: tuple[str, ...] = (
    "delta",
    "gamma",
    "vega",
    "theta",
    "rho",
    "mark_iv",
    "bid_iv",
    "ask_iv",
    "underlying",
    "mark",
)
GREEKS = _dtype([(name, "<f8", 48 + 8 * i) for i, name in enumerate(GREEKS_FIELDS)])
"""IV as a fraction; Black-Scholes greeks in the venue's units."""

STATUS = _dtype(
    [
        ("scope", "u1", 48),
        ("state", "u1", 49),
        ("previous", "u1", 50),
        ("code", "<i4", 52),
        ("since", "<i8", 56),
        ("last_data", "<i8", 64),
        ("arg0", "<i8", 72),
        ("arg1", "<i8", 80),
        ("text", "S40", 88),
    ]
)
"""``code`` is an ``Event``; a gap and a checksum have expected and got in ``arg0`` and ``arg1``
(all bits set: the venue has no number for it), an instrument's state has its ``InstrumentStatus``
(see ``feedd.shm.rows``) now and before, and the venue's own word in ``text``."""

KIND_DTYPES: dict[Kind, np.dtype[Any]] = {
    Kind.TRADE: TRADE,
    Kind.LIQUIDATION: TRADE,
    Kind.QUOTE: QUOTE,
    Kind.BOOK: BOOK,
    Kind.BOOK_CONTROL: BOOK_CONTROL,
    Kind.DERIV: DERIV,
    Kind.GREEKS: GREEKS,
    Kind.STATUS: STATUS,
}


def lower_names(enum: type[IntEnum] | type[IntFlag]) -> dict[int, str]:
    """Code -> name in small letters, as every output of feedd writes it; of flags single bits."""
    members: Iterable[Any] = enum
    return {member.value: member.name.lower() for member in members}


def known_sequence(value: int) -> int | None:
    """A sequence number of a record, signed or not; None where all bits are set: there is none."""
    value &= NO_SEQUENCE
    return None if value == NO_SEQUENCE else value


KIND_NAMES = lower_names(Kind)
