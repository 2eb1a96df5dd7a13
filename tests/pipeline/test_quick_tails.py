"""Changes of books whose numbers stand behind their levels (OKX, Bybit, Bitget): read quickly, they
make the same records, boards and books as read in full."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from feedd import venues
from feedd.decode.plan import compile_plan
from feedd.pipeline.twice import Twice
from feedd.shm.books import BooksReader
from tests.fixtures.effort import tries
from tests.pipeline.test_quick import T0, Both

MS = T0 // 1_000_000
SIZES = ("0", "1.5", "12.004", "100")
Link = tuple[int, int]  # the number before, the number of the change


def levels(rng: random.Random, low: int, most: int, more: str) -> str:
    found = sorted({rng.randrange(low, low + 40) for _ in range(rng.randrange(most))})
    return ",".join(f'["{tick // 10}.{tick % 10}","{rng.choice(SIZES)}"{more}]' for tick in found)


def okx(kind: str, link: Link, bids: str, asks: str) -> str:
    return (
        f'{{"arg":{{"channel":"books","instId":"BTC-USDT-SWAP"}},"action":"{kind}","data":[{{'
        f'"asks":[{asks}],"bids":[{bids}],"ts":"{MS}","checksum":0,"prevSeqId":{link[0]},'
        f'"seqId":{link[1]}}}]}}'
    )


def bybit(kind: str, link: Link, bids: str, asks: str) -> str:
    return (
        f'{{"topic":"orderbook.200.BTCUSDT","type":"{kind}","ts":{MS},"data":{{"s":"BTCUSDT",'
        f'"b":[{bids}],"a":[{asks}],"u":{link[1]},"seq":{7 * link[1]}}},"cts":{MS - 2}}}'
    )


def bitget(kind: str, link: Link, bids: str, asks: str) -> str:
    previous = f',"pseq":{link[0]}' if kind == "update" else ""
    return (
        f'{{"action":"{kind}","arg":{{"instType":"USDT-FUTURES","channel":"books",'
        f'"instId":"BTCUSDT"}},"data":[{{"asks":[{asks}],"bids":[{bids}],"ts":"{MS}",'
        f'"seq":{link[1]}{previous}}}],"ts":{MS + 1}}}'
    )


class Feed:
    """A live book of one venue, fed both ways; its changes are numbered as the venue numbers."""

    def __init__(
        self, venue: str, form: Callable[[str, Link, str, str], str], step: int, more: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        self.both = Both(venue, monkeypatch)
        self.form, self.step, self.more = form, step, more
        self.last = 600_000_000
        self.rng = random.Random(11)
        self.kinds = ("snapshot", "delta" if form is bybit else "update")
        book = [f'["61000.{i}","1"{more}]' for i in range(9, -1, -1)]
        asks = [f'["61001.{i}","1"{more}]' for i in range(10)]
        first = form(self.kinds[0], (-1, self.last), ",".join(book), ",".join(asks))
        assert self.both.send(first.encode())

    def change(self, missing: int = 0) -> str:
        previous = self.last + missing
        self.last = previous + (1 if self.step == 1 else self.rng.randrange(1, self.step))
        bids = levels(self.rng, 609_990, 8, self.more)
        asks = levels(self.rng, 610_010, 8, self.more) or f'["61003.0","2"{self.more}]'
        return self.form(self.kinds[1], (previous, self.last), bids, asks)

    def send(self, message: str) -> bytes:
        return self.both.send(message.encode())

    def warm(self) -> None:
        for _ in range(10):
            assert self.send(self.change())
        if Twice(compile_plan(venues.load("okx"))).isa == "portable":
            pytest.skip("this processor has no vector instructions that layouts need")
        assert self.both.fast.quick > 0

    def check(self) -> None:
        self.both.check()
        for side in (self.both.fast, self.both.full):
            side.pipeline.flush()
        fast, full = (BooksReader(side.books).deep(0) for side in (self.both.fast, self.both.full))
        assert fast.bids.tolist() == full.bids.tolist()
        assert fast.asks.tolist() == full.asks.tolist()


FORMS = {
    "okx": ("okx", okx, 90, ',"0","4"'),
    "bybit": ("bybit_linear", bybit, 1, ""),
    "bitget": ("bitget_futures", bitget, 90, ""),
}


@pytest.fixture(params=sorted(FORMS))
def feed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Feed]:
    made = Feed(*FORMS[request.param], monkeypatch)
    made.warm()
    yield made
    made.check()


def test_changes_are_read_quickly(feed: Feed) -> None:
    before = feed.both.fast.quick
    for _ in range(200):
        assert feed.send(feed.change())
    assert feed.both.fast.quick > before + 170
    gaps = feed.both.fast.pipeline.counters()["gaps"]
    assert feed.send(feed.change(missing=3)), "a gap"
    assert feed.both.fast.pipeline.counters()["gaps"] == gaps + 1


def swapped(text: str, one: str, other: str) -> str:
    """The message with two keys exchanged; their values stay where they are."""
    return text.replace(f'"{one}":', '"\0":').replace(f'"{other}":', f'"{one}":').replace(
        '"\0":', f'"{other}":'
    )  # fmt: skip


@pytest.mark.parametrize(("one", "other"), [("prevSeqId", "seqId"), ("seqId", "checksum")])
def test_numbers_that_changed_places_are_not_mistaken(
    one: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands before the levels is as before, and behind them are as many numbers."""
    feed = Feed(*FORMS["okx"], monkeypatch)
    feed.warm()
    for i in range(60):
        message = feed.change()
        if i % 3 == 1:
            feed.send(swapped(message, one, other))  # says something else
        elif i % 3 == 2 and one == "prevSeqId":
            tail = message.index(',"prevSeqId"')
            end = message.index("}]}", tail)
            first, second = message[tail:end].split(",")[1:]
            feed.send(f"{message[:tail]},{second},{first}{message[end:]}")  # says the same
        else:
            feed.send(message)
    feed.check()


NUMBERS = (
    "0", "7", "01", "-5", "1.0", "1e3", "123456789012345", "1234567890123456",
    "123456789012345678", "1234567890123456789", "18446744073709551615", "99999999999999999999",
    '"12"', '""', "null", "true", '"x"', "[1]", '{"a":1}', '"1\\u0032"',
)  # fmt: skip


@pytest.mark.parametrize("key", ["ts", "seqId", "prevSeqId", "checksum", "u", "seq", "cts", "pseq"])
def test_a_number_behind_the_levels_written_in_any_way(feed: Feed, key: str) -> None:
    for number in NUMBERS:
        message = feed.change()
        at = message.rfind(f'"{key}":')
        if at < 0:
            return
        start = at + len(key) + 3
        end = min(i for i in (message.find(c, start) for c in ",}]") if i >= 0)
        feed.send(message[:start] + number + message[end:])
        for _ in range(3):
            feed.send(feed.change())


def test_any_byte_behind_the_levels(feed: Feed) -> None:
    rng = random.Random(3)
    for _ in range(tries(400)):
        message = feed.change()
        tail = message.rindex("]],") if "]]," in message else message.rindex("],")
        at = rng.randrange(tail, len(message))
        what = rng.choice('0129.-"\\,:{}[]e \0~\x80')
        kind = rng.randrange(3)
        feed.send(message[:at] + (what if kind < 2 else "") + message[at + (kind != 1) :])
        for _ in range(2):
            feed.send(feed.change())


def test_a_short_message_is_not_read_beyond_its_end(feed: Feed) -> None:
    for cut in range(1, 60):
        feed.send(feed.change()[:-cut])
        feed.send(feed.change())
