"""Deribit's channels of an index: price, volatility, delivery price, marks of its options."""

from __future__ import annotations

from feedd.sim import events
from feedd.sim.hub import Hub, Stream
from feedd.sim.instruments import DERIBIT
from feedd.sim.market import Timer, VenueTime
from feedd.sim.market_deribit import DeribitState, frame, shuffled
from feedd.sim.text import fixed, plain, short
from feedd.sim.ticker_deribit import IV_DECIMALS, DeribitTicker

SECOND_MS = 1_000
ESTIMATE_EVERY = 4
"""Every so many seconds the delivery price is an estimated one, as before an expiry."""
VOLATILITY_BASE = 4_800
"""DVOL in hundredths of a percent."""


class DeribitIndex:
    """One index: ``btc_usd``."""

    def __init__(
        self,
        base: str,
        hub: Hub,
        time: VenueTime,
        state: DeribitState,
        tickers: list[DeribitTicker],
    ) -> None:
        self.name = f"{base.lower()}_usd"
        self._base = base
        self._hub = hub
        self._time = time
        self._state = state
        self._options = tickers
        self._seconds = 0
        self._price = self._stream(f"deribit_price_index.{self.name}")
        self._volatility = self._stream(f"deribit_volatility_index.{self.name}")
        self._expiration = self._stream(f"estimated_expiration_price.{self.name}")
        self._marks = self._stream(f"markprice.options.{self.name}", "*")

    def _stream(self, name: str, instrument: str = "") -> Stream:
        return self._hub.stream(DERIBIT, name, instrument or self.name)

    def timers(self) -> list[Timer]:
        return [(SECOND_MS, self._second)]

    def _second(self) -> None:
        self._seconds += 1
        hub = self._hub
        hub.post(self._price, self._price_message)
        hub.post(self._volatility, self._volatility_message)
        hub.post(self._expiration, self._expiration_message)
        hub.post(self._marks, self._marks_message)

    @property
    def _instrument(self) -> str:
        return f"{DERIBIT}:{self.name}"

    def _price_message(self) -> tuple[str, str]:
        cents, now = self._state.index_cents[self._base], self._time.now_ms
        write = short if self._seconds % 3 == 0 else plain
        members = [
            f'"timestamp":{now}',
            f'"price":{write(cents, 2)}',
            f'"index_name":"{self.name}"',
        ]
        event = events.values("deriv", self._instrument, now, {"index": plain(cents, 2)})
        return frame(self._price, shuffled(members, self._seconds)), event

    def _volatility_message(self) -> tuple[str, str]:
        units, now = VOLATILITY_BASE + self._seconds * 7 % 300, self._time.now_ms
        members = [
            f'"volatility":{plain(units, IV_DECIMALS)}',
            f'"timestamp":{now}',
            f'"index_name":"{self.name}"',
        ]
        values = {"mark_iv": fixed(units, IV_DECIMALS + 2)}
        event = events.values("greeks", self._instrument, now, values)
        return frame(self._volatility, shuffled(members, self._seconds)), event

    def _expiration_message(self) -> tuple[str, str]:
        cents, estimated = self._state.index_cents[self._base], self._seconds % ESTIMATE_EVERY == 0
        members = [
            f'"seconds":{180_929 - self._seconds}',
            f'"price":{plain(cents, 2)}',
            f'"is_estimated":{"true" if estimated else "false"}',
        ]
        event = ""
        if estimated:
            event = events.values("deriv", self._instrument, 0, {"settlement": plain(cents, 2)})
        return frame(self._expiration, shuffled(members, self._seconds)), event

    def _marks_message(self) -> tuple[str, str]:
        rows, found, now = [], [], self._time.now_ms
        for ticker in self._options:
            mark, iv = ticker.flat["mark_price"], ticker.flat["mark_iv"]
            if mark is None or iv is None:
                continue
            name, text = ticker.market.spec, fixed(iv[0], IV_DECIMALS + 2)
            members = [
                f'"timestamp":{now}',
                f'"mark_price":{plain(*mark)}',
                f'"iv":{plain(iv[0], IV_DECIMALS + 2)}',
                f'"instrument_name":"{name.symbol}"',
            ]
            rows.append(shuffled(members, self._seconds))
            values = {"mark_iv": text, "mark": plain(*mark)}
            found.append(events.values("greeks", name.name, now, values))
        return frame(self._marks, f"[{','.join(rows)}]"), ",".join(found)
