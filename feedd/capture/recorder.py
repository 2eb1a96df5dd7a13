"""The recorder: a process that writes what the readers' raw rings hold to capture files.

It is never in the way: a disk that is full or slow makes it wait, the rings fill, and the readers
drop and count. Room in a ring is given back when what was in it is in a file, so a recorder that is
killed costs nothing but the time until the next one has caught up. It ends when its standard input
does and not by signals: a Ctrl-C reaches every process of the terminal, and the recorder is the one
that has to outlive the readers.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import orjson

from feedd.capture.files import (
    CaptureFile,
    closed_files,
    last_line,
    lock_folder,
    recover,
    retain,
)
from feedd.capture.lines import entry_line, header_line, loss_lines
from feedd.capture.recorded import read_recorded
from feedd.clock import SECOND_NS, monotonic_ns, now_ns
from feedd.errors import FeeddError, ShmError
from feedd.logs import RateLimit, setup_logging
from feedd.shm import rawring
from feedd.shm.books import BooksReader
from feedd.shm.instruments import InstrumentsReader
from feedd.shm.rawring import Entry, RawReader

__all__ = ["RecordPlan", "Recorder", "main"]

FRAME_BYTES = 1 << 20
FLUSH_S = 1.0
RETRY_S = 0.5
IDLE_S = 0.02
DRAIN_S = 2.0

log = logging.getLogger("feedd.recorder")


class RecordPlan(msgspec.Struct, frozen=True):
    """What the supervisor tells the recorder."""

    directory: str
    """Of the instance."""
    target: str
    venues: dict[int, tuple[str, ...]]
    """Reader -> its venues, in the order of their handles."""
    rotate_bytes: int
    rotate_s: float
    keep_bytes: int
    """0: keep everything."""
    log_level: str = "info"
    log_format: str = "text"


class Track:
    """One venue of one reader: lines that wait, and the file they go to."""

    def __init__(self, recorder: Recorder, reader: int, venue: str) -> None:
        self._recorder = recorder
        self.reader = reader
        self.venue = venue
        self.file: CaptureFile | None = None
        self.lines: list[bytes] = []
        self.size = 0
        self.conns: dict[str, None] = {}
        self.last_n = 0
        """The newest entry that went to a file, or waits; earlier ones are not taken again."""
        self._first_t = 0
        self._opened_at = 0
        self.began: tuple[int, int] = (0, 0)
        """(t, n) of the start of this reader process, as far as it is known."""
        self.fresh = False
        """The coming file begins with the start of a reader process."""

    def add(self, line: bytes, t: int, n: int) -> None:
        if self.file is None and not self.lines:
            self._first_t = t
            head = header_line(t, n, self._recorder.facts(self))
            self.lines.append(head)
            self.size += len(head)
        self.lines.append(line)
        self.size += len(line)
        self.last_n = n or self.last_n

    def flush(self) -> None:
        """Everything that waits into the file. Raises OSError; then it still waits."""
        if not self.lines:
            return
        if self.file is None:
            folder = Path(self._recorder.plan.target) / self.venue
            folder.mkdir(parents=True, exist_ok=True)
            self.file = CaptureFile(folder, self.venue, self.reader, self._first_t)
            self._opened_at = monotonic_ns()
        self.file.write(b"".join(self.lines))
        self.lines.clear()
        self.size = 0

    def due(self, now: int) -> bool:
        plan = self._recorder.plan
        return self.file is not None and (
            self.file.bytes >= plan.rotate_bytes
            or now - self._opened_at >= plan.rotate_s * SECOND_NS
        )

    def end_file(self) -> None:
        """Raises OSError; then the file stays open."""
        if self.file is not None:
            self.file.close()
            self.file = None
            self.fresh = False
            self._recorder.closed = True


class Source:
    """One reader's raw ring and the tracks of its venues."""

    def __init__(self, recorder: Recorder, reader: int, venues: tuple[str, ...]) -> None:
        self.reader = reader
        self.ring = RawReader(recorder.plan.directory, reader)
        self.tracks = [Track(recorder, reader, venue) for venue in venues]
        self._queue: deque[Entry] = deque()
        self._told = self.ring.dropped
        self._flushed_at = monotonic_ns()

    def take(self) -> bool:
        """Move entries from the ring into the tracks; False when there was none."""
        if not self._queue:
            self._queue.extend(self.ring.read(FRAME_BYTES))
        busy = bool(self._queue)
        while self._queue:
            self._entry(self._queue[0])
            self._queue.popleft()
        return busy

    def _entry(self, entry: Entry) -> None:
        if entry.dropped:
            self.lost(entry.t, entry.seq - 1, entry.dropped)
            self._queue[0] = entry._replace(dropped=0)  # should the disk fail before it is done
        if entry.kind == rawring.OP and entry.payload.startswith(b'["start"'):
            self.flush(everything=True, end=True)
            for track in self.tracks:
                track.began = (entry.t, entry.seq)
                track.fresh = True
                track.conns.clear()
            return
        if entry.venue >= len(self.tracks):
            log.error("reader %d: an entry of venue %d, which it has not", self.reader, entry.venue)
            return
        track = self.tracks[entry.venue]
        if entry.seq <= track.last_n:  # of a recorder before this one
            return
        if entry.kind == rawring.IN:
            track.conns[f"{track.venue}:{entry.line}"] = None
        track.add(entry_line(track.venue, entry), entry.t, entry.seq)

    def lost(self, t: int, n: int, dropped: int) -> None:
        self._told += dropped
        for track in self.tracks:
            track.add(loss_lines(t, n, dropped, list(track.conns)), t, n)

    def lost_at_end(self) -> None:
        """Drops that no later entry tells of."""
        missing = self.ring.dropped - self._told
        if missing > 0:
            self.lost(now_ns(), 0, missing)

    def flush(self, *, everything: bool, end: bool = False) -> None:
        """Write what waits, when it is much or old. Raises OSError; nothing is lost by that."""
        now = monotonic_ns()
        old = now - self._flushed_at > FLUSH_S * SECOND_NS
        for track in self.tracks:
            if everything or old or track.size >= FRAME_BYTES:
                track.flush()
            if end or track.due(now):
                track.flush()
                track.end_file()
        if not self._queue and not any(track.lines for track in self.tracks):
            self._flushed_at = now
            self.ring.release()

    @property
    def waits(self) -> int:
        return sum(track.size for track in self.tracks)


