"""Decimal text to float64: equal to Python's ``float`` bit for bit, INEXACT exactly when lossy."""

from __future__ import annotations

import locale
import random
import re
import struct
from decimal import Context, Decimal

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from json_cases import BROKEN, NUMBERS, Texts

from feedd.decode import probe
from tests.fixtures.effort import tries

WIDE = Context(prec=2_000, Emax=999_999_999, Emin=-999_999_999)
NUMBER = re.compile(rb"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def bits(value: float) -> bytes:
    return struct.pack("d", value)


def check(text: str, shift: int = 0) -> None:
    decimal = Decimal(text).scaleb(shift, WIDE)
    # float() reads a Decimal's text: exact, also for long mantissas and huge exponents
    wanted = float(str(decimal))
    got = probe.number(text.encode(), shift)
    if wanted in (float("inf"), float("-inf")):
        assert got is None, text
        return
    assert got is not None, text
    value, inexact = got
    assert bits(value) == bits(wanted), (text, shift, value, wanted)
    assert inexact is (Decimal(repr(wanted)) != decimal), (text, shift, value)
    if shift == 0:
        assert bits(value) == bits(float(text))


def test_known_shapes_with_shifts() -> None:
    for text in NUMBERS:
        for shift in (0, -2, 2, 3, 6, 9, -18, 18):
            check(text, shift)


def test_percent_is_not_divided() -> None:
    assert probe.number(b"0.07", -2) == (0.0007, False)
    assert probe.number(b"120.74", -2) == (1.2074, False)


def test_broken_texts_are_no_numbers() -> None:
    for text in BROKEN:
        if not NUMBER.fullmatch(text.encode()):
            assert probe.number(text.encode()) is None, text
    for text in ("1 ", " 1", "1\0", "1,"):
        assert probe.number(text.encode()) is None


def test_random_decimals() -> None:
    texts = Texts(11)
    for _ in range(tries(8_300)):
        text = texts.number()
        check(text)
        check(text, texts.r.randint(-18, 18))


def test_round_trips_and_neighbours() -> None:
    """17 digits of random bit patterns, and decimals half way between two float64."""
    r = random.Random(12)
    for _ in range(tries(2_000)):
        value = struct.unpack("d", struct.pack("Q", r.getrandbits(64)))[0]
        if value != value or abs(value) == float("inf"):
            continue
        for text in (repr(value), f"{value:.16e}", f"{value:.20e}"):
            check(text.replace("e+", "e"))
    for _ in range(tries(500)):
        whole = 2**53 + 2 * r.randrange(2**40)
        exact = Decimal(whole) + 1  # a tie between two neighbours
        scale = r.randint(-40, 40)
        tie = format(exact.scaleb(0) * (Decimal(2) ** scale if scale >= 0 else 1), "f")
        for tail in ("", ".0000000000000000000000000000000001"):
            check(tie.split(".")[0] + tail)
            check(tie.split(".")[0] + tail, -7)


@pytest.mark.parametrize("digits", [14, 15, 16, 17, 18, 19, 20, 21, 40, 400, 1_000])
def test_long_mantissas(digits: int) -> None:
    r = random.Random(digits)
    for _ in range(60):
        mantissa = str(r.randrange(10 ** (digits - 1), 10**digits))
        zeros = "0" * r.choice([0, 1, 5, 30])
        for text in (
            mantissa, mantissa + zeros, "0." + zeros + mantissa, f"{mantissa[0]}.{mantissa[1:]}0",
            f"{mantissa}e-{digits}", f"-0.{mantissa}{zeros}e{r.randint(0, 20)}",
        ):  # fmt: skip
            if not text.endswith("."):
                for shift in (0, -2, 6):
                    check(text, shift)


def test_whole_numbers_are_exact_to_64_bits() -> None:
    r = random.Random(13)
    edges = [0, 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1]
    for whole in edges + [r.getrandbits(r.randint(1, 64)) for _ in range(tries(1_700))]:
        assert probe.extract(["n"], b'{"n":%d}' % whole) == {"n": whole}
    assert probe.extract(["n"], b'{"n":%d}' % 2**64) == {"n": float(2**64)}


@settings(max_examples=tries(500), deadline=None)
@given(
    st.from_regex(
        r"\A-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?\Z", fullmatch=True
    ),
    st.integers(-18, 18),
)
@example("5e-324", -1)
@example("179769313486231580793e289", 0)
@example("0.1e310", -2)
def test_any_number(text: str, shift: int) -> None:
    check(text)
    check(text, shift)


@settings(max_examples=tries(300), deadline=None)
@given(st.text("0123456789.eE+-", max_size=14))
def test_grammar(text: str) -> None:
    data = text.encode()
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        assert probe.number(data) is None
    else:
        assert probe.number(data) is not None


@pytest.mark.parametrize("exponent", ["9" * 9, "9" * 19, "9" * 400, "100000", "-" + "9" * 30])
def test_absurd_exponents(exponent: str) -> None:
    for mantissa in ("0", "0.0", "1", "-3.5", "0." + "0" * 300 + "1"):
        data = f"{mantissa}e{exponent}".encode()
        try:
            orjson.loads(data)
        except orjson.JSONDecodeError:
            assert probe.number(data) is None, data
        else:
            got = probe.number(data)
            assert got is not None
            assert got[0] == 0.0, data


def test_other_locales_change_nothing() -> None:
    old = locale.setlocale(locale.LC_NUMERIC)
    for name in ("de_DE.UTF-8", "fr_FR.UTF-8", "C.UTF-8", "C"):
        try:
            locale.setlocale(locale.LC_NUMERIC, name)
        except locale.Error:
            continue
        try:
            for text in ("0.30000000000000004", "123456789.123456789123456789", "1.5e-310"):
                check(text)
        finally:
            locale.setlocale(locale.LC_NUMERIC, old)
