"""aiohttp as feedd imports it: without certificates, and nothing else of TLS has changed."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import ssl
before = ssl.SSLContext.set_default_verify_paths
from feedd.http import aiohttp
from aiohttp import connector
from feedd.reader.net import tls_context
assert ssl.SSLContext.set_default_verify_paths is before
assert "set_default_verify_paths" not in vars(ssl.SSLContext)
context = connector._SSL_CONTEXT_VERIFIED
assert context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname
print(len(context.get_ca_certs()), len(tls_context(None).get_ca_certs()),
      len(ssl.create_default_context().get_ca_certs()))
"""


def test_only_contexts_of_our_own_trust_anybody() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    aiohttps, ours, usual = map(int, done.stdout.split())
    assert aiohttps == 0
    assert ours == usual
