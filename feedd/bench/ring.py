"""``feedd bench ring``: writer and consumer on a core each, beside a minimal ring in C.

One round takes, one after the other, the Python consumer (``feedd.attach``, ``feed.stream``), a
consumer in C on the public header, and the floor of ``src/floor_ring.h``: first poured out as fast
as the consumer keeps up without a loss, then one record at a time. Ages are taken from just before
the record is put to when the consumer holds it.
"""

from __future__ import annotations

import mmap
import os
import resource
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedd import clock
from feedd.bench import ringloop
from feedd.bench.instance import (
    BenchError,
    beside,
    cores,
    directory,
    median,
    percentiles,
    pin,
    spread,
)
from feedd.bench.machine import describe
from feedd.client.attach import attach
from feedd.client.stream import Stream, Wait
from feedd.shm.counters import CountersWriter
from feedd.shm.instruments import InstrumentsWriter
from feedd.shm.ring import RingReader, RingWriter

__all__ = ["run"]

SLOTS = 1 << 16
BATCH = 16  # records per commit when poured: a busy socket read
EVERY_NS = 50_000
FUTEX_EVERY_NS = 1_000_000
CONSUMERS = 16
PAIRS_MIN = 11
START_S = 20.0
IDLE_S = 1.0


class _Bench:
    """The memory of one run; every measurement is one forked writer and a consumer here."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writing, self.reading = cores()
        InstrumentsWriter.create(path, 16).close()
        CountersWriter.create(path, 1, 4).close()
        RingWriter.create(path, 0, SLOTS).close()
        page = mmap.mmap(-1, ringloop.CONTROL_BYTES)
        self.control = np.frombuffer(page, np.uint64)
        self._slots = mmap.mmap(-1, SLOTS * 128)

    def floor(self) -> ringloop.FloorRing:
        """A fresh floor ring: every page is there, every slot reads "not yet"."""
        slots = np.frombuffer(self._slots, np.uint64)
        slots[:] = 0
        return ringloop.FloorRing(slots)

    def clear(self) -> None:
        for word in (ringloop.READY, ringloop.POSITION, ringloop.WAKE):
            ringloop.set_word(self.control, word, 0)

    def wait_ready(self) -> None:
        if not ringloop.wait_word(self.control, ringloop.READY, 1, START_S):
            raise BenchError(f"the consumer was not there after {START_S:.0f} s")

    def ready(self) -> None:
        ringloop.set_word(self.control, ringloop.READY, 1)

    # -- writers, in a process of their own ----------------------------------------------------

    def pace(self, floor: ringloop.FloorRing | None, n: int, every_ns: int) -> None:
        if floor is not None:
            np.frombuffer(self._slots, np.uint64)[:] = 0  # fork does not copy page tables
            self.wait_ready()
            ringloop.pace(None, floor, n, every_ns)
            return
        with RingWriter.takeover(self.path, 0) as writer:
            self.wait_ready()
            ringloop.pace(writer, None, n, every_ns)

    def pour(self, floor: ringloop.FloorRing | None, n: int) -> None:
        if floor is not None:
            np.frombuffer(self._slots, np.uint64)[:] = 0
            self.wait_ready()
            ringloop.pour(None, floor, n, BATCH, self.control)
            return
        with RingWriter.takeover(self.path, 0) as writer:
            self.wait_ready()
            ringloop.pour(writer, None, n, BATCH, self.control)

    # -- consumers, here ------------------------------------------------------------------------

    def stream(self, wait: Wait) -> Stream:
        return attach(self.path).stream(wait=wait, timeout=START_S)

    def _beside(self, work: Callable[[], None], consume: Callable[[], float]) -> float:
        self.clear()
        with beside(work, self.writing):
            return consume()

    def python_rate(self, n: int) -> float:
        """Records per second, through ``feed.stream``."""

        def consume() -> float:
            with self.stream("spin") as stream:
                self.ready()
                done = start = wrong = 0
                for batch in stream:
                    if not batch:  # the writer came to life, or the timeout is over
                        wrong += batch.silent
                    else:
                        start = start or clock.monotonic_ns()
                        records = batch.records
                        wrong += batch.lost
                        done += len(records)
                        ringloop.set_word(self.control, ringloop.POSITION, done)
                    if done >= n or wrong:
                        break
                taken = clock.monotonic_ns() - start
            if wrong or int(records[-1]["sequence"]) != n - 1:
                raise BenchError("the stream lost records, or waited in vain")
            return n / taken * 1e9

        return self._beside(lambda: self.pour(None, n), consume)

    def python_ages(self, n: int, wait: Wait, every_ns: int) -> NDArray[np.int64]:
        """How old each record was when the batch with it was in hand."""
        times: list[int] = []
        stamps: list[NDArray[np.int64]] = []

        def consume() -> float:
            now_ns, done = ringloop.now_ns, 0
            with self.stream(wait) as stream:
                self.ready()
                for batch in stream:
                    now = now_ns()
                    if batch.silent:
                        raise BenchError("the stream waited in vain")
                    if not batch:
                        continue  # the writer came to life
                    times.append(now)
                    stamps.append(batch.records["ts_recv"].copy())
                    done += len(batch)
                    if done >= n:
                        return 0.0
            raise BenchError("the stream ended")

        self._beside(lambda: self.pace(None, n, every_ns), consume)
        return np.concatenate([now - sent for now, sent in zip(times, stamps, strict=True)])

    def native_rate(self, n: int, floor: bool) -> float:
        """Records per second of the C consumer, or of the floor."""
        ring = self.floor() if floor else None
        mine = self.floor() if floor else None

        def consume() -> float:
            with ExitStack() as stack:
                reader = None if floor else stack.enter_context(RingReader(self.path))
                self.ready()
                return n / ringloop.read_poured(reader, mine, n, self.control) * 1e9

        return self._beside(lambda: self.pour(ring, n), consume)

    def native_ages(
        self, n: int, floor: bool, every_ns: int = EVERY_NS, *, sleep: bool = False
    ) -> NDArray[np.int64]:
        ring = self.floor() if floor else None
        mine = self.floor() if floor else None
        ages = np.zeros(n, np.int64)

        def consume() -> float:
            with ExitStack() as stack:
                reader = None if floor else stack.enter_context(RingReader(self.path))
                self.ready()
                ringloop.read_paced(reader, mine, ages, sleep)
            return 0.0

        self._beside(lambda: self.pace(ring, n, every_ns), consume)
        return ages

    def bare_wakes(self, n: int, every_ns: int) -> NDArray[np.int64]:
        """What a wake takes without a ring: a word and a futex, in C."""
        ages = np.zeros(n, np.int64)

        def pace() -> None:
            self.wait_ready()
            ringloop.pace_wakes(self.control, n, every_ns)

        def consume() -> float:
            self.ready()
            ringloop.read_wakes(self.control, ages)
            return 0.0

        self._beside(pace, consume)
        return ages

    def idle_cpu(self, seconds: float) -> float:
        """The share of a core that a consumer takes while it waits for nothing."""
        with attach(self.path).stream(timeout=seconds) as stream:
            before = resource.getrusage(resource.RUSAGE_SELF)
            next(stream)
            after = resource.getrusage(resource.RUSAGE_SELF)
        taken = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return max(0.0, taken) / seconds

    # -- what consumers cost the writer ----------------------------------------------------------

    def publish_ns(self, n: int, rounds: int) -> tuple[list[float], list[float]]:
        """ns per record, committed one by one: a ring without consumers, one with 16; in pairs."""
        without: list[float] = []
        with_them: list[float] = []
        with ExitStack() as stack:
            alone = stack.enter_context(RingWriter.create(self.path, 1, SLOTS))
            watched = stack.enter_context(RingWriter.takeover(self.path, 0))
            self._attached(stack)
            for writer in (alone, watched):
                ringloop.publish(writer, 2 * SLOTS)
            for i in range(rounds):
                pair = ((alone, without), (watched, with_them))
                for writer, taken in pair if i % 2 else pair[::-1]:
                    taken.append(ringloop.publish(writer, n) / n)
        return without, with_them

    def _attached(self, stack: ExitStack) -> None:
        """Consumers in processes of their own: half of them stopped as they wait, half asleep."""
        there, tell = os.pipe()
        stack.callback(os.close, there)
        pids = []
        for i in range(CONSUMERS):
            pid = os.fork()
            if pid == 0:
                self._attend(tell, waits=i % 2 == 0)
            pids.append(pid)
            stack.callback(os.waitpid, pid, 0)
            stack.callback(os.kill, pid, signal.SIGKILL)
        os.close(tell)
        for _ in pids:
            if not os.read(there, 1):
                raise BenchError("a consumer could not attach")
        clock.sleep(0.1)  # until those that wait are in the kernel
        for pid in pids[::2]:
            os.kill(pid, signal.SIGSTOP)

    def _attend(self, tell: int, *, waits: bool) -> None:
        try:
            pin(self.reading)
            with attach(self.path).stream(readers=[0]) as stream:
                os.write(tell, b".")
                if waits:
                    next(stream)
                clock.sleep(3600)
        finally:
            os._exit(1)


def run(rounds: int, messages: int, records: int) -> dict[str, Any]:
    """Medians over ``rounds`` rounds of ``messages`` paced and ``records`` poured records."""
    usable = os.sched_getaffinity(0)
    sides = ("python", "c", "floor")
    ages: dict[str, list[list[float]]] = {s: [] for s in (*sides, "futex", "c_futex", "bare_futex")}
    few = messages // 20 or 1
    rates: dict[str, list[float]] = {side: [] for side in sides}
    idle = []
    try:
        with directory() as path:
            bench = _Bench(path)
            pin(bench.reading)
            for _ in range(rounds):
                rates["python"].append(bench.python_rate(records))
                rates["c"].append(bench.native_rate(records, floor=False))
                rates["floor"].append(bench.native_rate(records, floor=True))
                taken = {
                    "python": bench.python_ages(messages, "spin", EVERY_NS),
                    "c": bench.native_ages(messages, floor=False),
                    "floor": bench.native_ages(messages, floor=True),
                    "futex": bench.python_ages(few, "futex", FUTEX_EVERY_NS),
                    "c_futex": bench.native_ages(few, False, FUTEX_EVERY_NS, sleep=True),
                    "bare_futex": bench.bare_wakes(few, FUTEX_EVERY_NS),
                }
                for side, values in taken.items():
                    ages[side].append(percentiles(values, 50, 99))
                idle.append(bench.idle_cpu(IDLE_S))
            pin(bench.writing)
            alone, watched = bench.publish_ns(records, max(rounds, PAIRS_MIN))
    finally:
        os.sched_setaffinity(0, usable)
    result: dict[str, Any] = {
        side: {
            "records_per_s": round(median(rates[side], 0)),
            "records_per_s_spread": spread(rates[side]),
            "one_way_ns": _ages(ages[side]),
        }
        for side in sides
    }
    result["python"]["wake_ns"] = _ages(ages["futex"])
    result["c"]["wake_ns"] = _ages(ages["c_futex"])
    result["floor"]["wake_ns"] = _ages(ages["bare_futex"])
    result["python"]["waiting_cpu"] = round(median(idle, 4), 4)
    result["ratio_to_floor"] = {
        side: {
            "one_way_p50": median(
                [a[0] / b[0] for a, b in zip(ages[side], ages["floor"], strict=True)], 2
            ),
            "records_per_s": median(
                [a / b for a, b in zip(rates[side], rates["floor"], strict=True)], 2
            ),
        }
        for side in ("python", "c")
    }
    result["publish_ns_by_consumers"] = {
        "0": median(alone),
        str(CONSUMERS): median(watched),
        "ratio": median([b / a for a, b in zip(alone, watched, strict=True)], 3),
        "spread": spread(alone),
    }
    result |= {"rounds": rounds, "messages": messages, "records": records, "machine": describe()}
    return result


def _ages(rounds: list[list[float]]) -> dict[str, float]:
    p50, p99 = [r[0] for r in rounds], [r[1] for r in rounds]
    return {"p50": median(p50), "p99": median(p99), "spread": spread(p50)}
