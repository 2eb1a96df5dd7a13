"""Instruments as the consumer sees them: a table, a lookup by name, unit conversion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from feedd.errors import ShmError
from feedd.shm.instruments import InstrumentsReader
from feedd.shm.rows import Contract, InstrumentKind, InstrumentStatus, SizeUnit

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Instrument", "Instruments"]


@dataclass(frozen=True, slots=True, eq=False)
class Instrument:
    """One row of the instruments table; numbers that the venue does not tell are NaN, -1 or 0."""

    id: int
    name: str
    venue: str
    symbol: str
    kind: InstrumentKind
    status: InstrumentStatus
    base: str
    quote: str
    settle: str
    underlying: str
    tick: float
    lot: float
    min_size: float
    price_decimals: int
    size_decimals: int
    size_unit: SizeUnit
    contract: Contract
    contract_size: float
    strike: float
    expiry: int
    option_type: int
    listed_ts: int
    reader: int
    row: int

    def to_base(self, size: Any, price: Any = None) -> Any:
        """A size of this venue in units of ``base`` (scalar or array).

        Linear contracts and options are worth ``contract_size`` base units; inverse contracts, and
        sizes in quote currency, need the ``price`` they trade at. Raises ValueError where the table
        does not say enough.
        """
        if self.size_unit is SizeUnit.BASE:
            return size
        if self.size_unit is SizeUnit.QUOTE:
            return size / self._price(price)
        if self.size_unit is not SizeUnit.CONTRACTS:
            raise ValueError(f"{self.name}: the unit of its sizes is not known")
        if not self.contract_size > 0:
            raise ValueError(f"{self.name}: its contract size is not known")
        # an option of an inverse venue is paid in coin, and its contract is one of coins
        if self.contract is Contract.LINEAR or self.kind is InstrumentKind.OPTION:
            return size * self.contract_size
        if self.contract is Contract.INVERSE:
            return size * self.contract_size / self._price(price)
        raise ValueError(
            f"{self.name}: a {self.contract.name.lower()} contract has no fixed worth in "
            f"{self.base}"
        )

    def _price(self, price: Any) -> Any:
        if price is None:
            raise ValueError(f"{self.name}: sizes are worth {self.quote}; pass the price as well")
        return price

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Instrument) and (self.id, self.name) == (other.id, other.name)

    def __hash__(self) -> int:
        return hash((self.id, self.name))

    def __str__(self) -> str:
        return self.name


_TEXT = ("name", "venue", "symbol", "base", "quote", "settle", "underlying")
_ENUMS: dict[str, type[IntEnum]] = {
    "kind": InstrumentKind,
    "status": InstrumentStatus,
    "size_unit": SizeUnit,
    "contract": Contract,
}


def _instrument(row: Any) -> Instrument:
    values: dict[str, Any] = {}
    for field in fields(Instrument):
        value = row[field.name].item()
        if field.name in _TEXT:
            value = value.decode()
        elif field.name in _ENUMS:
            value = _ENUMS[field.name](value)
        values[field.name] = value
    return Instrument(**values)


class Instruments:
    """All instruments of the daemon: ``table["deribit:BTC-PERPETUAL"]``, ``table[id]``, ``array``.

    The table grows while the daemon runs; ids never change. ``array`` has the dtype
    ``feedd.shm.rows.INSTRUMENT`` and row number = id. One thread.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._reader = InstrumentsReader(directory)

    def refresh(self) -> bool:
        """Take over what was added or changed; True when there was something."""
        if self._reader.segment.superseded:
            try:
                fresh = InstrumentsReader(self._directory)
            except ShmError:
                return False  # the daemon is between two lives: the old table stays
            self._reader.close()
            self._reader = fresh
            return True
        return self._reader.refresh()

    @property
    def array(self) -> npt.NDArray[Any]:
        """The table as of the last refresh (read-only)."""
        self.refresh()
        return self._reader.array

    @property
    def cached(self) -> npt.NDArray[Any]:
        """The table without a look at shared memory."""
        return self._reader.array

    def __getitem__(self, key: str | int | Instrument) -> Instrument:
        if isinstance(key, Instrument):
            key = key.name
        if isinstance(key, str):
            self.refresh()
            try:
                return _instrument(self._reader.by_name(key))
            except KeyError:
                raise KeyError(f"no instrument {key!r}{self._hint(key)}") from None
        if key >= len(self._reader.array):
            self.refresh()
        if not 0 <= key < len(self._reader.array):
            raise KeyError(f"no instrument with id {key}")
        return _instrument(self._reader.array[key])

    def _hint(self, name: str) -> str:
        venue, _, symbol = name.partition(":")
        names = [text.decode() for text in self._reader.array["name"].tolist()]
        near = [other for other in names if symbol and symbol.lower() in other.lower()]
        if near:
            return f"; there is {', '.join(near[:5])}"
        if not any(other.startswith(f"{venue}:") for other in names):
            venues = sorted({other.partition(":")[0] for other in names})
            return f"; the venues of this daemon: {', '.join(venues) or 'none'}"
        return ""

    def __contains__(self, key: object) -> bool:
        try:
            self[key]  # type: ignore[index]
        except (KeyError, TypeError):
            return False
        return True

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[Instrument]:
        return (_instrument(row) for row in self.array)

    def ids(self, keys: Iterable[str | int | Instrument]) -> list[int]:
        """Ids of names, ids or instruments; KeyError names the one that is not there."""
        return [self[key].id for key in keys]

    def mask(
        self,
        *,
        venues: Iterable[str] | None = None,
        kind: str | None = None,
        underlying: str | None = None,
        ids: Iterable[int] | None = None,
    ) -> npt.NDArray[np.bool_]:
        """Which rows of ``cached`` match all of the conditions given; shape (instruments,)."""
        table = self._reader.array
        chosen = np.ones(len(table), dtype=np.bool_)
        if venues is not None:
            chosen &= np.isin(table["venue"], [venue.encode() for venue in venues])
        if kind is not None:
            try:
                code = InstrumentKind[kind.upper()]
            except KeyError:
                known = ", ".join(member.name.lower() for member in InstrumentKind)
                raise ValueError(f"kind {kind!r}: use one of {known}") from None
            chosen &= table["kind"] == code
        if underlying is not None:
            # "BTC" also means what the venue calls "BTC-27MAR26".
            text = underlying.encode()
            chosen &= (table["underlying"] == text) | (table["base"] == text)
        if ids is not None:
            listed = np.zeros(len(table), dtype=np.bool_)
            listed[list(ids)] = True
            chosen &= listed
        return chosen

    def close(self) -> None:
        self._reader.close()

    def __repr__(self) -> str:
        names, counts = np.unique(self.array["venue"], return_counts=True)
        venues = ", ".join(
            f"{name.decode()} {count}" for name, count in zip(names, counts, strict=True)
        )
        return f"<Instruments: {len(self._reader.array)} ({venues})>"
