"""JSON messages from templates, and values out of JSON messages. Pure.

A *template* is a TOML table that becomes one JSON message. A value that is exactly ``"{name}"`` is
replaced by the value of that name, so that a symbol is never pasted into JSON text; a key ``"*"``
with such a value puts the fields of a table beside the others. A *path* is a dotted list of object
keys and array positions (``"params.type"``, ``"data.0.system"``); ``""`` is the message.

A *topic* is what a stream is subscribed by: a text with ``{name}`` holes anywhere, or a table with
such texts; ``"{name:int}"`` alone becomes a JSON number, ``"{expiry:%y%m%d}"`` a day as written
there (%Y, %y, %m, %d, and %b for JAN).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

__all__ = [
    "FACTS",
    "FACT_HOLES",
    "HOLE",
    "SPREAD",
    "TRIGGER",
    "arg_key",
    "covers",
    "echoes",
    "fill_template",
    "fill_topic",
    "holes",
    "option_of",
    "path_get",
    "placeholders",
    "text_of",
]

SPREAD = "*"
TRIGGER = "trigger."
FACTS = ("kind", "base", "quote", "settle", "underlying", "expiry")
"""What the reference data says that an instrument is; the expiry is a day, ``2026-12-25``."""
FACT_HOLES = tuple(name + case for name in FACTS for case in ("", "_lower"))
"""Holes of topics that it fills."""
_MISSING = object()
HOLE = re.compile(r"\{([a-z_][a-z0-9_]*)(:int|:(?:%[Yymdb]|[^{}%])+)?\}")
"""A hole of a topic: its name, and the form that its value is written in."""


def path_get(message: Any, path: str, default: Any = None) -> Any:
    """The value at a dotted ``path`` of a decoded JSON message, else ``default``."""
    if path == "":
        return message
    for key in path.split("."):
        if isinstance(message, Mapping):
            message = message.get(key, _MISSING)
            if message is _MISSING:
                return default
        elif isinstance(message, list) and key.isdecimal() and int(key) < len(message):
            message = message[int(key)]
        else:
            return default
    return message


def text_of(value: Any) -> str | None:
    """A JSON text, number or truth value as text; None for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return str(value)
    return None


def fill_template(template: Any, values: Mapping[str, Any]) -> Any:
    """``template`` with its placeholders replaced; the result is ready for ``orjson.dumps``.

    Placeholders without a value stay as they are.
    """
    if isinstance(template, Mapping):
        filled: dict[str, Any] = {}
        for key, value in template.items():
            made = fill_template(value, values)
            if key == SPREAD and isinstance(made, Mapping):
                filled |= made
            else:
                filled[key] = made
        return filled
    if isinstance(template, list):
        return [fill_template(value, values) for value in template]
    if isinstance(template, str) and template[:1] == "{" and template[-1:] == "}":
        return values.get(template[1:-1], template)
    return template


def placeholders(template: Any) -> set[str]:
    """Names of the placeholders of a template."""
    if isinstance(template, Mapping):
        return set().union(*map(placeholders, template.values())) if template else set()
    if isinstance(template, list):
        return set().union(*map(placeholders, template)) if template else set()
    if isinstance(template, str) and template[:1] == "{" and template[-1:] == "}":
        return {template[1:-1]}
    return set()


def echoes(template: Any, message: Any) -> dict[str, Any]:
    """Values of the placeholders ``{trigger.PATH}`` of a template: what ``message`` has there,
    null where it has nothing."""
    names = [name for name in placeholders(template) if name.startswith(TRIGGER)]
    return {name: path_get(message, name.removeprefix(TRIGGER)) for name in names}


def holes(topic: Any) -> list[str]:
    """Names of the holes of a topic, in order."""
    if isinstance(topic, Mapping):
        return [name for value in topic.values() for name in holes(value)]
    if isinstance(topic, list):
        return [name for value in topic for name in holes(value)]
    if isinstance(topic, str):
        return [name for name, _ in HOLE.findall(topic)]
    return []


def fill_topic(topic: Any, values: Mapping[str, str]) -> Any:
    """``topic`` with every hole filled. Raises KeyError for a name without a value, ValueError for
    a ``:int`` that is none and for a day that is none."""
    if isinstance(topic, Mapping):
        return {key: fill_topic(value, values) for key, value in topic.items()}
    if isinstance(topic, list):
        return [fill_topic(value, values) for value in topic]
    if not isinstance(topic, str):
        return topic
    whole = HOLE.fullmatch(topic)
    if whole is not None and whole[2] == ":int":
        return int(values[whole[1]])
    return HOLE.sub(lambda match: _written(values[match[1]], match[2]), topic)


def _written(value: str, form: str | None) -> str:
    """A value in the form of its hole: as it is, or a day."""
    if form is None or form == ":int":
        return value
    return date.fromisoformat(value).strftime(form[1:]).upper()


def option_of(default: str | Mapping[str, str], facts: Mapping[str, str]) -> str:
    """The value of an option where nobody says otherwise. Raises KeyError when the default is a
    table without a value for what the instrument is."""
    if isinstance(default, str):
        return default
    known = facts.get(default["by"], "")
    return default[known] if known in default and known != "by" else default["*"]


def arg_key(arg: Any) -> str:
    """What a stream is called here: its topic, or the values of its table in their order."""
    if isinstance(arg, str):
        return arg
    if isinstance(arg, Mapping):
        return ":".join(arg_key(value) for value in arg.values())
    if isinstance(arg, list):
        return ",".join(arg_key(value) for value in arg)
    return text_of(arg) or "null"


def covers(answer: Any, arg: Any, group: str = "", *, partly: bool = False) -> bool:
    """True when ``answer`` says of itself what ``arg`` says.

    Every field of ``arg`` must be there with the same value (as text); the answer may hold more.
    At the key ``group`` it may hold a list of values that has ours. With ``partly`` it may leave
    fields out, but not all.
    """
    if isinstance(arg, Mapping):
        if not isinstance(answer, Mapping):
            return False
        for key, value in arg.items():
            there = answer.get(key, _MISSING)
            if there is _MISSING and partly:
                continue
            if key == group and isinstance(there, list) and not isinstance(value, list):
                if not any(covers(item, value) for item in there):
                    return False
            elif there is _MISSING or not covers(there, value):
                return False
        return not partly or any(key in answer for key in arg)
    if isinstance(arg, list):
        return (
            isinstance(answer, list)
            and len(answer) == len(arg)
            and all(covers(a, b) for a, b in zip(answer, arg, strict=True))
        )
    mine = text_of(arg)
    return mine is not None and mine == text_of(answer)
