"""Where one process's records go on after another's. Pure functions of two arrays of records.

A reader process that replaces another has had connections of its own for a while, and the records
made from them in a ring of its own. What its predecessor published last of a stream is found there
by content: the same message makes the same record in both processes, whichever connection it came
over. All that follows it is what nobody has read yet.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from feedd.clock import SECOND_NS
from feedd.records import NO_INSTRUMENT, RAW, Kind

__all__ = ["BEHIND_NS", "HELD_NS", "Splice", "splice"]

HELD_NS = 2 * SECOND_NS
"""How far back our own records are looked at."""
BEHIND_NS = SECOND_NS
"""No connection is later than another by more."""
_RUN_MAX = 16
"""Equal records in a row that tell where repeated ones belong."""

Records = npt.NDArray[Any]
Hashes = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

_BOOK = (Kind.BOOK, Kind.BOOK_CONTROL, Kind.STATUS)
"""Parts of the one stream that a book has: in order, and with what is said of the book itself."""
_DRAWN = random.Random(0x5EED)  # numpy.random would make every reader's start longer
_SALT = np.array([_DRAWN.getrandbits(64) | 1 for _ in range(16)], dtype=np.uint64)


@dataclass(frozen=True, slots=True)
class Splice:
    """``new``: which of our records nobody has read yet. ``books`` and ``others``: instruments of
    which the other process published more than we have received so far."""

    new: Mask
    books: frozenset[int]
    others: frozenset[int]

    @property
    def behind(self) -> frozenset[int]:
        return self.books | self.others


def splice(
    published: Records,
    held: Records,
    now: int,
    unnumbered: frozenset[int] = frozenset(),
    since: int = 0,
) -> Splice:
    """``published`` by the other process, ``held`` by us, both RAW in ring order.

    ``now`` is wall time; ``since``: from when on ``published`` has everything, however late we
    heard it. ``unnumbered``: ids of instruments whose sequence numbers belong to the connection,
    and so differ. Records of no instrument are never new: they speak of a process.
    """
    if published.dtype != RAW or held.dtype != RAW:
        raise TypeError("records must have the dtype feedd.records.RAW")
    ids = np.fromiter(unnumbered, dtype=np.uint32, count=len(unnumbered))
    start = max(now - HELD_NS, since)
    late = max(now - BEHIND_NS, (start + now) // 2)
    looked = np.flatnonzero(held["ts_recv"] >= start)
    first = int(looked[0]) if len(looked) else len(held)
    ours = held[first:]
    new = np.zeros(len(held), dtype=np.bool_)
    new[first:], others = _by_content(published, ours, late, ids)
    books = _books(published, ours, late, ids, new[first:])
    return Splice(new, frozenset(books), frozenset(others))


def _contents(records: Records, unnumbered: npt.NDArray[np.uint32]) -> Hashes:
    """A hash of what the message said; when and over what it came does not count."""
    plain = records.copy()
    for field in ("ring_seq", "ts_recv", "publish_delta_ns", "line", "epoch"):
        plain[field] = 0
    plain["sequence"][np.isin(records["instrument"], unnumbered)] = 0
    words = plain.view("<u8").reshape(len(plain), 16)
    mixed = (words ^ (words >> np.uint64(29))) * _SALT
    return np.asarray((mixed ^ (mixed >> np.uint64(32))).sum(axis=1, dtype=np.uint64))


# -- trades, quotes, figures: whatever was published is known by its content -----------------------


def _by_content(
    published: Records, ours: Records, since: int, ids: npt.NDArray[np.uint32]
) -> tuple[Mask, set[int]]:
    """Which of ours are new, and instruments of which something is still to come. Several streams
    may make records of one kind, so their order among each other says nothing."""
    theirs_at = np.flatnonzero(_plain(published))
    ours_at = np.flatnonzero(_plain(ours))
    theirs = _contents(published[theirs_at], ids)
    mine = _contents(ours[ours_at], ids)
    new = np.zeros(len(ours), dtype=np.bool_)
    contents, counts = np.unique(theirs, return_counts=True)
    known = dict(zip(contents.tolist(), counts.tolist(), strict=True))
    have: dict[int, int] = {}
    for at, content in zip(ours_at.tolist(), mine.tolist(), strict=True):
        have[content] = count = have.get(content, 0) + 1
        new[at] = count > known.get(content, 0)
    late = published["ts_recv"][theirs_at] >= since
    missing: set[int] = set()
    wanted: dict[int, int] = {}
    for at, content in zip(theirs_at[late].tolist(), theirs[late].tolist(), strict=True):
        wanted[content] = count = wanted.get(content, 0) + 1
        if count > have.get(content, 0):
            missing.add(int(published["instrument"][at]))
    return new, missing


def _plain(records: Records) -> Mask:
    told = np.isin(records["kind"], _BOOK) | (records["instrument"] == NO_INSTRUMENT)
    return np.asarray(~told)


# -- books: one stream each, which goes on behind the last change that was published -------------


def _books(
    published: Records, ours: Records, since: int, ids: npt.NDArray[np.uint32], new: Mask
) -> set[int]:
    """Marks in ``new`` what of ours goes on; instruments of which something is still to come."""
    theirs, mine = _by_instrument(published, Kind.BOOK), _by_instrument(ours, Kind.BOOK)
    told = _by_instrument(ours, *_BOOK)
    their_hashes, our_hashes = _contents(published, ids), _contents(ours, ids)
    behind: set[int] = set()
    for instrument in theirs.keys() | mine.keys():
        tail, rows = theirs.get(instrument), mine.get(instrument)
        if tail is None:
            tail = np.empty(0, dtype=np.int64)
        fresh = len(tail) > 0 and int(published["ts_recv"][tail[-1]]) >= since
        place = -1
        if len(tail) and rows is not None:
            place = _place(our_hashes[rows], their_hashes[tail])
        if place < 0 and fresh:
            behind.add(instrument)
        elif rows is not None:
            after = int(rows[place]) if place >= 0 else -1
            part = told[instrument]
            new[part[part > after]] = True
    return behind


def _by_instrument(records: Records, *kinds: Kind) -> dict[int, npt.NDArray[np.int64]]:
    """Rows of each instrument's records of these kinds, in order."""
    at = np.flatnonzero(np.isin(records["kind"], kinds))
    if not len(at):
        return {}
    order = at[np.argsort(records["instrument"][at], kind="stable")]
    of = records["instrument"][order]
    parts = np.split(order, np.flatnonzero(np.diff(of)) + 1)
    return {int(records["instrument"][part[0]]): part for part in parts}


def _place(mine: Hashes, theirs: Hashes) -> int:
    """Where the last of theirs is in ours, -1: nowhere. Equal changes of a venue that numbers
    nothing are told apart by what came before them."""
    best, longest = -1, 0
    for at in np.flatnonzero(mine == theirs[-1]).tolist():
        run = 1
        while run < min(_RUN_MAX, at + 1, len(theirs)) and mine[at - run] == theirs[-1 - run]:
            run += 1
        if run > longest:
            best, longest = at, run
    return best
