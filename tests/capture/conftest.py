"""Simulator and daemon of tests/supervisor, for recordings."""

from tests.supervisor.conftest import make_daemon, sim

__all__ = ["make_daemon", "sim"]
