"""Messages in, records out: the one path that the live reader and ``feedd decode`` share."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from feedd.decode.plan import Plan
from feedd.shm.board import BoardWriter
from feedd.shm.books import BooksWriter
from feedd.shm.counters import CountersWriter
from feedd.shm.ring import RingWriter

DATA: int
CONTROL: int
IGNORED: int
BAD: int

class Request(NamedTuple):
    """What the pipeline wants from its surroundings.

    ``kind``: ``"snapshot"`` (a REST depth body for ``symbol``), ``"resubscribe"`` (``channel`` of
    ``symbol``), ``"realign"`` (the same on ``line`` alone; the book goes on over another one),
    ``"reconnect"`` (the whole connection that carries these) or ``"unknown"``
    (``symbol`` has no instrument id). ``line`` is the connection meant, -1 any.
    """

    kind: str
    venue: int
    symbol: str
    channel: str
    line: int = -1

class Said(NamedTuple):
    """What a venue says of an instrument itself. ``status`` is an ``InstrumentStatus`` (0: the
    venue file does not know the word), ``word`` the venue's own one; ``facts_changed``: other
    values of the venue's list differ from what they were."""

    venue: int
    symbol: str
    status: int
    word: str
    facts_changed: bool

class BadFrame(NamedTuple):
    """A rejected message: why, and the beginning of it."""

    venue: int
    line: int
    reason: str
    sample: bytes

class Alarm(NamedTuple):
    """Something about a whole channel that an operator must see: ``field`` vanished, has another
    type, stands still, or its checksum rule changed. ``sample``: what the field says now."""

    venue: int
    channel: str
    field: str
    what: str
    sample: bytes

