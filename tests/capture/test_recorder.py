"""The recorder on raw rings of the test's own: rows, rotation, loss, disks that are full, kills."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from feedd.capture.files import closed_files
from feedd.capture.recorded import payload_of, read_recorded
from feedd.capture.recorder import Recorder, RecordPlan, obey
from feedd.capture.rows import read_rows
from feedd.capture.verify import verify, verify_all
from feedd.errors import LockedError
from feedd.shm.books import BooksWriter
from feedd.shm.instruments import InstrumentsWriter
from feedd.shm.rawring import IN, OP, OUT, REST, RawWriter, create_raw

MIB = 1 << 20
T = 1_700_000_000_000_000_000


@pytest.fixture
def shm() -> Iterator[Path]:
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    path = Path(tempfile.mkdtemp(prefix=f"feedd-test-{os.getpid()}-", dir=base))
    path.chmod(0o750)
    table = InstrumentsWriter.create(path, 64)
    table.append(venue="okx", symbol="BTC-USDT", reader=0, row=0, tick=0.1, underlying="BTC")
    table.append(venue="gate", symbol="BTC_USDT", reader=0, row=1)
    table.append(venue="okx", symbol="elsewhere", reader=1, row=0)
    BooksWriter.create(path, 0, [128, 64]).close()
    create_raw(path, 0, MIB)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def plan(shm: Path, target: Path, **more: object) -> RecordPlan:
    given: dict[str, object] = {"rotate_bytes": 1 << 30, "rotate_s": 3600.0, "keep_bytes": 0}
    return RecordPlan(
        directory=str(shm), target=str(target), venues={0: ("okx", "gate")}, **{**given, **more}
    )  # type: ignore[arg-type]


def drain(recorder: Recorder) -> None:
    while recorder.step():
        pass


def files(target: Path, venue: str = "okx") -> list[Path]:
    return sorted(p for p in closed_files(target) if p.parent.name == venue)


def put(writer: RawWriter, *texts: bytes, venue: int = 0) -> None:
    for i, text in enumerate(texts):
        assert writer.put(IN, venue, 7, T + i, text)


def messages(paths: list[Path]) -> list[bytes]:
    return [payload_of(r) for p in paths for r in read_recorded(p, []) if r["dir"] == "in"]


def test_rows_are_in_the_capture_format(shm: Path, tmp_path: Path) -> None:
    writer = RawWriter(shm, 0)
    recorder = Recorder(plan(shm, tmp_path))
    binary = b'{"x": "\xff"}'
    writer.put(OP, 0, 0, T, b'["start",[],{}]')
    writer.put(OP, 0, 7, T, b'["line_forget",[7],{}]')
    put(writer, '{"a": "ä\\u0000"}'.encode(), binary)
    writer.put(OUT, 0, 7, T + 5, b"sub")
    writer.put(REST, 0, 0, T + 6, b'["on_rest_snapshot",[0,"S",null,5],{},"https://x/y"]\n', b"{}")
    writer.put(OP, 0, 7, T + 7, b'["line_down",[0,7,9],{}]')
    put(writer, b"other venue", venue=1)
    drain(recorder)
    assert recorder.finish()
    (path,) = files(tmp_path)
    problems: list[str] = []
    rows = list(read_rows(path, problems))
    assert problems == []
    assert [(r.dir, r.conn, r.data) for r in rows] == [
        ("open", "feedd", b""),
        ("open", "okx:7", b""),
        ("in", "okx:7", '{"a": "ä\\u0000"}'.encode()),
        ("in", "okx:7", binary),
        ("out", "okx:7", b"sub"),
        ("rest", "", b"{}"),
        ("close", "okx:7", b""),
    ]
    assert rows[2].t == T
    assert rows[5].url == "https://x/y"
    head = next(iter(read_recorded(path, [])))["feedd"]
    assert (head["venue"], head["reader"], head["whole"], head["handle"]) == ("okx", 0, True, 0)
    (listed,) = head["instruments"]
    assert (listed["id"], listed["symbol"], listed["depth"], listed["tick"]) == (
        0, "BTC-USDT", 128, 0.1,
    )  # fmt: skip
    assert messages(files(tmp_path, "gate")) == [b"other venue"]
    report = verify(path)
    assert (report.problems, report.rows["in"], report.first_t) == ([], 2, T)


def test_tokens_are_masked(shm: Path, tmp_path: Path) -> None:
    writer = RawWriter(shm, 0)
    recorder = Recorder(plan(shm, tmp_path))
    put(writer, b'{"result":{"access_token": "s3cret","refresh_token":"s3cret2","scope":"x"}}')
    put(writer, b'{"tokens":"kept"}')
    drain(recorder)
    assert recorder.finish()
    assert messages(files(tmp_path)) == [
        b'{"result":{"access_token": "(masked)","refresh_token":"(masked)","scope":"x"}}',
        b'{"tokens":"kept"}',
    ]


def test_rotation_by_size_and_age_loses_nothing(shm: Path, tmp_path: Path) -> None:
    writer = RawWriter(shm, 0)
    recorder = Recorder(plan(shm, tmp_path, rotate_bytes=2_000))
    sent = [os.urandom(300).hex().encode() for _ in range(40)]
    for text in sent:
        put(writer, text)
        drain(recorder)
        recorder.sources[0].flush(everything=True)
    assert recorder.finish()
    paths = files(tmp_path)
    assert len(paths) > 4
    assert messages(paths) == sent
    assert all(not report.problems for report in verify_all(paths))
    assert max(p.stat().st_size for p in paths) < 4_000
    holes = verify_all([paths[0], *paths[2:]])
    assert [report.path for report in holes if report.problems] == [paths[2]]
    assert "missing" in holes[1].problems[0]

    old = Recorder(plan(shm, tmp_path / "by age", rotate_s=0.01))
    for text in (b"one", b"two"):
        put(writer, text)
        drain(old)
        old.sources[0].flush(everything=True)
        time.sleep(0.02)
        old.step()
    assert len(files(tmp_path / "by age")) == 2


def test_old_files_are_deleted(shm: Path, tmp_path: Path) -> None:
    writer = RawWriter(shm, 0)
    recorder = Recorder(plan(shm, tmp_path, rotate_bytes=1, keep_bytes=3_000))
    for _ in range(4):
        put(writer, os.urandom(1_000).hex().encode())
        drain(recorder)
        recorder.sources[0].flush(everything=True)
    recorder.step()
    assert 0 < sum(p.stat().st_size for p in files(tmp_path)) <= 3_000


def test_drops_are_told_and_cut_every_connection(shm: Path, tmp_path: Path) -> None:
    writer = RawWriter(shm, 0)
    recorder = Recorder(plan(shm, tmp_path))
    put(writer, b"first")
    drain(recorder)
    recorder.sources[0].flush(everything=True)
    while writer.put(IN, 0, 7, T, bytes(10_000)):
        pass
    assert not writer.put(IN, 0, 7, T, bytes(10_000))
    drain(recorder)
    recorder.sources[0].flush(everything=True)
    put(writer, b"after")
    drain(recorder)
    while writer.put(IN, 0, 7, T, bytes(10_000)):
        pass
    assert recorder.finish()
    (path,) = files(tmp_path)
    rows = list(read_recorded(path, []))
    told = [i for i, row in enumerate(rows) if "dropped" in row]
    assert [rows[i]["dropped"] for i in told] == [2, 1], "the last one has no entry after it"
    assert (rows[told[0] + 1]["dir"], rows[told[0] + 1]["conn"]) == ("close", "okx:7")
    assert payload_of(rows[told[0] + 2]) == b"after"
    report = verify(path)
    assert report.dropped == 3
    assert report.problems == ["3 entries lost: the recorder lagged"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(path)], capture_output=True
    )
    if done.returncode:
        pytest.skip("no right to mount a small tmpfs: a really full disk is not tested")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_full_disk_costs_counted_entries_and_heals(
    shm: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feedd.capture.recorder.FLUSH_S", 0.0)
    writer = RawWriter(shm, 0)
    recorder = Recorder(plan(shm, small_disk))
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(200_000))
    sent: list[bytes] = []

    def send(count: int) -> None:
        for i in range(count):
            text = os.urandom(2_000).hex().encode()
            if writer.put(IN, 0, 7, T + i, text):
                sent.append(text)
            recorder.step()

    send(50)
    assert recorder.failing == "No space left on device"
    send(400)
    assert writer.dropped > 0, "the ring never filled"
    (part,) = small_disk.glob("okx/*.part")
    assert verify(Path(shutil.copy(part, small_disk.parent / "now.jsonl.zst"))).problems == []
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    drain(recorder)
    assert recorder.failing == ""
    send(3)
    assert recorder.finish()
    paths = files(small_disk)
    assert messages(paths) == sent
    reports = verify_all(paths)
    assert sum(report.dropped for report in reports) == writer.dropped
    assert all("lagged" in problem for report in reports for problem in report.problems)


@pytest.fixture
def start(shm: Path) -> Iterator[Callable[[RecordPlan], subprocess.Popen[bytes]]]:
    made: list[subprocess.Popen[bytes]] = []

    def run(given: RecordPlan) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "feedd.capture.recorder"], stdin=subprocess.PIPE
        )
        made.append(process)
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(given) + b"\n")
        process.stdin.flush()
        return process

    yield run
    for process in made:
        process.kill()
        process.wait(10)
        assert process.stdin is not None
        process.stdin.close()


def test_a_killed_recorder_costs_nothing(
    shm: Path, tmp_path: Path, start: Callable[[RecordPlan], subprocess.Popen[bytes]]
) -> None:
    writer = RawWriter(shm, 0)
    sent: list[bytes] = []
    for life in range(4):
        process = start(plan(shm, tmp_path, rotate_bytes=1))
        deadline = time.monotonic() + 20
        while len(files(tmp_path)) <= life:
            assert time.monotonic() < deadline
            text = os.urandom(100).hex().encode()
            assert writer.put(IN, 0, 7, T + len(sent), text)
            sent.append(text)
            time.sleep(0.004)  # the ring holds what comes while a busy machine starts the next one
        if life < 3:
            process.kill()
        else:
            assert process.stdin is not None
            process.stdin.close()
        status = process.wait(10)
    assert status == 0
    paths = files(tmp_path)
    assert len(paths) > 3
    assert messages(paths) == sent
    assert [report.problems for report in verify_all(paths)] == [[]] * len(paths)
    assert not list(tmp_path.glob("*/*.part"))


def test_the_log_level_changes_while_it_runs() -> None:
    root = logging.getLogger()
    before, handlers = root.level, list(root.handlers)
    try:
        obey(b'{"op":"log","level":"error","format":"json"}\n{"op":"other"}\n')
        assert root.level == logging.ERROR
    finally:
        root.handlers[:] = handlers
        root.setLevel(before)


def test_a_ctrl_c_is_not_its_end(
    shm: Path, tmp_path: Path, start: Callable[[RecordPlan], subprocess.Popen[bytes]]
) -> None:
    writer = RawWriter(shm, 0)
    process = start(plan(shm, tmp_path))
    deadline = time.monotonic() + 20
    put(writer, b"before")
    while not list(tmp_path.glob("okx/*.part")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for number in (signal.SIGINT, signal.SIGTERM):
        process.send_signal(number)
    assert writer.put(IN, 0, 7, T + 1, b"after")
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(10) == 0
    assert messages(files(tmp_path)) == [b"before", b"after"]


def test_started_by_hand_it_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "feedd.capture.recorder"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 64
    assert "not by hand" in done.stderr


def test_a_folder_has_one_recorder(shm: Path, tmp_path: Path) -> None:
    """Another one would take its open files for those of a recorder that was killed."""
    put(RawWriter(shm, 0), b"{}")
    first = Recorder(plan(shm, tmp_path))
    drain(first)
    with pytest.raises(LockedError, match=r"capture\.directory.*another recorder"):
        Recorder(plan(shm, tmp_path))
    assert first.finish()
    first.close()
    assert verify(files(tmp_path)[0]).problems == []
    Recorder(plan(shm, tmp_path)).close()
