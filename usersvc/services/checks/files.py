"""The data directory and the secret key: whose they are, and who else may look in."""

from usersvc.core import Core
from usersvc.files import other_owner
from usersvc.security import secret_key
from usersvc.services import keys
from usersvc.services.checks.finding import Verdict, failed, ok, skipped, warning
from usersvc.setting_types import open_to_others
from usersvc.settings import SettingsError


def data_directory(core: Core) -> Verdict:
    path = core.settings.data_dir
    if not path.exists() and not core.database.path:
        return ok(f"none at {path} yet; with PostgreSQL hardly anything is kept there")
    if not path.exists():
        return failed(
            f"there is none at {path}", "Wrong folder or settings file? Otherwise `usersvc serve` makes it."
        )
    if not path.is_dir():
        return failed(f"{path} is no folder", "Move it away, or name another server.data_dir.")
    if owner := other_owner(path):
        return failed(
            f"{path} belongs to {owner}", f"Run this as that user, for instance with `sudo -u {owner}`."
        )
    return ok(str(path))


def permissions(core: Core) -> Verdict:
    path, database = core.settings.data_dir, core.database.path
    if not path.exists():
        return ok("nothing is there to look into")
    if open_to_others(path, reading=False):
        return failed(f"others can write {path}", f"chmod 700 {path}")
    if open_to_others(path, reading=True):
        return warning(f"others can look into {path}", f"chmod 700 {path}")
    if database and database.exists() and open_to_others(database, reading=True):
        return warning(f"others can read {database}", f"chmod 600 {database}")
    return ok("nobody else can look in")


def secret(core: Core) -> Verdict:
    """The key by itself; `ring` holds it against the database."""
    path = core.settings.secret_key_path
    try:
        found = secret_key.find(core.settings)
    except SettingsError as error:
        return failed(
            str(error), f"`chmod 600 {path}` where others can read it; else put the right file back."
        )
    if found:
        return ok("server.secret_key" if core.settings.server.secret_key.get_secret_value() else str(path))
    if not core.database.exists():
        return skipped("there is none yet; it is made with the database")
    return failed(
        f"{path} is missing, which {core.database.address} was made with",
        "Put the file back from its backup, or set server.secret_key. Nothing can replace it.",
    )


def ring(core: Core) -> Verdict:
    try:
        opened = keys.check_ring(core)
    except SettingsError as error:
        return failed(str(error), "Put the right secret key back, or the database that belongs to this one.")
    return ok(f"the secret key opens all {opened} keys" if opened else "none yet; made at the next start")
