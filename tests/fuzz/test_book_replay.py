"""The native book under random changes, with sanitizers: ``book_replay.c``, ``book_scales.c``."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.fixtures.effort import seeds
from tests.fuzz.asan import HERE, ROOT, SANITIZE, missing


def build(name: str, directory: Path) -> Path:
    reason = missing(directory)
    if reason is not None:
        pytest.skip(reason)
    found = directory / name
    command = ["gcc", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-unused", *SANITIZE]
    command += [f"-I{ROOT / 'feedd' / part / 'src'}" for part in ("decode", "book")]
    command.append(f"-I{ROOT / 'feedd/shm/include'}")
    subprocess.run([*command, str(HERE / f"{name}.c"), "-o", str(found), "-lm"], check=True)
    return found


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("book_replay", tmp_path_factory.mktemp("book"))


@pytest.fixture(scope="module")
def scales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("book_scales", tmp_path_factory.mktemp("scales"))


def replay(program: Path, seed: int, much: int) -> str:
    done = subprocess.run(
        [str(program), str(seed), str(much)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("seed", seeds(3, first=1))
def test_what_a_book_keeps_agrees(program: Path, seed: int) -> None:
    assert "moved" in replay(program, seed, 3000)


@pytest.mark.parametrize("seed", seeds(2, first=1))
def test_a_book_whose_prices_change_their_scale(scales: Path, seed: int) -> None:
    assert "12000 messages" in replay(scales, seed, 40)
