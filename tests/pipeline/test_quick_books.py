"""Changes of books of which only the numbers and the levels are read: the same records, boards and
books as of messages read in full."""

from __future__ import annotations

import random

import pytest

from tests.pipeline.test_quick import T0, Both

STEP_MS = T0 // 1_000_000
SIZES = (b"0.000", b"1.250", b"12.004", b"0.001")

Levels = list[tuple[bytes, bytes]]


def listed(levels: Levels) -> bytes:
    return b"[" + b",".join(b'["%s","%s"]' % level for level in levels) + b"]"


def usdm(first: int, last: int, previous: int, bids: Levels, asks: Levels) -> bytes:
    return (
        b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":%d,"T":%d,"s":"BTCUSDT",'
        b'"U":%d,"u":%d,"pu":%d,"b":%s,"a":%s}}'
        % (STEP_MS, STEP_MS, first, last, previous, listed(bids), listed(asks))
    )


def deribit(kind: bytes, last: int, previous: int, bids: bytes, asks: bytes) -> bytes:
    linked = b'"prev_change_id":%d,' % previous if kind == b"change" else b""
    return (
        b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"book.BTC-PERPETUAL.100ms",'
        b'"data":{"type":"%s","timestamp":%d,%s"instrument_name":"BTC-PERPETUAL","change_id":%d,'
        b'"bids":[%s],"asks":[%s]}}}' % (kind, STEP_MS, linked, last, bids, asks)
    )


