"""Decimal text of scaled integers.

The generator computes in integers only; everything on the wire and in the journal is text made
here, so no float rounding can come between what the venue means and what it says.
"""

from __future__ import annotations

import datetime

CACHE_LIMIT = 20_000
"""Entries a text cache may hold before it starts over (prices repeat, sizes hardly do)."""


def rfc3339(ms: int, micros: int = 0, digits: int = 6) -> str:
    """``2026-04-07T14:30:01.456789Z``: Unix milliseconds, and microseconds below them."""
    second, milli = divmod(ms, 1_000)
    whole = datetime.datetime.fromtimestamp(second, datetime.UTC)
    fraction = f"{milli:03d}{micros:03d}000"[:digits]
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{fraction}Z"


def iso_ms(ms: int) -> str:
    """``2026-05-27T12:56:40.500Z`` of Unix milliseconds."""
    return rfc3339(ms, digits=3)


def fixed(units: int, decimals: int) -> str:
    """Text with exactly ``decimals`` places: ``fixed(6180030, 2) == "61800.30"``."""
    if decimals == 0:
        return str(units)
    sign = "-" if units < 0 else ""
    digits = str(abs(units)).rjust(decimals + 1, "0")
    return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}"


def plain(units: int, decimals: int) -> str:
    """Text with at least one and no superfluous places: ``"76914.0"``, ``"0.0065"``."""
    if decimals == 0:
        return f"{units}.0"
    whole, _, fraction = fixed(units, decimals).partition(".")
    return f"{whole}.{fraction.rstrip('0') or '0'}"


def trimmed(units: int, decimals: int) -> str:
    """Text without any superfluous place: ``"76914"``, ``"0.0065"``."""
    text = fixed(units, decimals)
    return text.rstrip("0").rstrip(".") if "." in text else text


def short(units: int, decimals: int) -> str:
    """The shorter of plain and scientific form, as Deribit writes it: ``"1.0002e6"``."""
    text = plain(units, decimals)
    digits = str(abs(units))
    exponent = len(digits) - 1 - decimals
    mantissa = digits.rstrip("0")
    if not mantissa:
        return text
    sign = "-" if units < 0 else ""
    scientific = f"{sign}{mantissa[0]}.{mantissa[1:] or '0'}e{exponent}"
    return scientific if len(scientific) < len(text) else text


class FixedText(dict[int, str]):
    """Cache ``n -> fixed(n * multiple, decimals)``; a subclass writes in another form."""

    def __init__(self, decimals: int, multiple: int = 1) -> None:
        super().__init__()
        self.decimals = decimals
        self.multiple = multiple

    def __missing__(self, n: int) -> str:
        if len(self) >= CACHE_LIMIT:
            self.clear()
        text = self[n] = self.write(n * self.multiple)
        return text

    def write(self, units: int) -> str:
        """The text of so many of the smallest units."""
        return fixed(units, self.decimals)


class PlainText(FixedText):
    """Cache ``n -> plain(n * multiple, decimals)``."""

    def write(self, units: int) -> str:
        return plain(units, self.decimals)


class ShortText(FixedText):
    """Cache ``n -> short(n * multiple, decimals)``."""

    def write(self, units: int) -> str:
        return short(units, self.decimals)


class TrimmedText(FixedText):
    """Cache ``n -> trimmed(n * multiple, decimals)``."""

    def write(self, units: int) -> str:
        return trimmed(units, self.decimals)
