"""The key ring: made at the first start, by whoever comes first; opened by every process."""

from usersvc.core import Core, Tx, retried
from usersvc.repositories.keys import StoredKey
from usersvc.security import secret_key
from usersvc.security.keys import (
    Key,
    KeyRing,
    Use,
    WrongSecret,
    make_key,
    same_secret,
    secret_check,
    unwrap,
    wrap,
)
from usersvc.security.webhook_secrets import WebhookSecrets
from usersvc.services.actor import Actor
from usersvc.settings import SettingsError


def open_ring(core: Core) -> None:
    """Give the core its keys, made now if this database has none.

    Raises SettingsError where the secret key is missing, or is not the one that the database's
    keys were wrapped with. Nothing is replaced then.
    """
    secret = _find_secret(core)
    with core.read() as tx:
        stored = tx.keys.all()
    if not stored:
        stored = _make_ring(core, secret)
    _require_same(core, secret)
    core.key_ring = _unwrap_all(core, stored, secret)
    core.webhook_secrets = WebhookSecrets(secret)


def check_ring(core: Core) -> int:
    """How many keys the secret key opens: all of them, or this raises as `open_ring` does. Makes nothing."""
    secret = secret_key.find(core.settings)
    with core.read() as tx:
        stored, was_made = tx.keys.all(), tx.keys.secret_check() is not None
    if not was_made:
        return 0
    if secret is None:
        raise _missing_secret(core)
    _require_same(core, secret)
    _unwrap_all(core, stored, secret)
    return len(stored)


def _find_secret(core: Core) -> str:
    secret = secret_key.find(core.settings)
    if secret is not None:
        return secret
    path = core.settings.secret_key_path
    with core.read() as tx:
        has_keys = tx.keys.secret_check() is not None
    if not has_keys:
        secret_key.make(path)
    # Looked for again in any case: another process may have made file and keys in this moment.
    found = secret_key.find(core.settings)
    if found is None:
        raise _missing_secret(core)
    return found


@retried
def _make_ring(core: Core, secret: str) -> list[StoredKey]:
    made = [make_key(use) for use in Use]
    with core.write(wait=60) as tx:
        if tx.keys.remember_secret(secret_check(secret), at=tx.now):
            by = Actor.job("start")
            tx.audit(by, "secret.set")
            for key in made:
                tx.keys.insert(_stored(tx, key, secret))
                tx.audit(by, "key.created", use=key.use, kid=key.kid)
        return tx.keys.all()


def _require_same(core: Core, secret: str) -> None:
    with core.read() as tx:
        check = tx.keys.secret_check()
    if check is None or not same_secret(secret, check):
        raise _another_secret(core)


def _stored(tx: Tx, key: Key, secret: str) -> StoredKey:
    return StoredKey(
        kid=key.kid,
        use=key.use,
        algorithm=key.algorithm,
        public_jwk=key.public_jwk,
        private_wrapped=wrap(key, secret),
        created_at=tx.now,
        signs_from=tx.now,
    )


def _unwrap_all(core: Core, stored: list[StoredKey], secret: str) -> KeyRing:
    living = [row for row in stored if row.compromised_at is None]
    try:
        keys = [
            unwrap(
                Key(row.kid, Use(row.use), row.algorithm, b"", row.public_jwk), row.private_wrapped, secret
            )
            for row in living
        ]
    except WrongSecret:
        raise _another_secret(core) from None
    return KeyRing(keys, current=[row.kid for row in living if row.retired_at is None])


def _missing_secret(core: Core) -> SettingsError:
    return SettingsError(
        [
            f"{core.settings.secret_key_path}: the secret key is missing that this database was made with: "
            "put the file back, or set server.secret_key. Without it no token and no link can be made or "
            "checked."
        ]
    )


def _another_secret(core: Core) -> SettingsError:
    origin = "server.secret_key" if core.settings.server.secret_key.get_secret_value() else ""
    return SettingsError(
        [
            f"{origin or core.settings.secret_key_path}: this is not the secret key that the database "
            f"{core.database.address} was made with: put that one back. Nothing was changed."
        ]
    )
