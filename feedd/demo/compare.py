"""Compare what a consumer received with the venue's journal: lost, wrong, duplicates.

Pure functions of two lists of events. *Due* is every event that the venue sent after its ack
(book deltas: after the snapshot that the book was joined with, while the book was not declared
broken). ``lost`` is due and absent, ``wrong`` differs or was never sent or comes out of order
within its stream, ``duplicates`` was delivered more often than sent. An altered event is one
``wrong``, not one lost and one invented. ``overtaken`` is a state (a quote, prices, greeks) that
one line brought behind a newer one, with which the venue had greeted another line: it is dropped
on purpose, and not lost.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from feedd.demo.journal import Content, Expected, FinalBook, Journal
from feedd.demo.received import Received

__all__ = ["Books", "Result", "compare"]

Books = dict[str, tuple[dict[float, float], dict[float, float]]]
"""Final books as the consumer sees them: instrument -> (bids, asks), price -> size."""

_DATA_KINDS = ("trade", "liquidation", "quote", "book", "deriv", "greeks")
_DETAILS_MAX = 50
_ALIKE_MAX = 32
_STATE_KINDS = ("quote", "deriv", "greeks")
_OVERTAKEN_NS = 1_000_000_000
"""No line is further behind another one than that."""


@dataclass(slots=True)
class Result:
    """Counts of events (not of ring slots); ``details`` explains the first differences."""

    records: dict[str, int] = field(default_factory=dict)
    """By kind."""
    venues: dict[str, dict[str, int]] = field(default_factory=dict)
    """Records of data, by venue and kind."""
    lost: int = 0
    wrong: int = 0
    duplicates: int = 0
    gaps: int = 0
    overtaken: int = 0
    ended: int = 0
    """Connections that a fault of the simulated venue ended."""
    latency_ns: list[int] = field(default_factory=list)
    details: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.records.values())

    def failed(self, *, faults: bool) -> list[str]:
        """Which counts must be 0 and are not: gaps too, unless ``faults`` were asked for."""
        counts = {"lost": self.lost, "wrong": self.wrong, "duplicates": self.duplicates}
        if not faults:
            counts["gaps"] = self.gaps
        return [f"{name} {count}" for name, count in counts.items() if count]

    def note(self, text: str) -> None:
        if len(self.details) < _DETAILS_MAX:
            self.details.append(text)


def compare(
    journal: Journal,
    received: Sequence[Received],
    books: Books | None = None,
    shared: Books | None = None,
) -> Result:
    """Match ``received`` (ring order per instrument) with the journal; see the module docstring.

    ``books`` are those folded from the records, ``shared`` those read from shared memory at the
    end; each must equal the venue's final book in every level.
    """
    result = Result()
    sent: dict[tuple[str, str], list[Expected]] = defaultdict(list)
    got: dict[tuple[str, str], list[Received]] = defaultdict(list)
    for expected in journal.events:
        sent[expected.kind, expected.instrument].append(expected)
    for event in received:
        if event.instrument in journal.unnumbered and event.kind in _DATA_KINDS:
            event.content, event.sequence = (*event.content[:-1], None), None
        if event.kind in ("gap", "status"):
            if event.kind == "gap":
                result.gaps += 1
                result.note(f"gap: {event.instrument} {event.content[2]}")
            result.records["status"] = result.records.get("status", 0) + 1
        else:
            got[event.kind, event.instrument].append(event)
        if event.kind in _DATA_KINDS:
            result.records[event.kind] = result.records.get(event.kind, 0) + 1
            kinds = result.venues.setdefault(event.instrument.partition(":")[0], {})
            kinds[event.kind] = kinds.get(event.kind, 0) + 1
    damaged: set[str] = set()
    for key in sorted(sent.keys() | {k for k in got if k[0] in _DATA_KINDS}):
        kind, instrument = key
        if kind == "book":
            _limit_due_deltas(sent[key], got[key], got["broken", instrument])
        errors = result.lost + result.wrong
        _match(sent[key], got[key], result, journal.shared)
        if kind == "book" and result.lost + result.wrong != errors:
            damaged.add(instrument)
    if books is not None:
        # A book whose deltas are already counted as lost or wrong must differ in the end:
        # counting that again would make two errors of one.
        for name in sorted(journal.final_books.keys() - damaged):
            truth = journal.final_books[name]
            if _compare_final(truth, books.get(name), "book", result) and shared is not None:
                _compare_final(truth, shared.get(name), "shared book", result)
    return result


def _limit_due_deltas(sent: list[Expected], got: list[Received], broken: list[Received]) -> None:
    """Clear ``due`` of deltas outside the spans in which the book was joined and whole.

    The spans are in sequence numbers; where a venue has none, in places of the venue's order.
    """
    numbered = any(expected.sequence is not None for expected in sent)
    places = {} if numbered else dict(zip(map(id, got), _places(sent, got), strict=True))
    spans: list[tuple[int, int]] = []
    start: int | None = None
    last = -1
    for event in sorted([*got, *broken], key=lambda item: item.position):
        place = event.sequence if numbered else places.get(id(event))
        if event.kind == "broken":
            if start is not None:
                spans.append((start, last))
            start = None
        elif event.snapshot:
            if place is None and not numbered:
                continue
            if start is not None:
                spans.append((start, place or 0))
            start = last = place or 0
        elif place is not None:
            last = place
    if start is not None:
        spans.append((start, 2**64))
    for index, expected in enumerate(sent):
        if expected.due and not expected.snapshot:
            at = (expected.sequence or 0) if numbered else index
            expected.due = any(low < at <= high for low, high in spans)


def _places(sent: list[Expected], got: list[Received]) -> list[int | None]:
    """Index of the equal event in ``sent`` for each of ``got``, each used once. Where several are
    equal it is the one that follows the last; else one that is due (and no greeting that repeats
    it), the one from where on most is as sent (behind a gap that is not the first: some of them may
    be what was lost), and the first of those."""
    waiting: dict[Content, deque[int]] = defaultdict(deque)
    for index, expected in enumerate(sent):
        waiting[expected.content].append(index)
    order = [index for index, expected in enumerate(sent) if not expected.snapshot]
    ranks = {index: rank for rank, index in enumerate(order)}
    changes = [event.content for event in got if not event.snapshot]
    used: set[int] = set()
    places: list[int | None] = []
    change = -1
    rank = -1
    for event in got:
        change += not event.snapshot
        queue = waiting.get(event.content, deque())
        while queue and queue[0] in used:
            queue.popleft()
        if not queue:
            places.append(None)
            continue
        index = queue[0]
        if event.snapshot:
            rank = bisect_left(order, index) - 1
        elif index in ranks:
            follows = order[rank + 1] if rank + 1 < len(order) else index
            if follows not in used and sent[follows].content == event.content:
                index = follows
            elif len(queue) > 1:
                came = changes[change : change + _ALIKE_MAX]
                index = max(
                    (i for i in queue if i not in used),
                    key=lambda i: (sent[i].due, _alike(sent, order, ranks[i], came)),
                )
            rank = ranks[index]
        used.add(index)
        places.append(index)
    return places


def _alike(sent: list[Expected], order: list[int], rank: int, came: list[Content]) -> int:
    """How many changes in a row came as sent from this one on."""
    n = 0
    for index, content in zip(order[rank : rank + len(came)], came, strict=False):
        if sent[index].content != content:
            break
        n += 1
    return n


def _match(sent: list[Expected], got: list[Received], result: Result, shared: set[str]) -> None:
    matched = _match_equal(sent, got, result)
    _count_disorder(sent, matched, result, shared)
    missing = set(range(len(sent))) - {index for index in matched if index is not None}
    contents = {event.content for event in sent}
    strangers: list[int] = []
    for i, event in enumerate(got):
        if matched[i] is not None:
            continue
        if event.content in contents:
            result.duplicates += 1
            result.note(f"duplicate: {event.instrument} {_short(event.content)}")
        else:
            strangers.append(i)
    _count_altered(sent, got, matched, missing, strangers, result)
    greetings = [sent[i] for i in matched if i is not None and sent[i].greeting]
    for index in sorted(missing):
        expected = sent[index]
        if expected.due and _is_overtaken(expected, greetings):
            result.overtaken += 1
        elif expected.due:
            result.lost += 1
            result.note(f"lost: {expected.instrument} {_short(expected.content)}")


def _is_overtaken(expected: Expected, greetings: Sequence[Expected]) -> bool:
    """``greetings``: those of the same kind and instrument that arrived."""
    return expected.kind in _STATE_KINDS and any(
        greeting.content[-2] > expected.content[-2]
        and abs(greeting.sent_ns - expected.sent_ns) <= _OVERTAKEN_NS
        for greeting in greetings
    )


def _match_equal(sent: list[Expected], got: list[Received], result: Result) -> list[int | None]:
    """Places of ``got`` in ``sent``; notes how long each event took."""
    matched = _places(sent, got)
    for event, index in zip(got, matched, strict=True):
        if index is not None and not sent[index].stream.startswith("rest "):
            result.latency_ns.append(event.read_ns - sent[index].sent_ns)
    return matched


def _count_disorder(
    sent: list[Expected], matched: list[int | None], result: Result, shared: set[str]
) -> None:
    """An event that had to move for its stream to be in the venue's order is wrong.

    A stream over several lines (``shared``) has one order for its books only: elsewhere what one
    line lost comes when the other has it.
    """
    streams: dict[str, list[int]] = defaultdict(list)
    for index in matched:
        if index is not None:
            expected = sent[index]
            # Snapshots from REST have no place of their own in the stream's order.
            if expected.stream.startswith("rest "):
                continue
            if expected.kind == "book" or expected.stream not in shared:
                streams[expected.stream].append(index)
    for stream, order in streams.items():
        moved = len(order) - _longest_increasing(order)
        if moved:
            result.wrong += moved
            result.note(f"wrong: {moved} events of {stream} are out of the venue's order")


def _longest_increasing(values: Iterable[int]) -> int:
    tails: list[int] = []
    for value in values:
        at = bisect_left(tails, value)
        if at == len(tails):
            tails.append(value)
        else:
            tails[at] = value
    return len(tails)


def _count_altered(
    sent: list[Expected],
    got: list[Received],
    matched: list[int | None],
    missing: set[int],
    strangers: list[int],
    result: Result,
) -> None:
    """Pair each unknown event with the sent one it was made of, by identity, else by place."""
    by_key: dict[Any, deque[int]] = defaultdict(deque)
    for index in sorted(missing):
        by_key[_identity(sent[index].content)].append(index)
    spans = _neighbours(matched, len(sent)) if strangers else []
    ordered = sorted(missing)
    for i in strangers:
        event = got[i]
        queue = by_key.get(_identity(event.content), deque())
        while queue and queue[0] not in missing:
            queue.popleft()
        origin = queue.popleft() if queue else _first_within(ordered, spans[i], missing)
        result.wrong += 1
        if origin is None:
            result.note(f"wrong: never sent: {event.instrument} {_short(event.content)}")
            continue
        missing.discard(origin)
        result.note(
            f"wrong: {event.instrument} {_short(event.content)} "
            f"was sent as {_short(sent[origin].content)}"
        )


def _neighbours(matched: list[int | None], end: int) -> list[tuple[int, int]]:
    """For each received event the sent indexes of its nearest matched neighbours."""
    lows: list[int] = []
    low = -1
    for index in matched:
        lows.append(low)
        low = low if index is None else index
    highs: list[int] = []
    high = end
    for index in reversed(matched):
        highs.append(high)
        high = high if index is None else index
    return list(zip(lows, reversed(highs), strict=True))


def _first_within(ordered: list[int], span: tuple[int, int], missing: set[int]) -> int | None:
    """The first index still missing strictly between the neighbours ``span``."""
    for at in range(bisect_right(ordered, span[0]), len(ordered)):
        if ordered[at] >= span[1]:
            return None
        if ordered[at] in missing:
            return ordered[at]
    return None


def _identity(content: Content) -> tuple[Any, ...]:
    """What names an event apart from its values: the trade id, else sequence and time."""
    kind = content[0]
    if kind in ("trade", "liquidation") and content[4]:
        return (kind, content[4])
    if kind == "book":
        return (kind, content[1], content[5])
    return (kind, content[-2], content[-1])


def _compare_final(
    truth: FinalBook,
    book: tuple[dict[float, float], dict[float, float]] | None,
    what: str,
    result: Result,
) -> bool:
    """Level by level; False when it is missing or differs."""
    if book is None:
        result.lost += 1
        result.note(f"lost: {truth.instrument} has no {what} at the end")
        return False
    different = sum(
        len(ours.items() ^ theirs.items())
        for ours, theirs in zip(book, (truth.bids, truth.asks), strict=True)
    )
    if different:
        result.wrong += 1
        result.note(f"wrong: {truth.instrument}: final {what} differs in {different} levels")
    return not different


def _short(content: Content) -> str:
    parts = [str(value) for value in content]
    return " ".join(part if len(part) <= 90 else part[:87] + "..." for part in parts)
