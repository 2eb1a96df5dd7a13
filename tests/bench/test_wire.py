"""``feedd bench wire`` with tiny rounds: what it says, not how fast it is."""

from __future__ import annotations

import subprocess
import sys

import orjson


def test_the_promised_keys_with_plausible_values() -> None:
    command = [sys.executable, "-m", "feedd", "bench", "wire", "--rounds", "1", "--json"]
    command += ["--messages", "40", "--burst", "2000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    result = orjson.loads(done.stdout)
    for mode in ("busy", "epoll", "busy_tls", "epoll_tls"):
        for side in ("", "floor_"):
            ages = result[side + mode]
            assert 1_000 < ages["p50_ns"] <= ages["p99_ns"] <= ages["p999_ns"]
        assert set(result["ratio_to_floor"][mode]) == {"p50", "p99", "p999"}
    assert result["burst_msgs_per_s"] > 100
    assert result["floor_burst_msgs_per_s"] > 100
    assert result["machine"]["cores"] >= 1
