"""All planned lines of a reader: which connection carries which stream, and changes of that."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from feedd.clock import SECOND_NS
from feedd.reader.connection import Connection, Host
from feedd.reader.net import tls_context
from feedd.reader.plan import Line, PlanChange, ReaderPlan, Stream, VenueSlice
from feedd.reader.session import STALL_NS
from feedd.reader.signing import Signer, signer_of
from feedd.reader.slots import Numbers, Slot
from feedd.reader.topics import TopicState
from feedd.shm.layout import CONNECTIONS
from feedd.venues.schema import Venue

__all__ = ["Lines"]

WATCH_NS = SECOND_NS // 2
"""How often the ages of streams are looked at."""


@dataclass(slots=True)
class _Venue:
    described: Venue
    handle: int
    ca_file: str | None
    signer: Signer | None
    context: ssl.SSLContext | None = None


class Lines:
    """One reader's lines; one thread."""

    def __init__(self, host: Host, plan: ReaderPlan) -> None:
        self._host = host
        self._numbers = Numbers((line.number for _, line in plan.lines), CONNECTIONS)
        self._venues: dict[str, _Venue] = {}
        self._slots: dict[int, Slot] = {}
        self._contexts: dict[str | None, ssl.SSLContext] = {}
        self._ending: list[Slot] = []
        self._carriers: dict[tuple[int, str, str], list[Slot]] = {}
        self._tick_at = self._watch_at = 0

    def add_venue(self, part: VenueSlice, venue: Venue, handle: int) -> None:
        """The venue's lines as planned, not started yet. Raises ``ConfigError`` for credentials
        that are not there or cannot sign."""
        signer = None if part.credentials is None else signer_of(venue, part.credentials)
        self._venues[part.name] = _Venue(venue, handle, part.ca_file, signer)
        for line in part.lines:
            self._add(part.name, line)

    def _tls(self, ca_file: str | None) -> ssl.SSLContext:
        """Venues that trust the same authorities share them: to load the system's takes 20 ms."""
        if ca_file not in self._contexts:
            self._contexts[ca_file] = tls_context(ca_file)
        return self._contexts[ca_file]

    def _add(self, name: str, line: Line) -> Slot:
        mine = self._venues[name]
        if mine.context is None and line.url.startswith("wss://"):
            mine.context = self._tls(mine.ca_file)

        def make(plan: Line) -> Connection:
            return Connection(
                self._host, mine.described, mine.handle, plan, mine.context, mine.signer
            )

        slot = Slot(line, make, self._numbers)
        self._slots[slot.row] = slot
        self._carry(slot, mine, line.streams)
        return slot

    def _carry(self, slot: Slot, mine: _Venue, streams: tuple[Stream, ...]) -> None:
        for stream in streams:
            key = mine.handle, stream.symbol, mine.described.decoded(stream.channel)
            self._carriers.setdefault(key, []).append(slot)

    # -- life ----------------------------------------------------------------------------------

    def start(self) -> None:
        for slot in self._slots.values():
            slot.start()

    def stop(self) -> None:
        for slot in self._slots.values():
            slot.stop()

    def tick(self, now: int) -> Iterator[None]:
        """Line by line; between two, other tasks may run."""
        stall = now - self._tick_at - STALL_NS if self._tick_at else 0
        self._tick_at = now
        for slot in (*self._slots.values(), *self._ending):
            if stall > 0:
                slot.ladder.shift(stall)
            slot.tick(now)
            yield
        if now >= self._watch_at:
            self._watch_at = now + WATCH_NS
            for slot in self._present():
                slot.watch(now)
                yield
        for slot in [slot for slot in self._ending if slot.finished]:
            self._ending.remove(slot)
            slot.release()
            if slot.row not in self._slots:
                self._host.counts.forget(slot.row)

    def _present(self) -> Iterator[Slot]:
        """The planned lines; one that is taken away meanwhile is left out."""
        for row, slot in tuple(self._slots.items()):
            if self._slots.get(row) is slot:
                yield slot

    def connections(self) -> Iterator[Connection]:
        for slot in (*self._slots.values(), *self._ending):
            yield from slot.connections

    def missing(self) -> str:
        """What is still to come before every planned line carries everything; empty: nothing."""
        for slot in self._slots.values():
            if not slot.current.complete:
                return f"{slot.current.name} is not complete"
        return ""

    def refused(self) -> Iterator[tuple[int, str, int]]:
        """Row and name of every planned line, and how many streams the venue refuses it."""
        for row, slot in self._slots.items():
            subscriptions = slot.current.session.subscriptions
            yield row, slot.current.name, subscriptions.count(TopicState.FAILED)

    def cut(self) -> None:
        """Close every connection; nothing that still comes reaches the pipeline."""
        for connection in self.connections():
            connection.cut()

    def count(self) -> None:
        """Write the counters of all lines."""
        for _ in self.count_in_turn():
            pass

    def count_in_turn(self, turn: int = 0, turns: int = 1) -> Iterator[None]:
        """Write the counters of those lines whose turn it is, one by one; between two, other tasks
        may run."""
        for slot in self._present():
            if slot.row % turns == turn:
                slot.count()
                yield
        for slot in self._ending:
            for connection in slot.connections:
                connection.count(row=False)

    @property
    def active(self) -> int:
        """How many streams the venues have confirmed, when each line was last counted."""
        return sum(slot.active for slot in self._slots.values())

    @property
    def stale(self) -> int:
        """How many streams say less than the venue promises."""
        return sum(slot.stale for slot in self._slots.values())

    # -- what others ask for -------------------------------------------------------------------

    def permit(self, number: int, token: str = "", refused: str = "") -> None:
        """The supervisor lets the connection with this line number connect."""
        for connection in self.connections():
            if connection.number == number:
                connection.permit(token, refused)

    def replace(self, connection: Connection, reason: str) -> None:
        for slot in self._slots.values():
            slot.replace(connection, reason)

    def rotate(self, row: int, reason: str) -> None:
        """Replace the connection of a planned line."""
        slot = self._slots.get(row)
        if slot is not None:
            slot.current.rotate(reason)

    def resubscribe(self, handle: int, symbol: str, channel: str, number: int = -1) -> bool:
        """Start a stream anew on the line with this number; -1: on one of its lines, which take
        turns. The others go on meanwhile. False when no line has it."""
        slots = self._carriers.get((handle, symbol, channel))
        if number >= 0:
            slots = [slot for slot in slots or () if slot.current.number == number]
            for slot in slots:
                slot.current.resubscribe_stream(channel, symbol)
            return bool(slots)
        if not slots:
            return False
        slot = next((slot for slot in slots if slot.current.up), slots[0])
        slots.remove(slot)
        slots.append(slot)
        slot.current.resubscribe_stream(channel, symbol)
        return True

    def reconnect(self, handle: int, symbol: str, channel: str, number: int, reason: str) -> None:
        """Leave the connection with this line number (-1: all) that carries a stream."""
        for slot in self._carriers.get((handle, symbol, channel), ()):
            if number in (-1, slot.current.number):
                slot.current.leave(reason)

    def change(self, change: PlanChange) -> None:
        """Lines and streams come and go; the others are left alone."""
        mine = self._venues[change.venue]
        for row in change.ended:
            slot = self._slots.pop(row, None)
            if slot is not None:
                slot.change((), list(slot.current.streams))
                self._forget(slot, mine)
                slot.stop()
                self._ending.append(slot)
        for edit in change.changes:
            slot = self._slots[edit.number]
            slot.change(edit.add, edit.drop)
            if edit.drop:
                self._forget(slot, mine)
            self._carry(slot, mine, edit.add)
        for line in change.lines:
            number = self._numbers.claim(line.number)
            if number is None:
                raise ValueError(f"no number is left for line {line.number}")
            self._add(
                change.venue, msgspec.structs.replace(line, number=number, row=line.number)
            ).start()

    def _forget(self, slot: Slot, mine: _Venue) -> None:
        """``slot`` carries no longer everything that it did."""
        streams = slot.current.streams.values()
        carried = {(s.symbol, mine.described.decoded(s.channel)) for s in streams}
        for key, slots in list(self._carriers.items()):
            if slot in slots and key[1:] not in carried:
                slots.remove(slot)
                if not slots:
                    del self._carriers[key]
