"""Replay of what the recorder wrote: the same entries, in the same order, through the same code.

A replay is a daemon's directory without a daemon: rings, boards, books and the instruments table
with the ids of the recording, so that consumers attach as usual. Records are those of the live
readers, bit by bit, but for ``ring_seq``, ``epoch`` and ``publish_delta_ns``; not repeated are
READER_START and READER_STOP of processes that ended before or after the recording.
"""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import zstandard

from feedd import venues
from feedd.capture.recorded import Damage, check_head, payload_of, read_recorded
from feedd.capture.rows import open_capture
from feedd.capture.stage import DEPTH, Platform
from feedd.clock import now_ns
from feedd.decode.plan import compile_plan
from feedd.errors import CaptureError
from feedd.pipeline.core import Pipeline

__all__ = ["Recorded", "Replay", "Segment", "open_recorded"]

_VENUE_LESS = frozenset({"line_forget", "line_row", "set_quarantine", "stale", "status", "tick"})
_WRONG = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)
"""What an entry that no recorder wrote makes of itself."""
_LISTS = ("take_requests", "take_bad_frames", "take_alarms")


@dataclass(slots=True)
class Segment:
    """One capture file of the recorder and what its first row says."""

    path: Path
    n: int
    facts: dict[str, Any]

    @property
    def reader(self) -> int:
        return int(self.facts["reader"])

    @property
    def venue(self) -> str:
        return str(self.facts["venue"])


@dataclass(slots=True)
class Recorded:
    """Files of one recording, by reader and venue, each in order."""

    tracks: dict[tuple[int, str], list[Segment]] = field(default_factory=dict)

    @property
    def readers(self) -> list[int]:
        return sorted({reader for reader, _ in self.tracks})

    def instruments(self) -> dict[int, dict[str, Any]]:
        """id -> columns of the instruments table; what the newest file says of it."""
        found = {}
        for (reader, venue), segments in self.tracks.items():
            for segment in segments:
                for number, row in _added(segment.path):
                    found[number] = {**row, "venue": venue, "reader": reader}
        for segments in self.tracks.values():
            for segment in segments:
                for row in segment.facts.get("instruments", ()):
                    found[int(row["id"])] = row
        return found


def open_recorded(paths: Iterable[Path]) -> Recorded | None:
    """None when the first of these files is not one of the recorder. Raises CaptureError when the
    others are a mixture."""
    recorded = Recorded()
    foreign: list[Path] = []
    for path in paths:
        first = next(read_recorded(path, []), None)
        facts = None if first is None else first.get("feedd")
        if first is None or not isinstance(facts, dict):
            foreign.append(path)
            continue
        check_head(path, facts)
        segment = Segment(path, _number(first, "n"), facts)
        recorded.tracks.setdefault((segment.reader, segment.venue), []).append(segment)
    if foreign and recorded.tracks:
        raise CaptureError(
            f"{foreign[0]} was not written by the recorder of feedd, others were: replay them apart"
        )
    for segments in recorded.tracks.values():
        segments.sort(key=lambda segment: segment.n)
    return recorded if recorded.tracks else None


def _number(row: dict[str, Any], key: str) -> int:
    value = row.get(key)
    return value if type(value) is int else 0


