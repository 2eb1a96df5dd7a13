"""A batch: the whole events that one look at one ring yielded, as NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy.typing as npt

from feedd.client.events import select
from feedd.records import KIND_DTYPES, Kind

__all__ = ["Batch", "Positions"]

Positions = dict[str, list[Any]]
"""Reader number (as text) -> [ring id, sequence]; JSON can store it."""

Array = npt.NDArray[Any]


class Batch:
    """Records of one reader's ring, in order, events never split.

    ``trades``, ``books`` and so on are structured arrays of the record dtypes in
    ``feedd.records``; they are copies of shared memory and stay valid. A batch may be empty: it
    then tells of loss, of a restart, of a writer that died or came back, or that ``timeout`` is
    over. It is false when it holds no records.
    """

    __slots__ = (
        "_parts",
        "_places",
        "alive",
        "broken_snapshots",
        "lost",
        "read_ns",
        "reader",
        "records",
        "restarted",
        "silent",
    )

    def __init__(
        self,
        records: Array,
        *,
        reader: int = 0,
        lost: int = 0,
        restarted: bool = False,
        broken_snapshots: tuple[int, ...] = (),
        alive: bool = True,
        places: tuple[tuple[tuple[int, str], ...], tuple[int, ...]] = ((), ()),
        read_ns: int = 0,
        silent: bool = False,
    ) -> None:
        self.records = records
        """All records, dtype ``RAW``: header fields and 80 bytes of payload."""
        self.reader = reader
        self.lost = lost
        """Records of this ring that are missing before the first one here: exact."""
        self.restarted = restarted
        """Another writer process has begun: books of this reader start anew."""
        self.broken_snapshots = broken_snapshots
        """Ids of instruments whose snapshot was dropped (overtaken, or its writer died)."""
        self.alive = alive
        """False while the writer of this ring is dead."""
        self._places = places
        self.read_ns = read_ns
        """When this batch was read, ns since the Unix epoch."""
        self.silent = silent
        """True for the empty batch that says that ``timeout`` is over: every ring was read to its
        end. Other empty batches may come before that."""
        self._parts: dict[int, Array] = {}

    @property
    def positions(self) -> Positions:
        """Of all rings, after this batch; give it to ``stream(start=...)`` to go on from here."""
        rings, sequences = self._places
        return {
            str(number): [ring, sequence]
            for (number, ring), sequence in zip(rings, sequences, strict=True)
        }

    def _part(self, kind: Kind) -> Array:
        part = self._parts.get(kind)
        if part is None:
            part = select(self.records, 1 << kind).view(KIND_DTYPES[kind])
            self._parts[kind] = part
        return part

    @property
    def trades(self) -> Array:
        """dtype ``TRADE``."""
        return self._part(Kind.TRADE)

    @property
    def liquidations(self) -> Array:
        """dtype ``TRADE``."""
        return self._part(Kind.LIQUIDATION)

    @property
    def quotes(self) -> Array:
        """dtype ``QUOTE``."""
        return self._part(Kind.QUOTE)

    @property
    def books(self) -> Array:
        """dtype ``BOOK``: up to 5 levels per record; ``feedd.BookBuilder`` folds them."""
        return self._part(Kind.BOOK)

    @property
    def controls(self) -> Array:
        """dtype ``BOOK_CONTROL``: snapshot brackets, gaps, checksum failures."""
        return self._part(Kind.BOOK_CONTROL)

    @property
    def derivs(self) -> Array:
        """dtype ``DERIV``: mark, index, open interest, funding ..."""
        return self._part(Kind.DERIV)

    @property
    def greeks(self) -> Array:
        """dtype ``GREEKS``."""
        return self._part(Kind.GREEKS)

    @property
    def status(self) -> Array:
        """dtype ``STATUS``: gaps, lines up and down, bad frames ..."""
        return self._part(Kind.STATUS)

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Any]:
        """Records one by one with their own dtype, in order: handy, and slow by comparison."""
        kinds = self.records["kind"].tolist()
        for i, kind in enumerate(kinds):
            dtype = KIND_DTYPES.get(kind)
            row = self.records[i : i + 1]
            yield (row if dtype is None else row.view(dtype))[0]

    def of(self, instrument: int) -> Batch:
        """The same batch with the records of one instrument id only."""
        return Batch(
            self.records[self.records["instrument"] == instrument],
            reader=self.reader,
            lost=self.lost,
            restarted=self.restarted,
            broken_snapshots=self.broken_snapshots,
            alive=self.alive,
            places=self._places,
            read_ns=self.read_ns,
            silent=self.silent,
        )

    def __repr__(self) -> str:
        counts = [
            f"{len(self._part(kind))} {kind.name.lower()}" for kind in Kind if len(self._part(kind))
        ]
        notes = [f"{self.lost} lost"] if self.lost else []
        notes += ["restarted"] if self.restarted else []
        notes += [] if self.alive else ["writer dead"]
        text = ", ".join([*counts, *notes]) or "empty"
        return f"<Batch reader {self.reader}: {text}>"
