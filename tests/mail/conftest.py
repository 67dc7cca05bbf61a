"""A certificate authority for the mail servers of these tests."""

import ssl
from pathlib import Path

import pytest
import trustme

from tests.smtp import ca_file, certificate


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    """The certificate of a server on 127.0.0.1."""
    return certificate(authority, "127.0.0.1")


@pytest.fixture
def ca(authority: trustme.CA, tmp_path: Path) -> Path:
    return ca_file(authority, tmp_path)
