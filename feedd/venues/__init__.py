"""The venues that feedd speaks to, as data: built-in files and files of the user."""

from __future__ import annotations

import difflib
import os
from functools import lru_cache
from pathlib import Path

from feedd.errors import ConfigError
from feedd.venues.lint import parse_venue
from feedd.venues.schema import Venue

__all__ = ["builtin_path", "load", "names", "own_path"]

_DIRECTORY = Path(__file__).parent
OWN_DIRECTORY = "/etc/feedd/venues"


def _own() -> dict[str, Path]:
    """Files of the user by name: those of FEEDD_VENUES (directories with ``:`` between them), else
    of /etc/feedd/venues. The first of a name counts."""
    found: dict[str, Path] = {}
    for place in os.environ.get("FEEDD_VENUES", OWN_DIRECTORY).split(":"):
        try:
            there = sorted(os.listdir(place)) if place else []
        except OSError:  # there need be none
            continue
        for name in there:
            if name.endswith(".toml"):
                found.setdefault(name.removesuffix(".toml"), Path(place, name))
    return found


def names() -> list[str]:
    """Names of the venues, built-in and the user's, sorted."""
    return sorted({path.stem for path in _DIRECTORY.glob("*.toml")} | set(_own()))


def own_path(name: str) -> Path | None:
    """The user's file of a venue; None where the built-in one counts."""
    return _own().get(name)


def builtin_path(name: str) -> Path:
    """File of a built-in venue. Raises ConfigError for an unknown name."""
    path = _DIRECTORY / f"{name}.toml"
    known = names()
    if name not in known or not path.is_file():
        near = difflib.get_close_matches(name, known, 1)
        hint = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(known)}"
        raise ConfigError(f'no venue "{name}"; {hint} (or give the path of a .toml file)')
    return path


@lru_cache(maxsize=64)
def _load(path: Path, mtime_ns: int, size: int) -> Venue:
    venue, problems = parse_venue(path.read_bytes(), str(path))
    if venue is None:
        raise ConfigError([str(problem) for problem in problems])
    return venue


def load(name_or_path: str | Path) -> Venue:
    """The venue of a name (``"deribit"``) or of a file; cached until the file changes.

    Raises ConfigError with every mistake of the file, or when there is no such venue.
    """
    text = str(name_or_path)
    is_path = isinstance(name_or_path, Path) or "/" in text or text.endswith(".toml")
    own = None if is_path else own_path(text)
    path = Path(text) if is_path else own or builtin_path(text)
    try:
        stat = path.stat()
        venue = _load(path.resolve(), stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    if own is not None and venue.name != text:
        raise ConfigError(f'{path}: name: it says "{venue.name}", and must be "{text}" as the file')
    return venue
