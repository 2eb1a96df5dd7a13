"""Writers that die at every store, consumers that die or stop, and who notices what."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feedd.records import NO_INSTRUMENT, RAW, RECORD_BYTES, BookState
from feedd.shm import wakefile
from feedd.shm.board import BoardReader, BoardWriter
from feedd.shm.layout import Offset, SegmentKind
from feedd.shm.ring import RingReader, RingWriter
from feedd.shm.segment import create, dtype_json

ROOT = Path(__file__).resolve().parents[2]
SLOTS = 64


def small_ring(directory: Path) -> None:
    """A ring smaller than create_ring allows, so that every run wraps."""
    wakefile.ensure(directory)
    create(
        directory / "reader-0.ring",
        SegmentKind.RING,
        capacity=SLOTS,
        slot_bytes=RECORD_BYTES,
        body_bytes=SLOTS * RECORD_BYTES,
        dtype=dtype_json(RAW),
        name="small",
    ).close()


def pattern(seq: int, tag: int, epoch: int) -> bytes:
    """What tests/shm/c/pattern.h writes for this sequence."""
    mask = 2**64 - 1
    words = []
    for i in range(16):
        x = ((seq + tag) * 0x9E3779B97F4A7C15 + i * 0xBF58476D1CE4E5B9) & mask
        x ^= x >> 31
        words.append((x * 0x94D049BB133111EB) & mask)
    record = np.array(words, dtype="<u8").view(RAW)
    record["ring_seq"] = seq
    record["flags"] = 128 if seq % 3 == 2 else 0
    record["epoch"] = epoch & 0xFFFF
    return record.tobytes()


def kill_at(program: Path, mode: str, path: Path, store: int, tag: int) -> bool:
    """Run the writer; True when it died before that store, False when it reached the end."""
    status = subprocess.run([program, mode, path, str(store), str(tag)], timeout=20).returncode
    assert status in (0, -signal.SIGKILL)
    return status != 0


def check_records(batch: np.ndarray[Any, Any], origin: dict[int, tuple[int, int]]) -> None:
    for i, seq in enumerate(batch["ring_seq"].tolist()):
        tag, epoch = origin[seq]
        assert batch[i : i + 1].tobytes() == pattern(seq, tag, epoch), f"record {seq}"


def test_sigkill_before_every_store_of_a_publish(
    shm_dir: Path, compile_c: Callable[..., Path]
) -> None:
    """No torn record, no half batch, no hole; the successor goes on and the epoch grows."""
    program = compile_c("kill_writer")
    small_ring(shm_dir)
    path = shm_dir / "reader-0.ring"
    origin: dict[int, tuple[int, int]] = {}
    for tag in range(1000, 1020):  # fill the ring once around
        assert not kill_at(program, "ring", path, 0, tag)
    reader = RingReader(shm_dir, 0)
    first = reader.position
    for seq in range(SLOTS, first):
        origin[seq] = (1000 + (seq - SLOTS) // 6, 1 + (seq - SLOTS) // 6)
    deaths, batches_seen, store = 0, set(), 1
    while kill_at(program, "ring", path, store, store):
        deaths += 1
        epoch = reader.epoch
        # twice: one call stops at the head, which a dead writer may not have moved any more
        got = np.concatenate([reader.read(), reader.read()])
        batches_seen.add(len(got))
        assert len(got) in (0, 3, 6), "half a batch became visible"
        for seq in got["ring_seq"].tolist():
            origin[seq] = (store, epoch)
        check_records(got, origin)
        old = RingReader(shm_dir, 0, start="oldest")
        before = old.read(SLOTS)
        check_records(before, origin)
        old.close()
        with RingWriter.takeover(shm_dir, 0) as heir:
            assert heir.epoch == epoch + 1
            assert heir.head == reader.position, "a seen record would be published again"
            seq = heir.next_seq
            heir.put(pattern(seq, 7, 0))
            heir.commit()
            origin[seq] = (7, heir.epoch)
            got = reader.read()
            assert got["ring_seq"].tolist() == [seq]
            check_records(got, origin)
        store += 1
    assert batches_seen == {0, 3, 6}
    assert deaths > 100  # 2 batches x 3 records x 15 words, stamps, invalidations, heads
    assert reader.lost == 0
    assert reader.epoch == 20 + 2 * deaths + 1  # and the run that came to the end
    reader.close()


def test_sigkill_before_every_store_of_a_row(shm_dir: Path, compile_c: Callable[..., Path]) -> None:
    """A row is one of the states that were written, or says that it knows nothing."""
    program = compile_c("kill_writer")
    BoardWriter.create(shm_dir, 0, 2).close()
    path = shm_dir / "reader-0.board"
    reader = BoardReader(shm_dir, 0)
    prices = ["bid_price", "ask_price", "trade_price", "mark"]
    unknown = store = 0
    possible: set[float] = set()
    while store == 0 or kill_at(program, "row", path, store, store * 10):
        possible |= {store * 10 + 1.0, store * 10 + 2.0}
        row = reader.snapshot()[0]
        values = {float(row[name]) for name in prices}
        if row["state"] == BookState.INIT:
            unknown += store > 0
            assert all(np.isnan(row[name]) for name in prices)
            assert row["instrument"] in (7, NO_INSTRUMENT)
        else:
            assert len(values) == 1
            assert values <= possible
        writer = BoardWriter.open(shm_dir, 0)
        writer.close()
        repaired = reader.snapshot()[0]
        assert repaired["lock"] % 2 == 0
        assert repaired["state"] == row["state"]
        store += 1
    assert store > 12
    assert unknown >= 10


CONSUMER = """
import sys
from feedd.shm.ring import RingReader
reader = RingReader(sys.argv[1], 0)
print("ready", flush=True)
while True:
    reader.wait(30)
    reader.read()
