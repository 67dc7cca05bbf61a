"""Keys and the secret key from the shell."""

from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from usersvc.cli import completion
from usersvc.cli.asking import require_yes
from usersvc.cli.opening import opened, operator
from usersvc.cli.output import Json, print_done, print_json, print_table, shown
from usersvc.core import Core
from usersvc.errors import KeyNotFound
from usersvc.security import secret_key
from usersvc.security.keys import Use
from usersvc.services import key_rotation, secret_rotation
from usersvc.services.key_rotation import PUBLISHED_BEFORE, SHORTEST, USES, KeyView

_COLUMNS = ["kid", "use", "algorithm", "state", "signs_from", "retired_at"]
_LONGEST = 30 * 24 * 3600


class Algorithm(StrEnum):
    ES256 = "ES256"
    EDDSA = "EdDSA"
    RS256 = "RS256"


Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def keys(ctx: typer.Context, as_json: Json = False) -> None:
    """List the keys that sign tokens, links and cursors, and those that still verify.

    By use. `next` signs from `signs_from` on, `signs` does now, `verifies` was rotated out, and `refused` was
    retired. What each is for, and when to use which command: docs/operations.md#keys.

        $ usersvc keys
        kid               use     algorithm  state  signs_from            retired_at
        6f3a0c9be1d24875  access  ES256      signs  2026-11-28 12:00:00Z
    """
    with opened(ctx) as core:
        found = key_rotation.list_keys(core, actor=operator())
    _print(found, as_json)


def rotate_keys(
    ctx: typer.Context,
    use: Annotated[
        list[Use] | None, typer.Option(help="Only keys of this use; can be given again. All but throttle.")
    ] = None,
    algorithm: Annotated[
        Algorithm | None, typer.Option(help="Of the access key; `tokens.algorithm` unless given.")
    ] = None,
    after: Annotated[
        int,
        typer.Option(
            min=int(SHORTEST.total_seconds()),
            max=_LONGEST,
            help="Seconds for which a new key is published before it signs. With less than 300, relying "
            "services may refuse new tokens for half a minute.",
        ),
    ] = int(PUBLISHED_BEFORE.total_seconds()),
    as_json: Json = False,
) -> None:
    """Make new keys, which begin to sign later. Nobody is logged out: the old ones go on verifying.

    While the last ones still wait to sign, no others are made (6).
    """
    uses = list(dict.fromkeys(use or USES))
    if algorithm and Use.ACCESS not in uses:
        raise typer.BadParameter("--algorithm is of access tokens alone: leave it out, or add --use access.")
    with opened(ctx) as core:
        made = key_rotation.rotate(
            core,
            uses=uses,
            algorithm=algorithm,
            published_before=timedelta(seconds=after),
            actor=operator(),
        )
    _print(made, as_json)


def retire_key(
    ctx: typer.Context,
    kid: Annotated[
        str, typer.Argument(metavar="KID", help="As `usersvc keys` shows it.", autocompletion=completion.keys)
    ],
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Accept nothing any more that a key signed: for one that others may have seen. It acts at once.

    Says what ends with it, and asks first. JSON has the key, and how many `sessions` and `links` ended.
    """
    with opened(ctx) as core:
        if not yes:
            require_yes(_loss(core, kid), err=True)
        retired = key_rotation.retire(core, kid=kid, actor=operator())
        now = _find(core, kid)
    told = f"Nothing is accepted any more that {kid} signed."
    if retired.sessions or retired.links:
        told += f"\nEnded with it: {retired.sessions} sessions, {retired.links} links."
    print_done({**vars(now), **vars(retired)} if as_json else None, told)


def rotate_secret(
    ctx: typer.Context,
    compromised: Annotated[
        bool,
        typer.Option(
            "--compromised", help="Others have seen it: every key is made anew, all sessions and links end."
        ),
    ] = False,
    new_secret_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Take the new one from there, readable by its owner alone; a random one unless given.",
        ),
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Replace the secret key. The keys are wrapped anew under it, and nobody is logged out.

    Asks first. JSON has how many `keys` and secrets of `webhooks` were wrapped anew or made, how many
    `sessions` and `links` ended, and `in_file`, whether the new one is in its file already.
    """
    new_secret = secret_key.read(new_secret_file) if new_secret_file else None
    with opened(ctx, patient=True) as core:
        if not yes:
            require_yes(_consequence(compromised), err=True)
        rotated = secret_rotation.rotate_secret(
            core, new_secret=new_secret, compromised=compromised, actor=operator()
        )
        path = core.settings.secret_key_path
    print_done(
        vars(rotated) if as_json else None,
        f"{rotated.keys} keys were made anew. Ended: {rotated.sessions} sessions, {rotated.links} links."
        if compromised
        else f"{rotated.keys} keys are wrapped anew; everybody stays logged in.",
    )
    if compromised and rotated.webhooks:
        typer.echo(
            f"The secrets of {rotated.webhooks} webhooks may have been seen too: replace each with "
            "`usersvc rotate-webhook-secret`, and give it to the receiver.",
            err=True,
        )
    if rotated.in_file:
        typer.echo(f"The new secret key is in {path}: back it up, and copy it to other machines.", err=True)
    else:
        typer.echo(
            "Now set server.secret_key to the new one wherever usersvc runs, and restart it.", err=True
        )


def _print(found: list[KeyView], as_json: bool) -> None:
    if as_json:
        print_json([vars(key) for key in found])
        return
    print_table(_COLUMNS, [[shown(getattr(key, column)) for column in _COLUMNS] for key in found])


def _find(core: Core, kid: str) -> KeyView:
    """Raises KeyNotFound."""
    for key in key_rotation.list_keys(core, actor=operator()):
        if key.kid == kid:
            return key
    raise KeyNotFound


def _loss(core: Core, kid: str) -> str:
    """Raises KeyNotFound."""
    use = _find(core, kid).use
    what = {
        Use.ACCESS: "access tokens under it are refused, clients get new ones by refreshing",
        Use.REFRESH: "sessions that were last refreshed under it end",
        Use.LINK: "links in mails that were made with it end",
        Use.CURSOR: "lists begin again at their first page",
        Use.THROTTLE: "counters of attempts begin anew",
    }
    return f"Retire {kid}: {what[Use(use)]}?"


def _consequence(compromised: bool) -> str:
    if compromised:
        return "Make every key anew, end all sessions and all links, and replace the secret key?"
    return "Replace the secret key?"
