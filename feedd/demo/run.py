"""Run the demo: simulated venue, daemon, consumer; then compare with the venue's journal."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from feedd import clock
from feedd.control.client import ControlClient
from feedd.demo.channels import DEMO_CHANNELS
from feedd.demo.compare import Result, compare
from feedd.demo.consumer import SCREEN_GAPS, SCREEN_LOST
from feedd.demo.journal import read_journal, read_rows
from feedd.demo.processes import check, child, end
from feedd.demo.recording import load
from feedd.errors import FeeddError, StartError
from feedd.sim.testing import SimHandle, start_sim
from feedd.sim.venues import DEFAULT
from feedd.supervisor.status import collect

__all__ = ["Options", "measure", "report", "show"]

_SUBSCRIBE_S = 60.0
_DRAIN_MAX_S = 60.0
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Options:
    rate: float = 5_000.0
    """Events per second that the simulated market makes."""
    seed: int = 1
    faults: tuple[str, ...] = ()
    """Faults of the simulated venue, as ``feedd sim --fault`` takes them."""
    venues: tuple[str, ...] = DEFAULT
    lines: int = 1
    """Connections that carry each stream."""
    reload: bool = False
    """Begin without the first instrument of each venue, and take it in while the data flows."""
    roll: bool = False
    """Replace every reader process by another while the data flows."""


@dataclass(frozen=True, slots=True)
class _Places:
    """Everything the demo makes on this machine; removed at the end."""

    files: Path
    shm: Path

    def log(self, name: str) -> Path:
        return self.files / f"{name}.log"


def sweep(parent: Path) -> None:
    """Remove what earlier demos left that were killed (SIGKILL): named after a pid that is gone."""
    for path in parent.glob("feedd-demo-*-*"):
        pid = path.name.split("-")[2]
        ours = path.is_dir() and not path.is_symlink() and path.stat().st_uid == os.getuid()
        if pid.isdecimal() and ours and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _places() -> Iterator[_Places]:
    base = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else Path(tempfile.gettempdir())
    prefix = f"feedd-demo-{os.getpid()}-"
    for parent in {base, Path(tempfile.gettempdir())}:
        sweep(parent)
    with contextlib.ExitStack() as stack:
        files = Path(tempfile.mkdtemp(prefix=prefix))
        stack.callback(shutil.rmtree, files, ignore_errors=True)
        shm = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
        stack.callback(shutil.rmtree, shm, ignore_errors=True)
        yield _Places(files, shm)


@contextlib.contextmanager
def _orderly_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind like Ctrl-C, so that every ``finally`` runs."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = {s: signal.signal(s, interrupt) for s in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _instruments(sim: SimHandle, venue: str) -> list[str]:
    """The venue's instruments that the demo subscribes to."""
    return [symbol for symbol in sim.instruments[venue] if DEMO_CHANNELS[venue].suits(symbol)]


def config_text(sim: SimHandle, places: _Places, options: Options, *, every: bool = True) -> str:
    """The daemon's configuration (TOML): all instruments of the simulated venues (of each venue
    all but the first, unless ``every``), two readers."""
    lines = [
        "[instance]",
        'name = "demo"',
        f'directory = "{places.shm}"',
        f'state_directory = "{places.files / "state"}"',
        "",
        "[readers]",
        "count = 2",
    ]
    for venue in options.venues:
        wanted = DEMO_CHANNELS[venue]
        symbols = _instruments(sim, venue)
        shown = symbols if every else symbols[1:]
        lines += ["", *sim.section(venue, wanted.channels, shown)]
        if options.reload:  # a row that was kept free is as deep as an option's
            lines.append("option_depth = 1024")
        if options.lines > 1:
            lines.append(f"lines = {options.lines}")
        lines.append(f"[venues.{venue}.options]")
        lines += [f'"{name}" = "{value}"' for name, value in wanted.options.items()]
    return "\n".join(lines) + "\n"


