"""From a file to a plan, and from a plan to what it says, each step by the use case that everybody has."""

from collections.abc import Callable

from usersvc.core import Core
from usersvc.errors import (
    EmailTaken,
    GroupNameTaken,
    GroupNotFound,
    ServiceNameTaken,
    ServiceNotFound,
    UserNotFound,
    WebhookNotFound,
    WebhookUrlTaken,
    WrongDeclaration,
)
from usersvc.services import authorization
from usersvc.services.actor import Actor
from usersvc.services.apply import accounts, groups, services, webhooks
from usersvc.services.apply.comparison import Comparison
from usersvc.services.apply.declaration import Declaration
from usersvc.services.apply.plan import Action, Outcome, Plan, Step
from usersvc.services.apply.secret_files import Files

_MORE_TRIES = 5
# Somebody else made or deleted it in this moment, perhaps by the same file.
_OVERTAKEN = (
    EmailTaken,
    GroupNameTaken,
    GroupNotFound,
    ServiceNameTaken,
    ServiceNotFound,
    UserNotFound,
    WebhookNotFound,
    WebhookUrlTaken,
)


def make_plan(core: Core, declared: Declaration, *, prune: bool = False, actor: Actor) -> Plan:
    """What there is to do; changes nothing.

    Without `prune` it takes nothing from anybody. Raises Forbidden, LastAdmin, and WrongDeclaration with
    everything in the file that cannot be done.
    """
    authorization.require_operator(actor)
    plan = Plan(prunes=prune)
    given = Comparison(core, declared, Files(declared), plan, actor)
    for section in (accounts, groups, services, webhooks):
        section.compare(given)
    if plan.mistakes:
        raise WrongDeclaration([f"{declared.file}: {mistake}" for mistake in plan.mistakes])
    accounts.require_an_admin(given)
    # Who is to follow somebody comes before that one goes.
    plan.steps.sort(key=lambda step: step.action is Action.REMOVE)
    return plan


def carry_out(
    core: Core,
    declared: Declaration,
    plan: Plan,
    *,
    actor: Actor,
    done: Callable[[Step, Outcome], None],
) -> None:
    """Do what the plan says; `done` is told of each step.

    Each step has its own transactions, so what was done before an error stays, and a plan made anew has the
    rest. Where somebody else was faster it is made anew here, and does nothing to what `plan` leaves alone.
    Raises what the steps raise, and SecretFileNotWritten.
    """
    agreed = {step.identity for step in plan.steps}
    # Side by side with another one, each step can be the one that is overtaken.
    for _ in range(len(agreed) + _MORE_TRIES):
        try:
            return _do([step for step in plan.steps if step.identity in agreed], done)
        except _OVERTAKEN:
            plan = make_plan(core, declared, prune=plan.prunes, actor=actor)
    return _do([step for step in plan.steps if step.identity in agreed], done)


def _do(steps: list[Step], done: Callable[[Step, Outcome], None]) -> None:
    for step in steps:
        done(step, step.run())
