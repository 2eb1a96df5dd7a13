"""An atheris target: mutates corpus messages and compares the native engine with orjson.

Run by ``run.py`` with libFuzzer's own arguments. atheris sees the coverage of ``differential``
(which paths exist, which types values have), not that of the C code.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]

with atheris.instrument_imports(include=["differential"]):
    import differential


def main() -> None:
    atheris.Setup(sys.argv, lambda data: differential.check(data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
