"""The settings from the shell."""

import typer

from usersvc.cli.opening import load_settings
from usersvc.cli.output import Json, print_done, print_json, print_table
from usersvc.settings import Settings, SettingsError


def check_config(ctx: typer.Context, as_json: Json = False) -> None:
    """Check the settings file and the variables; every mistake is shown at once.

    With wrong settings it fails (78). Then the templates of mails in mail.templates_dir are checked, each
    mistake with its line (3). JSON has `valid`, `file` and `mistakes`.

        $ usersvc check-config
        The settings are valid (no file; defaults and variables).
    """
    try:
        settings = load_settings(ctx)
    except SettingsError as error:
        if as_json:
            print_json({"valid": False, "file": None, "mistakes": error.mistakes})
        raise
    mistakes = _mistakes_of_templates(settings)
    print_done(
        {"valid": not mistakes, "file": settings.file, "mistakes": mistakes} if as_json else None,
        f"The settings are valid ({settings.file or 'no file; defaults and variables'}).",
    )
    if mistakes:
        from usersvc.cli.previews import refuse_mistakes

        refuse_mistakes(mistakes)


def _mistakes_of_templates(settings: Settings) -> list[str]:
    if not settings.templates_dir:
        return []
    from usersvc.services import mail_previews

    return mail_previews.mistakes(settings)


def show_config(ctx: typer.Context, as_json: Json = False) -> None:
    """Show every setting, its value with secrets masked, and where it came from.

    $ USERSVC_SERVER__PORT=9000 usersvc show-config | grep server.port
    server.port                    9000                          USERSVC_SERVER__PORT
    """
    values = load_settings(ctx).values()
    if as_json:
        print_json([{"key": v.key, "value": v.value, "from": v.origin} for v in values])
    else:
        print_table(["setting", "value", "from"], [[v.key, _shown(v.value), v.origin] for v in values])


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
