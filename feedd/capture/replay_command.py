"""``feedd replay``: a recording as if it happened now, for any consumer."""

from __future__ import annotations

import contextlib
import signal
import sys
from pathlib import Path
from types import FrameType

import click
import orjson

from feedd import venues
from feedd.capture.foreign import ForeignReplay
from feedd.capture.replay import Recorded, Replay, open_recorded
from feedd.capture.stage import Stage
from feedd.clock import SECOND_NS, monotonic_ns, sleep
from feedd.errors import FeeddError
from feedd.limits import RING_SLOTS_DEFAULT, RING_SLOTS_MIN
from feedd.shm.directory import default_directory

__all__ = ["Pace", "replay"]

BEAT_NS = SECOND_NS // 4
BEAT_ROWS = 4_096
"""At full speed the clock is looked at every so many rows."""


class Pace:
    """Waits until a row's time has come, and gives signs of life meanwhile.

    ``speed`` 0 is as fast as it goes. The recording's first row comes at once; where its times go
    back (another recording), the count starts anew.
    """

    def __init__(self, speed: float, stage: Stage) -> None:
        self._speed = speed
        self._stage = stage
        self._first = 0
        self._last = 0
        self._begin = monotonic_ns()
        self._beat_at = 0
        self._rows = 0

    def __call__(self, t: int) -> None:
        self._rows += 1
        if self._speed and t:
            if not self._first or t < self._last - SECOND_NS:
                self._first, self._begin = t, monotonic_ns()
            self._last = t
            due = self._begin + int((t - self._first) / self._speed)
            while (ahead := due - monotonic_ns()) > 0:
                self._beat()
                sleep(min(ahead, BEAT_NS) / SECOND_NS)
            self._beat()
        elif self._rows % BEAT_ROWS == 1:
            self._beat()

    def hold(self) -> None:
        """Signs of life for ever."""
        while True:
            self._beat()
            sleep(BEAT_NS / SECOND_NS)

    def _beat(self) -> None:
        now = monotonic_ns()
        if now - self._beat_at > BEAT_NS:
            self._beat_at = now
            self._stage.beat()


def _speed(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    if value == "max":
        return 0.0
    with contextlib.suppress(ValueError):
        if float(value) > 0:
            return float(value)
    raise click.BadParameter(f'"{value}": a number above 0 or "max"')


def _slots(_ctx: click.Context, _param: click.Parameter, value: int) -> int:
    if value < RING_SLOTS_MIN or value & (value - 1):
        raise click.BadParameter(f"{value}: a power of two of at least {RING_SLOTS_MIN}")
    return value


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("replay")
@click.option("--speed", default="1", callback=_speed, show_default=True,
              help="1: as it was, 10: ten times as fast, max: as fast as it goes.")  # fmt: skip
@click.option("--dir", "directory", type=click.Path(path_type=Path),
              help="Directory of the shared memory [default: instance replay].")  # fmt: skip
@click.option("--ring-slots", default=RING_SLOTS_DEFAULT, callback=_slots, show_default=True,
              help="Slots of each ring; at full speed a slow consumer needs many.")  # fmt: skip
@click.option("--wait", "wait_s", type=click.FloatRange(0, 3600), default=0.0,
              help="Seconds between the start and the first row, to attach.")  # fmt: skip
@click.option("--hold", is_flag=True, help="Stay when all is replayed, until Ctrl-C.")
@click.option("--keep", is_flag=True, help="Leave the shared memory there at the end.")
@click.option("--venue", help="Venue, for captures that feedd did not record.")
@click.option("--instruments", type=_FILE, help="Reference data, as for feedd decode.")
@click.argument("captures", nargs=-1, required=True, type=_FILE, metavar="CAPTURE...")
def replay(
    speed: float,
    directory: Path | None,
    ring_slots: int,
    wait_s: float,
    hold: bool,
    keep: bool,
    venue: str | None,
    instruments: Path | None,
    captures: tuple[Path, ...],
) -> None:
    """Replay recordings into shared memory like the daemon's.

    Consumers attach to the directory as usual: FEEDD_DIR, or feedd.attach(DIRECTORY). Files of the
    recorder (see docs/recording.md) are put in order, each reader has its ring again, ids and
    records are those of the recording. Other captures need --venue and are taken in the order
    given. Statistics go to standard error as JSON. Exit status 1: something is missing in between.
    """
    with contextlib.suppress(KeyboardInterrupt), _orderly():
        whole = _run(
            open_recorded(captures) if venue is None else None,
            captures,
            directory or default_directory("replay"),
            (speed, ring_slots, wait_s, hold, keep),
            venue,
            instruments,
        )
        sys.exit(0 if whole else 1)


@contextlib.contextmanager
def _orderly():  # type: ignore[no-untyped-def]
    """SIGTERM ends like Ctrl-C, so that the shared memory is removed."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _run(
    recorded: Recorded | None,
    captures: tuple[Path, ...],
    directory: Path,
    how: tuple[float, int, float, bool, bool],
    venue: str | None,
    instruments: Path | None,
) -> bool:
    speed, ring_slots, wait_s, hold, keep = how
    if recorded is None and venue is None:
        raise click.UsageError("these captures were not recorded by feedd: say --venue")
    readers = [0] if recorded is None else recorded.readers
    rows = {} if recorded is None else recorded.instruments()
    stage = Stage(directory, readers, ring_slots, rows)
    try:
        pace = Pace(speed, stage)
        if recorded is not None:
            replayed = Replay(recorded, stage)
        click.echo(f"replaying into {directory}", err=True)
        stage.beat()
        deadline = monotonic_ns() + int(wait_s * SECOND_NS)
        while monotonic_ns() < deadline:
            stage.beat()
            sleep(min(0.25, wait_s))
        if recorded is not None:
            for t in replayed.steps():
                pace(t)
            told = {"rows": replayed.rows, "missing": replayed.missing, "unknown_operations":
                    replayed.skipped, "damage": list(replayed.damage)}  # fmt: skip
            whole = not (replayed.missing or replayed.damage or replayed.skipped)
        else:
            told, whole = _foreign(venue or "", captures, instruments, stage, pace)
        stage.beat()
        click.echo(orjson.dumps(told).decode(), err=True)
        if hold:
            pace.hold()
        return whole
    finally:
        stage.close(remove=not keep)


def _foreign(
    name: str, captures: tuple[Path, ...], instruments: Path | None, stage: Stage, pace: Pace
) -> tuple[dict[str, object], bool]:
    try:
        venue = venues.load(name)
    except FeeddError as exc:
        raise click.UsageError(str(exc)) from exc
    decoder = ForeignReplay(venue, stage, pace)
    if instruments is not None:
        decoder.load_instruments(instruments)
    for _ in decoder.events(captures):
        pass
    return {**decoder.statistics(), "problems": decoder.problems[:20]}, not decoder.problems
