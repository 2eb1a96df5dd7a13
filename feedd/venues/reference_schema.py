"""What a venue file says about its instruments: the ``[reference]`` table.

The REST bodies that list a venue's instruments become rows of the instruments table by two kinds
of statement only: *sources* (where a value is) and *rules* (which value of a closed list holds,
first match). ``feedd.venues.reference`` runs them.

A *path* is a dotted list of object keys inside one row. A step may select one element of a list of
objects by a member (``filters[filterType=PRICE_FILTER].tickSize``) or all of them
(``tick_size_steps[*].tick_size``).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

__all__ = [
    "Condition",
    "ContractRule",
    "KindRule",
    "OptionRule",
    "RefPath",
    "Reference",
    "Source",
    "Sources",
    "StatusRule",
    "Time",
    "UnitRule",
]

_STEP = r"[^.\[\]]+(\[(\*|[^.\[\]=]+=[^.\[\]]+)\])?"
RefPath = Annotated[str, msgspec.Meta(pattern=rf"^{_STEP}(\.{_STEP})*$", max_length=128)]
Condition = dict[RefPath, str | tuple[str, ...]]
"""All of: the value at the path, as text, is this one or one of these. Booleans are ``true`` and
``false``; what is missing or null is ``""``."""


class _Base(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Source(_Base, frozen=True, kw_only=True):
    """A value at ``path``, or ``value`` itself, for the rows that ``when`` describes."""

    path: RefPath | None = None
    value: str | None = None
    when: Condition = {}


Sources = tuple[RefPath | Source, ...]
"""The first source that has a value counts; none: unknown."""


class Time(_Base, frozen=True, kw_only=True):
    path: RefPath
    unit: Literal["s", "ms", "us", "ns"] = "ms"
    never_from: int | None = None
    """A time at or after this one means that it never comes (a perpetual's expiry)."""


class KindRule(_Base, frozen=True, kw_only=True):
    value: Literal["unknown", "spot", "perpetual", "future", "option", "combo", "index"]
    when: Condition = {}


class ContractRule(_Base, frozen=True, kw_only=True):
    """``linear``: paid in the quote asset (spot too); ``inverse``: in the base asset."""

    value: Literal["unknown", "linear", "inverse", "quanto"]
    when: Condition = {}


class UnitRule(_Base, frozen=True, kw_only=True):
    """What one unit of a size is: the base asset, the quote asset, or a contract."""

    value: Literal["unknown", "base", "quote", "contracts"]
    when: Condition = {}


class StatusRule(_Base, frozen=True, kw_only=True):
    value: Literal["unknown", "active", "halted", "settling", "expired", "pre"]
    when: Condition = {}


class OptionRule(_Base, frozen=True, kw_only=True):
    value: Literal["call", "put"]
    when: Condition = {}


class Reference(_Base, frozen=True, kw_only=True):
    """How the venue lists its instruments."""

    requests: tuple[Annotated[str, msgspec.Meta(pattern=r"^/")], ...]
    """Paths behind ``rest_url``; their answers together are all instruments."""
    refresh_s: Annotated[float, msgspec.Meta(ge=10, le=86_400)] = 600.0
    rows: RefPath
    """The list of instruments in an answer (or one instrument)."""
    needs: tuple[RefPath, ...] = ()
    """What a row must have to be an instrument, beside ``symbol``."""
    symbol: RefPath
    base: Sources = ()
    quote: Sources = ()
    settle: Sources = ()
    underlying: Sources = ()
    tick: Sources = ()
    tick_steps: RefPath | None = None
    """Ticks of other price ranges: the finest of all gives the decimals of a price."""
    lot: Sources = ()
    min_size: Sources = ()
    contract_size: Sources = ()
    strike: Sources = ()
    expiry: Time | None = None
    listed: Time | None = None
    kind: tuple[KindRule, ...] = ()
    contract: tuple[ContractRule, ...] = ()
    size_unit: tuple[UnitRule, ...] = ()
    status: tuple[StatusRule, ...] = ()
    option_type: tuple[OptionRule, ...] = ()
