"""``feedd bench wire``: from a venue's send to a consumer that has the record, over loopback.

The venue and the consumer share one thread on the first core, so that two cores are enough: it
sends a quote, then spins on the ring until the next one is due. The reader, a process as the daemon
starts it, has the second core. The floor is a bare picows listener in Cython under uvloop on that
core, which notes when a frame came and does nothing else; its age ends there, in its own process,
without a ring and a consumer behind it. Both run alternately in one run.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import mmap
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import picows
import uvloop
from numpy.typing import NDArray

from feedd.bench import wireloop
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
from feedd.bench.venue import FIRST, Reader, Venue, frame, number_at
from feedd.reader.net import tls_context
from feedd.reader.process import BusyPoll, freeze_garbage
from feedd.shm.ring import RingReader

__all__ = ["Certificates", "Mode", "Times", "measure", "run"]

EVERY_NS = 100_000
LAST_S = 30.0
SETTLE_NS = 50_000_000
CHUNK_BYTES = 1 << 16
HOST = "127.0.0.1"


class Mode(NamedTuple):
    busy: bool
    tls: bool

    @property
    def name(self) -> str:
        return ("busy" if self.busy else "epoll") + ("_tls" if self.tls else "")


class Times(NamedTuple):
    """ns of CLOCK_MONOTONIC for each quote."""

    sent: NDArray[np.int64]
    seen: NDArray[np.int64]

    @property
    def ages(self) -> NDArray[np.int64]:
        missing = int((self.seen == 0).sum())
        if missing:
            raise BenchError(f"{missing} of {len(self.seen)} messages did not arrive")
        return self.seen - self.sent

    @property
    def rate(self) -> float:
        """Messages per second from the first send to the last arrival."""
        return float(len(self.ages) / (self.seen.max() - self.sent[0]) * 1e9)


class Certificates:
    """A certificate authority for one run, and what each side makes of it."""

    def __init__(self, path: Path) -> None:
        import trustme  # only where TLS is measured

        authority = trustme.CA()
        self.ca_file = path / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(HOST).configure_cert(self.server)


def _shared(n: int) -> NDArray[np.int64]:
    return np.frombuffer(mmap.mmap(-1, 8 * n), np.int64)


def _listen(url: str, mode: Mode, ca_file: Path | None, seen: NDArray[np.int64]) -> None:
    """The floor's process: one connection, until the venue closes it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        await picows.ws_connect(
            lambda: wireloop.FloorListener(seen, ended.set),
            url,
            ssl_context=tls_context(str(ca_file)) if ca_file else None,
        )
        poll = BusyPoll(loop) if mode.busy else None
        freeze_garbage()
        await ended.wait()
        if poll is not None:
            poll.stop()

    uvloop.run(main())


@contextlib.contextmanager
def _floor(
    mode: Mode, certificates: Certificates | None, seen: NDArray[np.int64]
) -> Iterator[socket.socket]:
    venue = Venue(certificates.server if certificates else None)
    ca_file = certificates.ca_file if certificates else None
    with beside(lambda: _listen(venue.url, mode, ca_file, seen), cores()[1]):
        try:
            yield venue.accept()
        finally:
            venue.close()


@contextlib.contextmanager
def _reader(
    mode: Mode, certificates: Certificates | None
) -> Iterator[tuple[socket.socket, RingReader]]:
    venue = Venue(certificates.server if certificates else None)
    ca_file = str(certificates.ca_file) if certificates else None
    with directory() as path, contextlib.ExitStack() as stack:
        reader = Reader(path, venue.url, cores()[1], busy_poll=mode.busy, ca_file=ca_file)
        stack.callback(reader.close)
        stack.callback(venue.close)
        reader.connect()
        connection = venue.accept()
        venue.answer_subscription()
        with RingReader(path) as ring:
            yield connection, ring


def _paced(
    sock: socket.socket, ring: RingReader | None, times: Times, *, tls: bool, every_ns: int
) -> None:
    """Send one quote every ``every_ns``; between two of them look for what has arrived."""
    sent, seen = times
    mine = seen if ring is not None else np.zeros(1, np.int64)
    made = frame(FIRST)
    digits = number_at(made)
    due = wireloop.now_ns() + SETTLE_NS
    for i in range(len(sent)):
        made[digits] = b"%d" % (FIRST + i)
        wireloop.watch(ring, due, mine, FIRST)
        due += every_ns
        if tls:
            sent[i] = wireloop.now_ns()
            sock.sendall(made)
        else:
            wireloop.post(sock.fileno(), made, sent, i)
    _wait_last(ring, seen)


