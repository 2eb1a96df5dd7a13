"""Options of the command line that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["AS_JSON", "CONFIG", "CONFIG_FILE", "DIRECTORY"]

CONFIG_FILE = click.Path(dir_okay=False, path_type=Path)
CONFIG = click.option(
    "-c",
    "--config",
    "path",
    type=CONFIG_FILE,
    required=True,
    envvar="FEEDD_CONFIG",
    show_envvar=True,
    help="Configuration file (TOML).",
)
DIRECTORY = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    envvar="FEEDD_DIR",
    show_envvar=True,
    help="Directory of the instance. Default: /run/feedd, else your own default instance.",
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="The answer as JSON.")
