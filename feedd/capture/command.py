"""``feedd decode``: captures in, normalised records out as JSON lines."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import orjson

from feedd import venues
from feedd.capture.decode import CaptureDecoder
from feedd.errors import FeeddError

__all__ = ["decode"]

FLUSH_BYTES = 1 << 16


@click.command("decode")
@click.option(
    "--venue", "venue_name", required=True, metavar="VENUE", help="Venue of the captures."
)
@click.option(
    "--books", is_flag=True, help="At the end, one line with the full book of each instrument."
)
@click.option(
    "--instruments",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File of REST rows with the venue's reference data.",
)
@click.argument(
    "captures",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="CAPTURE...",
)
def decode(
    venue_name: str, books: bool, instruments: Path | None, captures: tuple[Path, ...]
) -> None:
    """Decode captures of one venue: one JSON object per record on standard output.

    Several captures are one session, in the order given. Statistics and what went wrong go to
    standard error. The exit status is 0 when every capture was read to its end; bad frames are
    counted, not fatal. Of a file that is cut off comes what is before the cut, and status 65.
    """
    try:
        venue = venues.load(venue_name)
    except FeeddError as exc:
        raise click.UsageError(str(exc)) from exc
    decoder = CaptureDecoder(venue)
    out = sys.stdout.buffer
    pending: list[bytes] = []
    try:
        if instruments is not None:
            click.echo(f"instruments: {decoder.load_instruments(instruments)}", err=True)
        size = 0
        for event in decoder.events(captures):
            pending.append(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE))
            size += len(pending[-1])
            if size > FLUSH_BYTES:
                out.write(b"".join(pending))
                pending.clear()
                size = 0
        out.write(b"".join(pending))
        pending.clear()
        if books:
            for book in decoder.final_books():
                out.write(orjson.dumps(book, option=orjson.OPT_APPEND_NEWLINE))
        out.flush()
    except FeeddError as exc:
        out.write(b"".join(pending))
        out.flush()
        click.echo(f"feedd decode: {exc}", err=True)
        sys.exit(exc.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    for line in decoder.problems[:20] + decoder.bad_frames():
        click.echo(line, err=True)
    click.echo(orjson.dumps(decoder.statistics()).decode(), err=True)
