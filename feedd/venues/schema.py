"""The declarative form of a venue: what a file in ``feedd/venues/*.toml`` may say.

A venue is data: which messages exist, how to tell them apart, where each field is and how it is
written. ``feedd.decode.plan`` compiles it into key tables for the native engine. A *path* is a
dotted list of object keys (``"greeks.delta"``) inside one row of a channel's payload.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from feedd.venues.reference_schema import Reference
from feedd.venues.session_schema import Session

__all__ = [
    "Book",
    "Channel",
    "Decode",
    "Deriv",
    "Envelope",
    "Field",
    "FlagRule",
    "Greeks",
    "Level",
    "Liquidation",
    "Path",
    "Quote",
    "RestDepth",
    "RowFilter",
    "SideRule",
    "Trade",
    "Venue",
]

Path = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Policy = Literal["none_full", "prev_link", "prev_link_rest", "range_plus_one_rest"]
TimeUnit = Literal["s", "ms", "us", "ns"]


class _Base(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Field(_Base, frozen=True, kw_only=True):
    """A number whose decimal point moves: ``{ path = "mark_iv", shift = -2 }`` is a percentage."""

    path: Path
    shift: Annotated[int, msgspec.Meta(ge=-18, le=18)] = 0
    zero_absent: bool = False
    """Zero means that the venue has no value."""


Number = Path | Field


class SideRule(_Base, frozen=True, kw_only=True):
    """The aggressor's side: the value at ``path``, as text, is one of ``buy`` or of ``sell``."""

    path: Path
    buy: tuple[str, ...]
    sell: tuple[str, ...]


class FlagRule(_Base, frozen=True, kw_only=True):
    """Trade flags; each is set when the value at its path is there and not false, "" or null."""

    liquidation: Path | None = None
    block: Path | None = None
    combo: Path | None = None


class Trade(_Base, frozen=True, kw_only=True):
    price: Number
    size: Number
    side: SideRule | None = None
    id: Path | None = None
    sequence: Path | None = None
    flags: FlagRule = FlagRule()
    block: bool = False
    """Every trade of the channel is a block trade."""


class Liquidation(Trade, frozen=True, kw_only=True):
    pass


class Quote(_Base, frozen=True, kw_only=True):
    """Best bid and offer; a side without price or with size zero is missing."""

    bid_price: Number
    bid_size: Number
    ask_price: Number
    ask_size: Number
    sequence: Path | None = None


class Deriv(_Base, frozen=True, kw_only=True):
    mark: Number | None = None
    index: Number | None = None
    last: Number | None = None
    open_interest: Number | None = None
    funding_rate: Number | None = None
    predicted_funding: Number | None = None
    settlement: Number | None = None
    next_funding: Path | None = None


class Greeks(_Base, frozen=True, kw_only=True):
    """Zero volatilities are absent. A message with ``mark`` alone has no greeks."""

    delta: Number | None = None
    gamma: Number | None = None
    vega: Number | None = None
    theta: Number | None = None
    rho: Number | None = None
    mark_iv: Number | None = None
    bid_iv: Number | None = None
    ask_iv: Number | None = None
    underlying: Number | None = None
    mark: Number | None = None


class Level(_Base, frozen=True, kw_only=True):
    """Positions inside one level array."""

    price: Annotated[int, msgspec.Meta(ge=0, le=7)] = 0
    size: Annotated[int, msgspec.Meta(ge=0, le=7)] = 1


class RestDepth(_Base, frozen=True, kw_only=True):
    """The REST snapshot that starts a book; ``{symbol}`` and ``{limit}`` in ``url``."""

    url: str
    id: Path
    bids: Path
    asks: Path
    time: tuple[Path, ...] = ()
    symbol: Path | None = None
    """Where a body names its instrument, if it does."""
    limit: int = 1000


