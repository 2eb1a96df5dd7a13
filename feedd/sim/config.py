"""What the simulated venue can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DEFAULT_RATE = 5_000.0


@dataclass(frozen=True, slots=True)
class SimConfig:
    """Options of one simulated venue; the names are those of the command line."""

    host: str = "127.0.0.1"
    port: int = 0
    rest_port: int = 0
    tls: bool = True
    cert_dir: Path = Path("sim-certs")
    venues: str = ""
    """Venues to simulate: comma separated names, ``all``, or empty for the usual three."""
    seed: int = 1
    rate: float = DEFAULT_RATE
    """Events per second over all instruments when everything is subscribed once."""
    epoch_ms: int = 0
    """Venue time of the first tick, Unix ms; 0 takes the clock at start."""
    captures: tuple[Path, ...] = ()
    venue: str = ""
    """The venue of the captures."""
    speed: float = 1.0
    """Of a capture: 1 is original timing, 0 as fast as the client takes it."""
    settle_s: float = 0.5
    """A capture starts this long after the last new subscription."""
    journal: Path | None = None
    faults: tuple[str, ...] = ()
    allow_raw: bool = False
    heartbeat_s: float = 0.0
    """Shortest Deribit heartbeat interval accepted; 0 keeps the venue's 10 s."""
    ping_s: float = 0.0
    """Seconds between protocol pings of the Binance venues; 0 keeps the venues' own."""
    pong_timeout_s: float = 0.0
    max_life_s: float = 86_400.0
    idle_s: float = 0.0
    """Seconds of silence after which a venue ends a connection; 0 keeps the venues' own."""
    keepalive_s: float = 0.0
    """Seconds without a change after which a book channel says so (OKX); 0: the venue's own."""
    notice_s: float = 0.0
    """Seconds from a notice to the end of the connection; 0 keeps the venues' own."""
    limits: bool = True
    """Whether message rate and request weight limits are enforced."""
    one_sided: bool = False
    """Whether an option's book loses a whole side now and then."""
    hold: bool = False
    """Whether the generator waits for the first resume command."""
