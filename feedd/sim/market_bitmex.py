"""What BitMEX sends about an instrument: tables of rows, inserted, updated and deleted."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from functools import partial

from feedd.sim import events
from feedd.sim.bookfeed import BookFeed, Level
from feedd.sim.figures import FUNDING_MS, Figures
from feedd.sim.hub import Hub, Stream
from feedd.sim.instruments import Spec
from feedd.sim.ladder import ASK, BID
from feedd.sim.market import Timer, VenueTime
from feedd.sim.market_streams import LIQUIDATION_EVERY, Message, StreamMarket, Trade
from feedd.sim.text import iso_ms, trimmed

BITMEX = "bitmex"
OLD_FORM_EVERY = 3
"""One book message in this many has the form without times, its prices in inserts alone."""
INSTRUMENT_MS = 500
DEPTHS = {"orderBookL2": None, "orderBookL2_25": 25}
TOP_DEPTH = 10
SIDES = ("Buy", "Sell")
ID_STEP = 7_919
ID_SPAN = 100_000_000
Row = tuple[int, int, int]
"""Side, tick and size of a level."""


def bitmex_specs() -> list[Spec]:
    """An inverse, a quanto and a linear perpetual, and a spot pair; sizes in contracts."""
    return [
        Spec(BITMEX, "XBTUSD", "perpetual", "XBT", "USD", "XBT", 1, 1, 0, 100,
             984_600, 240, 0.4, 500),
        Spec(BITMEX, "ETHUSD", "perpetual", "ETH", "USD", "XBT", 2, 5, 0, 1,
             62_100, 200, 0.25, 3_000),
        Spec(BITMEX, "XBTUSDT", "perpetual", "XBT", "USDT", "USDT", 1, 5, 0, 100,
             184_600, 200, 0.25, 900),
        Spec(BITMEX, "XBT_USDT", "spot", "XBT", "USDT", "", 1, 1, 0, 1_000,
             923_000, 120, 0.1, 300),
    ]  # fmt: skip


class _Keyed:
    """A table of levels: which rows exist, and what a step does to them."""

    def __init__(self, feed: BookFeed, stream: Stream) -> None:
        self.feed = feed
        self.stream = stream
        self._there = ({t for t, _ in feed.levels(BID)}, {t for t, _ in feed.levels(ASK)})

    def actions(self) -> dict[str, list[Row]]:
        """Rows by action, in the order in which the messages go out."""
        found: dict[str, list[Row]] = {"delete": [], "update": [], "insert": []}
        changes = self.feed.changes()
        for side, there in zip((BID, ASK), self._there, strict=True):
            for tick, size in changes.levels[side]:
                if not size:
                    there.discard(tick)
                    found["delete"].append((side, tick, 0))
                elif tick in there:
                    found["update"].append((side, tick, size))
                else:
                    there.add(tick)
                    found["insert"].append((side, tick, size))
        return found


class BitmexMarket(StreamMarket):
    """Levels are known by ids that say nothing of the price; nothing is numbered."""

    numbered = False
    recent_max = 1

    def __init__(self, spec: Spec, hub: Hub, time: VenueTime, seed: int) -> None:
        super().__init__(spec, hub, time, seed)
        symbol = spec.symbol
        self._first_id = (self.rng.randrange(300) + 100) * ID_SPAN
        self._ids: dict[int, int] = {}
        self.figures = None
        if spec.kind == "perpetual":
            self.figures = Figures(self, decimals=spec.price_decimals + 1)
        self._tables = []
        for table, depth in DEPTHS.items():
            stream = self.channel(f"{table}:{symbol}")
            keyed = _Keyed(BookFeed(self, 0, depth), stream)
            stream.greet = partial(self._levels_partial, table, keyed)
            self._tables.append((table, keyed))
        self._top_feed = BookFeed(self, 0, TOP_DEPTH)
        self._top = self.channel(f"orderBook10:{symbol}", partial(self._top_message, "partial"))
        self._quotes = self.channel(f"quote:{symbol}", partial(self._quote_message, "partial"))
        self._trades = self.channel(f"trade:{symbol}", self._last_trade)
        self._instrument = self.channel(f"instrument:{symbol}", self._instrument_partial)
        self._funding = self.channel(f"funding:{symbol}", self._funding_partial)
        self._settlements = self.channel(
            f"settlement:{symbol}", lambda: (self.message("settlement", "partial", []), "")
        )
        self._liquidations = self.channel(f"liquidation:{symbol}", self._liquidation_partial)
        self._orders: dict[str, Trade] = {}
        self._told = self._state()
        self._funding_ms = self.figures.next_funding_ms if self.figures is not None else 0

    def timers(self) -> list[Timer]:
        return [(INSTRUMENT_MS, self._tick)]

    def message(self, table: str, action: str, rows: Iterable[str]) -> str:
        """A table's message; a partial says what is filtered and how rows are keyed."""
        more = ""
        if action == "partial":
            keys = '["symbol","id","side"]' if table in DEPTHS else "[]"
            more = (
                f'"keys":{keys},"types":{{"symbol":"symbol"}},"foreignKeys":{{}},'
                f'"attributes":{{"symbol":"grouped"}},"filter":{{"symbol":"{self.spec.symbol}"}},'
            )
        return f'{{"table":"{table}","action":"{action}",{more}"data":[{",".join(rows)}]}}'

    # -- book ------------------------------------------------------------------------------

    def _id(self, tick: int) -> int:
        """A level's id: the same whenever the level exists, on whichever side."""
        found = self._ids.get(tick)
        if found is None:
            number = (len(self._ids) + 1) * ID_STEP % ID_SPAN
            found = self._ids[tick] = self._first_id + number
        return found

    def _level_row(self, action: str, row: Row, old: bool) -> str:
        side, tick, size = row
        parts = f'"symbol":"{self.spec.symbol}","id":{self._id(tick)},"side":"{SIDES[side]}"'
        if action != "delete":
            parts += f',"size":{self.sizes[size]}'
        if not old or action in ("partial", "insert"):
            parts += f',"price":{self.prices[tick]}'
        if not old:
            now = self.time.now_ms
            parts += f',"timestamp":"{iso_ms(now)}","transactTime":"{iso_ms(now - 80)}"'
        return f"{{{parts}}}"

    def on_book(self) -> None:
        for table, keyed in self._tables:
            for action, rows in keyed.actions().items():
                if not rows:
                    continue
                for _, tick, _ in rows:
                    self._id(tick)
                keyed.stream.count += 1
                if keyed.stream.subs:
                    self._send_rows(table, keyed, action, rows)
        if self._top_feed.changes():
            self.hub.post(self._top, partial(self._top_message, "update"))

    def _send_rows(self, table: str, keyed: _Keyed, action: str, rows: list[Row]) -> None:
        old = keyed.stream.count % OLD_FORM_EVERY == 0
        body = self.message(table, action, [self._level_row(action, row, old) for row in rows])
        sides: tuple[list[Level], list[Level]] = ([], [])
        for side, tick, size in rows:
            sides[side].append((tick, size))
        self.note_final(keyed.feed)
        ms = 0 if old else self.time.now_ms
        self.hub.publish(keyed.stream, body, self.book_event("delta", None, *sides, ms))

    def _levels_partial(self, table: str, keyed: _Keyed) -> Message:
        bids, asks = keyed.feed.levels(BID), keyed.feed.levels(ASK)[::-1]
        self.note_final(keyed.feed)
        rows = [(ASK, tick, size) for tick, size in asks]
        rows += [(BID, tick, size) for tick, size in bids]
        body = self.message(
            table, "partial", [self._level_row("partial", row, False) for row in rows]
        )
        return body, self.book_event("snapshot", None, bids, asks, self.time.now_ms)

    def _top_message(self, action: str) -> Message:
        bids, asks = self._top_feed.levels(BID), self._top_feed.levels(ASK)
        now = self.time.now_ms
        pairs = [
            "[" + ",".join([f"[{self.prices[t]},{self.sizes[s]}]" for t, s in side]) + "]"
            for side in (bids, asks)
        ]
        row = (
            f'{{"symbol":"{self.spec.symbol}","bids":{pairs[0]},"timestamp":"{iso_ms(now)}",'
            f'"asks":{pairs[1]}}}'
        )
        body = self.message("orderBook10", action, [row])
        return body, self.book_event("snapshot", None, bids, asks, now)

    def order_book(self, depth: int | None) -> str:
        """Body of the REST order book: rows as in a partial."""
        bids, asks = self.best(depth)
        rows = [(ASK, tick, size) for tick, size in reversed(asks)]
        rows += [(BID, tick, size) for tick, size in bids]
        return "[" + ",".join([self._level_row("partial", row, False) for row in rows]) + "]"

    # -- quotes and trades -----------------------------------------------------------------

    def on_top(self, top: tuple[int, int, int, int]) -> None:
        self.hub.post(self._quotes, partial(self._quote_message, "insert"))

    def _quote_message(self, action: str) -> Message:
        top = bid, bid_size, ask, ask_size = self.ladder.top()
        now = self.time.now_ms
        row = (
            f'{{"timestamp":"{iso_ms(now)}","symbol":"{self.spec.symbol}",'
            f'"bidSize":{self.sizes[bid_size]},"bidPrice":{self.prices[bid]},'
            f'"askPrice":{self.prices[ask]},"askSize":{self.sizes[ask_size]}}}'
        )
        return self.message("quote", action, [row]), self.quote_event(top, None, now)

    def trade_ident(self) -> str:
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    def on_fills(self, trades: list[Trade]) -> None:
        self.hub.post(
            self._trades,
            lambda: (
                self.message("trade", "insert", map(self._trade, trades)),
                ",".join(map(self.trade_event, trades)),
            ),
        )
        if self.takers % LIQUIDATION_EVERY == 0 and self.spec.kind == "perpetual":
            order = trades[-1]
            self._orders[order.ident] = order
            self._liquidations.count += 1
            if self._liquidations.subs:
                row = self._order(order, order.lots)
                body = self.message("liquidation", "insert", [row])
                self.hub.publish(self._liquidations, body, self._liquidation_event(order))

    def _trade(self, trade: Trade) -> str:
        price, size = self.prices[trade.tick], self.sizes[trade.lots]
        return (
            f'{{"timestamp":"{iso_ms(trade.ms)}","symbol":"{self.spec.symbol}",'
            f'"side":"{SIDES[not trade.buy]}","size":{size},"price":{price},'
            f'"tickDirection":"ZeroPlusTick","trdMatchID":"{trade.ident}",'
            f'"grossValue":{int(size) * 1_000},"homeNotional":{int(size) / float(price):.8g},'
            f'"foreignNotional":{size},"trdType":"Regular"}}'
        )

    def _last_trade(self) -> Message:
        past = list(self.recent)
        body = self.message("trade", "partial", map(self._trade, past))
        return body, ",".join([self.trade_event(trade, replay=True) for trade in past])

    # -- liquidation orders ----------------------------------------------------------------

    def _order(self, order: Trade, lots: int) -> str:
        return (
            f'{{"orderID":"{order.ident}","symbol":"{self.spec.symbol}",'
            f'"side":"{SIDES[not order.buy]}","price":{self.prices[order.tick]},'
            f'"leavesQty":{self.sizes[lots]}}}'
        )

    def _liquidation_event(self, order: Trade) -> str:
        if not self.hub.journal.enabled:
            return ""
        return events.liquidation(
            self.spec.name, self.prices[order.tick], self.sizes[order.lots], order.buy, 0,
            order.ident,
        )  # fmt: skip

    def _liquidation_partial(self) -> Message:
        rows = [self._order(order, order.lots) for order in self._orders.values()]
        return self.message("liquidation", "partial", rows), ""

    def _work_orders(self) -> None:
        """Open liquidation orders are filled in part, then gone."""
        orders, self._orders = self._orders, {}
        for order in orders.values():
            changed = self._order(order, max(order.lots // 2, 1))
            gone = f'{{"orderID":"{order.ident}","symbol":"{self.spec.symbol}"}}'
            for action, row in (("update", changed), ("delete", gone)):
                self._liquidations.count += 1
                body = self.message("liquidation", action, [row])
                self.hub.publish(self._liquidations, body, "")

    # -- instrument and funding ------------------------------------------------------------

    def _state(self) -> dict[str, str]:
        """Fields of the instrument's row that change, as JSON text."""
        bid, _, ask, _ = self.ladder.top()
        state = {
            "lastPrice": self.prices[self.last_tick],
            "bidPrice": self.prices[bid],
            "askPrice": self.prices[ask],
        }
        figures = self.figures
        if figures is not None:
            state |= {
                "markPrice": figures.mark,
                "fairPrice": figures.mark,
                "indicativeSettlePrice": figures.index,
                "openInterest": figures.open_interest,
                "fundingRate": figures.funding_rate,
                "indicativeFundingRate": figures.predicted_funding,
                "fundingTimestamp": f'"{iso_ms(figures.next_funding_ms)}"',
            }
        return state

    def _tick(self) -> None:
        self._work_orders()
        if self.figures is not None and self._instrument.count % 2 == 0:
            self.figures.update()
            self._fund(self.figures.next_funding_ms)
        state = self._state()
        changed = {key: text for key, text in state.items() if self._told.get(key) != text}
        self._told = state
        self.hub.post(self._instrument, partial(self._instrument_message, "update", changed))

    def send_state(self) -> None:
        """An update that says what the instrument is, and nothing else."""
        changed = {"state": json.dumps(self.word)}
        self.hub.post(self._instrument, lambda: self._instrument_message("update", changed))
        if self.word == "Settled":
            self.hub.post(self._settlements, self._settlement_message)

    def _settlement_message(self) -> Message:
        now, price = self.time.now_ms, self.prices[self.last_tick]
        row = (
            f'{{"timestamp":"{iso_ms(now)}","symbol":"{self.spec.symbol}",'
            f'"settlementType":"Settlement","settledPrice":{price},"bankrupt":null}}'
        )
        return (
            self.message("settlement", "insert", [row]),
            self.deriv_event(now, {"settlement": price}),
        )

    def _instrument_message(self, action: str, fields: dict[str, str]) -> Message:
        now = self.time.now_ms
        row = ",".join([f'"{key}":{text}' for key, text in fields.items()])
        comma = "," if row else ""
        text = f'{{"symbol":"{self.spec.symbol}",{row}{comma}"timestamp":"{iso_ms(now)}"}}'
        names = {
            "markPrice": "mark",
            "indicativeSettlePrice": "index",
            "lastPrice": "last",
            "openInterest": "open_interest",
            "fundingRate": "funding_rate",
            "indicativeFundingRate": "predicted_funding",
        }
        values = {name: fields[key] for key, name in names.items() if key in fields}
        next_ms = 0
        if self.figures is not None and "fundingTimestamp" in fields:
            next_ms = self.figures.next_funding_ms
        event = self.deriv_event(now, values, next_ms) if values or next_ms else ""
        return self.message("instrument", action, [text]), event

    def _instrument_partial(self) -> Message:
        """The whole row as last told, with the reference data that never change."""
        fixed = {key: json.dumps(value) for key, value in self.reference().items()}
        fixed = {key: text for key, text in fixed.items() if key not in ("symbol", "timestamp")}
        return self._instrument_message("partial", fixed | self._told)

    def _fund(self, next_ms: int) -> None:
        """Say that there was a funding when the next one is another than before."""
        due, self._funding_ms = self._funding_ms, next_ms
        if due != next_ms:
            self.hub.post(self._funding, partial(self._funding_message, "insert", due))

    def _funding_partial(self) -> Message:
        if self.figures is None:
            return self.message("funding", "partial", []), ""
        return self._funding_message("partial", self.figures.next_funding_ms - FUNDING_MS)

    def _funding_message(self, action: str, ms: int) -> Message:
        rate = self.figures.funding_rate if self.figures is not None else "0"
        row = (
            f'{{"timestamp":"{iso_ms(ms)}","symbol":"{self.spec.symbol}",'
            f'"fundingInterval":"2000-01-01T08:00:00.000Z","fundingRate":{rate},'
            f'"fundingRateDaily":{3 * float(rate):.8g}}}'
        )
        event = self.deriv_event(ms, {"funding_rate": rate})
        return self.message("funding", action, [row]), event

    # -- reference data --------------------------------------------------------------------

    def reference(self) -> dict[str, object]:
        spec = self.spec
        inverse, quanto = spec.symbol == "XBTUSD", spec.symbol == "ETHUSD"
        info: dict[str, object] = {
            "symbol": spec.symbol,
            "rootSymbol": spec.base,
            "state": self.word or "Open",
            "typ": "FFWCSX" if spec.kind == "perpetual" else "IFXXXP",
            "listing": "2016-05-13T12:00:00.000Z",
            "expiry": None,
            "underlying": spec.base,
            "quoteCurrency": spec.quote,
            "referenceSymbol": f".B{spec.base}",
            "lotSize": spec.lot,
            "tickSize": float(trimmed(spec.tick, spec.price_decimals)),
            "isInverse": inverse,
            "isQuanto": quanto,
            "settlCurrency": "USDt" if spec.quote == "USDT" else "XBt",
            "timestamp": iso_ms(self.time.now_ms),
        }
        if inverse:
            return info | {"multiplier": -100_000_000, "underlyingToPositionMultiplier": None}
        if quanto:
            return info | {"multiplier": 100, "underlyingToPositionMultiplier": None}
        return info | {"multiplier": 1, "underlyingToPositionMultiplier": 1_000_000}
