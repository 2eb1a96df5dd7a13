"""Delays between connection attempts: bounds, jitter, Retry-After."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedd.clock import SECOND_NS
from feedd.reader.backoff import RETRY_AFTER_MAX_S, Backoff


@given(
    st.integers(),
    st.floats(0.1, 5),
    st.floats(5, 120),
    st.lists(st.one_of(st.none(), st.floats(allow_nan=False), st.just("reset")), max_size=60),
)
def test_every_delay_is_inside_its_bounds(
    seed: int, base: float, cap: float, events: list[float | str | None]
) -> None:
    backoff = Backoff(random.Random(seed), base, cap)
    failures = 0
    for event in events:
        if event == "reset":
            backoff.reset()
            failures = 0
            continue
        assert not isinstance(event, str)
        bound = 0.0 if failures == 0 else min(cap, base * 2.0 ** min(failures - 1, 32))
        assert backoff.bound_s() == bound
        delay = backoff.next_delay_ns(event) / SECOND_NS
        if event is not None and event > 0:
            asked = min(event, RETRY_AFTER_MAX_S)
            assert asked - 1e-6 <= delay <= asked + max(bound, base) + 1e-6
        else:
            assert 0 <= delay <= bound
        failures += 1


def test_first_retry_is_immediate_then_delays_grow_to_the_cap() -> None:
    backoff = Backoff(random.Random(1), 1.0, 30.0)
    assert backoff.next_delay_ns() == 0
    bounds = []
    for _ in range(8):
        bounds.append(backoff.bound_s())
        backoff.next_delay_ns()
    assert bounds == [1, 2, 4, 8, 16, 30, 30, 30]


def test_jitter_survives_at_the_cap() -> None:
    backoff = Backoff(random.Random(2), 1.0, 30.0)
    for _ in range(50):
        backoff.next_delay_ns()
    delays = [backoff.next_delay_ns() for _ in range(200)]
    assert max(delays) <= 30 * SECOND_NS
    assert min(delays) < 6 * SECOND_NS
    assert max(delays) > 24 * SECOND_NS
    assert len(set(delays)) > 190


def test_connections_that_fall_together_do_not_return_together() -> None:
    many = [Backoff(random.Random(seed)) for seed in range(50)]
    for backoff in many:
        for _ in range(5):
            backoff.next_delay_ns()
    returns = sorted(backoff.next_delay_ns() for backoff in many)
    assert returns[-1] - returns[0] > SECOND_NS


def test_nonsense_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="base_s"):
        Backoff(random.Random(0), 0.0, 1.0)
    with pytest.raises(ValueError, match="base_s"):
        Backoff(random.Random(0), 2.0, 1.0)
