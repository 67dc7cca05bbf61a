"""The published keys (RFC 7517): fetched seldom, kept, and never fetched because strangers want it."""

import asyncio
import ipaddress
import logging
import math
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jwt

from .claims import strict_json
from .errors import InvalidToken, KeysUnavailable

# One for each kind of key: neither the token nor the key has a say. RFC 8725, section 3.1.
ALGORITHM_OF = {("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA", ("RSA", None): "RS256"}
MOST_OF_A_KID = 128
_MOST_BYTES = 65536
_LEAST_BITS_OF_RSA = 2048
# Where there are no keys at all, a server that is just starting is asked again soon.
_PAUSE_WITHOUT_KEYS = 2.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Key:
    algorithm: str
    public: Any


@dataclass(frozen=True)
class _Found:
    by_kid: dict[str, Key]
    at: float


class Keys:
    """The keys as they were fetched last. All times in seconds; TokenVerifier says what they mean."""

    def __init__(
        self,
        fetch: Callable[[], dict[str, Key]],
        *,
        lifetime: float,
        pause: float,
        timeout: float,
        keep: float,
        timer: Callable[[], float],
    ) -> None:
        self._fetch, self._timer = fetch, timer
        self._lifetime, self._pause, self._timeout, self._keep = lifetime, pause, timeout, keep
        self._found = _Found({}, -math.inf)
        self._lock = threading.Lock()
        self._begun_at = -math.inf
        self._running: Future[None] | None = None

    def due(self, kid: str) -> Future[None] | None:
        """The fetch to be waited for, begun where none runs; None where waiting would not help."""
        if self._answers(kid):
            return None
        with self._lock:
            now = self._timer()
            if self._answers(kid):
                return None
            running = self._running
            # One that has not come back by then never will.
            if running and not running.done() and now < self._begun_at + self._pause:
                return running
            if now < self._next_at(now):
                return None
            self._begun_at, self._running = now, Future()
            # A task that waits and is cancelled would cancel it for all others.
            self._running.set_running_or_notify_cancel()
            threading.Thread(target=self._refresh, args=(self._running, now), daemon=True).start()
            return self._running

    def wait(self, fetch: Future[None]) -> None:
        """Until it is done, or the time for it is over."""
        try:
            fetch.result(self._timeout)
        except TimeoutError:
            _log.warning("the keys of access tokens do not come; going on without")

    async def wait_async(self, fetch: Future[None]) -> None:
        _, late = await asyncio.wait([asyncio.wrap_future(fetch)], timeout=self._timeout)
        if late:
            _log.warning("the keys of access tokens do not come; going on without")

    def at_hand(self, kid: str) -> Key:
        """Raises InvalidToken where there is no such key, KeysUnavailable where nobody knows."""
        now, found = self._timer(), self._found
        if now - found.at < self._keep and kid in found.by_kid:
            return found.by_kid[kid]
        if now - found.at < self._lifetime:
            raise InvalidToken
        raise KeysUnavailable(max(1, math.ceil(self._next_at(now) - now)))

    def _answers(self, kid: str) -> bool:
        found = self._found
        return kid in found.by_kid and self._timer() - found.at < self._lifetime

    def _next_at(self, now: float) -> float:
        usable = now - self._found.at < self._keep
        return self._begun_at + (self._pause if usable else min(self._pause, _PAUSE_WITHOUT_KEYS))

    def _refresh(self, running: Future[None], begun_at: float) -> None:
        try:
            fetched = _Found(self._fetch(), begun_at)
            with self._lock:
                # Not where a later one was faster.
                if fetched.at > self._found.at:
                    self._found = fetched
        except Exception as error:
            # Whatever it is, those who wait go on with what there is.
            _log.warning("the keys of access tokens cannot be fetched: %s: %s", type(error).__name__, error)
        finally:
            running.set_result(None)


def checked_url(url: str, *, allow_http: bool) -> str:
    """Raises ValueError for what is neither https nor on this machine."""
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.username or parts.fragment:
        raise ValueError("The address of the keys has to be https://HOST/PATH.")
    if parts.scheme == "http" and not allow_http and not _is_this_machine(parts.hostname):
        raise ValueError("The address of the keys is not https: who is on the way could put in keys of his.")
    return url


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def opener_of(context: ssl.SSLContext | None, *, with_proxies: bool) -> urllib.request.OpenerDirector:
    """Nothing in it follows a redirect or opens a file."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(None if with_proxies else {}),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=context),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def fetched(opener: urllib.request.OpenerDirector, url: str, timeout: float) -> dict[str, Key]:
    """By their kid. Raises whatever HTTP can, and ValueError for an answer without one usable key."""
    deadline = time.monotonic() + timeout
    body = b""
    with opener.open(url, timeout=timeout) as answer:
        while piece := answer.read1(_MOST_BYTES):
            body += piece
            if len(body) > _MOST_BYTES or time.monotonic() > deadline:
                raise ValueError("the answer is too long, or comes too slowly")
    published = strict_json(body).get("keys")
    if not isinstance(published, list):
        raise ValueError("the answer is no set of keys")
    keys = {jwk["kid"]: key for jwk in published if (key := _usable(jwk))}
    if not keys:
        raise ValueError("there is no key in it that could be used")
    return keys


def _usable(jwk: Any) -> Key | None:
    """A public key for signatures, with the one algorithm of its kind; None for any other."""
    try:
        algorithm = ALGORITHM_OF[jwk["kty"], jwk.get("crv")]
        named = isinstance(jwk["kid"], str) and 0 < len(jwk["kid"]) <= MOST_OF_A_KID
        fits = jwk.get("alg", algorithm) == algorithm and jwk.get("use", "sig") == "sig"
        if not named or not fits or "d" in jwk:
            return None
        public = jwt.PyJWK(jwk, algorithm).key
    except (jwt.PyJWTError, LookupError, ValueError, TypeError, AttributeError):
        return None
    if algorithm == "RS256" and public.key_size < _LEAST_BITS_OF_RSA:
        return None
    return Key(algorithm, public)
