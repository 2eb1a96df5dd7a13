"""Deribit's ticker and incremental_ticker: mark, index, funding, open interest, IVs, greeks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from feedd.sim import events, pricing
from feedd.sim.hub import Hub, Stream
from feedd.sim.instruments import DERIBIT
from feedd.sim.ladder import ASK, BID
from feedd.sim.market import Timer
from feedd.sim.market_deribit import SHORT_EVERY, DeribitMarket, frame, shuffled
from feedd.sim.text import fixed, plain, short

TICKER_MS = {100: ("100ms", "raw"), 1_000: ("agg2",)}
INCREMENTAL_MS = 1_000
IV_DECIMALS = 2
"""IVs are kept in hundredths of a percent."""
NO_BID_IV_EVERY = 7

Value = tuple[int, int]
"""A number as (units, decimals)."""


class DeribitTicker:
    """The ticker channels of one instrument; the numbers move once per 100 ms at most."""

    def __init__(self, market: DeribitMarket, hub: Hub) -> None:
        self.market = market
        self.hub = hub
        spec = market.spec
        self._streams = {
            ms: [hub.stream(DERIBIT, f"ticker.{spec.symbol}.{name}", spec.symbol) for name in names]
            for ms, names in TICKER_MS.items()
        }
        for streams in self._streams.values():
            for stream in streams:
                stream.greet = partial(self._message, stream)
        self._incremental = hub.stream(DERIBIT, f"incremental_ticker.{spec.symbol}", spec.symbol)
        self._incremental.greet = self._greet_incremental
        rng = market.rng
        self._open_interest = rng.randrange(1_000, 5_000_000) * 10
        self._settlement = 0 if spec.kind == "option" and rng.random() < 0.3 else spec.start
        self._funding = rng.randrange(-9_000, 30_000)
        self._iv = 5_000 + rng.randrange(1_500)
        self._updates = 0
        self._stamp = market.time.now_ms
        self.flat: dict[str, Value | None] = {}
        self.greek: dict[str, Value] = {}
        self._sent_flat: dict[str, Value | None] = {}
        self._sent_greek: dict[str, Value] = {}
        self._update()

    def timers(self) -> list[Timer]:
        """Perpetuals tick each 100 ms, options each second."""
        if self.market.spec.kind == "option":
            return [(1_000, self._slow_tick)]
        return [(100, self._fast_tick), (1_000, self._second)]

    def _fast_tick(self) -> None:
        self._update()
        self._publish(100)

    def _second(self) -> None:
        self._publish(1_000)
        self._publish_incremental()

    def _slow_tick(self) -> None:
        self._update()
        self._publish(100)
        self._second()

    # -- numbers ---------------------------------------------------------------------------

    def _update(self) -> None:
        self._updates += 1
        self._stamp = self.market.time.now_ms
        if self.market.spec.kind == "option":
            self._update_option()
        else:
            self._update_perpetual()

    def _common(self) -> dict[str, Value | None]:
        market = self.market
        spec = market.spec
        bid, bid_size, ask, ask_size = market.ladder.top()
        decimals, tick = spec.price_decimals, spec.tick
        self._open_interest = max(self._open_interest + market.traded_lots, 0)
        market.traded_lots = 0
        return {
            "settlement_price": (self._settlement * tick, decimals),
            "open_interest": (self._open_interest * spec.lot, spec.size_decimals),
            "last_price": (market.last_tick * tick, decimals) if market.last_tick else None,
            "index_price": (market.state.index_cents[spec.base], 2),
            "estimated_delivery_price": (market.state.index_cents[spec.base], 2),
            "best_bid_price": (bid * tick, decimals) if bid_size else None,
            "best_bid_amount": (bid_size * spec.lot, spec.size_decimals),
            "best_ask_price": (ask * tick, decimals) if ask_size else None,
            "best_ask_amount": (ask_size * spec.lot, spec.size_decimals),
        }

    def _update_perpetual(self) -> None:
        market = self.market
        spec, rnd = market.spec, market.rng.random
        to_cents = spec.tick * 10 ** (2 - spec.price_decimals)
        mid = (market.ladder.best_bid + market.ladder.best_ask) * to_cents // 2
        market.state.index_cents[spec.base] = mid + int((rnd() - 0.5) * mid * 1e-4)
        self._funding += int((rnd() - 0.5) * 60)
        mark = mid + int((rnd() - 0.5) * 2 * to_cents)
        self.flat = self._common() | {
            "mark_price": (mark, 2),
            "min_price": (mark - mark // 66, 2),
            "max_price": (mark + mark // 66, 2),
            "funding_8h": (self._funding, 8),
            "current_funding": (0 if self._updates % 3 else self._funding // 7, 8),
            "interest_value": (self._funding * 3, 10),
        }

    def _update_option(self) -> None:
        market = self.market
        spec, rnd = market.spec, market.rng.random
        underlying = market.state.index_cents[spec.base]
        underlying += underlying // 150
        self._iv = min(max(self._iv + int((rnd() - 0.5) * 40), 2_500), 12_000)
        result = pricing.greeks(
            underlying / 100, spec.strike, self._iv / 10_000, spec.expiry_ms,
            market.time.now_ms, spec.option_type == "call",
        )  # fmt: skip
        self.greek = {
            "delta": (result.delta, 5),
            "gamma": (result.gamma, 5),
            "vega": (result.vega, 5),
            "theta": (result.theta, 5),
            "rho": (result.rho, 5),
        }
        no_bid = self._updates % NO_BID_IV_EVERY == 0 or not market.ladder.sides[BID]
        no_ask = not market.ladder.sides[ASK]
        self.flat = self._common() | {
            "mark_price": (result.mark, 6),
            "min_price": (1, 4),
            "max_price": (result.mark * 3, 6),
            "mark_iv": (self._iv, IV_DECIMALS),
            "bid_iv": (0 if no_bid else self._iv - 130 - int(rnd() * 90), IV_DECIMALS),
            "ask_iv": (0 if no_ask else self._iv + 120 + int(rnd() * 90), IV_DECIMALS),
            "underlying_price": (underlying, 2),
            "interest_rate": (0, 1),
        }

    # -- messages --------------------------------------------------------------------------

    def _publish(self, interval: int) -> None:
        for stream in self._streams[interval]:
            stream.count += 1
            if stream.subs:
                self.hub.publish(stream, *self._message(stream))

    def _message(self, stream: Stream) -> tuple[str, str]:
        write = short if stream.count % SHORT_EVERY == 0 else plain
        members = self._members(write, self.flat, self.greek)
        members.insert(2, self._stats())
        return (
            frame(stream, shuffled(members, stream.count)),
            self._events(self.flat, self.greek),
        )

    def _stats(self) -> str:
        if not self.market.last_tick:
            return '"stats":{"volume":null,"price_change":null,"low":null,"high":null}'
        price = self.market.prices[self.market.last_tick]
        return (
            f'"stats":{{"volume":{self._updates}.5,"price_change":-0.3,"low":{price},'
            f'"high":{price}}}'
        )

    def _members(
        self,
        text: Callable[[int, int], str],
        flat: dict[str, Value | None],
        greek: dict[str, Value],
    ) -> list[str]:
        spec = self.market.spec
        members = [
            f'"timestamp":{self._stamp}',
            f'"instrument_name":"{spec.symbol}"',
            '"state":"open"',
        ]
        members += [f'"{k}":{"null" if v is None else text(*v)}' for k, v in flat.items()]
        if greek:
            inner = ",".join([f'"{k}":{text(*v)}' for k, v in greek.items()])
            members.append(f'"greeks":{{{inner}}}')
        if "underlying_price" in flat:
            members.append(f'"underlying_index":"{spec.base}-{spec.expiry_name}"')
        return members

    def _events(self, flat: dict[str, Value | None], greek: dict[str, Value]) -> str:
        if not self.hub.journal.enabled:
            return ""
        name = self.market.spec.name
        found = []
        deriv = _pick(flat, _DERIV)
        if deriv:
            found.append(events.values("deriv", name, self._stamp, deriv))
        if self.market.spec.kind == "option":
            values = {key: plain(*value) for key, value in greek.items()}
            for key in ("mark_iv", "bid_iv", "ask_iv"):
                iv = flat.get(key)
                if iv is not None and iv[0]:
                    values[key] = fixed(iv[0], IV_DECIMALS + 2)
            values |= _pick(flat, {"underlying_price": "underlying", "mark_price": "mark"})
            if values:
                found.append(events.values("greeks", name, self._stamp, values))
        return ",".join(found)

    # -- incremental -----------------------------------------------------------------------

    def _greet_incremental(self) -> tuple[str, str]:
        """The first message: everything, as last sent to those already subscribed."""
        flat, greek = self._sent_flat or self.flat, self._sent_greek or self.greek
        return self._incremental_message("snapshot", flat, greek)

    def _publish_incremental(self) -> None:
        flat = {k: v for k, v in self.flat.items() if self._sent_flat.get(k, (0, -1)) != v}
        greek = {} if self.greek == self._sent_greek else self.greek
        self._sent_flat, self._sent_greek = self.flat, self.greek
        if not flat and not greek:
            return
        self._incremental.count += 1
        if self._incremental.subs:
            message = self._incremental_message("change", flat, greek)
            self.hub.publish(self._incremental, *message)

    def _incremental_message(
        self, kind: str, flat: dict[str, Value | None], greek: dict[str, Value]
    ) -> tuple[str, str]:
        members = [f'"type":"{kind}"', *self._members(plain, flat, greek)]
        body = frame(self._incremental, shuffled(members, self._incremental.count))
        return body, self._events(flat, greek)


_DERIV = {
    "mark_price": "mark",
    "index_price": "index",
    "last_price": "last",
    "open_interest": "open_interest",
    "funding_8h": "funding_rate",
    "settlement_price": "settlement",
}


def _pick(flat: dict[str, Value | None], names: dict[str, str]) -> dict[str, str]:
    picked = {}
    for key, name in names.items():
        value = flat.get(key)
        if value is not None:
            picked[name] = plain(*value)
    return picked
