"""What a file says there should be, brought about from the shell."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from usersvc.cli.asking import require_yes
from usersvc.cli.opening import opened, operator
from usersvc.cli.output import Json, print_json, print_table
from usersvc.core import Core
from usersvc.errors import DomainError, Misconfigured
from usersvc.services.apply import declaration
from usersvc.services.apply.carrying_out import carry_out, make_plan
from usersvc.services.apply.declaration import Declaration
from usersvc.services.apply.plan import Action, Difference, Item, Left, Outcome, Plan, Step

DIFFERS = 9
"""What `--check` ends with where there is something to do."""

_SIGNS = {Action.MAKE: "+", Action.CHANGE: "~", Action.REMOVE: "-"}
_AGAIN = {"services": "rotate-service", "webhooks": "rotate-webhook-secret"}
_FIRST = 10

Done = list[tuple[Step, Outcome]]


def apply(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What there should be, in TOML.")],
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Only show the difference; ends with 9 where there is one.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Also take away what the sections of the file do not name.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Bring roles, groups, services and webhooks to what a file says.

    Shows the difference and asks first. Nobody is demoted and nothing removed without --prune.
    """
    if as_json and not (check or yes):
        raise typer.BadParameter("With --json add --check or --yes.")
    with opened(ctx) as core:
        declared = declaration.read(core, file)
        plan = make_plan(core, declared, prune=prune, actor=operator())
        if not as_json:
            _show(plan)
        done: Done = []
        if plan.steps and not check:
            if not yes:
                _ask(plan)
            _carry_out(core, declared, plan, done)
    if as_json:
        print_json(_as_dict(declared, plan, done))
    elif plan.steps and not check:
        _tell(done)
    if check and plan.steps:
        raise typer.Exit(DIFFERS)


def _ask(plan: Plan) -> None:
    if not sys.stdin or not sys.stdin.isatty():
        raise typer.BadParameter("There is no terminal to ask on: add --yes.")
    require_yes(f"Make {'this change' if len(plan.steps) == 1 else f'these {len(plan.steps)} changes'}?")


def _carry_out(core: Core, declared: Declaration, plan: Plan, done: Done) -> None:
    try:
        carry_out(
            core, declared, plan, actor=operator(), done=lambda step, outcome: done.append((step, outcome))
        )
    except (DomainError, Misconfigured):
        typer.echo(f"{len(done)} of {len(plan.steps)} changes were made before this:", err=True)
        for step, outcome in done:
            typer.echo(
                f"  {_SIGNS[step.action]} {step.item.section} {step.item.name}{_secret(step, outcome)}",
                err=True,
            )
        raise


def _show(plan: Plan) -> None:
    rows = [
        *[(_SIGNS[step.action], step.item, _told(step.item, step.differences)) for step in plan.steps],
        *[("=", item, item.note) for item in plan.same],
    ]
    if rows:
        print_table(
            ["", "section", "name", "what"],
            [[sign, item.section, item.name, what] for sign, item, what in rows],
        )
    if plan.left:
        if rows:
            typer.echo()
        typer.echo("Left alone; --prune would do it:")
        print_table(
            ["", "section", "name", "what"],
            [
                [_SIGNS[left.action], left.item.section, left.item.name, _told(left.item, left.differences)]
                for left in plan.left
            ],
        )
    if not plan.steps:
        typer.echo("Nothing is to be done.")


def _told(item: Item, differences: list[Difference]) -> str:
    return "; ".join([*map(_difference, differences), *([item.note] if item.note else [])])


def _difference(change: Difference) -> str:
    if change.is_of_a_set:
        return f"{change.what}: {' '.join([*_some('+', change.added), *_some('-', change.removed)])}"
    if change.before is None:
        return f"{change.what}: {change.after}"
    return f"{change.what}: {change.before or 'none'} -> {change.after or 'none'}"


def _some(sign: str, names: Any) -> list[str]:
    """Not a hundred thousand members."""
    more = len(names) - _FIRST
    return [f"{sign}{name}" for name in names[:_FIRST]] + ([f"{sign}({more} more)"] if more > 0 else [])


def _tell(done: Done) -> None:
    if not done:
        typer.echo("Somebody else has made these changes meanwhile.")
        return
    typer.echo(f"Done: {len(done)} {'change' if len(done) == 1 else 'changes'}.")
    for step, outcome in done:
        if told := _secret(step, outcome):
            typer.echo(f"  {step.item.name}{told}")
    if any(
        step.item.section in ("administrators", "roles") and step.action is Action.MAKE for step, _ in done
    ):
        typer.echo("A worker mails the invitations within a minute.")


def _secret(step: Step, outcome: Outcome) -> str:
    """Where it is, never what."""
    if outcome.secret_file:
        return f": id {outcome.id}, its secret is in {outcome.secret_file}"
    if outcome.lacks_secret:
        which = step.item.name if step.item.section == "services" else outcome.id
        command = f"usersvc {_AGAIN[step.item.section]} {which}"
        return f": id {outcome.id}, no secret file is named: `{command}` shows a secret"
    return ""


def _as_dict(declared: Declaration, plan: Plan, done: Done) -> dict[str, Any]:
    return {
        "file": str(declared.file),
        "prune": plan.prunes,
        "to_do": [_change_as_dict(step) for step in plan.steps],
        "left_alone": [_change_as_dict(left) for left in plan.left],
        "unchanged": [_item_as_dict(item) for item in plan.same],
        "done": [
            {
                "action": step.action,
                **_item_as_dict(step.item),
                "id": outcome.id,
                "secret_file": outcome.secret_file,
            }
            for step, outcome in done
        ],
    }


def _change_as_dict(change: Step | Left) -> dict[str, Any]:
    return {
        "action": change.action,
        **_item_as_dict(change.item),
        "differences": [
            {"what": one.what, "added": list(one.added), "removed": list(one.removed)}
            if one.is_of_a_set
            else {"what": one.what, "from": one.before, "to": one.after}
            for one in change.differences
        ],
    }


def _item_as_dict(item: Item) -> dict[str, Any]:
    return {"section": item.section, "name": item.name, "id": item.id, "note": item.note or None}
