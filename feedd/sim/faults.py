"""Faults on demand: a small grammar, matching, and what each does to a frame.

A fault is ``action,key=value,...``:

* actions: ``drop``, ``duplicate``, ``reorder`` (swap with the stream's next message),
  ``corrupt`` (``mode=json|utf8|nan|nest|empty|binary``; ``beside=1`` sends the bad frame before
  the good one instead of in its place), ``alter`` (another digit, still valid), ``fragment``
  (three frames), ``mute``, ``close`` (``how=fin|rst|half`` or a close code), ``slow``
  (``delay_ms=``, ``bytes_per_s=``), ``rest`` (``status=429|418|500|...``, ``stale=1``,
  ``delay_ms=``, ``retry_after=``), ``kill`` (``every_s=N``: each N seconds a random connection
  ends, ``how=`` as for ``close``).
* which: ``venue=``, ``stream=`` and ``instrument=`` (shell patterns; the stream ``!ack`` is every
  control answer), ``conn=`` (number in the journal).
* when: ``nth=N`` (only the Nth match), ``every=N``, ``prob=P`` (seeded), ``after=N`` (skip N),
  ``count=N`` (at most N times); with none of them every match. ``redundant=1``: only where
  another connection gets the message too (a greeting is for one), and never on both.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from feedd.errors import FeeddError

ACTIONS = frozenset(
    {
        "drop", "duplicate", "reorder", "corrupt", "alter", "fragment", "mute", "close", "slow",
        "rest", "kill",
    }
)  # fmt: skip
CORRUPT_MODES = frozenset({"json", "utf8", "nan", "nest", "empty", "binary"})
CLOSE_HOWS = frozenset({"fin", "rst", "half"})
ACK_STREAM = "!ack"
NEST_DEPTH = 100_000

_NUMBER = re.compile(
    rb'(?:"(?:p|ap|b|mp|px|price|price_level|best_bid_price|mark_price|markPx|idxPx|oi|fundingRate|'
    rb'last|lastPrice|bid)":"?|\[\["(?:new|change|delete|buy|sell)","?|\[\["?|'
    rb'^\[\d+,(?:"t[eu]",\[\d+,\d+,-?|\[))'
    rb"(\d+)"
)
"""A price or its like, in the forms of all venues."""
_ANY_NUMBER = re.compile(rb'[:\[,]"?(\d+)')


class FaultError(FeeddError):
    """A fault description that makes no sense."""


@dataclass(slots=True)
class Rule:
    """One fault: what, where, when, and how often it has fired."""

    text: str
    action: str
    venue: str = "*"
    stream: str = "*"
    instrument: str = "*"
    conn: int = 0
    nth: int = 0
    every: int = 0
    prob: float = 1.0
    after: int = 0
    count: int = 0
    mode: str = "json"
    beside: int = 0
    how: str = "fin"
    delay_ms: float = 0.0
    bytes_per_s: float = 0.0
    status: int = 0
    stale: int = 0
    retry_after: int = 0
    every_s: float = 0.0
    redundant: int = 0
    next_ns: int = 0
    """When a ``kill`` is due next, monotonic."""
    last: tuple[str, int] = ("", -1)
    """The message that a ``redundant`` rule hit last: stream and id."""
    seen: int = 0
    hits: int = 0

    def selects(self, venue: str, stream: str, instrument: str, conn: int) -> bool:
        """Whether a message is one this rule is about, whatever its turn."""
        return (
            (self.venue == "*" or self.venue == venue)
            and (self.conn == 0 or self.conn == conn)
            and (self.stream == "*" or fnmatchcase(stream, self.stream))
            and (self.instrument == "*" or fnmatchcase(instrument, self.instrument))
        )

    def fires(self, rng: random.Random) -> bool:
        """Count one selected message and say whether the fault applies to it."""
        self.seen += 1
        turn = self.seen - self.after
        if turn <= 0 or (self.count and self.hits >= self.count):
            return False
        if self.nth and turn != self.nth:
            return False
        if self.every and turn % self.every:
            return False
        if self.prob < 1.0 and rng.random() >= self.prob:
            return False
        self.hits += 1
        return True


_FIELDS: dict[str, Callable[[str], object]] = {
    "venue": str,
    "stream": str,
    "instrument": str,
    "conn": int,
    "nth": int,
    "every": int,
    "prob": float,
    "after": int,
    "count": int,
    "mode": str,
    "beside": int,
    "how": str,
    "delay_ms": float,
    "bytes_per_s": float,
    "status": int,
    "stale": int,
    "retry_after": int,
    "every_s": float,
    "redundant": int,
}
_TIMED = frozenset({"rest", "kill"})
"""Actions that concern no message."""


def parse(text: str) -> Rule:
    """Read one fault description; raises FaultError that names the bad part and the choices."""
    action, *pairs = [part.strip() for part in text.split(",")]
    if action not in ACTIONS:
        raise FaultError(f"fault {text!r}: unknown action {action!r}, use one of {_list(ACTIONS)}")
    values: dict[str, object] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key not in _FIELDS:
            raise FaultError(
                f"fault {text!r}: cannot use {pair!r}, write key=value with one of {_list(_FIELDS)}"
            )
        try:
            values[key] = _FIELDS[key](value)
        except ValueError:
            raise FaultError(f"fault {text!r}: {key} needs a number, not {value!r}") from None
    rule = Rule(text, action, **values)  # type: ignore[arg-type]
    _check(rule)
    return rule


def _check(rule: Rule) -> None:
    if rule.action == "corrupt" and rule.mode not in CORRUPT_MODES:
        raise FaultError(
            f"fault {rule.text!r}: unknown mode {rule.mode!r}, use one of {_list(CORRUPT_MODES)}"
        )
    closes = rule.action in ("close", "kill")
    code_ok = rule.how.isdigit() and 1000 <= int(rule.how) <= 4999
    if closes and rule.how not in CLOSE_HOWS and not code_ok:
        raise FaultError(
            f"fault {rule.text!r}: how is one of {_list(CLOSE_HOWS)} or a close code 1000 to 4999"
        )
    if rule.action == "kill" and not rule.every_s > 0:
        raise FaultError(f"fault {rule.text!r}: kill needs every_s, seconds between two kills")
    if not 0.0 <= rule.prob <= 1.0:
        raise FaultError(f"fault {rule.text!r}: prob lies between 0 and 1")
    if rule.action == "slow" and not (rule.delay_ms > 0 or rule.bytes_per_s > 0):
        raise FaultError(f"fault {rule.text!r}: slow needs delay_ms or bytes_per_s above 0")
    if rule.action == "rest" and not (rule.status or rule.stale or rule.delay_ms > 0):
        raise FaultError(f"fault {rule.text!r}: rest needs status, stale=1 or delay_ms")


def _list(names: object) -> str:
    return ", ".join(sorted(names))  # type: ignore[call-overload]


class Faults:
    """The rules in force. ``active`` is false while no rule concerns WebSocket messages."""

    def __init__(self, seed: int, texts: tuple[str, ...] = ()) -> None:
        self.rules: list[Rule] = []
        self.active = False
        self._rng = random.Random(f"{seed}:faults")
        for text in texts:
            self.add(text)

    def add(self, text: str) -> Rule:
        """Arm one more fault."""
        rule = parse(text)
        self.rules.append(rule)
        self.active = self.active or rule.action not in _TIMED
        return rule

    def remove(self, rule: Rule) -> None:
        """Disarm one."""
        self.rules.remove(rule)
        self.active = any(other.action not in _TIMED for other in self.rules)

    def clear(self) -> None:
        """Disarm everything."""
        self.rules.clear()
        self.active = False

    def firing(
        self, venue: str, stream: str, instrument: str, conn: int, ident: int = 0, copies: int = 1
    ) -> list[Rule]:
        """The rules that apply to this message, in the order they were armed.

        ``ident`` is its number in the stream, ``copies`` how many connections have the stream.
        """
        return [
            rule
            for rule in self.rules
            if rule.action not in _TIMED
            and (stream != ACK_STREAM or rule.stream == ACK_STREAM or _whole_mute(rule))
            and rule.selects(venue, stream, instrument, conn)
            and (not rule.redundant or (copies > 1 and rule.last != (stream, ident)))
            and self._fires(rule, stream, ident)
        ]

    def _fires(self, rule: Rule, stream: str, ident: int) -> bool:
        if not rule.fires(self._rng):
            return False
        rule.last = (stream, ident)
        return True

    def kills_due(self, now_ns: int) -> list[Rule]:
        """The ``kill`` rules whose turn it is."""
        due = []
        for rule in self.rules:
            if rule.action != "kill" or now_ns < rule.next_ns:
                continue
            if rule.next_ns:
                due.append(rule)
            rule.next_ns = now_ns + int(rule.every_s * 1e9)
        return due

    def pick(self, candidates: list[int]) -> int:
        """One of the connection numbers, at random (seeded)."""
        return self._rng.choice(candidates)

    def firing_rest(self, venue: str, path: str, instrument: str) -> list[Rule]:
        """The ``rest`` rules that apply to a request; ``stream`` patterns match its path."""
        return [
            rule
            for rule in self.rules
            if rule.action == "rest"
            and rule.selects(venue, path, instrument, 0)
            and rule.fires(self._rng)
        ]

    def describe(self) -> list[dict[str, object]]:
        """Text and counts of every rule, for the status page."""
        return [{"fault": r.text, "seen": r.seen, "hits": r.hits} for r in self.rules]


def _whole_mute(rule: Rule) -> bool:
    return rule.action == "mute" and rule.stream == "*" and rule.instrument == "*"


def corrupted(frame: bytes, mode: str) -> bytes:
    """A frame no decoder may accept."""
    if mode == "utf8":
        middle = frame.find(b'"') + 1
        return frame[:middle] + b"\xff\xc0" + frame[middle + 1 :]
    if mode == "nan":
        match = _ANY_NUMBER.search(frame)
        if match is None:
            return b"NaN"
        return (
            frame[: match.start()]
            + frame[match.start() : match.start() + 1]
            + _nan_tail(frame, match.end())
        )
    if mode == "nest":
        return b"[" * NEST_DEPTH
    if mode == "empty":
        return b""
    return frame[: max(len(frame) * 2 // 3, 1)]


def _nan_tail(frame: bytes, end: int) -> bytes:
    rest = re.sub(rb'^[0-9.eE+-]*"?', b"", frame[end:])
    return b"NaN" + rest


def altered(frame: bytes) -> bytes:
    """The same message with one digit of a price (else of any number) changed."""
    match = _NUMBER.search(frame) or _ANY_NUMBER.search(frame)
    if match is None:
        return frame
    at = match.start(1)
    digit = frame[at] - 48
    return frame[:at] + bytes([49 + digit % 9]) + frame[at + 1 :]
