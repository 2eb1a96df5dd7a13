"""What a simulated venue is to the rest of the simulator: markets, timers, doors.

A venue is one subclass of ``Exchange`` (see ``venues.py`` for the table of them). It says which
instruments there are, makes a ``Market`` for each, a ``Connection`` for each client, and answers
REST requests. Everything else (time, journal, faults, sockets) is common.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from feedd.sim.config import SimConfig
from feedd.sim.connection import Connection
from feedd.sim.hub import Hub
from feedd.sim.instruments import Spec
from feedd.sim.market import STAGES, UNLISTED, Market, Timer, VenueTime

RETICK = "retick"


@dataclass(frozen=True, slots=True)
class World:
    """What all venues of one run share."""

    hub: Hub
    config: SimConfig
    time: VenueTime
    epoch_ms: int
    """Venue time of the first tick, Unix ms."""


@dataclass(frozen=True, slots=True)
class RestRequest:
    """A request; ``path`` is the venue's own, without the simulator's prefix."""

    path: str
    query: Mapping[str, str]
    body: str = ""
    """Of a POST."""


@dataclass(slots=True)
class RestAnswer:
    """What a venue answers. ``event`` is the journal event of an order book, else empty."""

    body: str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    event: str = ""
    instrument: str = ""
    """Symbol whose book this is; empty for what has no ``stale`` form."""


class Exchange(ABC):
    """One simulated venue of one run."""

    name: ClassVar[str]
    steady: ClassVar[float] = 60.0
    """Events per second that come by the clock, whatever the rate."""
    connects: ClassVar[tuple[int, float] | None] = None
    """New connections allowed: so many in so many seconds; None for no limit."""
    events: ClassVar[frozenset[str]] = frozenset()
    """Events of its markets that ``event`` knows, by the name that the control API takes."""
    words: ClassVar[Mapping[str, str]] = {}
    """What the venue says of an instrument at each stage of its life; empty: it says nothing."""
    retick: ClassVar[bool] = False
    """The venue tells of another tick size."""
    symbol_key: ClassVar[str] = ""
    """Parameter of a REST request that names the instrument, where it is one of the query."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.hub = world.hub
        self.config = world.config
        self.time = world.time
        self.markets: dict[str, Market] = {
            spec.symbol: self.market(spec) for spec in self.specs(world.epoch_ms)
        }

    @classmethod
    @abstractmethod
    def specs(cls, epoch_ms: int) -> list[Spec]:
        """The venue's instruments; expiries depend on ``epoch_ms``."""

    @abstractmethod
    def market(self, spec: Spec) -> Market:
        """The market of one instrument."""

    def connection(self, path: str) -> Connection | None:
        """A client that opened ``path`` (with query, without prefix); None refuses it (404).

        The venues whose recordings can be played need none: the server makes their connections,
        which serve recordings as well.
        """
        return None

    def accept(self, path: str, headers: Mapping[str, str]) -> Connection | None:
        """As ``connection``, for a venue to which a header of the handshake means something."""
        return self.connection(path)

    def event(self, event: str, symbol: str) -> bool:
        """Let one of ``events`` happen to an instrument; false when it has no such event."""
        return False

    @property
    def listed(self) -> list[Market]:
        """The markets that the venue's lists have."""
        return [market for market in self.markets.values() if market.stage != UNLISTED]

    def become(self, event: str, symbol: str) -> bool:
        """Let an instrument be listed, halted, resumed, delisted or get another tick, and say so
        on the venue's channel; false where there is none, or no such instrument."""
        market = self.markets.get(symbol)
        if market is None:
            return False
        if event == RETICK:
            if self.retick:
                market.coarse = True
                self.tell_state(market)
            return self.retick
        stage = STAGES[event]
        if stage != UNLISTED and stage not in self.words:
            return False
        market.stage, market.word = stage, self.words.get(stage, "")
        if stage != UNLISTED:
            self.tell_state(market)
        return True

    def tell_state(self, market: Market) -> None:  # noqa: B027 - only some venues have a channel
        """Send what the venue says of an instrument that is not what it was."""

    def timers(self) -> list[Timer]:
        """What the venue as a whole does at fixed intervals: (milliseconds, action)."""
        return []

    def rest(self, request: RestRequest) -> RestAnswer | None:
        """Answer a request; None when the venue has no such path."""
        return None

    def rest_symbol(self, request: RestRequest) -> str:
        """The instrument that a request is about, for faults; empty where it has none."""
        return request.query.get(self.symbol_key, "")

    def rest_refusal(self, status: int) -> str:
        """Body of an answer with an error status that a fault asked for."""
        return f'{{"error":"status {status}"}}'
