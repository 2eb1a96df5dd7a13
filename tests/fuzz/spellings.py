"""Other spellings of a protocol's frames that mean the same: what a venue may send tomorrow.

``Speller`` rewrites whole sessions. Each kind of change leaves the meaning of all frames as it was:
order of keys, keys that nobody knows, white space, spellings of numbers and texts, texts for
numbers and numbers for texts, a key that is there twice (the last counts), rows of one message in
several.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterable
from typing import Any

from feedd.venues.schema import Venue
from feedd.venues.templates import path_get

Row = dict[str, Any]
Place = tuple[str, ...]
KINDS = (
    "order",
    "unknown",
    "space",
    "digits",
    "quoting",
    "escapes",
    "batches",
    "huge",
    "twice",
    "nulls",
)
DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
NAMES = (
    "zz",
    "zzPrice",
    "x_new",
    "näme",
    "Ω",
    "sp ace",
    'qu"ote',
    "back\\slash",
    "",
    "a.b",
    "\u2028",
)
TEXTS = (
    "",
    "text",
    "x" * 300,
    'q"uo\\te',
    "\U0001f600 ünï",
    "\u0000\u001f",
    "]}",
    "[[[",
    ",:",
    "0",
)
BARE = ("0", "-1", "1.5", "1e5", "1E-7", "true", "false", "null", "-0.0", "12345678901234567890")


class Number(str):
    """A JSON number as it was written."""

    __slots__ = ()


class Members(list[tuple[str, Any]]):
    """An object, its members in order."""


def parse(text: str) -> Any:
    """JSON with numbers as they are written. Raises ValueError."""
    return json.loads(
        text,
        parse_int=Number,
        parse_float=Number,
        object_pairs_hook=Members,
    )


def find_fractions(values: Iterable[Any]) -> set[Place]:
    """Places (keys, without positions) at which a number with a point or exponent ever stood."""
    found: set[Place] = set()

    def visit(value: Any, path: Place) -> None:
        if isinstance(value, Members):
            for key, member in value:
                visit(member, (*path, key))
        elif isinstance(value, list):
            for index, member in enumerate(value):
                visit(member, (*path, f"#{index}" if not isinstance(member, list) else "#"))
        elif isinstance(value, str) and DECIMAL.fullmatch(value) and "." in value:
            found.add(_written_at(value, path))

    for value in values:
        visit(value, ())
    return found


def _written_at(value: str, path: Place) -> Place:
    """Texts and numbers at the same place are different things (Binance: ``a``)."""
    return (*path, "number" if isinstance(value, Number) else "text")


def optional_keys(venue: Venue) -> set[str]:
    """Members of rows that hold a value of a ticker: a message may have them or not."""
    found: set[str] = set()
    for channel in venue.channels.values():
        for values in (channel.deriv, channel.greeks):
            for name in values.__struct_fields__ if values is not None else ():
                value = getattr(values, name)
                path = value if isinstance(value, str) or value is None else value.path
                if path is not None and path.isidentifier():
                    found.add(path)
    return found


class Speller:
    """Rewrites frames of one venue with some of ``KINDS``."""

    def __init__(self, venue: Venue, kinds: Iterable[str], seed: int) -> None:
        self.venue = venue
        self.kinds = set(kinds)
        self.rng = random.Random(seed)
        self._stable = self.rng.random() < 0.5
        """One order of keys for all messages of a form, which a template can learn."""
        self._orders: dict[tuple[str, ...], list[int]] = {}
        self._fractions: set[Place] = set()
        self._earlier: dict[Place, Any] = {}
        self._optional = optional_keys(venue)
        self._exact = False

    # -- sessions --------------------------------------------------------------------------

    def session(self, rows: Iterable[Row]) -> list[Row]:
        """The rows with other spellings; what is no JSON stays as it is."""
        read: list[tuple[Row, Any]] = []
        for row in rows:
            value = None
            if row["dir"] in ("in", "rest") and "raw" in row:
                try:
                    value = parse(row["raw"])
                except ValueError:
                    value = None
            read.append((row, value))
        self._fractions = find_fractions(value for _, value in read)
        self._exact = any(_has_checksum(value) for _, value in read)
        if "batches" in self.kinds:
            read = self._rebatched(read)
        return [
            row if not isinstance(value, list) else {**row, "raw": self.spell(value)}
            for row, value in read
        ]

    def _rebatched(self, read: list[tuple[Row, Any]]) -> list[tuple[Row, Any]]:
        """Rows of one message in several, and those of the next one in the same."""
        out: list[tuple[Row, Any]] = []
        last: tuple[str, Row, list[Any]] | None = None
        for row, value in read:
            place = self._rows_of(value) if row["dir"] == "in" else None
            if place is None:
                out.append((row, value))
                last = None
                continue
            rows, made = place
            around = json.dumps(_plain(made([])))
            same = last is not None and last[0] == around and last[1].get("conn") == row.get("conn")
            if last is not None and same and self.rng.random() < 0.7:
                rows = [*last[2], *rows]
                out[-1] = (row, made(rows))
                last = (around, row, rows)
                continue
            cuts = [rows]
            if len(rows) > 1 and self.rng.random() < 0.7:
                cut = self.rng.randrange(1, len(rows))
                one_by_one = self.rng.random() < 0.5
                cuts = [[each] for each in rows] if one_by_one else [rows[:cut], rows[cut:]]
            out += [(row, made(some)) for some in cuts]
            last = (around, row, cuts[-1])
        return out

    def _rows_of(self, value: Any) -> tuple[list[Any], Callable[[list[Any]], Any]] | None:
        """Rows of a message that could come one by one, and a way to make the message of some."""
        if not isinstance(value, Members) or self.venue.decode.connection_sequence is not None:
            return None
        for envelope in self.venue.decode.envelopes:
            path = envelope.payload.split(".") if envelope.payload else []
            node: Any = value
            for key in path:
                node = dict(node).get(key) if isinstance(node, Members) else None
            topic = path_get(_plain(value), envelope.topic or "", "")
            if not isinstance(node, list) or isinstance(node, Members) or not path:
                continue
            book = re.search(r"book|depth|level|status|instrument", str(topic), re.IGNORECASE)
            flat = all(isinstance(row, Members) for row in node)
            if node and flat and not book and isinstance(topic, str) and topic:
                return node, lambda rows, path=path: _replaced(value, path, rows)
        return None

    # -- one frame ----------------------------------------------------------------------------

    def spell(self, value: Any) -> str:
        """The value as text."""
        out: list[str] = []
        self._write(value, (), out)
        return "".join(out)

    def _space(self, out: list[str]) -> None:
        if "space" in self.kinds and self.rng.random() < 0.3:
            out.append(
                "".join(self.rng.choice(" \t\n\r") for _ in range(self.rng.choice((1, 1, 3, 40))))
            )

    def _write(self, value: Any, path: Place, out: list[str]) -> None:
        if isinstance(value, Members):
            self._object(value, path, out)
        elif isinstance(value, list):
            out.append("[")
            for index, member in enumerate(value):
                if index:
                    out.append(",")
                self._space(out)
                step = f"#{index}" if not isinstance(member, list) else "#"
                self._write(member, (*path, step), out)
                self._space(out)
            out.append("]")
        elif isinstance(value, Number):
            out.append(self._number(value, path, quoted=False))
        elif isinstance(value, str):
            if DECIMAL.fullmatch(value) and (*path, "text") in self._fractions:
                out.append(self._number(value, path, quoted=True))
            else:
                out.append(self._text(value))
        else:
            out.append(json.dumps(value))

    def _object(self, value: Members, path: Place, out: list[str]) -> None:
        members: list[tuple[str, Any]] = list(value)
        if "order" in self.kinds:
            members = self._ordered(members)
        if "nulls" in self.kinds:
            members = self._with_nulls(members)
        extra: list[tuple[str, Any]] = []
        if "unknown" in self.kinds and self.rng.random() < 0.4:
            taken = {key for key, _ in members}
            names = [name for name in NAMES if name not in taken]
            extra = [(name, None) for name in self.rng.sample(names, self.rng.choice((1, 1, 2)))]
        if "huge" in self.kinds and self.rng.random() < 0.02:
            extra.append(("zzhuge", None))
        parts: list[list[str]] = []
        for key, member in self._twice(members, path):
            part = [self._text(key)]
            self._space(part)
            part.append(":")
            self._space(part)
            self._write(member, (*path, key), part)
            parts.append(part)
        for key, _ in extra:
            text = self._huge() if key == "zzhuge" else self._junk(3)
            parts.insert(
                self.rng.randrange(len(parts) + 1), [json.dumps(key, ensure_ascii=False), ":", text]
            )
        out.append("{")
        for index, part in enumerate(parts):
            if index:
                out.append(",")
            self._space(out)
            out += part
            self._space(out)
        out.append("}")

    def _ordered(self, members: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
        keys = tuple(key for key, _ in members)
        places = self._orders.get(keys) if self._stable else None
        if places is None:
            places = list(range(len(members)))
            self.rng.shuffle(places)
            self._orders[keys] = places
        return [members[place] for place in places]

    def _with_nulls(self, members: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
        """Values that a row need not have and has not: there, without a value."""
        keys = {key for key, _ in members}
        if not keys & self._optional:
            return members
        missing = [key for key in sorted(self._optional - keys) if self.rng.random() < 0.3]
        return [*members, *((key, self.rng.choice((None, ""))) for key in missing)]

    def _twice(self, members: list[tuple[str, Any]], path: Place) -> list[tuple[str, Any]]:
        """Now and then a member comes before with what another message had there."""
        if "twice" not in self.kinds:
            return members
        out: list[tuple[str, Any]] = []
        for key, member in members:
            before = self._earlier.get((*path, key))
            if before is not None and self.rng.random() < 0.05:
                out.insert(self.rng.randrange(len(out) + 1), (key, before))
            self._earlier[(*path, key)] = member
            out.append((key, member))
        return out

    # -- values ----------------------------------------------------------------------------

    def _text(self, text: str) -> str:
        if "escapes" not in self.kinds or not text:
            return json.dumps(text, ensure_ascii=False)
        if "/" in text and self.rng.random() < 0.5:
            return json.dumps(text, ensure_ascii=False).replace("/", "\\/")
        if self.rng.random() < 0.9:
            return json.dumps(text, ensure_ascii=self.rng.random() < 0.5)
        at = self.rng.randrange(len(text))
        if ord(text[at]) > 0xFFFF:
            return json.dumps(text)
        form = "\\u%04x" if self.rng.random() < 0.5 else "\\u%04X"
        head, tail = (
            json.dumps(part, ensure_ascii=False)[1:-1] for part in (text[:at], text[at + 1 :])
        )
        return f'"{head}{form % ord(text[at])}{tail}"'

    def _number(self, text: str, path: Place, *, quoted: bool) -> str:
        plain = DECIMAL.fullmatch(text) is not None
        is_fraction = (*path, "text" if quoted else "number") in self._fractions
        if plain and is_fraction and "digits" in self.kinds and not self._exact:
            text = self._respelled(text, quoted)
        if "quoting" in self.kinds and not self._exact and self.rng.random() < 0.3:
            quoted = not quoted
        return f'"{text}"' if quoted else text

    def _respelled(self, text: str, quoted: bool) -> str:
        """The same number: zeros behind, the point away, an exponent, more digits than a double."""
        whole, _, fraction = text.partition(".")
        sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
        choice = self.rng.randrange(7)
        if choice == 0:
            return f"{whole}.{fraction}{'0' * self.rng.choice((1, 2, 8, 20, 30))}"
        if choice == 1:
            kept = fraction.rstrip("0")
            return f"{whole}.{kept}" if kept else whole
        if choice == 2 and not quoted:
            mantissa = (digits + fraction).lstrip("0") or "0"
            return f"{sign}{mantissa}{self.rng.choice('eE')}-{len(fraction)}" if fraction else text
        if choice == 3 and not quoted and not sign and digits != "0":
            point = (
                f"{digits[0]}.{digits[1:]}{fraction}" if len(digits) + len(fraction) > 1 else digits
            )
            return f"{point}e{self.rng.choice(('', '+', '0'))}{len(digits) - 1}"
        if choice == 4 and not (digits + fraction).strip("0"):
            return self.rng.choice(
                ("0", "0.0", "0.00000000", "-0.0", "-0") if not quoted else ("0", "0.0")
            )
        return text

    def _junk(self, depth: int) -> str:
        choice = self.rng.randrange(6 if depth else 3)
        if choice == 0:
            return self.rng.choice(BARE)
        if choice <= 2:
            return json.dumps(self.rng.choice(TEXTS), ensure_ascii=self.rng.random() < 0.5)
        if choice == 3:
            return self.rng.choice(("{}", "[]", "[{}]", "[[]]", '{"":{}}', "[ ]", "{ }"))
        count = self.rng.randrange(4)
        if choice == 4:
            return "[" + ",".join(self._junk(depth - 1) for _ in range(count)) + "]"
        keys = self.rng.sample(("p", "price", "s", "data", "b", "zz"), count)
        return "{" + ",".join(f'"{key}":{self._junk(depth - 1)}' for key in keys) + "}"

    def _huge(self) -> str:
        return self.rng.choice(
            (
                "[" + ",".join(["1.5"] * 5_000) + "]",
                json.dumps("y" * 70_000),
                "[" * 60 + "]" * 60,
                "[" + ",".join(['["1.5","2"]'] * 3_000) + "]",
                "{" + ",".join(f'"k{i}":{i}' for i in range(2_000)) + "}",
            )
        )


def _plain(value: Any) -> Any:
    """Dictionaries for objects."""
    if isinstance(value, Members):
        return {key: _plain(member) for key, member in value}
    return value


def _replaced(value: Any, path: list[str], rows: list[Any]) -> Any:
    """``value`` with other rows at ``path``."""
    if not path:
        return rows
    key, rest = path[0], path[1:]
    members = [(k, _replaced(m, rest, rows) if k == key else m) for k, m in value]
    return Members(members)


def _has_checksum(value: Any) -> bool:
    """Whether there is a checksum, which is about the text of numbers."""
    if isinstance(value, Members):
        return any(
            (key == "checksum" and member not in (None, "0")) or _has_checksum(member)
            for key, member in value
        )
    if isinstance(value, list):
        return "cs" in value or any(_has_checksum(member) for member in value)
    return False
