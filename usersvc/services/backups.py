"""Backups: made while everything runs, and looked into before anybody relies on one."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from usersvc.core import Core, retried
from usersvc.db import dump, sqlite_files
from usersvc.db.backups import Contents, kind_of
from usersvc.db.schema import Schema
from usersvc.errors import (
    BackupExists,
    DatabaseBusy,
    DatabaseUnavailable,
    NoBackup,
)
from usersvc.files import made_whole
from usersvc.security import secret_key
from usersvc.security.keys import same_secret
from usersvc.services import authorization, schema
from usersvc.services.actor import Actor
from usersvc.settings import Settings, SettingsError

# Hears how much is done and of how much, in pages; nothing where it cannot be known.
Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class Made:
    path: Path
    bytes: int
    at: datetime
    """Before the snapshot began: what was acknowledged by then is in it."""
    is_told: bool
    """Whether the audit has an entry of it; it has none where the database takes no writes."""


@dataclass(frozen=True)
class Verified:
    """A backup looked into."""

    path: Path
    kind: str
    made_at: datetime | None
    age: timedelta | None
    revision: str | None
    """Of its schema."""
    rows: dict[str, int]
    secret_fits: bool | None
    """None where no secret key is here to try."""
    problems: list[str]
    """None of them: it can be restored."""


def make(
    core: Core, *, path: Path, replace: bool = False, progress: Progress = lambda done, of: None, actor: Actor
) -> Made:
    """Write a backup of the database to a file, which is there whole or not at all.

    All that was acknowledged before is in it; the secret key and the queue are not. With `replace` it may
    take the place of an older backup, of nothing else. Raises Forbidden, BackupExists, BackupRunning,
    DumpFailed, OSError, what a database that cannot be read raises; the older backup then stays.
    """
    authorization.require_operator(actor)
    _require_a_place(path, replace=replace)
    found = schema.look(core)
    if found is not Schema.OUTDATED:
        schema.require_current(core)
    at = core.clock.now()
    write(core, path, at=at, progress=progress)
    return Made(path, path.stat().st_size, at, found is Schema.CURRENT and _tell(core, path, actor))


def write(core: Core, path: Path, *, at: datetime, progress: Progress = lambda done, of: None) -> None:
    """The file alone, whatever lies there."""
    with made_whole(path) as (draft, held):
        if core.database.path:
            with core.read() as tx:
                sqlite_files.back_up(tx.connection, draft, made_at=at, progress=progress)
            return
        with core.read() as tx:
            version = dump.server_version(tx.connection)
        dump.back_up(core.settings.database.url, draft, held=held, server_version=version)


def look_into(path: Path) -> Contents:
    """What a backup holds. All of it is read, nothing is changed.

    Raises NoBackup where it is of no kind that can be one, OSError, DumpFailed where there is no pg_restore.
    """
    kind = kind_of(path)
    if kind is None:
        raise NoBackup(f"{path} is no backup of usersvc: neither a file of SQLite nor one of pg_dump.")
    return sqlite_files.contents(path) if kind == "sqlite" else dump.contents(path)


def verify(settings: Settings, *, path: Path, at: datetime) -> Verified:
    """Read a backup from end to end, with whatever secret key is here. Raises as `look_into`."""
    found = look_into(path)
    fits, problem = _try_secret(settings, found.secret_check)
    return Verified(
        path=path,
        kind=found.kind,
        made_at=found.made_at,
        age=at - found.made_at if found.made_at else None,
        revision=found.revision,
        rows=found.rows,
        secret_fits=fits,
        problems=[*found.problems, *_emptiness(found), *problem],
    )


def _emptiness(found: Contents) -> list[str]:
    return [] if found.secret_check or found.problems else ["nothing was ever kept in it"]


def _try_secret(settings: Settings, check: bytes | None) -> tuple[bool | None, list[str]]:
    try:
        secret = secret_key.find(settings)
    except SettingsError as error:
        return None, error.mistakes
    if secret is None or check is None:
        return None, []
    if same_secret(secret, check):
        return True, []
    return False, ["the secret key here is not the one that it was made with"]


def _require_a_place(path: Path, *, replace: bool) -> None:
    if path.is_dir():
        raise BackupExists(f"{path} is a folder: name a file.")
    if not path.exists():
        return
    if not replace:
        raise BackupExists(f"{path} is there already: name another file, or take --force.")
    if not _is_a_backup(path):
        raise BackupExists(f"{path} is no backup, and is not replaced by one: name another file.")


def _is_a_backup(path: Path) -> bool:
    """The database itself is none."""
    kind = kind_of(path)
    return kind == "postgresql" or (kind == "sqlite" and sqlite_files.is_marked(path))


def _tell(core: Core, path: Path, actor: Actor) -> bool:
    """A backup is good without an entry: it may be made since the disk of the database is full."""
    try:
        _write_entry(core, path, actor)
    except (DatabaseUnavailable, DatabaseBusy):
        return False
    return True


@retried
def _write_entry(core: Core, path: Path, actor: Actor) -> None:
    with core.write() as tx:
        tx.audit(actor, "database.backed_up", file=str(path.absolute()), bytes=path.stat().st_size)
