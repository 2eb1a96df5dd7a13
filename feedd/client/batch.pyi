"""A batch: the whole events that one look at one ring yielded, as NumPy arrays."""

from collections.abc import Iterator
from typing import Any, final

import numpy.typing as npt

@final
class Batch:
    """Records of one reader's ring, in order, events never split.

    ``trades``, ``books`` and so on are structured arrays of the record dtypes in
    ``feedd.records``; they are copies of shared memory and stay valid. A batch may be empty: it
    then tells of loss, of a restart, of a writer that died or came back, or that ``timeout`` is
    over. It is false when it holds no records.
    """

    def __init__(
        self,
        records: npt.NDArray[Any],
        *,
        reader: int = 0,
        lost: int = 0,
        restarted: bool = False,
        broken_snapshots: tuple[int, ...] = (),
        alive: bool = True,
        read_ns: int = 0,
        silent: bool = False,
    ) -> None: ...
    @property
    def records(self) -> npt.NDArray[Any]:
        """All records, dtype ``RAW``: header fields and 80 bytes of payload."""
    @property
    def reader(self) -> int: ...
    @property
    def lost(self) -> int:
        """Records of this ring that are missing before the first one here: exact."""
    @property
    def restarted(self) -> bool:
        """Another writer process has begun: books of this reader start anew."""
    @property
    def broken_snapshots(self) -> tuple[int, ...]:
        """Ids of instruments whose snapshot was dropped (overtaken, or its writer died)."""
    @property
    def alive(self) -> bool:
        """False while the writer of this ring is dead."""
    @property
    def read_ns(self) -> int:
        """When this batch was read, ns since the Unix epoch."""
    @property
    def silent(self) -> bool:
        """True for the empty batch that says that ``timeout`` is over: every ring was read to its
        end. Other empty batches may come before that."""
    @property
    def positions(self) -> dict[str, list[Any]]:
        """Of all rings, after this batch: {reader: [ring id, sequence]}. Give it to
        ``stream(start=...)`` to go on from here."""
    @property
    def trades(self) -> npt.NDArray[Any]:
        """dtype ``TRADE``."""
    @property
    def liquidations(self) -> npt.NDArray[Any]:
        """dtype ``TRADE``."""
    @property
    def quotes(self) -> npt.NDArray[Any]:
        """dtype ``QUOTE``."""
    @property
    def books(self) -> npt.NDArray[Any]:
        """dtype ``BOOK``: up to 5 levels per record; ``feedd.BookBuilder`` folds them."""
    @property
    def controls(self) -> npt.NDArray[Any]:
        """dtype ``BOOK_CONTROL``: snapshot brackets, gaps, checksum failures."""
    @property
    def derivs(self) -> npt.NDArray[Any]:
        """dtype ``DERIV``: mark, index, open interest, funding ..."""
    @property
    def greeks(self) -> npt.NDArray[Any]:
        """dtype ``GREEKS``."""
    @property
    def status(self) -> npt.NDArray[Any]:
        """dtype ``STATUS``: gaps, lines up and down, bad frames ..."""
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Any]:
        """Records one by one with their own dtype, in order: handy, and slow by comparison."""
    def of(self, instrument: int) -> Batch:
        """The same batch with the records of one instrument id only."""

def select(records: npt.NDArray[Any], kinds: int) -> npt.NDArray[Any]:
    """The records whose kind has its bit in ``kinds``: a new array, or ``records`` when all do."""
