"""The queue, looked at without Huey's consumer and without keeping a worker waiting."""

from pathlib import Path

from usersvc.core import Core
from usersvc.db import integrity
from usersvc.db.sqlite import SqliteDatabase
from usersvc.errors import DatabaseBusy, DatabaseUnavailable
from usersvc.jobs.queue import make_queue
from usersvc.services.checks.finding import Verdict, failed, ok

_INTEGRITY_SECONDS = 10
_FILE_REMEDY = "Nothing in it matters: stop usersvc, delete it, and start again."
_SERVER_REMEDY = "Mend it, or queue.url: until then mails go out once a minute."


def look(core: Core) -> Verdict:
    """Whether it takes wake-ups. Leaves none, and makes neither file nor tables."""
    return _server(core) if core.settings.queue_url else _file(core.settings.queue_path)


def _server(core: Core) -> Verdict:
    try:
        return ok(make_queue(core.settings).storage.try_out())
    except DatabaseUnavailable as error:
        return failed(str(error), _SERVER_REMEDY)


def _file(path: Path) -> Verdict:
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
        return failed(f"{path} cannot be used: {error}", _FILE_REMEDY)
    finally:
        queue.close()
    return (
        failed(f"{path} is damaged: {problems[0]}", _FILE_REMEDY)
        if problems
        else ok(f"{path} can be written")
    )
