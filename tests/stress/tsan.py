"""The ring and the seqlock under ThreadSanitizer: ``make tsan``.

The C stress must be silent, and a build in which one data word is a plain access must be reported.
ThreadSanitizer finds data races; it does not see a wrong memory order between atomics (it runs
every atomic in one total order). The orderings are the business of ``make model``.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from stress import build

RACE = "WARNING: ThreadSanitizer: data race"
RECORDS = 60_000


def run(program: Path, records: int = RECORDS) -> subprocess.CompletedProcess[str]:
    """One run without address randomisation, which older ThreadSanitizers do not survive."""
    command = [str(program), str(records), "16", "2", "threads"]
    if shutil.which("setarch"):
        command = ["setarch", platform.machine(), "-R", *command]
    environment = {**os.environ, "TSAN_OPTIONS": "exitcode=66 halt_on_error=0"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=environment, check=False
    )


def check(directory: Path, records: int = RECORDS) -> tuple[bool, str]:
    """(as it must be, what happened); raises CalledProcessError where there is no sanitizer."""
    clean = run(build("ring_stress", directory, "-fsanitize=thread"), records)
    plain = run(build("ring_stress", directory, "-fsanitize=thread", "-DFEEDD_PLAIN_WORD"), records)
    lines = [
        f"as it is: exit {clean.returncode}, races {clean.stderr.count(RACE)}",
        f"one plain word: exit {plain.returncode}, races {plain.stderr.count(RACE)}",
    ]
    good = clean.returncode == 0 and RACE not in clean.stderr
    caught = RACE in plain.stderr and "feedd_put" in plain.stderr
    if not good:
        lines.append(clean.stderr[-3000:] or clean.stdout[-3000:])
    return good and caught, "\n".join(lines)


def main() -> int:
    directory = Path(tempfile.mkdtemp(prefix=f"feedd-test-{os.getpid()}-"))
    try:
        good, text = check(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print(text)
    print("good: silent as it is, the plain word reported" if good else "FAILED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
