"""The declarative form of a venue: what a file in ``feedd/venues/*.toml`` may say.

A venue is data: which messages exist, how to tell them apart, where each field is and how it is
written. ``feedd.decode.plan`` compiles it into key tables for the native engine. A *path* is a
dotted list of object keys (``"greeks.delta"``) inside one row of a channel's payload; a step that
is a number is a position in an array (``"bbo.0.px"``). ``"@.action"`` starts at the root of the
message, ``"^.instId"`` at the row around a nested one (see ``Channel.each``), ``"."`` is the
payload itself where that is a single value.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from feedd.venues.reference_schema import Reference
from feedd.venues.session_schema import Session

__all__ = [
    "Book",
    "Channel",
    "Checksum",
    "ChecksumMessage",
    "ConnectionSequence",
    "Decode",
    "Depth",
    "Deriv",
    "Envelope",
    "Field",
    "FlagRule",
    "Greeks",
    "Learn",
    "Level",
    "LevelSide",
    "Liquidation",
    "Path",
    "Quote",
    "RestDepth",
    "RowFilter",
    "SideRule",
    "State",
    "StateRule",
    "TimeField",
    "Trade",
    "Venue",
]

Path = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Policy = Literal[
    "none_full",
    "prev_link",
    "prev_link_rest",
    "range_plus_one",
    "range_plus_one_rest",
    "plus_one",
    "checksum_only",
    "keyed_rows",
    "trust_tcp",
]
TimeUnit = Literal["s", "ms", "us", "ns", "rfc3339"]
Texts = Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=8)]


class _Base(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Field(_Base, frozen=True, kw_only=True):
    """A number whose decimal point moves: ``{ path = "mark_iv", shift = -2 }`` is a percentage."""

    path: Path
    shift: Annotated[int, msgspec.Meta(ge=-18, le=18)] = 0
    zero_absent: bool = False
    """Zero means that the venue has no value."""
    negative_absent: bool = False
    """A number below zero means that the venue has no value (Binance options: IV -1.0)."""
    magnitude: bool = False
    """The sign says something else (the side of a trade): it is dropped."""


Number = Path | Field


class RowFilter(_Base, frozen=True, kw_only=True):
    """The value at ``path``, as text, is one of ``values``; numbers, true and false as written."""

    path: Path
    values: Texts


class SideRule(_Base, frozen=True, kw_only=True):
    """The aggressor's side: the value at ``path``, as text, is one of ``buy`` or of ``sell``;
    with ``sign`` it is a number whose sign is the side, positive a buy (a sell if ``inverted``:
    the size of a position that is closed)."""

    path: Path
    buy: tuple[str, ...] = ()
    sell: tuple[str, ...] = ()
    sign: bool = False
    inverted: bool = False


Either = Annotated[tuple[Path, ...], msgspec.Meta(min_length=2, max_length=2)]


class FlagRule(_Base, frozen=True, kw_only=True):
    """Trade flags. A path: set when the value there is there and not false, "" or null. A filter:
    set when the value there is one of its values. Two paths: set when either is."""

    liquidation: Path | RowFilter | Either | None = None
    block: Path | RowFilter | Either | None = None
    combo: Path | RowFilter | Either | None = None

    def rules(self) -> list[tuple[Path | RowFilter, ...]]:
        """What sets each flag, in the order of the fields."""
        values = (getattr(self, name) for name in self.__struct_fields__)
        return [
            value if isinstance(value, tuple) else () if value is None else (value,)
            for value in values
        ]


class TimeField(_Base, frozen=True, kw_only=True):
    """A time whose unit is not that of the channel."""

    path: Path
    unit: TimeUnit


class Trade(_Base, frozen=True, kw_only=True):
    price: Number
    size: Number
    side: SideRule | None = None
    id: Path | None = None
    sequence: Path | None = None
    flags: FlagRule = FlagRule()
    block: bool = False
    """Every trade of the channel is a block trade."""
    replay: bool | RowFilter | Literal["rows", "first"] = False
    """Trades of the past, sent on subscription: all of the channel, those that a filter names,
    those of a message that is a list of rows (one trade alone is news), or, where nothing marks
    them, those of the first message of a stream on a connection that are older than a second."""


class Liquidation(Trade, frozen=True, kw_only=True):
    pass


class Quote(_Base, frozen=True, kw_only=True):
    """Best bid and offer; a side without price or with size zero is missing."""

    bid_price: Number
    bid_size: Number
    ask_price: Number
    ask_size: Number
    sequence: Path | None = None
    optional: bool = False
    """A row that lacks one of the four fields is no quote (else the message is malformed). A null
    field, or one of an array that is too short, is a missing side in either case."""


class Deriv(_Base, frozen=True, kw_only=True):
    mark: Number | None = None
    index: Number | None = None
    last: Number | None = None
    open_interest: Number | None = None
    funding_rate: Number | None = None
    predicted_funding: Number | None = None
    settlement: Number | None = None
    next_funding: Path | TimeField | None = None


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


Member = Annotated[int, msgspec.Meta(ge=0, le=15)] | Path


class LevelSide(_Base, frozen=True, kw_only=True):
    """The side of a level of a mixed list: a text, or the sign of a number (positive is a bid)."""

    at: Member
    bid: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    sign: bool = False


class Level(_Base, frozen=True, kw_only=True):
    """One level: an array (members are positions), an object (keys), or with ``Book.rows`` a whole
    row of the payload (paths)."""

    price: Member = 0
    size: Member = 1
    side: LevelSide | None = None
    count: Member | None = None
    """Number of orders: zero deletes the level, whatever its size says."""
    id: Path | None = None
    """Key of the level with ``policy = "keyed_rows"``; later rows may leave the price out."""


class Checksum(_Base, frozen=True, kw_only=True):
    """CRC-32 over the text of the best levels, after every message that carries one.

    Kraken: unsigned, asks then bids, no separator, digits only. OKX and Bitget (old form): signed,
    bid and ask in turn, ``:`` between. Bitfinex: the same with numbers as JavaScript prints them
    and negative ask sizes, in messages of their own (see ``ChecksumMessage``).
    """

    path: Path | None = None
    """In the book message; absent: only separate messages carry it."""
    signed: bool = False
    levels: Annotated[int, msgspec.Meta(ge=1, le=100)] = 25
    order: Literal["asks_then_bids", "interleaved"] = "interleaved"
    join: Annotated[str, msgspec.Meta(max_length=1)] = ":"
    digits_only: bool = False
    """Without the decimal point and without leading zeros."""
    number: Literal["as_sent", "javascript"] = "as_sent"
    negative_asks: bool = False
    zero_is_none: bool = False
    """The venue sends 0 where it computes none."""


class StateRule(_Base, frozen=True, kw_only=True):
    """What the instrument is when all of this holds: the value at each path, as text, is one of the
    texts; numbers, true and false as written."""

    value: Literal["active", "halted", "settling", "expired", "pre"]
    when: Annotated[dict[Path, str | Texts], msgspec.Meta(min_length=1)]


class State(_Base, frozen=True, kw_only=True):
    """What the venue says of an instrument itself: listed, halted, settled, ended.

    The first rule that holds counts; a word for which none does is reported as unknown, never
    guessed. A row without the word says nothing of the status.
    """

    word: Path | None = None
    """The venue's own word, shown as it is. None: the channel tells of facts alone."""
    status: tuple[StateRule, ...] = ()
    partial: bool = False
    """What makes an instrument active here is not all that has to hold (the list has flags that the
    channel does not): then the list is asked for and decides."""
    facts: tuple[Path, ...] = ()
    """Values of a row whose change (tick size, lot, expiry) means that the list of instruments has
    to be asked for again. Only where every row has all of them."""


