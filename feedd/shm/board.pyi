from collections.abc import Sequence
from os import PathLike
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from typing_extensions import disjoint_base

from feedd.shm.segment import Segment

BOARD: np.dtype[Any]

@disjoint_base
class BoardWriter:
    @property
    def segment(self) -> Segment: ...
    @property
    def n_rows(self) -> int: ...
    @classmethod
    def create(
        cls,
        directory: str | PathLike[str],
        reader_n: int,
        rows: int,
        group: int | None = None,
    ) -> Self: ...
    @classmethod
    def open(cls, directory: str | PathLike[str], reader_n: int, fresh: bool = False) -> Self: ...
    @classmethod
    def private(cls, rows: int = 16, *, populate: bool = False) -> Self: ...
    def heartbeat(self, mono_ns: int) -> None: ...
    def close(self) -> None: ...

@disjoint_base
class BoardReader:
    @property
    def segment(self) -> Segment: ...
    @property
    def n_rows(self) -> int: ...
    def __init__(self, source: str | PathLike[str] | BoardWriter, reader_n: int = 0) -> None: ...
    def snapshot(
        self, rows: Sequence[int] | npt.NDArray[Any] | None = None
    ) -> npt.NDArray[np.void]: ...
    def close(self) -> None: ...
