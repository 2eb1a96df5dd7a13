"""Messages of which only the numbers are read: the same records as of messages read in full."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from feedd import venues
from feedd.decode.plan import compile_plan
from feedd.decode.probe import is_padded
from feedd.pipeline.core import Pipeline
from feedd.shm.board import BoardReader, BoardWriter
from feedd.shm.books import BooksReader, BooksWriter
from feedd.shm.ring import RingReader, RingWriter
from tests.fixtures.sessions import SESSIONS

VENUES = sorted(set(SESSIONS) & set(venues.names()))
ROWS = 64
MAYBE_BAD_BOOK = 4
T0 = 1_723_111_111_000_000_000

QUOTE = (
    b'{"stream":"%s@bookTicker","data":{"e":"bookTicker","u":%d,"s":"%s","b":"%s","B":"%s",'
    b'"a":"%s","A":"%s","T":%d,"E":%d}}'
)
TRADE = (
    b'{"stream":"%s@aggTrade","data":{"e":"aggTrade","E":%d,"a":%d,"s":"%s","p":"%s","q":"%s",'
    b'"f":1,"l":2,"T":%d,"m":%s}}'
)


class Side:
    """A pipeline with these instructions; ``portable`` ones read every message in full."""

    def __init__(self, venue: str, isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patch:
            patch.setenv("FEEDD_ISA", isa)
            plan = compile_plan(venues.load(venue))
        self.ring = RingWriter.private(1 << 14)
        self.board = BoardWriter.private(ROWS)
        self.books = BooksWriter.private([64] * ROWS)
        self.pipeline = Pipeline(self.ring, self.board, self.books)
        self.handle = self.pipeline.add_venue(plan)
        self.symbols: list[str] = []
        self.refused: set[str] = set()
        self.pipeline.on_unknown(self._name)
        self._reader = RingReader(self.ring, start="oldest")
        self.flags: list[int] = []

    def _name(self, _venue: int, symbol: str) -> tuple[int, int, int] | None:
        if symbol in self.refused:
            return None
        self.symbols.append(symbol)
        row = len(self.symbols) - 1
        return row, row if row < ROWS else -1, 64

    def send(self, data: bytes, t: int, line: int) -> tuple[int, bytes]:
        """The result and the records, but for how long they took."""
        result = self.pipeline.on_message(self.handle, data, t, line)
        self.pipeline.commit()
        found = []
        while len(records := self._reader.read(4096)):
            records = records.copy()
            records["publish_delta_ns"] = 0
            self.flags += [int(flags) for flags in records["flags"]]
            found.append(records.tobytes())
        return result, b"".join(found)

    @property
    def quick(self) -> int:
        return self.pipeline.quick_reads(self.handle)


def shown(books: BooksReader, row: int) -> tuple[object, ...]:
    top = books.top(row)
    return (
        top.instrument, top.state, top.ring_pos, top.sequence, top.ts_event, top.ts_recv,
        top.bids.tolist(), top.asks.tolist(), top.levels_total,
    )  # fmt: skip


class Both:
    def __init__(self, venue: str, monkeypatch: pytest.MonkeyPatch, isa: str = "") -> None:
        self.fast = Side(venue, isa, monkeypatch)
        self.full = Side(venue, "portable", monkeypatch)
        self.t = T0

    def send(self, data: bytes, line: int = 0, step: int = 1000) -> bytes:
        self.t += step
        fast, full = (side.send(data, self.t, line) for side in (self.fast, self.full))
        assert fast == full, data
        return fast[1]

    def refuse(self, symbol: str) -> None:
        self.fast.refused.add(symbol)
        self.full.refused.add(symbol)

    def check(self) -> None:
        boards = [BoardReader(side.board).snapshot() for side in (self.fast, self.full)]
        assert boards[0].tobytes() == boards[1].tobytes()
        books = [BooksReader(side.books) for side in (self.fast, self.full)]
        for row in range(min(len(self.fast.symbols), ROWS)):
            assert shown(books[0], row) == shown(books[1], row)
        assert self.fast.pipeline.counters() == self.full.pipeline.counters()
        assert self.full.quick == 0

    def check_deep(self, row: int = 0) -> None:
        """As ``check``, and the whole shared book of one instrument."""
        self.check()
        found = []
        for side in (self.fast, self.full):
            side.pipeline.flush()
            view = BooksReader(side.books).deep(row)
            found.append((view.bids.tolist(), view.asks.tolist()))
        assert found[0] == found[1]


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Both:
    found = Both("binance_usdm", monkeypatch)
    warm(found)
    if found.fast.quick == 0:
        pytest.skip("this processor has no vector instructions that layouts need")
    return found


def quote(
    number: int, symbol: bytes = b"BTCUSDT", bid: bytes = b"61000.10", size: bytes = b"2.500",
    ask: bytes = b"61000.20", ask_size: bytes = b"1.004", t: int = T0 // 1_000_000,
    topic: bytes = b"",
) -> bytes:  # fmt: skip
    return QUOTE % (topic or symbol.lower(), number, symbol, bid, size, ask, ask_size, t, t)


def trade(
    number: int, symbol: bytes = b"BTCUSDT", price: bytes = b"61000.10", size: bytes = b"0.250",
    maker: bytes = b"true", t: int = T0 // 1_000_000,
) -> bytes:  # fmt: skip
    return TRADE % (symbol.lower(), t, number, symbol, price, size, t, maker)


def warm(both: Both) -> None:
    for i in range(8):
        both.send(quote(400000000 + i))
        both.send(trade(7000000 + i))
        both.send(trade(7000100 + i, maker=b"false"))


def test_quotes_and_trades_are_read_quickly_from_the_fourth_on(both: Both) -> None:
    before = both.fast.quick
    for i in range(100):
        assert both.send(quote(400001000 + i, bid=b"6%04d.%02d" % (i, i)))
        assert both.send(trade(8000000 + i, size=b"0.%03d" % i))
    assert both.fast.quick == before + 200
    both.check()


@pytest.mark.parametrize(
    "data",
    [
        quote(400000999, size=b"0.000"),  # no bid
        quote(400000999, ask=b"00000.20"),
        quote(400000003),  # an old number
        quote(400000999, b"ETHUSDT"),  # another symbol, never seen
        quote(400000999, b"ETHUSDT", topic=b"btcusdt"),
        quote(400000999, topic=b"ethusdt"),
        quote(400000999, bid=b"6100a.10"),
        quote(400000999, bid=b'6100".10'),
        quote(400000999, t=9_999_999_999_999),  # in the future
        quote(400000999, t=1_000_000_000_000),  # before there were coins
        quote(400000999)[:-1],
        quote(400000999) + b" ",
        quote(400000999).replace(b"bookTicker", b"bookTicked", 1),
        quote(400000999).replace(b'"bookTicker","u"', b'"bookTicked","u"'),
        trade(7000003),  # a number that came before
        trade(7000999, maker=b"null"),
        trade(7000999, size=b"0.000"),
        trade(7000999, price=b"00000.10"),
        trade(7000999, t=9_999_999_999_999),
        trade(7000999, b"ETHUSDT"),
    ],
)
def test_what_means_something_else_is_read_in_full(both: Both, data: bytes) -> None:
    for _ in range(5):
        both.send(data)
        both.send(quote(400002000 + both.t % 1000))
    both.check()


def test_a_symbol_that_is_not_wanted_makes_no_records(both: Both) -> None:
    both.refuse("XRPUSDT")
    for i in range(5):
        assert both.send(quote(400002000 + i, b"XRPUSDT")) == b""
    both.check()


def test_the_state_of_the_book_is_in_the_flags(both: Both) -> None:
    depth = {"e": "depthUpdate", "E": T0 // 1_000_000, "T": T0 // 1_000_000, "s": "BTCUSDT",
             "U": 5, "u": 6, "pu": 4, "b": [["61000.10", "1"]], "a": []}  # fmt: skip
    both.send(orjson.dumps({"stream": "btcusdt@depth@100ms", "data": depth}))
    for side in (both.fast, both.full):
        body = {"lastUpdateId": 5, "bids": [["61000.10", "1"]], "asks": [["61000.20", "1"]]}
        side.pipeline.on_rest_snapshot(side.handle, "BTCUSDT", orjson.dumps(body), both.t, True)
    both.send(quote(400003000))
    both.send(orjson.dumps({"stream": "btcusdt@depth@100ms", "data": depth | {
        "U": 50, "u": 60, "pu": 49}}))  # fmt: skip
    before = both.fast.quick
    both.send(quote(400003001))
    assert both.fast.quick == before + 1
    assert both.fast.flags[-1] & MAYBE_BAD_BOOK
    both.check()


def test_two_lines_of_one_stream_make_one_record(both: Both) -> None:
    for i in range(50):
        assert both.send(quote(400004000 + i), line=0)
        assert both.send(quote(400004000 + i), line=1) == b""
        assert both.send(trade(7100000 + i), line=1)
        assert both.send(trade(7100000 + i), line=0) == b""
    both.check()


def test_many_symbols_of_one_form(both: Both) -> None:
    names = [b"A%03dUSDT" % i for i in range(300)]
    for i in range(4):
        for name in names:
            assert both.send(quote(400005000 + i, name))
    assert both.fast.quick > 300
    both.check()


@pytest.mark.parametrize("n", [1, 64, 179, 384])
def test_what_is_behind_a_message_is_read_within_its_page_only(n: int) -> None:
    """Memory may end with the page that its last byte is in."""
    page, padding = 4096, 64
    allowed = 0
    for start in range(7 * page, 9 * page):
        if is_padded(start, n):
            allowed += 1
            assert (start + n - 1) // page == (start + n + padding - 1) // page
    assert allowed == 2 * (page - padding)


@pytest.mark.parametrize("venue", VENUES)
def test_sessions_of_every_venue(venue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are, with keys in one order, and with other digits in places."""
    rng = random.Random(venue)
    both = Both(venue, monkeypatch)
    rows = [row["raw"].encode() for row in SESSIONS[venue](7).rows
            if row["dir"] == "in" and "raw" in row]  # fmt: skip
    rows += [_sorted(frame) for frame in rows if frame[:1] in b"{["]
    for _ in range(3):
        for frame in rows:
            both.send(frame, line=rng.randrange(2), step=rng.choice((1000, 6_000_000)))
            digits = [i for i, c in enumerate(frame) if 48 <= c < 58]
            for _ in range(3 if digits else 0):
                at = rng.choice(digits)
                changed = frame[:at] + b"%d" % rng.randrange(10) + frame[at + 1 :]
                both.send(changed, line=rng.randrange(2))
    both.check()


