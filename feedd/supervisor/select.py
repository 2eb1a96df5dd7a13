"""Which instruments of a venue an entry of the configuration means. Pure.

An entry is a list of words, all of which must hold: a symbol (exact, or with ``*`` for any text)
and facts of the reference data, ``name=value`` with ``*`` and with ``|`` between alternatives.
A ``!`` in front takes what the entry means out again::

    "BTC-PERPETUAL"                     one instrument
    "BTC-*-C"                           all that look like it
    "*"                                 all
    "kind=option underlying=BTC-USD"    by what they are
    "kind=perpetual|future quote=USDT"
    "kind=option expiry=2026-12-*"
    "!*-TEST"

Everything but an exact symbol follows the venue's list: new listings come, expired ones go.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from feedd.errors import ConfigError
from feedd.venues.templates import FACTS

__all__ = ["Entry", "Listed", "Selection"]


@dataclass(frozen=True, slots=True)
class Listed:
    """An instrument that the plan may use; ``id`` is its row in the instruments table."""

    symbol: str
    id: int = -1
    kind: str = "unknown"
    base: str = ""
    quote: str = ""
    settle: str = ""
    underlying: str = ""
    expiry: str = ""
    """The day, ``2026-12-25``."""
    active: bool = True

    def facts(self) -> dict[str, str]:
        """What is known of it: values of entries and of the holes of topics."""
        known = {name: getattr(self, name) for name in FACTS}
        if self.kind == "unknown":
            del known["kind"]
        found = {name: value for name, value in known.items() if value}
        return found | {f"{name}_lower": value.lower() for name, value in found.items()}


@lru_cache(maxsize=4096)
def _pattern(text: str) -> re.Pattern[str]:
    """``*`` is any text; every other character stands for itself, in the facts of any case."""
    return re.compile(fnmatch.translate(re.sub(r"([\[\]?])", r"[\1]", text)))


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of ``instruments``."""

    text: str
    symbol: str = "*"
    facts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    taken_out: bool = False

    @classmethod
    def parse(cls, text: str) -> Entry:
        """Raises ``ValueError`` with words when ``text`` is no entry."""
        taken_out = text.startswith("!")
        symbol = ""
        facts: dict[str, tuple[str, ...]] = {}
        for word in text.removeprefix("!").split():
            name, mark, value = word.partition("=")
            if not mark:
                if symbol:
                    raise ValueError(f"two symbols, {symbol!r} and {word!r}")
                symbol = word
            elif name not in FACTS:
                near = difflib.get_close_matches(name, FACTS, 1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(FACTS)}"
                raise ValueError(f"unknown word {name!r}{hint}")
            elif name in facts or not all(value.split("|")):
                raise ValueError(f"{word!r}: one or more values are needed, separated by |")
            else:
                facts[name] = tuple(value.lower().split("|"))
        if not symbol and not facts:
            raise ValueError("it says nothing")
        return cls(text, symbol or "*", facts, taken_out)

    @property
    def exact(self) -> bool:
        """One symbol by its name; needs no list."""
        return "*" not in self.symbol and not self.facts and not self.taken_out

    def means(self, listed: Listed) -> bool:
        if not _pattern(self.symbol).match(listed.symbol):
            return False
        known = listed.facts()
        return all(
            any(_pattern(value).match(known.get(name, "").lower()) for value in values)
            for name, values in self.facts.items()
        )


class Selection:
    """All entries of one venue, in their order."""

    def __init__(self, venue: str, entries: Iterable[str]) -> None:
        """Raises ``ConfigError`` with every entry that is none."""
        self._venue = venue
        self.entries: list[Entry] = []
        problems = []
        for text in entries:
            try:
                self.entries.append(Entry.parse(text))
            except ValueError as exc:
                problems.append(f"venues.{venue}.instruments: {text!r}: {exc}")
        if problems:
            raise ConfigError(problems)

    @property
    def needs_list(self) -> list[str]:
        """Entries that mean nothing without the venue's list."""
        return [entry.text for entry in self.entries if not entry.exact]

    def follows(self, listed: Listed) -> bool:
        """Whether an instrument that is listed now belongs to what the entries mean."""
        return self._means(listed) and not self._taken_out(listed)

    def choose(self, listed: Iterable[Listed]) -> list[Listed]:
        """What the entries mean, in their order; only exact ones mean instruments that are not
        traded. Without reference data (``listed`` empty) exact symbols are believed.

        Raises ``ConfigError`` naming every entry that means nothing.
        """
        known = {one.symbol: one for one in listed}
        tradable = sorted((one for one in known.values() if one.active), key=lambda x: x.symbol)
        chosen: dict[str, Listed] = {}
        problems = []
        for entry in self.entries:
            if entry.taken_out:
                continue
            if not entry.exact:
                found = [one for one in tradable if entry.means(one)]
                if not found:
                    problems.append(f"nothing matches {entry.text!r}")
                chosen |= {one.symbol: one for one in found if one.symbol not in chosen}
            elif known and entry.symbol not in known:
                near = sorted(s for s in known if s.lower() == entry.symbol.lower())[:1]
                hint = f" (did you mean {near[0]!r}?)" if near else ""
                problems.append(f"{self._venue} does not list {entry.symbol!r}{hint}")
            else:
                chosen.setdefault(entry.symbol, known.get(entry.symbol, Listed(entry.symbol)))
        kept = [one for one in chosen.values() if not self._taken_out(one)]
        if not kept and not problems:
            problems.append("everything is taken out again")
        if problems:
            raise ConfigError([f"venues.{self._venue}.instruments: {text}" for text in problems])
        return kept

    def _means(self, listed: Listed) -> bool:
        return any(entry.means(listed) for entry in self.entries if not entry.taken_out)

    def _taken_out(self, listed: Listed) -> bool:
        return any(entry.means(listed) for entry in self.entries if entry.taken_out)
