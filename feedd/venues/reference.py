"""A venue's list of instruments: REST bodies -> rows of the instruments table.

What is where and what it means is the venue file's ``[reference]`` table; this is the one program
that runs it. A missing or nonsensical value is unknown, never a reason to lose the instrument; a
row that names no usable instrument is left out and counted with the reason.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

import msgspec

from feedd.errors import ConfigError, VenueError
from feedd.shm.rows import Contract, InstrumentKind, InstrumentStatus, SizeUnit
from feedd.venues.reference_schema import Condition, Reference, Source, Sources, Time
from feedd.venues.schema import Venue

__all__ = ["InstrumentInfo", "Parsed", "parse", "parse_counted"]

_UNIT_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_SYMBOL_BYTES = 64
_TEXT_BYTES = {"base": 16, "quote": 16, "settle": 16, "underlying": 32}
_DECIMALS_MAX = 100
_INT64_MAX = 2**63 - 1


class InstrumentInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One instrument; the fields are those of ``feedd.shm.rows.INSTRUMENT``.

    Unknown: "" for texts, NaN for numbers, -1 for decimals, 0 for times (ns since the Unix epoch)
    and for ``option_type`` (+1 call, -1 put).
    """

    venue: str
    symbol: str
    kind: InstrumentKind = InstrumentKind.UNKNOWN
    base: str = ""
    quote: str = ""
    settle: str = ""
    underlying: str = ""
    tick: float = math.nan
    lot: float = math.nan
    min_size: float = math.nan
    contract_size: float = math.nan
    price_decimals: int = -1
    size_decimals: int = -1
    size_unit: SizeUnit = SizeUnit.UNKNOWN
    contract: Contract = Contract.UNKNOWN
    expiry: int = 0
    strike: float = math.nan
    option_type: int = 0
    status: InstrumentStatus = InstrumentStatus.UNKNOWN
    listed_ts: int = 0

    @property
    def name(self) -> str:
        """``venue:symbol``, in the venue's own spelling."""
        return f"{self.venue}:{self.symbol}"

    def columns(self) -> dict[str, Any]:
        """Keyword arguments for ``InstrumentsWriter.append`` and ``update``."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


class Parsed(msgspec.Struct, frozen=True):
    """The instruments of a body by their order there, and why rows were left out."""

    instruments: list[InstrumentInfo]
    rejected: Counter[str]


# ---- values at paths -----------------------------------------------------------------------------

_Step = tuple[str, str | None, str]


@lru_cache(maxsize=1024)
def _steps(path: str) -> tuple[_Step, ...]:
    steps: list[_Step] = []
    for part in path.split("."):
        key, bracket, inside = part.rstrip("]").partition("[")
        member, _, value = inside.partition("=")
        steps.append((key, member if bracket else None, value))
    return tuple(steps)


def _values(node: Any, steps: tuple[_Step, ...]) -> Iterator[Any]:
    if not steps:
        if node is not None:
            yield node
        return
    if not isinstance(node, dict):
        return
    key, member, value = steps[0]
    node = node.get(key)
    if member is None:
        yield from _values(node, steps[1:])
        return
    for item in node if isinstance(node, list) else ():
        if member == "*" or (isinstance(item, dict) and _text(item.get(member)) == value):
            yield from _values(item, steps[1:])


def _first(row: Any, path: str) -> Any:
    return next(_values(row, _steps(path)), None)


def _text(value: Any) -> str:
    """A JSON value as the text that a venue file compares with; "" for null and containers."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, (int, float, Decimal)) else ""


def _holds(row: Any, when: Condition) -> bool:
    for path, wanted in when.items():
        text = _text(_first(row, path))
        if text not in ((wanted,) if isinstance(wanted, str) else wanted):
            return False
    return True


def _source(row: Any, sources: Sources) -> str:
    """Text of the first source that has a value."""
    for source in sources:
        if isinstance(source, str):
            text = _text(_first(row, source))
        elif not _holds(row, source.when):
            continue
        else:
            text = _from(row, source)
        if text:
            return text
    return ""


def _from(row: Any, source: Source) -> str:
    if source.value is not None:
        return source.value
    return _text(_first(row, source.path)) if source.path is not None else ""


def _rule(row: Any, rules: tuple[Any, ...]) -> str:
    for rule in rules:
        if _holds(row, rule.when):
            return str(rule.value)
    return "unknown"


# ---- columns -------------------------------------------------------------------------------------


