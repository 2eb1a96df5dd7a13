"""``feedd bench decode``: own speed, each figure beside a floor of the same run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import orjson

from feedd import venues
from feedd.bench import decode as decode_race
from feedd.bench.machine import describe
from feedd.bench.more_commands import forms, ring, scale, start, wire
from feedd.errors import FeeddError

__all__ = ["bench"]


@click.group()
def bench() -> None:
    """Measure feedd on this machine: medians over rounds, beside a floor of the same run."""


for _command in (forms, ring, wire, scale, start):
    bench.add_command(_command)


@bench.command()
@click.option("--venue", required=True, help="Name of a venue, or a venue file.")
@click.option("--rounds", type=click.IntRange(1, 1000), default=11, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@click.argument("captures", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def decode(venue: str, rounds: int, as_json: bool, captures: tuple[Path, ...]) -> None:
    """Decode, and the full path to ring and board, of the frames of CAPTURES."""
    try:
        result = decode_race.race(venues.load(venue), captures, rounds)
    except FeeddError as error:
        click.echo(f"feedd bench: {error}", err=True)
        sys.exit(2)
    result["machine"] = describe()
    click.echo(orjson.dumps(result).decode() if as_json else _table(result))


def _table(result: dict[str, Any]) -> str:
    machine = result["machine"]
    lines = [
        f"{result['venue']}: medians of {result['rounds']} rounds, ns per frame, "
        f"on {machine['cpu']}",
        f"{'kind':<12}{'frames':>8}{'bytes':>9}{'decode':>9}{'full':>9}{'floor':>9}"
        f"{'full/floor':>12}{'least':>9}{'p99':>9}{'ns/byte':>9}",
    ]
    for kind, row in result["kinds"].items():
        floor = row["floor_ns"]
        lines.append(
            f"{kind:<12}{row['frames']:>8}{row['bytes']:>9.0f}{row['decode_ns']:>9.0f}"
            f"{row['full_ns']:>9.0f}{floor if floor is None else round(floor)!s:>9}"
            f"{'' if floor is None else round(row['full_ns'] / floor, 2)!s:>12}"
            f"{row['least_ns']:>9.0f}{row['p99_full_ns']:>9.0f}"
            f"{row['full_ns'] / row['bytes']:>9.2f}"
        )
    return "\n".join(lines)
