"""The options that choose accounts, the same on each command that takes many of them."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import Annotated, Any

import typer

from usersvc.cli import completion, times
from usersvc.cli.choices import Role, Status
from usersvc.cli.opening import operator
from usersvc.core import Core
from usersvc.services import groups
from usersvc.services.directory import Filters


@dataclass(frozen=True)
class Chosen:
    """What the options said."""

    with_role: Role | None
    with_status: Status | None
    prefix: str | None
    before: datetime | None
    after: datetime | None
    idle_since: datetime | None
    group: str | None

    @property
    def is_everybody(self) -> bool:
        return all(value is None for value in vars(self).values())

    def require_no_empty_query(self) -> None:
        """As of a script whose variable is empty: it must not mean everybody."""
        if self.prefix is not None and not self.prefix:
            raise typer.BadParameter("--query is empty.")

    def filters(self, core: Core) -> Filters:
        """Raises GroupNotFound."""
        group = groups.find(core, name=self.group, actor=operator()) if self.group is not None else None
        return Filters(
            prefix=self.prefix.lower() if self.prefix else None,
            role=self.with_role,
            status=self.with_status,
            created_before=self.before,
            created_from=self.after,
            idle_since=self.idle_since,
            group_id=group.id if group else None,
        )


def accounts_in_words(number: int) -> str:
    return f"{number:,} account{'' if number == 1 else 's'}"


_OPTIONS: dict[str, Any] = {
    "with_role": Annotated[Role | None, typer.Option("--role", help="Only this role.")],
    "with_status": Annotated[Status | None, typer.Option("--status", help="Only this status.")],
    "prefix": Annotated[str | None, typer.Option("--query", help="How the address or the username begins.")],
    "before": Annotated[
        datetime | None,
        typer.Option(
            parser=times.time,
            metavar="TIME",
            help="Made before this time: 30d or 12h ago, 2026-11-22 or 2026-11-22T05:19+01:00; "
            "UTC unless it says otherwise.",
        ),
    ],
    "after": Annotated[
        datetime | None,
        typer.Option(parser=times.time, metavar="TIME", help="Made then or later, in the same forms."),
    ],
    "idle_since": Annotated[
        datetime | None,
        typer.Option(
            "--inactive-for",
            parser=times.since,
            metavar="SPAN",
            help="No login for so long, as 90d; who never logged in counts from when the account was made.",
        ),
    ],
    "group": Annotated[
        str | None,
        typer.Option(metavar="GROUP", help="Only members of this group.", autocompletion=completion.groups),
    ],
}


def choosing(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options, in the place of its parameter `chosen`, which gets what they said."""

    @wraps(command)
    def run(**given: Any) -> None:
        chosen = Chosen(**{name: given.pop(name) for name in _OPTIONS})
        if chosen.before and chosen.after and chosen.after > chosen.before:
            raise typer.BadParameter("--after is later than --before, so nobody can be found.")
        command(**given, chosen=chosen)

    own = inspect.signature(command)
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in _OPTIONS.items()
    ]
    parameters = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in own.parameters.values()
        for each in (options if parameter.name == "chosen" else [parameter])
    ]
    run.__dict__["__signature__"] = own.replace(parameters=parameters)
    return run
