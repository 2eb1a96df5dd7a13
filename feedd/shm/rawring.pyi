from os import PathLike
from typing import Final, NamedTuple

from typing_extensions import disjoint_base

from feedd.shm.segment import Segment

IN: Final[int]
OUT: Final[int]
REST: Final[int]
OP: Final[int]
CAPACITY_MIN: Final[int]

class Entry(NamedTuple):
    """One entry: ``t`` in ns, ``seq`` counts entries, ``dropped`` of them are missing before it."""

    kind: int
    venue: int
    line: int
    t: int
    seq: int
    dropped: int
    payload: bytes

def create_raw(
    directory: str | PathLike[str], reader_n: int, capacity: int, group: int | None = None
) -> None: ...

@disjoint_base
class RawWriter:
    @property
    def segment(self) -> Segment: ...
    def __init__(self, directory: str | PathLike[str], reader_n: int) -> None: ...
    def put(
        self, kind: int, venue: int, line: int, t: int, payload: bytes, more: bytes = b""
    ) -> bool:
        """One entry; False when there was no room: then it is counted."""
    @property
    def entries(self) -> int:
        """Entries ever put, dropped ones too."""
    @property
    def dropped(self) -> int: ...
    def close(self) -> None: ...

@disjoint_base
class RawReader:
    @property
    def segment(self) -> Segment: ...
    def __init__(self, directory: str | PathLike[str], reader_n: int) -> None: ...
    def read(self, limit: int = 1048576) -> list[Entry]:
        """Entries of about ``limit`` bytes in all. Raises LayoutError when the ring is damaged."""
    def release(self) -> None:
        """Everything read is safe elsewhere: its room may be used again."""
    def rewind(self) -> None:
        """Read again what was not released."""
    @property
    def pending(self) -> int:
        """Bytes not read yet."""
    @property
    def dropped(self) -> int: ...
    @property
    def capacity(self) -> int: ...
    def close(self) -> None: ...
