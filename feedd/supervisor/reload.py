"""What a new configuration changes, and what of it a running daemon can take over. Pure.

``EFFECTS`` is the one list of what happens to each key at a reload; the documentation of the keys
is made from it as well.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from feedd.supervisor.config import Config

__all__ = ["EFFECTS", "Change", "Effect", "changes", "effect_of", "flat", "refusals", "toml"]


class Effect(StrEnum):
    """What a reload does with a changed key."""

    LIVE = "live"  # taken over at once, no stream is touched
    READERS = "readers"  # readers are replaced for it, one after the other, while data flows
    RESTART = "restart"  # only a restart of the daemon takes it over; a reload is refused


EFFECTS: tuple[tuple[str, Effect], ...] = (
    ("log.*", Effect.LIVE),
    ("control.operate_*", Effect.LIVE),
    ("metrics.*", Effect.LIVE),
    ("readers.memory_max_mib", Effect.LIVE),
    ("readers.cores", Effect.READERS),
    ("readers.busy_poll", Effect.READERS),
    ("venues.*.instruments", Effect.LIVE),
    *((f"zmq.{key}", Effect.LIVE) for key in ("data", "trades", "interval_ms", "tcp", "curve_*")),
    ("*", Effect.RESTART),
)
"""The first pattern that fits a key decides."""


@dataclass(frozen=True)
class Change:
    """One key that differs; ``None`` for a value that is not there."""

    key: str
    old: Any
    new: Any

    @property
    def effect(self) -> Effect:
        return effect_of(self.key)

    def __str__(self) -> str:
        return f"{self.key}: {_value(self.old)} -> {_value(self.new)}"


def effect_of(key: str) -> Effect:
    return next(effect for pattern, effect in EFFECTS if fnmatch.fnmatchcase(key, pattern))


def flat(config: Config) -> dict[str, Any]:
    """Every effective value by its dotted key, in the order of the schema."""
    out: dict[str, Any] = {}

    def walk(prefix: str, table: dict[str, Any]) -> None:
        for name, value in table.items():
            key = f"{prefix}{name}"
            if isinstance(value, dict) and value:
                walk(f"{key}.", value)
            elif not isinstance(value, dict):
                out[key] = value

    walk("", msgspec.to_builtins(config))
    return out


def changes(old: Config, new: Config) -> list[Change]:
    """The keys that differ, in the order of the schema; those that went away come last."""
    before, after = flat(old), flat(new)
    keys = [*after, *(key for key in before if key not in after)]
    found = ((key, before.get(key), after.get(key)) for key in keys)
    return [Change(key, a, b) for key, a, b in found if a != b]


def refusals(found: Iterable[Change]) -> list[str]:
    """Why a reload with these changes is refused; empty when it is not."""
    return [f"{change}: needs a restart" for change in found if change.effect is Effect.RESTART]


# ---- values as TOML ------------------------------------------------------------------------------


def _value(value: Any) -> str:
    """A value as TOML writes it; ``none`` for what is not set."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, dict):
        pairs = (f"{_bare(key)} = {_value(item)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    return str(value)


def _text(value: str) -> str:
    body = "".join(
        f"\\u{ord(c):04x}" if ord(c) < 0x20 or ord(c) == 0x7F else f"\\{c}" if c in '"\\' else c
        for c in value
    )
    return f'"{body}"'


def _bare(key: str) -> str:
    plain = key and all(c.isascii() and (c.isalnum() or c in "_-") for c in key)
    return key if plain else _text(key)


def toml(config: Config) -> str:
    """The effective configuration as a TOML file; keys without a value as comments."""
    lines: list[str] = []

    def table(path: tuple[str, ...], values: dict[str, Any]) -> None:
        tables = {k: v for k, v in values.items() if isinstance(v, dict)}
        plain = {k: v for k, v in values.items() if not isinstance(v, dict)}
        if plain or not tables:
            lines.append(f"\n[{'.'.join(map(_bare, path))}]")
        for key, value in plain.items():
            mark = "# " if value is None else ""
            shown = "" if value is None else f" {_value(value)}"
            lines.append(f"{mark}{_bare(key)} ={shown}")
        for key, value in tables.items():
            if value:
                table((*path, key), value)

    for name, value in msgspec.to_builtins(config).items():
        table((name,), value)
    return "\n".join(lines).strip() + "\n"