def _decimal(text: str) -> Decimal | None:
    """A positive number that float64 can hold, exactly as written; else None."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    if not value.is_finite() or value <= 0:
        return None
    as_float = float(value)
    return value if 0 < as_float < math.inf else None


def _number(row: Any, sources: Sources) -> float:
    value = _decimal(_source(row, sources))
    return math.nan if value is None else float(value)


def _decimals(texts: list[str]) -> int:
    """Decimals that the finest of the steps needs; -1 when there is none."""
    needed = -1
    for text in texts:
        value = _decimal(text)
        if value is not None:
            exponent = value.normalize().as_tuple().exponent
            if isinstance(exponent, int) and -exponent <= _DECIMALS_MAX:
                needed = max(needed, 0, -exponent)
    return needed


def _time(row: Any, time: Time | None) -> int:
    if time is None:
        return 0
    value = _decimal(_text(_first(row, time.path)))
    if value is None or (time.never_from is not None and value >= time.never_from):
        return 0
    scaled = value * _UNIT_NS[time.unit]
    return int(scaled) if scaled <= _INT64_MAX else 0


def _column_text(row: Any, name: str, sources: Sources) -> str:
    text = _source(row, sources)
    return text if len(text.encode("utf-8", "replace")) <= _TEXT_BYTES[name] else ""


def _symbol_problem(symbol: str) -> str | None:
    if not symbol:
        return "no symbol"
    try:
        size = len(symbol.encode())
    except UnicodeEncodeError:
        return "symbol is not UTF-8"
    if size > _SYMBOL_BYTES:
        return "symbol is too long"
    if not symbol.isprintable() or " " in symbol:
        return "symbol has spaces or control characters"
    return None


def _instrument(venue: str, symbol: str, row: Any, reference: Reference) -> InstrumentInfo:
    steps = [_source(row, reference.tick)]
    if reference.tick_steps is not None:
        steps += [_text(value) for value in _values(row, _steps(reference.tick_steps))]
    option = _rule(row, reference.option_type)
    return InstrumentInfo(
        venue=venue,
        symbol=symbol,
        kind=InstrumentKind[_rule(row, reference.kind).upper()],
        base=_column_text(row, "base", reference.base),
        quote=_column_text(row, "quote", reference.quote),
        settle=_column_text(row, "settle", reference.settle),
        underlying=_column_text(row, "underlying", reference.underlying),
        tick=_number(row, reference.tick),
        lot=_number(row, reference.lot),
        min_size=_number(row, reference.min_size),
        contract_size=_number(row, reference.contract_size),
        price_decimals=_decimals(steps),
        size_decimals=_decimals([_source(row, reference.lot)]),
        size_unit=SizeUnit[_rule(row, reference.size_unit).upper()],
        contract=Contract[_rule(row, reference.contract).upper()],
        expiry=_time(row, reference.expiry),
        strike=_number(row, reference.strike),
        option_type={"call": 1, "put": -1}.get(option, 0),
        status=InstrumentStatus[_rule(row, reference.status).upper()],
        listed_ts=_time(row, reference.listed),
    )


# ---- bodies --------------------------------------------------------------------------------------


def _json(body: bytes | bytearray | memoryview | str) -> Any:
    """Numbers keep their text: integers as int, others as Decimal; NaN and Infinity are null."""
    text = body if isinstance(body, str) else bytes(body).decode("utf-8")
    return json.loads(text, parse_float=Decimal, parse_constant=lambda _: None)


def _rows(venue: Venue, reference: Reference, body: Any, url: str | None) -> list[Any]:
    where = f"{venue.name}: the answer{f' of {url}' if url else ''}"
    if isinstance(body, (bytes, bytearray, memoryview, str)):
        try:
            body = _json(body)
        except (ValueError, RecursionError) as error:
            raise VenueError(f"{where} is not JSON: {error}") from error
    rows = _first(body, reference.rows)
    needs = (reference.symbol, *reference.needs)
    if isinstance(rows, dict) and all(_first(rows, path) is not None for path in needs):
        return [rows]
    if not isinstance(rows, list):
        keys = ", ".join(sorted(body)[:8]) if isinstance(body, dict) else type(body).__name__
        raise VenueError(
            f'{where} lists no instruments: no list at "{reference.rows}" '
            f"(it has: {keys or 'nothing'})"
        )
    return rows


def parse_counted(venue: Venue, body: Any, url: str | None = None) -> Parsed:
    """The instruments of one REST body, and how many rows were left out for which reason.

    ``body`` is the text (bytes or str) or the decoded JSON; ``url`` is named in errors only. Of
    rows with the same symbol the last counts. Raises VenueError when the body is no list of
    instruments, ConfigError when the venue file has no ``[reference]`` table. Pure; a body of some
    megabytes takes a second or so: do not call it on a reader's loop.
    """
    reference = venue.reference
    if reference is None:
        raise ConfigError(f"the venue {venue.name} has no [reference] table: no instrument list")
    found: dict[str, InstrumentInfo] = {}
    rejected: Counter[str] = Counter()
    for row in _rows(venue, reference, body, url):
        if not isinstance(row, dict):
            rejected["not an object"] += 1
            continue
        missing = [path for path in reference.needs if _first(row, path) is None]
        symbol = _first(row, reference.symbol)
        problem = _symbol_problem(symbol) if isinstance(symbol, str) else "no symbol"
        if missing:
            problem = f"no {missing[0]}"
        if problem is not None:
            rejected[problem] += 1
            continue
        if symbol in found:
            rejected["repeated symbol"] += 1
        found[symbol] = _instrument(venue.name, symbol, row, reference)
    return Parsed(list(found.values()), rejected)


def parse(venue: Venue, body: Any, url: str | None = None) -> list[InstrumentInfo]:
    """``parse_counted`` without the counts."""
    return parse_counted(venue, body, url).instruments
