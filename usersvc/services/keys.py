"""The key ring: made at the first start, by whoever comes first; opened by every process, and followed."""

from dataclasses import replace
from datetime import timedelta

from usersvc import logs
from usersvc.core import Core, retried
from usersvc.security import secret_key
from usersvc.security.keys import Key, KeyRing, Use, make_key, secret_check
from usersvc.security.webhook_secrets import WebhookSecrets
from usersvc.services import _keys
from usersvc.services.actor import Actor
from usersvc.settings import SettingsError

# So often every process that serves or works looks whether the ring was changed.
FOLLOWED_EVERY = timedelta(seconds=2)

_log = logs.get("usersvc.keys")


def open_ring(core: Core) -> None:
    """Give the core its keys, made now if this database has none.

    Raises SettingsError where the secret key is missing, or is not the one that the database's
    keys were wrapped with. Nothing is replaced then.
    """
    _make_if_there_is_none(core)
    secret, opened = _opened(core)
    core.key_ring = KeyRing(opened)
    core.webhook_secrets = WebhookSecrets(secret)


def follow(core: Core) -> None:
    """Take over what others changed in the ring since this core has it.

    Where a new key cannot be opened, since the settings of this process hold a secret key that was replaced,
    it goes on with those that it has and that are still accepted.
    """
    with core.read() as tx:
        stored, check = _keys.accepted(tx.keys.all()), tx.keys.secret_check() or b""
    known = {key.kid: key for key in core.key_ring.keys}
    ring = {row.kid: replace(known[row.kid], signs_from=row.signs_from) for row in stored if row.kid in known}
    unknown = [row for row in stored if row.kid not in known]
    is_same_secret = core.webhook_secrets.check == check
    if ring == known and not unknown and is_same_secret:
        return
    try:
        secret = _keys.secret_of(core, check)
        opened = _keys.opened(core, unknown, secret)
    except SettingsError as error:
        if len(ring) < len(known):
            core.key_ring = KeyRing(ring.values())
            _log.error("the new keys cannot be opened: start this process again", reason=str(error))
        return
    core.key_ring = KeyRing([*ring.values(), *opened])
    core.webhook_secrets = WebhookSecrets(secret)
    _log.info("keys changed", keys=len(ring) + len(opened))


def check_ring(core: Core) -> int:
    """How many keys the secret key opens: all of them, or this raises as `open_ring` does. Makes nothing."""
    with core.read() as tx:
        stored, check = _keys.accepted(tx.keys.all()), tx.keys.secret_check()
    return len(_keys.opened(core, stored, _keys.secret_of(core, check))) if check else 0


def _opened(core: Core) -> tuple[str, list[Key]]:
    """The secret key and what it opens, also where somebody replaces it between the looks at both."""
    while True:
        with core.read() as tx:
            # Before the keys: where it is still the same afterwards, they belong to it.
            check = tx.keys.secret_check()
            stored = _keys.accepted(tx.keys.all())
        assert check is not None
        try:
            secret = _keys.secret_of(core, check, settle=True)
            return secret, _keys.opened(core, stored, secret)
        except SettingsError:
            with core.read() as tx:
                if tx.keys.secret_check() == check:
                    raise


def _make_if_there_is_none(core: Core) -> None:
    with core.read() as tx:
        has_keys = tx.keys.secret_check() is not None
    if has_keys:
        return
    if secret_key.find(core.settings) is None:
        secret_key.make(core.settings.secret_key_path)
    # Looked for again in any case: another process may have made file and keys in this moment.
    secret = secret_key.find(core.settings)
    if secret is None:
        raise _keys.missing_secret(core)
    _make_ring(core, secret)


@retried
def _make_ring(core: Core, secret: str) -> None:
    now = core.clock.now()
    algorithm = core.settings.tokens.algorithm
    made = [make_key(use, algorithm, signs_from=now) for use in Use]
    with core.write(wait=60) as tx:
        if tx.keys.remember_secret(secret_check(secret), at=tx.now):
            by = Actor.job("start")
            tx.audit(by, "secret.set")
            for key in made:
                _keys.insert(tx, key, secret, by)