class Usdm:
    """A live book of Binance USD-M, fed both ways."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, start: int = 600_000_000_000) -> None:
        self.both = Both("binance_usdm", monkeypatch)
        self.last = start
        self.send([(b"61000.10", b"1.000")], [(b"61000.20", b"1.000")])
        for side in (self.both.fast, self.both.full):
            body = b'{"lastUpdateId":%d,"bids":[["61000.10","1"]],"asks":[["61000.20","1"]]}' % (
                self.last
            )
            side.pipeline.on_rest_snapshot(side.handle, "BTCUSDT", body, self.both.t, True)

    def message(self, bids: Levels, asks: Levels, missing: int = 0) -> bytes:
        previous = self.last + missing
        self.last = previous + 100
        return usdm(previous + 1, self.last, previous, bids, asks)

    def send(self, bids: Levels, asks: Levels, missing: int = 0) -> bytes:
        return self.both.send(self.message(bids, asks, missing))

    @property
    def quick(self) -> int:
        return self.both.fast.quick

    def check(self) -> None:
        self.both.check_deep()


@pytest.fixture
def usdm_book(monkeypatch: pytest.MonkeyPatch) -> Usdm:
    book = Usdm(monkeypatch)
    for i in range(8):
        book.send([(b"61000.%02d" % i, b"1.000")], [(b"61001.%02d" % i, b"1.000")])
    if book.quick == 0:
        pytest.skip("this processor has no vector instructions that layouts need")
    return book


def some(rng: random.Random, low: int, high: int, most: int) -> Levels:
    found = {rng.randrange(low, high) for _ in range(rng.randrange(most))}
    return [(b"%d.%02d" % divmod(tick, 100), rng.choice(SIZES)) for tick in sorted(found)]


def test_changes_are_read_quickly_and_make_the_same_book(usdm_book: Usdm) -> None:
    rng = random.Random(5)
    before = usdm_book.quick
    for _ in range(400):
        bids = some(rng, 6_099_900, 6_100_011, 30)
        asks = some(rng, 6_100_020, 6_100_150, 30)
        if rng.random() < 0.1:  # far from the window
            bids.insert(0, (b"1000.00", rng.choice(SIZES)))
        assert usdm_book.send(bids, asks) or not (bids or asks)
    assert usdm_book.quick > before + 350
    usdm_book.check()


def test_a_gap_is_declared_the_same_way(usdm_book: Usdm) -> None:
    for missing in (0, 7, 0, 0):
        usdm_book.send([(b"61000.05", b"2.000")], [], missing)
    usdm_book.check()


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m[:-1],
        lambda m: m[:-3],
        lambda m: m + b" ",
        lambda m: m + m,
        lambda m: m.replace(b"]]", b"] ]", 1),
        lambda m: m.replace(b'"b":', b'"c":'),
        lambda m: m.replace(b'"b":[', b'"b":null,"x":['),
        lambda m: m.replace(b"btcusdt@depth", b"ethusdt@depth"),
        lambda m: m.replace(b'"s":"BTCUSDT"', b'"s":"ETHUSDT"'),
        lambda m: m.replace(b"depthUpdate", b"depthUpdatE"),
        lambda m: m.replace(b'["61000.05"', b'["61000.05","1"],["-61000.05"'),
        lambda m: m.replace(b'["61000.05"', b'["0x000.05"'),
        lambda m: m.replace(b'"2.000"]', b'"2.000","9"]'),
        lambda m: m.replace(b'"2.000"', b'"2e3"'),
        lambda m: m.replace(b'"2.000"', b"2.000"),
        lambda m: m.replace(b'"2.000"', b'"2.0000000000000000001"'),
        lambda m: m.replace(b'"a":[]', b'"a":[[]]'),
        lambda m: m.replace(b'"a":[]', b'"a":[],"a":[["61009.00","1.000"]]'),
        lambda m: m.replace(b'"E":1', b'"E":9'),  # a time far ahead
        lambda m: m.replace(b'"pu":', b'"pv":'),
        lambda m: m.replace(b'"U":6', b'"U":9'),  # the first number above the last
    ],
)
def test_what_is_not_as_before_is_read_in_full(usdm_book: Usdm, change: object) -> None:
    assert callable(change)
    for _ in range(4):
        usdm_book.both.send(change(usdm_book.message([(b"61000.05", b"2.000")], [])))
        for i in range(3):
            usdm_book.send([(b"61000.%02d" % i, b"3.000")], [(b"61001.05", b"0.000")])
    usdm_book.check()


def test_two_lines_make_one_change(usdm_book: Usdm) -> None:
    for i in range(40):
        message = usdm_book.message([(b"61000.%02d" % i, b"1.500")], [])
        assert usdm_book.both.send(message, line=i % 2)
        assert usdm_book.both.send(message, line=1 - i % 2) == b""
    usdm_book.check()


def test_a_snapshot_in_the_stream_is_read_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """And changes of the same stream quickly: what kind a message is, is a text in its head."""
    both = Both("deribit", monkeypatch)
    rng = random.Random(9)
    last = 30_000_000_000
    both.send(deribit(b"snapshot", last, 0, b'["new",61000.0,10.0]', b'["new",61000.5,20.0]'))
    for i in range(200):
        previous, last = last, last + rng.randrange(1, 50)
        kind = b"snapshot" if i % 50 == 49 else b"change"
        if i % 70 == 69:
            previous += 1  # something is missing
        price = 60_990 + rng.randrange(10)
        word = b"new" if kind == b"snapshot" else rng.choice((b"new", b"change", b"delete"))
        size = b"0.0" if word == b"delete" else b"%d.0" % rng.randrange(10, 90)
        both.send(deribit(kind, last, previous, b'["%s",%d.0,%s]' % (word, price, size), b""))
    both.check()


TAILS = [
    b',"ps":"BTCUSDT","st":1',
    b',"st":1,"ps":"BTC-USDT.x"',
    b',"st":1',
    b',"ps":"12.50","st":1,"x":true,"y":null,"n":0.25',
]
NOT_OURS = [b',"ps":"BTCUSDT","st":2', b',"ps":"BTCUSDT","st":11', b',"ps":"BTCUSDT","st":"1x"']
READ_IN_FULL = [
    b',"ps":"BTC\\u0055SDT","st":1',
    b',"ps":"BTCUSDT","st":1 ',
    b',"ps":"BTCUSDT","st":"1"',
    b',"ps":-1,"st":1',
    b',"ps":1e3,"st":1',
    b',"ps":12345678901234567,"st":1',
    b',"ps":["a"],"st":1',
    b',"ps":"BTCUSDT","st":2,"st":1',
]


def with_tail(message: bytes, tail: bytes) -> bytes:
    return message[:-2] + tail + b"}}"


@pytest.mark.parametrize("tail", TAILS)
def test_values_behind_the_levels_do_not_keep_a_change_from_being_read_quickly(
    tail: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Binance's futures name pair and product there; of another product nothing is taken."""
    book = Usdm(monkeypatch)
    rng = random.Random(5)

    def change(missing: int = 0) -> bytes:
        levels = [
            [
                (b"6%04d.%d0" % (rng.randrange(900, 1100), rng.randrange(10)), rng.choice(SIZES))
                for _ in range(rng.randrange(1, 9))
            ]
            for _ in range(2)
        ]
        return book.message(levels[0], levels[1], missing)

    for _ in range(8):
        assert book.both.send(with_tail(change(), tail))
    before = book.quick
    if before == 0:
        pytest.skip("this processor has no vector instructions that layouts need")
    for _ in range(30):
        assert book.both.send(with_tail(change(), tail))
    # one that ends at the end of a page is read in full
    assert before + 24 <= book.quick <= before + 30
    for other in NOT_OURS * 3:
        last = book.last
        assert not book.both.send(with_tail(change(), other)), other
        book.last = last
    for odd in READ_IN_FULL * 3:
        assert book.both.send(with_tail(change(), odd)), odd
    assert book.both.send(with_tail(change(missing=7), tail)), "a gap"
    book.check()