class ChecksumMessage(_Base, frozen=True, kw_only=True):
    """A message whose only content is the checksum of the book named by ``same_stream_as``."""

    path: Path = "."


class Depth(_Base, frozen=True, kw_only=True):
    """A book cut to the subscribed depth after each message, without deletes for what falls out.

    The depth comes from the answer to the subscription: ``depth`` and ``symbol`` are paths in a
    control message; without one it is the least of ``values`` that holds the snapshot.
    """

    values: Annotated[tuple[int, ...], msgspec.Meta(min_length=1, max_length=8)]
    depth: str | None = None
    symbol: str | None = None


class RestDepth(_Base, frozen=True, kw_only=True):
    """The REST snapshot that starts a book; ``{symbol}`` (or ``{symbol_lower}``) and ``{limit}`` in
    ``url``."""

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
    ``prev_link``: ``previous`` equals the last ``current``; the snapshot comes in the stream. Equal
    numbers without levels keep alive; a lower ``current`` behind the right ``previous`` is a reset.
    ``prev_link_rest``: ``previous`` equals the last ``current``; the snapshot comes from REST and
    joins at ``first <= id <= current`` or ``previous == id``.
    ``range_plus_one``: ``first == last + 1``; the snapshot comes in the stream.
    ``range_plus_one_rest``: ``first <= last + 1 <= current``; REST snapshot, joined the same way.
    ``plus_one``: ``current == last + 1`` per instrument; the snapshot comes in the stream.
    ``checksum_only``: no numbers, a checksum on every message.
    ``keyed_rows``: no numbers; every row has an id, and a change of an unknown id is a gap.
    ``trust_tcp``: no numbers; order and completeness of the connection (see
    ``Decode.connection_sequence``), a crossed book is a gap.
    """

    policy: Policy
    current: Path | None = None
    previous: Path | None = None
    first: Path | None = None
    bids: Path | None = None
    asks: Path | None = None
    levels: Path | None = None
    """One list for both sides; ``level.side`` tells them apart."""
    rows: bool = False
    """Every row of the payload is one level; rows of one instrument are one event."""
    level: Level = Level()
    sides_optional: bool = False
    """A message without levels is an empty change, not a malformed one."""
    type: Path | None = None
    snapshot_type: str | Texts | None = None
    delta_type: str | Texts | None = None
    insert_type: str | Texts | None = None
    """With ``keyed_rows``: types whose rows bring ids that were not there; those of ``delta_type``
    change known ones."""
    delete_type: str | Texts | None = None
    """Types whose levels are deleted, whatever their size."""
    type_optional: bool = False
    """A message without a type is a change."""
    snapshot: Literal["type", "always", "rows"] = "type"
    """``always``: every message of the channel is one; ``rows``: a payload that is a list of rows
    is one, a single row is a change."""
    snapshot_previous: tuple[Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)], ...] = ()
    """Values of ``previous`` that mark a snapshot; a missing one does unless ``delta_type`` says
    otherwise."""
    snapshot_reset: bool = False
    """A snapshot replaces the book also when its number is lower than the last one, if its time is
    newer: the venue's numbering started over."""
    rest: RestDepth | None = None
    resync: Literal["resubscribe", "rest", "reconnect", "none"] = "none"
    rank: Annotated[int, msgspec.Meta(ge=0, le=9)] = 5
    """Which channel owns the book of an instrument that comes on several: the lowest rank."""
    checksum: Checksum | None = None
    depth: Depth | None = None


