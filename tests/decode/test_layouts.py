"""Layouts against the walker: messages with every byte in a known place, or almost."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from feedd import venues
from feedd.decode.plan import compile_plan
from feedd.pipeline.twice import SETS, Twice
from tests.decode.test_venue_frames import _frames
from tests.fixtures.sessions import SESSIONS
from tests.pipeline.lab import BOOKS, lab_venue

VENUES = sorted(set(SESSIONS) & set(venues.names()))
OTHER_BYTES = b'09.-"\\,:{}[]e \x00\x1fA~\x80\xff'
ISAS = [isa for isa in SETS if isa != "portable"]  # which has no layouts
SHORT = 384  # bytes of the longest layout

QUOTE = (
    b'{"stream":"%s@bookTicker","data":{"e":"bookTicker","u":%d,"s":"%s","b":"%s","B":"%s",'
    b'"a":"61000.20","A":"1.004","T":1723111111111,"E":1723111111112}}'
)


def _twice(venue: str, isa: str) -> Twice:
    try:
        return Twice(compile_plan(venues.load(venue)), isa)
    except ValueError as error:
        pytest.skip(str(error))


def _quote(
    number: int,
    symbol: bytes = b"BTCUSDT",
    price: bytes = b"61000.10",
    size: bytes = b"2.500",
    topic: bytes = b"",
) -> bytes:
    return QUOTE % (topic or symbol.lower(), number, symbol, price, size)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("venue", VENUES)
def test_any_byte_of_a_message_that_fits_may_be_another(venue: str, isa: str) -> None:
    """Each frame is seen until it has its layout; then one byte of it at a time is another one."""
    rng = random.Random(venue)
    twice = _twice(venue, isa)
    sent = [frame for frame in _frames(venue) if frame[:1] in b"{["]
    for frame in sent:
        twice.hear(frame)
    # the sessions write keys in any order and with any spacing: a venue does not
    sent += [orjson.dumps(orjson.loads(frame), option=orjson.OPT_SORT_KEYS) for frame in sent]
    frames = [frame for frame in sent if len(frame) <= SHORT]
    for _ in range(4):
        for frame in frames:
            assert not twice.differ(frame)
    # its short messages are trades, whose ids mix letters and digits
    assert twice.layouts > 0 or venue == "bybit_option"
    for frame in rng.sample(frames, min(8, len(frames))):
        hits = twice.layout_hits
        for at in range(len(frame)):
            for byte in rng.sample(OTHER_BYTES, 3):
                changed = frame[:at] + bytes((byte,)) + frame[at + 1 :]
                assert not twice.differ(changed), (at, changed)
                assert not twice.differ(frame)
        assert twice.layout_hits >= hits


@pytest.mark.parametrize("isa", ISAS)
def test_a_layout_is_made_at_the_second_sight_and_used_from_then_on(isa: str) -> None:
    twice = _twice("binance_usdm", isa)
    for i in range(2):  # the first one teaches the steps, too
        assert not twice.differ(_quote(400000001 + i))
    assert (twice.layouts, twice.layout_hits) == (1, 0)
    assert not twice.differ(_quote(400000009, b"ETHUSDT", b"19999.99", b"0.000"))
    assert twice.layout_hits == 1


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    "frame",
    [
        _quote(400000009, price=b"01000.10"),
        _quote(400000009, price=b"6100.010"),
        _quote(400000009, price=b"61000.1e"),
        _quote(400000009, size=b"-.500"),
        _quote(400000009, size=b"2\\500"),
        _quote(400000009, b"BTC\x1fSDT"),
        _quote(400000009, b"BTC\xc3\xa9DT"),
        _quote(400000009, topic=b"btcusdt"),
        _quote(400000009, topic=b"btc@sdt"),
        _quote(400000009).replace(b"bookTicker", b"bookTicket", 1),
        _quote(400000009).replace(b"bookTicker", b"markPrice@", 1),
        _quote(400000009).replace(b'"u":4', b'"u":0'),
        _quote(400000009).replace(b'"u":4', b'"u":-'),
        _quote(400000009).replace(b"}}", b"}]"),
        _quote(400000009) + b" ",
        _quote(400000009)[:-1],
    ],
)
def test_what_only_seems_to_fit_is_read_as_by_the_walker(frame: bytes, isa: str) -> None:
    twice = _twice("binance_usdm", isa)
    for i in range(4):
        assert not twice.differ(_quote(400000001 + i))
    assert twice.layout_hits > 0
    assert not twice.differ(frame)
    assert not twice.differ(_quote(400000010))


@pytest.mark.parametrize("isa", ISAS)
def test_more_places_than_there_is_room_for(isa: str) -> None:
    twice = _twice("binance_usdm", isa)
    rng = random.Random(5)

    def size() -> bytes:
        whole = rng.choice([b"1", b"22", b"333", b"4444", b"55555", b"666666"])
        return whole + b"." + b"7" * rng.randint(1, 8)

    forms = [(b"X" * rng.randint(2, 12) + b"USDT", size(), size()) for _ in range(400)]
    for _ in range(10):
        for symbol, price, quantity in forms:
            assert not twice.differ(_quote(rng.randint(10**8, 10**9), symbol, price, quantity))
    assert twice.layouts > 64
    assert twice.layout_hits > 0


@pytest.mark.parametrize("isa", ISAS)
def test_messages_that_never_fit_are_soon_left_alone(isa: str) -> None:
    """Of messages that begin alike and mostly miss, only a few are looked up."""
    twice = _twice("binance_usdm", isa)
    for i in range(4):
        assert not twice.differ(_quote(400000001 + i))
    hits = twice.layout_hits
    for i in range(200):  # each with an id of another length
        assert not twice.differ(_quote(10 ** (1 + i % 8) + i, price=b"1." + b"5" * (1 + i % 11)))
    for i in range(100):
        assert not twice.differ(_quote(400000001 + i))
    assert twice.layout_hits < hits + 100


@pytest.mark.parametrize("isa", ISAS)
def test_a_literal_behind_many_values_stays_one(isa: str) -> None:
    """More values than a layout can tell literals among: it has none."""
    twice = _twice("binance_usdm", isa)
    form = (
        b'{"stream":"btcusdt@trade","data":{"e":"trade","x":[%s],"E":1723111111111,'
        b'"T":1723111111111,"s":"BTCUSDT","t":%d,"p":"61000.10","q":"2.5","X":"MARKET","m":true}}'
    )
    values = b",".join([b"1"] * 70)
    for i in range(4):
        assert not twice.differ(form % (values, 100 + i))
    for other in (b"tree", b"trux", b"null"):
        assert not twice.differ((form % (values, 105)).replace(b"true", other))


def _deribit(symbol: bytes, number: int) -> bytes:
    return (
        b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"book.%s.100ms","data":'
        b'{"type":"change","timestamp":1790000000000,"instrument_name":"%s","prev_change_id":%d,'
        b'"change_id":%d,"bids":[["change",4983.0,262.0]],"asks":[]}}}'
    ) % (symbol, symbol, number, number + 1)


def _bitget(symbol: bytes, number: int) -> bytes:
    return (
        b'{"action":"update","arg":{"instType":"USDT-FUTURES","channel":"books","instId":"%s"},'
        b'"data":[{"asks":[["0.5123","400"]],"bids":[],"checksum":0,"seq":%d,"ts":"1790000000000"}],'
        b'"ts":1790000000001}'
    ) % (symbol, number)


def _deribit_quote(symbol: bytes, number: int) -> bytes:
    return (
        b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"quote.%s","data":'
        b'{"timestamp":%d,"instrument_name":"%s","best_bid_price":4983.0,"best_bid_amount":1.0,'
        b'"best_ask_price":4984.0,"best_ask_amount":2.0}}}'
    ) % (symbol, 1790000000000 + number, symbol)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("venue", "forms", "symbols"),
    [
        ("deribit", [_deribit], [b"BTC-1JAN27-50000-C", b"ETH-26MAR27-3000-P", b"BTC-PERPETUAL"]),
        ("deribit", [_deribit, _deribit_quote], [b"BTC-PERPETUAL", b"ETH-25DEC26"]),
        ("bitget_futures", [_bitget], [b"BTCUSDT", b"LINKUSDT", b"1000BONKUSDT"]),
    ],
)
def test_symbols_of_several_lengths_behind_what_all_messages_begin_with(
    venue: str, forms: list[Callable[[bytes, int], bytes]], symbols: list[bytes], isa: str
) -> None:
    """Each length of head has its layout; none takes another one's place."""
    twice = _twice(venue, isa)
    number = 71000000001
    for turn in range(40):
        if turn == 8:
            learned, hits = twice.layouts, twice.layout_hits
        for symbol in symbols:
            for form in forms:
                number += 1
                assert not twice.differ(form(symbol, number))
    assert twice.layouts == learned
    assert twice.layout_hits == hits + 32 * len(symbols) * len(forms)


