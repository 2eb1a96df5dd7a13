"""One instrument from shared memory as JSON-ready data, for those who cannot map it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from feedd.client.feed import Feed
from feedd.errors import FeeddError, ShmError

__all__ = ["snapshot"]

_LEFT_OUT = frozenset({"name"})


class UnknownInstrumentError(FeeddError):
    """No instrument of this name has an id."""


def snapshot(directory: Path, name: str, depth: int) -> dict[str, Any]:
    """The board row and the best ``depth`` levels. Raises ``FeeddError``."""
    with Feed(directory) as feed:
        try:
            instrument = feed.instrument(name)
        except KeyError as exc:
            raise UnknownInstrumentError(str(exc.args[0])) from exc
        rows = feed.board(instruments=[instrument])
        out: dict[str, Any] = {"instrument": name, "reader": instrument.reader}
        if len(rows):
            out["latest"] = {
                key: _plain(rows[0][key]) for key in rows.dtype.names or () if key not in _LEFT_OUT
            }
        try:
            book = feed.book(name, depth=depth).refresh()
        except ShmError as exc:
            return out | {"book": None, "why": str(exc)}
        return out | {
            "book": {
                "state": book.state.name.lower(),
                "sequence": book.sequence,
                "ts_event": book.ts_event,
                "ts_recv": book.ts_recv,
                "ring_pos": book.ring_pos,
                "bids": [[float(p), float(s)] for p, s in book.bids.tolist()],
                "asks": [[float(p), float(s)] for p, s in book.asks.tolist()],
            }
        }


def _plain(value: Any) -> Any:
    """A NumPy scalar as JSON knows it; what is absent is null."""
    if isinstance(value, np.bytes_ | bytes):
        return bytes(value).rstrip(b"\0").decode("utf-8", "replace")
    item = value.item() if isinstance(value, np.generic) else value
    if isinstance(item, float) and not math.isfinite(item):
        return None
    return item
