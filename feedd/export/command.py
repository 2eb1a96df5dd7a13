"""``feedd export``: follow a daemon and keep its records as Parquet files."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import click
import numpy as np
import orjson

from feedd import clock
from feedd.client.attach import attach
from feedd.errors import Exit, FeeddError
from feedd.logs import setup_logging
from feedd.records import KIND_NAMES, NO_INSTRUMENT

if TYPE_CHECKING:
    from feedd.export.writer import ParquetSink

__all__ = ["export"]

SILENCE_S = 0.5
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
KINDS = sorted({name for name in KIND_NAMES.values() if name != "book_control"})


class _Stop:
    """Set by SIGTERM and SIGINT: complete the files, then end."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, _: int, __: FrameType | None) -> None:
        self.asked = True


@click.command()
@click.argument("root", type=click.Path(file_okay=False, path_type=Path))
@click.argument("captures", nargs=-1, type=_FILE, metavar="[CAPTURE]...")
@click.option("--recorded-venue", help="Venue of captures that feedd did not record.")
@click.option("--instruments", type=_FILE, help="Reference data, for such captures.")
@click.option("--dir", "directory", envvar="FEEDD_DIR", help="Directory of the instance.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Default: all.")
@click.option("--venue", "venues", multiple=True, help="Default: all.")
@click.option(
    "--rotate", default=300.0, show_default=True, help="Seconds until a file is complete."
)
@click.option("--seconds", type=float, help="End after so long; default: at SIGTERM or Ctrl-C.")
@click.option("--oldest", is_flag=True, help="Begin with what the rings still hold.")
@click.option(
    "--compression",
    default="zstd",
    show_default=True,
    type=click.Choice(["zstd", "snappy", "none"]),
)
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout.")
def export(
    root: Path,
    captures: tuple[Path, ...],
    recorded_venue: str | None,
    instruments: Path | None,
    directory: str | None,
    kinds: tuple[str, ...],
    venues: tuple[str, ...],
    rotate: float,
    seconds: float | None,
    oldest: bool,
    compression: str,
    as_json: bool,
) -> None:
    """Keep records as Parquet below ROOT: kind=.../venue=.../date=.../*.parquet.

    With CAPTUREs it decodes those to their end, else it follows a running daemon.

    polars: pl.scan_parquet("ROOT/**/*.parquet", hive_partitioning=True); DuckDB:
    read_parquet('ROOT/**/*.parquet', hive_partitioning = true). It reads the rings like any
    consumer: when it is too slow it loses records, and says how many. Exit status 1 when records
    were lost or could not be written, or when something is missing in the captures.
    """
    if not captures and (recorded_venue or instruments):
        raise click.UsageError("--recorded-venue and --instruments are for captures")
    try:
        from feedd.export.writer import ParquetSink
    except ImportError:
        raise FeeddError("feedd export needs pyarrow: pip install 'feedd[arrow]'") from None
    setup_logging("info", "text")
    stop = _Stop()
    if captures:
        if directory is None and (oldest or seconds is not None):
            raise click.UsageError("--oldest and --seconds are for a running daemon")
        names: dict[int, str] = {}
        sink = ParquetSink(root, names.get, rotate, compression)
        missing = _decode(sink, names, captures, recorded_venue, instruments, kinds, venues, stop)
        sink.close()
        _tell(sink, as_json=as_json, lost=0, missing=missing)
    end = None if seconds is None else clock.monotonic_ns() + int(seconds * clock.SECOND_NS)
    lost = 0
    with attach(directory) as feed:

        def name_of(number: int) -> str | None:
            try:
                return feed.instrument(number).name
            except KeyError:
                return None

        sink = ParquetSink(root, name_of, rotate, compression)
        with feed.stream(
            venues=venues or None,
            kinds=kinds or None,
            start="oldest" if oldest else "newest",
            timeout=SILENCE_S,
        ) as stream:
            for batch in stream:
                now = clock.now_ns()
                lost += batch.lost
                if len(batch):
                    sink.take(batch.records, now)
                sink.rotate(now)
                if stop.asked or (end is not None and clock.monotonic_ns() >= end):
                    break
        sink.close()
    _tell(sink, as_json=as_json, lost=lost)


def _decode(
    sink: ParquetSink,
    names: dict[int, str],
    captures: tuple[Path, ...],
    recorded_venue: str | None,
    instruments: Path | None,
    kinds: tuple[str, ...],
    venues: tuple[str, ...],
    stop: _Stop,
) -> list[str]:
    """All records of the captures; what is missing in them, in words."""
    from feedd.client.stream import kind_codes
    from feedd.export.sources import open_source

    source = open_source(captures, recorded_venue, instruments, names)
    codes = kind_codes(kinds or None)
    for records in source.records:
        kept = np.ones(len(records), dtype=np.bool_)
        if codes is not None:
            kept &= np.isin(records["kind"], sorted(codes))
        if venues:
            ids = [number for number, name in names.items() if name.split(":")[0] in venues]
            kept &= np.isin(records["instrument"], [*ids, NO_INSTRUMENT])
        now = clock.now_ns()
        sink.take(records[kept], now)
        sink.rotate(now)
        if stop.asked:
            return ["ended before the captures were read"]
    return source.missing()


def _tell(
    sink: ParquetSink, *, as_json: bool, lost: int, missing: list[str] | None = None
) -> NoReturn:
    result = {"rows": sink.rows, "lost": lost, "dropped": sink.rows_dropped, "files": sink.files}
    if as_json:
        more = {} if missing is None else {"missing": missing}
        click.echo(orjson.dumps({**result, **more}).decode())
    else:
        click.echo(
            f"{sink.rows:,} rows in {sink.files} files, {lost:,} records lost, "
            f"{sink.rows_dropped:,} rows dropped"
        )
        for words in missing or []:
            click.echo(f"feedd export: {words}", err=True)
    sys.exit(Exit.UNHEALTHY if lost or missing or sink.rows_dropped else Exit.OK)
