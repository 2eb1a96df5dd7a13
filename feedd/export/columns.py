"""Records as Arrow columns. What is absent in a record is null in a column.

Times are timestamps in UTC with ns, enumerations are their names, flags stay a number. A BOOK
record keeps its levels as a list; its event ends with the record whose flag LAST (128) is set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from feedd.records import (
    HEADER_FIELDS,
    KIND_DTYPES,
    NO_SEQUENCE,
    BookReason,
    BookState,
    Event,
    Kind,
    Scope,
    Side,
    lower_names,
)

__all__ = ["schema", "table"]

_TIME = pa.timestamp("ns", tz="UTC")
_LEVEL = pa.struct([("side", pa.string()), ("price", pa.float64()), ("size", pa.float64())])
_TIMES = frozenset({"ts_event", "ts_recv", "next_funding", "since", "last_data"})
_ENUMS: dict[str, Any] = {
    "side": Side,
    "reason": BookReason,
    "scope": Scope,
    "state": BookState,
    "previous": BookState,
    "code": Event,
}
_LEFT_OUT = frozenset({"kind", "n", "side_mask", "instrument", "levels"})
_HEAD = tuple(name for name in HEADER_FIELDS if name not in _LEFT_OUT)

Column = Callable[[npt.NDArray[Any]], Any]


def _names(enum: Any) -> Column:
    known = lower_names(enum)

    def column(values: npt.NDArray[Any]) -> Any:
        codes, places = np.unique(values, return_inverse=True)
        words = [known.get(int(code), str(int(code))) for code in codes]
        return pa.DictionaryArray.from_arrays(
            pa.array(places.astype(np.int32)), pa.array(words, pa.string())
        ).cast(pa.string())

    return column


def _column(name: str, values: npt.NDArray[Any]) -> Any:
    values = np.ascontiguousarray(values)
    if name in _TIMES:
        return pa.array(values.view("M8[ns]"), type=_TIME, mask=values == 0)
    if name in _ENUMS:
        return _names(_ENUMS[name])(values)
    if name in ("sequence", "expected", "got"):
        return pa.array(values, type=pa.uint64(), mask=values == NO_SEQUENCE)
    if values.dtype.kind == "f":
        return pa.array(values, type=pa.float64(), mask=np.isnan(values))
    if values.dtype.kind == "S":
        return pa.array([text.decode("utf-8", "replace") for text in values.tolist()], pa.string())
    return pa.array(values)


def _levels(records: npt.NDArray[Any]) -> Any:
    counts = records["n"].astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    used = np.arange(records["levels"].shape[1])[None, :] < counts[:, None]
    flat = records["levels"][used]
    asks = ((records["side_mask"][:, None] >> np.arange(used.shape[1])[None, :]) & 1)[used]
    sides = pa.array(np.where(asks == 1, "ask", "bid").tolist(), pa.string())
    arrays = [sides, pa.array(np.ascontiguousarray(flat["price"]))]
    arrays.append(pa.array(np.ascontiguousarray(flat["size"])))
    structs = pa.StructArray.from_arrays(arrays, fields=list(_LEVEL))
    return pa.ListArray.from_arrays(pa.array(offsets), structs)


def _payload(kind: Kind) -> list[str]:
    names = KIND_DTYPES[kind].names or ()
    return [name for name in names if name not in HEADER_FIELDS and name not in _LEFT_OUT]


def table(kind: Kind, records: npt.NDArray[Any], symbols: list[str]) -> Any:
    """An Arrow table of records of one kind, as their own dtype; ``symbols`` names each row's
    instrument, "" for none."""
    columns: dict[str, Any] = {
        "symbol": pa.array([symbol or None for symbol in symbols], pa.string())
    }
    for name in (*_HEAD, *_payload(kind)):
        columns[name] = _column(name, records[name])
    if kind is Kind.BOOK:
        columns["levels"] = _levels(records)
    return pa.table(columns)


def schema(kind: Kind) -> Any:
    """The schema of the tables of a kind."""
    return table(kind, np.zeros(0, dtype=KIND_DTYPES[kind]), []).schema
