"""The same done to many accounts, in the shell: shown, asked for, carried out with a bar, and summed up."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated

import typer

from usersvc.cli.asking import require_yes
from usersvc.cli.choosing import Chosen, accounts_in_words
from usersvc.cli.directory import print_accounts
from usersvc.cli.opening import opened, operator
from usersvc.cli.output import print_json, print_table
from usersvc.cli.progress import progress_of
from usersvc.cli.stopping import say_stopped, stopped_between_steps
from usersvc.core import Core
from usersvc.errors import SomeRefused
from usersvc.services import bulk
from usersvc.services.directory import Filters

# Of those that were refused; all are counted.
_MOST_SHOWN = 1000
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Change nothing; list the accounts that would be changed.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@dataclass(frozen=True)
class Wish:
    """How a change to many accounts is to be made, as the command line says it."""

    chosen: Chosen
    dry_run: bool
    yes: bool
    as_json: bool


@dataclass
class _Summary:
    counts: Counter[str] = field(default_factory=Counter)
    refused: list[dict[str, object]] = field(default_factory=list)

    def note(self, outcome: bulk.Outcome) -> None:
        self.counts[outcome.what] += 1
        if outcome.error and len(self.refused) < _MOST_SHOWN:
            account, error = outcome.account, outcome.error
            self.refused.append(
                {"id": account.id, "email": account.email, "code": error.code, "message": str(error)}
            )


def require_nothing_of_many(wish: Wish) -> None:
    """Where a USER is named."""
    if not wish.chosen.is_everybody:
        raise typer.BadParameter("Name a USER or choose accounts by options, not both.")
    if wish.dry_run:
        raise typer.BadParameter("--dry-run is for accounts that options choose.")


def change_many(ctx: typer.Context, change: bulk.Change, wish: Wish, *, doing: str) -> None:
    """`doing` is the change in words, {} in the place of how many accounts. Never to everybody."""
    if wish.chosen.is_everybody:
        raise typer.BadParameter("Name a USER, or say by options which accounts: --status, --before ...")
    wish.chosen.require_no_empty_query()
    with opened(ctx, patient=True) as core:
        filters = wish.chosen.filters(core)
        survey = bulk.survey(core, change=change, filters=filters, actor=operator())
        what = _in_words(doing, survey)
        if wish.dry_run:
            found = bulk.concerned(core, change=change, filters=filters, actor=operator())
            print_accounts(found, as_json=wish.as_json)
            typer.echo(f"Would {what[0].lower()}{what[1:]}. {_already(survey)}".rstrip(), err=True)
            return
        if survey.to_change and not wish.yes:
            require_yes(f"{what}?", err=True)
        _carry_out(core, change, filters, survey, as_json=wish.as_json)


def _in_words(doing: str, survey: bulk.Survey) -> str:
    mails = f" and mail {survey.mails:,} of them" if survey.mails else ""
    return doing.format(accounts_in_words(survey.to_change)) + mails


def _already(survey: bulk.Survey) -> str:
    are = "is" if survey.unchanged == 1 else "are"
    return f"{accounts_in_words(survey.unchanged)} {are} so already." if survey.unchanged else ""


def _carry_out(
    core: Core, change: bulk.Change, filters: Filters, survey: bulk.Survey, *, as_json: bool
) -> None:
    """Sums up in any case, also what was done before something ended it."""
    summary = _Summary()
    outcomes = bulk.carry_out(core, change=change, filters=filters, actor=operator())
    try:
        stopped = _go_through(outcomes, summary, total=survey.to_change)
    finally:
        _print(summary, survey, as_json=as_json)
    if stopped:
        say_stopped(f"after {accounts_in_words(summary.counts.total())} of {survey.to_change:,}.")
    if refused := summary.counts["refused"]:
        raise SomeRefused(f"{refused:,} of {accounts_in_words(summary.counts.total())} refused.")


def _go_through(outcomes: Iterator[bulk.Outcome], summary: _Summary, *, total: int) -> bool:
    """Whether Ctrl+C ended it before its end; the account in hand is finished then."""
    with stopped_between_steps() as stop, progress_of("accounts") as bar:
        task = bar.add_task("Changing", total=total)
        for outcome in outcomes:
            summary.note(outcome)
            bar.advance(task)
            if stop.asked:
                break
        return stop.asked and summary.counts.total() < total


def _print(summary: _Summary, survey: bulk.Survey, *, as_json: bool) -> None:
    counts = {
        "done": summary.counts["done"],
        "unchanged": survey.unchanged,
        "skipped": summary.counts["skipped"],
        "refused": summary.counts["refused"],
    }
    if as_json:
        print_json({**counts, "refusals": summary.refused})
        return
    print_table(["outcome", "accounts"], [[what, f"{number:,}"] for what, number in counts.items()])
    if summary.refused:
        typer.echo()
        columns = ["email", "code", "message"]
        print_table(columns, [[str(refusal[column]) for column in columns] for refusal in summary.refused])
    if counts["refused"] > len(summary.refused):
        typer.echo(f"Those are the first {len(summary.refused):,} that were refused.", err=True)
