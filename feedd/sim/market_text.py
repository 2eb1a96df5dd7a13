"""A market that writes plain decimal text: the base of all venues but Deribit and Binance."""

from __future__ import annotations

from typing import ClassVar

from feedd.sim import events
from feedd.sim.bookfeed import BookFeed, Level
from feedd.sim.hub import Hub, Stream
from feedd.sim.instruments import Spec
from feedd.sim.ladder import ASK, BID
from feedd.sim.market import Fill, Market, Timer, VenueTime
from feedd.sim.text import FixedText, TrimmedText


class TextMarket(Market):
    """Texts of prices and sizes, journal events, and hooks that do nothing yet.

    A subclass makes its streams and feeds in ``__init__`` and overrides the hooks it needs.
    """

    price_form: ClassVar[type[FixedText]] = TrimmedText
    size_form: ClassVar[type[FixedText]] = TrimmedText
    first_sequence: ClassVar[int] = 1_000_000

    def __init__(self, spec: Spec, hub: Hub, time: VenueTime, seed: int, one_sided: bool) -> None:
        super().__init__(spec, hub, time, seed, one_sided)
        self.prices = self.price_form(spec.price_decimals, spec.tick)
        self.sizes = self.size_form(spec.size_decimals, spec.lot)
        self.sequence = self.first_sequence + self.rng.randrange(1_000_000)
        self.trade_id = 1_000_000 + self.rng.randrange(1_000_000)
        self._final: BookFeed | None = None

    def stream(self, name: str) -> Stream:
        """The instrument's stream of that name."""
        return self.hub.stream(self.spec.venue, name, self.spec.symbol)

    def price_text(self, tick: int) -> str:
        return self.prices[tick]

    def size_text(self, lots: int) -> str:
        return self.sizes[lots]

    # -- hooks -----------------------------------------------------------------------------

    def advance(self, changes: int) -> None:
        self.sequence += changes

    def on_trades(self, buy: bool, fills: list[Fill]) -> None:
        """Nothing."""

    def on_top(self, top: tuple[int, int, int, int]) -> None:
        """Nothing."""

    def timers(self) -> list[Timer]:
        return []

    def flush(self) -> None:
        """Nothing."""

    # -- text and journal ------------------------------------------------------------------

    def texts(self, levels: list[Level]) -> list[tuple[str, str]]:
        """(price, size) of each level; size "0" in the venue's form for a removed one."""
        prices, sizes = self.prices, self.sizes
        return [(prices[tick], sizes[lots]) for tick, lots in levels]

    def book_event(
        self,
        action: str,
        sequence: int | str | None,
        bids: list[Level],
        asks: list[Level],
        ts_ms: int,
        extra_ns: int = 0,
    ) -> str:
        """The journal event of a book message; empty without a journal."""
        if not self.hub.journal.enabled:
            return ""
        number: int | str = "null" if sequence is None else sequence
        wire = events.levels_text(self.texts(bids)), events.levels_text(self.texts(asks))
        return events.book(
            self.spec.name, action, number, ts_ms, wire[BID], wire[ASK], extra_ns
        )  # fmt: skip

    def note_final(self, feed: BookFeed) -> None:
        """Somebody got this channel's book: the deepest such channel gives the final book."""
        known = self._final
        if known is None or (
            known.depth is not None and (feed.depth is None or feed.depth > known.depth)
        ):
            self._final = feed

    def final_book(self) -> dict[str, object]:
        row = super().final_book()
        if self._final is not None:
            row["bids"] = self.texts(self._final.levels(BID))
            row["asks"] = self.texts(self._final.levels(ASK))
        return row
