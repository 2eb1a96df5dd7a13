"""Checksums over the text of a book's best levels."""

from __future__ import annotations

import zlib
from decimal import Decimal
from itertools import zip_longest

from .book import Book


def plain(value: Decimal) -> str:
    """The digits as they were sent: trailing zeros kept, no exponent."""
    return f"{value:f}"


def crc32(text: str, signed: bool) -> int:
    """CRC-32 (IEEE) of the text, as the venue writes it."""
    value = zlib.crc32(text.encode("ascii"))
    return value - 2**32 if signed and value >= 2**31 else value


def interleaved(book: Book, count: int) -> int:
    """OKX, and Bitget of old: ``bid1:size:ask1:size:bid2:…``, a missing level is left out."""
    bids, asks = book.levels()
    parts = []
    for pair in zip_longest(bids[:count], asks[:count]):
        for level in pair:
            if level is not None:
                parts += [plain(level[0]), plain(level[1])]
    return crc32(":".join(parts), signed=True)


def kraken(book: Book) -> int:
    """Ten asks, then ten bids: price and size without the point and without leading zeros."""
    bids, asks = book.levels()
    digits = [
        plain(value).replace(".", "").lstrip("0")
        for level in asks[:10] + bids[:10]
        for value in level
    ]
    return crc32("".join(digits), signed=False)
