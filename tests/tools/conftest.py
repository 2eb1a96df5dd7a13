"""The segments of tests/client, for tests of the tools."""

from tests.client.conftest import daemon, directory

__all__ = ["daemon", "directory"]