class Pipeline:
    """Decode, sequence, apply, publish. One pipeline, one thread, one ring.

    ``board`` and ``books`` may be None (no latest-value tables), ``counters`` too (private ones).
    """

    n_venues: int
    def __init__(
        self,
        ring: RingWriter,
        board: BoardWriter | None = None,
        books: BooksWriter | None = None,
        counters: CountersWriter | None = None,
        reader: int = 0,
    ) -> None: ...
    def add_venue(self, plan: Plan) -> int:
        """Handle of a venue for the other calls. Raises ValueError beyond 64 venues."""
    def add_instrument(
        self, venue: int, symbol: str, instrument_id: int, row: int = -1, depth: int = 1024
    ) -> None:
        """Give ``symbol`` its id; from now on its records are published.

        ``row`` is its row of board and books (-1: none), ``depth`` the depth of its shared book.
        """
    def on_unknown(
        self, callback: Callable[[int, str], tuple[int, int, int] | None] | None
    ) -> None:
        """Called with (venue, symbol) at a symbol's first message; returns (id, row, depth) or
        None when the id comes later through ``add_instrument``."""
    def on_message(self, venue: int, data: bytes, ts_recv: int, line: int = 0) -> int:
        """Process one message; returns DATA, CONTROL, IGNORED or BAD. Needs ``commit``."""
    def feed_many(self, venue: int, messages: list[bytes], ts_recv: int) -> int:
        """Process and commit each message in turn; returns how many were data."""
    def commit(self) -> int:
        """Make everything staged visible at once; returns the new head of the ring."""
    def tick(self, budget: int = 16) -> None:
        """Idle work: bring the deep tier of up to ``budget`` shared books up to date."""
    def flush(self) -> None:
        """Bring the deep tier of every shared book up to date."""
    def join_state(self, venue: int, symbol: str, snapshot_id: int, at_hand: bool) -> str:
        """Could a REST snapshot with this id start the book now?

        ``"joined"`` (it could), ``"wait"``, ``"too_old"`` or ``"not_needed"``. A snapshot newer
        than everything buffered only can when it is ``at_hand``.
        """
    def on_rest_snapshot(
        self, venue: int, symbol: str, body: bytes, ts_recv: int, at_hand: bool = True
    ) -> str:
        """Join a REST depth body: an answer of ``join_state``, or ``"bad"``. Needs ``commit``."""
    def request_again(self, venue: int, symbol: str) -> None:
        """Ask once more for the snapshot of a book that still waits (its answer was no use)."""
    def resync(self, venue: int, symbol: str, ts_recv: int, reason: str = "operator") -> bool:
        """Start a book anew as if a message had been lost: one gap, then a fresh snapshot. False
        when there is no book yet. Needs ``commit``; KeyError for an unknown symbol."""
    def take_over(
        self,
        ring: RingWriter,
        board: BoardWriter,
        books: BooksWriter,
        counters: CountersWriter,
        reader: int = 0,
    ) -> None:
        """Publish there from now on. Rows and books are shown as of the ring's newest record: put
        into it what this pipeline published elsewhere and nobody has read yet, first."""
    def line_forget(self, line: int) -> None:
        """A connection of this number begins: its counter and its channel numbers start over."""
    def line_down(self, venue: int, line: int, ts_recv: int, reason: str = "connection") -> int:
        """The connection is gone: every book it fed leaves LIVE; returns how many."""
    def drop_instrument(self, venue: int, symbol: str, ts_recv: int) -> None:
        """Free the book and the row of board and books of an instrument that nobody wants any
        more. What still comes of it is published in the ring alone. Unknown symbols are no
        mistake."""
    def line_carries(self, venue: int, line: int, symbol: str) -> None:
        """The connection is subscribed to the stream of a live book: the book stays live without
        the others. For sequences that show by themselves whether something is missing."""
    def line_moved(self, venue: int, old: int, new: int, ts_recv: int = 0) -> int:
        """Connection ``new`` carries everything that ``old`` did; returns how many books moved.
        They stay as they are: the sequence shows whether something is missing."""
    def channel_numbers(self, venue: int, names: Iterable[str]) -> tuple[int, ...]:
        """Numbers of channels for ``seen_at``; channels that it does not know are left out."""
    def seen_at(self, venue: int, symbol: str, channels: tuple[int, ...]) -> int:
        """Receive time in ns of the last message of an instrument on these channels, 0: none."""
    def carried(self, venue: int, symbol: str, line: int) -> bool:
        """Could the instrument's book go on over this connection alone?"""
    def line_row(self, line: int, row: int) -> None:
        """Shares and lags of ``line`` count in ``row`` of the connection counters (default: in the
        row of its number). ValueError beyond 65,536 lines or 64 rows."""
    def status(
        self,
        code: int,
        ts_recv: int,
        *,
        scope: int,
        line: int = 0,
        text: str = "",
        arg0: int = 0,
        arg1: int = 0,
        state: int = 0,
    ) -> None:
        """Publish a STATUS record that concerns no single instrument. Needs ``commit``."""
    def set_depth(self, venue: int, symbol: str, depth: int) -> None:
        """The depth that the venue confirmed for the book of ``symbol``; 0: not known. From the
        next snapshot on the book is cut to it, where the venue file has depths."""
    def mark_stale(self, venue: int, symbol: str, ts_recv: int, age_ns: int) -> bool:
        """The stream of this book has been silent for too long: a live book becomes STALE. It
        keeps its place, so that the next message that follows revives it. Needs ``commit``;
        KeyError for an unknown symbol."""
    def set_quarantine(self, resyncs: int, window_s: float) -> None:
        """A book that asks for more than ``resyncs`` in ``window_s`` pauses, longer each time
        (from 30 s to 16 min); ``tick`` lets it try again. 0: never (the default)."""
    def set_agree(self, venue: int, ns: int) -> None:
        """How long a message of a book whose losses nothing shows waits for the other lines; 0: the
        first copy is published at once. To be said before the venue's first message."""
    def take_requests(self) -> list[Request]:
        """Requests since the last call, in order."""
    def take_states(self, most: int = 256) -> list[Said]:
        """What venues said of instruments since it was taken last, one each, at most so many."""
    def take_alarms(self) -> list[Alarm]:
        """Up to 16 alarms since the last call; each was published as a STATUS too."""
    def take_bad_frames(self) -> list[BadFrame]:
        """Up to 16 samples of rejected messages since the last call."""
    def book_levels(
        self, venue: int, symbol: str
    ) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        """Every level of the private book: bids and asks as (price, size), best first."""
    def book_state(self, venue: int, symbol: str) -> tuple[int, int]:
        """(BookState, sequence) of an instrument's book; KeyError for an unknown symbol."""
    def symbols_with_books(self, venue: int) -> list[str]:
        """Symbols that have had a book message, in order of arrival."""
    def quick_reads(self, venue: int) -> int:
        """Messages of which only the numbers were read, for they looked as others before."""

    def counters(self) -> dict[str, int]:
        """The reader counters by name."""
