"""A venue of the tests' own: one book channel whose rule each test chooses, one plain message form.

``{"t": "book.X", "d": {"u", "U", "pu", "cs", "k", "ts", "b": [[price, size]], "a": […]}}``; ``k``
is ``"s"`` for a snapshot, ``"d"`` for a change. Prices and sizes are texts, as they are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from feedd import venues
from feedd.venues.schema import Venue
from tests.pipeline.rig import Rig

Level = tuple[Any, Any]
T0 = 1_700_000_000_000


def lab_venue(
    book: dict[str, Any], decode: dict[str, Any] | None = None, **channels: dict[str, Any]
) -> Venue:
    """``book`` is added to the common parts of a book with the policy it names."""
    form = {
        "schema": 1,
        "name": "lab",
        "title": "Lab",
        "rest_url": "https://lab.invalid",
        "decode": {"envelopes": [{"topic": "t", "payload": "d"}], **(decode or {})},
        "channels": {
            "book": {
                "topics": ["book.{symbol}"],
                "subscribe": "book.{symbol}",
                "time": ["ts"],
                "book": ({} if "rows" in book else {"bids": "b", "asks": "a"})
                | {"resync": "resubscribe", **book},
                "payload": "rows" if "rows" in book else "object",
            },
            **channels,
        },
        "session": msgspec.to_builtins(venues.load("deribit").session),
    }
    return msgspec.convert(form, Venue)


IN_STREAM = {"type": "k", "snapshot_type": "s", "delta_type": "d"}
REST = {
    "resync": "rest",
    "rest": {"url": "/depth?symbol={symbol}", "id": "u", "bids": "b", "asks": "a"},
}
BOOKS: dict[str, dict[str, Any]] = {
    "range_plus_one": {**IN_STREAM, "first": "U", "current": "u"},
    "plus_one": {**IN_STREAM, "current": "u", "snapshot_reset": True},
    "prev_link": {**IN_STREAM, "current": "u", "previous": "pu", "snapshot_previous": [-1]},
    "prev_link_rest": {**REST, "first": "U", "current": "u", "previous": "pu"},
    "range_plus_one_rest": {**REST, "first": "U", "current": "u"},
    "trust_tcp": dict(IN_STREAM),
    "none_full": {},
}


def lab(policy: str, **more: Any) -> Rig:
    return Rig(lab_venue({"policy": policy, **BOOKS.get(policy, {}), **more}))


def message(
    bids: Sequence[Level] = (),
    asks: Sequence[Level] = (),
    *,
    snapshot: bool = False,
    symbol: str = "X",
    ms: int | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """A book message; numbers as keywords: ``u``, ``U``, ``pu``, ``cs``."""
    data: dict[str, Any] = {"k": "s" if snapshot else "d"}
    data |= {name: value for name, value in fields.items() if value is not None}
    if ms is not None:
        data["ts"] = T0 + ms
    data["b"] = [[str(p), str(s)] for p, s in bids]
    data["a"] = [[str(p), str(s)] for p, s in asks]
    return {"t": f"book.{symbol}", "d": data}


def rest_body(u: int, bids: Sequence[Level], asks: Sequence[Level]) -> dict[str, Any]:
    return {
        "u": u,
        "b": [[str(p), str(s)] for p, s in bids],
        "a": [[str(p), str(s)] for p, s in asks],
    }
