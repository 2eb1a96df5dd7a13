"""Journal text of what a message must yield: decimal text, straight from the generator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

MS = 1_000_000
"""Nanoseconds. Times are venue milliseconds, and ``extra_ns`` where a venue gives more."""


def levels_text(levels: Iterable[tuple[str, str]]) -> str:
    """``[["61800.30","0.5"],...]`` of (price, size) texts."""
    return "[" + ",".join([f'["{price}","{size}"]' for price, size in levels]) + "]"


def book(
    instrument: str, action: str, sequence: int | str, ts_ms: int, bids: str, asks: str,
    extra_ns: int = 0,
) -> str:  # fmt: skip
    """A book event; ``bids`` and ``asks`` come from levels_text, ``sequence`` may be "null"."""
    return (
        f'{{"kind":"book","instrument":"{instrument}","action":"{action}","sequence":{sequence},'
        f'"ts_event":{ts_ms * MS + extra_ns},"bids":{bids},"asks":{asks}}}'
    )


def trade(
    instrument: str, price: str, size: str, buy: bool, trade_id: str, sequence: str, ts_ms: int,
    flags: str = "", extra_ns: int = 0,
) -> str:  # fmt: skip
    """A trade event; ``buy`` is the aggressor's side, ``sequence`` a number's text or "null"."""
    side = "buy" if buy else "sell"
    extra = f',"flags":["{flags}"]' if flags else ""
    return (
        f'{{"kind":"trade","instrument":"{instrument}","price":"{price}","size":"{size}",'
        f'"side":"{side}","trade_id":"{trade_id}","sequence":{sequence},'
        f'"ts_event":{ts_ms * MS + extra_ns}{extra}}}'
    )


def liquidation(
    instrument: str, price: str, size: str, buy: bool, ts_ms: int, order_id: str = ""
) -> str:
    """A liquidation event; ``buy`` is the side of the liquidation order."""
    side = "buy" if buy else "sell"
    return (
        f'{{"kind":"liquidation","instrument":"{instrument}","price":"{price}","size":"{size}",'
        f'"side":"{side}","trade_id":"{order_id}","sequence":null,"ts_event":{ts_ms * MS}}}'
    )


def quote(
    instrument: str, bid: tuple[str, str] | None, ask: tuple[str, str] | None, sequence: str,
    ts_ms: int, extra_ns: int = 0,
) -> str:  # fmt: skip
    """A quote event from (price, size) texts; a missing side is null."""
    bid_text = f'"{bid[0]}","bid_size":"{bid[1]}"' if bid else 'null,"bid_size":null'
    ask_text = f'"{ask[0]}","ask_size":"{ask[1]}"' if ask else 'null,"ask_size":null'
    return (
        f'{{"kind":"quote","instrument":"{instrument}","bid_price":{bid_text},'
        f'"ask_price":{ask_text},"sequence":{sequence},"ts_event":{ts_ms * MS + extra_ns}}}'
    )


def values(
    kind: str, instrument: str, ts_ms: int, fields: Mapping[str, str], next_funding_ms: int = 0
) -> str:
    """A deriv or greeks event with the fields it carries (decimal text)."""
    text = "".join([f',"{key}":"{value}"' for key, value in fields.items()])
    if next_funding_ms:
        text = f'{text},"next_funding":{next_funding_ms * MS}'
    return (
        f'{{"kind":"{kind}","instrument":"{instrument}","sequence":null,'
        f'"ts_event":{ts_ms * MS}{text}}}'
    )
