"""``make fuzz``: fuzz the native JSON engine for a bounded time.

With atheris (installed into a venv of its own under ``.work/``): any disagreement with orjson.
Else with clang: the sanitizer target as a libFuzzer program. Else a sentence says what is missing.
Inputs that fail stay in ``.work/fuzz/crashes``; new inputs that libFuzzer keeps, in
``.work/fuzz/corpus``. Exit status 0 when nothing was found.
"""

from __future__ import annotations

import argparse
import os
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WORK = ROOT / ".work" / "fuzz"
ATHERIS = "atheris>=3,<4"


def atheris_python() -> Path | None:
    """A Python of this version that can import atheris; None when it cannot be had."""
    directory = WORK / f"venv-{sys.version_info.major}.{sys.version_info.minor}"
    python = directory / "bin" / "python"
    probe = [str(python), "-c", "import atheris"]
    if python.exists() and subprocess.run(probe, capture_output=True, check=False).returncode == 0:
        return python
    venv.create(directory, with_pip=True, clear=True)
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    done = subprocess.run([*pip, ATHERIS], capture_output=True, text=True, check=False)
    if done.returncode or subprocess.run(probe, capture_output=True, check=False).returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        print(f"fuzz: atheris cannot be installed ({lines[-1] if lines else 'import fails'})")
        return None
    return python


def libfuzzer() -> Path | None:
    """The sanitizer target built with clang's libFuzzer, or None."""
    clang = shutil.which("clang")
    if clang is None:
        return None
    program = WORK / "libfuzzer"
    command = [clang, "-O1", "-g", "-DFEEDD_LIBFUZZER", "-fsanitize=fuzzer,address,undefined"]
    command += [f"-I{ROOT / 'feedd/decode/src'}", str(HERE / "asan_replay.c"), "-o", str(program)]
    done = subprocess.run([*command, "-lm"], capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"fuzz: clang cannot build a libFuzzer program: {done.stderr.strip()[:300]}")
        return None
    return program


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--engine", choices=("auto", "atheris", "libfuzzer"), default="auto")
    arguments = parser.parse_args()
    for name in ("corpus", "crashes"):
        (WORK / name).mkdir(parents=True, exist_ok=True)
    command: list[str] = []
    if arguments.engine != "libfuzzer" and (python := atheris_python()) is not None:
        command = [str(python), str(HERE / "fuzz_atheris.py")]
    elif arguments.engine != "atheris" and (program := libfuzzer()) is not None:
        command = [str(program)]
    if not command:
        print("fuzz: skipped: neither atheris (pip) nor clang is available on this machine")
        return 0
    command += [
        f"-max_total_time={arguments.seconds}", "-timeout=10", "-rss_limit_mb=2048",
        "-print_final_stats=1", f"-dict={HERE / 'json.dict'}",
        f"-artifact_prefix={WORK / 'crashes'}/", str(WORK / "corpus"), str(HERE / "corpus"),
    ]  # fmt: skip
    # What the engine itself imports comes from the environment that runs this script.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(site.getsitepackages())}
    done = subprocess.run(command, cwd=ROOT, check=False, env=environment)
    if done.returncode == 0:
        print(f"fuzz: nothing found in {arguments.seconds} s")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
