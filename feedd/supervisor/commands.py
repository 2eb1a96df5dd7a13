"""The daemon's commands: ``run``, ``record``, ``status``, ``records``, ``metrics``. Thin."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from feedd.control.options import CONFIG, CONFIG_FILE, DIRECTORY
from feedd.errors import ConfigError, Exit, StartError
from feedd.supervisor.early import EarlyReaders

if TYPE_CHECKING:
    from feedd.supervisor.config import Config

__all__ = ["metrics", "record", "records", "run", "status"]


@click.command()
@CONFIG
def run(path: Path) -> None:
    """Run the daemon until SIGTERM."""
    with EarlyReaders.of(path) as early:  # what follows takes long to import
        from feedd.supervisor.config import load_config

        result = _run(load_config(path), path, early)
    sys.exit(result)


@click.command()
@CONFIG
@click.option(
    "--to",
    "target",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder of the capture files; one per venue is made in it.",
)
def record(path: Path, target: Path) -> None:
    """Run the daemon until SIGTERM and record what its connections carry.

    The same as `feedd run` with [capture] enabled = true and this directory. See `feedd replay`,
    `feedd export` and `feedd capture verify` for what can be done with the files.
    """
    with EarlyReaders.of(path) as early:
        import msgspec

        from feedd.supervisor.config import load_config

        loaded = load_config(path)
        _writable(target)
        capture = msgspec.structs.replace(
            loaded.capture, enabled=True, directory=str(target.absolute())
        )
        result = _run(msgspec.structs.replace(loaded, capture=capture), None, early)
    sys.exit(result)


def _writable(target: Path) -> None:
    """A daemon goes on without its recording; who asks for one wants to hear of it now."""
    from feedd.capture.files import lock_folder

    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target):
            pass
    except OSError as exc:
        raise StartError(f"--to: cannot write into {target}: {exc.strerror}") from exc
    os.close(lock_folder(target))


def _run(config: Config, path: Path | None, early: EarlyReaders) -> int:
    """Be the daemon, with the log level that the environment asks for; the exit status."""
    import msgspec

    from feedd.logs import setup_logging
    from feedd.supervisor.config import Log

    level = os.environ.get("FEEDD_LOG_LEVEL", "").lower() or config.log.level
    try:
        log = msgspec.convert({"level": level, "format": config.log.format}, Log)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"FEEDD_LOG_LEVEL: {exc}") from exc
    setup_logging(log.level, log.format)
    from feedd.supervisor.run import run_daemon

    return run_daemon(msgspec.structs.replace(config, log=log), path, early)


@click.command()
@click.option("-c", "--config", "path", type=CONFIG_FILE, help="Take the directory from this file.")
@DIRECTORY
@click.option("--json", "as_json", is_flag=True, help="Everything, as one JSON object.")
@click.option("--fail", is_flag=True, help="Exit with 1 unless all is well.")
def status(path: Path | None, directory: Path | None, as_json: bool, fail: bool) -> None:
    """Health of a daemon, from its shared memory; asks no process."""
    import orjson

    from feedd.client.attach import usual_directory
    from feedd.supervisor.config import load_config
    from feedd.supervisor.status import collect, healthy, render

    found = collect(usual_directory(directory) if path is None else load_config(path).instance.path)
    text = orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() if as_json else render(found)
    click.echo(text)
    if fail and not healthy(found):
        sys.exit(Exit.UNHEALTHY)


@click.command()
def records() -> None:
    """Every field of every record with offset, type and meaning, in Markdown (docs/records.md)."""
    from feedd.records_doc import markdown

    click.echo(markdown(), nl=False)


@click.command()
def metrics() -> None:
    """Every metric with type, labels and meaning, in Markdown (docs/metrics.md)."""
    from feedd.metrics.document import markdown

    click.echo(markdown(), nl=False)