@pytest.mark.parametrize("isa", ISAS)
def test_what_is_behind_a_whole_message_counts(isa: str) -> None:
    """Changes of books begin like the trades of that venue, and what stands before their levels is
    as long as a trade: the bytes behind one are looked at, too."""
    trades: dict[str, Any] = {
        "topics": ["tick.{symbol}"],
        "subscribe": "tick.{symbol}",
        "time": ["ts"],
        "trade": {"price": "p", "size": "q", "id": "i", "side": {"path": "s", "buy": ["b"]}},
    }
    form = lab_venue({"policy": "plus_one", **BOOKS["plus_one"]}, tick=trades)
    try:
        twice = Twice(compile_plan(form), isa)
    except ValueError as error:
        pytest.skip(str(error))
    head = b'{"t":"%s.X","d":{"n":"' + b"x" * 105 + b'","k":"d",'
    change = head % b"book" + b'"u":123456%03d,"ts":1700000000000,"b":[["1.5","2.5"]],"a":[]}}'
    trade = head % b"tick" + b'"s":"b","i":%03d,"p":"1.5","q":"2.5"}}'
    assert len(trade % 100) == (change % 100).index(b'[["1.5"')
    for form_ in (trade, change):
        for i in range(6):
            assert not twice.differ(form_ % (100 + i))
    hits = twice.layout_hits
    assert not twice.differ(trade % 200)
    assert twice.layout_hits == hits + 1
    for more in (b"}", b"x", b"[", b"1", b" "):
        assert not twice.differ(trade % 201 + more)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("key", [b"T", b"zz"])
def test_a_number_that_becomes_too_large_is_none_where_nobody_reads_it(
    key: bytes, isa: str
) -> None:
    """Its digits stand where those of smaller ones stood, but in its exponent."""
    twice = _twice("binance_usdm", isa)

    def of(number: bytes) -> bytes:
        return _quote(400000001)[:-2] + b',"%s":%s}}' % (key, number)

    for form, large in [
        (b"1.5e00%d57", b"1.5e00957"),
        (b"1E+%d00", b"1E+900"),
        (b"-2.5e%d80", b"-2.5e980"),
        (b"1%d" + b"0" * 307, b"99" + b"0" * 307),
        (b"1.5e-%d00", b"1.5e-900"),
    ]:
        for _ in range(4):
            assert not twice.differ(of(form % 1)), form
        for _ in range(4):
            assert not twice.differ(of(large)), large
            assert not twice.differ(of(form % 0)), form
    assert twice.layout_hits