class Learn(_Base, frozen=True, kw_only=True):
    """Channel numbers that a venue hands out per connection (Bitfinex ``chanId``).

    A control message for which every filter of ``when`` holds says that the number at ``id`` means
    ``topic``, a text with ``{path}`` placeholders (a missing value is empty); ``forget`` names the
    messages that take it back.
    """

    when: Annotated[tuple[RowFilter, ...], msgspec.Meta(min_length=1, max_length=4)]
    forget: tuple[RowFilter, ...] = ()
    id: Path
    topic: str
    except_prefix: RowFilter | None = None
    """Not learned when the value there starts with one of these texts; such messages are only
    counted."""
    restart: Path | None = None
    """A control message with a value here opens a session on its connection: what was learned,
    counted and kept of the one before is void."""


class ConnectionSequence(_Base, frozen=True, kw_only=True):
    """One counter over all messages of a connection, acks and heartbeats included: plus one each.

    A jump is a gap of every book of the connection; a number that was there before drops the
    message. ``first`` is what a new connection starts with.
    """

    path: Path
    first: int


class Envelope(_Base, frozen=True, kw_only=True):
    """Where the topic and the payload of a message are; tried in the order of the file."""

    topic: Path | None = None
    """A text; where it is a number, what ``Decode.learn`` says that it means."""
    payload: str = ""
    """Path of the payload; "" is the whole message."""
    match: Literal["topics", "events", "names"] = "topics"
    """Which list of a channel the topic is compared with."""
    channel: str | None = None
    """Without a topic: the channel that the whole message is tried as."""
    when: RowFilter | None = None
    """A message for which this does not hold is control, not data (an ack on a data channel)."""
    control_if: Path | None = None
    """``@.`` path of a value that only control messages have."""
    tagged: bool = False
    """The message is an array; a text where the payload should be is a tag that moves the payload
    and all that is behind it up by one (Bitfinex: ``[17, "te", [...]]``). The tag is appended to
    the topic, behind the first of the delimiters."""
    bare_tags: Annotated[tuple[str, ...], msgspec.Meta(max_length=4)] = ()
    """Tags without a payload: signs of life, passed over."""
    without_payload: Literal["malformed", "control"] = "malformed"
    """What a message with a topic but without the payload is."""


