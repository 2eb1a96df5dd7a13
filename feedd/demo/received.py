"""Turn recorded ring records into events, in the shape that ``journal.py`` gives the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from feedd.demo.journal import Content, in_order
from feedd.records import (
    BOOK_CONTROL,
    DERIV,
    DERIV_FIELDS,
    GREEKS,
    GREEKS_FIELDS,
    NO_SEQUENCE,
    QUOTE,
    RAW,
    STATUS,
    TRADE,
    BookReason,
    Event,
    Flag,
    Kind,
)

__all__ = ["Received", "read_events"]

Records = npt.NDArray[Any]


@dataclass(slots=True)
class Received:
    """One event as the consumer read it; ``position`` orders the events of a ring."""

    kind: str
    instrument: str
    content: Content
    sequence: int | None
    read_ns: int
    position: int
    snapshot: bool = False


def read_events(
    records: Records, read_ns: npt.NDArray[Any], names: dict[int, str]
) -> list[Received]:
    """Events of one ring in ring order; shapes: ``records`` (n,) RAW, ``read_ns`` (n,) int64.

    Book events are put together from their slots; STATUS gaps come as kind ``gap``, book
    controls that end a live book as kind ``broken``; other status records as ``status``.
    """
    if records.dtype != RAW:
        raise TypeError("records must have the dtype feedd.records.RAW")
    out: list[Received] = []
    for kinds, reader in _READERS:
        index = np.flatnonzero(np.isin(records["kind"], kinds))
        if len(index):
            out.extend(reader(records[index], index.tolist(), read_ns[index].tolist(), names))
    out.sort(key=lambda event: event.position)
    return out


def _floats(column: npt.NDArray[Any]) -> list[float | None]:
    return [None if value != value else value for value in column.tolist()]


def _common(rows: Records, names: dict[int, str]) -> tuple[list[str], list[int], list[int | None]]:
    instruments = [names.get(i, f"id {i}") for i in rows["instrument"].tolist()]
    sequences = [None if s == NO_SEQUENCE else s for s in rows["sequence"].tolist()]
    return instruments, rows["ts_event"].tolist(), sequences


def _trades(
    rows: Records, index: list[int], read_ns: list[int], names: dict[int, str]
) -> Iterator[Received]:
    data = rows.view(TRADE)
    instruments, times, sequences = _common(rows, names)
    columns = zip(
        rows["kind"].tolist(),
        _floats(data["price"]),
        _floats(data["size"]),
        data["side"].tolist(),
        data["trade_id_text"].tolist(),
        strict=True,
    )
    for i, (kind, price, size, side, text) in enumerate(columns):
        name = "trade" if kind == Kind.TRADE else "liquidation"
        content = (name, price, size, side, text.decode(), times[i], sequences[i])
        yield Received(name, instruments[i], content, sequences[i], read_ns[i], index[i])


def _fields(
    rows: Records,
    index: list[int],
    read_ns: list[int],
    names: dict[int, str],
    kind: str,
    columns: list[list[Any]],
) -> Iterator[Received]:
    instruments, times, sequences = _common(rows, names)
    for i, values in enumerate(zip(*columns, strict=True)):
        content = (kind, *values, times[i], sequences[i])
        yield Received(kind, instruments[i], content, sequences[i], read_ns[i], index[i])


def _quotes(
    rows: Records, index: list[int], read_ns: list[int], names: dict[int, str]
) -> Iterator[Received]:
    data = rows.view(QUOTE)
    fields = ("bid_price", "bid_size", "ask_price", "ask_size")
    columns = [_floats(data[name]) for name in fields]
    return _fields(rows, index, read_ns, names, "quote", columns)


def _derivs(
    rows: Records, index: list[int], read_ns: list[int], names: dict[int, str]
) -> Iterator[Received]:
    data = rows.view(DERIV)
    columns: list[list[Any]] = []
    for bit, name in enumerate(DERIV_FIELDS):
        present = ((data["mask"] >> bit) & 1).tolist()
        values: list[Any] = data[name].tolist()
        # The mask and the value must say the same; a contradiction shows as a wrong record.
        columns.append([_masked(v, p, name) for v, p in zip(values, present, strict=True)])
    return _fields(rows, index, read_ns, names, "deriv", columns)


def _masked(value: float | int, present: int, name: str) -> Any:
    absent = value == 0 if name == "next_funding" else value != value
    if bool(present) == absent:
        return f"{value!r} against its mask bit {present}"
    return None if absent else value


def _greeks(
    rows: Records, index: list[int], read_ns: list[int], names: dict[int, str]
) -> Iterator[Received]:
    data = rows.view(GREEKS)
    columns: list[list[Any]] = [_floats(data[name]) for name in GREEKS_FIELDS]
    return _fields(rows, index, read_ns, names, "greeks", columns)


def _books(
    rows: Records, index: list[int], read_ns: list[int], names: dict[int, str]
) -> Iterator[Received]:
    """Book events out of BOOK and BOOK_CONTROL slots; a bracketed event ends at SNAPSHOT_END."""
    instruments, times, sequences = _common(rows, names)
    columns = zip(
        rows["kind"].tolist(),
        rows["flags"].tolist(),
        rows["n"].tolist(),
        rows["side_mask"].tolist(),
        rows.view(BOOK_CONTROL)["reason"].tolist(),
        rows["payload"].view("<f8").reshape(len(rows), 5, 2).tolist(),
        strict=True,
    )
    sides: tuple[list[Any], list[Any]] = ([], [])
    snapshot = False
    for i, (kind, flag, n, mask, reason, levels) in enumerate(columns):
        if kind == Kind.BOOK:
            snapshot = bool(flag & Flag.SNAPSHOT)
            for j in range(n):
                sides[mask >> j & 1].append(tuple(levels[j]))
            ends = flag & Flag.LAST
        elif reason in _BROKEN:
            content: Content = ("broken", reason)
            yield Received("broken", instruments[i], content, sequences[i], read_ns[i], index[i])
            continue
        else:
            ends = reason == BookReason.SNAPSHOT_END
        if not ends:
            continue
        bids, asks = sides
        action = "snapshot" if snapshot else "delta"
        content = ("book", action, *in_order(bids, asks), times[i], sequences[i])
        yield Received(
            "book", instruments[i], content, sequences[i], read_ns[i], index[i], snapshot
        )
        sides = ([], [])


_BROKEN = (BookReason.CLEAR, BookReason.GAP, BookReason.CHECKSUM)


def _statuses(
    rows: Records, index: list[int], read_ns: list[int], names: dict[int, str]
) -> Iterator[Received]:
    instruments, _, sequences = _common(rows, names)
    data = rows.view(STATUS)
    for i, (code, text) in enumerate(
        zip(data["code"].tolist(), data["text"].tolist(), strict=True)
    ):
        kind = "gap" if code == Event.GAP else "status"
        content: Content = (kind, code, text.decode(errors="replace"))
        yield Received(kind, instruments[i], content, sequences[i], read_ns[i], index[i])


_READERS = (
    ([Kind.TRADE, Kind.LIQUIDATION], _trades),
    ([Kind.QUOTE], _quotes),
    ([Kind.BOOK, Kind.BOOK_CONTROL], _books),
    ([Kind.DERIV], _derivs),
    ([Kind.GREEKS], _greeks),
    ([Kind.STATUS], _statuses),
)