def test_bytes_behind_the_levels_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    book = Usdm(monkeypatch)
    tail = b',"ps":"BTCUSDT","st":1}}'
    for _ in range(8):
        book.both.send(book.message([(b"61000.10", b"2.5")], [(b"61000.20", b"3.5")])[:-2] + tail)
    for at in range(len(tail)):
        for byte in b'0129.-"\\,:{}[]e \x00~\x80':
            changed = tail[:at] + bytes((byte,)) + tail[at + 1 :]
            last = book.last
            message = book.message([(b"61000.10", b"%d.5" % at)], [(b"61000.20", b"3.5")])
            if not book.both.send(message[:-2] + changed):
                book.last = last
    book.check()


@pytest.mark.parametrize(
    ("behind", "ours"),
    [
        (b',"u":%d' % 600_000_000_907, True),
        (b',"pu":1', True),
        (b',"T":1690000000000', True),
        (b',"T":null', True),
        (b',"s":"ETHUSDT"', False),
        (b'},"x":{"s":1},"stream":"ethusdt@depth@100ms"', False),
    ],
)
def test_what_is_said_again_behind_the_levels_counts(
    behind: bytes, ours: bool, usdm_book: Usdm
) -> None:
    """The last of keys that are there twice. And it does not spoil what comes after it."""
    end = b"}" if b"stream" in behind else b"}}"
    for _ in range(6):
        for i in range(3):
            assert usdm_book.send([(b"61000.%02d" % i, b"3.000")], [(b"61001.05", b"0.000")])
        last = usdm_book.last
        usdm_book.both.send(usdm_book.message([(b"61000.05", b"2.000")], [])[:-2] + behind + end)
        if not ours:
            usdm_book.last = last
        elif b"u" in behind:
            break  # it does not follow, or the next one does not
    before = usdm_book.quick
    for i in range(8):
        usdm_book.send([(b"61000.%02d" % i, b"4.000")], [])
    assert usdm_book.quick >= before + 5
    usdm_book.check()


def test_a_product_that_is_named_from_now_on_is_looked_at(usdm_book: Usdm) -> None:
    for i in range(20):
        last = usdm_book.last
        levels = [(b"61000.%02d" % i, b"3.000")]
        assert not usdm_book.both.send(with_tail(usdm_book.message(levels, []), b',"st":2'))
        usdm_book.last = last
        before = usdm_book.quick
        assert usdm_book.both.send(with_tail(usdm_book.message(levels, []), b',"st":1'))
    assert usdm_book.quick == before + 1
    usdm_book.check()


def test_another_value_in_the_place_of_the_product_is_no_product(usdm_book: Usdm) -> None:
    """Also where it is written as the product is."""
    for i in range(12):
        levels = [(b"61000.%02d" % i, b"3.000")]
        usdm_book.both.send(with_tail(usdm_book.message(levels, []), b',"st":1'))
        usdm_book.both.send(with_tail(usdm_book.message(levels, []), b',"T":1'))
    assert usdm_book.quick
    usdm_book.check()
