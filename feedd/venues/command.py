"""``feedd venues``: which venues there are, and what is wrong with a venue file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from feedd import venues
from feedd.errors import Exit
from feedd.venues.lint import lint

__all__ = ["group"]


@click.group("venues")
def group() -> None:
    """Venue descriptions: list them, check files."""


@group.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON array on stdout.")
def list_command(as_json: bool) -> None:
    """The venues and their channels; of your own files also the path."""
    loaded = [(venues.load(name), venues.own_path(name)) for name in venues.names()]
    if as_json:
        rows = [
            {
                "name": venue.name,
                "title": venue.title,
                "channels": list(venue.channels),
                "file": str(own or venues.builtin_path(venue.name)),
            }
            for venue, own in loaded
        ]
        click.echo(json.dumps(rows))
        return
    for venue, own in loaded:
        title = venue.title if own is None else f"{venue.title} ({own})"
        click.echo(f"{venue.name:<24} {title}: {', '.join(venue.channels)}")


@group.command("lint")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON array of problems on stdout.")
def lint_command(files: tuple[Path, ...], as_json: bool) -> None:
    """Tell every mistake of venue FILES; exit status 78 when there is one."""
    problems = [problem for file in files for problem in lint(file)]
    if as_json:
        rows = [
            {"file": p.file, "line": p.line, "key": p.key, "message": p.message} for p in problems
        ]
        click.echo(json.dumps(rows))
    else:
        for problem in problems:
            click.echo(str(problem))
        if not problems:
            click.echo(f"{len(files)} file{'s' * (len(files) != 1)}: no mistakes")
    if problems:
        sys.exit(Exit.CONFIG)
