"""The segments of tests/client, for tests of the demo's consumer."""

from tests.client.conftest import daemon, directory

__all__ = ["daemon", "directory"]
