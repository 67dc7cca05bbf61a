"""From a request to one use case: who calls, on which threads, in one hop."""

import math
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any, TypeVar

import anyio
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from usersvc import logs
from usersvc.api.client_address import client_address, looks_like_a_proxy, networks, on_this_machine
from usersvc.api.counting import Counts
from usersvc.api.threads import Kind, Threads
from usersvc.core import Core
from usersvc.errors import DomainError, InvalidToken
from usersvc.services.actor import Actor
from usersvc.services.authentication import authenticate

Result = TypeVar("Result")

_log = logs.get("usersvc.api")

PREFIX = "/api/v1"
# Nobody writes down who read, so what he came from is not looked for.
_READER = Actor("anonymous")
# What proxies add to a request, besides X-Forwarded-For.
_OF_PROXIES = ("forwarded", "via", "x-real-ip", "x-forwarded-host", "x-forwarded-proto")

bearer_of = HTTPBearer(
    auto_error=False,
    scheme_name="Bearer",
    description="Paste the `access_token` that logging in answers with.",
)
BearerToken = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer_of)]


class Readiness:
    """What the last look found, kept for a second: strangers who ask often cause no more writes."""

    SECONDS = 1.0

    def __init__(self) -> None:
        self._lock = anyio.Lock()
        self._looked_at = -math.inf
        self._found: DomainError | None = None

    async def problem(self, look: Callable[[], Awaitable[None]]) -> DomainError | None:
        """What `look` raised, now or within the last second; None where it passed."""
        async with self._lock:
            if time.monotonic() - self._looked_at >= self.SECONDS:
                self._found = None
                try:
                    await look()
                except DomainError as error:
                    self._found = error
                self._looked_at = time.monotonic()
            return self._found


class Face:
    """What the routes find in `request.app.state.face`."""

    def __init__(self, core: Core, *, counts: Counts, draining: Callable[[], bool]) -> None:
        self.core = core
        self.counts = counts
        self.threads = Threads(hashing_places=core.hashing.places)
        self.draining = draining
        self.readiness = Readiness()
        self.trusted = networks(core.settings.server.trusted_proxies)
        self._told_of_a_proxy = False

    def client(self, request: Request) -> str | None:
        """The address that a request comes from."""
        peer = request.client.host if request.client else None
        forwarded = request.headers.getlist("x-forwarded-for")
        if forwarded and not self.trusted and not self._told_of_a_proxy and looks_like_a_proxy(peer):
            self._told_of_a_proxy = True
            _log.warning(
                "X-Forwarded-For from a peer that is not trusted: the limits count it as one client; "
                "is it a proxy of yours? Then name it in server.trusted_proxies",
                peer=peer,
            )
        return client_address(peer, forwarded, self.trusted)

    def is_on_this_machine(self, request: Request) -> bool:
        """Whether a program on this machine asks, and nobody from elsewhere through a proxy on it."""
        peer = request.client.host if request.client else None
        forwarded = request.headers.getlist("x-forwarded-for")
        if not forwarded and any(name in request.headers for name in _OF_PROXIES):
            return False
        return on_this_machine(peer, forwarded, self.trusted)


def face_of(request: Request) -> Face:
    face: Face = request.app.state.face
    return face


def caller(request: Request) -> Actor:
    """Whoever sent this, not known yet."""
    return Actor(
        "anonymous",
        ip=face_of(request).client(request),
        user_agent=logs.printable(request.headers.get("user-agent", "")).strip() or None,
        request_id=request.state.request_id,
    )


async def run(
    request: Request, use_case: Callable[..., Result], /, *, on: Kind = "ordinary", **values: Any
) -> Result:
    """A use case that anybody may call, `on` one of that kind of threads."""
    face = face_of(request)
    work = partial(use_case, face.core, **values, actor=caller(request))
    return await face.threads.of(on).run(work)


async def run_signed_in(
    request: Request,
    bearer: BearerToken,
    use_case: Callable[..., Result],
    /,
    *,
    on: Kind = "ordinary",
    **values: Any,
) -> Result:
    """A use case of the bearer's own; finding out who he is takes place in the same thread.

    Raises InvalidToken, TokenExpired, SessionEnded besides what the use case raises.
    """
    face, stranger, token = face_of(request), caller(request), _token(bearer)

    def as_the_bearer() -> Result:
        actor, _ = authenticate(face.core, access_token=token, actor=stranger)
        note_user(request, actor.user_id)
        return use_case(face.core, **values, actor=actor)

    return await face.threads.of(on).run(as_the_bearer)


async def read_one_row(request: Request, bearer: BearerToken, use_case: Callable[..., Result], /) -> Result:
    """A read of one row by its key; of a file in the event loop, since in WAL no reader waits for a lock.

    Nothing else may be called so: see docs/decisions/0001-synchronous-core.md.
    """
    face = face_of(request)
    read = partial(use_case, face.core, access_token=_token(bearer), actor=_READER)
    if face.core.database.path:
        return read()
    # A server may be far away, or swallow what it is asked.
    return await face.threads.glances.run(read)


def _token(bearer: BearerToken) -> str:
    if bearer is None:
        raise InvalidToken("Send an access token: Authorization: Bearer TOKEN")
    return bearer.credentials


def note_user(request: Request, user_id: object) -> None:
    """For the log line of the request."""
    request.scope["state"]["user_id"] = user_id
