"""``feedd bench wire`` with tiny rounds: what it says, not how fast it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import orjson

from feedd.bench.tables import wire_table
from feedd.bench.wire import Certificates, Mode, measure


def test_the_promised_keys_with_plausible_values() -> None:
    command = [sys.executable, "-m", "feedd", "bench", "wire", "--rounds", "1", "--json"]
    command += ["--messages", "40", "--burst", "2000", "--no-tls"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    result = orjson.loads(done.stdout)
    for mode in ("busy", "epoll"):
        for side in ("", "floor_"):
            ages = result[side + mode]
            assert 1_000 < ages["p50_ns"] <= ages["p99_ns"] <= ages["p999_ns"]
        assert set(result["ratio_to_floor"][mode]) == {"p50", "p99", "p999"}
    assert result["burst_msgs_per_s"] > 100
    assert result["floor_burst_msgs_per_s"] > 100
    assert result["machine"]["cores"] >= 1
    assert "| floor, epoll" in wire_table(result)


def test_over_tls(tmp_path: Path) -> None:
    usable = os.sched_getaffinity(0)
    try:
        times = measure(Mode(busy=False, tls=True), Certificates(tmp_path), 40, floor=False)
    finally:
        os.sched_setaffinity(0, usable)
    assert times.ages.min() > 1_000
