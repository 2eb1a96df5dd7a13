"""Gate futures' own message forms: sizes in contracts, signed trades, marks, liquidations."""

from __future__ import annotations

from feedd.sim import events
from feedd.sim.bookfeed import Level
from feedd.sim.figures import FUNDING_MS, Figures
from feedd.sim.hub import Hub
from feedd.sim.instruments import Spec
from feedd.sim.market import VenueTime
from feedd.sim.market_gate import FAST_MS, GateMarket
from feedd.sim.market_streams import LIQUIDATION_EVERY, Message, Trade

MARK_DECIMALS = 4
STATS_S = 10
GATE_FUTURES = "gate_futures"
UPDATE_DEPTHS = {FAST_MS: (20,)}
SLOW_UPDATE_DEPTHS = (20, 50, 100)


def gate_futures_specs() -> list[Spec]:
    """Contracts settled in USDT, and an inverse one settled in BTC (its multiplier is "0").

    ``contract_size`` is the multiplier in coins.
    """
    return [
        Spec(GATE_FUTURES, "BTC_USDT", "perpetual", "BTC", "USDT", "USDT", 1, 1, 0, 1,
             923_000, 220, 0.4, 5_000, "0.0001"),
        Spec(GATE_FUTURES, "ETH_USDT", "perpetual", "ETH", "USDT", "USDT", 2, 1, 0, 1,
             310_500, 200, 0.35, 4_000, "0.01"),
        Spec(GATE_FUTURES, "SOL_USDT", "perpetual", "SOL", "USDT", "USDT", 2, 1, 0, 1,
             14_120, 180, 0.15, 300, "1"),
        Spec(GATE_FUTURES, "BTC_USD", "perpetual", "BTC", "USD", "BTC", 1, 1, 0, 1,
             923_100, 150, 0.1, 3_000, "0"),
    ]  # fmt: skip