class Book(_Base, frozen=True, kw_only=True):
    """An order book channel and the rule that keeps it whole.

    ``none_full``: every message is the whole (partial) book.
    ``prev_link``: ``previous`` equals the last ``current``; the snapshot comes in the stream.
    ``prev_link_rest``: ``previous`` equals the last ``current``; the snapshot comes from REST and
    joins at ``first <= id <= current`` or ``previous == id``.
    ``range_plus_one_rest``: ``first <= last + 1 <= current``; REST snapshot, joined the same way.
    """

    policy: Policy
    current: Path
    previous: Path | None = None
    first: Path | None = None
    bids: Path
    asks: Path
    level: Level = Level()
    type: Path | None = None
    snapshot_type: str | None = None
    delta_type: str | None = None
    snapshot_previous: tuple[Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)], ...] = ()
    """Values of ``previous`` that mark a snapshot; a missing one does unless ``delta_type`` says
    otherwise."""
    rest: RestDepth | None = None
    resync: Literal["resubscribe", "rest", "none"] = "none"
    rank: Annotated[int, msgspec.Meta(ge=0, le=9)] = 5
    """Which channel owns the book of an instrument that comes on several: the lowest rank."""


class Envelope(_Base, frozen=True, kw_only=True):
    """Where the topic and the payload of a message are; tried in the order of the file."""

    topic: Path | None = None
    payload: str = ""
    """Path of the payload; "" is the whole message."""
    match: Literal["topics", "events"] = "topics"
    """Which list of a channel the topic is compared with."""
    channel: str | None = None
    """Without a topic: the channel that the whole message is tried as."""


class RowFilter(_Base, frozen=True, kw_only=True):
    """Rows of another product in one stream: a row whose value at ``path`` is there and not one of
    ``values`` is passed over."""

    path: Path
    values: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=4)]


class Decode(_Base, frozen=True, kw_only=True):
    envelopes: tuple[Envelope, ...]
    delimiters: str = "."
    """Bytes that a placeholder of a topic pattern cannot hold."""
    control_topics: tuple[str, ...] = ()
    control_events: tuple[str, ...] = ()
    symbol_case: Literal["as_is", "upper"] = "as_is"
    """What turns the symbol of a topic into the venue's spelling."""
    only: RowFilter | None = None
    future_ms_max: Annotated[int, msgspec.Meta(ge=0, le=31_622_400_000)] = 5_000
    """An event time this far ahead of the receive time is flagged BAD_TS."""


class Channel(_Base, frozen=True, kw_only=True):
    """One kind of message and the records that it yields."""

    topics: tuple[str, ...] = ()
    """Patterns: ``{symbol}`` and other ``{placeholders}`` stand for text without delimiters."""
    events: tuple[str, ...] = ()
    subscribe: str | dict[str, Any] | None = None
    """Topic to subscribe to: ``{symbol}``, ``{symbol_lower}``, and options such as ``{interval}``;
    a table becomes one JSON argument. Absent: the channel is understood but not offered in the
    configuration."""
    options: dict[str, str] = {}
    """Defaults of the placeholders of ``subscribe``."""
    kinds: tuple[str, ...] = ()
    """Kinds of instruments that have this channel (``"perpetual"``); empty: all of them."""
    payload: Literal["object", "rows", "either"] = "object"
    symbol: Path | None = None
    """Path of the symbol in a row; absent: the ``{symbol}`` of the topic."""
    time: tuple[Path, ...] = ()
    """Paths of the event time, first found counts."""
    time_unit: TimeUnit = "ms"
    trade: Trade | None = None
    liquidation: Liquidation | None = None
    quote: Quote | None = None
    book: Book | None = None
    deriv: Deriv | None = None
    greeks: Greeks | None = None


class Venue(_Base, frozen=True, kw_only=True):
    schema: Literal[1]
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]*$", max_length=24)]
    title: str
    documents: tuple[str, ...] = ()
    rest_url: str
    """Base of every REST address of this file."""
    decode: Decode
    channels: dict[str, Channel]
    session: Session
    reference: Reference | None = None