def _wait_last(ring: RingReader | None, seen: NDArray[np.int64]) -> None:
    end = wireloop.now_ns() + int(LAST_S * 1e9)
    if ring is not None:
        wireloop.watch(ring, end, seen, FIRST)
    while seen[-1] == 0 and wireloop.now_ns() < end:
        wireloop.watch(None, wireloop.now_ns() + 100_000, np.zeros(1, np.int64), FIRST)


def _burst(sock: socket.socket, ring: RingReader | None, times: Times) -> None:
    """Send as fast as the socket takes it, reading the ring whenever it does not."""
    sent, seen = times
    mine = seen if ring is not None else np.zeros(1, np.int64)
    data = memoryview(b"".join(bytes(frame(FIRST + i)) for i in range(len(sent))))
    sock.setblocking(False)
    at = 0
    wireloop.watch(ring, wireloop.now_ns() + SETTLE_NS, mine, FIRST)
    sent[:] = wireloop.now_ns()
    while at < len(data):
        with contextlib.suppress(BlockingIOError):
            at += sock.send(data[at : at + CHUNK_BYTES])
        wireloop.watch(ring, wireloop.now_ns() + 1_000, mine, FIRST)
    _wait_last(ring, seen)


def measure(
    mode: Mode, certificates: Certificates | None, n: int, *, floor: bool, burst: bool = False
) -> Times:
    """One connection in one mode: ``n`` quotes paced, or in a burst."""
    times = Times(np.zeros(n, np.int64), _shared(n) if floor else np.zeros(n, np.int64))
    chosen = certificates if mode.tls else None
    with contextlib.ExitStack() as stack:
        ring: RingReader | None = None
        if floor:
            sock = stack.enter_context(_floor(mode, chosen, times.seen))
        else:
            sock, ring = stack.enter_context(_reader(mode, chosen))
        if burst:
            _burst(sock, ring, times)
        else:
            _paced(sock, ring, times, tls=mode.tls, every_ns=EVERY_NS)
    return times


def _summary(rounds: list[list[float]]) -> dict[str, float]:
    columns = list(zip(*rounds, strict=True))
    names = ("p50_ns", "p99_ns", "p999_ns")
    result = {name: median(column, 0) for name, column in zip(names, columns, strict=True)}
    return result | {"spread": spread(columns[0])}


def run(rounds: int, messages: int, burst: int, tls: bool) -> dict[str, Any]:
    """Medians over ``rounds`` rounds of ``messages`` at 10,000 a second, per mode and side."""
    usable = os.sched_getaffinity(0)
    modes = [
        Mode(busy, secure)
        for secure in ((False, True) if tls else (False,))
        for busy in (True, False)
    ]
    ages: dict[str, list[list[float]]] = {}
    rates: dict[str, list[float]] = {"burst": [], "floor_burst": []}
    collecting = gc.isenabled()
    try:
        with directory() as path:
            certificates = Certificates(path) if tls else None
            pin(cores()[0])
            gc.disable()
            for _ in range(rounds):
                for mode in modes:
                    for side, floor in (("", False), ("floor_", True)):
                        times = measure(mode, certificates, messages, floor=floor)
                        row = percentiles(times.ages, 50, 99, 99.9)
                        ages.setdefault(side + mode.name, []).append(row)
                for side, floor in (("burst", False), ("floor_burst", True)):
                    times = measure(modes[0], None, burst, floor=floor, burst=True)
                    rates[side].append(times.rate)
    finally:
        os.sched_setaffinity(0, usable)
        if collecting:
            gc.enable()
    result: dict[str, Any] = {name: _summary(rows) for name, rows in ages.items()}
    result["ratio_to_floor"] = {
        mode.name: {
            name: median(
                [
                    a[i] / b[i]
                    for a, b in zip(ages[mode.name], ages["floor_" + mode.name], strict=True)
                ],
                2,
            )
            for i, name in enumerate(("p50", "p99", "p999"))
        }
        for mode in modes
    }
    for side, values in rates.items():
        result[side + "_msgs_per_s"] = round(median(values, 0))
    result |= {
        "rounds": rounds,
        "messages": messages,
        "message_bytes": len(frame(FIRST)),
        "machine": describe(),
    }
    return result
