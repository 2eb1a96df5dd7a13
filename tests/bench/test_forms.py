"""``feedd bench forms``: made-up books of every venue stay live, and the result says all of it."""

from __future__ import annotations

import json
import random

import orjson
import pytest
from click.testing import CliRunner

from feedd.bench.command import bench
from feedd.bench.forms import FORMS


def test_every_form_is_measured() -> None:
    done = CliRunner().invoke(bench, ["forms", "--rounds", "1", "--messages", "500", "--json"])
    assert done.exit_code == 0, done.output
    result = orjson.loads(done.stdout)
    assert set(result["venues"]) == set(FORMS)
    for venue, by_levels in result["venues"].items():
        for levels in ("1", "5"):
            row = by_levels[levels]
            assert row["decode_ns"] > 0, venue
            assert row["full_ns_per_byte"] == pytest.approx(row["full_ns"] / row["bytes"], rel=0.01)


def test_the_table_has_a_row_for_each() -> None:
    done = CliRunner().invoke(bench, ["forms", "--rounds", "1", "--messages", "500"])
    assert done.exit_code == 0, done.output
    assert all(done.stdout.count(f"| {venue} ") == 2 for venue in FORMS)


@pytest.mark.parametrize("venue", FORMS)
def test_forms_are_json(venue: str) -> None:
    for message in FORMS[venue](random.Random(3), 30, 4):
        json.loads(message)
