from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedd.sim.text import FixedText, PlainText, ShortText, fixed, plain, short


@pytest.mark.parametrize(
    ("units", "decimals", "as_fixed", "as_plain", "as_short"),
    [
        (6180030, 2, "61800.30", "61800.3", "61800.3"),
        (1000, 0, "1000", "1000.0", "1.0e3"),
        (35130, 0, "35130", "35130.0", "35130.0"),
        (1000200, 0, "1000200", "1000200.0", "1.0002e6"),
        (28, 5, "0.00028", "0.00028", "2.8e-4"),
        (65, 4, "0.0065", "0.0065", "0.0065"),
        (0, 4, "0.0000", "0.0", "0.0"),
        (-8477, 8, "-0.00008477", "-0.00008477", "-8.477e-5"),
    ],
)
def test_forms_are_those_of_real_frames(
    units: int, decimals: int, as_fixed: str, as_plain: str, as_short: str
) -> None:
    assert fixed(units, decimals) == as_fixed
    assert plain(units, decimals) == as_plain
    assert short(units, decimals) == as_short


@given(st.integers(-(10**15), 10**15), st.integers(0, 12))
def test_every_form_is_the_same_number(units: int, decimals: int) -> None:
    value = Decimal(units).scaleb(-decimals)
    for form in (fixed, plain, short):
        assert Decimal(form(units, decimals)) == value


def test_caches_scale_and_start_over_when_full() -> None:
    for kind, expected in ((FixedText, "0.50"), (PlainText, "0.5"), (ShortText, "0.5")):
        texts = kind(2, 5)
        for n in range(25_000):
            assert texts[n]
        assert len(texts) <= 20_000
        assert texts[10] == expected
