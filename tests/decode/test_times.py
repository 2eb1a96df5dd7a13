"""RFC 3339 times, against the standard library and by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedd.decode import probe

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2261, 12, 31), timezones=st.just(UTC))
OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59)


@given(MOMENTS, OFFSETS, st.integers(0, 9), st.sampled_from("Tt "), st.booleans())
def test_what_the_standard_library_writes(
    moment: datetime, offset: int, digits: int, between: str, zulu: bool
) -> None:
    local = moment if zulu else moment.astimezone(timezone(timedelta(minutes=offset)))
    if local.year < 1 or (local - moment.replace(tzinfo=local.tzinfo)) > timedelta(days=2):
        return
    text = local.strftime(f"%Y-%m-%d{between}%H:%M:%S").rjust(19, "0")
    fraction = f"{local.microsecond:06}000"[:digits]
    sign = "-" if offset < 0 else "+"
    zone = "Z" if zulu else f"{sign}{abs(offset) // 60:02}:{abs(offset) % 60:02}"
    whole = int((moment.replace(microsecond=0) - EPOCH).total_seconds()) * 10**9
    expected = whole + int(fraction.ljust(9, "0") or 0)
    text += (f".{fraction}" if fraction else "") + zone
    assert probe.time(text.encode()) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"2026-04-07T14:30:00.123456789Z", 1_775_572_200_123_456_789),
        (b"2026-04-07T14:30:00.1234567899999Z", 1_775_572_200_123_456_789),
        (b"2026-04-07 14:30:10.000000000+00:00", 1_775_572_210_000_000_000),
        (b"2016-12-31T23:59:60Z", 1_483_228_800_000_000_000),  # a leap second
        (b"0001-01-01T00:00:00.000000Z", 0),  # what a venue sends for none
        (b"1969-12-31T23:59:59Z", 0),
        (b"2024-02-29T00:00:00Z", 1_709_164_800_000_000_000),
    ],
)
def test_by_hand(text: bytes, expected: int) -> None:
    assert probe.time(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"2026-04-07",
        b"2026-04-07T14:30:00",
        b"2026-04-07T14:30:00.Z",
        b"2026-13-07T14:30:00Z",
        b"2026-02-29T14:30:00Z",
        b"2026-04-31T14:30:00Z",
        b"2026-04-07T24:30:00Z",
        b"2026-04-07T14:60:00Z",
        b"2026-04-07T14:30:61Z",
        b"2026-04-07T14:30:00+24:00",
        b"2026-04-07T14:30:00+0100",
        b"2026-04-07T14:30:00Z ",
        b"2026-04-07X14:30:00Z",
        b"20260-4-07T14:30:00Z",
        b"0000-01-01T00:00:00Z",
    ],
)
def test_not_a_time(text: bytes) -> None:
    assert probe.time(text) is None


def test_a_time_beyond_what_nanoseconds_hold() -> None:
    assert probe.time(b"9999-12-31T23:59:59Z") == "beyond"
