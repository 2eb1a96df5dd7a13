"""``feedd ctl``: the commands of the control socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import orjson
from click.shell_completion import CompletionItem

from feedd.client.attach import usual_directory
from feedd.control.client import ControlClient
from feedd.control.options import AS_JSON, DIRECTORY
from feedd.errors import ShmError
from feedd.shm.instruments import InstrumentsReader

__all__ = ["ctl"]

COMPLETIONS_MAX = 200


def _of(ctx: click.Context) -> Path | None:
    while ctx.parent is not None and "directory" not in ctx.params:
        ctx = ctx.parent
    found: Path | None = ctx.params.get("directory")
    return found


def _instruments(ctx: click.Context, _: click.Parameter, start: str) -> list[CompletionItem]:
    """Names of the daemon that would be asked, from shared memory."""
    try:
        table = InstrumentsReader(usual_directory(_of(ctx)))
    except ShmError:
        return []
    try:
        names = [bytes(name).decode() for name in table.array["name"]]
    finally:
        table.close()
    fitting = [name for name in names if name.startswith(start)]
    return [CompletionItem(name) for name in fitting[:COMPLETIONS_MAX]]


@click.group()
@DIRECTORY
@AS_JSON
@click.pass_context
def ctl(ctx: click.Context, directory: Path | None, as_json: bool) -> None:
    """Tell a running daemon what to do. Exit status 1: it was refused or failed."""
    ctx.obj = (directory, as_json)


def _ask(ctx: click.Context, do: str, **args: Any) -> Any:
    directory, as_json = ctx.obj
    with ControlClient(usual_directory(directory)) as client:
        result = client.ask(do, **args)
    if as_json:
        click.echo(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode())
    return None if as_json else result


@ctl.command()
@click.pass_context
def status(ctx: click.Context) -> None:
    """Processes, connections and limits as the supervisor sees them."""
    found = _ask(ctx, "status")
    if found is None:
        return
    ready = "ready" if found["ready"] else "starting"
    click.echo(
        f"feedd {found['version']}, pid {found['pid']}, {ready}, up {found['uptime_s']:.0f} s, "
        f"log level {found['log_level']}, {found['directory']}"
    )
    for reader in found["readers"]:
        core = "not pinned" if reader["core"] is None else f"core {reader['core']}"
        last = f", last end: {reader['last_exit']}" if reader["last_exit"] else ""
        click.echo(
            f"reader {reader['reader']}: {reader['state']}, pid {reader['pid']}, {core}, "
            f"{reader['restarts']} restarts{last}"
        )
        for line in reader["lines"]:
            click.echo(
                f"  line {line['line']}: {line['venue']} ({line['endpoint']}), "
                f"{line['streams']} streams"
            )
    for name, row in found["processes"].items():
        click.echo(
            f"{name}: cpu {row['cpu_user_s'] + row['cpu_system_s']:.1f} s, "
            f"{row['rss_bytes'] / 2**20:.0f} MiB, {row['open_fds']} files, "
            f"{row['threads']} threads, switches {row['switches_voluntary']} voluntary, "
            f"{row['switches_involuntary']} not"
        )
    for name, row in found["venues"].items():
        click.echo(
            f"{name}: {row['rest_requests']} REST requests, {row['rest_failures']} failed, "
            f"{row['permits_waiting']} connections wait for a permit"
        )


@ctl.command()
@click.argument("instrument", shell_complete=_instruments)
@click.option("--depth", type=click.IntRange(1, 32), default=10, show_default=True)
@click.pass_context
def snapshot(ctx: click.Context, instrument: str, depth: int) -> None:
    """Latest values and best levels of one INSTRUMENT (venue:SYMBOL), as JSON."""
    found = _ask(ctx, "snapshot", instrument=instrument, depth=depth)
    if found is not None:
        click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())


@ctl.command()
@click.pass_context
def config(ctx: click.Context) -> None:
    """The configuration in force, defaults included, as JSON."""
    found = _ask(ctx, "config")
    if found is not None:
        click.echo(orjson.dumps(found["config"], option=orjson.OPT_INDENT_2).decode())


@ctl.command()
@click.option("--dry-run", is_flag=True, help="Only say what would change, or why not.")
@click.pass_context
def reload(ctx: click.Context, dry_run: bool) -> None:
    """Take over the changed configuration file without touching streams: all of it, or nothing.

    Ends with 1 and every reason when the daemon stays as it was.
    """
    found = _ask(ctx, "reload", dry_run=dry_run)
    if found is None:
        return
    for change in found["changes"]:
        old, new = (orjson.dumps(change[key]).decode() for key in ("old", "new"))
        click.echo(f"{change['key']}: {old} -> {new}")
    if not found["changes"]:
        click.echo("nothing changed")
    elif found["applied"]:
        click.echo(f"reloaded, generation {found['generation']}")
    else:
        click.echo("a reload would be accepted")


@ctl.command("log-level")
@click.argument("level", type=click.Choice(["debug", "info", "warning", "error"]))
@click.pass_context
def log_level(ctx: click.Context, level: str) -> None:
    """Set the log LEVEL of all processes until the next start or reload."""
    if _ask(ctx, "log-level", level=level):
        click.echo(f"log level {level}")


@ctl.command()
@click.argument("instrument", shell_complete=_instruments)
@click.pass_context
def resync(ctx: click.Context, instrument: str) -> None:
    """Start the book of INSTRUMENT anew from a fresh snapshot; declares a gap."""
    found = _ask(ctx, "resync", instrument=instrument)
    if found is not None:
        click.echo(f"{instrument}: reader {found['reader']} was asked to start its book anew")


@ctl.command()
@click.argument("instrument")
@click.pass_context
def subscribe(ctx: click.Context, instrument: str) -> None:
    """Take INSTRUMENT in while everything else goes on.

    It stays until the next restart, or a reload that changes the venue's instruments: write it into
    the configuration to keep it.
    """
    found = _ask(ctx, "subscribe", instrument=instrument)
    if found is not None:
        word = "subscribed on" if found["changed"] else "is subscribed already, on"
        click.echo(f"{instrument}: {word} reader {found['reader']}")


@ctl.command()
@click.argument("instrument", shell_complete=_instruments)
@click.pass_context
def unsubscribe(ctx: click.Context, instrument: str) -> None:
    """Leave INSTRUMENT; the others go on."""
    if _ask(ctx, "unsubscribe", instrument=instrument):
        click.echo(f"{instrument}: left")


@ctl.command()
@click.argument("readers", type=click.IntRange(0), nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every reader, one after the other.")
@click.option("--at-once", is_flag=True, help="Do not get the next process ready first.")
@click.pass_context
def restart(ctx: click.Context, readers: tuple[int, ...], every: bool, at_once: bool) -> None:
    """Replace the processes of READERS, one after the other.

    The next process gets ready beside the running one and goes on behind its last record: nothing
    is lost. Where that is not possible (the answer says why) the running one ends first, and its
    streams are interrupted.
    """
    if every == bool(readers):
        raise click.UsageError("name readers, or say --all")
    if every:
        with ControlClient(usual_directory(ctx.obj[0])) as client:
            readers = tuple(row["reader"] for row in client.ask("status")["readers"])
    for reader in readers:
        found = _ask(ctx, "restart", reader=reader, at_once=at_once)
        if found is None:
            continue
        how = f"interrupted: {found['interrupted']}" if found["interrupted"] else "no interruption"
        if not found["done"]:
            how = "the next process is not ready yet: it takes over as soon as it is"
        click.echo(f"reader {reader}: pid {found['pid']}, {how}")


@ctl.command()
@click.argument("reader", type=click.IntRange(0))
@click.argument("line", type=click.IntRange(0))
@click.pass_context
def rotate(ctx: click.Context, reader: int, line: int) -> None:
    """Close LINE of READER in order and open it again."""
    if _ask(ctx, "rotate", reader=reader, line=line):
        click.echo(f"reader {reader} line {line}: closing, then opening again")
