"""Compare every ``.pyi`` of a compiled module with the module itself (mypy.stubtest)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    stubs = sorted((ROOT / "feedd").rglob("*.pyi"))
    modules = [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in stubs]
    allow = ROOT / "tests" / "typing" / "stubtest_allow.txt"
    return subprocess.call(
        [
            sys.executable,
            "-m",
            "mypy.stubtest",
            "--ignore-missing-stub",
            "--allowlist",
            str(allow),
            "--ignore-unused-allowlist",
            "--ignore-disjoint-bases",
            "--ignore-positional-only",
            *modules,
        ],
        cwd=ROOT,
    )


if __name__ == "__main__":
    sys.exit(main())