class GateFuturesMarket(GateMarket):
    """``futures.*`` channels."""

    prefix = "futures"
    snapshot_every = "0"

    def __init__(self, spec: Spec, hub: Hub, time: VenueTime, seed: int) -> None:
        super().__init__(spec, hub, time, seed)
        self.figures = Figures(self, decimals=MARK_DECIMALS)
        self._seconds = 0
        self._liquidations = self.topic("public_liquidates", spec.symbol)
        self._stats = self.topic("contract_stats", f"{spec.symbol}:10s")
        self._info = self.topic("contract_info", spec.symbol)
        self._info.greet = lambda: self._info_message("all")

    def update_payloads(self, ms: int) -> list[tuple[str, int | None]]:
        depths = UPDATE_DEPTHS.get(ms, SLOW_UPDATE_DEPTHS)
        return [(f"{self.spec.symbol}:{ms}ms:{depth}", depth) for depth in depths]

    def update_levels(self, levels: list[Level]) -> str:
        parts = [f'{{"p":"{self.prices[t]}","s":{self.sizes[s]}}}' for t, s in levels]
        return "[" + ",".join(parts) + "]"

    def top_size(self, lots: int) -> str:
        return self.sizes[lots]

    def rest_time(self, ms: int) -> str:
        return f"{ms // 1_000}.{ms % 1_000:03d}"

    def snapshot_frame(self, bids: list[Level], asks: list[Level]) -> str:
        result = (
            f'{{"t":{self.time.now_ms},"id":{self.sequence},"contract":"{self.spec.symbol}",'
            f'"asks":{self.update_levels(asks)},"bids":{self.update_levels(bids)}}}'
        )
        return self.frame_of("order_book", result, "all")

    # -- trades and liquidations -----------------------------------------------------------

    def on_fills(self, trades: list[Trade]) -> None:
        self.hub.post(
            self._trades,
            lambda: (
                self.frame_of("trades", "[" + ",".join(map(self._trade, trades)) + "]"),
                ",".join(map(self.trade_event, trades)),
            ),
        )
        if self.takers % LIQUIDATION_EVERY == 0:
            self.hub.post(self._liquidations, lambda: self._liquidation(trades[-1]))

    def _signed(self, trade: Trade) -> str:
        return f"{'' if trade.buy else '-'}{self.sizes[trade.lots]}"

    def _trade(self, trade: Trade) -> str:
        return (
            f'{{"size":{self._signed(trade)},"id":{trade.ident},'
            f'"create_time":{trade.ms // 1_000},"create_time_ms":{trade.ms},'
            f'"price":"{self.prices[trade.tick]}","contract":"{self.spec.symbol}"}}'
        )

    def _liquidation(self, trade: Trade) -> Message:
        price, size = self.prices[trade.tick], self.sizes[trade.lots]
        result = (
            f'[{{"price":"{price}","size":{self._signed(trade)},"time":{trade.ms // 1_000},'
            f'"time_ms":{trade.ms},"contract":"{self.spec.symbol}"}}]'
        )
        event = ""
        if self.hub.journal.enabled:
            event = events.liquidation(self.spec.name, price, size, trade.buy, trade.ms)
        return self.frame_of("public_liquidates", result), event

    # -- ticker ----------------------------------------------------------------------------

    def before_ticker(self) -> None:
        self.figures.update()
        self._seconds += 1
        if self._seconds % STATS_S == 0:
            self.hub.post(self._stats, self._stats_message)

    def _stats_message(self) -> Message:
        figures, second = self.figures, self.time.now_ms // 1_000
        result = (
            f'[{{"time":{second},"contract":"{self.spec.symbol}","lsr_taker":100,'
            f'"lsr_account":0.5,"long_liq_size":0,"short_liq_size":0,'
            f'"open_interest":{figures.open_interest},"mark_price":"{figures.mark}",'
            f'"open_interest_usd":1511,"top_lsr_size":1.02,"top_lsr_account":1.5}}]'
        )
        values = {"mark": figures.mark, "open_interest": figures.open_interest}
        event = self.deriv_event(second * 1_000, values)
        return self.frame_of("contract_stats", result), event

    def _values(self) -> dict[str, str]:
        figures = self.figures
        return {
            "last": self.prices[self.last_tick],
            "mark": figures.mark,
            "index": figures.index,
            "funding_rate": figures.funding_rate,
            "predicted_funding": figures.predicted_funding,
            "open_interest": figures.open_interest,
        }

    def ticker_message(self) -> Message:
        values = self._values()
        last, next_ms = values["last"], self.figures.next_funding_ms
        result = (
            f'[{{"contract":"{self.spec.symbol}","last":"{last}","change_percentage":"-1.3224",'
            f'"total_size":"{values["open_interest"]}","volume_24h":"155496714",'
            f'"volume_24h_base":"15549","volume_24h_quote":"360157621",'
            f'"volume_24h_settle":"360157621","mark_price":"{values["mark"]}",'
            f'"funding_rate":"{values["funding_rate"]}",'
            f'"funding_rate_indicative":"{values["predicted_funding"]}",'
            f'"index_price":"{values["index"]}","quanto_base_rate":"","low_24h":"{last}",'
            f'"high_24h":"{last}","funding_interval":{FUNDING_MS // 1_000},'
            f'"funding_next_apply":{next_ms // 1_000}}}]'
        )
        event = self.deriv_event(self.sent_ms(), values, next_ms)
        return self.frame_of("tickers", result), event

    def send_info(self) -> None:
        self.hub.post(self._info, lambda: self._info_message("update"))

    def _info_message(self, event: str) -> Message:
        result = (
            f'{{"contract":"{self.spec.symbol}","quanto_multiplier":"{self.spec.contract_size}",'
            f'"order_price_round":"{self.prices[2 if self.coarse else 1]}",'
            '"mark_price_round":"0.01"}'
        )
        return self.frame_of("contract_info", result, event), ""

    def reference(self) -> dict[str, object]:
        spec, values = self.spec, self._values()
        return {
            "name": spec.symbol,
            "type": "inverse" if spec.settle == "BTC" else "direct",
            "quanto_multiplier": spec.contract_size,
            "leverage_min": "1",
            "leverage_max": "100",
            "maintenance_rate": "0.004",
            "mark_type": "index",
            "mark_price": values["mark"],
            "index_price": values["index"],
            "last_price": values["last"],
            "maker_fee_rate": "-0.0001",
            "taker_fee_rate": "0.00075",
            "order_price_round": self.prices[2 if self.coarse else 1],
            "mark_price_round": "0.01",
            "funding_rate": values["funding_rate"],
            "funding_interval": FUNDING_MS // 1_000,
            "funding_next_apply": self.figures.next_funding_ms // 1_000,
            "order_size_min": 1,
            "order_size_max": 1_000_000,
            "enable_decimal": False,
            "in_delisting": False,
            "status": "trading",
            "trade_id": self.trade_id,
            "orderbook_id": self.sequence,
            "position_size": self.figures.open_lots,
            "create_time": 1_600_000_000,
        }
