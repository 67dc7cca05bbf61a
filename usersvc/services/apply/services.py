"""Service accounts: made with their secret in a file, changed, deactivated."""

from collections.abc import Sequence
from functools import partial

from usersvc.errors import InvalidPermission
from usersvc.services import service_accounts
from usersvc.services.apply.comparison import Comparison
from usersvc.services.apply.declaration import AService, secret_path
from usersvc.services.apply.plan import Action, Difference, Item, Outcome, Plan, fewer, more, said_or, value
from usersvc.services.apply.secret_files import reserved
from usersvc.services.service_accounts import EXPIRES_DAYS, ServiceView


def compare(given: Comparison) -> None:
    if given.declared.services is None:
        return
    there = {
        service.name: service for service in service_accounts.list_services(given.core, actor=given.actor)
    }
    for entry in given.declared.services:
        found = there.pop(entry.name, None)
        if found:
            _change(given, entry, found)
        else:
            _make(given, entry)
    for service in there.values():
        if service.is_active:
            _deactivate(given, service)


def _make(given: Comparison, entry: AService) -> None:
    if given.files.is_taken(entry):
        given.plan.mistaken(
            entry, "secret_file: there is a file already, and the service is new: it stays as it is"
        )
        return
    given.plan.add(
        Action.MAKE,
        Item("services", entry.name),
        [
            value("description", None, entry.description or None),
            more("permissions", [], entry.permissions),
            more("audiences", [], entry.audiences),
            value("may_end_sessions", None, entry.may_end_sessions or None),
            value("active", None, False if entry.active is False else None),
            value("secret_file", None, entry.secret_file),
        ],
        key=entry.name,
        run=partial(_run_make, given, entry),
    )


def _run_make(given: Comparison, entry: AService) -> Outcome:
    path = secret_path(given.declared, entry.secret_file) if entry.secret_file else None
    remedy = f" The service {entry.name} is made: get another one by `usersvc rotate-service {entry.name}`."
    with reserved(path, remedy=remedy) as write:
        made = service_accounts.create(
            given.core,
            name=entry.name,
            permissions=entry.permissions,
            audiences=entry.audiences or (),
            description=entry.description or "",
            may_end_sessions=bool(entry.may_end_sessions),
            expires_days=EXPIRES_DAYS if entry.expires_days is None else entry.expires_days,
            actor=given.actor,
        )
        write(made.credential.client_secret)
    if entry.active is False:
        service_accounts.deactivate(given.core, service_id=made.service.id, actor=given.actor)
    return Outcome(made.service.id, secret_file=path, lacks_secret=path is None)


def _change(given: Comparison, entry: AService, found: ServiceView) -> None:
    permissions = _together(found.permissions, entry.permissions, given.plan)
    try:
        service_accounts.permission_list(permissions)
    except InvalidPermission as error:
        given.plan.mistaken(entry, f"{error} With --prune those that are not in the file go.")
        return
    ends, active = entry.may_end_sessions, entry.active
    given.plan.compare(
        Item("services", entry.name, _note(given, entry, found), found.id),
        gives=[
            value("description", found.description, said_or(entry.description, found.description)),
            more("permissions", found.permissions, entry.permissions),
            more("audiences", found.audiences, entry.audiences),
            _switched("may_end_sessions", found.may_end_sessions, ends, to=True),
            _switched("active", found.is_active, active, to=True),
        ],
        takes=[
            fewer("permissions", found.permissions, entry.permissions),
            fewer("audiences", found.audiences, entry.audiences),
            _switched("may_end_sessions", found.may_end_sessions, ends, to=False),
            _switched("active", found.is_active, active, to=False),
        ],
        key=entry.name,
        run=partial(_run_change, given, entry, found),
    )


def _run_change(given: Comparison, entry: AService, found: ServiceView) -> Outcome:
    audiences = None if entry.audiences is None else _together(found.audiences, entry.audiences, given.plan)
    service_accounts.change(
        given.core,
        service_id=found.id,
        permissions=_together(found.permissions, entry.permissions, given.plan),
        audiences=audiences,
        description=entry.description,
        may_end_sessions=_allowed(entry.may_end_sessions, given.plan),
        actor=given.actor,
    )
    match _allowed(entry.active, given.plan):
        case True:
            service_accounts.activate(given.core, service_id=found.id, actor=given.actor)
        case False:
            service_accounts.deactivate(given.core, service_id=found.id, actor=given.actor)
    return Outcome(found.id)


def _deactivate(given: Comparison, service: ServiceView) -> None:
    def run() -> Outcome:
        return Outcome(service_accounts.deactivate(given.core, service_id=service.id, actor=given.actor).id)

    item = Item("services", service.name, "is deactivated", service.id)
    given.plan.take(Action.REMOVE, item, [], key=service.name, run=run)


def _together(found: Sequence[str], wanted: Sequence[str], plan: Plan) -> list[str]:
    """What there is afterwards: nothing is taken away but by who prunes."""
    return sorted(set(wanted) if plan.prunes else {*found, *wanted})


def _allowed(said: bool | None, plan: Plan) -> bool | None:
    return said or (said if plan.prunes else None)


def _switched(what: str, found: bool, said: bool | None, *, to: bool) -> Difference | None:
    return value(what, found, said) if said is to else None


def _note(given: Comparison, entry: AService, found: ServiceView) -> str:
    if not found.is_active and entry.active is None:
        return "is deactivated, and stays so: active = true lets it in"
    if entry.secret_file and not given.files.is_taken(entry):
        return f"{entry.secret_file} is not there: get another secret by rotate-service"
    return ""
