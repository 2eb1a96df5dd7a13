"""How fast the daemon is whole again when its processes die: on the simulated exchange, under load.

    python -m bench.reactions [--repeats N] [--rate EVENTS] [--json]

Each repeat starts an exchange and a daemon of two readers, so that every death is the first one:
the pauses that grow from one crash of a reader to the next, and the exchange's limit of requests
per minute, are not what is measured. It wants a machine that does nothing else.

* SIGKILL of a reader: until its supervisor has started the next process (noticed), and until every
  connection and every book of the daemon is live again (live);
* SIGKILL of the supervisor: until no reader writes any more (stopped); then the daemon is started
  again on the same directory, by this script as systemd would: until a consumer that has stood by
  all the time reads its first record of the new epoch without mapping anything again (consumer),
  and until everything is live (live again).

The bars are those of docs/operating.md; the exit status is 1 when a median misses its bar.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import time
from typing import Any

import feedd
from bench.instance import Instance, instance, until
from feedd.shm.directory import lock_held, lock_path
from feedd.shm.layout import Offset
from feedd.shm.ring import RingReader

BARS_MS = {
    "reader killed: noticed": 100.0,
    "reader killed: live": 2_000.0,
    "supervisor killed: stopped": 1_000.0,
    "daemon started again: consumer": 5_000.0,
    "daemon started again: live": 5_000.0,
}


def since(started: float) -> float:
    return (time.monotonic() - started) * 1_000


def writer_of(daemon: Instance, reader: int) -> int:
    """The process that writes a reader's ring."""
    with RingReader(daemon.directory, reader) as ring:
        return ring.segment.u32(Offset.PID)


def kill_reader(daemon: Instance, found: dict[str, list[float]]) -> None:
    before = set(daemon.reader_pids())
    was = daemon.connects()
    victim = min(before)
    number = next(r for r in was if writer_of(daemon, r) == victim)
    started = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    until(lambda: set(daemon.reader_pids()) - before)
    found["reader killed: noticed"].append(since(started))
    until(lambda: daemon.live({number: was[number]}))
    found["reader killed: live"].append(since(started))


def kill_supervisor(daemon: Instance, found: dict[str, list[float]]) -> None:
    was = daemon.connects()
    locks = [lock_path(daemon.directory, n) for n in range(daemon.readers)]
    with feedd.attach(daemon.directory) as feed, feed.stream(timeout=0.05) as stream:
        stream.poll()
        assert daemon.process is not None
        started = time.monotonic()
        daemon.process.kill()
        until(lambda: not any(lock_held(path) for path in locks))
        found["supervisor killed: stopped"].append(since(started))
        daemon.process.wait()
        started = time.monotonic()
        daemon.start()
        waiting = set(range(daemon.readers))

        def goes_on() -> bool:
            batch = stream.poll()
            if batch is not None and batch.restarted:
                began.add(batch.reader)
            if batch is not None and len(batch) and batch.reader in began:
                waiting.discard(batch.reader)
            return not waiting

        began: set[int] = set()
        until(goes_on)
        found["daemon started again: consumer"].append(since(started))
    until(lambda: daemon.live(was))
    found["daemon started again: live"].append(since(started))


def measure(repeats: int, rate: float) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in BARS_MS}
    for _ in range(repeats):
        with instance(rate=rate, readers=2) as daemon:
            daemon.start()
            until(daemon.live)
            kill_reader(daemon, found)
            kill_supervisor(daemon, found)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--rate", type=float, default=5_000.0, help="events a second")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.repeats, options.rate)
    rows: dict[str, dict[str, Any]] = {
        name: {
            "p50_ms": round(statistics.median(values), 1),
            "max_ms": round(max(values), 1),
            "bar_ms": BARS_MS[name],
            "repeats": len(values),
        }
        for name, values in found.items()
    }
    missed = [name for name, row in rows.items() if row["p50_ms"] > row["bar_ms"]]
    if options.json:
        print(json.dumps({"rate": options.rate, "rows": rows, "missed": missed}))
    else:
        print(f"{'':<34}{'p50 ms':>10}{'max ms':>10}{'bar ms':>10}   ({options.repeats} repeats)")
        for name, row in rows.items():
            print(f"{name:<34}{row['p50_ms']:>10}{row['max_ms']:>10}{row['bar_ms']:>10.0f}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
