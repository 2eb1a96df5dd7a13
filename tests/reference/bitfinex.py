"""Bitfinex WebSocket v2, after its documentation.

Where the documents are silent:

* Channel ids belong to a connection and to the ``subscribed`` event before them; a frame of an
  unknown id counts for the numbering only. A greeting (``info`` with ``version``) starts a new
  session on its connection: ids, numbering and books of the old one are gone.
* The first integer after the payload is the SEQ_ALL number, unless it is a time in ms (10^12 and
  more: TIMESTAMP without SEQ_ALL). The first number seen starts the count. A number that is not
  beyond the last one shows a repeated frame: all of it is silent. After a hole every live book of
  the connection is in gap until its next snapshot; one ``gap`` names no instrument.
* A line's ``sequence`` is the number of its frame, its time the trailing time if there is one.
* Raw books (``prec`` R0) list orders, not price levels, and funding symbols (``f...``) have other
  columns: both are ignored. So are ``fte``/``ftu``. BULK_UPDATES is never asked for.
* A list of lists is a snapshot, a list that starts with a number is one update; an empty list is
  an empty snapshot. Snapshot rows with COUNT 0 are no levels.
* A best bid that reaches the best ask after a message is a gap of that book.
* ``cs`` is compared as it comes, for live books. DERIV_PRICE is the middle of the book, not a last
  price: it is left out. SPOT_PRICE is the index.
* A liquidation row without a price (index 11) announces one and yields nothing. A long position
  (AMOUNT > 0) is closed by selling. POS_ID names the position, not the event: no id.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from itertools import zip_longest
from typing import Any

from .book import Book, Levels, Update, check, on_trusted
from .checksums import crc32
from .fields import (
    BadMessage,
    Record,
    book_records,
    needed,
    needed_integer,
    ns_of_ms,
    number,
    present,
    record,
)
from .venue import Venue
from .wire import touch

CHECKED_DEPTH = 25
FIRST_TIME = 10**12


@dataclass(frozen=True)
class Frame:
    """One array: its word (``te``, ``cs``, ...), payload, number and time (ns)."""

    tag: str | None
    payload: Any
    sequence: int | None
    time: int | None
    ts_recv: int | None


@dataclass(frozen=True)
class BookUpdate:
    """A book message, understood but not applied."""

    name: str
    update: Update
    is_snapshot: bool


@dataclass(frozen=True)
class Checksum:
    """What the venue says the best levels of a book come to."""

    name: str
    said: int


Act = list[Record] | BookUpdate | Checksum | None


@dataclass
class Session:
    """What one connection has said: channels by id, the last number, the books it feeds."""

    channels: dict[int, dict[str, Any]] = field(default_factory=dict)
    last: int | None = None
    books: set[str] = field(default_factory=set)


class Bitfinex(Venue):
    """Arrays routed by a channel id that only the ack explains."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.sessions: dict[str, Session] = {}

    def message(self, value: Any, ts_recv: int | None) -> list[Record]:
        """Records of one frame; heartbeats only count."""
        session = self.sessions.setdefault(self.conn, Session())
        if isinstance(value, dict):
            self._event(session, value)
            return []
        if not isinstance(value, list) or len(value) < 2 or not isinstance(value[0], Decimal):
            return []
        tag = value[1] if isinstance(value[1], str) else None
        payload = value[1] if tag is None else value[2] if len(value) > 2 else None
        sequence, time = _trailer(value[2:] if tag in (None, "hb") else value[3:])
        frame = Frame(tag, payload, sequence, time, ts_recv)
        channel = session.channels.get(int(value[0]))
        act = self._understood(channel, frame) if channel else None
        out: list[Record] = []
        if sequence is not None:
            if session.last is not None and sequence <= session.last:
                return []
            if session.last is not None and sequence != session.last + 1:
                out.append(self._lost(session, sequence, ts_recv))
            session.last = sequence
        if isinstance(act, list):
            return out + act
        if isinstance(act, BookUpdate):
            session.books.add(act.name)
            return out + self._apply(act, frame)
        if isinstance(act, Checksum):
            return out + self._compare(act, frame)
        return out

    def _event(self, session: Session, value: dict[str, Any]) -> None:
        event = value.get("event")
        if event == "subscribed":
            session.channels[needed_integer(value.get("chanId"))] = value
        elif event == "unsubscribed":
            session.channels.pop(needed_integer(value.get("chanId")), None)
        elif event == "info" and "version" in value:
            self._lose_books(session)
            self.sessions[self.conn] = Session()

    def _lose_books(self, session: Session) -> None:
        for name in session.books:
            if self.books[name].state == "live":
                self.books[name].state = "gap"

    def _lost(self, session: Session, got: int, ts_recv: int | None) -> Record:
        self._lose_books(session)
        assert session.last is not None
        return record(
            "status", None, None, ts_recv, event="gap", expected=session.last + 1, got=got
        )

    def _understood(self, channel: dict[str, Any], frame: Frame) -> Act:
        """What a frame asks for; raises before anything has changed when it is malformed."""
        kind = channel.get("channel")
        if frame.tag == "hb":
            return None
        if kind == "status":
            return self._status(channel, frame)
        symbol = channel.get("symbol")
        if not isinstance(symbol, str) or not symbol.startswith("t"):
            return None
        name = f"{self.name}:{symbol}"
        if kind == "trades":
            return _trades(name, frame)
        if kind == "ticker" and frame.tag is None:
            return _ticker(name, frame)
        if kind == "book" and channel.get("prec") != "R0":
            if frame.tag == "cs":
                return Checksum(name, needed_integer(frame.payload))
            return _book(name, frame) if frame.tag is None else None
        return None

    def _apply(self, act: BookUpdate, frame: Frame) -> list[Record]:
        book = self.books.setdefault(act.name, Book())
        out = on_trusted(book, act.update, act.is_snapshot)
        return book_records(act.name, out, frame.time, frame.ts_recv)

    def _compare(self, act: Checksum, frame: Frame) -> list[Record]:
        book = self.books.get(act.name)
        if book is None or book.state != "live":
            return []
        out = check(book, [], act.said, js_checksum(book))
        return book_records(act.name, out, frame.time, frame.ts_recv)

    def _status(self, channel: dict[str, Any], frame: Frame) -> Act:
        key, payload = channel.get("key"), frame.payload
        if not isinstance(key, str) or not isinstance(payload, list):
            return None
        if key.startswith("deriv:"):
            return _derivative(f"{self.name}:{key.removeprefix('deriv:')}", frame)
        if key == "liq:global":
            rows = [payload] if payload and not isinstance(payload[0], list) else payload
            found = [self._liquidation(row, frame) for row in rows]
            return [line for line in found if line is not None]
        return None

    def _liquidation(self, row: Any, frame: Frame) -> Record | None:
        if not isinstance(row, list) or len(row) < 12 or not isinstance(row[4], str):
            raise BadMessage("a liquidation is not as it must be")
        amount, price = needed(row[5]), number(row[11])
        if price is None:
            return None
        return record(
            "liquidation",
            f"{self.name}:{row[4]}",
            ns_of_ms(row[2]),
            frame.ts_recv,
            frame.sequence,
            price=price,
            size=abs(amount),
            side="sell" if amount > 0 else "buy",
            trade_id="",
        )