class Decode(_Base, frozen=True, kw_only=True):
    envelopes: tuple[Envelope, ...]
    delimiters: str = "."
    """Bytes that a placeholder of a topic pattern cannot hold."""
    control_topics: tuple[str, ...] = ()
    control_events: tuple[str, ...] = ()
    symbol_to_end: bool = False
    """A symbol at the end of a topic may hold delimiters (Bybit: ``XRP-26DEC25-0.5-C``)."""
    symbol_case: Literal["as_is", "upper"] = "as_is"
    """What turns the symbol of a topic into the venue's spelling."""
    only: RowFilter | None = None
    """Rows of another product in one stream: a row whose value at the path is there and not one of
    the values is passed over."""
    connection_sequence: ConnectionSequence | None = None
    learn: Learn | None = None
    future_ms_max: Annotated[int, msgspec.Meta(ge=0, le=31_622_400_000)] = 5_000
    """An event time this far ahead of the receive time is flagged BAD_TS."""


class Channel(_Base, frozen=True, kw_only=True):
    """One kind of message and the records that it yields."""

    topics: tuple[str, ...] = ()
    """Patterns: ``{symbol}`` and other ``{placeholders}`` stand for text without delimiters."""
    events: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """A third list of patterns, for venues with two forms of messages (see ``Envelope.match``)."""
    same_stream_as: str | None = None
    """The channel whose stream this one belongs to: its snapshots have a topic of their own."""
    same_messages_as: str | None = None
    """The channel whose messages these are in every respect (a faster form of it): they are decoded
    as that one's, so that one subscribes to either of the two. The file says no more of it than how
    it is subscribed; an endpoint of its own keeps it off the connections of the others."""
    subscribe: str | dict[str, Any] | None = None
    """Topic to subscribe to: ``{symbol}``, ``{symbol_lower}``, and options such as ``{interval}``;
    a table becomes one JSON argument. Absent: the channel is understood but not offered in the
    configuration."""
    options: dict[str, str | dict[str, str]] = {}
    """Defaults of the placeholders of ``subscribe``: a text, or a table that tells it from what an
    instrument is: ``{ by = "quote", USDT = "USDT-FUTURES", "*" = "COIN-FUTURES" }`` with the facts
    kind, base, quote, settle, underlying and expiry. A text may hold ``{symbol}`` and facts itself
    (the index of a spot pair is called like the pair, that of a future like its underlying)."""
    kinds: tuple[str, ...] = ()
    """Kinds of instruments that have this channel (``"perpetual"``); empty: all of them."""
    payload: Literal["object", "rows", "either", "value"] = "object"
    """One row, a list of rows, either of them, or a single value; a row is an object or array."""
    each: Path | None = None
    """A list inside each row of the payload whose elements are the rows meant; fields of the row
    around them are ``^.`` paths."""
    only: Path | RowFilter | None = None
    """Rows for which this does not hold, or that lack the value, are passed over."""
    symbol: Path | None = None
    """Path of the symbol in a row; absent: the ``{symbol}`` of the topic."""
    symbol_pattern: str | None = None
    """What is around the symbol there: ``"ob.{symbol}.{levels}"``."""
    symbol_of_none: Path | None = None
    """``@.`` path of the symbol in a message without rows, where rows are levels: an empty book."""
    time: tuple[Path | TimeField, ...] = ()
    """Paths of the event time, first found counts."""
    time_unit: TimeUnit = "ms"
    trade: Trade | None = None
    liquidation: Liquidation | None = None
    quote: Quote | None = None
    book: Book | None = None
    deriv: Deriv | None = None
    greeks: Greeks | None = None
    checksum: ChecksumMessage | None = None
    state: State | None = None


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

    def decoded(self, channel: str) -> str:
        """The channel as which the messages of a subscribed one are decoded; mostly its own."""
        return self.channels[channel].same_messages_as or channel