def _added(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every instrument that came while the recorder ran: its id and its other arguments."""
    with open_capture(path) as file, contextlib.suppress(OSError, EOFError, zstandard.ZstdError):
        for line in file:
            if b'"op":["add_instrument"' in line:
                with contextlib.suppress(*_WRONG):  # which the step itself will say
                    args = orjson.loads(line)["op"][1]
                    row = dict(zip(("symbol", "id", "row", "depth"), args[1:], strict=False))
                    yield int(row["id"]), row


class _Reader:
    """One recorded reader process: its pipeline, and where each of its venues stands."""

    def __init__(self, stage: Platform, recorded: Recorded, number: int) -> None:
        self.number = number
        self._stage = stage
        self._venues = {
            segments[0].venue: int(segments[0].facts.get("handle", 0))
            for (reader, _), segments in recorded.tracks.items()
            if reader == number
        }
        self._began: list[int] = [0, 0]
        self._last: dict[str, int] = {}
        self._lines: dict[str, set[int]] = {}
        self._handles: dict[int, int] = {}
        self._texts: dict[str, frozenset[bytes]] = {}
        self._skipped: set[str] = set()
        self.pipeline = self._new_pipeline()

    def _new_pipeline(self) -> Pipeline:
        """As a reader process begins."""
        self.pipeline = pipeline = self._stage.pipeline(self.number)
        for name, handle in sorted(self._venues.items(), key=lambda item: item[1]):
            venue = venues.load(name)
            self._handles[handle] = pipeline.add_venue(compile_plan(venue))
            self._texts[name] = frozenset(
                text.encode() for text in venue.session.heartbeat.control_texts
            )
            self._lines[name] = set()
        return pipeline

    def begin_file(self, segment: Segment) -> int:
        """The first row of a file; returns how many files are missing before it (0 or 1)."""
        facts = segment.facts
        began = facts.get("began", [0, 0])
        if facts.get("whole"):
            if began != self._began and self._began != [0, 0]:
                self.pipeline.flush()
                self.pipeline.commit()
                self._new_pipeline()
            self._began = began
            return 0
        missing = int(self._last.get(segment.venue, -1) not in (-1, facts.get("after")))
        self._began = began
        for row in facts.get("instruments", ()):
            handle = self._handles[self._venues[segment.venue]]
            number, depth = int(row["id"]), int(row.get("depth") or DEPTH)
            self.pipeline.add_instrument(
                handle, row["symbol"], number, self._stage.row(int(row["row"])), depth
            )
        if missing:
            self.cut(segment.venue, segment.n, now_ns())
        return missing

    def cut(self, venue: str, n: int, t: int) -> None:
        """Something of this venue is missing here: no book goes on as if nothing had happened."""
        for line in sorted(self._lines[venue]):
            self.pipeline.line_down(self._handles[self._venues[venue]], line, t, "capture gap")
        self.pipeline.commit()

    def feed(self, venue: str, row: dict[str, Any]) -> None:
        """One row."""
        t, way = _number(row, "t"), row["dir"]
        if "op" in row:
            self._do(row)
        elif "dropped" in row:
            self.cut(venue, _number(row, "n"), t)
        elif way == "in":
            line = int(str(row["conn"]).rpartition(":")[2])
            data = payload_of(row)
            self._lines[venue].add(line)
            if data not in self._texts[venue]:
                self.pipeline.on_message(self._handles[self._venues[venue]], data, t, line)
        else:
            return
        self.pipeline.commit()
        self._last[venue] = _number(row, "n") or self._last.get(venue, 0)
        for name in _LISTS:
            take = getattr(self.pipeline, name, None)
            if take is not None:
                take()

    def _do(self, row: dict[str, Any]) -> None:
        name, args, kwargs = row["op"]
        method = None if name.startswith("_") else getattr(self.pipeline, name, None)
        if method is None:
            self._skipped.add(name)  # of a feedd that knew more
            return
        args = list(args)
        if name not in _VENUE_LESS:
            args[0] = self._handles[args[0]]
        if name == "on_rest_snapshot":
            args[2] = payload_of(row)
        elif name == "add_instrument":
            place = int(args[3]) if len(args) > 3 else int(kwargs.get("row", -1))
            self._stage.place(int(args[2]), self.number, place)
            args[3:4] = [self._stage.row(place)]
            kwargs = {k: v for k, v in kwargs.items() if k != "row"}
        method(*args, **kwargs)

    @property
    def skipped(self) -> list[str]:
        return sorted(self._skipped)


class Replay:
    """``step`` through everything; ``rows`` and ``missing`` count."""

    def __init__(self, recorded: Recorded, stage: Platform) -> None:
        self._recorded = recorded
        self._readers = {n: _Reader(stage, recorded, n) for n in recorded.readers}
        self.rows = 0
        self.missing = 0
        """Places where files or entries are missing."""
        self.damage = Damage()

    def steps(self) -> Iterator[int]:
        """Do one row after the other; yields the time of the coming row (ns) before it is done."""
        by_reader = [self._of_reader(n) for n in self._recorded.readers]
        for t, _, reader, segment, row in heapq.merge(*by_reader, key=lambda item: item[0]):
            yield t
            try:
                if "feedd" in row:
                    self.missing += reader.begin_file(segment)
                else:
                    self.missing += "dropped" in row
                    reader.feed(segment.venue, row)
            except _WRONG as exc:
                entry = f"{segment.path}: entry {_number(row, 'n')}"
                raise CaptureError(f"{entry} cannot be repeated: {exc!r}") from exc
            self.rows += 1
        for reader in self._readers.values():
            reader.pipeline.flush()
            reader.pipeline.commit()

    def _of_reader(self, number: int) -> Iterator[tuple[int, int, _Reader, Segment, Any]]:
        """The rows of one reader in their one order; times never go back in it."""
        tracks = [
            self._of_track(segments)
            for (reader, _), segments in self._recorded.tracks.items()
            if reader == number
        ]
        latest = 0
        for n, segment, row in heapq.merge(*tracks, key=lambda item: item[0]):
            latest = max(latest, _number(row, "t"))
            yield latest, n, self._readers[number], segment, row

    def _of_track(self, segments: Sequence[Segment]) -> Iterator[tuple[int, Segment, Any]]:
        n = 0
        for segment in segments:
            for row in read_recorded(segment.path, self.damage):
                n = _number(row, "n") or n
                yield n, segment, row

    @property
    def skipped(self) -> list[str]:
        """Operations that this version does not know."""
        return sorted({name for reader in self._readers.values() for name in reader.skipped})
