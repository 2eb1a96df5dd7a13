"""A window on the native engine for tests: what it accepts and what it reads, value by value."""

KEYS_MAX: int

def valid(data: bytes) -> bool:
    """Does the engine accept the bytes as one JSON document?"""

def number(text: bytes, shift: int = 0) -> tuple[float, bool] | None:
    """``text * 10**shift`` as ``(float64, inexact)``.

    None when ``text`` is not exactly one JSON number, or too large for float64.
    """

def time(text: bytes) -> int | str | None:
    """Nanoseconds of an RFC 3339 text (0: before 1970, which stands for none); None: not a time;
    ``"beyond"``: later than int64 nanoseconds hold."""

def is_padded(start: int, n: int) -> bool:
    """May what is behind ``n`` bytes at this address be read? Nothing is."""

def extract(paths: list[str], data: bytes) -> dict[str, object] | None:
    """Values at dotted paths of an object; None when the engine rejects the bytes.

    Absent paths have no entry, null is None, strings are unescaped, whole numbers below 2^64 are
    int, other numbers float, containers the bytes of their text. What is no object gives {}.
    """

def extract_rows(
    paths: list[str], bids: str, asks: str, data: bytes
) -> (
    list[
        tuple[
            dict[str, object],
            list[tuple[float, float, bool]] | None,
            list[tuple[float, float, bool]] | None,
        ]
    ]
    | None
):
    """Every row of an object or of a list of objects, with its two level lists.

    A level is ``(price, size, inexact)``; a list that is absent or not of levels is None. The
    result is None when the engine rejects the bytes.
    """
