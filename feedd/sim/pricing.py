"""Black-Scholes values of the synthetic options, rounded to what Deribit prints."""

from __future__ import annotations

import math
from dataclasses import dataclass

_YEAR_MS = 365 * 86_400_000
_MIN_YEARS = 1e-4


@dataclass(frozen=True, slots=True)
class Greeks:
    """Scaled integers: greeks in 1e-5, the mark in 1e-6 of the base coin."""

    delta: int
    gamma: int
    vega: int
    theta: int
    rho: int
    mark: int


def _cdf(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def greeks(
    underlying: float, strike: float, iv: float, expiry_ms: int, now_ms: int, call: bool
) -> Greeks:
    """Value an inverse option: ``underlying`` and ``strike`` in USD, ``iv`` a fraction.

    Vega and rho are per percentage point and theta per day, as in Deribit's ticker.
    """
    years = max((expiry_ms - now_ms) / _YEAR_MS, _MIN_YEARS)
    root = iv * math.sqrt(years)
    d1 = (math.log(underlying / strike) + 0.5 * iv * iv * years) / root
    d2 = d1 - root
    density = math.exp(-0.5 * d1 * d1) / math.sqrt(2.0 * math.pi)
    sign = 1.0 if call else -1.0
    value = sign * (underlying * _cdf(sign * d1) - strike * _cdf(sign * d2))
    return Greeks(
        delta=round(sign * _cdf(sign * d1) * 1e5),
        gamma=round(density / (underlying * root) * 1e5),
        vega=round(underlying * density * math.sqrt(years) / 100 * 1e5),
        theta=round(-underlying * density * iv / (2 * math.sqrt(years)) / 365 * 1e5),
        rho=round(sign * strike * years * _cdf(sign * d2) / 100 * 1e5),
        mark=max(round(value / underlying * 1e6), 0),
    )
