"""Service accounts from the shell."""

from typing import Annotated, Any
from uuid import UUID

import typer

from usersvc.cli import completion
from usersvc.cli.asking import require_yes
from usersvc.cli.opening import opened, operator
from usersvc.cli.output import Json, print_done, print_json, print_table, shown
from usersvc.services import service_accounts
from usersvc.services._credentials import NewCredential
from usersvc.services.service_accounts import EXPIRES_DAYS, LONGEST_EXPIRES_DAYS, ServiceView

_COLUMNS = ["name", "id", "is_active", "permissions", "audiences", "last_used_at"]
_OF_CREDENTIAL = ["id", "hint", "works", "created_at", "expires_at", "last_used_at", "revoked_at"]

Service = Annotated[
    str, typer.Argument(metavar="SERVICE", help="Name or id.", autocompletion=completion.services)
]
Permissions = Annotated[
    list[str] | None,
    typer.Option(
        "--permission",
        metavar="PERMISSION",
        help="What it may do at other services, as orders:write; repeat it. Those of usersvc are refused.",
    ),
]
Audiences = Annotated[
    list[str] | None,
    typer.Option(
        "--audience",
        metavar="AUDIENCE",
        help="Out of `tokens.audiences`: for whom it gets tokens, and whose it looks into; repeat it.",
    ),
]
Expires = Annotated[
    int,
    typer.Option(min=0, max=LONGEST_EXPIRES_DAYS, help="The days that the secret works; 0: without an end."),
]


def create_service(  # noqa: PLR0917 - each is an option of its own
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name for people, such as billing.")],
    permission: Permissions = None,
    audience: Audiences = None,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    may_end_sessions: Annotated[
        bool, typer.Option("--may-end-sessions", help="Let it end sessions by revoking users' tokens.")
    ] = False,
    expires: Expires = EXPIRES_DAYS,
    as_json: Json = False,
) -> None:
    """Make a service account and show its secret, this once.

    For another program, which acts for itself: docs/oauth.md. `id` is that of the credential, as
    `revoke-credential` takes it.

        $ usersvc create-service reports --permission orders:read --audience billing
        field          value
        id             01a22459-091c-7d85-97af-7884c9edd1c7
        client_id      01a22459-091c-7d85-97af-7884c93f743d
        client_secret  usvc_p59wzqZwgYA9WmK1O4rSC6aL7IZAYx9Rs5stD8lL8vw2HtObP
        expires_at     2027-11-28 22:49:04Z
    """
    with opened(ctx) as core:
        made = service_accounts.create(
            core,
            name=name,
            permissions=permission or [],
            audiences=audience or [],
            description=description,
            may_end_sessions=may_end_sessions,
            expires_days=expires,
            actor=operator(),
        )
    _show_secret(made.credential, as_json)


def list_services(ctx: typer.Context, as_json: Json = False) -> None:
    """List service accounts.

    By name.
    """
    with opened(ctx) as core:
        found = service_accounts.list_services(core, actor=operator())
    if as_json:
        print_json([as_dict(service) for service in found])
    else:
        print_table(_COLUMNS, [[_cell(getattr(service, column)) for column in _COLUMNS] for service in found])


def show_service(ctx: typer.Context, service: Service, as_json: Json = False) -> None:
    """Show a service account and its credentials.

    Without their secrets, which nobody can show again.
    """
    with opened(ctx) as core:
        found = service_accounts.find(core, name=service, actor=operator())
    if as_json:
        print_json(as_dict(found))
        return
    fields = {key: value for key, value in vars(found).items() if key != "credentials"}
    print_table(["field", "value"], [[key, _cell(value)] for key, value in fields.items()])
    typer.echo()
    print_table(
        ["credential", *_OF_CREDENTIAL[1:]],
        [[_cell(getattr(each, column)) for column in _OF_CREDENTIAL] for each in found.credentials],
    )


