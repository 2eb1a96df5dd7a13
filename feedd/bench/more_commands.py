"""The commands beside ``feedd bench decode``: forms, ring, wire, scale, start."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click
import orjson

from feedd.bench.tables import forms_table, ring_table, scale_table, start_table, wire_table
from feedd.errors import FeeddError

__all__ = ["forms", "ring", "scale", "start", "wire"]

as_json = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object instead of a table."
)


def say(
    measure: Callable[[], dict[str, Any]], table: Callable[[dict[str, Any]], str], json: bool
) -> None:
    """Measure and print; what cannot be measured is a message and status 2."""
    try:
        result = measure()
    except (FeeddError, OSError) as error:
        click.echo(f"feedd bench: {error}", err=True)
        sys.exit(2)
    click.echo(orjson.dumps(result).decode() if json else table(result))


@click.command()
@click.option("--rounds", type=click.IntRange(1, 1000), default=5, show_default=True)
@click.option("--messages", type=click.IntRange(500, 10**6), default=20_000, show_default=True)
@as_json
def forms(rounds: int, messages: int, as_json: bool) -> None:
    """A change of a busy book as several venues write it: ns per message and per byte."""
    from feedd.bench import forms as bench

    say(lambda: bench.run(rounds, messages), forms_table, as_json)


@click.command()
@click.option("--rounds", type=click.IntRange(1, 1000), default=7, show_default=True)
@click.option("--messages", type=click.IntRange(20, 10**6), default=10_000, show_default=True)
@click.option("--records", type=click.IntRange(1_000, 10**9), default=2_000_000, show_default=True)
@as_json
def ring(rounds: int, messages: int, records: int, as_json: bool) -> None:
    """Writer to consumer through the ring, in Python and C, beside a minimal ring in C.

    A round paces MESSAGES records and pours RECORDS, per consumer.
    """
    from feedd.bench import ring as bench

    say(lambda: bench.run(rounds, messages, records), ring_table, as_json)


@click.command()
@click.option("--rounds", type=click.IntRange(1, 1000), default=5, show_default=True)
@click.option("--messages", type=click.IntRange(20, 10**6), default=10_000, show_default=True)
@click.option("--burst", type=click.IntRange(100, 10**6), default=100_000, show_default=True)
@click.option("--tls/--no-tls", default=True, help="Measure encrypted connections as well.")
@as_json
def wire(rounds: int, messages: int, burst: int, tls: bool, as_json: bool) -> None:
    """From a venue's send to a consumer that has the record, beside bare picows listeners."""
    from feedd.bench import wire as bench

    say(lambda: bench.run(rounds, messages, burst, tls), wire_table, as_json)


@click.command()
@click.option("--rounds", type=click.IntRange(1, 1000), default=5, show_default=True)
@click.option("--messages", type=click.IntRange(500, 10**6), default=20_000, show_default=True)
@click.option(
    "--instruments", type=click.IntRange(10, 100_000), default=4_000, help="The most of them."
)
@as_json
def scale(rounds: int, messages: int, instruments: int, as_json: bool) -> None:
    """Cost of a message in one reader by instruments, levels and connections, and its memory."""
    from feedd.bench import scale as bench

    sizes = [n for n in bench.INSTRUMENTS if n < instruments] + [instruments]
    say(lambda: bench.run(rounds, messages, sizes), scale_table, as_json)


@click.command()
@click.option("--rounds", type=click.IntRange(1, 1000), default=7, show_default=True)
@as_json
def start(rounds: int, as_json: bool) -> None:
    """Import time of a consumer; a daemon on the simulated exchange until it is ready."""
    from feedd.bench import start as bench

    say(lambda: bench.run(rounds), start_table, as_json)
