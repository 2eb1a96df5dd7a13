"""The venues that feedd speaks to, as data: built-in files and files of the user."""

from __future__ import annotations

import difflib
from functools import lru_cache
from pathlib import Path

from feedd.errors import ConfigError
from feedd.venues.lint import parse_venue
from feedd.venues.schema import Venue

__all__ = ["builtin_path", "load", "names"]

_DIRECTORY = Path(__file__).parent


def names() -> list[str]:
    """Names of the built-in venues, sorted."""
    return sorted(path.stem for path in _DIRECTORY.glob("*.toml"))


def builtin_path(name: str) -> Path:
    """File of a built-in venue. Raises ConfigError for an unknown name."""
    known = names()
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(known)}"
        raise ConfigError(f'no venue "{name}"; {hint} (or give the path of a .toml file)')
    return _DIRECTORY / f"{name}.toml"


@lru_cache(maxsize=64)
def _load(path: Path, mtime_ns: int, size: int) -> Venue:
    venue, problems = parse_venue(path.read_bytes(), str(path))
    if venue is None:
        raise ConfigError([str(problem) for problem in problems])
    return venue


def load(name_or_path: str | Path) -> Venue:
    """The venue of a built-in name (``"deribit"``) or of a file; cached until the file changes.

    Raises ConfigError with every mistake of the file, or when there is no such venue.
    """
    text = str(name_or_path)
    is_path = isinstance(name_or_path, Path) or "/" in text or text.endswith(".toml")
    path = Path(text) if is_path else builtin_path(text)
    try:
        stat = path.stat()
        return _load(path.resolve(), stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
