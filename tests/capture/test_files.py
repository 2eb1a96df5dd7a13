"""Files that the recorder writes are whole at any moment."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import zstandard

from feedd.capture.files import SUFFIX, CaptureFile, file_name, last_line, recover, retain
from feedd.capture.rows import read_rows

T = 1_700_000_000_000_000_001
LINE = b'{"t":1,"dir":"in","raw":"%d"}\n'


def lines(start: int, count: int) -> bytes:
    return b"".join(LINE % n for n in range(start, start + count))


def texts(path: Path) -> list[bytes]:
    problems: list[str] = []
    rows = [row.data for row in read_rows(path, problems)]
    assert problems == []
    return rows


def test_names_tell_the_time_and_sort() -> None:
    assert file_name("okx", 3, T) == "okx-r3-20231114T221320.000000001Z.jsonl.zst"
    assert file_name("okx", 3, T) < file_name("okx", 3, T + 1)


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    file = CaptureFile(tmp_path, "okx", 0, T)
    file.write(lines(0, 3))
    assert [p.name for p in tmp_path.iterdir()] == [file_name("okx", 0, T) + ".part"]
    file.write(lines(3, 2))
    file.close()
    assert list(tmp_path.iterdir()) == [file.path]
    assert texts(file.path) == [b"0", b"1", b"2", b"3", b"4"]
    assert last_line(file.path) == b'{"t":1,"dir":"in","raw":"4"}'


def test_an_empty_file_vanishes_and_names_are_not_reused(tmp_path: Path) -> None:
    CaptureFile(tmp_path, "okx", 0, T).close()
    assert list(tmp_path.iterdir()) == []
    for _ in range(2):
        file = CaptureFile(tmp_path, "okx", 0, T)
        file.write(lines(0, 1))
        file.close()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_disk_that_fills_in_the_middle_of_a_write_leaves_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = CaptureFile(tmp_path, "okx", 0, T)
    file.write(lines(0, 100))
    room = [20]
    write = os.write

    def full(fd: int, data: Any) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        room[0] -= (done := write(fd, data[: room[0]]))
        return done

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        file.write(lines(100, 100))
    monkeypatch.undo()
    file.write(lines(200, 1))
    file.close()
    assert texts(file.path) == [b"%d" % n for n in (*range(100), 200)]


def test_what_a_killed_recorder_left_is_cut_to_whole_frames(tmp_path: Path) -> None:
    folder = tmp_path / "okx"
    folder.mkdir()
    whole = zstandard.ZstdCompressor().compress(lines(0, 5))
    more = zstandard.ZstdCompressor().compress(lines(5, 500))
    name = file_name("okx", 0, T)
    for cut in (0, 1, len(more) // 2, len(more) - 1):
        (folder / f"{name}.part").write_bytes(whole + more[:cut])
        assert recover(tmp_path) == [(folder / name, cut)]
        assert texts(folder / name) == [b"0", b"1", b"2", b"3", b"4"]
        (folder / name).unlink()
    (folder / f"{name}.part").write_bytes(more[:-3])
    assert recover(tmp_path) == []
    assert list(folder.iterdir()) == []


def test_the_oldest_go_first(tmp_path: Path) -> None:
    for venue, t in (("okx", 3), ("gate", 1), ("okx", 2), ("gate", 4)):
        (tmp_path / venue).mkdir(exist_ok=True)
        (tmp_path / venue / file_name(venue, 0, T + t)).write_bytes(bytes(1000))
    (tmp_path / "okx" / (file_name("okx", 0, T) + ".part")).write_bytes(bytes(5000))
    assert retain(tmp_path, 4000) == []
    gone = retain(tmp_path, 2500)
    assert [path.name for path in gone] == [file_name("gate", 0, T + 1), file_name("okx", 0, T + 2)]
    assert len(list(tmp_path.glob(f"*/*{SUFFIX}"))) == 2


def test_a_file_that_cannot_be_deleted_keeps_nobody_from_recording(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "okx").mkdir()
    names = [file_name("okx", 0, T + at) for at in range(3)]
    (tmp_path / "okx" / names[0]).mkdir()  # nothing that unlink takes
    for name in names[1:]:
        (tmp_path / "okx" / name).write_bytes(bytes(1000))
    gone = retain(tmp_path, 0)
    assert len(gone) == 2
    assert f"cannot delete {tmp_path}/okx/{names[0]}" in caplog.text