"""


def start_consumer(directory: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", CONSUMER, str(directory)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.002)


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_dead_or_stopped_consumer_costs_one_wake_and_no_more(
    shm_dir: Path, signal_number: int
) -> None:
    with RingWriter.create(shm_dir, 0, 16_384) as writer:
        process = start_consumer(shm_dir)
        wake = shm_dir / "wake"
        offset = wakefile.line_offset(0)

        def flag() -> int:
            return wake.read_bytes()[offset]

        try:
            wait_for(lambda: flag() == 1)
            process.send_signal(signal_number)
            if signal_number == signal.SIGKILL:
                process.wait(10)
            else:
                status = Path(f"/proc/{process.pid}/stat")
                wait_for(lambda: status.read_text().rpartition(")")[2].split()[0] == "T")
            before = writer.segment.u32(Offset.WAKE_SEQ)
            for _ in range(1000):
                writer.put(bytes(RECORD_BYTES))
                writer.commit()
            assert writer.segment.u32(Offset.WAKE_SEQ) - before <= 1
            assert flag() == 0
            assert writer.head == 16_384 + 1000
        finally:
            process.kill()
            process.communicate()


DYING_WRITER = """
import os, signal, sys
from feedd.shm.ring import RingWriter
writer = RingWriter.takeover(sys.argv[1], 0)
writer.put(bytes(128) * 5)
writer.commit()
writer.put(bytes(128) * 2)
print(writer.epoch, flush=True)
sys.stdin.readline()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_consumers_see_a_writer_die_and_its_successor_come(shm_dir: Path) -> None:
    RingWriter.create(shm_dir, 0, 16_384).close()
    reader = RingReader(shm_dir, 0)
    assert not reader.alive()
    process = subprocess.Popen(
        [sys.executable, "-c", DYING_WRITER, str(shm_dir)], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        assert process.stdout.readline() == "2\n"
        assert reader.alive()
        process.stdin.write("\n")
        process.stdin.flush()
        process.wait(10)
        assert process.returncode == -signal.SIGKILL
        assert not reader.alive()
        assert reader.epoch == 2
        with RingWriter.takeover(shm_dir, 0) as heir:
            assert reader.alive()
            assert reader.epoch == heir.epoch == 3
            heir.put(bytes(RECORD_BYTES))
            heir.commit()
            assert reader.read()["epoch"].tolist() == [2] * 5 + [3]
            assert reader.lost == 0
    finally:
        process.kill()
        process.communicate()


def test_a_c_program_reads_what_python_wrote(shm_dir: Path, compile_c: Callable[..., Path]) -> None:
    from feedd.records import TRADE

    program = compile_c("read_ring")
    records = np.zeros(100, dtype=TRADE)
    records["kind"], records["flags"] = 1, 128
    records["instrument"] = np.arange(100)
    records["ts_event"] = -np.arange(100)
    records["price"] = np.arange(100) / 7
    records["size"] = 1e-8
    with RingWriter.create(shm_dir, 0, 16_384) as writer:
        writer.put(records)
        writer.commit()
        done = subprocess.run(
            [program, shm_dir / "reader-0.ring"], capture_output=True, text=True, check=True,
            timeout=20,
        )  # fmt: skip
    *lines, last = done.stdout.splitlines()
    assert last == "lost 0"
    assert len(lines) == 100
    for i, line in enumerate(lines):
        seq, kind, flags, instrument, ts_event, price, size = line.split()
        assert (int(seq), int(kind), int(flags)) == (16_384 + i, 1, 128)
        assert (int(instrument), int(ts_event)) == (i, -i)
        assert (float(price), float(size)) == (i / 7, 1e-8)
    refused = subprocess.run(
        [program, shm_dir / "wake"], capture_output=True, text=True, timeout=20, check=False
    )
    assert refused.returncode == 1
