"""Find the daemon's directory and map it, read-only."""

from __future__ import annotations

import os
from pathlib import Path

from feedd import clock
from feedd.client.feed import Feed
from feedd.errors import AttachError, ShmError
from feedd.shm.directory import check_directory

__all__ = ["attach", "candidates", "usual_directory"]

_POLL_S = 0.05


def candidates(directory: str | os.PathLike[str] | None = None) -> tuple[list[Path], list[Path]]:
    """(paths to try, paths left out because a more explicit one was given)."""
    named = os.fspath(directory) if directory is not None else os.environ.get("FEEDD_DIR", "")
    defaults = [Path("/run/feedd"), Path(f"/dev/shm/feedd-{os.getuid()}/default")]
    # Whoever names a directory wants that one: falling back to another daemon's data in silence
    # would be worse than an error.
    return ([Path(named)], defaults) if named else (defaults, [])


def usual_directory(directory: str | os.PathLike[str] | None = None) -> Path:
    """``directory``, else the first of the places that ``attach`` tries that is there.

    Raises ``AttachError`` when nobody names a directory and none is there.
    """
    places, _ = candidates(directory)
    found = next((place for place in places if place.is_dir()), None)
    if found is None and len(places) > 1:
        shown = ", ".join(map(str, places))
        raise AttachError(
            f"no daemon's directory is there ({shown}): start one with `feedd run -c CONFIG`, or "
            "name its directory (FEEDD_DIR)"
        )
    return found or places[0]


def attach(directory: str | os.PathLike[str] | None = None, *, timeout: float = 0.0) -> Feed:
    """Map a running daemon's memory and return its ``Feed``.

    Tried are: ``directory``, else the environment variable FEEDD_DIR, else ``/run/feedd`` (the
    system service) and ``/dev/shm/feedd-<uid>/default`` (your own daemon). A directory that belongs
    to anybody but you, root or the user ``feedd`` is refused. With ``timeout`` (seconds) a daemon
    that is just starting is waited for.

    Raises ``AttachError`` naming each path and what was wrong with it.
    """
    paths, left_out = candidates(directory)
    deadline = clock.monotonic_ns() + int(timeout * clock.SECOND_NS)
    while True:
        problems: list[str] = []
        for path in paths:
            try:
                return Feed(check_directory(path))
            except ShmError as exc:
                problems.append(f"  {path}: {exc}")
        if clock.monotonic_ns() >= deadline:
            break
        clock.sleep(_POLL_S)
    source = "the argument" if directory is not None else "FEEDD_DIR"
    if left_out:
        others = ", ".join(str(path) for path in left_out)
        problems.append(f"  ({others}: not tried, because {source} names a directory)")
    raise AttachError(
        "no feedd daemon to attach to; tried\n"
        + "\n".join(problems)
        + "\nStart one with `feedd run -c CONFIG`, or name its directory: attach(DIRECTORY) or "
        "FEEDD_DIR."
    )