def _all_up(directory: Path) -> tuple[int, int]:
    """Streams that are active, and streams that the daemon wants; (0, 1) before it knows."""
    try:
        readers = collect(directory)["readers"]
    except FeeddError:
        return 0, 1
    # Every reader has something to do here; one that has not begun yet shows no connections.
    if not all(reader["alive"] and reader["connections"] for reader in readers):
        return 0, 1
    lines = [line for reader in readers for line in reader["connections"]]
    active = sum(line["topics_active"] for line in lines if line["state"] == "up")
    return active, sum(line["topics"] for line in lines)


def _wait_subscribed(daemon: subprocess.Popen[bytes], places: _Places) -> None:
    """Until every stream is acknowledged; StartError with the daemon's words otherwise."""
    deadline = clock.monotonic_ns() + int(_SUBSCRIBE_S * clock.SECOND_NS)
    while True:
        check(daemon, "the daemon", places.log("daemon"))
        have, due = _all_up(places.shm)
        if have >= due:
            return
        if clock.monotonic_ns() > deadline:
            tail = places.log("daemon").read_text(errors="replace").strip()[-2000:]
            raise StartError(
                f"the daemon subscribed {have} of {due} streams in {_SUBSCRIBE_S:.0f} s:\n{tail}"
            )
        clock.sleep(_POLL_S)


def _later(fault: str) -> bool:
    """A fault that would keep the daemon from ever being complete: armed when the market starts."""
    return fault.startswith("kill")


def _resume(sim: SimHandle, options: Options) -> None:
    """Start the market."""
    later = [fault for fault in options.faults if _later(fault)]
    if later:
        sim.control("fault", {"fault": later})
    sim.control("resume")


@contextlib.contextmanager
def _running(
    options: Options, consumer_arguments: list[str], *, quiet: bool, journal: bool
) -> Iterator[tuple[SimHandle, subprocess.Popen[bytes], subprocess.Popen[bytes], _Places]]:
    """Simulator (held), daemon and consumer, all started, everything subscribed."""
    with _orderly_signals(), _places() as places:
        recording = places.files / "recording"
        recording.mkdir()
        sim_directory = places.files / "sim"
        sim_directory.mkdir()
        more: dict[str, object] = {} if journal else {"journal": os.devnull}
        sim = start_sim(
            sim_directory,
            venues=",".join(options.venues),
            seed=options.seed,
            rate=options.rate,
            fault=[fault for fault in options.faults if not _later(fault)],
            hold=True,
            **more,
        )
        with sim as handle:
            config = places.files / "feedd.toml"
            config.write_text(config_text(handle, places, options, every=not options.reload))
            arguments = ["feedd", "run", "-c", str(config)]
            with child(arguments, places.log("daemon")) as daemon:
                # The consumer ends before the daemon: the screen never shows a dying feed.
                shown = subprocess.PIPE if quiet else None
                with _consumer(consumer_arguments, places, shown) as consumer:
                    _wait_subscribed(daemon, places)
                    yield handle, daemon, consumer, places


@contextlib.contextmanager
def _consumer(
    arguments: list[str], places: _Places, stdout: int | None
) -> Iterator[subprocess.Popen[bytes]]:
    where = ["--directory", str(places.shm)]
    if "--screen" not in arguments:
        where += ["--record", str(places.files / "recording")]
    command = ["feedd.demo.consumer", *where, *arguments]
    out = os.dup(1) if stdout is None else stdout
    try:
        with child(command, places.log("consumer"), stdout=out) as consumer:
            if consumer.stdout is not None and consumer.stdout.readline() != b"attached\n":
                consumer.wait(10)
                check(consumer, "the consumer", places.log("consumer"))
            yield consumer
    finally:
        if stdout is None:
            os.close(out)