def _trailer(rest: list[Any]) -> tuple[int | None, int | None]:
    """(SEQ_ALL number, time in ns) of what stands behind the payload."""
    found = [int(item) for item in rest[:2] if isinstance(item, Decimal)]
    sequence = found[0] if found and found[0] < FIRST_TIME else None
    times = [item for item in found if item >= FIRST_TIME]
    return sequence, times[0] * 1_000_000 if times else None


def _trades(name: str, frame: Frame) -> Act:
    if frame.tag in ("te", "tu"):
        return [_trade(name, frame.payload, (), frame)]
    if frame.tag is None:
        return [_trade(name, row, ("replay",), frame) for row in _lists(frame.payload)]
    return None


def _trade(name: str, row: Any, flags: tuple[str, ...], frame: Frame) -> Record:
    if not isinstance(row, list) or len(row) < 4:
        raise BadMessage("a trade is not [ID, MTS, AMOUNT, PRICE]")
    amount = needed(row[2])
    return record(
        "trade",
        name,
        ns_of_ms(row[1]),
        frame.ts_recv,
        frame.sequence,
        flags,
        price=needed(row[3]),
        size=abs(amount),
        side="sell" if amount < 0 else "buy",
        trade_id=str(needed_integer(row[0])),
    )


def _ticker(name: str, frame: Frame) -> Act:
    row = frame.payload
    if not isinstance(row, list) or len(row) < 4:
        raise BadMessage("a ticker has fewer columns than a best bid and offer")
    sides = touch(*row[:4])
    return [record("quote", name, frame.time, frame.ts_recv, frame.sequence, **sides)]


