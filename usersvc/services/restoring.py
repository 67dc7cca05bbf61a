"""A backup in the place of the database, without reviving what was ended since it was made.

A database of yesterday knows sessions that were ended, links that were used and mails that went out since. So
all sessions and links end, the keys that sign them are made anew, what was due is held back, and who was
erased is erased again. Everybody logs in anew, with the password of the backup.
"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from uuid import UUID

from usersvc.core import Core, Tx, build, retried
from usersvc.db import dump, sqlite_files
from usersvc.db.backups import Contents
from usersvc.db.schema import (
    HEAD,
    Schema,
    mark_of_backup,
    mark_unfinished,
    release_backup,
    revision,
    state,
    unmarked,
)
from usersvc.errors import BackupUnfit, CopyUnfinished, NoDatabase, SchemaTooNew
from usersvc.files import made_whole, make_private
from usersvc.repositories.erasures import Erasure
from usersvc.security import secret_key
from usersvc.security.keys import Key, Use, make_key, same_secret
from usersvc.services import _keys, authorization, backups, erasure, keys, losses, migration, schema
from usersvc.services.actor import Actor
from usersvc.services.losses import Losses
from usersvc.settings import SettingsError

# Whoever sees the cursor or throttle key gains nothing that a restore would revive; new ones would make the
# counters of attempts begin anew, and forget from which networks somebody has logged in.
_MADE_ANEW = (Use.ACCESS, Use.REFRESH, Use.LINK)
_HELD_BACK = "held back: the database was restored, and it may have gone out before"


@dataclass(frozen=True)
class Plan:
    path: Path
    contents: Contents
    losses: Losses


@dataclass(frozen=True)
class Ended:
    sessions: int
    links: int
    mails: int
    """Held back."""
    deliveries: int
    """Held back."""


@dataclass(frozen=True)
class Restored:
    ended: Ended
    keys: int
    """Made anew."""
    erased: int
    """Accounts that were erased again."""
    last_admins: list[UUID] = field(default_factory=list)
    """To be erased too, but they are the last administrator."""
    kept: Path | None = None
    """What was in place before."""


def plan(core: Core, *, path: Path, actor: Actor) -> Plan:
    """What a restore would do. Changes nothing.

    Raises what forbids it: Forbidden; NoBackup, BackupUnfit; SettingsError where the secret key is not the
    one that the backup was made with; DatabaseInUse; DumpFailed, OSError, DatabaseUnavailable.
    """
    authorization.require_operator(actor)
    contents = backups.look_into(path)
    _require_fit(core, path, contents)
    _require_secret(core, contents)
    _require_unused(core)
    return Plan(path, contents, losses.compare(core, contents, actor=actor))


def restore(core: Core, *, plan: Plan, erased: Iterable[UUID] = (), actor: Actor) -> Restored:
    """Danger: replace the database by the backup, then as `after_restore`.

    What was in place is kept: the file beside it, on PostgreSQL as a backup in the data directory. The file
    stays in place until all is done; on PostgreSQL nothing serves before it is. Raises as `plan` and
    `after_restore`.
    """
    authorization.require_operator(actor)
    again = [*plan.losses.erased, *_records(core, erased)]
    if core.database.path:
        return _replace_file(core, core.database.path, plan, again, actor)
    return _replace_tables(core, plan, again, actor)


def after_restore(core: Core, *, erased: Iterable[UUID] = (), actor: Actor) -> Restored:
    """Danger: end what a database revives that was restored by other means; migrates an older schema.

    All sessions and links end, new keys sign, mails and calls to webhooks that are due are held back, and
    who was erased (by `erased`, and by what the database knows) is erased again. Safe to repeat, also where
    it was broken off: till it is done nothing serves from the database. Raises Forbidden, NoDatabase,
    SchemaTooNew, CopyUnfinished, SettingsError for another secret key; nothing is changed then.
    """
    authorization.require_operator(actor)
    if schema.is_absent(core):
        raise NoDatabase
    return _put_right(core, _records(core, erased), actor)


# -- what forbids it, and what it costs


def _require_fit(core: Core, path: Path, contents: Contents) -> None:
    problems = list(contents.problems)
    if (contents.kind == "sqlite") != bool(core.database.path):
        problems.append(
            "the database of the settings is of another kind: restore it into one of its own kind, then use "
            "`usersvc copy-database`"
        )
    elif core.database.path and core.database.exists() and path.samefile(core.database.path):
        problems.append("it is the database itself")
    elif not contents.secret_check:
        problems.append("nothing was ever kept in it")
    if problems:
        raise BackupUnfit(f"{path} cannot be restored: {'; '.join(problems)}.")


def _require_secret(core: Core, contents: Contents) -> None:
    """Before anything is changed: without it the keys in the backup could not be opened."""
    secret = secret_key.find(core.settings)
    if secret is None:
        raise _keys.missing_secret(core)
    assert contents.secret_check is not None
    if not same_secret(secret, contents.secret_check):
        raise SettingsError(
            [
                f"{_keys.origin_of_secret(core)}: this is not the secret key that the backup was made with: "
                "put that one there first. Nothing was changed."
            ]
        )


def _require_unused(core: Core) -> None:
    """By others; what this process has open of it is closed."""
    core.database.close()
    path = core.database.path
    if path is None:
        with core.read() as tx:
            dump.require_unused(tx.connection)
    elif path.exists():
        with sqlite_files.held_alone(path):
            pass
        sqlite_files.back_to_wal(path)


def _records(core: Core, erased: Iterable[UUID]) -> list[Erasure]:
    now = core.clock.now()
    return [Erasure(user_id, now) for user_id in erased]


# -- the backup in place


def _replace_file(core: Core, path: Path, plan: Plan, again: list[Erasure], actor: Actor) -> Restored:
    """All is done to a copy of the backup; it takes the place of the database when it is complete."""
    core.database.close()
    make_private(path.parent)
    copy = path.with_name(f"{path.name}.restored")
    kept = path.with_name(f"{path.name}.replaced-{_stamp(core)}") if path.exists() else None
    with _alone(path):
        for left in (copy, copy.with_name(f"{copy.name}-journal")):
            left.unlink(missing_ok=True)
        with made_whole(copy) as (draft, _), plan.path.open("rb") as source, draft.open("wb") as target:
            shutil.copyfileobj(source, target)
        restored = _done_to(core, copy, again, actor)
        sqlite_files.put_in_place(copy, path, kept=kept)
    core.database.create()
    return _kept(restored, kept)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    if not path.exists():
        yield
        return
    with sqlite_files.held_alone(path):
        yield


def _done_to(core: Core, copy: Path, again: list[Erasure], actor: Actor) -> Restored:
    beside = build(core.settings.on_database(f"sqlite:///{copy}"), clock=core.clock, transport=core.transport)
    try:
        return _put_right(beside, again, actor)
    finally:
        beside.close()


def _replace_tables(core: Core, plan: Plan, again: list[Erasure], actor: Actor) -> Restored:
    core.database.close()
    _require_unused(core)
    kept = None
    if not schema.is_absent(core):
        kept = core.settings.data_dir / f"replaced-{_stamp(core)}.dump"
        make_private(kept.parent)
        backups.write(core, kept, at=core.clock.now())
    return _kept(_put_right(core, again, actor, load=plan.path), kept)


def _stamp(core: Core) -> str:
    return f"{core.clock.now():%Y%m%dT%H%M%SZ}"


def _kept(restored: Restored, kept: Path | None) -> Restored:
    return replace(restored, kept=kept)


# -- what it would revive


def _put_right(core: Core, again: list[Erasure], actor: Actor, *, load: Path | None = None) -> Restored:
    now, algorithm = core.clock.now(), core.settings.tokens.algorithm
    fresh = [make_key(use, algorithm, signs_from=now) for use in _MADE_ANEW]
    ended = _end_all(core, fresh, again, load, actor)
    keys.open_ring(core)
    done = erasure.forget_again(core, erasure.list_erasures(core, actor=actor), actor=actor)
    _release(core, ended, done.erased, actor)
    return Restored(ended, len(fresh), done.erased, done.refused)


@retried
def _end_all(core: Core, fresh: list[Key], again: list[Erasure], load: Path | None, actor: Actor) -> Ended:
    """Afterwards nothing serves from the database before it is released, however this ends."""
    with core.write(wait=60) as tx:
        core.database.alone(tx.connection)
        if load:
            dump.load(tx.connection, load)
        made_at = _made_current(tx, actor)
        check = tx.keys.hold()
        if check is None:
            raise NoDatabase("Nothing was ever kept in this database.")
        _make_keys_anew(tx, fresh, _keys.secret_of(core, check, settle=True), actor)
        for record in again:
            tx.erasures.insert(record)
        tx.jobs.skip_missed(at=tx.now)
        mark_unfinished(tx.connection, mark_of_backup(HEAD, made_at or tx.now))
        return Ended(
            sessions=tx.sessions.end_all_of_all("database restored", at=tx.now),
            links=tx.link_tokens.revoke_all_of_all(at=tx.now),
            mails=tx.outbox.hold_back(_HELD_BACK),
            deliveries=tx.deliveries.hold_back(),
        )


def _made_current(tx: Tx, actor: Actor) -> datetime | None:
    """When the backup was made, where it says so. Raises SchemaTooNew, CopyUnfinished."""
    _, made_at = unmarked(revision(tx.connection) or "")
    release_backup(tx.connection)
    match state(tx.connection):
        case Schema.OUTDATED:
            migration.upgrade(tx, actor)
        case Schema.TOO_NEW:
            raise SchemaTooNew
        case Schema.UNFINISHED:
            raise CopyUnfinished
    return made_at


def _make_keys_anew(tx: Tx, fresh: list[Key], secret: str, actor: Actor) -> None:
    for row in _keys.accepted(tx.keys.all()):
        if row.use in _MADE_ANEW:
            tx.keys.refuse(row.kid, at=tx.now, retired_at=min(row.retired_at or tx.now, tx.now))
            tx.audit(actor, "key.refused", use=row.use, kid=row.kid)
    for key in fresh:
        _keys.insert(tx, key, secret, actor)


@retried
def _release(core: Core, ended: Ended, erased: int, actor: Actor) -> None:
    with core.write(wait=60) as tx:
        release_backup(tx.connection)
        tx.audit(actor, "database.restored", target=None, outcome="ok", **vars(ended), erased=erased)
