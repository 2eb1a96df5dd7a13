"""Binance COIN-M futures: as USD-M, in contracts of some USD, with a key order of its own."""

from __future__ import annotations

from typing import ClassVar

from feedd.sim.instruments import Spec
from feedd.sim.market_usdm import UsdmMarket


def pair(spec: Spec) -> str:
    """BTCUSD of BTCUSD_PERP."""
    return spec.symbol.partition("_")[0]


class CoinmMarket(UsdmMarket):
    """A COIN-M perpetual or dated future; sizes are contracts."""

    product: ClassVar[int] = 2
    first_sequence = 127_500_000_000

    @property
    def pair(self) -> str:
        return pair(self.spec)

    def ticker_body(self, bid: str, bid_size: str, ask: str, ask_size: str) -> str:
        now = self.time.now_ms
        return (
            f'{{"u":{self.sequence},"e":"bookTicker","s":"{self.spec.symbol}","ps":"{self.pair}",'
            f'"b":"{bid}","B":"{bid_size}","a":"{ask}","A":"{ask_size}","T":{now},"E":{now + 1},'
            f'"st":2}}'
        )

    def snapshot_body(self, bids: str, asks: str) -> str:
        now = self.time.now_ms
        return (
            f'{{"lastUpdateId":{self.sequence},"E":{now + 1},"T":{now},'
            f'"symbol":"{self.spec.symbol}","pair":"{self.pair}","bids":{bids},"asks":{asks}}}'
        )

    def reference(self) -> dict[str, object]:
        spec = self.spec
        info = super().reference()
        status = info.pop("status")
        return info | {
            "pair": self.pair,
            "contractType": "PERPETUAL" if spec.kind == "perpetual" else "CURRENT_QUARTER",
            "deliveryDate": spec.expiry_ms or 4_133_404_800_000,
            "contractStatus": status,
            "contractSize": int(spec.contract_size),
            "equalQtyPrecision": 4,
        }
