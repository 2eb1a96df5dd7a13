"""``feedd bench scale`` and ``start`` with tiny rounds: what they say, not how fast it is."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import orjson


def measured(*arguments: str) -> Any:
    command = [sys.executable, "-m", "feedd", "bench", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    return orjson.loads(done.stdout)


def test_scale() -> None:
    result = measured("scale", "--rounds", "1", "--messages", "500", "--instruments", "40")
    assert set(result["instruments"]) == {"1", "10", "40"}
    for row in result["instruments"].values():
        assert row["ns_per_message"] > 100
        assert row["few_ns_per_message"] > 100
    for row in result["one_message"].values():
        assert 0 < row["p50_ns"] <= row["p99_ns"] <= row["p999_ns"] <= row["longest_ns"]
    assert set(result["one_message"]) == {"10"}
    assert result["levels"]["400"]["ns_per_message"] > result["levels"]["1"]["ns_per_message"]
    assert set(result["connections"]) == {"1", "4", "16", "64"}
    assert result["readers"]["1"] > 0
    assert result["readers"]["ratio"] > 0
    for row in result["memory"]["by_levels"].values():
        assert row["process_mb"] > row["books_mb"] >= 0
        assert row["segments_mb"] > 0


def test_start() -> None:
    result = measured("start", "--rounds", "1")
    for name in ("import_cpu_ms", "import_wall_ms"):
        assert set(result[name]) == {"numpy", "feedd", "consumer"}
        assert min(result[name].values()) >= 0
    assert result["import_ratio_to_numpy"] > 0
    assert 100 < result["ready_ms"] < 30_000
