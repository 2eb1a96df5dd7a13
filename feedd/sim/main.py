"""``feedd sim``: the simulated exchange as a command."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

import click

from feedd.errors import FeeddError
from feedd.sim.config import DEFAULT_RATE, SimConfig
from feedd.sim.instruments import RECORDED

_PR_SET_PDEATHSIG = 1
_HELP = """Run simulated exchanges: Deribit, Binance USD-M futures and Binance spot, or --venues.

A real WebSocket and a real REST server with TLS. It prints one JSON line when it is ready (ws,
rest, ca, instruments, pid) and runs until SIGTERM.

\b
Faults (--fault, or POST /_sim/fault on the REST port):
  drop,stream=btcusdt@depth@100ms,nth=100     lose the 100th message of a stream
  duplicate,venue=deribit,every=50            send each 50th message twice
  reorder,instrument=BTCUSDT,prob=0.01        swap with the stream's next message
  corrupt,mode=utf8,nth=5                     json|utf8|nan|nest|empty|binary; beside=1 adds it
  alter,stream=btcusdt@trade,nth=3            another digit, still valid
  fragment,every=10                           as three WebSocket frames
  mute,conn=2                                 a connection, or stream=..., goes silent
  close,how=rst,nth=1000                      fin|rst|half or a close code such as 1001
  slow,conn=1,delay_ms=200,bytes_per_s=64000
  rest,stream=/api/v3/depth,status=429,retry_after=3,count=2
  kill,every_s=1,redundant=1                  each second a connection that has a double
  drop,every=50,redundant=1                   lost on one line of two only
  rest,stale=1,count=1   rest,delay_ms=500
\b
Which: venue, stream and instrument (shell patterns), conn. Stream !ack: control answers.
When: nth=N, every=N, prob=P, after=N, count=N; none of them: always.
"""


def _die_with_parent() -> None:
    """Have the kernel end this process when its parent dies."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() == 1:
        sys.exit(0)


@click.command("sim", help=_HELP)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, help="WebSocket port; 0 takes a free one.")
@click.option("--rest-port", default=0, help="REST port; 0 takes a free one.")
@click.option("--tls/--no-tls", default=True, help="TLS with a test certificate, or none.")
@click.option(
    "--cert-dir",
    type=click.Path(path_type=Path),
    default=Path("sim-certs"),
    show_default=True,
    help="Where ca.pem goes.",
)
@click.option("--synthetic", is_flag=True, help="The seeded market (the default source).")
@click.option("--venues", default="", help="Names with commas between, or all; default: three.")
@click.option("--seed", default=1, show_default=True, help="Seed of the synthetic market.")
@click.option(
    "--rate",
    default=DEFAULT_RATE,
    show_default=True,
    help="Events per second over all instruments.",
)
@click.option("--epoch-ms", default=0, help="Venue time of the first tick; 0: now.")
@click.option(
    "--capture",
    "captures",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Play this recording instead; repeatable.",
)
@click.option("--venue", type=click.Choice(["", *RECORDED]), default="", help="Of the capture.")
@click.option("--speed", default="1", show_default=True, help="Of the capture: a factor, or max.")
@click.option(
    "--settle-s",
    default=0.5,
    show_default=True,
    help="A capture starts this long after the last subscription.",
)
@click.option("--journal", type=click.Path(path_type=Path), help="Write what was sent to here.")
@click.option("--fault", "faults", multiple=True, help="Arm a fault; repeatable, see above.")
@click.option("--allow-raw", is_flag=True, help="Deribit .raw channels without a login.")
@click.option("--heartbeat-s", default=0.0, help="Shortest Deribit heartbeat; 0: 10 s.")
@click.option("--ping-s", default=0.0, help="Binance ping interval; 0: the venues' own.")
@click.option("--pong-timeout-s", default=0.0, help="Binance pong timeout; 0: the venues' own.")
@click.option("--max-life-s", default=86_400.0, show_default=True, help="Of a Binance connection.")
@click.option("--idle-s", default=0.0, help="A silent connection ends after this; 0: venues' own.")
@click.option("--keepalive-s", default=0.0, help="Of a quiet OKX book; 0: the venue's own.")
@click.option("--notice-s", default=0.0, help="From a notice to the close; 0: the venues' own.")
@click.option("--limits/--no-limits", default=True, help="Enforce the venues' rate limits.")
@click.option("--one-sided", is_flag=True, help="Options lose a book side now and then.")
@click.option("--hold", is_flag=True, help="Start with POST /_sim/resume.")
@click.option("--die-with-parent", is_flag=True, help="End when the parent process ends.")
def sim(synthetic: bool, speed: str, die_with_parent: bool, **options: object) -> None:
    """Command body; the options are the fields of SimConfig."""
    if die_with_parent:
        _die_with_parent()
    if synthetic and options["captures"]:
        raise click.UsageError("--synthetic and --capture exclude each other")
    try:
        factor = 0.0 if speed == "max" else float(speed)
    except ValueError:
        raise click.UsageError(
            f"--speed is a factor such as 1 or 2.5, or max; not {speed!r}"
        ) from None
    if factor < 0 or not float(str(options["rate"])) > 0:
        raise click.UsageError("--speed and --rate must be positive")
    from feedd.sim.venues import choose

    try:
        choose(str(options["venues"]))
    except FeeddError as error:
        raise click.UsageError(str(error)) from error
    config = SimConfig(speed=factor, **options)  # type: ignore[arg-type]
    try:
        run(config)
    except FeeddError as error:
        click.echo(f"feedd sim: {error}", err=True)
        sys.exit(error.exit_code)


def run(config: SimConfig) -> None:
    """Serve in this process until a signal."""
    import uvloop

    import feedd.http  # noqa: F401 - before anybody else imports aiohttp
    from feedd.sim.server import serve

    with (
        contextlib.suppress(KeyboardInterrupt),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(serve(config))
