"""``feedd demo``: the command."""

from __future__ import annotations

import json
import sys
from typing import NoReturn

import click

__all__ = ["demo"]


@click.command("demo")
@click.option("--seconds", type=click.FloatRange(min=0.1), help="End after so many seconds.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="No screen: compare with the venue's journal, print one JSON object.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=1),
    default=5_000.0,
    show_default=True,
    help="Events per second of the simulated market.",
)
@click.option("--seed", default=1, show_default=True, help="Seed of the simulated market.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    help="A fault of the simulated venue, for example drop,stream=quote.BTC-PERPETUAL,nth=20 "
    "(see feedd sim --help); repeatable.",
)
@click.option(
    "--venues",
    default="",
    help="Venues with commas between, for example okx,bybit_linear, or all; default: three.",
)
@click.option(
    "--lines",
    type=click.IntRange(1, 4),
    default=1,
    show_default=True,
    help="Connections that carry each stream.",
)
@click.option(
    "--reload",
    is_flag=True,
    help="With --json: take one more instrument of each venue in, in the middle of it.",
)
@click.option(
    "--roll", is_flag=True, help="With --json: replace every reader process in the middle of it."
)
def demo(
    seconds: float | None,
    as_json: bool,
    rate: float,
    seed: int,
    faults: tuple[str, ...],
    venues: str,
    lines: int,
    reload: bool,
    roll: bool,
) -> None:
    """Run everything on this machine, without a network: simulated venues (real WebSocket,
    real TLS), the daemon with two readers, and a consumer that shows what arrives.

    With --json (10 seconds unless --seconds says otherwise) the consumer's records are compared
    with what the venue says it sent, field by field. The exit status is 1, and stderr says why,
    when anything is lost, wrong or doubled, or when there was a gap and no --fault was asked for.
    The screen ends with 1 after such a gap, or when this consumer lost records of a ring.
    """
    from feedd.demo import channels, run  # load the simulator's client: only when it is used
    from feedd.errors import StartError

    try:
        chosen = channels.known_venues(venues)
    except StartError as error:
        raise click.UsageError(str(error)) from None
    if (roll or reload) and not as_json:
        raise click.UsageError("--reload and --roll compare what arrived: they go with --json")
    options = run.Options(
        rate=rate,
        seed=seed,
        faults=faults,
        venues=chosen,
        lines=lines,
        reload=reload,
        roll=roll,
    )
    try:
        if not as_json:
            _verdict(run.show(options, seconds))
        duration = 10.0 if seconds is None else seconds
        result = run.measure(duration, options)
    except KeyboardInterrupt:
        click.echo("", err=True)
        sys.exit(0 if not as_json else 130)
    for line in result.details:
        click.echo(line, err=True)
    click.echo(json.dumps(run.report(duration, result)))
    _verdict(result.failed(faults=bool(faults)))


def _verdict(failed: list[str]) -> NoReturn:
    if failed:
        click.echo(f"feedd demo failed: {', '.join(failed)}; expected none", err=True)
    sys.exit(1 if failed else 0)
