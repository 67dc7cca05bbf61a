"""The queue's file, looked at without Huey and without keeping a worker waiting."""

from usersvc.core import Core
from usersvc.db import integrity
from usersvc.db.sqlite import SqliteDatabase
from usersvc.errors import DatabaseBusy, DatabaseUnavailable
from usersvc.services.checks.finding import Verdict, failed, ok

_INTEGRITY_SECONDS = 10
_REMEDY = "Nothing in it matters: stop usersvc, delete it, and start again."


def look(core: Core) -> Verdict:
    """Whether it is whole and can be written. Writes nothing."""
    path = core.settings.queue_path
    if not path.exists():
        return ok("none yet; a worker makes it")
    queue = SqliteDatabase(path)
    try:
        with queue.reading() as connection:
            problems = integrity.problems(connection, seconds=_INTEGRITY_SECONDS)
        with queue.writing():
            """A turn to write is enough; closing the connection gives it back."""
    except DatabaseBusy:
        return failed(f"{path} is locked", f"Find who holds it, for instance with `fuser -v {path}`.")
    except DatabaseUnavailable as error:
        return failed(f"{path} cannot be used: {error}", _REMEDY)
    finally:
        queue.close()
    return failed(f"{path} is damaged: {problems[0]}", _REMEDY) if problems else ok(f"{path} can be written")
