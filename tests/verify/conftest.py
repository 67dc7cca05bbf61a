"""Fixtures: keys, a server that publishes them and counts, and a verifier whose clocks the test moves."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from tests.forgery import forged, signing
from usersvc.security.keys import Key, KeyRing, Use, make_key
from usersvc.verify import TokenVerifier

ISSUER = "https://users.example.org"
AUDIENCE = "orders"
NOW = 1_772_366_400
Answer = tuple[int, dict[str, str], bytes]


def weak_rsa_key() -> Key:
    private = rsa.generate_private_key(65537, 1024)
    public = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    del public["key_ops"]
    return Key(str(uuid4()), Use.ACCESS, "RS256", private, public)


def published(*keys: Key) -> bytes:
    return json.dumps(KeyRing(keys).jwks()).encode()


CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "01950000-0000-7000-8000-000000000001",
    "client_id": "usersvc",
    "sid": "01950000-0000-7000-8000-000000000002",
    "jti": "01950000-0000-7000-8000-000000000003",
    "iat": NOW,
    "nbf": NOW,
    "exp": NOW + 600,
    "role": "moderator",
    "permissions": ["content:manage"],
    "groups": ["editors"],
}


def signed(key: Key, *, header: dict[str, Any] | None = None, without: str = "", **claims: Any) -> str:
    """An access token with a good signature, and what is changed in it."""
    made = {"alg": key.algorithm, "typ": "at+jwt", "kid": key.kid, **(header or {})}
    return forged(made, {k: v for k, v in {**CLAIMS, **claims}.items() if k != without}, _signing(key))


def _signing(key: Key) -> Callable[[bytes], bytes]:
    if key.algorithm == "RS256" and key.private.key_size < 2048:
        return lambda message: RSAAlgorithm(RSAAlgorithm.SHA256).sign(message, key.private)
    return signing(key)


class Publisher:
    """Answers with `answer`, counts how often, and waits before it while `gate` is closed."""

    def __init__(self, url: str, *keys: Key) -> None:
        self.url = url
        self.asked = 0
        self.paths: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.publish(*keys)

    def publish(self, *keys: Key) -> None:
        self.answer: Answer = (200, {}, published(*keys))

    def fail(self) -> None:
        self.answer = (500, {}, b"")


@contextmanager
def publishing(*keys: Key) -> Iterator[Publisher]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            publisher.asked += 1
            publisher.paths.append(self.path)
            publisher.gate.wait(30)
            status, headers, body = publisher.answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):  # whoever asked may be gone
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    publisher = Publisher(f"http://127.0.0.1:{server.server_port}/.well-known/jwks.json", *keys)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield publisher
    finally:
        publisher.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()


class World:
    """A relying service: its verifier, what usersvc publishes to it, and its two clocks."""

    def __init__(self, publisher: Publisher, key: Key) -> None:
        self.publisher = publisher
        self.key = key
        self.now = float(NOW)
        self.age = 1000.0
        self.verifier = self.another()

    def another(self, **values: Any) -> TokenVerifier:
        return TokenVerifier(
            ISSUER,
            AUDIENCE,
            **{
                "jwks_url": self.publisher.url,
                "clock": lambda: self.now,
                "timer": lambda: self.age,
                "timeout_seconds": 20,
                **values,
            },
        )


@pytest.fixture(scope="session")
def key() -> Key:
    return make_key(Use.ACCESS)


@pytest.fixture
def world(key: Key) -> Iterator[World]:
    with publishing(key) as publisher:
        yield World(publisher, key)
