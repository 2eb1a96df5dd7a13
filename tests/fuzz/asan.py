"""``make asan``: replay the fuzz corpus through the native engine with sanitizers.

Compiles ``asan_replay.c`` with gcc's AddressSanitizer and UndefinedBehaviorSanitizer and runs it on
every corpus file: whole, cut at every offset, and with random changes. Exit status 0 when nothing
was found (or gcc has no sanitizers: a sentence says so), else that of the replay.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CORPUS = HERE / "corpus"
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")


def missing(directory: Path) -> str | None:
    """Why nothing can be compiled with sanitizers here, or None."""
    gcc = shutil.which("gcc")
    if gcc is None:
        return "gcc is not installed: install gcc to replay the corpus with AddressSanitizer"
    source = directory / "empty.c"
    source.write_text("int main(void) { return 0; }\n")
    command = [gcc, *SANITIZE, str(source), "-o", str(directory / "empty")]
    for step in (command, [str(directory / "empty")]):
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            return (
                f"gcc's AddressSanitizer does not work here (libasan): {done.stderr.strip()[:300]}"
            )
    return None


def build(directory: Path, *defines: str) -> Path:
    """Compile the replay into ``directory``; raises CalledProcessError when it does not compile."""
    program = directory / "asan_replay"
    command = ["gcc", "-O1", "-g", "-Wall", "-Wextra", "-Werror", *SANITIZE, *defines]
    command += [f"-I{ROOT / 'feedd/decode/src'}", str(HERE / "asan_replay.c"), "-o", str(program)]
    subprocess.run([*command, "-lm"], check=True)
    return program


def replay(program: Path, seed: int, mutations: int) -> subprocess.CompletedProcess[str]:
    files = sorted(str(path) for path in CORPUS.iterdir())
    command = [str(program), str(seed), str(mutations), *files]
    environment = {**os.environ, "ASAN_OPTIONS": "abort_on_error=0:detect_leaks=0"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mutations", type=int, default=50_000, help="per corpus file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        reason = missing(Path(name))
        if reason is not None:
            print(f"asan: skipped: {reason}")
            return 0
        done = replay(build(Path(name)), arguments.seed, arguments.mutations)
    print(f"asan: {done.stdout.strip()}")
    if done.returncode:
        print(done.stderr, file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
