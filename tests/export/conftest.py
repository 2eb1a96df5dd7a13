"""Daemons of tests/supervisor and segments of tests/client, for the export."""

from tests.client.conftest import daemon, directory
from tests.supervisor.conftest import make_daemon

__all__ = ["daemon", "directory", "make_daemon"]
