from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from typing import Self

import numpy as np
import numpy.typing as npt
from typing_extensions import disjoint_base

from feedd.records import BookState
from feedd.shm.segment import Segment

@dataclass(frozen=True, slots=True)
class BookView:
    instrument: int
    state: BookState
    ring_pos: int
    sequence: int
    ts_event: int
    ts_recv: int
    bids: npt.NDArray[np.void]
    asks: npt.NDArray[np.void]
    levels_total: tuple[int, int]
    truncated: bool

@disjoint_base
class BooksWriter:
    @property
    def segment(self) -> Segment: ...
    @property
    def n_rows(self) -> int: ...
    @classmethod
    def create(
        cls,
        directory: str | PathLike[str],
        reader_n: int,
        depths: Iterable[int],
        group: int | None = None,
    ) -> Self: ...
    @classmethod
    def open(cls, directory: str | PathLike[str], reader_n: int, fresh: bool = False) -> Self: ...
    @classmethod
    def private(cls, depths: Iterable[int], *, populate: bool = False) -> Self: ...
    def close(self) -> None: ...

@disjoint_base
class BooksReader:
    @property
    def segment(self) -> Segment: ...
    @property
    def n_rows(self) -> int: ...
    def __init__(self, source: str | PathLike[str] | BooksWriter, reader_n: int = 0) -> None: ...
    def depth(self, row: int) -> int: ...
    def top(self, row: int) -> BookView: ...
    def deep(self, row: int, limit: int | None = None) -> BookView: ...
    def close(self) -> None: ...
