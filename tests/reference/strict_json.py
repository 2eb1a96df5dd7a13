"""JSON as the contract wants it: what orjson accepts, numbers as exact ``Decimal``."""

from __future__ import annotations

import functools
import json
import math
from decimal import Decimal
from typing import Any, NoReturn

MAX_DEPTH = 1024


class BadJson(ValueError):
    """The message is not valid: nothing of it may be used."""


def _refuse_constant(name: str) -> NoReturn:
    raise BadJson(f"{name} is not JSON")


def _number(text: str) -> Decimal:
    value = Decimal(text)
    if math.isinf(float(value)):
        raise BadJson(f"{text[:40]} overflows float64")
    return value


def _depth(text: str) -> int:
    deepest = depth = 0
    in_string = escaped = False
    for char in text:
        if in_string:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                in_string = False
        elif char == '"':
            in_string = True
        elif char in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "]}":
            depth -= 1
    return deepest


def loads(message: bytes) -> Any:
    """Parse or raise ``BadJson``; integers and fractions both come back as ``Decimal``."""
    try:
        text = message.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadJson(str(error)) from error
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise BadJson("nested too deeply")
    try:
        value = json.loads(
            text, parse_constant=_refuse_constant, parse_float=_number, parse_int=_number
        )
        if "\\u" in text:  # a lone surrogate survives json.loads but cannot be UTF-8
            json.dumps(value, ensure_ascii=False, default=str).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise BadJson(str(error)) from error
    return value


@functools.lru_cache(maxsize=1 << 17)
def is_inexact(value: Decimal) -> bool:
    """True when the shortest form of the nearest float64 is another decimal."""
    return Decimal(repr(float(value))) != value
