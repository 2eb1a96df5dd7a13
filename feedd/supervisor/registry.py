"""Instrument ids: given once, never changed, kept over restarts; the table that shows them.

An id is a row number of the instruments table. The order of names is kept in the state directory
and written before an id is used, so that an id means the same instrument for ever.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from feedd.errors import ConfigError, ShmError
from feedd.shm.instruments import InstrumentsReader, InstrumentsWriter
from feedd.shm.layout import SegmentKind
from feedd.shm.rows import InstrumentStatus
from feedd.supervisor.segments import retire
from feedd.venues.reference import InstrumentInfo

__all__ = ["Registry"]

CAPACITY = 16_384
_FIXED = ("venue", "symbol")


class Registry:
    """The one writer of the instruments table."""

    def __init__(self, directory: Path, state: Path, group: int | None = None) -> None:
        self._file = state / "instruments.json"
        self._names = _read_names(self._file)
        capacity = max(CAPACITY, 2 * len(self._names))
        self._infos: dict[str, InstrumentInfo] = {}
        self._table = self._attach(directory, capacity, group)

    def _attach(self, directory: Path, capacity: int, group: int | None) -> InstrumentsWriter:
        """The table of a predecessor when it says the same, else a new one."""
        try:
            reader = InstrumentsReader(directory)
            there = [bytes(name).decode() for name in reader.array["name"]]
            reader.close()
        except ShmError:
            there = None
        if there is not None and there == self._names[: len(there)]:
            return InstrumentsWriter.open(directory)
        retire(directory / "instruments", SegmentKind.INSTRUMENTS)
        return InstrumentsWriter.create(directory, capacity, group)

    def learn(self, infos: Iterable[InstrumentInfo]) -> None:
        """Reference data of a venue; rows of known names are brought up to date."""
        for info in infos:
            self._infos[info.name] = info
            known = self._table.find(info.name)
            if known is not None:
                fields = {k: v for k, v in info.columns().items() if k not in _FIXED}
                self._table.update(known, **fields)

    def info(self, name: str) -> InstrumentInfo | None:
        return self._infos.get(name)

    def add(self, names: Iterable[str]) -> None:
        """Ids for new names; the state file is written before the table shows them."""
        known = set(self._names)
        new = [name for name in dict.fromkeys(names) if name not in known]
        if new:
            names = self._names + new
            _write_names(self._file, names)
            self._names = names
        while self._table.count < len(self._names):
            self._append(self._names[self._table.count])

    def _append(self, name: str) -> None:
        info = self._infos.get(name)
        if info is not None:
            fields: dict[str, Any] = info.columns()
        else:
            venue, _, symbol = name.partition(":")
            fields = {"venue": venue, "symbol": symbol}
        self._table.append(**fields)

    def id_of(self, name: str) -> int:
        found = self._table.find(name)
        if found is None:
            raise KeyError(name)
        return int(found)

    def place(self, places: Mapping[int, tuple[int, int]]) -> None:
        """``places[id]`` is (reader, board row); all others are on no reader."""
        for number in range(self._table.count):
            reader, row = places.get(number, (-1, -1))
            self._table.update(number, reader=reader, row=row)

    def place_one(self, number: int, reader: int, row: int) -> None:
        self._table.update(number, reader=reader, row=row)

    def tell(self, number: int, status: InstrumentStatus) -> None:
        """The status of an instrument of which no list is known."""
        self._table.update(number, status=int(status))

    def heartbeat(self, now: int) -> None:
        self._table.heartbeat(now)

    def __len__(self) -> int:
        return int(self._table.count)

    def close(self) -> None:
        self._table.close()


def _read_names(path: Path) -> list[str]:
    try:
        loaded = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, orjson.JSONDecodeError) as exc:
        raise ConfigError(
            f"{path}: cannot be read ({exc}); it holds the instrument ids: restore it, or move it "
            "away to start with new ids"
        ) from exc
    names = loaded.get("names") if isinstance(loaded, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{path}: not a list of instrument names; move it away for new ids")
    return names


def _write_names(path: Path, names: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(orjson.dumps({"v": 1, "names": names}, option=orjson.OPT_INDENT_2))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as exc:
        with contextlib.suppress(OSError):
            temporary.unlink()  # a full disk has better use for it
        raise OSError(exc.errno, exc.strerror, str(path)) from exc
