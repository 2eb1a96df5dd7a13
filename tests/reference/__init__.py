"""A second, independent decoder that the tests compare ``feedd decode`` with.

It is slow and plain on purpose: ``json``, ``decimal.Decimal`` and dicts, written from the venues'
documentation and the decode contract, and it imports nothing from ``feedd``. Where the two
disagree one of them is wrong, and neither can hide behind shared code.
"""

from __future__ import annotations

from .session import Result, decode, decode_rows

__all__ = ["Result", "decode", "decode_rows"]
