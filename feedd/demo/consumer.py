"""The demo's consumer: a process of its own that uses nothing but ``import feedd``.

It reads everything from the start of the rings, shows a screen or writes a recording, and ends
when its standard input ends: then it reads on until ``DRAIN_S`` seconds without data.
"""

from __future__ import annotations

import select
import sys
from pathlib import Path

import click

import feedd
from feedd import clock
from feedd.demo.recording import Recorder
from feedd.demo.screen import Screen
from feedd.records import Kind

__all__ = ["DRAIN_S", "SCREEN_GAPS", "SCREEN_LOST", "main"]

DRAIN_S = 2.0
SCREEN_GAPS = 16
SCREEN_LOST = 32
"""Bits of the exit status of ``--screen``: gaps were declared, ring records were lost."""
_ATTACH_S = 30.0
_REDRAW_NS = clock.SECOND_NS // 2


def _stdin_ended() -> bool:
    return bool(select.select([sys.stdin], [], [], 0)[0]) and not sys.stdin.read(1)


def _names(feed: feedd.Feed) -> dict[int, str]:
    return {row: name.decode() for row, name in enumerate(feed.instruments.array["name"].tolist())}


def _books(feed: feedd.Feed) -> dict[str, feedd.BookSnapshot]:
    """Every level of every shared book, as another late consumer would see it."""
    books: dict[str, feedd.BookSnapshot] = {}
    for instrument in feed.instruments:
        if instrument.reader >= 0 and instrument.row >= 0:
            book = feed.book(instrument.name, depth=None)
            books[instrument.name] = book.refresh()
            book.close()
    return books


def consume(feed: feedd.Feed, recorder: Recorder | None, screen: Screen | None) -> None:
    """Read until stdin has ended and no data came for ``DRAIN_S``."""
    ending = False
    data_ns = drawn_ns = clock.monotonic_ns()
    with feed.stream(start="oldest", timeout=0.1) as stream:
        for batch in stream:
            now = clock.monotonic_ns()
            if len(batch) and (batch.records["kind"] != Kind.STATUS).any():
                data_ns = now
            if recorder is not None and (len(batch) or batch.lost):
                recorder.add(batch)
            if screen is not None:
                screen.add(batch)
                if now - drawn_ns >= _REDRAW_NS:
                    drawn_ns = now
                    screen.draw()
            ending = ending or _stdin_ended()
            if ending and (recorder is None or now - data_ns >= DRAIN_S * clock.SECOND_NS):
                break


@click.command()
@click.option("--directory", required=True, help="The daemon's shared memory.")
@click.option("--record", type=click.Path(path_type=Path), help="Write a recording into here.")
@click.option("--screen/--no-screen", default=False, help="Show what arrives.")
def main(directory: str, record: Path | None, screen: bool) -> None:
    feed = feedd.attach(directory, timeout=_ATTACH_S)
    recorder = None if record is None else Recorder(record)
    sys.stdout.write("" if screen else "attached\n")
    sys.stdout.flush()
    shown = Screen(feed, sys.stdout) if screen else None
    try:
        consume(feed, recorder, shown)
    except KeyboardInterrupt:
        return
    if shown is not None:
        sys.exit((SCREEN_GAPS if shown.gaps else 0) | (SCREEN_LOST if shown.lost else 0))
    if recorder is not None:
        recorder.finish(_names(feed), _books(feed))
    feed.close()


if __name__ == "__main__":
    main()
