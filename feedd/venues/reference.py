"""A venue's list of instruments: REST bodies -> rows of the instruments table.

What is where and what it means is the venue file's ``[reference]`` table; this is the one program
that runs it. A missing or nonsensical value is unknown, never a reason to lose the instrument; a
row that names no usable instrument is left out and counted with the reason.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from feedd.clock import SECOND_NS
from feedd.errors import ConfigError, VenueError
from feedd.shm.rows import INSTRUMENT, Contract, InstrumentKind, InstrumentStatus, SizeUnit
from feedd.venues.reference_requests import match_url, requests_of
from feedd.venues.reference_schema import Reference, Request, Sources, Time, Times
from feedd.venues.reference_values import (
    Row,
    decimal_of,
    first,
    holds,
    regex,
    source_text,
    text_of,
    values,
)
from feedd.venues.schema import Venue

__all__ = ["InstrumentInfo", "Parsed", "json_of", "parse", "parse_answer", "parse_counted"]

_UNIT_NS = {"s": SECOND_NS, "ms": 1_000_000, "us": 1_000, "ns": 1}
_DECIMALS_MAX = 100
_INT64_MAX = 2**63 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d{2}:\d{2})"
)


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


class Parsed(NamedTuple):
    """The instruments of a body by their order there, and why rows were left out.

    ``rows`` is how many rows the body listed, whatever became of them.
    """

    instruments: list[InstrumentInfo]
    rejected: Counter[str]
    rows: int = 0


# ---- columns -------------------------------------------------------------------------------------


def _rule(row: Row, rules: tuple[Any, ...]) -> str:
    for rule in rules:
        if holds(row, rule.when):
            return str(rule.value)
    return "unknown"


def _decimal(text: str) -> Decimal | None:
    """A positive number that float64 can hold, exactly as written; else None."""
    value = decimal_of(text)
    if value is None or value <= 0:
        return None
    as_float = float(value)
    return value if 0 < as_float < math.inf else None


def _number(row: Row, sources: Sources) -> float:
    value = _decimal(source_text(row, sources))
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


def _rfc3339_ns(text: str) -> int:
    """Nanoseconds since the Unix epoch, 0 for what is no such time."""
    found = _RFC3339.fullmatch(text)
    if found is None:
        return 0
    day, clock, fraction, zone = found.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{zone.upper().replace('Z', '+00:00')}")
    except ValueError:
        return 0
    since = moment - _EPOCH
    seconds = since.days * 86_400 + since.seconds
    return seconds * SECOND_NS + int((fraction or "").ljust(9, "0"))


def _one_time(row: Row, time: Time) -> int:
    if not holds(row, time.when):
        return 0
    text = text_of(first(row, time.path))
    if time.unit == "rfc3339":
        scaled = Decimal(_rfc3339_ns(text))
    else:
        value = _decimal(text)
        if value is None or (time.never_from is not None and value >= time.never_from):
            return 0
        scaled = value * _UNIT_NS[time.unit]
    return int(scaled) if 0 <= scaled <= _INT64_MAX else 0


def _time(row: Row, times: Times | None) -> int:
    listed = () if times is None else (times,) if isinstance(times, Time) else times
    return next((ns for ns in (_one_time(row, time) for time in listed) if ns), 0)


def _column_text(row: Row, name: str, sources: Sources) -> str:
    text = source_text(row, sources)
    try:
        return text if len(text.encode()) <= INSTRUMENT[name].itemsize else ""
    except UnicodeEncodeError:  # half of a pair of \u escapes
        return ""


def _symbol_problem(symbol: str) -> str | None:
    if not symbol:
        return "no symbol"
    try:
        size = len(symbol.encode())
    except UnicodeEncodeError:
        return "symbol is not UTF-8"
    if size > INSTRUMENT["symbol"].itemsize:
        return "symbol is too long"
    if not symbol.isprintable() or " " in symbol:
        return "symbol has spaces or control characters"
    return None


def _instrument(venue: str, symbol: str, row: Row, reference: Reference) -> InstrumentInfo:
    steps = [source_text(row, reference.tick)]
    if reference.tick_steps is not None:
        steps += [text_of(value) for value in values(row, reference.tick_steps)]
    decimals = _decimals(steps)
    if decimals < 0:
        decimals = _decimals([source_text(row, reference.price_step)])
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
        price_decimals=decimals,
        size_decimals=_decimals([source_text(row, reference.lot)]),
        size_unit=SizeUnit[_rule(row, reference.size_unit).upper()],
        contract=Contract[_rule(row, reference.contract).upper()],
        expiry=_time(row, reference.expiry),
        strike=_number(row, reference.strike),
        option_type={"call": 1, "put": -1}.get(option, 0),
        status=InstrumentStatus[_rule(row, reference.status).upper()],
        listed_ts=_time(row, reference.listed),
    )


# ---- rows ----------------------------------------------------------------------------------------


def json_of(body: bytes | bytearray | memoryview | str, where: str) -> Any:
    """A body's JSON. Numbers keep their text: integers as int, others as Decimal; NaN and Infinity
    are null. Raises VenueError that starts with ``where``."""
    try:
        text = body if isinstance(body, str) else bytes(body).decode("utf-8")
        return json.loads(text, parse_float=Decimal, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise VenueError(f"{where} is not JSON: {error}") from error


def _symbol_of(row: Row, reference: Reference) -> str:
    for source in reference.symbol:
        if isinstance(source, str):
            found = first(row, source)
            text = found if isinstance(found, str) else ""
        else:
            text = source_text(row, (source,))
        if text:
            return text
    return ""


def _with_names(row: Row, symbol: str, reference: Reference) -> Row:
    groups: dict[str, str] = {}
    for pattern in reference.grammar:
        found = regex(pattern).fullmatch(symbol)
        if found is not None:
            groups = {name: text for name, text in found.groupdict().items() if text is not None}
            break
    row = row._replace(names={**row.names, **groups, "symbol": symbol})
    for name, sources in reference.define.items():
        row = row._replace(names={**row.names, name: source_text(row, sources)})
    return row


def _usable(row: Row, reference: Reference) -> bool:
    return all(first(row, path) is not None for path in reference.needs)


def _listed(
    reference: Reference, request: Request, body: Any, names: Mapping[str, str]
) -> list[Row] | None:
    """The rows of one answer (or of one part of it); None when it lists nothing."""
    root = Row(body, body, names)
    if any(first(root, path) is None for path in request.has):
        return None
    found = first(root, request.rows or reference.rows)
    if reference.rows_form == "object" and isinstance(found, dict):
        return [Row(node, body, {**names, "key": key}) for key, node in found.items()]
    if isinstance(found, dict):
        row = Row(found, body, names)
        return [row] if _usable(row, reference) and _symbol_of(row, reference) else None
    if not isinstance(found, list):
        return None
    return [
        Row(node, body, {**names, "row": node} if isinstance(node, str) else names)
        for node in found
    ]


def _answer_rows(
    reference: Reference, request: Request, body: Any, names: Mapping[str, str]
) -> list[Row] | None:
    names = {**request.set, **names}
    if request.parts is None:
        return _listed(reference, request, body, names)
    parts = [_listed(reference, request, part, names) for part in values(Row(body), request.parts)]
    if not parts or all(part is None for part in parts):
        return None
    return [row for part in parts for row in part or ()]


def _problems(rows: list[Row], reference: Reference) -> Iterator[tuple[Row, str | None, str]]:
    """(row, why it is left out, symbol)."""
    for row in rows:
        symbol = _symbol_of(row, reference)
        missing = [path for path in reference.needs if first(row, path) is None]
        if missing and isinstance(row.node, dict):
            yield row, f"no {missing[0]}", ""
        elif symbol:
            other = None if holds(row, reference.only) else "another product"
            yield row, _symbol_problem(symbol) or other, symbol
        else:
            yield row, "no symbol" if isinstance(row.node, dict) else "not an object", ""


def parse_answer(
    venue: str,
    reference: Reference,
    request: Request,
    body: Any,
    names: Mapping[str, str] | None = None,
    where: str = "",
) -> Parsed:
    """The instruments of the answer to one request; ``names`` are the values of its placeholders.

    ``body`` is the text (bytes or str) or the decoded JSON. Raises VenueError when the body lists
    no instruments.
    """
    where = where or f"{venue}: the answer of {request.path}"
    if isinstance(body, (bytes, bytearray, memoryview, str)):
        body = json_of(body, where)
    rows = _answer_rows(reference, request, body, names or {})
    if rows is None:
        keys = ", ".join(sorted(body)[:8]) if isinstance(body, dict) else type(body).__name__
        raise VenueError(
            f'{where} lists no instruments: no list at "{request.rows or reference.rows}" '
            f"(it has: {keys or 'nothing'})"
        )
    found: dict[str, InstrumentInfo] = {}
    rejected: Counter[str] = Counter()
    for row, problem, symbol in _problems(rows, reference):
        if problem is not None:
            rejected[problem] += 1
            continue
        if symbol in found:
            rejected["repeated symbol"] += 1
        found[symbol] = _instrument(venue, symbol, _with_names(row, symbol, reference), reference)
    return Parsed(list(found.values()), rejected, len(rows))


def parse_counted(venue: Venue, body: Any, url: str | None = None) -> Parsed:
    """The instruments of one REST body, and how many rows were left out for which reason.

    ``body`` is the text (bytes or str) or the decoded JSON. ``url`` tells which request it answers;
    without one, or with one that is no request's, the first request whose answer it can be counts.
    Of rows with the same symbol the last counts. Raises VenueError when the body is no list of
    instruments, ConfigError when the venue file has no ``[reference]`` table. Pure; a body of some
    megabytes takes a second or so: do not call it on a reader's loop.
    """
    reference = venue.reference
    if reference is None:
        raise ConfigError(f"the venue {venue.name} has no [reference] table: no instrument list")
    where = f"{venue.name}: the answer{f' of {url}' if url else ''}"
    if isinstance(body, (bytes, bytearray, memoryview, str)):
        body = json_of(body, where)
    candidates = match_url(reference, url) if url else []
    if not candidates and (reference.needs or "/" not in (url or "")):
        candidates = [(request, {}) for request in requests_of(reference)]
    error: VenueError | None = None
    for request, names in candidates:
        try:
            return parse_answer(venue.name, reference, request, body, names, where)
        except VenueError as exc:
            error = error or exc
    raise error or VenueError(
        f"{where} lists no instruments: no request of {venue.name} is this one"
    )


def parse(venue: Venue, body: Any, url: str | None = None) -> list[InstrumentInfo]:
    """``parse_counted`` without the counts."""
    return parse_counted(venue, body, url).instruments
