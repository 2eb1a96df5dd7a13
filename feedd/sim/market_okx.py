"""What OKX sends about an instrument: trades, books, quotes, figures, liquidations."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from feedd.sim import events
from feedd.sim.bookfeed import BookFeed, Level
from feedd.sim.figures import Figures
from feedd.sim.hub import Hub, Stream
from feedd.sim.instruments import Spec
from feedd.sim.ladder import ASK, BID
from feedd.sim.market import Fill, Timer, VenueTime
from feedd.sim.market_text import TextMarket

OKX = "okx"
BOOK_MS = 100
BOOK_DEPTH = 400
BBO_MS = 10
TOP_DEPTH = 5
KEEPALIVE_S = 60.0
FIGURE_MS = 200
OPEN_INTEREST_MS = 3_000
FUNDING_MS = 30_000
LIQUIDATION_CHANCE = 0.02
INDEX_CENTS = {"BTC": 9_230_000, "ETH": 310_500}
TYPES = {"spot": "SPOT", "perpetual": "SWAP", "future": "FUTURES", "option": "OPTION"}


def family(spec: Spec) -> str:
    """``instFamily`` (and ``uly``): BTC-USDT, BTC-USD; empty for spot."""
    return "" if spec.kind == "spot" else f"{spec.base}-{spec.quote}"


class OkxMarket(TextMarket):
    """``seqId`` counts an instrument's changes and jumps; all channels share it."""

    first_sequence: ClassVar[int] = 9_800_000_000

    def __init__(
        self, spec: Spec, hub: Hub, time: VenueTime, seed: int, one_sided: bool, keepalive_s: float
    ) -> None:
        super().__init__(spec, hub, time, seed, one_sided)
        option = spec.kind == "option"
        self.figures = Figures(self, underlying_cents=INDEX_CENTS.get(spec.base, 0))
        self.trades = self._channel("trades")
        self.all_trades = self._channel("trades-all")
        self.books = self._channel("books")
        self.books.greet = self._greet_book
        self.feed = BookFeed(self, BOOK_MS, BOOK_DEPTH)
        self.top5 = self._channel("books5")
        self.top5_feed = BookFeed(self, BOOK_MS, TOP_DEPTH)
        self.bbo = self._channel("bbo-tbt")
        self.bbo.greet = self._bbo_message
        self._bbo_sent = self.ladder.top()
        self._bbo_sequence = self.sequence
        self.tickers = self._channel("tickers")
        self.tickers.greet = self._ticker_message
        self.mark = None if spec.kind == "spot" else self._channel("mark-price")
        self.interest = None if spec.kind == "spot" else self._channel("open-interest")
        self.funding = self._channel("funding-rate") if spec.kind == "perpetual" else None
        delivered = spec.kind in ("future", "option")
        self.estimate = self._channel("estimated-price") if delivered else None
        for stream, greet in (
            (self.estimate, self._estimate_message),
            (self.mark, self._mark_message),
            (self.interest, self._interest_message),
            (self.funding, self._funding_message),
        ):
            if stream is not None:
                stream.greet = greet
        liquidated = spec.kind in ("perpetual", "future")
        name = f"liquidation-orders:{TYPES[spec.kind]}"
        self.liquidations = hub.stream(OKX, name, "*") if liquidated else None
        self.option_trades: list[Stream] = []
        if option:
            name = f"option-trades:{family(spec)}"
            self.option_trades = [hub.stream(OKX, name, "*"), self._channel("option-trades")]
        self._prev = self.sequence
        self._sent_ms = time.now_ms
        self._keepalive_ms = int((keepalive_s or KEEPALIVE_S) * 1_000)
        self._liquidated_ms = time.now_ms

    def _channel(self, channel: str) -> Stream:
        return self.stream(f"{channel}:{self.spec.symbol}")

    def advance(self, changes: int) -> None:
        self.sequence += changes + int(self._rnd() * 9)

    def reset_sequence(self) -> None:
        """Number on from below, as after a maintenance: the next update has seqId < prevSeqId."""
        self.sequence -= 500_000

    def timers(self) -> list[Timer]:
        timers: list[Timer] = [
            (BBO_MS, self._flush_bbo),
            (BOOK_MS, self._flush_books),
            (FIGURE_MS, self._figures),
        ]
        if self.interest is not None:
            timers.append((OPEN_INTEREST_MS, partial(self._send, self.interest)))
        if self.estimate is not None:
            timers.append((OPEN_INTEREST_MS, partial(self._send, self.estimate)))
        if self.funding is not None:
            timers.append((FUNDING_MS, partial(self._send, self.funding)))
        return timers

    def flush(self) -> None:
        self._flush_bbo()
        self._flush_books()

    # -- messages --------------------------------------------------------------------------

    def _data(self, channel: str, rows: str, action: str = "") -> str:
        shown = f'"action":"{action}",' if action else ""
        return (
            f'{{"arg":{{"channel":"{channel}","instId":"{self.spec.symbol}"}},{shown}'
            f'"data":[{rows}]}}'
        )

    def _send(self, stream: Stream) -> None:
        """Publish what a channel's greeting says, as its next message."""
        stream.count += 1
        if stream.subs and stream.greet is not None:
            message = stream.greet()
            if message is not None:
                self.hub.publish(stream, *message)

    def _wire(self, levels: list[Level]) -> str:
        rows = [
            f'["{price}","{size}","0","{lots % 7 + 1 if lots else 0}"]'
            for (price, size), (_, lots) in zip(self.texts(levels), levels, strict=True)
        ]
        return "[" + ",".join(rows) + "]"

    def _book_row(self, levels: tuple[list[Level], list[Level]], prev: int, sequence: int) -> str:
        return (
            f'{{"asks":{self._wire(levels[ASK])},"bids":{self._wire(levels[BID])},'
            f'"ts":"{self.time.now_ms}","checksum":0,"prevSeqId":{prev},"seqId":{sequence}}}'
        )

    # -- books -----------------------------------------------------------------------------

    def _flush_books(self) -> None:
        changes = self.feed.changes()
        idle = self.time.now_ms - self._sent_ms >= self._keepalive_ms
        if changes or idle:
            self.books.count += 1
            self._sent_ms = self.time.now_ms
            sequence = self.sequence if changes else self._prev
            prev, self._prev = self._prev, sequence
            if self.books.subs:
                row = self._book_row(changes.levels, prev, sequence)
                event = ""
                if changes:
                    event = self.book_event("delta", sequence, *changes.levels, self.time.now_ms)
                self.book_sent = sequence
                self.hub.publish(self.books, self._data("books", row, "update"), event)
        if self.top5_feed.changes():
            self.hub.post(self.top5, self._top5_message)

    def _greet_book(self) -> tuple[str, str]:
        levels = (self.feed.levels(BID), self.feed.levels(ASK))
        self.note_final(self.feed)
        self.book_sent = self._prev
        return (
            self._data("books", self._book_row(levels, -1, self._prev), "snapshot"),
            self.book_event("snapshot", self._prev, *levels, self.time.now_ms),
        )

    def _top5_message(self) -> tuple[str, str]:
        levels = (self.top5_feed.levels(BID), self.top5_feed.levels(ASK))
        self.note_final(self.top5_feed)
        row = (
            f'{{"asks":{self._wire(levels[ASK])},"bids":{self._wire(levels[BID])},'
            f'"instId":"{self.spec.symbol}","ts":"{self.time.now_ms}","seqId":{self.sequence}}}'
        )
        event = self.book_event("snapshot", self.sequence, *levels, self.time.now_ms)
        return self._data("books5", row), event

    def _flush_bbo(self) -> None:
        top = self.ladder.top()
        if top == self._bbo_sent:
            return
        self._bbo_sent, self._bbo_sequence = top, self.sequence
        self.hub.post(self.bbo, self._bbo_message)

    def _bbo_message(self) -> tuple[str, str]:
        bid, bid_lots, ask, ask_lots = self._bbo_sent
        bids = [(bid, bid_lots)] if bid_lots else []
        asks = [(ask, ask_lots)] if ask_lots else []
        row = (
            f'{{"asks":{self._wire(asks)},"bids":{self._wire(bids)},"ts":"{self.time.now_ms}",'
            f'"seqId":{self._bbo_sequence}}}'
        )
        event = events.quote(
            self.spec.name,
            self.texts(bids)[0] if bids else None,
            self.texts(asks)[0] if asks else None,
            str(self._bbo_sequence),
            self.time.now_ms,
        )
        return self._data("bbo-tbt", row), event

    # -- trades ----------------------------------------------------------------------------

    def on_trades(self, buy: bool, fills: list[Fill]) -> None:
        by_price: dict[int, list[int]] = {}
        for tick, lots in fills:
            self.trade_id += 1
            entry = by_price.setdefault(tick, [0, 0, 0])
            entry[0] += lots
            entry[1] += 1
            entry[2] = self.trade_id
            self.figures.note_trade(tick, lots, buy)
            self._send_trades(self.all_trades, "trades-all", [(tick, lots, 1, self.trade_id)], buy)
            for stream in self.option_trades:
                self._option_trade(stream, tick, lots, buy)
        grouped = [(tick, lots, count, last) for tick, (lots, count, last) in by_price.items()]
        self._send_trades(self.trades, "trades", grouped, buy)
        self._maybe_liquidation(buy, fills[-1])

    def _send_trades(
        self, stream: Stream, channel: str, trades: list[tuple[int, int, int, int]], buy: bool
    ) -> None:
        stream.count += 1
        if not stream.subs:
            return
        side, now, sequence = "buy" if buy else "sell", self.time.now_ms, self.sequence
        rows, found = [], []
        for tick, lots, count, trade_id in trades:
            price, size = self.prices[tick], self.sizes[lots]
            rows.append(
                f'{{"instId":"{self.spec.symbol}","tradeId":"{trade_id}","px":"{price}",'
                f'"sz":"{size}","side":"{side}","ts":"{now}","count":"{count}","source":"0",'
                f'"seqId":{sequence}}}'
            )
            found.append(
                events.trade(
                    self.spec.name, price, size, buy, str(trade_id), str(sequence), now
                )
            )  # fmt: skip
        self.hub.publish(stream, self._data(channel, ",".join(rows)), ",".join(found))

    def _option_trade(self, stream: Stream, tick: int, lots: int, buy: bool) -> None:
        stream.count += 1
        if not stream.subs:
            return
        figures, spec, now = self.figures, self.spec, self.time.now_ms
        price, size = self.prices[tick], self.sizes[lots]
        key = "instId" if spec.symbol in stream.name else "instFamily"
        row = (
            f'{{"fillVol":"{figures.mark_iv}","fwdPx":"{figures.underlying}",'
            f'"idxPx":"{figures.index}","instFamily":"{family(spec)}","instId":"{spec.symbol}",'
            f'"markPx":"{figures.mark}","optType":"{spec.option_type[0].upper()}",'
            f'"px":"{price}","side":"{"buy" if buy else "sell"}","sz":"{size}",'
            f'"tradeId":"{self.trade_id}","ts":"{now}"}}'
        )
        body = (
            f'{{"arg":{{"channel":"option-trades","instType":"OPTION",'
            f'"{key}":"{stream.name.partition(":")[2]}"}},"data":[{row}]}}'
        )
        event = events.trade(spec.name, price, size, buy, str(self.trade_id), "null", now)
        self.hub.publish(stream, body, event)

    def _maybe_liquidation(self, buy: bool, fill: Fill) -> None:
        stream, now = self.liquidations, self.time.now_ms
        if stream is None or self._rnd() >= LIQUIDATION_CHANCE:
            return
        if now - self._liquidated_ms < 1_000:
            return
        self._liquidated_ms = now
        stream.count += 1
        price, size = self.prices[fill[0]], self.sizes[fill[1]]
        side, position = ("buy", "short") if buy else ("sell", "long")
        spec = self.spec
        body = (
            f'{{"arg":{{"channel":"liquidation-orders","instType":"{TYPES[spec.kind]}"}},"data":['
            f'{{"instType":"{TYPES[spec.kind]}","instFamily":"{family(spec)}",'
            f'"instId":"{spec.symbol}","uly":"{family(spec)}","details":[{{"side":"{side}",'
            f'"posSide":"{position}","bkPx":"{price}","sz":"{size}","bkLoss":"0","ccy":"",'
            f'"ts":"{now}"}}]}}]}}'
        )
        self.hub.publish(stream, body, events.liquidation(spec.name, price, size, buy, now))

    # -- figures ---------------------------------------------------------------------------

    def _figures(self) -> None:
        self.figures.update()
        self._send(self.tickers)
        if self.mark is not None:
            self._send(self.mark)

    def _deriv(self, values: dict[str, str], next_funding_ms: int = 0) -> str:
        return events.values("deriv", self.spec.name, self.time.now_ms, values, next_funding_ms)

    def _ticker_message(self) -> tuple[str, str] | None:
        figures = self.figures
        bid, bid_lots, ask, ask_lots = self.ladder.top()
        spec, now = self.spec, self.time.now_ms
        last = figures.last
        sides = [
            (f'"{name}Px":"{self.prices[tick]}","{name}Sz":"{self.sizes[lots]}"')
            if lots
            else f'"{name}Px":"","{name}Sz":""'
            for name, tick, lots in (("ask", ask, ask_lots), ("bid", bid, bid_lots))
        ]
        row = (
            f'{{"instType":"{TYPES[spec.kind]}","instId":"{spec.symbol}","last":"{last}",'
            f'"lastSz":"{figures.last_size}",{sides[0]},{sides[1]},"open24h":"{last}",'
            f'"high24h":"{last}","low24h":"{last}","sodUtc0":"{last}","sodUtc8":"{last}",'
            f'"volCcy24h":"1.5","vol24h":"150","ts":"{now}"}}'
        )
        return self._data("tickers", row), self._deriv({"last": last}) if last else ""

    def _mark_message(self) -> tuple[str, str]:
        mark = self.figures.mark
        row = (
            f'{{"instType":"{TYPES[self.spec.kind]}","instId":"{self.spec.symbol}",'
            f'"markPx":"{mark}","ts":"{self.time.now_ms}"}}'
        )
        return self._data("mark-price", row), self._deriv({"mark": mark})

    def _estimate_message(self) -> tuple[str, str]:
        price = self.figures.settlement
        row = (
            f'{{"instType":"{TYPES[self.spec.kind]}","instId":"{self.spec.symbol}",'
            f'"settlePx":"{price}","settleType":"delivery","ts":"{self.time.now_ms}"}}'
        )
        return self._data("estimated-price", row), self._deriv({"settlement": price})

    def _interest_message(self) -> tuple[str, str]:
        interest = self.figures.open_interest
        row = (
            f'{{"instType":"{TYPES[self.spec.kind]}","instId":"{self.spec.symbol}",'
            f'"oi":"{interest}","oiCcy":"22161.1","oiUsd":"1000000","ts":"{self.time.now_ms}"}}'
        )
        return self._data("open-interest", row), self._deriv({"open_interest": interest})

    def _funding_message(self) -> tuple[str, str]:
        rate, then = self.figures.funding_rate, self.figures.next_funding_ms
        row = (
            f'{{"instType":"SWAP","instId":"{self.spec.symbol}","method":"current_period",'
            f'"formulaType":"noRate","fundingRate":"{rate}","fundingTime":"{then}",'
            f'"nextFundingRate":"","nextFundingTime":"{then + 28_800_000}",'
            f'"minFundingRate":"-0.00375","maxFundingRate":"0.00375","interestRate":"",'
            f'"impactValue":"","settState":"settled","settFundingRate":"0.0001699799259033",'
            f'"premium":"0.0001233824646391","ts":"{self.time.now_ms}"}}'
        )
        return self._data("funding-rate", row), self._deriv({"funding_rate": rate}, then)

    def summary(self) -> tuple[str, str]:
        """The option's row of ``opt-summary`` and its journal event."""
        figures, spec, now = self.figures, self.spec, self.time.now_ms
        greeks = figures.greeks
        row = (
            f'{{"instType":"OPTION","instId":"{spec.symbol}","uly":"{family(spec)}",'
            f'"delta":"{greeks.delta}1","gamma":"2.236","vega":"0.0000000001",'
            f'"theta":"0.0000032","lever":"8.46","markVol":"{figures.mark_iv}",'
            f'"bidVol":"{figures.bid_iv or 0}","askVol":"{figures.ask_iv}","realVol":"",'
            f'"deltaBS":"{greeks.delta}","gammaBS":"{greeks.gamma}","thetaBS":"{greeks.theta}",'
            f'"vegaBS":"{greeks.vega}","fwdPx":"{figures.underlying}","volLv":"0.2044",'
            f'"ts":"{now}"}}'
        )
        values = {
            "delta": greeks.delta,
            "gamma": greeks.gamma,
            "vega": greeks.vega,
            "theta": greeks.theta,
            "mark_iv": figures.mark_iv,
            "ask_iv": figures.ask_iv,
            "underlying": figures.underlying,
        }
        if figures.bid_iv:
            values["bid_iv"] = figures.bid_iv
        return row, events.values("greeks", spec.name, now, values)

    # -- REST ------------------------------------------------------------------------------

    def order_book(self, size: int) -> tuple[str, str]:
        """Row of ``GET /market/books`` and its journal event."""
        levels = (self.ladder.levels(BID)[:size], self.ladder.levels(ASK)[:size])
        row = (
            f'{{"asks":{self._wire(levels[ASK])},"bids":{self._wire(levels[BID])},'
            f'"ts":"{self.time.now_ms}","seqId":{self.sequence}}}'
        )
        return row, self.book_event("snapshot", self.sequence, *levels, self.time.now_ms)

    def reference(self) -> dict[str, object]:
        spec = self.spec
        spot, option = spec.kind == "spot", spec.kind == "option"
        inverse = spec.settle == spec.base
        return {
            "instType": TYPES[spec.kind],
            "instId": spec.symbol,
            "instIdCode": 1_000 + sum(map(ord, spec.symbol)),
            "uly": family(spec),
            "instFamily": family(spec),
            "category": "1",
            "baseCcy": spec.base if spot else "",
            "quoteCcy": spec.quote if spot else "",
            "settleCcy": spec.settle,
            "ctVal": "" if spot else spec.contract_size,
            "ctMult": "" if spot else ("0.01" if option else "1"),
            "ctValCcy": "" if spot else ("USD" if inverse and not option else spec.base),
            "optType": spec.option_type[:1].upper(),
            "stk": str(spec.strike) if option else "",
            "listTime": "1597026383085",
            "expTime": str(spec.expiry_ms) if spec.expiry_ms else "",
            "lever": "10",
            "tickSz": self.prices[2 if self.coarse else 1],
            "lotSz": self.sizes[1],
            "minSz": self.sizes[1],
            "ctType": "" if spot or option else ("inverse" if inverse else "linear"),
            "alias": "",
            "state": self.word or "live",
            "ruleType": "normal",
            "maxLmtSz": "9999999999",
            "maxMktSz": "1000000",
        }
