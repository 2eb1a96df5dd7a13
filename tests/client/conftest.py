"""A private directory in shared memory, and a daemon's segments in it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import feedd
from feedd.client.feed import Feed
from tests.client.segments import Daemon


@pytest.fixture
def directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix=f"feedd-test-{os.getpid()}-", dir="/dev/shm"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def daemon(directory: Path) -> Iterator[Daemon]:
    made = Daemon(directory)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def listed(daemon: Daemon) -> Daemon:
    """With one instrument, deribit:BTC-PERPETUAL, of the first reader."""
    daemon.list("deribit", "BTC-PERPETUAL", reader=0)
    return daemon


@pytest.fixture
def feed(listed: Daemon, directory: Path) -> Feed:
    return feedd.attach(directory)
