"""What is kept about users beyond their accounts, from the shell."""

from typing import Annotated, Any

import typer

from usersvc.cli.opening import opened, operator
from usersvc.cli.output import Json, Who, print_done, print_json_list, print_table
from usersvc.cli.users import document
from usersvc.profile_schema import JsonObject, parse_object
from usersvc.services import accounts, profiles

# Far more than may be kept: to say so takes no more memory than that.
_MOST_BYTES = 1 << 20

File = Annotated[
    typer.FileBinaryRead | None,
    typer.Argument(metavar="FILE", help="File with a JSON object; - is standard input."),
]
Clear = Annotated[bool, typer.Option("--clear", help="Keep nothing instead.")]


def set_profile(
    ctx: typer.Context, user: Who, file: File = None, clear: Clear = False, as_json: Json = False
) -> None:
    """Put a JSON object in the place of a user's profile.

    For somebody who cannot do it. It has to fit the schema that `profiles.profile_schema` names:
    docs/extending.md#fields-of-your-own.

        $ echo '{"birthday": "1815-02-30"}' | usersvc set-profile ada@example.org -
        Error: This profile does not fit what is kept here. profile.birthday: This value is not a "date".
    """
    given = _object(file, clear)
    with opened(ctx) as core:
        account = accounts.find(core, name=user, actor=operator())
        profiles.set_profile(core, user_id=account.id, profile=given, actor=operator())
        now = document(core, account.id) if as_json else None
    print_done(now, f"The profile of {account.email} is {'empty' if clear else 'set'} now.")


def set_attributes(
    ctx: typer.Context, user: Who, file: File = None, clear: Clear = False, as_json: Json = False
) -> None:
    """Put a JSON object in the place of a user's attributes.

    What administrators keep about a user. It has to fit the schema that `profiles.attributes_schema` names:
    docs/extending.md#fields-of-your-own.

        $ echo '{"customer": "C-1815"}' | usersvc set-attributes ada@example.org -
        The attributes of ada@example.org are set now.
    """
    given = _object(file, clear)
    with opened(ctx) as core:
        account = accounts.find(core, name=user, actor=operator())
        profiles.set_attributes(core, user_id=account.id, attributes=given, actor=operator())
        now = document(core, account.id) if as_json else None
    print_done(now, f"The attributes of {account.email} are {'empty' if clear else 'set'} now.")


def check_profiles(ctx: typer.Context, as_json: Json = False) -> None:
    """List profiles and attributes that do not fit their schema, as it is now.

    A line a mistake: what was stored before the schema was changed. They stay as they are until somebody
    writes them.

        $ usersvc check-profiles
        email            field              expected
        ada@example.org  profile.nickname   There is no such field.
    """
    with opened(ctx) as core:
        found = (_as_dict(misfit) for misfit in profiles.misfits(core, actor=operator()))
        if as_json:
            print_json_list(found)
            return
        rows = [[one["email"], each["field"], each["message"]] for one in found for each in one["problems"]]
        print_table(["email", "field", "expected"], rows)


def _object(file: Any, clear: bool) -> JsonObject:
    if (file is None) is not clear:
        raise typer.BadParameter("Name a FILE (- is standard input), or take --clear.")
    if clear:
        return {}
    data = file.read(_MOST_BYTES + 1)
    try:
        return parse_object(data)
    except ValueError as error:
        too_long = len(data) > _MOST_BYTES
        raise typer.BadParameter(f"FILE: {'more than 1 MiB' if too_long else error}.") from None


def _as_dict(misfit: profiles.Misfit) -> dict[str, Any]:
    return {**vars(misfit), "problems": [problem._asdict() for problem in misfit.problems]}
