"""A reader process that replaces another: warm beside it, then in its place.

It has everything a reader has, connections included, but publishes into memory of its own. When
every stream that the other one has is there and every book that it shows is whole, it says so. The
other one then ends at the end of an event; what it published last is found among our own records
(``splice``), what comes after goes into the ring, and from there on we write where it wrote: the
same ring, rows and books, in the same epoch. A consumer reads on and notices nothing.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from feedd.clock import SECOND_NS, monotonic_ns, now_ns
from feedd.pipeline.core import Pipeline
from feedd.reader.lines import Lines
from feedd.reader.plan import ReaderPlan
from feedd.reader.splice import HELD_NS, splice
from feedd.records import RAW, BookState
from feedd.shm.board import BoardReader, BoardWriter
from feedd.shm.books import BooksWriter
from feedd.shm.connections import CONNECTION_FIELDS
from feedd.shm.counters import CountersReader, CountersWriter
from feedd.shm.ring import RingReader, RingWriter

__all__ = ["Segments", "Standby"]

SETTLE_NS = HELD_NS + SECOND_NS
"""How long everything must have been there: longer than we look back when we take over."""
BEHIND_MAX_NS = SECOND_NS // 2
"""How long to wait for what the other process had and we have not received yet."""
_FAILED_AT = CONNECTION_FIELDS.index("topics_failed")

log = logging.getLogger("feedd.reader")


@dataclass(frozen=True, slots=True)
class Segments:
    """What one reader writes to."""

    ring: RingWriter
    board: BoardWriter
    books: BooksWriter
    counters: CountersWriter

    @classmethod
    def shared(cls, plan: ReaderPlan, *, carry_on: bool = False, fresh: bool = False) -> Segments:
        """Those that everybody reads. Raises ``LockedError`` while another process writes them.

        ``fresh``: what a predecessor left in rows and books is forgotten.
        """
        return cls(
            RingWriter.takeover(plan.directory, plan.reader, carry_on),
            BoardWriter.open(plan.directory, plan.reader, fresh=fresh),
            BooksWriter.open(plan.directory, plan.reader, fresh=fresh),
            CountersWriter.open(plan.directory),
        )

    @classmethod
    def private(cls, plan: ReaderPlan) -> Segments:
        """The like in memory of this process."""
        return cls(
            RingWriter.private(plan.ring_slots),
            BoardWriter.private(plan.rows),
            BooksWriter.private(plan.depths),
            CountersWriter.private(plan.reader + 1, plan.rows),
        )


class Standby:
    """Watches what is still missing, then finds what has to be published. One thread."""

    def __init__(
        self,
        plan: ReaderPlan,
        segments: Segments,
        pipeline: Pipeline,
        lines: Lines,
        names: dict[int, tuple[int, str]],
        unnumbered: frozenset[int],
    ) -> None:
        """``names``: venue handle and symbol of instrument ids; ``unnumbered``: ids whose
        sequence numbers are those of a connection."""
        self._plan = plan
        self._pipeline = pipeline
        self._lines = lines
        self._names = names
        self._unnumbered = unnumbered
        self._held = RingReader(segments.ring, start="oldest")
        self._theirs = RingReader(plan.directory, plan.reader)
        self._board = BoardReader(plan.directory, plan.reader)
        self._counters = CountersReader(plan.directory)
        self._settled_at = 0
        self.missing = ""
        """What a warm reader has and this one has not, for people."""
        self.deadline = 0

    def warm(self, now: int) -> bool:
        """Everything has been there for long enough."""
        self.missing = self._lines.missing() or self._refused() or self._books_missing()
        if self.missing:
            self._settled_at = 0
            return False
        self._settled_at = self._settled_at or now
        if now - self._settled_at < SETTLE_NS:
            self.missing = "it has only just everything"
            return False
        return True

    def _refused(self) -> str:
        theirs = self._counters.connections(self._plan.reader)
        for row, name, refused in self._lines.refused():
            if refused > int(theirs[row][_FAILED_AT]):
                return f"{name}: the venue refuses {refused} streams, more than before"
        return ""

    def _books_missing(self) -> str:
        for instrument, live in self._live().items():
            if live and not self._is_live(instrument):
                return f"the book of {self._names[instrument][1]} is not live yet"
        return ""

    def _live(self) -> dict[int, bool]:
        """Whether the other process shows the book of an instrument as live."""
        rows = self._board.snapshot()
        live = zip(rows["instrument"].tolist(), rows["state"].tolist(), strict=True)
        return {i: state == BookState.LIVE for i, state in live if i in self._names}

    def _is_live(self, instrument: int) -> bool:
        return self._pipeline.book_state(*self._names[instrument])[0] == BookState.LIVE

    def begin(self) -> None:
        """The other process has ended: from now on every millisecond is one of silence."""
        self.deadline = monotonic_ns() + BEHIND_MAX_NS

    def new_records(self) -> tuple[npt.NDArray[Any], frozenset[int]] | None:
        """What goes into the ring now, and instruments whose books must be started anew because
        the other process was ahead of us; None: wait, more of what it had is to come."""
        self._pipeline.commit()
        published, held = _last(self._theirs), _last(self._held)
        since = 0
        if self._theirs.head > 2 * self._theirs.capacity and len(published):  # it was full
            times = published["ts_recv"]
            since = int(times[0] + (times[-1] - times[0]) // 4)
        found = splice(published, held, now_ns(), self._unnumbered, since)
        if found.behind and monotonic_ns() < self.deadline:
            return None
        # what consumers know of a book that only one of the two has whole does not go on
        live = self._live()
        anew = found.books | {i for i, was in live.items() if was != self._is_live(i)}
        if found.behind or anew:
            log.warning(
                "%d instruments were ahead in the process before this one; %d books start anew",
                len(found.behind),
                len(anew),
            )
        return held[found.new], anew

    def close(self) -> None:
        self._held.close()
        self._theirs.close()
        self._board.close()
        self._counters.close()


def _last(ring: RingReader) -> npt.NDArray[Any]:
    """The newest records that the ring still holds."""
    ring.seek("oldest")
    parts = []
    while len(part := ring.read(1 << 16)):
        parts.append(part)
    return np.concatenate(parts) if parts else np.empty(0, dtype=RAW)
