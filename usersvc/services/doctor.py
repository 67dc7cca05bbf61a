"""Everything looked at, one after the other: what is well, what is not, and what to do about it.

Changes nothing but the row that /readyz writes too, and makes no file. Every wait is bounded.
"""

from collections.abc import Callable, Iterator

from usersvc import logs
from usersvc.core import Core
from usersvc.errors import DatabaseBusy, DomainError
from usersvc.services.checks import database, files, machine, mail, settings, workers
from usersvc.services.checks.finding import Check, Finding, State, Verdict, failed, skipped

QueueLook = Callable[[Core], Verdict]

_FILES = "Look at its owner and mode, and at the disk."
_DISK = f"Look at the disk above; if it is well: {database.RESTORE}"
_DATABASE = "Look at the database above; if it is well, report this as a bug."
_WRITABLE = "Make file and folder writable for this user, and room on the disk."
_NO_SETTINGS = "wrong settings"
_BUG = "Report this as a bug."


def checks(queue: QueueLook) -> list[Check]:
    """In the order in which they are done: the clock is looked at before anything is written."""
    in_use, current = ("data directory",), ("schema",)
    return [
        Check("proxies", lambda core: settings.proxies(core.settings), _BUG),
        Check("data directory", files.data_directory, _FILES, lacking="no data directory of this user"),
        Check("permissions", files.permissions, _FILES, in_use),
        Check("disk", machine.disk, _FILES),
        Check("secret key", files.secret, _FILES, in_use, lacking="no secret key"),
        Check("database", database.there, _DISK, in_use, lacking="no database"),
        Check("integrity", database.is_whole, database.RESTORE, ("database",), lacking="a damaged database"),
        Check("schema", database.schema_is_current, _DATABASE, ("integrity",), lacking="another schema"),
        Check("keys", files.ring, _DATABASE, ("secret key", *current)),
        Check("clock", machine.clock, _DATABASE, current, lacking="a wrong clock"),
        Check("writing", database.takes_writes, _WRITABLE, current),
        Check("queue", queue, _FILES, in_use),
        Check("worker", workers.worker, _DATABASE, (*current, "clock")),
        Check("outbox", workers.outbox, _DATABASE, (*current, "clock")),
        Check("webhooks", workers.webhooks, _DATABASE, (*current, "clock")),
        Check("mail", mail.transport, _BUG, ("settings",), lacking="no way for mail"),
        Check("templates", mail.templates, _BUG),
        Check("administrators", workers.administrators, _DATABASE, current),
    ]


def examine(core: Core | None, *, mistakes: list[str], queue: QueueLook) -> Iterator[Finding]:
    """Every check's finding, as soon as it is done. Raises nothing.

    `mistakes` are those of the settings. `core` may be one made without the wrong ones, or None where
    not even that can be told; then nothing else is looked at.
    """
    missing = {"settings": _NO_SETTINGS} if mistakes else {}
    first = settings.wrong(mistakes) if core is None or mistakes else settings.look(core.settings)
    for verdict in first:
        yield _finding("settings", verdict)
    for check in checks(queue):
        reason = next((missing[name] for name in check.needs if name in missing), "")
        if core is None:
            verdict = skipped(_NO_SETTINGS)
        else:
            verdict = skipped(reason) if reason else _looked(check, core)
        if verdict.state in (State.FAILED, State.SKIPPED):
            missing[check.name] = reason or check.lacking
        yield _finding(check.name, verdict)


def _looked(check: Check, core: Core) -> Verdict:
    """One that meets what it did not foresee must not keep the others from being done."""
    try:
        return check.look(core)
    except DatabaseBusy:
        return failed(
            "locked by another program",
            f"Find it, for instance with `fuser -v {core.database.path}`, and end it."
            if core.database.path
            else "Find it in the server's `pg_stat_activity`, and end it.",
        )
    except (DomainError, OSError) as error:
        return failed(_line(error), check.remedy)
    except Exception as error:
        return failed(f"{type(error).__name__}: {_line(error)}", _BUG)


def _line(error: Exception) -> str:
    return logs.mask_text(next(iter(str(error).splitlines()), type(error).__name__))


def _finding(check: str, verdict: Verdict) -> Finding:
    return Finding(check, verdict.state, verdict.found, verdict.remedy)