def _roll(directory: Path) -> None:
    """``feedd ctl restart --all``. Raises ``StartError`` when a reader had to be interrupted."""
    with ControlClient(directory) as client:
        for reader in client.ask("status")["readers"]:
            done = client.ask("restart", reader=reader["reader"])
            if done["interrupted"] or not done["done"]:
                raise StartError(f"reader {reader['reader']} was not replaced: {done}")


def measure(seconds: float, options: Options) -> Result:
    """Run for ``seconds``, stop the venue, drain, and compare with the journal."""
    with _running(options, [], quiet=True, journal=True) as (sim, daemon, consumer, places):
        _resume(sim, options)
        clock.sleep(seconds / 2)
        if options.reload:
            (places.files / "feedd.toml").write_text(config_text(sim, places, options))
            with ControlClient(places.shm) as client:
                client.ask("reload")
            _wait_subscribed(daemon, places)
        if options.roll:
            _roll(places.shm)
        clock.sleep(seconds / 2)
        sim.control("stop")
        check(daemon, "the daemon", places.log("daemon"))
        if consumer.stdin is not None:
            consumer.stdin.close()
        try:
            consumer.wait(_DRAIN_MAX_S)
        except subprocess.TimeoutExpired:
            raise StartError(
                f"the consumer still received data {_DRAIN_MAX_S:.0f} s after the venue stopped"
            ) from None
        if consumer.returncode:
            check(consumer, "the consumer", places.log("consumer"))
        end(daemon, 10.0)
        journal = read_journal(read_rows(sim.journal_path))
        names = {f"{venue}:{s}" for venue in options.venues for s in _instruments(sim, venue)}
        journal.final_books = {k: b for k, b in journal.final_books.items() if k in names}
        recording = load(places.files / "recording")
    result = compare(journal, recording.events, recording.books, recording.shared)
    result.ended = journal.ended
    if not journal.complete:
        result.wrong += 1
        result.note("wrong: the journal has no end: the simulated venue did not stop cleanly")
    if recording.ring_lost:
        result.note(f"note: the consumer was overtaken and lost {recording.ring_lost} ring records")
    return result


def report(seconds: float, result: Result) -> dict[str, Any]:
    """The JSON object of ``feedd demo --json``; latencies in ns, 0 when nothing arrived."""
    latency = np.array(result.latency_ns or [0])
    p50, p99, p999 = np.percentile(latency, [50, 99, 99.9]).astype(int).tolist()
    return {
        "seconds": seconds,
        "records": dict(sorted(result.records.items())),
        "venues": {name: dict(sorted(k.items())) for name, k in sorted(result.venues.items())},
        "total": result.total,
        "lost": result.lost,
        "wrong": result.wrong,
        "duplicates": result.duplicates,
        "gaps": result.gaps,
        "overtaken": result.overtaken,
        "ended": result.ended,
        "latency_ns": {"p50": p50, "p99": p99, "p999": p999},
    }


def show(options: Options, seconds: float | None) -> list[str]:
    """The live screen until Ctrl-C, or for ``seconds``; what the screen should not have shown."""
    with _running(options, ["--screen"], quiet=False, journal=False) as running:
        sim, daemon, consumer, places = running
        _resume(sim, options)
        deadline = None if seconds is None else clock.monotonic_ns() + int(seconds * 1e9)
        with contextlib.suppress(KeyboardInterrupt):
            while deadline is None or clock.monotonic_ns() < deadline:
                check(daemon, "the daemon", places.log("daemon"))
                check(consumer, "the consumer", places.log("consumer"))
                clock.sleep(_POLL_S)
        if consumer.stdin is not None:
            consumer.stdin.close()
        status = consumer.wait(_DRAIN_MAX_S)
        if status & ~(SCREEN_GAPS | SCREEN_LOST):
            check(consumer, "the consumer", places.log("consumer"))
        failed = ["ring records lost"] if status & SCREEN_LOST else []
        return [*failed, "gaps"] if status & SCREEN_GAPS and not options.faults else failed
