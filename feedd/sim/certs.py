"""A certificate authority for one run, so that clients verify TLS as they would in production."""

from __future__ import annotations

import ssl
from pathlib import Path

from feedd.errors import StartError

CA_FILE = "ca.pem"
HOSTS = ("127.0.0.1", "localhost", "::1")


def server_context(directory: Path) -> tuple[ssl.SSLContext, Path]:
    """Make a CA and a server certificate; returns the TLS context and the CA's PEM file.

    The private keys stay in memory apart from the moment OpenSSL reads them. Raises StartError
    when the directory cannot be written or trustme is not installed.
    """
    try:
        import trustme
    except ImportError as error:
        raise StartError(
            "the simulated venue makes its test certificate with trustme, which is not installed: "
            "pip install 'feedd[sim]', or use --no-tls"
        ) from error
    authority = trustme.CA()
    certificate = authority.issue_cert(*HOSTS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    certificate.configure_cert(context)
    path = directory / CA_FILE
    try:
        directory.mkdir(parents=True, exist_ok=True)
        authority.cert_pem.write_to_path(path)
    except OSError as error:
        raise StartError(
            f"cannot write the test certificate authority to {path}: {error.strerror}; "
            "choose another --cert-dir"
        ) from error
    return context, path.resolve()
