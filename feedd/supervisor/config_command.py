"""``feedd config``: check, show, explain, diff. Nothing here needs a running daemon but ``diff``
with one file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import msgspec
import orjson
from click.shell_completion import CompletionItem

from feedd.client.attach import usual_directory
from feedd.control.options import AS_JSON, CONFIG, CONFIG_FILE, DIRECTORY
from feedd.errors import Exit
from feedd.supervisor.config import Config, load_config

__all__ = ["config"]


@click.group()
def config() -> None:
    """Look at configurations: check, show, explain, compare."""


@config.command()
@CONFIG
def check(path: Path) -> None:
    """List every mistake of a configuration; exit with 78 when there is one."""
    loaded = load_config(path)
    click.echo(f"{path}: no mistakes found ({', '.join(loaded.venues)})")


@config.command()
@CONFIG
@AS_JSON
def show(path: Path, as_json: bool) -> None:
    """What a configuration means with all defaults filled in, as TOML."""
    from feedd.supervisor.reload import toml

    loaded = load_config(path)
    if as_json:
        data = msgspec.to_builtins(loaded)
        click.echo(orjson.dumps(data, option=orjson.OPT_INDENT_2).decode())
    else:
        click.echo(toml(loaded), nl=False)


def _names(_: click.Context, __: click.Parameter, start: str) -> list[CompletionItem]:
    from feedd.supervisor.config_docs import keys

    return [CompletionItem(key.name) for key in keys() if key.name.startswith(start)]


@config.command()
@click.argument("key", required=False, shell_complete=_names)
@click.option("--markdown", "as_markdown", is_flag=True, help="All keys (docs/configuration.md).")
def explain(key: str | None, as_markdown: bool) -> None:
    """What KEY means: its values, its default, and what a reload does. Without KEY: the tables.

    KEY is a key ("readers.cores", "cores"), a table ("zmq") or a venue's ("venues.deribit.depth").
    """
    from feedd.supervisor import config_docs

    if as_markdown:
        click.echo(config_docs.markdown(), nl=False)
        return
    everything = config_docs.keys()
    found = [k for k in everything if k.effect is None] if key is None else config_docs.explain(key)
    if not found:
        import difflib

        close = difflib.get_close_matches(str(key), [k.name for k in everything], n=3, cutoff=0.4)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        click.echo(f"there is no key {key!r}{hint}", err=True)
        sys.exit(Exit.USAGE)
    for entry in found:
        if entry.effect is None:
            click.echo(f"[{entry.name}]\n    {entry.text}")
        else:
            reload = {
                "live": "taken over by a reload",
                "readers": "taken over by a reload, which replaces the readers",
                "restart": "needs a restart",
            }[entry.effect]
            click.echo(
                f"{entry.name}\n    {_flow(entry.text)}\n"
                f"    {entry.form}; default {entry.default}; {reload}"
            )


def _flow(text: str) -> str:
    return text.replace("\n", " ").replace("``", "")


@config.command()
@click.argument("files", nargs=-1, required=True, type=CONFIG_FILE)
@DIRECTORY
@AS_JSON
def diff(files: tuple[Path, ...], directory: Path | None, as_json: bool) -> None:
    """What differs between two configurations, or between the running daemon and one file.

    FILES: [OLD] NEW; without OLD the running daemon is asked. Exit status 1 when some of it needs a
    restart, so that a reload would be refused; else 0.
    """
    from feedd.supervisor.reload import Effect, changes

    if len(files) > 2:
        raise click.UsageError("at most two files: OLD and NEW")
    new = load_config(files[-1])
    old = load_config(files[0]) if len(files) == 2 else _running(directory)
    found = changes(old, new)
    refused = any(change.effect is Effect.RESTART for change in found)
    if as_json:
        rows = [{"key": c.key, "old": c.old, "new": c.new, "reload": c.effect.value} for c in found]
        click.echo(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
    else:
        for change in found:
            click.echo(f"{change.effect.value:<8} {change}")
        if not found:
            click.echo("nothing differs")
        elif refused:
            click.echo("a reload would be refused: some of this needs a restart")
        else:
            click.echo("a reload takes this over without touching a stream")
    sys.exit(Exit.UNHEALTHY if refused else Exit.OK)


def _running(directory: Path | None) -> Config:
    from feedd.control.client import ControlClient

    with ControlClient(usual_directory(directory)) as client:
        answer: dict[str, Any] = client.ask("config")
    return msgspec.convert(answer["config"], Config)
