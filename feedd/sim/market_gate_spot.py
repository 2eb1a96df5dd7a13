"""Gate spot's own message forms: sizes in base coins, trades one by one."""

from __future__ import annotations

from feedd.sim import events
from feedd.sim.instruments import Spec
from feedd.sim.market_gate import GateMarket
from feedd.sim.market_streams import Trade

GATE = "gate"
FRACTIONS = 10_000
"""Parts of a millisecond in which trades are stamped."""
PART_NS = 100


def gate_specs() -> list[Spec]:
    """Three pairs."""
    return [
        Spec(GATE, "BTC_USDT", "spot", "BTC", "USDT", "", 1, 1, 6, 1,
             923_000, 300, 0.4, 300_000),
        Spec(GATE, "ETH_USDT", "spot", "ETH", "USDT", "", 2, 1, 4, 1,
             310_500, 240, 0.35, 60_000),
        Spec(GATE, "SOL_USDT", "spot", "SOL", "USDT", "", 2, 1, 3, 1,
             14_120, 200, 0.25, 90_000),
    ]  # fmt: skip


class GateSpotMarket(GateMarket):
    """``spot.*`` channels."""

    prefix = "spot"

    def update_head(self) -> str:
        return f'"e":"depthUpdate","E":{self.time.now_ms // 1_000},'

    def on_fills(self, trades: list[Trade]) -> None:
        for trade in trades:
            self.hub.post(self._trades, lambda trade=trade: self._trade(trade))  # type: ignore[misc]

    def _trade(self, trade: Trade) -> tuple[str, str]:
        part = trade.number * 7_919 % FRACTIONS
        side = "buy" if trade.buy else "sell"
        result = (
            f'{{"id":{trade.ident},"create_time":{trade.ms // 1_000},'
            f'"create_time_ms":"{trade.ms}.{part:04d}","side":"{side}",'
            f'"currency_pair":"{self.spec.symbol}","amount":"{self.sizes[trade.lots]}",'
            f'"price":"{self.prices[trade.tick]}"}}'
        )
        event = ""
        if self.hub.journal.enabled:
            event = events.trade(
                self.spec.name, self.prices[trade.tick], self.sizes[trade.lots], trade.buy,
                trade.ident, "null", trade.ms, extra_ns=part * PART_NS,
            )  # fmt: skip
        return self.frame_of("trades", result), event

    def reference(self) -> dict[str, object]:
        spec = self.spec
        return {
            "id": spec.symbol,
            "base": spec.base,
            "base_name": spec.base,
            "quote": spec.quote,
            "quote_name": spec.quote,
            "fee": "0.2",
            "min_base_amount": self.sizes[1],
            "min_quote_amount": "3",
            "max_quote_amount": "5000000",
            "amount_precision": spec.size_decimals,
            "precision": spec.price_decimals,
            "trade_status": "tradable",
            "sell_start": 0,
            "buy_start": 0,
            "delisting_time": 0,
            "type": "normal",
            "st_tag": False,
        }
