"""The table of simulated venues: one entry per venue, in the order they are shown."""

from __future__ import annotations

from feedd.errors import StartError
from feedd.sim import session_bybit as bybit
from feedd.sim.exchange import Exchange
from feedd.sim.exchange_binance import CoinmExchange, SpotExchange, UsdmExchange
from feedd.sim.exchange_binance_options import OptionsExchange
from feedd.sim.exchange_bitfinex import BitfinexExchange
from feedd.sim.exchange_bitget import BitgetFuturesExchange, BitgetSpotExchange
from feedd.sim.exchange_bitmex import BitmexExchange
from feedd.sim.exchange_deribit import DeribitExchange
from feedd.sim.exchange_gate import GateFuturesExchange, GateSpotExchange
from feedd.sim.exchange_hyperliquid import HyperliquidExchange
from feedd.sim.exchange_kraken_futures import KrakenFuturesExchange
from feedd.sim.instruments import RECORDED
from feedd.sim.session_coinbase import CoinbaseExchange
from feedd.sim.session_coinbase_exchange import FeedExchange
from feedd.sim.session_kraken import KrakenExchange
from feedd.sim.session_okx import OkxExchange

_CLASSES: tuple[type[Exchange], ...] = (
    DeribitExchange,
    UsdmExchange,
    SpotExchange,
    CoinmExchange,
    OptionsExchange,
    OkxExchange,
    bybit.SpotExchange,
    bybit.LinearExchange,
    bybit.InverseExchange,
    bybit.OptionExchange,
    CoinbaseExchange,
    FeedExchange,
    KrakenExchange,
    KrakenFuturesExchange,
    BitgetSpotExchange,
    BitgetFuturesExchange,
    GateSpotExchange,
    GateFuturesExchange,
    HyperliquidExchange,
    BitmexExchange,
    BitfinexExchange,
)
EXCHANGES: dict[str, type[Exchange]] = {exchange.name: exchange for exchange in _CLASSES}
DEFAULT = RECORDED
"""The usual three."""
ALL = "all"


def choose(text: str) -> tuple[str, ...]:
    """Venues named in a comma separated list, ``all``, or the default where it is empty.

    Raises StartError for a name that is no simulated venue.
    """
    if not text.strip():
        return DEFAULT
    if text.strip() == ALL:
        return tuple(EXCHANGES)
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in EXCHANGES]
    if unknown:
        raise StartError(
            f"--venues: {', '.join(unknown)} is not simulated; use {ALL} or some of "
            f"{', '.join(EXCHANGES)}"
        )
    return names
