"""From a client id and its secret to the service that asks (RFC 6749, 2.3).

A secret has 256 random bits: no limit is needed against guessing, and none keeps out who has the right one,
whatever others try from the same network. Limits are on failures, so that nobody fills the audit with them.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from usersvc.core import Core, Tx, retried
from usersvc.errors import DatabaseBusy, DatabaseUnavailable, InvalidClient
from usersvc.repositories.services import Credential, Service
from usersvc.security.credentials import is_well_formed
from usersvc.security.limits import Escalating, PerWindow
from usersvc.security.secrets import digest
from usersvc.services._limits import Limit, key_of, too_many
from usersvc.services.actor import Actor
from usersvc.services.attempts import TIMES_PER_48

# How often it is written down that a credential is used.
_USE_TOLD_EVERY = timedelta(hours=1)


@dataclass(frozen=True)
class Client:
    """A service that has shown who it is."""

    service: Service
    credential: Credential
    actor: Actor

    def audiences(self, core: Core) -> list[str]:
        """What it may ask tokens for and look into, of what the settings name still."""
        return [name for name in self.service.audiences if name in core.settings.audiences]


def authenticate_client(core: Core, *, client_id: str, client_secret: str, actor: Actor) -> Client:
    """The active service with this id and this living secret; one read by the digest, whoever asks.

    Raises InvalidClient, with an entry in the audit unless the secret has not even the form of one;
    TooManyAttempts in its place after too many failures, and then nothing is written.
    """
    if not is_well_formed(client_secret):
        raise InvalidClient
    with core.read() as tx:
        found = tx.services.by_digest(digest(client_secret))
        now = tx.now
    if found is None or not _is_it(*found, client_id, now):
        _require_allowed(core, client_id, actor)
        _note_failure(core, client_id, actor)
        raise InvalidClient
    service, credential = found
    client = Client(service, credential, actor.of_service(service.id, service.name))
    if credential.last_used_at is None or now - credential.last_used_at >= _USE_TOLD_EVERY:
        _try_to_note_use(core, credential)
    return client


def _is_it(service: Service, credential: Credential, client_id: str, now: datetime) -> bool:
    return str(service.id) == client_id and service.deactivated_at is None and credential.lives(now)


def _limits(core: Core, client_id: str, actor: Actor) -> list[Limit]:
    """Of the network, and of this client id from this network, by the figures for logins."""
    figures = core.settings.throttle
    window = timedelta(minutes=figures.login_window_minutes)
    in_all = PerWindow(figures.network_login_attempts, window)
    each = Escalating(
        figures.login_attempts,
        window,
        timedelta(minutes=figures.login_pause_minutes),
        timedelta(minutes=figures.login_longest_pause_minutes),
    )
    network, wider = actor.network or "", actor.wider_network
    around = PerWindow(figures.network_login_attempts * TIMES_PER_48, window)
    return [
        *([Limit("client wider", key_of(core, "client wider", wider), around)] if wider else []),
        Limit("client network", key_of(core, "client network", network), in_all),
        Limit("client", key_of(core, "client", client_id, network), each),
    ]


def _require_allowed(core: Core, client_id: str, actor: Actor) -> None:
    """Looked up first, so that a flood of failures does not take turns to write."""
    if not core.settings.throttle.enabled:
        return
    with core.read() as tx:
        for limit in _limits(core, client_id, actor):
            if allowed_at := limit.allowed_at(tx):
                raise too_many(allowed_at, tx.now)


@retried
def _note_failure(core: Core, client_id: str, actor: Actor) -> None:
    with core.write() as tx:
        paused_until = _count(core, tx, client_id, actor) if core.settings.throttle.enabled else None
        detail = {"paused_until": paused_until} if paused_until else {}
        tx.audit(
            actor,
            "service.authentication_failed",
            target=_known(tx, client_id),
            outcome=InvalidClient.code,
            **detail,
        )


def _count(core: Core, tx: Tx, client_id: str, actor: Actor) -> datetime | None:
    """Until when this failure lets no other be tried, if it was one too many. Raises TooManyAttempts."""
    paused_until = None
    for limit in _limits(core, client_id, actor):
        allowed_at, until = limit.take_and_look(tx)
        if allowed_at:
            raise too_many(allowed_at, tx.now)
        paused_until = max(filter(None, (paused_until, until)), default=None)
    return paused_until


def _known(tx: Tx, client_id: str) -> UUID | None:
    try:
        service = tx.services.by_id(UUID(client_id))
    except ValueError:
        return None
    return service.id if service else None


def _try_to_note_use(core: Core, credential: Credential) -> None:
    """A database that takes no writes now keeps nobody from reading."""
    try:
        _note_use(core, credential)
    except (DatabaseBusy, DatabaseUnavailable):
        return


@retried
def _note_use(core: Core, credential: Credential) -> None:
    with core.write() as tx:
        tx.services.note_use(credential, at=tx.now)
