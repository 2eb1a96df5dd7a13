"""``feedd decode``: a capture through exactly the code that the live reader runs.

Several captures are one session, in the order given. REST rows are at hand from the start: a book
that needs a snapshot takes the first row of its instrument that can join what is buffered: where a
buffered delta follows it by the venue's rule, or, at the end of the capture, when it is newer than
all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from feedd.capture.instruments import load_file
from feedd.capture.render import STATE_NAMES, Renderer
from feedd.capture.rows import Row, read_rows
from feedd.capture.snapshots import Snapshot, collect_snapshots
from feedd.decode.plan import compile_plan
from feedd.errors import CaptureError
from feedd.pipeline.core import Pipeline
from feedd.records import NO_SEQUENCE, BookState, Event, Scope
from feedd.shm.ring import RingReader, RingWriter
from feedd.venues.schema import Venue

__all__ = ["CaptureDecoder"]

RING_SLOTS = 1 << 17
DRAIN_RECORDS = RING_SLOTS // 4
_TEXT = re.compile(rb'"([^"\\]{1,64})"')


class CaptureDecoder:
    """Decodes the captures of one venue into the events of the fixed contract.

    ``events`` yields one dict per record; ``final_books`` afterwards one per instrument with a
    book. ``statistics`` says what was read and what was not used.
    """

    def __init__(
        self, venue: Venue, ring: RingWriter | None = None, pipeline: Pipeline | None = None
    ) -> None:
        """``pipeline`` writes to ``ring``; without them both are private."""
        self.venue = venue
        self._ring = RingWriter.private(RING_SLOTS) if ring is None else ring
        self._reader = RingReader(self._ring, start="oldest")
        self._pipeline = Pipeline(self._ring) if pipeline is None else pipeline
        self._handle = self._pipeline.add_venue(compile_plan(venue))
        self._pipeline.on_unknown(self._register)
        self._names: list[str] = []
        self._symbols: set[str] = set()
        self._renderer = Renderer(self._names.__getitem__)
        self._lines: dict[str, int] = {}
        self._closed: set[str] = set()
        self._snapshots: dict[str | None, list[Snapshot]] = {}
        self._waiting: dict[str, None] = {}
        self._texts = {text.encode() for text in venue.session.heartbeat.control_texts}
        self._control_texts = 0
        self._rows = 0
        self.problems: list[str] = []
        self.snapshots_used = 0
        self.snapshots_unusable = 0

    def load_instruments(self, path: Path) -> int:
        """Read reference data; its symbols get their ids first. Returns how many there are."""
        found = load_file(self.venue, path).instruments
        for info in found:
            instrument_id, row, depth = self._register(0, info.symbol)
            self._pipeline.add_instrument(self._handle, info.symbol, instrument_id, row, depth)
        return len(found)

    # ---- events --------------------------------------------------------------------------------

    def events(self, captures: Sequence[Path]) -> Iterator[dict[str, Any]]:
        """Every event of the captures, in order.

        Raises CaptureError where one cannot be read to its end, after the events before that place.
        """
        rows: list[Row] = []
        damage: CaptureError | None = None
        try:
            for path in captures:
                for row in read_rows(path, self.problems):
                    rows.append(row)  # noqa: PERF402 - what was read before the damage counts
        except CaptureError as exc:
            damage = exc
        self._snapshots = collect_snapshots(self.venue, rows, self.problems)
        for row in rows:
            self._rows += 1
            self._feed(row)
            if self._waiting and row.dir == "in":
                yield from self._try_snapshots(row.t or 0, self._touched(row.data))
            if self._ring.next_seq - self._reader.position > DRAIN_RECORDS:
                yield from self._drain()
        self._pipeline.flush()  # what waited for another line waits no longer
        self._pipeline.commit()
        for request in self._pipeline.take_requests():
            if request.kind == "snapshot" and request.symbol in self._snapshots:
                self._waiting[request.symbol] = None
        yield from self._try_snapshots(None, list(self._waiting))
        yield from self._drain()
        offered = sum(len(rows_) for rows_ in self._snapshots.values())
        self.snapshots_unusable = offered - self.snapshots_used
        if damage is not None:
            raise damage

    def final_books(self) -> Iterator[dict[str, Any]]:
        """The full book of each instrument that had one, in order of arrival."""
        for symbol in self._pipeline.symbols_with_books(self._handle):
            state, sequence = self._pipeline.book_state(self._handle, symbol)
            bids, asks = self._pipeline.book_levels(self._handle, symbol)
            had_snapshot = state == BookState.LIVE or bids or asks
            yield {
                "kind": "final_book",
                "instrument": f"{self.venue.name}:{symbol}",
                "state": STATE_NAMES[state],
                "sequence": sequence if had_snapshot and sequence != NO_SEQUENCE else None,
                "bids": bids,
                "asks": asks,
            }

    def statistics(self) -> dict[str, Any]:
        """Rows read and every counter that is not zero."""
        counters = {name: value for name, value in self._pipeline.counters().items() if value}
        counters.pop("last_data_ns", None)
        if self._control_texts:
            counters["control_frames"] = counters.get("control_frames", 0) + self._control_texts
        return {
            "rows": self._rows,
            "rows_skipped": len(self.problems),
            "rest_snapshots_used": self.snapshots_used,
            "rest_snapshots_unused": self.snapshots_unusable,
            **counters,
        }

    def bad_frames(self) -> list[str]:
        """Samples of rejected frames, printable."""
        return [
            f"bad frame: {bad.reason}: {bad.sample[:120]!r}"
            for bad in self._pipeline.take_bad_frames()
        ]

    def _drain(self) -> Iterator[dict[str, Any]]:
        while len(records := self._reader.read(4096)):
            if self._reader.lost:
                raise CaptureError(
                    f"row {self._rows}: one message of more than {RING_SLOTS} records; "
                    "the output would not be whole"
                )
            yield from self._renderer.render(records.tobytes())

    def _register(self, _venue: int, symbol: str) -> tuple[int, int, int]:
        self._names.append(f"{self.venue.name}:{symbol}")
        self._symbols.add(symbol)
        return len(self._names) - 1, -1, 0

    def _feed(self, row: Row) -> None:
        t = row.t or 0
        if row.dir == "in":
            line = self._lines.setdefault(row.conn, len(self._lines))
            if row.conn in self._closed:
                self._reopened(row.conn, line, t)
            if row.data in self._texts:  # the live reader keeps them from the pipeline too
                self._control_texts += 1
                return
            self._pipeline.on_message(self._handle, row.data, t, line)
            self._pipeline.commit()
            for request in self._pipeline.take_requests():
                # a symbol without rows can only wait for ever
                if request.kind == "snapshot" and request.symbol in self._snapshots:
                    self._waiting[request.symbol] = None
        elif row.dir == "close":
            self._closed.add(row.conn)
        elif row.dir == "open" and row.conn in self._lines:
            self._pipeline.line_forget(self._lines[row.conn])

    def _reopened(self, conn: str, line: int, t: int) -> None:
        """Data after a close: what came in between is unknown. (A capture that just ends with a
        close has lost nothing.)"""
        self._closed.discard(conn)
        self._pipeline.line_forget(line)
        if self._pipeline.line_down(self._handle, line, t):
            self._pipeline.status(Event.LINE_DOWN, t, scope=Scope.CONNECTION, line=line)

    # ---- REST snapshots ------------------------------------------------------------------------

    def _touched(self, frame: bytes) -> list[str]:
        """Of the books that wait those that the frame may have fed: only their buffers changed.

        A frame names its instrument; where no name is found as text, all of them.
        """
        texts = {text.decode("utf-8", "replace") for text in _TEXT.findall(frame)}
        if texts.isdisjoint(self._symbols):
            return list(self._waiting)
        return [symbol for symbol in texts if symbol in self._waiting]

    def _try_snapshots(self, now: int | None, symbols: list[str]) -> Iterator[dict[str, Any]]:
        """Offer every unspent row to these books that wait; ``now`` None: the capture is over.

        Yields events when many books join at once: they are more than the ring holds.
        """
        at_hand = now is None
        for symbol in symbols:
            for snapshot in self._snapshots.get(symbol, ()):
                if snapshot.spent:
                    continue
                answer = self._pipeline.join_state(self._handle, symbol, snapshot.id, at_hand)
                if answer == "not_needed":
                    break
                if answer != "joined":
                    continue
                t = snapshot.t if snapshot.t is not None else now or 0
                answer = self._pipeline.on_rest_snapshot(
                    self._handle, symbol, snapshot.body, t, at_hand
                )
                self._pipeline.commit()
                if self._ring.next_seq - self._reader.position > DRAIN_RECORDS:
                    yield from self._drain()
                snapshot.spent = answer in ("joined", "bad")
                if answer == "joined":
                    self.snapshots_used += 1
                    del self._waiting[symbol]
                    break
