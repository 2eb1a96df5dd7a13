"""The fuzz corpus in the normal suite: against orjson, and under AddressSanitizer."""

from __future__ import annotations

from pathlib import Path

import asan
import differential
import pytest

from tests.fixtures.effort import tries

FILES = sorted(asan.CORPUS.iterdir())


def test_corpus_has_good_and_bad_messages() -> None:
    judged = [differential.check(path.read_bytes()) for path in FILES]
    assert judged.count(True) >= 15
    assert judged.count(False) >= 2


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_truncation_is_judged_like_orjson(path: Path) -> None:
    data = path.read_bytes()
    for end in range(len(data)):
        differential.check(data[:end])


def _sanitizers(tmp_path: Path) -> None:
    reason = asan.missing(tmp_path)
    if reason is not None:
        pytest.skip(reason)


def test_replay_under_sanitizers_finds_nothing(tmp_path: Path) -> None:
    _sanitizers(tmp_path)
    done = asan.replay(asan.build(tmp_path), seed=1, mutations=tries(2_000))
    assert done.returncode == 0, done.stderr
    assert "with rows" in done.stdout


def test_replay_sees_a_read_behind_the_message(tmp_path: Path) -> None:
    """The evidence can fail: without the documented padding the same run must report an error."""
    _sanitizers(tmp_path)
    done = asan.replay(asan.build(tmp_path, "-DREPLAY_PADDING=0"), seed=1, mutations=0)
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr
