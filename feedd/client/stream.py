"""The stream: batches of all readers' rings, in turn, by ``for`` or ``async for``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from feedd import clock
from feedd.client.batch import Batch
from feedd.client.cursor import Cursor, Filter, reader_numbers
from feedd.client.flow import LOOK_NS, WAITS, StreamFlow
from feedd.client.instruments import Instrument, Instruments
from feedd.errors import ShmError
from feedd.records import Kind
from feedd.shm.ring import RingReader, wait_any

if TYPE_CHECKING:
    from feedd.shm.waiting import AsyncWaiter

__all__ = ["OnOverrun", "Positions", "Start", "Stream", "Wait", "kind_codes"]

Wait = Literal["futex", "yield", "spin"]
OnOverrun = Literal["count", "raise"]
Positions = dict[str, list[Any]]
"""Reader number (as text) -> [ring id, sequence]; JSON can store it."""
Start = str | Positions | dict[int, Any]

_BOOK_KINDS = frozenset({Kind.BOOK, Kind.BOOK_CONTROL})


def kind_codes(kinds: Iterable[str | int] | None) -> frozenset[int] | None:
    """Kind names as codes; "book" brings the controls that belong to it."""
    if kinds is None:
        return None
    codes: set[int] = set()
    for kind in kinds:
        if isinstance(kind, int):
            codes.add(Kind(kind))
        elif kind.upper() in Kind.__members__:
            codes |= _BOOK_KINDS if kind == "book" else {Kind[kind.upper()]}
        else:
            known = ", ".join(member.name.lower() for member in Kind)
            raise ValueError(f"kind {kind!r}: use one of {known}")
    return frozenset(codes)


class Stream(StreamFlow):
    """An endless iterator of ``Batch``; ``poll`` looks once without waiting. One thread.

    A consumer that falls behind loses records and is told how many (``batch.lost``, or
    ``LappedError``); the daemon never waits for it. The rings take turns, so that a busy one does
    not starve the others. A daemon that is restarted in the same directory is followed.
    """

    def __init__(
        self,
        directory: Path,
        instruments: Instruments,
        *,
        venues: Iterable[str] | None = None,
        kinds: Iterable[str | int] | None = None,
        chosen: Iterable[str | int | Instrument] | None = None,
        start: Start = "newest",
        wait: Wait = "futex",
        on_overrun: OnOverrun = "count",
        timeout: float | None = None,
        batch_max: int = 8192,
        readers: Iterable[int] | None = None,
    ) -> None:
        if wait not in WAITS:
            raise ValueError(f'wait is "futex", "yield" or "spin", not {wait!r}')
        if on_overrun not in ("count", "raise"):
            raise ValueError(f'on_overrun is "count" or "raise", not {on_overrun!r}')
        self._directory = directory
        self._instruments = instruments
        self._venues = None if venues is None else frozenset(venues)
        self._ids = None if chosen is None else instruments.ids(chosen)
        filtered = self._venues is not None or self._ids is not None
        self._filter = Filter(kind_codes(kinds), self._wanted if filtered else None)
        self._raising = on_overrun == "raise"
        self._pace(wait, timeout)
        self._timeout = timeout
        self._batch_max = batch_max
        self._only = None if readers is None else frozenset(readers)
        self._waiter: AsyncWaiter | None = None
        for number in self._numbers():
            self._cursors.append(self._cursor(number, start))

    def _numbers(self) -> list[int]:
        numbers = reader_numbers(self._directory)
        return numbers if self._only is None else [n for n in numbers if n in self._only]

    def _cursor(self, number: int, start: Start | int) -> Cursor:
        if isinstance(start, int):
            return Cursor(self._directory, number, start, self._filter, self._batch_max)
        if isinstance(start, str):
            if start not in ("newest", "oldest"):
                raise ValueError(
                    'start is "newest", "oldest" or saved positions (batch.positions), '
                    f"not {start!r}"
                )
            return Cursor(self._directory, number, start, self._filter, self._batch_max)
        saved: Any = start.get(str(number), start.get(number))  # type: ignore[call-overload]
        cursor = Cursor(self._directory, number, "oldest", self._filter, self._batch_max)
        ring, sequence = (None, saved) if isinstance(saved, int) else (saved or (None, None))
        if sequence is not None and ring in (None, cursor.ring_id):
            cursor.seek(sequence)
        elif saved is not None:
            # The ring was created anew since: what lies between cannot be counted.
            cursor.new_file = True
        return cursor

    def _wanted(self, length: int) -> bytes:
        """One byte per instrument id: 1 when its records are wanted."""
        if length > len(self._instruments.cached):
            self._instruments.refresh()
        mask = self._instruments.mask(venues=self._venues, ids=self._ids)
        return mask.tobytes().ljust(length, b"\0")

    # ---- reading ----------------------------------------------------------------------------

    @property
    def positions(self) -> Positions:
        """Where each ring stands: what was handed out lies before."""
        places = {str(c.number): [c.ring_id, c.position] for c in self._cursors}
        for batch in reversed(self._news):  # LappedError was raised in its place
            if len(batch):
                places[str(batch.reader)][1] = batch.records["ring_seq"][0].item()
        return places

    def _look(self) -> None:
        """Idle work: new files, new readers, writers that died or came back."""
        self._looked_ns = clock.monotonic_ns()
        for cursor in self._cursors:
            if cursor.look():
                self._news.append(self._notice(cursor))
        known = {cursor.number for cursor in self._cursors}
        for number in self._numbers():
            if number not in known:
                try:
                    self._cursors.append(self._cursor(number, 0))
                except ShmError:
                    continue  # it is being made: the next look will find it

    def _deadline(self) -> int:
        if self._timeout is None:
            return 2**63
        return clock.monotonic_ns() + int(self._timeout * clock.SECOND_NS)

    def _readers(self) -> list[RingReader]:
        return [cursor.reader for cursor in self._cursors]

    # ---- asyncio ----------------------------------------------------------------------------

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Batch:
        if self._waiter is None:
            from feedd.shm.waiting import AsyncWaiter  # asyncio is heavy: only for its users

            self._waiter = AsyncWaiter(lambda seconds: wait_any(self._readers(), seconds))
        deadline = self._deadline()
        await _step()  # not between taking a batch and handing it out: a cancellation would lose it
        while not self._closed:
            batch = self.poll()
            if batch is not None:
                return batch
            left_ns = deadline - clock.monotonic_ns()
            if left_ns <= 0:
                return self._silence()
            await self._waiter.wait(self._ready, min(left_ns, LOOK_NS) / clock.SECOND_NS)
        raise StopAsyncIteration

    def _ready(self) -> bool:
        return any(reader.available() for reader in self._readers())

    def close(self) -> None:
        """Unmap the rings and end the iteration; batches stay valid."""
        self._closed = True
        if self._waiter is not None:
            self._waiter.close()
            self._waiter = None
        for cursor in self._cursors:
            cursor.close()
        self._cursors.clear()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        where = ", ".join(f"{c.number} at {c.position}" for c in self._cursors) or "none"
        return f"<Stream of readers {where}>"


async def _step() -> None:
    """Let other tasks run: a stream that always has data must not starve the event loop."""
    import asyncio

    await asyncio.sleep(0)