def change_service(  # noqa: PLR0917 - each is an option of its own
    ctx: typer.Context,
    service: Service,
    permission: Permissions = None,
    no_permissions: Annotated[
        bool, typer.Option("--no-permissions", help="Take all its permissions away.")
    ] = False,
    audience: Audiences = None,
    no_audiences: Annotated[
        bool, typer.Option("--no-audiences", help="Take all its audiences away.")
    ] = False,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    may_end_sessions: Annotated[
        bool | None,
        typer.Option(
            "--may-end-sessions/--may-not-end-sessions",
            help="Whether it ends sessions by revoking users' tokens.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Change what a service account may do. Permissions and audiences that are given replace those before.

    Tokens tell the old permissions until they expire, introspection the new ones at once.
    """
    if (permission and no_permissions) or (audience and no_audiences):
        raise typer.BadParameter("These options contradict each other: leave out one.")
    given = (permission, audience, description, may_end_sessions)
    if not (no_permissions or no_audiences) and all(value is None for value in given):
        raise typer.BadParameter("There is nothing to change: name an option.")
    with opened(ctx) as core:
        found = service_accounts.find(core, name=service, actor=operator())
        changed = service_accounts.change(
            core,
            service_id=found.id,
            permissions=[] if no_permissions else permission,
            audiences=[] if no_audiences else audience,
            description=description,
            may_end_sessions=may_end_sessions,
            actor=operator(),
        )
    same = " already" if found == changed else " now"
    may = ", ".join(changed.permissions) or "no permissions"
    at = ", ".join(changed.audiences) or "no audiences"
    print_done(as_dict(changed) if as_json else None, f"{changed.name} has {may} and {at}{same}.")


def rotate_service(
    ctx: typer.Context,
    service: Service,
    overlap: Annotated[
        int, typer.Option(min=0, max=24 * 365, help="The hours that those before it work at most.")
    ] = 24,
    expires: Expires = EXPIRES_DAYS,
    as_json: Json = False,
) -> None:
    """Make another secret; those before it work a while longer.

    It is shown this once. Those before it work until the overlap is over, so that the program can be given
    the new one meanwhile. Three can work at the same time.
    """
    with opened(ctx) as core:
        found = service_accounts.find(core, name=service, actor=operator())
        made = service_accounts.rotate(
            core, service_id=found.id, expires_days=expires, overlap_hours=overlap, actor=operator()
        )
    _show_secret(made, as_json)


def revoke_credential(
    ctx: typer.Context,
    service: Service,
    credential: Annotated[
        UUID, typer.Argument(metavar="CREDENTIAL", help="Its id, as show-service lists it.")
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Refuse one secret of a service from now on."""
    with opened(ctx) as core:
        found = service_accounts.find(core, name=service, actor=operator())
        if not yes:
            require_yes(f"Revoke this credential of {found.name}?", err=as_json)
        service_accounts.revoke_credential(
            core, service_id=found.id, credential_id=credential, actor=operator()
        )
        now = service_accounts.find(core, name=str(found.id), actor=operator())
    print_done(as_dict(now) if as_json else None, f"The credential {credential} of {found.name} is revoked.")


def deactivate_service(ctx: typer.Context, service: Service, as_json: Json = False) -> None:
    """Shut a service account out, at once. Its credentials and its tokens are refused, its rows stay.

    Its tokens are refused where they are introspected; services that only check a token's signature take it
    until it expires.
    """
    with opened(ctx) as core:
        found = service_accounts.find(core, name=service, actor=operator())
        changed = service_accounts.deactivate(core, service_id=found.id, actor=operator())
    same = " now" if found.is_active else " already"
    print_done(as_dict(changed) if as_json else None, f"{found.name} is deactivated{same}.")


def activate_service(ctx: typer.Context, service: Service, as_json: Json = False) -> None:
    """Let a deactivated service account in again.

    With the secrets that are neither revoked nor expired.
    """
    with opened(ctx) as core:
        found = service_accounts.find(core, name=service, actor=operator())
        changed = service_accounts.activate(core, service_id=found.id, actor=operator())
    same = " already" if found.is_active else " now"
    print_done(as_dict(changed) if as_json else None, f"{found.name} is active{same}.")


def delete_service(
    ctx: typer.Context,
    service: Service,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete a service account for good, with its secrets. JSON shows it as it was."""
    with opened(ctx) as core:
        found = service_accounts.find(core, name=service, actor=operator())
        if not yes:
            require_yes(f"Delete {found.name}, with its secrets?", err=as_json)
        service_accounts.delete(core, service_id=found.id, actor=operator())
    print_done(as_dict(found) if as_json else None, f"Deleted {found.name}.")


def as_dict(service: ServiceView) -> dict[str, Any]:
    """The service as the API has it."""
    return {**vars(service), "credentials": [vars(credential) for credential in service.credentials]}


def _show_secret(made: NewCredential, as_json: bool) -> None:
    if as_json:
        print_json(vars(made))
        return
    print_table(["field", "value"], [[key, _cell(value)] for key, value in vars(made).items()])
    typer.echo("Keep the secret now: it is shown this once.", err=True)


def _cell(value: object) -> str:
    return ", ".join(value) if isinstance(value, list) else shown(value)
