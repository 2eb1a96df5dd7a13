"""The Feed: one daemon's shared memory as a consumer sees it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from feedd import clock
from feedd.client.book import TOP_LEVELS, Book, BookSnapshot
from feedd.client.cursor import reader_numbers, ring_id
from feedd.client.instruments import Instrument, Instruments
from feedd.client.life import SILENT_NS, writes
from feedd.client.stream import OnOverrun, Start, Stream, Wait
from feedd.errors import ShmError
from feedd.shm.books import BooksReader
from feedd.shm.directory import lock_held, lock_path
from feedd.shm.ring import RingReader

if TYPE_CHECKING:  # the rest is imported by those who use it: most consumers read a stream
    import numpy.typing as npt

    from feedd.client.reader_info import ReaderInfo
    from feedd.shm.board import BoardReader
    from feedd.shm.counters import CountersReader

__all__ = ["Feed", "Join"]

_Mapped = TypeVar("_Mapped", "BoardReader", BooksReader, RingReader)


class Join(NamedTuple):
    """A book and the stream that begins with the first record that is not in it."""

    book: BookSnapshot
    stream: Stream


class Feed:
    """Everything one daemon publishes, read-only: nothing done here can disturb it.

    Made by ``feedd.attach()``. It stays usable when the daemon is restarted in the same directory:
    streams follow to the new rings (``batch.restarted``), books and boards are mapped again.
    Objects belong to one thread; attach once per thread.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.instruments = Instruments(directory)
        self._counters: CountersReader | None = None
        self._boards: dict[int, BoardReader] = {}
        self._books: dict[int, BooksReader] = {}
        self._rings: dict[int, RingReader] = {}

    # ---- what there is ----------------------------------------------------------------------

    def instrument(self, name: str | int) -> Instrument:
        """The instrument "venue:SYMBOL" (or of an id); KeyError with a hint when there is none."""
        return self.instruments[name]

    @property
    def readers(self) -> list[ReaderInfo]:
        """The daemon's reader processes: life, ring, counters, latencies, as of now."""
        from feedd.client.reader_info import ReaderInfo  # for those who look at the daemon
        from feedd.shm.connections import venue_code

        counters = self._counters_reader()
        names = {name.decode() for name in set(self.instruments.array["venue"].tolist())}
        venues = {venue_code(name): name for name in names}
        return [
            ReaderInfo.look(self.directory, number, counters, venues)
            for number in reader_numbers(self.directory)
        ]

    @property
    def alive(self) -> bool:
        """True while every reader process lives and there is at least one."""
        numbers = reader_numbers(self.directory)
        return bool(numbers) and all(lock_held(lock_path(self.directory, n)) for n in numbers)

    def _counters_reader(self) -> CountersReader | None:
        if self._counters is None or self._counters.segment.superseded:
            from feedd.shm.counters import CountersReader

            try:
                fresh = CountersReader(self.directory)
            except ShmError:
                return self._counters
            if self._counters is not None:
                self._counters.close()
            self._counters = fresh
        return self._counters

    # ---- streams ----------------------------------------------------------------------------

    def stream(
        self,
        venues: Iterable[str] | None = None,
        kinds: Iterable[str | int] | None = None,
        instruments: Iterable[str | int | Instrument] | None = None,
        *,
        start: Start = "newest",
        wait: Wait = "futex",
        on_overrun: OnOverrun = "count",
        timeout: float | None = None,
        batch_max: int = 8192,
        readers: Iterable[int] | None = None,
    ) -> Stream:
        """An endless iterator of ``Batch`` over all readers' rings, also for ``async for``.

        ``venues``, ``kinds``, ``instruments``: what to hand out (None: everything); "book" brings
        the book controls along, and records that concern no instrument always pass the instrument
        filters. ``start``: "newest", "oldest" (as far back as the rings hold) or the ``positions``
        of an earlier batch. ``wait``: "futex" sleeps (about 25 us to wake), "yield" and "spin" burn
        a core for less latency. ``on_overrun``: loss is counted in ``batch.lost``, or raises
        ``LappedError``. ``timeout``: after so many seconds of silence an empty batch is handed out,
        None waits for ever. ``batch_max``: records of a batch; a longer event makes it larger.
        ``readers``: numbers of the reader processes to follow, None for all.
        """
        return Stream(
            self.directory,
            self.instruments,
            venues=[venues] if isinstance(venues, str) else venues,
            kinds=[kinds] if isinstance(kinds, str) else kinds,
            chosen=[instruments]
            if isinstance(instruments, (str, int, Instrument))
            else instruments,
            start=start,
            wait=wait,
            on_overrun=on_overrun,
            timeout=timeout,
            batch_max=batch_max,
            readers=readers,
        )

    def join(self, name: str | int, *, depth: int | None = None, **options: Any) -> Join:
        """One instrument's book and the stream of what comes after it: no record twice, none lost.

        ``options`` are those of ``stream`` but for ``instruments`` and ``start``. Fold the stream
        into the book with ``BookBuilder.seed`` (tell it ``book.cut``) and ``apply``.
        """
        book = self.book(name, depth=depth)
        try:
            deadline = clock.monotonic_ns() + SILENT_NS
            while (joined := self._join(book, options, deadline)) is None:
                pass
            return joined
        finally:
            book.close()

    def _join(self, book: Book, options: dict[str, Any], deadline: int) -> Join | None:
        """None: another writer or another ring came meanwhile."""
        reader = book.instrument.reader
        with RingReader(self.directory, reader) as ring:
            head, epoch = ring.head, ring.epoch
            snapshot = book.refresh()
            position = snapshot.ring_pos + 1
            if position <= ring.capacity:  # before the ring's first record: no book yet
                position = head
            # Books are written first: their last records may be committed in a moment.
            while ring.head < position and ring.epoch == epoch:
                if clock.monotonic_ns() > deadline:
                    raise ShmError(
                        f"{snapshot.instrument.name}: the newest change of its book was never "
                        "published, its reader process died or was stopped before: join again "
                        "when the next one is there"
                    )
                clock.sleep(0)
            start = {str(reader): [ring_id(ring), position]}
            if snapshot.instrument.reader != reader or ring.superseded or ring.epoch != epoch:
                return None
        stream = Stream(
            self.directory,
            self.instruments,
            chosen=[snapshot.instrument.id],
            start=start,
            readers=[reader],
            **options,
        )
        return Join(snapshot, stream)

    # ---- latest values ----------------------------------------------------------------------

    def book(self, name: str | int, *, depth: int | None = TOP_LEVELS) -> Book:
        """Live view of one book. ``depth``: levels a side, None for all that are shared.

        Up to 32 levels are a plain copy; more are rolled forward from the daemon's deep copy.
        """
        return Book(
            lambda: self.instruments[name],
            self._book_reader,
            self._ring_reader,
            self._kept_up,
            depth,
        )

    def board(
        self,
        *,
        kind: str | None = None,
        underlying: str | None = None,
        venue: str | None = None,
        instruments: Iterable[str | int | Instrument] | None = None,
    ) -> npt.NDArray[Any]:
        """The latest of everything as one structured array, dtype ``BOARD_VIEW``.

        ``board(kind="option", underlying="BTC")`` is the whole surface: name, strike, expiry
        (ns), option_type (+1 call, -1 put), mark_iv, delta, bid_price ... Each row is consistent in
        itself. Prices and sizes are in the venue's units; absent numbers are NaN. What was live
        when its reader process died has the state STALE.
        """
        ids = None if instruments is None else self.instruments.ids(instruments)
        self.instruments.refresh()
        mask = self.instruments.mask(
            venues=None if venue is None else [venue], kind=kind, underlying=underlying, ids=ids
        )
        from feedd.client.board import read_board

        return read_board(self.instruments.cached[mask], self._board_reader, self._kept_up)

    def _board_reader(self, number: int) -> BoardReader:
        from feedd.shm.board import BoardReader

        return _mapped(self._boards, number, BoardReader, self.directory)

    def _book_reader(self, number: int) -> BooksReader:
        return _mapped(self._books, number, BooksReader, self.directory)

    def _ring_reader(self, number: int) -> RingReader:
        return RingReader(self.directory, number)

    def _kept_up(self, number: int) -> bool:
        """True while somebody keeps this reader's books and board up to date."""
        try:
            return writes(_mapped(self._rings, number, RingReader, self.directory))
        except ShmError:
            return False

    # ---- life -------------------------------------------------------------------------------

    def close(self) -> None:
        """Unmap everything but the streams, which are closed on their own."""
        self.instruments.close()
        if self._counters is not None:
            self._counters.close()
            self._counters = None
        for board in self._boards.values():
            board.close()
        for books in self._books.values():
            books.close()
        for ring in self._rings.values():
            ring.close()
        self._boards.clear()
        self._books.clear()
        self._rings.clear()

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        numbers = reader_numbers(self.directory)
        state = "alive" if self.alive else "NOT ALIVE"
        return (
            f"<Feed {self.directory}: {state}, {len(numbers)} readers, "
            f"{len(self.instruments)} instruments>"
        )


def _mapped(
    mapped: dict[int, _Mapped], number: int, make: type[_Mapped], directory: Path
) -> _Mapped:
    """The segment of a reader, mapped once, and again when a new file has taken its place."""
    current = mapped.get(number)
    if current is not None and not current.segment.superseded:
        return current
    try:
        fresh = make(directory, number)
    except ShmError:
        if current is not None:
            return current  # the daemon is between two lives: the last values stay readable
        raise
    if current is not None:
        current.close()
    mapped[number] = fresh
    return fresh
