"""The settings from the shell."""

import typer

from usersvc.cli.opening import load_settings
from usersvc.cli.output import Json, print_json, print_table


def check_config(ctx: typer.Context) -> None:
    """Check the settings file and the variables; every mistake is shown at once.

    Then the templates of mails in mail.templates_dir, each mistake with its line (3).
    """
    settings = load_settings(ctx)
    typer.echo(f"The settings are valid ({settings.file or 'no file; defaults and variables'}).")
    if settings.templates_dir:
        from usersvc.cli.previews import refuse_mistakes
        from usersvc.services import mail_previews

        refuse_mistakes(mail_previews.mistakes(settings))


def show_config(ctx: typer.Context, as_json: Json = False) -> None:
    """Show every setting, its value with secrets masked, and where it came from."""
    values = load_settings(ctx).values()
    if as_json:
        print_json([{"key": v.key, "value": v.value, "from": v.origin} for v in values])
    else:
        print_table(["setting", "value", "from"], [[v.key, _shown(v.value), v.origin] for v in values])


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