class Recorder:
    """``run`` records until ``stopped()`` says so and nothing is left in the rings."""

    def __init__(self, plan: RecordPlan) -> None:
        self.plan = plan
        self._target = Path(plan.target)
        self._limit = RateLimit()
        self.closed = True
        """A file was completed since old ones were last deleted."""
        self.failing = ""
        """What the disk says, while it does not take data."""
        self._instruments = InstrumentsReader(plan.directory)
        self._books: dict[int, BooksReader] = {}
        self._target.mkdir(parents=True, exist_ok=True)
        self._lock = lock_folder(self._target)
        for path, cut in recover(self._target):
            log.warning("%s: finished after a recorder was killed, %d bytes cut off", path, cut)
        self.sources = [Source(self, n, names) for n, names in sorted(plan.venues.items())]
        for source in self.sources:
            for track in source.tracks:
                track.last_n, track.began = self._last_of(track)

    def _last_of(self, track: Track) -> tuple[int, tuple[int, int]]:
        """What the newest file of a track ends with, and when its reader process began."""
        stem = f"{track.venue}-r{track.reader}-"
        mine = [p for p in closed_files(self._target) if p.name.startswith(stem)]
        if not mine:
            return 0, (0, 0)
        path = max(mine, key=lambda p: p.name)
        try:
            row = orjson.loads(last_line(path))
            first = next(iter(read_recorded(path, [])), {})
        except (OSError, ValueError, FeeddError):
            return 0, (0, 0)
        began = first.get("feedd", {}).get("began", [0, 0])
        return int(row.get("n", 0)), (int(began[0]), int(began[1]))

    def facts(self, track: Track) -> dict[str, Any]:
        """What the first row of a file says."""
        return {
            "venue": track.venue,
            "reader": track.reader,
            "instance": self.plan.directory,
            "began": list(track.began),
            "whole": track.fresh,
            "after": track.last_n,
            "handle": self.plan.venues[track.reader].index(track.venue),
            "instruments": list(self._rows(track.venue, track.reader)),
        }

    def _rows(self, venue: str, reader: int) -> Iterator[dict[str, Any]]:
        self._instruments.refresh()
        table = self._instruments.array
        mine = table[(table["venue"] == venue.encode()) & (table["reader"] == reader)]
        for row in mine:
            out: dict[str, Any] = {}
            for name in mine.dtype.names or ():
                value = row[name].item()
                if isinstance(value, bytes):
                    value = value.decode("utf-8", "replace")
                if name != "lock" and value == value:
                    out[name] = value
            out["depth"] = self._depth(reader, int(row["row"]))
            yield out

    def _depth(self, reader: int, row: int) -> int:
        books = self._books.get(reader)
        try:
            if books is None:
                books = self._books[reader] = BooksReader(self.plan.directory, reader)
            return books.depth(row) if 0 <= row < books.n_rows else 0
        except ShmError:
            return 0

    # ---- work --------------------------------------------------------------------------------

    def step(self) -> bool:
        """Move what there is; False when there was nothing to do."""
        busy = False
        try:
            for source in self.sources:
                if not self.failing:
                    busy = source.take() or busy
                source.flush(everything=bool(self.failing))
        except OSError as exc:
            self._fails(exc)
            return False
        if self.failing:
            log.warning("the disk takes data again")
            self.failing = ""
        if self.plan.keep_bytes and self.closed:
            self.closed = False
            for path in retain(self._target, self.plan.keep_bytes):
                log.info("deleted %s: more than capture.keep_gb", path)
        return busy

    def _fails(self, exc: OSError) -> None:
        self.failing = exc.strerror or str(exc)
        if self._limit.allow(f"disk {exc.errno}", monotonic_ns()):
            log.error("cannot write captures to %s: %s; waiting", self._target, self.failing)

    def finish(self) -> bool:
        """Everything into files, files closed; False when the disk did not take it."""
        try:
            for source in self.sources:
                while source.take():
                    source.flush(everything=False)
                source.lost_at_end()
                source.flush(everything=True, end=True)
        except OSError as exc:
            self._fails(exc)
            return False
        return True

    def close(self) -> None:
        for source in self.sources:
            source.ring.close()
        self._instruments.close()
        for books in self._books.values():
            books.close()
        os.close(self._lock)


