"""The ``feedd`` command: thin, every subcommand lives beside what it drives and loads on use."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from importlib import import_module

import click

from feedd.errors import Exit, FeeddError

__all__ = ["main"]

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_COMMANDS = {
    "bench": ("feedd.bench.command", "bench"),
    "capture": ("feedd.capture.capture_command", "capture"),
    "completion": ("feedd.control.completion", "completion"),
    "config": ("feedd.supervisor.config_command", "config"),
    "ctl": ("feedd.control.command", "ctl"),
    "decode": ("feedd.capture.command", "decode"),
    "demo": ("feedd.demo.command", "demo"),
    "export": ("feedd.export.command", "export"),
    "metrics": ("feedd.supervisor.commands", "metrics"),
    "records": ("feedd.supervisor.commands", "records"),
    "record": ("feedd.supervisor.commands", "record"),
    "replay": ("feedd.capture.replay_command", "replay"),
    "run": ("feedd.supervisor.commands", "run"),
    "sim": ("feedd.sim.main", "sim"),
    "status": ("feedd.supervisor.commands", "status"),
    "venues": ("feedd.venues.command", "group"),
}


class LazyGroup(click.Group):
    """Imports a subcommand when it is used: ``feedd status`` needs no network code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), name)
        return command


@click.command("feedd", cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="feedd")
def cli() -> None:
    """Market-data feed handler daemon for crypto venues."""


def main() -> None:
    """Entry point; an error of feedd is a message and an exit status, not a traceback."""
    _open_streams()
    try:
        cli()
    except FeeddError as exc:
        click.echo(f"feedd: {exc}", err=True)
        sys.exit(exc.exit_code)
    except Exception as exc:
        if isinstance(exc, OSError) and exc.errno in _NO_ROOM:
            click.echo(f"feedd: {exc.filename or 'standard output'}: {exc.strerror}", err=True)
            sys.exit(Exit.IO)
        traceback.print_exc()
        sys.exit(Exit.SOFTWARE)
    finally:
        _let_go_of_the_terminal()


def _open_streams() -> None:
    """Who was started without standard streams gets /dev/null, before another file takes their
    place."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def _let_go_of_the_terminal() -> None:
    """A terminal that was closed cannot take the last bytes: that is no failure of the command."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, stream.fileno())
            os.close(devnull)


if __name__ == "__main__":
    main()
