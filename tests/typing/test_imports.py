"""Imports point one way: a package may only import what stands below it in this table."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# package -> packages of feedd that it may import (itself and the leaf modules always)
LEAVES = {"records", "errors", "clock", "limits", "logs", "http"}
ALLOWED: dict[str, set[str]] = {
    "shm": set(),
    "decode": {"shm", "venues"},
    "book": {"decode"},
    "venues": {"shm", "toml_lint", "toml_lines"},
    "pipeline": {"shm", "decode", "book", "venues"},
    "capture": {"shm", "decode", "book", "venues", "pipeline"},
    "client": {"shm"},
    "reader": {"shm", "decode", "book", "venues", "pipeline"},
    "metrics": {"shm"},
    "control": {"shm", "client"},
    "broadcaster": {"shm", "client", "reader", "venues"},
    "sim": set(),
    "supervisor": {
        "shm",
        "decode",
        "venues",
        "pipeline",
        "reader",
        "broadcaster",
        "records_doc",
        "capture",
        "client",
        "control",
        "metrics",
        "toml_lint",
        "toml_lines",
    },
    "demo": {"shm", "client", "control", "sim", "supervisor"},
    "toml_lint": {"toml_lines"},
    "toml_lines": set(),
    "bench": {"shm", "client", "decode", "venues", "pipeline", "capture", "reader", "sim"},
    "cli": {"bench", "capture", "control", "demo", "export", "sim", "supervisor", "venues"},
    "export": {"shm", "pipeline", "venues", "capture", "client"},
    "__init__": {"client"},
    "__main__": {"cli"},
    "records": set(),
    "errors": set(),
    "clock": set(),
    "http": set(),
    "limits": set(),
    "records_doc": set(),
    "logs": set(),
}
_CIMPORT = re.compile(
    r"^\s*(?:from\s+(feedd[\w.]*)\s+c?import\s+(.+)|c?import\s+(feedd[\w.]*))", re.MULTILINE
)


def _package(path: Path) -> str:
    parts = path.relative_to(ROOT / "feedd").parts
    return parts[0] if len(parts) > 1 else path.stem


def _imported(path: Path) -> set[str]:
    text = path.read_text()
    found: set[str] = set()
    if path.suffix in (".pyx", ".pxd"):
        for module, names, plain in _CIMPORT.findall(text):
            found |= _targets(module or plain, names.replace("(", " ").replace(",", " ").split())
        return found
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= _targets(node.module, [a.name for a in node.names])
        elif isinstance(node, ast.Import):
            for alias in node.names:
                found |= _targets(alias.name, [])
    return found


def _targets(module: str, names: list[str]) -> set[str]:
    parts = module.split(".")
    if parts[0] != "feedd":
        return set()
    if len(parts) > 1:
        return {parts[1]}
    return {name for name in names if name in ALLOWED}


def test_every_package_imports_only_what_is_below_it() -> None:
    wrong = []
    for path in sorted((ROOT / "feedd").rglob("*")):
        if path.suffix not in (".py", ".pyi", ".pyx", ".pxd"):
            continue
        package = _package(path)
        assert package in ALLOWED, f"{path}: give the package {package!r} a place in this table"
        allowed = ALLOWED[package] | LEAVES | {package}
        wrong += [
            f"{path.relative_to(ROOT)} imports feedd.{target}"
            for target in sorted(_imported(path) - allowed)
        ]
    assert wrong == []


def test_a_consumer_loads_no_network_code() -> None:
    import subprocess
    import sys

    code = (
        "import sys, feedd; feedd.attach; "
        "print(sorted({m.split('.')[0] for m in sys.modules} & "
        "{'picows', 'aiohttp', 'zmq', 'ssl', 'uvloop', 'click', 'msgspec'}))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert out.stdout.strip() == "[]"