def obey(told: bytes) -> None:
    """What the supervisor says while the recorder runs: whole lines of JSON."""
    for line in told.splitlines():
        message = orjson.loads(line)
        if message["op"] == "log":
            setup_logging(message["level"], message["format"])


def _serve(recorder: Recorder) -> bool:
    """Until standard input ends, which the supervisor closes when no reader is left (or by dying).

    Returns whether everything is in files.
    """
    while True:
        busy = recorder.step()
        pause = 0.0 if busy else RETRY_S if recorder.failing else IDLE_S
        readable, _, _ = select.select([0], [], [], pause)
        if readable:
            told = os.read(0, 4096)
            if not told:
                break
            obey(told)
    deadline = monotonic_ns() + int(DRAIN_S * SECOND_NS)
    quiet = 0
    while quiet < 5 and monotonic_ns() < deadline:  # readers of a dead supervisor end by themselves
        quiet = 0 if recorder.step() else quiet + 1
        select.select([], [], [], IDLE_S)
    return recorder.finish()


def main() -> int:
    """``python -m feedd.capture.recorder``: the plan comes as a line of JSON on standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.stderr.write("feedd.capture.recorder is started by `feedd run`, not by hand\n")
            return 64
        line += byte
    plan = msgspec.json.decode(bytes(line), type=RecordPlan)
    setup_logging(plan.log_level, plan.log_format)
    try:
        recorder = Recorder(plan)
    except (FeeddError, OSError) as exc:
        log.error("the recorder cannot start: %s", exc)
        return 74
    try:
        return 0 if _serve(recorder) else 74
    finally:
        recorder.close()


if __name__ == "__main__":
    sys.exit(main())
