"""How a command gets its core: settings, the right system user, the right database."""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from usersvc import configuration, logs
from usersvc.cli.invocation import Invocation
from usersvc.core import Core, build
from usersvc.errors import OtherSystemUser
from usersvc.files import other_owner, user_name
from usersvc.services import keys, migration, schema
from usersvc.services.actor import Actor
from usersvc.settings import Settings

_NO_LOGIN = 2**32 - 1


def load_settings(
    ctx: typer.Context, flags: Mapping[str, Any] | None = None, *, quiet: bool = False
) -> Settings:
    """Raises SettingsError; warns (unless `quiet`) of variables that look like ours and are not."""
    invocation: Invocation = ctx.obj
    settings = configuration.load(invocation.config, flags=flags)
    if quiet:
        return settings
    for name in configuration.stray_variables():
        typer.echo(f"Warning: the variable {name} is not a setting of usersvc and is ignored.", err=True)
    return settings


@contextmanager
def opened(
    ctx: typer.Context, *, make: bool = False, patient: bool = False, log_level: str = "warning"
) -> Iterator[Core]:
    """The core on an existing, current database; with `make`, on one that is made or migrated now.

    `patient` is for statements that may take minutes, which PostgreSQL else cuts off.

    Raises NoDatabase, SchemaOutdated, SchemaTooNew, OtherSystemUser, SettingsError. Says on stderr
    which database it works on, so that a wrong folder is noticed.
    """
    settings = load_settings(ctx)
    logs.configure(level=log_level, form=settings.log.format)
    with core_on(settings.on_database(settings.database.url) if patient else settings) as core:
        name_database(core)
        if make:
            is_new = schema.is_absent(core)
            make_or_migrate(core)
            if is_new:
                typer.echo("There was none: made a new one.", err=True)
        schema.require_current(core)
        keys.open_ring(core)
        yield core


@contextmanager
def core_on(settings: Settings) -> Iterator[Core]:
    require_owner(settings)
    core = build(settings)
    try:
        yield core
    finally:
        core.close()


def make_or_migrate(core: Core) -> bool:
    """Whether that changed anything."""
    return migration.prepare(core, actor=operator())


def make_copy_ready(core: Core, mark: str) -> None:
    migration.prepare_copy(core, mark=mark)


def name_database(core: Core) -> None:
    typer.echo(f"Database: {core.database.address}", err=True)


def shown(path: Path) -> str:
    """A path as a person would type it here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def program() -> str:
    """How this program is called here: `usersvc` where that is on the PATH."""
    called = Path(sys.argv[0])
    found = shutil.which("usersvc")
    if found and Path(found).resolve() == called.resolve():
        return "usersvc"
    return shown(called.absolute()) if called.name == "usersvc" else "usersvc"


def require_owner(settings: Settings) -> None:
    """Raises OtherSystemUser: files that root makes in there could not be opened by the service."""
    if not settings.data_dir.exists():
        return
    if owner := other_owner(settings.data_dir):
        raise OtherSystemUser(
            f"{settings.data_dir} belongs to {owner}: run this as that user, "
            f"for instance with `sudo -u {owner}`."
        )


def operator() -> Actor:
    """The system user behind this process, as the kernel has him; the environment could say anything."""
    if sys.platform == "win32":
        return Actor.operator(os.getlogin())
    name = user_name(os.getuid())
    login = _login_uid()
    if login is not None and login != os.getuid():
        name = f"{name} (logged in as {user_name(login)})"
    return Actor.operator(name[:64])


def _login_uid() -> int | None:
    """Who logged in, whoever he became since, by sudo for instance. Linux only."""
    try:
        uid = int(Path("/proc/self/loginuid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return None if uid == _NO_LOGIN else uid
