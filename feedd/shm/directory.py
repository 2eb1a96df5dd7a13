"""The instance directory: where it lies, who may own it, and the locks inside it."""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import stat
import struct
from pathlib import Path

from feedd.errors import AttachError, LockedError, ShmError

__all__ = [
    "Lock",
    "check_directory",
    "create_directory",
    "default_directory",
    "lock_held",
    "lock_path",
    "segment_path",
    "trusted_owner",
]

# struct flock of 64-bit Linux: type, whence, start, length, pid (0 for open-file-description locks)
_FLOCK = "hhqqi4x"


def default_directory(instance: str = "default") -> Path:
    """Where the daemon puts its segments: ``$RUNTIME_DIRECTORY`` under systemd, else /dev/shm."""
    runtime = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if runtime:
        return Path(runtime)
    return Path(f"/dev/shm/feedd-{os.getuid()}") / instance


def segment_path(directory: Path | str, kind: str, reader: int) -> Path:
    """``reader-<n>.ring``, ``.board`` or ``.books``."""
    return Path(directory) / f"reader-{reader}.{kind}"


def lock_path(directory: Path | str, reader: int | None = None) -> Path:
    """The lock of a reader's segments, or of the whole directory (the supervisor's)."""
    return Path(directory) / ("LOCK" if reader is None else f"LOCK.{reader}")


def trusted_owner(uid: int) -> bool:
    """True for the caller, root and the user ``feedd``."""
    if uid in (0, os.geteuid()):
        return True
    try:
        return uid == pwd.getpwnam("feedd").pw_uid
    except KeyError:
        return False


def check_directory(path: Path | str) -> Path:
    """The directory, when it exists, is owned by somebody trusted and closed to other writers."""
    path = Path(path)
    try:
        info = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        raise AttachError(f"no directory {path}: is the daemon running?") from None
    except OSError as exc:
        raise AttachError(f"cannot look at {path}: {exc.strerror}") from exc
    if not stat.S_ISDIR(info.st_mode):
        raise AttachError(f"{path} is not a directory (a symbolic link is not trusted)")
    if not trusted_owner(info.st_uid):
        raise AttachError(
            f"{path} belongs to uid {info.st_uid}, not to you, root or the user feedd: not trusted"
        )
    if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise AttachError(
            f"{path} can be written by others (mode {stat.S_IMODE(info.st_mode):o}): not trusted; "
            "chmod 0750 it"
        )
    return path


def create_directory(path: Path | str, group: int | None = None) -> Path:
    """Make the directory (0750; with ``group`` setgid) or check the one that is there."""
    path = Path(path)
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if not trusted_owner(os.stat(path.parent).st_uid):
            raise AttachError(
                f"{path.parent} belongs to somebody else (uid {os.stat(path.parent).st_uid}): it "
                "could be exchanged under the daemon; choose another directory"
            )
        try:
            path.mkdir(mode=0o750)
            if group is not None:
                os.chown(path, -1, group)
            os.chmod(path, 0o2750 if group is not None else 0o750)
        except FileExistsError:
            pass
    except OSError as exc:
        raise ShmError(f"cannot create {path}: {exc.strerror}") from exc
    return check_directory(path)


class Lock:
    """An OFD write lock on a file: held until ``close`` or the end of the process, however it ends.

    It is not inherited by processes that are forked and exec'ed (close-on-exec).
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._fd = os.open(self.path, flags, 0o640)
        except OSError as exc:
            raise ShmError(f"cannot open the lock {self.path}: {exc.strerror}") from exc
        try:
            request = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, request)
        except OSError as exc:
            os.close(self._fd)
            self._fd = -1
            if exc.errno in (errno.EAGAIN, errno.EACCES):
                raise LockedError(
                    f"{self.path} is held by another living process: only one may write here; "
                    "stop it first (lslocks shows it)"
                ) from exc
            raise ShmError(f"cannot lock {self.path}: {exc.strerror}") from exc

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def lock_held(path: Path | str) -> bool:
    """True while some process holds the lock; needs only the right to read the file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as exc:
        raise AttachError(f"cannot look at the lock {path}: {exc.strerror}") from exc
    try:
        request = struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, 0, 1, 0)
        answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, request)
        return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)
    finally:
        os.close(fd)
