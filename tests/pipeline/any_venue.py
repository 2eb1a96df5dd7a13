"""Books of several venues, made up: messages in many spellings, and what must come of them.

``Market`` makes changes of one book and keeps what must be in it, as decimals. A ``Form`` writes
them as the messages of a venue; ``Spelling`` chooses how numbers are written.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import ClassVar

from tests.fixtures.instant import rfc3339

Level = tuple[Decimal, Decimal]
Sides = tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]
Changes = tuple[list[Level], list[Level]]
ZERO = Decimal(0)


class Market:
    """One book that jumps, empties, changes its scale, and says the same price twice."""

    def __init__(self, rng: random.Random, *, crosses: bool, negative: bool) -> None:
        self.rng = rng
        self.crosses, self.negative = crosses, negative
        self.sides: Sides = ({}, {})
        self.decimals = rng.choice((0, 1, 2, 2, 4))
        self.touch = rng.choice((50, 5_000, 600_000, 6_100_000))
        self.spread = 1 << rng.randrange(13)
        self.quiet = rng.randrange(1, 12)

    def _price(self, side: int) -> Decimal:
        rng = self.rng
        off = rng.randrange(self.spread) if rng.random() < 0.95 else rng.randrange(1 << 18)
        tick = self.touch + (off + 1 if side else -off)
        if rng.random() < 0.02:
            tick = rng.randrange(1, 10**7)
        if tick <= 0 and not self.negative:
            tick = rng.randrange(1, 50)
        return Decimal(tick).scaleb(-self.decimals)

    def _size(self) -> Decimal:
        rng = self.rng
        kind = rng.random()
        if kind < 0.3:
            return ZERO
        if kind < 0.9:
            return Decimal(rng.randrange(1, 10**6)) / 1000
        return Decimal(rng.randrange(1, 10 ** rng.randrange(1, 20))).scaleb(-rng.randrange(18))

    def _turn(self) -> None:
        """The market moves on; now and then it is another one."""
        rng = self.rng
        if rng.random() < 0.03:
            self.touch = max(1, min(10**9, rng.choice((self.touch * 1000, self.touch // 1000))))
        if rng.random() < 0.02:
            self.touch = rng.choice((0, -200, 300)) if self.negative else rng.choice((1, 300))
        if rng.random() < 0.02 and self.decimals < 6:
            more = rng.randrange(1, 3)
            self.decimals += more
            self.touch = min(10**9, self.touch * 10**more)
        if rng.random() < 0.05:
            self.spread = 1 << rng.randrange(17)
        if rng.random() < 0.05:
            self.quiet = rng.choice((1, 3, 12, 60))
        self.touch += rng.randrange(-20, 21)
        if not self.negative:
            self.touch = max(1, self.touch)

    def change(self) -> Changes:
        rng = self.rng
        self._turn()
        found: Changes = ([], [])
        for side, levels in enumerate(found):
            there = list(self.sides[side])
            for _ in range(rng.randrange(self.quiet + 1)):
                if there and rng.random() < 0.4:
                    price = rng.choice(there)
                elif levels and rng.random() < 0.05:
                    price = levels[-1][0]
                else:
                    price = self._price(side)
                levels.append((price, self._size()))
            if there and rng.random() < 0.02:  # all of it goes, perhaps something comes
                levels[:0] = [(price, ZERO) for price in there]
        self._apply(found)
        return found

    def snapshot(self, most: int = 0) -> Changes:
        rng = self.rng
        self._turn()
        most = most or rng.choice((0, 3, 40, 40, 400))
        found: Changes = ([], [])
        for side, levels in enumerate(found):
            prices = {self._price(side) for _ in range(rng.randrange(most + 1))}
            order = sorted(prices, reverse=side == 0)
            if rng.random() < 0.2:
                rng.shuffle(order)
            levels += [(price, self._size()) for price in order]
            self.sides[side].clear()
        self._apply(found)
        return found

    def _apply(self, changes: Changes) -> None:
        if not self.crosses:
            middle = Decimal(self.touch).scaleb(-self.decimals)
            gone = [
                [p for p in self.sides[0] if p > middle],
                [p for p in self.sides[1] if p <= middle],
            ]
            for side, levels in enumerate(changes):
                levels[:] = [(p, s) for p, s in levels if (p <= middle) == (side == 0)]
                levels += [(p, ZERO) for p in gone[side]]
        for side, levels in zip(self.sides, changes, strict=True):
            for price, size in levels:
                if size:
                    side[price] = size
                else:
                    side.pop(price, None)

    def cut(self, depths: tuple[int, ...], anew: bool) -> None:
        """Keep the best levels only, as many as a snapshot of these depths may have."""
        if anew:
            most = max(map(len, self.sides))
            self.depth = next((depth for depth in depths if depth >= most), 0)
        for side, levels in enumerate(self.sides):
            for price in sorted(levels, reverse=side == 0)[self.depth :]:
                del levels[price]

    def best_first(self) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        return (
            [(float(p), float(s)) for p, s in sorted(self.sides[0].items(), reverse=True)],
            [(float(p), float(s)) for p, s in sorted(self.sides[1].items())],
        )


@dataclass
class Spelling:
    """How the numbers of a session are written."""

    rng: random.Random
    quoted: bool
    odd: float = 0.0
    exponents: bool = True
    """The share of numbers in another spelling, an exponent among them where ``exponents``."""
    price_decimals: int | None = None
    size_decimals: int | None = None
    texts: list[str] = field(default_factory=list)

    def number(self, value: Decimal, decimals: int | None) -> str:
        rng = self.rng
        text = f"{value:f}"
        if decimals is not None:
            have = len(text.partition(".")[2])
            if have < decimals:
                text += ("" if "." in text else ".") + "0" * (decimals - have)
        if rng.random() < self.odd:
            text = self._odd(value, text)
        self.texts.append(text)
        quoted = self.quoted if rng.random() >= self.odd / 4 else not self.quoted
        return f'"{text}"' if quoted else text

    def _odd(self, value: Decimal, text: str) -> str:
        rng = self.rng
        kind = rng.randrange(8)
        if not value:
            zeros = ["0", "0.0", "-0", "-0.000", "0.00000000000000000000000"]
            return rng.choice(zeros + (["0e5", "0E-3", "-0e0"] if self.exponents else []))
        if kind == 0:
            return text + ("" if "." in text else ".") + "0" * rng.choice((1, 3, 9, 25))
        if kind <= 2 and self.exponents:
            sign, digits, exponent = value.as_tuple()
            assert isinstance(exponent, int)
            whole = "".join(map(str, digits))
            e = f"{rng.choice('eE')}{'+' if exponent >= 0 and rng.random() < 0.5 else ''}{exponent}"
            return ("-" if sign else "") + whole + e
        if kind == 3 and self.exponents:
            return f"{value:.{len(value.as_tuple().digits) - 1}e}"
        if kind == 4:
            return f"{value.normalize():f}"
        return text

    def levels(self, levels: list[Level]) -> list[tuple[str, str]]:
        return [
            (self.number(p, self.price_decimals), self.number(s, self.size_decimals))
            for p, s in levels
        ]


Pairs = list[tuple[str, str]]


def lists(levels: Pairs, more: str = "", front: str = "") -> str:
    return "[" + ",".join(f"[{front}{p},{s}{more}]" for p, s in levels) + "]"


@dataclass
class Form(ABC):
    """Writes the messages of one book. ``n`` counts its messages, ``last`` is its number."""

    symbol: str
    rng: random.Random
    ms: int = 1_723_111_111_000
    last: int = 1_000_000
    previous: int = 0

    quoted = True
    crosses = True
    venue = ""
    by_rest = False
    whole = False
    depths: ClassVar[tuple[int, ...]] = ()

    def step(self) -> None:
        self.previous = self.last
        self.last += self.rng.choice((1, 1, 2, 100))
        self.ms += self.rng.randrange(1, 200)

    @abstractmethod
    def snapshot(self, bids: Pairs, asks: Pairs) -> str:
        """The whole book."""

    def change(self, bids: Pairs, asks: Pairs) -> str:
        """What changed; the whole book where each message has that."""
        return self.snapshot(bids, asks)

    def messages(self, bids: Pairs, asks: Pairs) -> list[str]:
        """A change, in as many messages as the venue makes of it."""
        return [self.change(bids, asks)]


class TwoKinds(Form):
    """Snapshots and changes are alike but for a word."""

    word = "update"  # of a change

    @abstractmethod
    def message(self, kind: str, bids: Pairs, asks: Pairs) -> str: ...

    def change(self, bids: Pairs, asks: Pairs) -> str:
        self.step()
        return self.message(self.word, bids, asks)

    def snapshot(self, bids: Pairs, asks: Pairs) -> str:
        self.step()
        return self.message("snapshot", bids, asks)


class Spot(Form):
    venue = "binance_spot"
    by_rest = True

    def change(self, bids: Pairs, asks: Pairs) -> str:
        self.step()
        return (
            f'{{"stream":"{self.symbol.lower()}@depth@100ms","data":{{"e":"depthUpdate",'
            f'"E":{self.ms},"s":"{self.symbol}","U":{self.previous + 1},"u":{self.last},'
            f'"b":{lists(bids)},"a":{lists(asks)}}}}}'
        )

    def snapshot(self, bids: Pairs, asks: Pairs) -> str:
        return f'{{"lastUpdateId":{self.last},"bids":{lists(bids)},"asks":{lists(asks)}}}'


class Usdm(Spot):
    venue = "binance_usdm"

    def change(self, bids: Pairs, asks: Pairs) -> str:
        self.step()
        return (
            f'{{"stream":"{self.symbol.lower()}@depth@100ms","data":{{"e":"depthUpdate",'
            f'"E":{self.ms},"T":{self.ms},"s":"{self.symbol}","U":{self.previous + 1},'
            f'"u":{self.last},"pu":{self.previous},"b":{lists(bids)},"a":{lists(asks)},"st":1}}}}'
        )


class Deribit(TwoKinds):
    word = "change"
    venue = "deribit"
    quoted = False

    def message(self, kind: str, bids: Pairs, asks: Pairs) -> str:
        link = f'"prev_change_id":{self.previous},' if kind == "change" else ""
        word = '"new",' if kind == "snapshot" else f'"{self.rng.choice(("new", "change"))}",'
        return (
            '{"jsonrpc":"2.0","method":"subscription","params":{"channel":'
            f'"book.{self.symbol}.100ms","data":{{"type":"{kind}","timestamp":{self.ms},{link}'
            f'"instrument_name":"{self.symbol}","change_id":{self.last},'
            f'"bids":{lists(bids, front=word)},"asks":{lists(asks, front=word)}}}}}}}'
        )


OKX_MORE = ',"0","7"'


class Okx(TwoKinds):
    venue = "okx"

    def message(self, kind: str, bids: Pairs, asks: Pairs) -> str:
        previous = -1 if kind == "snapshot" else self.previous
        return (
            f'{{"arg":{{"channel":"books","instId":"{self.symbol}"}},"action":"{kind}","data":'
            f'[{{"asks":{lists(asks, OKX_MORE)},"bids":{lists(bids, OKX_MORE)},'
            f'"ts":"{self.ms}","checksum":0,"seqId":{self.last},"prevSeqId":{previous}}}]}}'
        )


class Bybit(TwoKinds):
    word = "delta"
    venue = "bybit_linear"

    def step(self) -> None:
        super().step()
        self.last = self.previous + 1

    def message(self, kind: str, bids: Pairs, asks: Pairs) -> str:
        return (
            f'{{"topic":"orderbook.200.{self.symbol}","type":"{kind}","ts":{self.ms},"data":'
            f'{{"s":"{self.symbol}","b":{lists(bids)},"a":{lists(asks)},"u":{self.last},'
            f'"seq":{self.last * 7}}},"cts":{self.ms - 1}}}'
        )


class Kraken(TwoKinds):
    """Without the checksum, which is about the text of numbers."""

    venue = "kraken"
    quoted = False
    depths = (10, 25, 100, 500, 1000)

    def message(self, kind: str, bids: Pairs, asks: Pairs) -> str:
        both = [
            "[" + ",".join(f'{{"price":{p},"qty":{s}}}' for p, s in levels) + "]"
            for levels in (bids, asks)
        ]
        at = rfc3339(self.ms * 1_000_000, 6)
        return (
            f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{self.symbol}","bids":'
            f'{both[0]},"asks":{both[1]},"timestamp":"{at}"}}]}}'
        )


class Coinbase(TwoKinds):
    venue = "coinbase"
    crosses = False

    numbers: list[int]  # shared by all books of the connection

    def message(self, kind: str, bids: Pairs, asks: Pairs) -> str:
        at = rfc3339(self.ms * 1_000_000, 6)
        rows = [
            f'{{"side":"{side}","event_time":"{at}","price_level":{p},"new_quantity":{s}}}'
            for side, levels in (("bid", bids), ("offer", asks))
            for p, s in levels
        ]
        self.numbers[0] += 1
        return (
            f'{{"channel":"l2_data","client_id":"","timestamp":"{at}","sequence_num":'
            f'{self.numbers[0] - 1},"events":[{{"type":"{kind}","product_id":"{self.symbol}",'
            f'"updates":[{",".join(rows)}]}}]}}'
        )


class Hyperliquid(Form):
    venue = "hyperliquid"
    whole = True

    def snapshot(self, bids: Pairs, asks: Pairs) -> str:
        self.step()
        both = [
            "["
            + ",".join(f'{{"px":{p},"sz":{s},"n":{self.rng.randrange(1, 50)}}}' for p, s in levels)
            + "]"
            for levels in (bids, asks)
        ]
        return (
            f'{{"channel":"l2Book","data":{{"coin":"{self.symbol}","time":{self.ms},"levels":'
            f"[{both[0]},{both[1]}]}}}}"
        )


class Gate(Form):
    """A side without changes is left out; a snapshot says so."""

    venue = "gate"
    channel = "spot.obu"

    def _message(self, result: str) -> str:
        return (
            f'{{"time":{self.ms // 1000},"time_ms":{self.ms},"channel":"{self.channel}",'
            f'"event":"update","result":{{"t":{self.ms},{result}}}}}'
        )

    def change(self, bids: Pairs, asks: Pairs) -> str:
        self.step()
        both = zip("ba", (bids, asks), strict=True)
        sides = [f'"{key}":{lists(side)}' for key, side in both if side]
        numbers = f'"s":"ob.{self.symbol}.400","U":{self.previous + 1},"u":{self.last}'
        return self._message(",".join([numbers, *sides]))

    def snapshot(self, bids: Pairs, asks: Pairs) -> str:
        self.step()
        return self._message(
            f'"full":true,"s":"ob.{self.symbol}.400","u":{self.last},"b":{lists(bids)},'
            f'"a":{lists(asks)}'
        )


class GateFutures(Gate):
    """Levels with names, sizes as numbers; the snapshot comes by REST."""

    venue = "gate_futures"
    channel = "futures.order_book_update"
    by_rest = True
    quoted = False

    def _sides(self, names: str, bids: Pairs, asks: Pairs) -> str:
        return ",".join(
            f'"{name}":[' + ",".join(f'{{"p":{p},"s":{s}}}' for p, s in side) + "]"
            for name, side in zip(names.split(), (bids, asks), strict=True)
        )

    def change(self, bids: Pairs, asks: Pairs) -> str:
        self.step()
        numbers = f'"s":"{self.symbol}","U":{self.previous + 1},"u":{self.last},'
        return self._message(numbers + self._sides("b a", bids, asks))

    def snapshot(self, bids: Pairs, asks: Pairs) -> str:
        return f'{{"id":{self.last},{self._sides("bids asks", bids, asks)}}}'


class Bitget(TwoKinds):
    venue = "bitget_futures"

    def message(self, kind: str, bids: Pairs, asks: Pairs) -> str:
        previous = 0 if kind == "snapshot" else self.previous
        return (
            f'{{"action":"{kind}","arg":{{"instType":"usdt-futures","topic":"books","symbol":'
            f'"{self.symbol}"}},"data":[{{"b":{lists(bids)},"a":{lists(asks)},"ts":"{self.ms}",'
            f'"seq":{self.last},"pseq":{previous}}}],"ts":{self.ms + 1}}}'
        )


class Exchange(Form):
    """Coinbase Exchange: snapshots and changes are of two forms."""

    venue = "coinbase_exchange"
    crosses = False

    def change(self, bids: Pairs, asks: Pairs) -> str:
        self.step()
        rows = [
            f'["{side}",{p},{s}]'
            for side, levels in (("buy", bids), ("sell", asks))
            for p, s in levels
        ]
        return (
            f'{{"type":"l2update","product_id":"{self.symbol}","changes":[{",".join(rows)}],'
            f'"time":"{rfc3339(self.ms * 1_000_000, 6)}"}}'
        )

    def snapshot(self, bids: Pairs, asks: Pairs) -> str:
        self.step()
        return (
            f'{{"type":"snapshot","product_id":"{self.symbol}","asks":{lists(asks)},'
            f'"bids":{lists(bids)},"time":"{rfc3339(self.ms * 1_000_000, 6)}"}}'
        )


class KrakenFutures(Form):
    """One level a message."""

    venue = "kraken_futures"
    quoted = False

    def messages(self, bids: Pairs, asks: Pairs) -> list[str]:
        found = []
        for side, levels in (("buy", bids), ("sell", asks)):
            for p, s in levels:
                self.step()
                self.last = self.previous + 1
                found.append(
                    f'{{"feed":"book","product_id":"{self.symbol}","side":"{side}",'
                    f'"seq":{self.last},"price":{p},"qty":{s},"timestamp":{self.ms}}}'
                )
        return found

    def snapshot(self, bids: Pairs, asks: Pairs) -> str:
        self.step()
        both = [
            "[" + ",".join(f'{{"price":{p},"qty":{s}}}' for p, s in levels) + "]"
            for levels in (bids, asks)
        ]
        return (
            f'{{"feed":"book_snapshot","product_id":"{self.symbol}","timestamp":{self.ms},'
            f'"seq":{self.last},"tickSize":null,"bids":{both[0]},"asks":{both[1]}}}'
        )


FORMS: dict[str, Callable[..., Form]] = {
    form.venue: form
    for form in (
        Spot,
        Usdm,
        Deribit,
        Okx,
        Bybit,
        Kraken,
        Coinbase,
        Hyperliquid,
        Gate,
        GateFutures,
        Bitget,
        Exchange,
        KrakenFutures,
    )
}
