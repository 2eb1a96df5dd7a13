"""What a venue file says about its instruments: the ``[reference]`` table.

The REST bodies that list a venue's instruments become rows of the instruments table by two kinds
of statement only: *sources* (where a value is and how it is written) and *rules* (which value of a
closed list holds, first match). ``feedd.venues.reference`` runs them.

A *path* is a dotted list of object keys inside one row. Behind a key, or alone, stand picks:
``[2]`` one element by position, ``[*]`` each element (of an object: each value),
``[filterType=PRICE_FILTER]`` the elements with that member. A path that starts with ``@`` starts at
the whole answer, one that starts with ``$`` names a text that is not in the row: ``$row`` (a row
that is only a text), ``$key`` (the row's key where rows are members of an object), ``$symbol``, the
``set`` texts and placeholders of the request, the named groups of ``grammar`` and what ``define``
defines.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

__all__ = [
    "Condition",
    "ContractRule",
    "Each",
    "KindRule",
    "Lookup",
    "OptionRule",
    "Page",
    "RefPath",
    "Reference",
    "Request",
    "Source",
    "Sources",
    "StatusRule",
    "Time",
    "UnitRule",
]

_KEY = r"[^.\[\]]+"
_PICK = r"\[(\*|\d{1,9}|[^.\[\]=*]+=[^.\[\]]+)\]"
_STEP = rf"({_KEY}({_PICK})*|({_PICK})+)"
RefPath = Annotated[str, msgspec.Meta(pattern=rf"^{_STEP}(\.{_STEP})*$", max_length=128)]
Condition = dict[RefPath, str | tuple[str, ...]]
"""All of: the value at the path, as text, is this one or one of these. Booleans are ``true`` and
``false``; what is missing or null is ``""``."""
Pattern = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
"""A regular expression of Python's ``re``."""
UrlPath = Annotated[str, msgspec.Meta(pattern=r"^/", max_length=512)]


