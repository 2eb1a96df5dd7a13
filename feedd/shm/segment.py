"""Segments: files in shared memory that begin with a header page explaining the rest.

A segment is built under a temporary name, allocated in full (so that a full tmpfs is an error here
and never a SIGBUS later), filled in, and renamed to its name: a file that opens is complete.
It is never truncated or shrunk. Opening checks owner, type, size, magic, layout version and the
header's checksum before a byte of the body is touched, and takes the geometry into private memory.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import stat
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from feedd.errors import AttachError, LayoutError, ShmError, ShmFullError
from feedd.shm import layout
from feedd.shm.directory import trusted_owner
from feedd.shm.identity import boot_id, process_starttime
from feedd.shm.layout import HEADER_BYTES, Offset, SegmentKind, SegmentState

__all__ = ["Header", "Segment", "anonymous", "create", "dtype_json", "open_segment", "supersede"]

_POPULATE = mmap.MAP_SHARED | mmap.MAP_POPULATE
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Header(NamedTuple):
    """The constant part of a header page, copied out of shared memory when it was checked."""

    kind: SegmentKind
    layout_minor: int
    capacity: int
    first_seq: int
    slot_bytes: int
    file_size: int
    schema_hash: int
    name: str
    dtype: str


class Segment:
    """One mapped segment. Views of ``buf`` stay valid after ``close`` until the last is dropped."""

    def __init__(self, path: Path | None, mapping: mmap.mmap, header: Header, inode: int) -> None:
        self.path = path
        self.map = mapping
        self.header = header
        self.inode = inode
        """Inode of the file that is mapped (0: anonymous memory)."""
        # native casts read and write a field as one machine word, unlike struct with "<"
        page = memoryview(mapping)[:HEADER_BYTES]
        self._u32 = page.cast("I")
        self._u64 = page.cast("Q")

    @property
    def buf(self) -> memoryview:
        """All bytes of the file; read-only unless it was opened for writing."""
        return memoryview(self.map)

    def u32(self, offset: int) -> int:
        """A 4-byte field of the header page, as it is now."""
        return self._u32[offset // 4]

    def u64(self, offset: int) -> int:
        """An 8-byte field of the header page, as it is now."""
        return self._u64[offset // 8]

    @property
    def file_id(self) -> int:
        """Of this file and no other: an inode number may come again."""
        return self.u64(Offset.FILE_ID)

    @property
    def epoch(self) -> int:
        return self.u64(Offset.EPOCH)

    @property
    def state(self) -> SegmentState:
        return SegmentState(self.u32(Offset.STATE))

    @property
    def heartbeat_ns(self) -> int:
        """CLOCK_MONOTONIC of the writer's last sign of life, in ns."""
        return self.u64(Offset.HEARTBEAT_NS)

    @property
    def superseded(self) -> bool:
        """True when another file lies at this path now: open it again."""
        if self.path is None:
            return False
        if self.u32(Offset.STATE) == SegmentState.SUPERSEDED:
            return True
        try:
            return os.stat(self.path, follow_symlinks=False).st_ino != self.inode
        except FileNotFoundError:
            return True

    def new_epoch(self) -> int:
        """Sign the header as this process, the next writer; returns the epoch. Hold the lock."""
        previous = self.epoch
        self._u64[Offset.PREV_EPOCH // 8] = previous
        self._u64[Offset.PREV_LAST_SEQ // 8] = max(self.u64(Offset.HEAD), 1) - 1
        self.sign()
        self._u64[Offset.EPOCH // 8] = previous + 1
        return previous + 1

    def sign(self) -> None:
        """This process is the writer: of a new epoch, or it carries on the one of a predecessor
        that handed everything over. Hold the lock."""
        self._u32[Offset.PID // 4] = os.getpid()
        self._u64[Offset.PID_STARTTIME // 8] = process_starttime(os.getpid())
        self.map[Offset.BOOT_ID : Offset.BOOT_ID + 16] = boot_id()
        self.set_state(SegmentState.RUN)

    def set_state(self, state: SegmentState) -> None:
        self._u32[Offset.STATE // 4] = state

    def beat(self, mono_ns: int) -> None:
        """Record a sign of life of the writer (CLOCK_MONOTONIC, ns)."""
        self._u64[Offset.HEARTBEAT_NS // 8] = mono_ns

    def retire(self) -> None:
        """Tell consumers that another file takes this one's place."""
        self._u64[Offset.NEXT_EPOCH // 8] = self.epoch + 1
        self.set_state(SegmentState.SUPERSEDED)

    def close(self) -> None:
        """Drop the map, or leave it to the views that still use it."""
        self._u32.release()
        self._u64.release()
        with contextlib.suppress(BufferError):  # a view is alive: the map goes with the last one
            self.map.close()


def dtype_json(dtype: np.dtype[Any]) -> str:
    """A dtype as compact JSON: [name, format, offset] per field, nested dtypes in place."""
    import json  # consumers, who never make a segment, need not load it

    def describe(part: np.dtype[Any]) -> Any:
        if part.names is None or part.fields is None:
            return part.str
        fields = []
        for name in part.names:
            entry = part.fields[name]
            inner, offset = entry[0], entry[1]
            shape = list(inner.shape)
            field = [name, describe(inner.base), int(offset)]
            fields.append([*field, shape] if shape else field)
        return fields

    text = {"itemsize": dtype.itemsize, "fields": describe(dtype)}
    return json.dumps(text, separators=(",", ":"))


def _constant_bytes(page: bytes) -> bytes:
    """What the checksum covers: every field that never changes."""
    end = int(Offset.DTYPE) + int(struct.unpack_from("<I", page, Offset.DTYPE_BYTES)[0])
    return (
        page[: Offset.EPOCH]
        + page[Offset.FILE_SIZE : Offset.HEADER_CRC32C]
        + page[Offset.NAME : Offset.NAME + layout.NAME_BYTES]
        + page[Offset.KIND : end]
    )


def _header_page(header: Header) -> bytes:
    dtype = header.dtype.encode()
    name = header.name.encode()[: layout.NAME_BYTES - 1]
    if len(dtype) > layout.DTYPE_BYTES_MAX:
        raise LayoutError(f"the dtype of {header.name} needs {len(dtype)} bytes of header page")
    page = bytearray(HEADER_BYTES)
    for offset, code, value in (
        (Offset.MAGIC, "8s", layout.MAGIC),
        (Offset.LAYOUT_MAJOR, "<H", layout.LAYOUT_MAJOR),
        (Offset.LAYOUT_MINOR, "<H", layout.LAYOUT_MINOR),
        (Offset.HEADER_BYTES, "<I", HEADER_BYTES),
        (Offset.SLOT_BYTES, "<I", header.slot_bytes),
        (Offset.SLOT_HEADER_BYTES, "<H", layout.SLOT_HEADER_BYTES),
        (Offset.BYTE_ORDER, "<H", layout.BYTE_ORDER),
        (Offset.CAPACITY, "<Q", header.capacity),
        (Offset.FIRST_SEQ, "<Q", header.first_seq),
        (Offset.FILE_SIZE, "<Q", header.file_size),
        (Offset.SCHEMA_HASH, "<Q", header.schema_hash),
        (Offset.SCHEMA_VERSION, "<I", 1),
        (Offset.NAME, f"{layout.NAME_BYTES}s", name),
        (Offset.FILE_ID, "8s", os.urandom(8)),
        (Offset.HEAD, "<Q", header.first_seq),
        (Offset.KIND, "<I", header.kind),
        (Offset.DTYPE_BYTES, "<I", len(dtype)),
        (Offset.DTYPE, f"{len(dtype)}s", dtype),
    ):
        struct.pack_into(code, page, offset, value)
    crc = layout.crc32c(_constant_bytes(bytes(page)))
    struct.pack_into("<I", page, Offset.HEADER_CRC32C, crc)
    return bytes(page)


def _new_header(
    kind: SegmentKind, capacity: int, slot_bytes: int, body_bytes: int, dtype: str, name: str
) -> Header:
    return Header(
        kind=kind,
        layout_minor=layout.LAYOUT_MINOR,
        capacity=capacity,
        first_seq=capacity if kind is SegmentKind.RING else 0,
        slot_bytes=slot_bytes,
        file_size=HEADER_BYTES + body_bytes,
        schema_hash=layout.fnv1a64(dtype.encode()),
        name=name,
        dtype=dtype,
    )


def anonymous(
    kind: SegmentKind,
    *,
    capacity: int,
    slot_bytes: int,
    body_bytes: int,
    dtype: str,
    name: str,
    populate: bool = False,
) -> Segment:
    """The same layout in private memory of this process: for decoding captures, standbys and tests.

    Its pages come when they are touched, if not ``populate``: most that decode a capture need few.
    """
    header = _new_header(kind, capacity, slot_bytes, body_bytes, dtype, name)
    mapping = mmap.mmap(-1, header.file_size, flags=_POPULATE if populate else mmap.MAP_SHARED)
    mapping[:HEADER_BYTES] = _header_page(header)
    return Segment(None, mapping, header, 0)


def create(
    path: Path | str,
    kind: SegmentKind,
    *,
    capacity: int,
    slot_bytes: int,
    body_bytes: int,
    dtype: str,
    name: str,
    group: int | None = None,
    mode: int = 0o640,
) -> Segment:
    """Make a segment file; the caller holds the lock of the directory.

    ``group`` is a gid that gets the group rights of ``mode``. Raises ``ShmFullError`` when the file
    system has no room, ``ShmError`` when the file exists or cannot be made.
    """
    path = Path(path)
    header = _new_header(kind, capacity, slot_bytes, body_bytes, dtype, name)
    if os.path.lexists(path):
        raise ShmError(
            f"{path} exists already: another daemon uses this directory, or left it behind; stop "
            "it, or remove the directory"
        )
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(temporary, flags, 0o600)
    except OSError as exc:
        raise ShmError(f"cannot create {path}: {exc.strerror}") from exc
    try:
        _allocate(fd, path, header.file_size)
        mapping = mmap.mmap(fd, header.file_size, flags=_POPULATE)
        page = _header_page(header)
        mapping[8:HEADER_BYTES] = page[8:]
        if group is not None:
            os.fchown(fd, -1, group)
        os.fchmod(fd, mode)
        mapping[:8] = page[:8]
        os.rename(temporary, path)
        inode = os.fstat(fd).st_ino
    except OSError as exc:
        _unlink(temporary)
        if exc.errno in _FULL:
            raise _full(path, header.file_size) from exc
        raise ShmError(f"cannot create {path}: {exc.strerror}") from exc
    except ShmError:
        _unlink(temporary)
        raise
    finally:
        os.close(fd)
    return Segment(path, mapping, header, inode)


def _unlink(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _allocate(fd: int, path: Path, size: int) -> None:
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as exc:
        if exc.errno in _FULL:
            raise _full(path, size) from exc
        raise ShmError(f"cannot allocate {size} bytes for {path}: {exc.strerror}") from exc


def _full(path: Path, size: int) -> ShmFullError:
    info = os.statvfs(path.parent)
    free = info.f_bavail * info.f_frsize
    return ShmFullError(
        f"no room for {path}: it needs {size / 2**20:.1f} MiB and the file system of {path.parent} "
        f"has {free / 2**20:.1f} MiB free; make it larger (mount -o remount,size=...; Docker: "
        "--shm-size), or use fewer ring slots or smaller books"
    )


def open_segment(path: Path | str, kind: SegmentKind, *, writable: bool = False) -> Segment:
    """Map an existing segment after checking everything that can be checked.

    Raises ``AttachError`` when the file is absent or belongs to somebody not trusted,
    ``LayoutError`` when it is not a segment of ``kind`` in a layout that this version reads.
    """
    path = Path(path)
    flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(path, flags)
    except OSError as exc:
        raise _open_error(path, exc) from exc
    try:
        info = os.fstat(fd)
        _check_file(path, info)
        header = _check_page(path, os.pread(fd, HEADER_BYTES, 0), info.st_size, kind)
        prot = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        mapping = mmap.mmap(fd, header.file_size, flags=_POPULATE, prot=prot)
    except OSError as exc:
        raise ShmError(f"cannot map {path}: {exc.strerror}") from exc
    finally:
        os.close(fd)
    return Segment(path, mapping, header, info.st_ino)


def _open_error(path: Path, exc: OSError) -> ShmError:
    if exc.errno == errno.ENOENT:
        return AttachError(f"{path} does not exist: is the daemon running with this directory?")
    if exc.errno == errno.EACCES:
        return AttachError(
            f"no right to open {path}: join the group that owns it, or run as the daemon's user"
        )
    if exc.errno == errno.ELOOP:
        return AttachError(f"{path} is a symbolic link: a segment never is, so it is not trusted")
    return ShmError(f"cannot open {path}: {exc.strerror}")


def _check_file(path: Path, info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise LayoutError(f"{path} is not a regular file")
    if not trusted_owner(info.st_uid):
        raise AttachError(
            f"{path} belongs to uid {info.st_uid}, not to you, root or the user feedd: not trusted"
        )
    if info.st_mode & stat.S_IWOTH:
        raise AttachError(f"{path} can be written by everybody: not trusted")


def _check_page(path: Path, page: bytes, size: int, kind: SegmentKind) -> Header:
    if len(page) < HEADER_BYTES:
        raise LayoutError(f"{path} has {size} bytes, less than a header page: not a feedd segment")
    if page[:8] != layout.MAGIC:
        raise LayoutError(
            f"{path} is not a feedd segment: magic {page[:8]!r}, expected {layout.MAGIC!r}"
        )

    def get(offset: Offset, code: str) -> int:
        return int(struct.unpack_from(code, page, offset)[0])

    major = get(Offset.LAYOUT_MAJOR, "<H")
    if major != layout.LAYOUT_MAJOR:
        raise LayoutError(
            f"{path} has layout version {major}, this feedd reads version {layout.LAYOUT_MAJOR}: "
            "install the same feedd version in the daemon and the consumer"
        )
    unknown = get(Offset.FEAT_INCOMPAT, "<I")
    if unknown:
        raise LayoutError(f"{path} uses features this version does not know (bits {unknown:#x})")
    if get(Offset.BYTE_ORDER, "<H") != layout.BYTE_ORDER:
        raise LayoutError(f"{path} was written on a machine of the other byte order")
    dtype_bytes = get(Offset.DTYPE_BYTES, "<I")
    if (
        get(Offset.HEADER_BYTES, "<I") != HEADER_BYTES
        or dtype_bytes > layout.DTYPE_BYTES_MAX
        or layout.crc32c(_constant_bytes(page)) != get(Offset.HEADER_CRC32C, "<I")
    ):
        raise LayoutError(f"{path} has a damaged header page (checksum): remove it and restart")
    found = get(Offset.KIND, "<I")
    if found != kind:
        name = SegmentKind(found).name.lower() if found in set(SegmentKind) else str(found)
        raise LayoutError(f"{path} is a segment of kind {name}, expected {kind.name.lower()}")
    if get(Offset.FILE_SIZE, "<Q") != size:
        raise LayoutError(
            f"{path} has {size} bytes, its header says {get(Offset.FILE_SIZE, '<Q')}: cut off or "
            "damaged, remove it and restart the daemon"
        )
    raw_name = page[Offset.NAME : Offset.NAME + layout.NAME_BYTES]
    return Header(
        kind=kind,
        layout_minor=get(Offset.LAYOUT_MINOR, "<H"),
        capacity=get(Offset.CAPACITY, "<Q"),
        first_seq=get(Offset.FIRST_SEQ, "<Q"),
        slot_bytes=get(Offset.SLOT_BYTES, "<I"),
        file_size=size,
        schema_hash=get(Offset.SCHEMA_HASH, "<Q"),
        name=raw_name.rstrip(b"\0").decode(errors="replace"),
        dtype=page[Offset.DTYPE : Offset.DTYPE + dtype_bytes].decode(errors="replace"),
    )


def supersede(segment: Segment) -> None:
    """Retire a segment so that a new file can take its name: consumers that map it are told.

    Used when the geometry or the layout changes; the caller then creates the new file.
    """
    segment.retire()
    if segment.path is not None:
        _unlink(segment.path)
