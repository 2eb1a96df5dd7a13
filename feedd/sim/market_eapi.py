"""Binance European options: trades, books and quotes of one series; marks of an underlying."""

from __future__ import annotations

from typing import ClassVar

from feedd.sim import events
from feedd.sim.figures import Figures
from feedd.sim.hub import Hub
from feedd.sim.instruments import OPTIONS, Spec
from feedd.sim.market import Fill, Timer, VenueTime
from feedd.sim.market_usdm import LinkedMarket

MARK_MS = 1_000
INDEX_CENTS = {"BTC": 9_230_000, "ETH": 310_500}
BLOCK_EVERY = 307


def underlying(spec: Spec) -> str:
    """BTCUSDT of BTC-251226-110000-C."""
    return f"{spec.base}USDT"


class OptionsMarket(LinkedMarket):
    """One option series; sizes are contracts of one underlying unit."""

    depth_names: ClassVar[dict[int, tuple[str, ...]]] = {100: ("@100ms",), 500: ("@500ms",)}
    first_sequence = 121_000_000

    def __init__(self, spec: Spec, hub: Hub, time: VenueTime, seed: int, one_sided: bool) -> None:
        super().__init__(spec, hub, time, seed, one_sided)
        self.figures = Figures(self, linear=True, underlying_cents=INDEX_CENTS[spec.base])
        self._option_trades = [
            self._stream("optionTrade"),
            hub.stream(OPTIONS, f"{underlying(spec).lower()}@optionTrade", "*"),
        ]
        self._stats = self._stream("optionTicker")

    def timers(self) -> list[Timer]:
        return [*super().timers(), (MARK_MS, self._second)]

    def _second(self) -> None:
        self.figures.update()
        stream, last = self._stats, self.figures.last or "0.000"
        stream.count += 1
        if stream.subs:
            now = self.time.now_ms
            body = (
                f'{{"e":"24hrTicker","E":{now},"s":"{self.spec.symbol}","p":"1.000","P":"0.10",'
                f'"w":"{last}","c":"{last}","Q":"{self.figures.last_size or 0}","o":"{last}",'
                f'"h":"{last}","l":"{last}","v":"9.00","q":"1800.000","O":{now - 86_400_000},'
                f'"C":{now},"F":1,"L":22,"n":9}}'
            )
            self.hub.publish(stream, body, "")

    def _trade(self, price: str, size: str, buy: bool) -> str:
        now, maker = self.time.now_ms, "false" if buy else "true"
        kind = "BLOCK" if self.trade_id % BLOCK_EVERY == 0 else "MARKET"
        return (
            f'{{"e":"trade","E":{now + 1},"T":{now},"s":"{self.spec.symbol}","t":{self.trade_id},'
            f'"p":"{price}","q":"{size}","X":"{kind}","S":"{"BUY" if buy else "SELL"}",'
            f'"m":{maker}}}'
        )

    def on_trades(self, buy: bool, fills: list[Fill]) -> None:
        for tick, lots in fills:
            self.trade_id += 1
            self.figures.note_trade(tick, lots, buy)
            price, size = self.prices[tick], self.sizes[lots]
            body = self._trade(price, size, buy)
            flags = "block" if self.trade_id % BLOCK_EVERY == 0 else ""
            event = events.trade(
                self.spec.name, price, size, buy, str(self.trade_id), "null", self.time.now_ms,
                flags,
            )  # fmt: skip
            for stream in self._option_trades:
                stream.count += 1
                self.hub.publish(stream, body, event)

    def mark(self) -> tuple[str, str]:
        """The series' row of ``optionMarkPrice`` and its journal events."""
        figures, spec, now = self.figures, self.spec, self.time.now_ms
        bid, bid_lots, ask, ask_lots = self.ladder.top()
        greeks = figures.greeks
        sides = [
            (self.prices[tick], self.sizes[lots]) if lots else ("0.000", "0.00")
            for tick, lots in ((bid, bid_lots), (ask, ask_lots))
        ]
        row = (
            f'{{"s":"{spec.symbol}","mp":"{figures.mark}","E":{now},"e":"markPrice",'
            f'"i":"{figures.index}","P":"0.000","bo":"{sides[0][0]}","ao":"{sides[1][0]}",'
            f'"bq":"{sides[0][1]}","aq":"{sides[1][1]}","b":"{figures.bid_iv or "-1.0"}",'
            f'"a":"{figures.ask_iv}","hl":"34.2565","ll":"3.8062","vo":"{figures.mark_iv}",'
            f'"rf":"0.0","d":"{greeks.delta}","t":"{greeks.theta}","g":"{greeks.gamma}",'
            f'"v":"{greeks.vega}"}}'
        )
        deriv = {"mark": figures.mark, "index": figures.index}
        if not float(figures.mark):
            del deriv["mark"]
        values = {
            "delta": greeks.delta,
            "gamma": greeks.gamma,
            "vega": greeks.vega,
            "theta": greeks.theta,
            "mark_iv": figures.mark_iv,
            "ask_iv": figures.ask_iv,
        }
        if "mark" in deriv:
            values["mark"] = figures.mark
        if figures.bid_iv:
            values["bid_iv"] = figures.bid_iv
        found = [
            events.values("deriv", spec.name, now, deriv),
            events.values("greeks", spec.name, now, values),
        ]
        return row, ",".join(found)

    def interest(self) -> tuple[str, str]:
        """The series' row of ``optionOpenInterest`` and its journal event."""
        interest, now = self.figures.open_interest, self.time.now_ms
        row = (
            f'{{"e":"openInterest","E":{now},"s":"{self.spec.symbol}","o":"{interest}",'
            f'"h":"11025678.90"}}'
        )
        return row, events.values("deriv", self.spec.name, now, {"open_interest": interest})

    def reference(self) -> dict[str, object]:
        spec = self.spec
        return {
            "expiryDate": spec.expiry_ms,
            "filters": self.filters(),
            "symbol": spec.symbol,
            "side": spec.option_type.upper(),
            "strikePrice": f"{spec.strike}.000",
            "underlying": underlying(spec),
            "unit": 1,
            "minQty": self.sizes[1],
            "maxQty": "9000.00",
            "quoteAsset": spec.quote,
            "status": self.word or "TRADING",
            "priceScale": 3,
            "quantityScale": spec.size_decimals,
        }
