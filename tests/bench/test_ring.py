"""``feedd bench ring`` with tiny rounds: what it says, not how fast it is."""

from __future__ import annotations

import subprocess
import sys

import orjson

from feedd.bench.tables import ring_table


def test_the_promised_keys_with_plausible_values() -> None:
    command = [sys.executable, "-m", "feedd", "bench", "ring", "--rounds", "1", "--json"]
    command += ["--messages", "60", "--records", "20000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    result = orjson.loads(done.stdout)
    for side in ("python", "c", "floor"):
        assert result[side]["records_per_s"] > 1_000
        assert 0 < result[side]["one_way_ns"]["p50"] <= result[side]["one_way_ns"]["p99"]
    assert set(result["ratio_to_floor"]) == {"python", "c"}
    for side in ("python", "c", "floor"):
        assert 0 < result[side]["wake_ns"]["p50"] <= result[side]["wake_ns"]["p99"]
    assert 0 <= result["python"]["waiting_cpu"] < 1
    cost = result["publish_ns_by_consumers"]
    assert {"0", "16", "ratio"} <= set(cost)
    assert min(cost.values()) >= 0
    assert cost["0"] > 0
    assert result["machine"]["cores"] >= 1
    assert "| floor " in ring_table(result)
