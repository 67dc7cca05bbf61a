"""What has to happen by itself: a worker that lives, mail that goes out; and somebody to call."""

from datetime import timedelta

from usersvc.core import Core
from usersvc.services import first_admin, health
from usersvc.services.checks.finding import Verdict, duration, failed, ok, warning

_SILENT = timedelta(minutes=3)
_OVERDUE = timedelta(minutes=5)


def worker(core: Core) -> Verdict:
    vitals = health.vitals(core)
    remedy = "Start `usersvc serve` or `usersvc worker`; where one runs, its log says why, then restart it."
    if vitals.worker_seen_at is None:
        return failed("none was ever seen: no mail goes out", remedy)
    silent = vitals.at - vitals.worker_seen_at
    if silent > _SILENT:
        return failed(f"seen last {duration(silent)} ago: no mail goes out", remedy)
    return ok(f"seen {duration(max(silent, timedelta()))} ago")


def outbox(core: Core) -> Verdict:
    vitals = health.vitals(core)
    waiting = vitals.mails.get("due", 0)
    if vitals.mail_overdue_since and vitals.at - vitals.mail_overdue_since > _OVERDUE:
        return failed(
            f"{waiting} waiting, one of them overdue for {duration(vitals.at - vitals.mail_overdue_since)}",
            "See the worker above; `usersvc outbox --status due` shows them.",
        )
    given_up = {status: vitals.mails[status] for status in ("dead", "failed") if vitals.mails.get(status)}
    if given_up:
        first = next(iter(given_up))
        return warning(
            ", ".join(f"{number} {status}" for status, number in given_up.items()) + f", {waiting} waiting",
            f"`usersvc outbox --status {first}` says why; `usersvc retry-mail ID` tries one again.",
        )
    return ok(f"{waiting} waiting, none overdue")


def administrators(core: Core) -> Verdict:
    if not first_admin.there_is_an_admin(core):
        return warning("no active administrator", "Make one: `usersvc create-admin EMAIL`")
    return ok("at least one is active")