def _derivative(name: str, frame: Frame) -> Act:
    row = frame.payload + [None] * 24
    deriv = present(
        mark=number(row[14]),
        index=number(row[3]),
        open_interest=number(row[17]),
        funding_rate=number(row[11]),
        predicted_funding=number(row[8]),
        next_funding=ns_of_ms(row[7]),
    )
    if not deriv:
        return []
    return [record("deriv", name, ns_of_ms(row[0]), frame.ts_recv, frame.sequence, **deriv)]


def _lists(payload: Any) -> list[list[Any]]:
    if not isinstance(payload, list) or not all(isinstance(row, list) for row in payload):
        raise BadMessage("a snapshot is not a list of lists")
    return payload


def _book(name: str, frame: Frame) -> Act:
    payload = frame.payload
    if not isinstance(payload, list):
        raise BadMessage("a book message is not a list")
    is_snapshot = not payload or isinstance(payload[0], list)
    sides: dict[str, Levels] = {"bids": [], "asks": []}
    for row in _lists(payload) if is_snapshot else [payload]:
        if len(row) < 3:
            raise BadMessage("a level is not [PRICE, COUNT, AMOUNT]")
        price, count, amount = (needed(item) for item in row[:3])
        if count == 0 and is_snapshot:
            continue
        side = sides["bids" if amount > 0 else "asks"]
        side.append((price, abs(amount) if count else Decimal(0)))
    update = Update(
        last=frame.sequence,
        bids=sides["bids"],
        asks=sides["asks"],
        source=(frame.time, frame.ts_recv),
    )
    return BookUpdate(name, update, is_snapshot)


def js_checksum(book: Book) -> int:
    """``bid:size:ask:-size:bid:...`` of the best 25; a missing level is left out."""
    bids, asks = book.levels()
    parts = []
    for bid, ask in zip_longest(bids[:CHECKED_DEPTH], asks[:CHECKED_DEPTH]):
        if bid is not None:
            parts += [js_number(bid[0]), js_number(bid[1])]
        if ask is not None:
            parts += [js_number(ask[0]), js_number(-ask[1])]
    return crc32(":".join(parts), signed=True)


def js_number(value: Decimal) -> str:
    """What JavaScript's ``String(number)`` writes for the nearest float64."""
    shortest = Decimal(repr(float(value)))
    if shortest == 0:
        return "0"
    sign, digits, exponent = shortest.normalize().as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits))
    point = len(text) + exponent  # digits before the decimal point
    minus = "-" if sign else ""
    if point > 21 or point <= -6:
        mantissa = text[0] + ("." + text[1:] if len(text) > 1 else "")
        return f"{minus}{mantissa}e{'+' if point > 0 else '-'}{abs(point - 1)}"
    if point <= 0:
        return f"{minus}0.{'0' * -point}{text}"
    if exponent >= 0:
        return minus + text + "0" * exponent
    return f"{minus}{text[:point]}.{text[point:]}"