class _Base(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Lookup(_Base, frozen=True, kw_only=True):
    """Another table: the text becomes the value at ``take`` of that row of ``table`` (a path to a
    list) whose value at ``key`` is the text."""

    table: RefPath
    key: RefPath
    take: RefPath


class Source(_Base, frozen=True, kw_only=True):
    """A value at ``path``, or ``value`` itself, for the rows that ``when`` describes.

    What is asked for is done in the order of the fields: text first, then arithmetic. A text that
    ``match`` or ``map`` does not know, or arithmetic without numbers, has no value, and the next
    source counts.
    """

    path: RefPath | None = None
    value: str | None = None
    when: Condition = {}
    lookup: Lookup | None = None
    match: Pattern | None = None
    """The whole text must match; its first group, if it has one, becomes the text."""
    replace: dict[Pattern, str] = {}
    """Each match of a pattern is replaced (``\\bXBT\\b`` by ``BTC``)."""
    map: dict[str, str] = {}
    """The whole text, by the text that stands for it here."""
    upper: bool = False
    prefix: str = ""
    times: RefPath | None = None
    over: RefPath | None = None
    left: RefPath | None = None
    """Move the decimal point left by the number at this path: ``{ value = "1", left = "digits" }``
    is a step of so many decimals."""
    right: RefPath | None = None
    shift: Annotated[int, msgspec.Meta(ge=-18, le=18)] = 0
    """Move the decimal point right by so many places (left: negative)."""
    abs: bool = False


Sources = tuple[RefPath | Source, ...]
"""The first source that has a value counts; none: unknown."""


class Time(_Base, frozen=True, kw_only=True):
    """A time, as a number of ``unit`` since the Unix epoch or, ``rfc3339``, as
    ``2026-06-26T08:00:00.000Z``."""

    path: RefPath
    unit: Literal["s", "ms", "us", "ns", "rfc3339"] = "ms"
    never_from: int | None = None
    """A time at or after this one means that it never comes (a perpetual's expiry)."""
    when: Condition = {}


Times = Time | tuple[Time, ...]
"""The first that has a time counts."""


class KindRule(_Base, frozen=True, kw_only=True):
    value: Literal["unknown", "spot", "perpetual", "future", "option", "combo", "index"]
    when: Condition = {}


class ContractRule(_Base, frozen=True, kw_only=True):
    """``linear``: paid in the quote asset (spot too); ``inverse``: in the base asset; ``quanto``:
    in a third one."""

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


class Each(_Base, frozen=True, kw_only=True):
    """The request is sent once for every value: those in ``values``, and those that the answer of
    ``request`` has at ``path``. ``{name}`` in the request is the value, ``$name`` in a path too."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]*$", max_length=32)]
    values: tuple[str, ...] = ()
    request: UrlPath | None = None
    body: dict[str, Any] | None = None
    """With a body the request for the values is a POST."""
    path: RefPath | None = None


class Page(_Base, frozen=True, kw_only=True):
    """An answer may be one page of several; ``parameter`` of the query asks for the next one.

    With ``cursor`` its value is taken from that path of the answer; none or "" ends the list. Else
    it is the number of rows so far, and an answer with fewer rows than ``rows`` is the last.
    """

    parameter: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=32)]
    cursor: RefPath | None = None
    rows: Annotated[int, msgspec.Meta(ge=1)] | None = None
    pages_max: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 50


class Request(_Base, frozen=True, kw_only=True):
    """One REST request whose answer lists instruments."""

    path: UrlPath
    """Behind ``rest_url``, with its query; ``{name}`` stands for the value of ``each``."""
    body: dict[str, Any] | None = None
    """With a body the request is a POST of this JSON object."""
    each: Each | None = None
    page: Page | None = None
    rows: RefPath | None = None
    """Where this answer lists its rows, if not at the table's ``rows``."""
    parts: RefPath | None = None
    """The answer is a list of answers: each value at this path is one, and ``@`` starts there."""
    has: tuple[RefPath, ...] = ()
    """Paths without which an answer is not one of this request: tells answers of one URL apart."""
    set: dict[Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]*$")], str] = {}
    """Texts that the answer's rows do not have: ``$name`` in a path."""
    optional: bool = False
    """A refusal (HTTP 4xx) is an empty list: a product that the venue may have given up."""
    live: bool = True
    """False: an older or a shorter form of the list, understood in captures but never asked for."""


class Reference(_Base, frozen=True, kw_only=True):
    """How the venue lists its instruments."""

    requests: tuple[UrlPath | Request, ...]
    """Their answers together are all instruments; a text is a plain GET of that path."""
    refresh_s: Annotated[float, msgspec.Meta(ge=10, le=86_400)] = 600.0
    rows: RefPath
    """The list of instruments in an answer (or one instrument)."""
    rows_form: Literal["list", "object"] = "list"
    """``object``: the rows are the members of an object, ``$key`` is a row's key."""
    needs: tuple[RefPath, ...] = ()
    """What a row must have to be an instrument, beside ``symbol``. Without any, an answer is only
    recognised by its URL."""
    only: Condition = {}
    """Rows of other products are left out: what the value at a path may be."""
    symbol: Sources
    """The instrument's name, in the spelling of the WebSocket channels; a number is none."""
    grammar: tuple[Pattern, ...] = ()
    """What a symbol says by itself: the named groups of the first pattern that matches all of it
    are ``$group``."""
    define: dict[Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]*$")], Sources] = {}
    """Texts that several columns need, by name, each with those before it: ``$name`` in a path."""
    base: Sources = ()
    quote: Sources = ()
    settle: Sources = ()
    underlying: Sources = ()
    tick: Sources = ()
    tick_steps: RefPath | None = None
    """Ticks of other price ranges: the finest of all gives the decimals of a price."""
    price_step: Sources = ()
    """Where there is no fixed tick: the finest step that a price can have, for its decimals."""
    lot: Sources = ()
    min_size: Sources = ()
    contract_size: Sources = ()
    """What one contract is worth: base units (linear and options), quote units (inverse), units of
    the settlement asset per unit of price (quanto)."""
    strike: Sources = ()
    expiry: Times | None = None
    listed: Times | None = None
    kind: tuple[KindRule, ...] = ()
    contract: tuple[ContractRule, ...] = ()
    size_unit: tuple[UnitRule, ...] = ()
    status: tuple[StatusRule, ...] = ()
    option_type: tuple[OptionRule, ...] = ()
