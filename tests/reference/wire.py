"""Readers for what several venues write alike: missing quote sides, sides of trades, seconds."""

from __future__ import annotations

from typing import Any

from .fields import number, text


def ns_of_s(value: Any) -> int | None:
    """Venue seconds to ns; 0 and absent both mean: no time given."""
    parsed = number(value)
    return int(parsed * 1_000_000_000) if parsed else None


def touch(bid: Any, bid_size: Any, ask: Any, ask_size: Any) -> dict[str, Any]:
    """The four fields of a quote. A side without price, or with size zero, is a missing one."""
    out: dict[str, Any] = {}
    for side, price_value, size_value in (("bid", bid, bid_size), ("ask", ask, ask_size)):
        price, size = number(price_value), number(size_value)
        missing = price is None or size == 0 or (price == 0 and size is None)
        out[f"{side}_price"] = None if missing else price
        out[f"{side}_size"] = None if missing else size
    return out


def symbol_of(row: Any, key: str) -> str:
    """The symbol that a row must name."""
    return text(row.get(key) if isinstance(row, dict) else None)


def lower_side(value: Any) -> str:
    """``buy`` or ``sell`` as the venue said in any case, else ``unknown``."""
    side = value.lower() if isinstance(value, str) else ""
    return side if side in ("buy", "sell") else "unknown"
