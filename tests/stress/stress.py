"""Ring stress: ``make stress``.

1. The C program with the check R5 left out must show torn records: the test can see the error.
2. The same program as it is must show none, and an exact loss, as threads and as processes.
3. A Python writer process and reader processes that are stopped with SIGSTOP and let go again:
   contents and loss exact.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

C_SOURCES = ROOT / "tests" / "shm" / "c"
RECORDS = 3_000_000


def build(name: str, directory: Path, *flags: str) -> Path:
    """Compile a program of tests/shm/c; the compiler's words on failure."""
    compiler = os.environ.get("CC", "gcc")
    target = directory / "".join((name, *flags)).replace("=", "-")
    command = [compiler, "-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", *flags,
               f"-I{ROOT}/feedd/shm/include", f"-I{C_SOURCES}", str(C_SOURCES / f"{name}.c"),
               "-o", str(target), "-lpthread"]  # fmt: skip
    subprocess.run(command, check=True, timeout=120)
    return target


def run_c(
    program: Path, records: int, mode: str, slots: int = 16, readers: int = 2
) -> dict[str, int]:
    """Run ring_stress; the sums over its readers."""
    command = [str(program), str(records), str(slots), str(readers), mode]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    sums = {"read": 0, "lost": 0, "torn": 0, "rows": 0, "bad_rows": 0, "inexact": 0}
    for line in done.stdout.splitlines():
        words = line.split()
        fields = dict(zip(words[::2], map(int, words[1::2]), strict=True))
        for key in ("read", "lost", "torn", "rows", "bad_rows"):
            sums[key] += fields[key]
        sums["inexact"] += 1 - fields["exact"]
    sums["status"] = done.returncode
    return sums


def find_torn(directory: Path, records: int = RECORDS, tries: int = 10) -> int:
    """Torn records that a build without the second check lets through."""
    mutant = build("ring_stress", directory, "-DFEEDD_NO_SECOND_CHECK")
    for i in range(tries):
        torn = run_c(mutant, records, "threads" if i % 2 else "processes")["torn"]
        if torn:
            return torn
    return 0


def stalling_reader(directory: str, start: int, end: int, answer: Any) -> None:
    """A consumer process: reads to ``end``, checks contents, reports what it read and lost."""
    from feedd.shm.ring import RingReader

    with RingReader(directory, 0, start=start) as reader:
        read = wrong = 0
        while reader.position < end:
            batch = reader.read(512)
            if not len(batch):
                reader.wait(0.05)
                continue
            read += len(batch)
            wrong += int((batch["sequence"] != batch["ring_seq"] * 3 + 1).sum())
            wrong += int((batch["ts_recv"] != batch["ring_seq"].astype("i8")).sum())
        answer.put((read, reader.lost, wrong))


def python_stress(directory: str, total: int, readers: int = 3, seconds: float = 3.0) -> list[Any]:
    """(read, lost, wrong) of each reader, of ``total`` records; two readers are stopped often."""
    import numpy as np

    from feedd.records import RAW, Flag
    from feedd.shm.ring import RingWriter

    context = get_context("spawn")
    answer = context.Queue()
    with RingWriter.create(directory, 0, 16_384) as writer:
        first = writer.head
        processes = [
            context.Process(target=stalling_reader, args=(directory, first, first + total, answer))
            for _ in range(readers)
        ]
        for process in processes:
            process.start()
        try:
            stopped = False
            pause = seconds / max(total // 1000, 1)
            for block in range(0, total, 1000):
                n = min(1000, total - block)
                records = np.zeros(n, dtype=RAW)
                seqs = np.arange(writer.next_seq, writer.next_seq + n)
                records["sequence"] = seqs * 3 + 1
                records["ts_recv"] = seqs
                records["flags"] = int(Flag.LAST)
                writer.put(records)
                writer.commit()
                if block % 25_000 == 0:
                    stopped = not stopped
                    for process in processes[1:]:
                        os.kill(process.pid or 0, signal.SIGSTOP if stopped else signal.SIGCONT)
                time.sleep(pause)
            for process in processes:
                os.kill(process.pid or 0, signal.SIGCONT)
            return [answer.get(timeout=60) for _ in processes]
        finally:
            for process in processes:
                if process.is_alive():
                    os.kill(process.pid or 0, signal.SIGCONT)
                process.join(10)
                if process.is_alive():
                    process.kill()
                process.join()


def main() -> int:
    directory = Path(tempfile.mkdtemp(prefix=f"feedd-test-{os.getpid()}-", dir="/dev/shm"))
    good = True
    try:
        torn = find_torn(directory)
        good &= torn > 0
        print(f"without the second stamp check: {torn} torn records (more than 0 expected)")
        program = build("ring_stress", directory)
        for mode in ("threads", "processes"):
            for slots in (16, 64, 1024):
                sums = run_c(program, RECORDS, mode, slots)
                good &= sums["status"] == 0 and sums["torn"] == 0 and sums["inexact"] == 0
                print(f"{mode}, {slots} slots: {sums}")
        total = 2_000_000
        for read, lost, wrong in python_stress(str(directory), total, seconds=20):
            good &= read + lost == total and wrong == 0
            print(f"Python reader: read {read} + lost {lost} of {total}, wrong {wrong}")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print("good" if good else "FAILED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
