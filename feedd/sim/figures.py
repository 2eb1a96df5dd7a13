"""What a derivative or an option has beside its book: mark, index, funding, volatilities, greeks.

Everything is decimal text, made from integers, so that wire and journal say the same. A venue's
market calls ``update`` at its own interval and writes the fields in its own names.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from feedd.sim import pricing
from feedd.sim.market import Market
from feedd.sim.text import fixed, trimmed

FUNDING_MS = 8 * 3_600_000
RATE_DECIMALS = 8
GREEK_DECIMALS = 5
OPTION_MARK_DECIMALS = 6
IV_DECIMALS = 4
NO_BID_IV_MS = 1_000
"""So long, of every three times as long, an option has no bid volatility."""


@dataclass(slots=True)
class Greeks:
    """Black-Scholes greeks as text; vega and rho per percentage point, theta per day."""

    delta: str = "0"
    gamma: str = "0"
    vega: str = "0"
    theta: str = "0"
    rho: str = "0"


class Figures:
    """The numbers of one instrument. ``linear`` options have a mark in the quote currency."""

    def __init__(
        self,
        market: Market,
        *,
        decimals: int | None = None,
        linear: bool = False,
        underlying_cents: int = 0,
        funding_ms: int = FUNDING_MS,
    ) -> None:
        self._market = market
        self._linear = linear
        spec = market.spec
        self.decimals = spec.price_decimals if decimals is None else decimals
        """Places of mark, index and settlement."""
        rng = self._rng = Random(f"{market.rng.random()}:figures")
        self._underlying = underlying_cents
        self._funding_ms = funding_ms
        self._premium = rng.randrange(-3_000, 3_000)
        self._rate = rng.randrange(-5_000, 30_000)
        self._open_lots = rng.randrange(100_000, 9_000_000)
        self._iv = 5_000 + rng.randrange(1_500)
        self._updates = 0
        self.mark = self.index = self.settlement = ""
        self.last = ""
        """Price of the last trade; empty before the first (``note_trade``)."""
        self.last_size = ""
        self.funding_rate = ""
        self.predicted_funding = ""
        self.next_funding_ms = 0
        self.open_interest = ""
        self.underlying = ""
        self.mark_iv = ""
        self.bid_iv = ""
        self.ask_iv = ""
        """Volatilities are fractions; empty where there is none."""
        self.greeks = Greeks()
        self.update()

    @property
    def open_lots(self) -> int:
        """Open interest in lots."""
        return self._open_lots

    @property
    def rate_units(self) -> int:
        """The funding rate in units of ``10**-RATE_DECIMALS``."""
        return self._rate

    def note_trade(self, tick: int, lots: int, buy: bool) -> None:
        """Take a fill into account."""
        self.last = self._market.price_text(tick)
        self.last_size = self._market.size_text(lots)
        self._open_lots = max(self._open_lots + (lots if buy else -lots), 0)

    def update(self) -> None:
        """Move every number by a little."""
        self._updates += 1
        spec = self._market.spec
        self.open_interest = self._market.size_text(self._open_lots)
        if spec.kind == "option":
            self._update_option()
        else:
            self._update_linear()

    def _update_linear(self) -> None:
        market, rnd = self._market, self._rng.random
        spec = market.spec
        places = self.decimals - spec.price_decimals
        bid, bid_size, ask, ask_size = market.ladder.top()
        middle = bid + ask if bid_size and ask_size else 2 * spec.start
        half = middle * spec.tick * 10 ** max(places, 0) // 2
        index = half + int((rnd() - 0.5) * half * 1e-5)
        self._premium += int((rnd() - 0.5) * 200) - self._premium // 50
        self._rate += int((rnd() - 0.5) * 40)
        mark = index + index * self._premium // 10_000_000
        self.index = fixed(index, self.decimals)
        self.mark = fixed(mark, self.decimals)
        self.settlement = fixed(index - index // 50_000, self.decimals)
        self.funding_rate = fixed(self._rate, RATE_DECIMALS)
        self.predicted_funding = fixed(self._rate + self._updates * 7 % 90 - 45, RATE_DECIMALS)
        self.next_funding_ms = (market.time.now_ms // self._funding_ms + 1) * self._funding_ms

    def _update_option(self) -> None:
        market, rnd = self._market, self._rng.random
        spec = market.spec
        self._underlying += int((rnd() - 0.5) * self._underlying * 1e-5)
        cents = self._underlying + self._underlying // 150
        self._iv = min(max(self._iv + int((rnd() - 0.5) * 40), 2_500), 12_000)
        found = pricing.greeks(
            cents / 100, spec.strike, self._iv / 10_000, spec.expiry_ms, market.time.now_ms,
            spec.option_type == "call",
        )  # fmt: skip
        texts = [
            trimmed(value, GREEK_DECIMALS)
            for value in (found.delta, found.gamma, found.vega, found.theta, found.rho)
        ]
        self.greeks = Greeks(*texts)
        if self._linear:
            self.mark = fixed(found.mark * cents // 1_000_000, 2)
        else:
            self.mark = trimmed(found.mark, OPTION_MARK_DECIMALS)
        self.index = fixed(self._underlying, 2)
        self.underlying = fixed(cents, 2)
        self.settlement = self.index
        self.mark_iv = trimmed(self._iv, IV_DECIMALS)
        no_bid = market.time.now_ms // NO_BID_IV_MS % 3 == 1
        self.bid_iv = "" if no_bid else trimmed(self._iv - 130 - int(rnd() * 90), IV_DECIMALS)
        self.ask_iv = trimmed(self._iv + 120 + int(rnd() * 90), IV_DECIMALS)
