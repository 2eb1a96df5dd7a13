"""Segments and directories: creation, trust, damage, read-only maps, a full file system."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feedd.errors import AttachError, LayoutError, LockedError, ShmError
from feedd.records import RAW
from feedd.shm.directory import (
    Lock,
    check_directory,
    create_directory,
    default_directory,
    lock_held,
    trusted_owner,
)
from feedd.shm.layout import Offset, SegmentKind, SegmentState
from feedd.shm.ring import RingReader, RingWriter
from feedd.shm.segment import create, open_segment
from tests.fixtures.effort import tries

ROOT = Path(__file__).resolve().parents[2]


def make(path: Path, rows: int = 4) -> None:
    create(path, SegmentKind.BOARD, capacity=rows, slot_bytes=512, body_bytes=rows * 512,
           dtype='{"itemsize":512,"fields":[]}', name="made for a test").close()  # fmt: skip


def run_python(
    code: str, *args: object, prefix: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    command = [*prefix, sys.executable, "-c", code, *map(str, args)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=environment, check=False
    )


def test_a_segment_explains_itself(shm_dir: Path) -> None:
    path = shm_dir / "s"
    make(path)
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.stat().st_blocks * 512 >= path.stat().st_size  # allocated, not sparse
    assert [p.name for p in shm_dir.iterdir()] == ["s"]  # no temporary file stays
    segment = open_segment(path, SegmentKind.BOARD)
    assert segment.header.name == "made for a test"
    assert segment.header.capacity == 4
    assert segment.header.dtype.startswith('{"itemsize"')
    assert segment.buf.readonly
    assert segment.state is SegmentState.NEW
    segment.close()


def test_views_outlive_close(shm_dir: Path) -> None:
    make(shm_dir / "s")
    segment = open_segment(shm_dir / "s", SegmentKind.BOARD)
    view = np.frombuffer(segment.buf, dtype=np.uint8)
    segment.close()
    assert bytes(view[:4]) == b"FRB1"


@pytest.mark.parametrize(
    ("offset", "code", "value", "message"),
    [
        (Offset.MAGIC, "8s", b"ELSE\r\n\x1a\n", "magic.*expected"),
        (Offset.MAGIC, "8s", bytes(8), "not a feedd segment"),
        (Offset.LAYOUT_MAJOR, "<H", 2, "layout version 2, this feedd reads version 1"),
        (Offset.FEAT_INCOMPAT, "<I", 4, "features.*0x4"),
        (Offset.BYTE_ORDER, "<H", 0x0201, "byte order"),
        (Offset.KIND, "<I", 1, "damaged"),
        (Offset.CAPACITY, "<Q", 2**40, "damaged"),
        (Offset.FILE_SIZE, "<Q", 2**40, "damaged"),
        (Offset.HEADER_BYTES, "<I", 8192, "damaged"),
        (Offset.DTYPE_BYTES, "<I", 2**31, "damaged"),
        (Offset.NAME, "1s", b"X", "damaged"),
        (Offset.DTYPE, "1s", b"X", "damaged"),
    ],
)
def test_damage_is_named(
    shm_dir: Path, offset: Offset, code: str, value: int | bytes, message: str
) -> None:
    path = shm_dir / "s"
    make(path)
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(struct.pack(code, value))
    with pytest.raises(LayoutError, match=message):
        open_segment(path, SegmentKind.BOARD)


@pytest.mark.parametrize("size", [0, 100, 4095, 4096, 5000, 4096 + 4 * 512 + 1])
def test_a_file_of_the_wrong_size_is_refused(shm_dir: Path, size: int) -> None:
    make(shm_dir / "s")
    os.truncate(shm_dir / "s", size)
    with pytest.raises(LayoutError):
        open_segment(shm_dir / "s", SegmentKind.BOARD)


def test_another_kind_is_refused(shm_dir: Path) -> None:
    make(shm_dir / "s")
    with pytest.raises(LayoutError, match="kind board, expected ring"):
        open_segment(shm_dir / "s", SegmentKind.RING)


def test_links_and_directories_are_not_followed(shm_dir: Path) -> None:
    make(shm_dir / "s")
    (shm_dir / "link").symlink_to(shm_dir / "s")
    (shm_dir / "sub").mkdir()
    with pytest.raises(AttachError, match="symbolic link"):
        open_segment(shm_dir / "link", SegmentKind.BOARD)
    with pytest.raises(LayoutError, match="regular file"):
        open_segment(shm_dir / "sub", SegmentKind.BOARD)
    with pytest.raises(ShmError, match="exists already"):
        make(shm_dir / "link")
    with pytest.raises(AttachError, match="does not exist"):
        open_segment(shm_dir / "none", SegmentKind.BOARD)


def test_files_of_strangers_and_open_files_are_not_trusted(shm_dir: Path) -> None:
    make(shm_dir / "s")
    (shm_dir / "s").chmod(0o646)
    with pytest.raises(AttachError, match="written by everybody"):
        open_segment(shm_dir / "s", SegmentKind.BOARD)
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to somebody else: the owner check was not tried")
    (shm_dir / "s").chmod(0o640)
    os.chown(shm_dir / "s", 54_321, -1)
    with pytest.raises(AttachError, match="uid 54321"):
        open_segment(shm_dir / "s", SegmentKind.BOARD)
    os.chown(shm_dir, 54_321, -1)
    with pytest.raises(AttachError, match="uid 54321"):
        check_directory(shm_dir)
    with pytest.raises(AttachError, match="somebody else"):
        create_directory(shm_dir / "inner")
    assert not trusted_owner(54_321)


def test_directories(shm_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = create_directory(shm_dir / "a" / "b")
    assert made.stat().st_mode & 0o7777 == 0o750
    assert create_directory(made) == made
    made.chmod(0o770)
    with pytest.raises(AttachError, match="chmod 0750"):
        check_directory(made)
    with pytest.raises(AttachError, match="is the daemon running"):
        check_directory(shm_dir / "none")
    (shm_dir / "link").symlink_to(shm_dir / "a")
    with pytest.raises(AttachError, match="symbolic link"):
        check_directory(shm_dir / "link")
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/feedd:/run/other")
    assert default_directory("x") == Path("/run/feedd")
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    assert default_directory("x") == Path(f"/dev/shm/feedd-{os.getuid()}/x")


def test_a_group_gets_the_directory_and_the_files(shm_dir: Path) -> None:
    group = os.getgid()
    made = create_directory(shm_dir / "g", group=group)
    assert made.stat().st_mode & 0o7777 == 0o2750
    with RingWriter.create(made, 0, 16_384, group=group):
        modes = {p.name: p.stat().st_mode & 0o777 for p in made.iterdir()}
        assert modes == {"reader-0.ring": 0o640, "wake": 0o660, "LOCK.0": 0o640}


def test_a_lock_has_one_holder(shm_dir: Path) -> None:
    path = shm_dir / "LOCK"
    assert not lock_held(path)
    with Lock(path):
        assert lock_held(path)
        with pytest.raises(LockedError, match="lslocks"):
            Lock(path)
    assert not lock_held(path)


@settings(
    max_examples=tries(100),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(changes=st.lists(st.tuples(st.integers(0, 4096 + 64 * 128 - 1), st.integers(0, 255)),
                        min_size=1, max_size=12))  # fmt: skip
def test_a_damaged_ring_never_hurts_its_reader(
    shm_dir: Path, changes: list[tuple[int, int]]
) -> None:
    """Any bytes anywhere: refused, or read without harm."""
    path = shm_dir / "reader-0.ring"
    path.unlink(missing_ok=True)
    create(path, SegmentKind.RING, capacity=64, slot_bytes=128, body_bytes=64 * 128,
           dtype="{}", name="fuzz").close()  # fmt: skip
    with path.open("r+b") as file:
        for offset, value in changes:
            file.seek(offset)
            file.write(bytes([value]))
    try:
        reader = RingReader(shm_dir, 0, start="oldest")
    except (ShmError, ValueError):
        return
    for _ in range(3):
        batch = reader.read(100)
        assert batch.dtype == RAW
        assert len(batch) <= 100
    reader.wait(0)
    reader.close()


READ_ONLY = """
import ctypes, os, sys
import numpy as np
from feedd.shm.ring import RingReader
reader = RingReader(sys.argv[1], 0)
address = np.frombuffer(reader.segment.buf, dtype=np.uint8).ctypes.data
libc = ctypes.CDLL(None, use_errno=True)
answer = libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(4096), 3)
print("mprotect", answer, ctypes.get_errno(), flush=True)
ctypes.memset(address, 0, 1)
print("written", flush=True)
"""


def test_a_consumer_cannot_write(shm_dir: Path) -> None:
    """The kernel refuses to make the map writable (EACCES), and a store is a SIGSEGV."""
    with RingWriter.create(shm_dir, 0, 16_384):
        done = run_python(READ_ONLY, shm_dir)
        assert done.stdout.split() == ["mprotect", "-1", "13"], done.stderr
        assert done.returncode == -signal.SIGSEGV
        assert (shm_dir / "reader-0.ring").read_bytes()[:4] == b"FRB1"


FULL = """
import os, subprocess, sys
from feedd.errors import ShmFullError
from feedd.shm.board import BoardWriter
from feedd.shm.ring import RingWriter
path = sys.argv[1]
if subprocess.call(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0750", "none", path]):
    sys.exit(77)
try:
    RingWriter.create(path, 0, 16384)
except ShmFullError as exc:
    print(exc)
else:
    sys.exit("no error")
left = sorted(os.listdir(path))
assert left == ["wake"], left
BoardWriter.create(path, 0, 16).close()
print("smaller fits")
"""


def test_a_full_tmpfs_is_an_error_message(tmp_path: Path) -> None:
    prefix = ("unshare", "-m") if os.geteuid() == 0 else ("unshare", "-rm")
    try:
        done = run_python(FULL, tmp_path, prefix=prefix)
    except FileNotFoundError:
        pytest.skip("unshare is not installed: no own tmpfs to fill")
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"no right to mount a tmpfs of its own here: {done.stderr.strip()[-200:]}")
    assert done.returncode == 0, done.stderr
    assert "no room for" in done.stdout
    assert "2.0 MiB" in done.stdout
    assert "--shm-size" in done.stdout
    assert "smaller fits" in done.stdout


TRUNCATED = """
import os, sys
import numpy as np
from feedd.records import RAW
from feedd.shm.ring import RingReader, RingWriter
writer = RingWriter.create(sys.argv[1], 0, 16384)
reader = RingReader(sys.argv[1], 0)
os.truncate(os.path.join(sys.argv[1], "wake"), 0)
for _ in range(3):
    writer.put(np.zeros(5, dtype=RAW))
    writer.commit()
    assert reader.wait(1)
    assert len(reader.read()) == 5
assert not reader.wait(0.1)
writer.put(np.zeros(1, dtype=RAW))
writer.commit()
assert reader.wait(1)
writer.close()
print("survived")
"""


def test_a_truncated_wake_file_does_not_kill_the_writer(shm_dir: Path) -> None:
    done = run_python(TRUNCATED, shm_dir)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "survived"


OTHER_SIGBUS = """
import mmap, os, sys
from feedd.shm.ring import RingWriter
writer = RingWriter.create(sys.argv[1], 0, 16384)
fd = os.open(os.path.join(sys.argv[1], "x"), os.O_RDWR | os.O_CREAT)
os.truncate(fd, 4096)
other = mmap.mmap(fd, 4096)
os.truncate(fd, 0)
other[0]
"""


def test_any_other_sigbus_still_ends_the_process(shm_dir: Path) -> None:
    assert run_python(OTHER_SIGBUS, shm_dir).returncode == -signal.SIGBUS