def _sorted(frame: bytes) -> bytes:
    value: Any = orjson.loads(frame)
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


@pytest.mark.parametrize(
    ("venue", "ours", "other"), [("binance_usdm", b"1", b"2"), ("binance_coinm", b"2", b"1")]
)
def test_messages_that_name_their_product_are_read_quickly_and_others_not_at_all(
    venue: str, ours: bytes, other: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``st`` says whose a message is on a connection of both products."""
    both = Both(venue, monkeypatch)

    def of(product: bytes, message: bytes) -> bytes:
        return message[:-2] + b',"st":' + product + b"}}"

    for i in range(8):
        assert both.send(of(ours, quote(400000000 + 2 * i)))
        assert not both.send(of(other, quote(400000001 + 2 * i)))
    before = both.fast.quick
    for i in range(40):
        assert both.send(of(ours, quote(400001000 + 4 * i)))
        assert not both.send(of(other, quote(400001001 + 4 * i)))
        assert not both.send(of(b"7", quote(400001002 + 4 * i)))
    if both.fast.pipeline.quick_reads(both.fast.handle) == 0:
        pytest.skip("this processor has no vector instructions that layouts need")
    # one that ends at the end of a page is read in full
    assert before + 34 <= both.fast.quick <= before + 40
    both.check()
