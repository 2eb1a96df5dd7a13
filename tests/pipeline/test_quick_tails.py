"""Changes of books whose numbers stand behind their levels (OKX, Bybit, Bitget): read quickly, they
make the same records, boards and books as read in full."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest

from feedd import venues
from feedd.decode.plan import compile_plan
from feedd.pipeline.twice import Twice
from feedd.records import RAW
from tests.fixtures.effort import tries
from tests.pipeline.any_venue import FORMS
from tests.pipeline.test_quick import Both

SIZES = ("0", "1.5", "12.004", "100")
VENUES = ("okx", "bybit_linear", "bitget_futures")
Pairs = list[tuple[str, str]]


def pair(tick: int, size: str) -> tuple[str, str]:
    return f'"{tick // 10}.{tick % 10}"', f'"{size}"'


class Feed:
    """A live book of one venue, fed both ways."""

    def __init__(self, venue: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.both = Both(venue, monkeypatch)
        self.rng = random.Random(11)
        self.form = FORMS[venue]("BTCUSDT", self.rng)
        assert self.send(self.snapshot())

    def snapshot(self) -> str:
        bids = [pair(610_009 - i, "1") for i in range(10)]
        return self.form.snapshot(bids, [pair(610_010 + i, "1") for i in range(10)])

    def levels(self, low: int) -> Pairs:
        ticks = {self.rng.randrange(low, low + 40) for _ in range(self.rng.randrange(8))}
        return [pair(tick, self.rng.choice(SIZES)) for tick in sorted(ticks)]

    def change(self, missing: int = 0) -> str:
        self.form.last += missing
        return self.form.change(self.levels(609_990), self.levels(610_010) or [pair(610_030, "2")])

    def send(self, message: str) -> bytes:
        return self.both.send(message.encode())

    def warm(self) -> None:
        for _ in range(10):
            assert self.send(self.change())
        if Twice(compile_plan(venues.load("okx"))).isa == "portable":
            pytest.skip("this processor has no vector instructions that layouts need")
        assert self.both.fast.quick > 0

    @property
    def counters(self) -> dict[str, int]:
        return self.both.fast.pipeline.counters()


@pytest.fixture(params=VENUES)
def feed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Feed]:
    made = Feed(request.param, monkeypatch)
    made.warm()
    yield made
    made.both.check_deep()


def test_changes_are_read_quickly(feed: Feed) -> None:
    before = feed.both.fast.quick
    for _ in range(200):
        assert feed.send(feed.change())
    assert feed.both.fast.quick > before + 170
    gaps = feed.counters["gaps"]
    assert feed.send(feed.change(missing=3)), "a gap"
    assert feed.counters["gaps"] == gaps + 1


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
    feed = Feed("okx", monkeypatch)
    feed.warm()
    for i in range(60):
        message = feed.change()
        if i % 3 == 1:
            said = np.frombuffer(feed.send(swapped(message, one, other)), RAW)
            if other == "checksum":
                assert set(said["sequence"].tolist()) == {0}, "the number is what its key says"
            feed.send(feed.snapshot())
        elif i % 3 == 2 and one == "prevSeqId":
            tail = message.index(',"seqId"')
            end = message.index("}]}", tail)
            first, second = message[tail:end].split(",")[1:]
            feed.send(f"{message[:tail]},{second},{first}{message[end:]}")  # says the same
        else:
            feed.send(message)
    assert (feed.counters["gaps"] + feed.counters["old_deltas"] >= 20) == (one == "prevSeqId")
    feed.both.check_deep()


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
