"""Access tokens of services that act for themselves: the grant client_credentials (RFC 6749, 4.4)."""

from dataclasses import dataclass
from datetime import timedelta

from usersvc.core import Core
from usersvc.errors import InvalidScope, UnknownAudience
from usersvc.services.client_authentication import Client


@dataclass(frozen=True)
class ServiceToken:
    access_token: str
    expires_in: int
    """Seconds."""
    permissions: list[str]


def issue(core: Core, *, client: Client, scope: list[str] | None, audience: str | None) -> ServiceToken:
    """A token for one audience of the client, with the permissions that `scope` names, or all it has.

    Without `audience` for the only one that the client has. It opens no route of usersvc: those take
    tokens of sessions alone. Good for `tokens.access_minutes`, and never longer than the credential.
    Raises InvalidScope, UnknownAudience. Changes nothing, so there is nothing to tell in the audit.
    """
    held = client.service.permissions
    permissions = held if scope is None else sorted(set(scope))
    if not set(permissions) <= set(held):
        raise InvalidScope
    now = core.clock.now()
    until = now + timedelta(minutes=core.settings.tokens.access_minutes)
    if client.credential.expires_at is not None:
        until = min(until, client.credential.expires_at)
    token = core.tokens.sign_service(
        service_id=client.service.id,
        credential_id=client.credential.id,
        audience=_audience(client.audiences(core), audience),
        permissions=permissions,
        at=now,
        expires_at=until,
    )
    return ServiceToken(token, int((until - now).total_seconds()), permissions)


def _audience(allowed: list[str], asked: str | None) -> str:
    if asked is None and len(allowed) == 1:
        return allowed[0]
    if asked is None:
        raise UnknownAudience("Name the audience: this client has none, or several.")
    if asked not in allowed:
        raise UnknownAudience("This client may not ask for a token for this audience.")
    return asked
