"""What has to happen by itself: a worker that lives, mail that goes out; and somebody to call."""

from datetime import timedelta

from usersvc.core import Core
from usersvc.services import first_admin, health
from usersvc.services.checks.finding import Verdict, duration, failed, ok, warning

SILENT = timedelta(minutes=3)
OVERDUE = timedelta(minutes=5)
_FAILING = timedelta(hours=6)


def worker(core: Core) -> Verdict:
    vitals = health.vitals(core)
    remedy = "Start `usersvc serve` or `usersvc worker`; where one runs, its log says why, then restart it."
    if vitals.worker_seen_at is None:
        return failed("none was ever seen: no mail goes out", remedy)
    silent = vitals.at - vitals.worker_seen_at
    if silent > SILENT:
        return failed(f"seen last {duration(silent)} ago: no mail goes out", remedy)
    return ok(f"seen {duration(max(silent, timedelta()))} ago")


def outbox(core: Core) -> Verdict:
    vitals = health.vitals(core)
    waiting = vitals.mails.get("due", 0)
    if vitals.mail_overdue_since and vitals.at - vitals.mail_overdue_since > OVERDUE:
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


def webhooks(core: Core) -> Verdict:
    """Worth a warning at most: it is the receivers who fail."""
    with core.read() as tx:
        waiting, now = tx.deliveries.waiting(), tx.now
        dead = tx.deliveries.count_by_status().get("dead", 0)
        known = tx.webhooks.all()
    failing = [one for one in known if one.id in waiting and now - waiting[one.id][1] > _FAILING]
    if failing:
        longest = max(now - waiting[one.id][1] for one in failing)
        return warning(
            f"{len(failing)} of {len(known)} do not take what is sent, for {duration(longest)}",
            "`usersvc webhooks` shows them, `usersvc webhook-deliveries --status due` why.",
        )
    if dead:
        return warning(
            f"{dead} deliveries were given up",
            "`usersvc webhook-deliveries --status dead` says why; `usersvc retry-delivery ID` tries again.",
        )
    disabled = sum(1 for one in known if one.disabled_at)
    return ok(f"{len(known)}, {disabled} of them disabled, {sum(n for n, _ in waiting.values())} waiting")


def administrators(core: Core) -> Verdict:
    if not first_admin.there_is_an_admin(core):
        return warning("no active administrator", "Make one: `usersvc create-admin EMAIL`")
    return ok("at least one is active")
