"""The board: the latest of everything, one row per instrument, joined with what it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from feedd.records import BookState
from feedd.shm.board import BoardReader
from feedd.shm.rows import BOARD, INSTRUMENT

__all__ = ["BOARD_VIEW", "read_board"]

_TEXT = ("name", "venue", "symbol", "underlying", "base", "quote")
_FACTS = ("kind", "status", "strike", "expiry", "option_type", "reader")
_LATEST = tuple(name for name in BOARD.names or () if name not in ("lock", "instrument"))


def _column(name: str) -> str:
    """The board's ``underlying`` is a price; in the view that name is the instrument's text."""
    return "underlying_price" if name == "underlying" else name


def _view_dtype() -> np.dtype[Any]:
    fields: list[tuple[str, Any]] = [("instrument", "<u4")]
    fields += [(name, f"U{INSTRUMENT[name].itemsize}") for name in _TEXT]
    fields += [(name, INSTRUMENT[name]) for name in _FACTS]
    fields += [(_column(name), BOARD[name]) for name in _LATEST]
    return np.dtype(fields)


BOARD_VIEW = _view_dtype()
"""One row of ``Feed.board()``: instrument columns, then those of the shared board."""


def read_board(
    rows: npt.NDArray[Any],
    reader: Callable[[int], BoardReader],
    kept_up: Callable[[int], bool],
) -> npt.NDArray[Any]:
    """The board of these rows of the instruments table, shape (rows,), dtype ``BOARD_VIEW``.

    Each row is consistent in itself. Options come in order of underlying, expiry, strike and type.
    What nobody publishes yet has state INIT, NaN and 0; what was live and is not ``kept_up`` by its
    reader process any more is STALE.
    """
    out = np.zeros(len(rows), dtype=BOARD_VIEW)
    out["instrument"] = rows["id"]
    for name in _TEXT:
        out[name] = np.char.decode(rows[name], "utf-8")
    for name in _FACTS:
        out[name] = rows[name]
    for name in _LATEST:
        if BOARD[name].kind == "f":
            out[_column(name)] = np.nan
    published = (rows["reader"] >= 0) & (rows["row"] >= 0)
    for number in np.unique(rows["reader"][published]).tolist():
        index = np.flatnonzero(published & (rows["reader"] == number))
        kept = kept_up(number)  # before the copy: the next writer does not vouch for it
        board = reader(number)
        index = index[rows["row"][index] < board.n_rows]
        latest = board.snapshot(rows["row"][index])
        # A row that its reader has not claimed for this instrument yet says nothing about it.
        claimed = latest["instrument"] == rows["id"][index]
        for name in _LATEST:
            out[_column(name)][index[claimed]] = latest[name][claimed]
        if not kept:
            states = out["state"]
            states[index[states[index] == BookState.LIVE]] = BookState.STALE
    order = np.lexsort((out["option_type"], out["strike"], out["expiry"], out["underlying"]))
    return out[order] if (rows["strike"] > 0).any() else out
