"""The secret key replaced: the ring wrapped anew, or, where the old one was seen by others, made anew."""

from dataclasses import dataclass

from usersvc.core import Core, Tx, retried
from usersvc.errors import KeysChanged, NewSecretMissing, NewSecretUnfit
from usersvc.repositories.keys import StoredKey
from usersvc.security import secret_key
from usersvc.security.keys import Key, Use, make_key, secret_check, wrap
from usersvc.security.webhook_secrets import WebhookSecrets
from usersvc.services import _keys, authorization
from usersvc.services.actor import Actor
from usersvc.setting_types import secret_key_problem


@dataclass(frozen=True)
class Rotated:
    keys: int
    """Wrapped anew, or made."""
    sessions: int
    """Ended."""
    links: int
    """Ended."""
    webhooks: int
    """Whose secrets are wrapped anew. They stay: their receivers have to be told another one first."""
    in_file: bool
    """Whether the new secret key is in the file already; else the operator must set it."""


def rotate_secret(
    core: Core, *, new_secret: str | None = None, compromised: bool = False, actor: Actor
) -> Rotated:
    """Replace the secret key; without `new_secret` by a random one, where it is kept in a file.

    The keys stay and are wrapped anew, so that nobody is logged out. DANGER, with `compromised`: who has the
    old secret key and a copy of the database could sign with them, so every key is made anew, what the old
    ones signed is refused, and all sessions and links end.

    The file is replaced after the database; where that is broken off, the next start completes it. Where
    the secret key comes from the settings, running processes go on, and need the new one when they start.
    Raises Forbidden; NewSecretMissing, NewSecretUnfit; KeysChanged where somebody else was at it too.
    """
    authorization.require_operator(actor)
    in_file = not core.settings.server.secret_key.get_secret_value()
    if new_secret is None and not in_file:
        raise NewSecretMissing
    secret = new_secret or secret_key.random_key()
    if problem := secret_key_problem(secret):
        raise NewSecretUnfit(f"The new secret key cannot be used: {problem}.")
    algorithm = core.settings.tokens.algorithm
    fresh = [make_key(use, algorithm, signs_from=core.clock.now()) for use in Use] if compromised else []
    rotated = _rotate(core, secret, fresh, in_file, actor)
    if in_file:
        secret_key.take_next(core.settings.secret_key_path, secret_check(secret))
    return rotated


@retried
def _rotate(core: Core, secret: str, fresh: list[Key], in_file: bool, actor: Actor) -> Rotated:
    with core.write(wait=60) as tx:
        old_check = tx.keys.hold()
        if old_check is None:
            raise KeysChanged
        # In its place first: `write_next` removes what lies beside the file, and this may be the only copy.
        old_secret = _keys.secret_of(core, old_check, settle=True)
        accepted = _keys.accepted(tx.keys.all())
        if in_file:
            # In here, while nobody else can be about to replace it; before the database knows it.
            secret_key.write_next(core.settings.secret_key_path, secret, secret_check(secret))
        tx.keys.replace_secret(secret_check(secret))
        webhooks = _rewrap_webhooks(tx, WebhookSecrets(old_secret), WebhookSecrets(secret))
        if not fresh:
            for key in _keys.opened(core, accepted, old_secret):
                tx.keys.rewrap(key.kid, wrap(key, secret))
            tx.audit(actor, "secret.rotated", compromised=False)
            return Rotated(len(accepted), 0, 0, webhooks, in_file)
        sessions, links = _make_anew(tx, accepted, fresh, secret, actor)
        tx.audit(actor, "secret.rotated", compromised=True, sessions=sessions, links=links)
        return Rotated(len(fresh), sessions, links, webhooks, in_file)


def _make_anew(tx: Tx, old: list[StoredKey], fresh: list[Key], secret: str, actor: Actor) -> tuple[int, int]:
    """How many sessions and links ended."""
    for row in old:
        tx.keys.refuse(row.kid, at=tx.now, retired_at=min(row.retired_at or tx.now, tx.now))
        tx.audit(actor, "key.refused", use=row.use, kid=row.kid)
    for key in fresh:
        _keys.insert(tx, key, secret, actor)
    tx.known_devices.forget_all()
    sessions = tx.sessions.end_all_of_all("secret key compromised", at=tx.now)
    return sessions, tx.link_tokens.revoke_all_of_all(at=tx.now)


def _rewrap_webhooks(tx: Tx, old: WebhookSecrets, new: WebhookSecrets) -> int:
    """How many webhooks there are."""
    found = tx.webhooks.all()
    for webhook in found:
        wrapped = {
            name: new.wrap(webhook.id, old.open(webhook.id, value))
            for name in ("secret_wrapped", "old_secret_wrapped")
            if (value := getattr(webhook, name))
        }
        tx.webhooks.update(webhook.id, at=webhook.updated_at, **wrapped)
    return len(found)
