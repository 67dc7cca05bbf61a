"""Steps to the keys and the secret key that wraps them, which several use cases share."""

from collections.abc import Iterable
from datetime import timedelta

from usersvc.core import Core, Tx
from usersvc.repositories.keys import StoredKey
from usersvc.security import secret_key
from usersvc.security.keys import Key, Use, WrongSecret, same_secret, unwrap, wrap
from usersvc.services.actor import Actor
from usersvc.settings import SettingsError

# An access token lives an hour at most, whatever the settings say; a cursor is held for an afternoon.
_LAST_TOKEN = {Use.ACCESS: timedelta(hours=1, minutes=1)}
_LAST_USE = timedelta(days=1)
# Retired keys stay listed for so long.
_SHOWN = timedelta(days=30)


def secret_of(core: Core, check: bytes, *, settle: bool = False) -> str:
    """The secret key that this check value is of, from the settings or the file.

    It may still lie beside the file, where a rotation was broken off: `settle` puts it in its place.
    Raises SettingsError where it is missing or there is another one.
    """
    found = secret_key.find(core.settings)
    if found is not None and same_secret(found, check):
        return found
    following = secret_key.find_next(core.settings, check)
    if following is None:
        # It may have taken the place of the file in between.
        found = secret_key.find(core.settings)
        if found is not None and same_secret(found, check):
            return found
        raise missing_secret(core) if found is None else another_secret(core)
    if settle:
        secret_key.take_next(core.settings.secret_key_path, check)
    return following


def accepted(stored: Iterable[StoredKey]) -> list[StoredKey]:
    return [row for row in stored if row.compromised_at is None]


def opened(core: Core, stored: Iterable[StoredKey], secret: str) -> list[Key]:
    """Raises SettingsError where a row was wrapped under another secret key, or changed."""
    try:
        return [
            unwrap(
                Key(row.kid, Use(row.use), row.algorithm, b"", row.public_jwk, row.signs_from),
                row.private_wrapped,
                secret,
            )
            for row in stored
        ]
    except WrongSecret:
        raise another_secret(core) from None


def insert(tx: Tx, key: Key, secret: str, actor: Actor) -> None:
    tx.keys.insert(
        StoredKey(
            kid=key.kid,
            use=key.use,
            algorithm=key.algorithm,
            public_jwk=key.public_jwk,
            private_wrapped=wrap(key, secret),
            created_at=tx.now,
            signs_from=key.signs_from,
        )
    )
    tx.audit(actor, "key.created", use=key.use, kid=key.kid, signs_from=key.signs_from)


def dead(tx: Tx) -> list[str]:
    """The ids of keys under which nothing lives any more."""
    return [row.kid for row in tx.keys.all() if row.retired_at and _is_dead(tx, row)]


def _is_dead(tx: Tx, row: StoredKey) -> bool:
    assert row.retired_at is not None
    since = tx.now - row.retired_at
    if row.compromised_at:
        is_over = since > _SHOWN
    elif row.use == Use.REFRESH:
        is_over = since > timedelta() and not tx.sessions.is_any_refreshed_before(row.retired_at, at=tx.now)
    elif row.use == Use.LINK:
        is_over = since > timedelta()
    else:
        is_over = since > _LAST_TOKEN.get(Use(row.use), _LAST_USE)
    # A link's row names its key, until the purge deletes it.
    return is_over and not tx.link_tokens.is_any_of_key(row.kid)


def missing_secret(core: Core) -> SettingsError:
    return SettingsError(
        [
            f"{core.settings.secret_key_path}: the secret key is missing that this database was made with: "
            "put the file back, or set server.secret_key. Without it no token and no link can be made or "
            "checked."
        ]
    )


def another_secret(core: Core) -> SettingsError:
    return SettingsError(
        [
            f"{origin_of_secret(core)}: this is not the secret key that the database "
            f"{core.database.address} was made with: put that one back. Nothing was changed."
        ]
    )


def origin_of_secret(core: Core) -> str:
    """Where the settings take it from."""
    named = "server.secret_key" if core.settings.server.secret_key.get_secret_value() else ""
    return named or str(core.settings.secret_key_path)
