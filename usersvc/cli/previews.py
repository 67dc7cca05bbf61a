"""Mails looked at before anybody gets them, from the shell."""

from pathlib import Path
from typing import Annotated, Any

import typer

from usersvc.cli import completion
from usersvc.cli.opening import load_settings
from usersvc.cli.output import Json, print_json, print_table
from usersvc.errors import BrokenTemplates
from usersvc.locales import LOCALES, Locale
from usersvc.logs import printable
from usersvc.mail.samples import SAMPLES
from usersvc.services import mail_previews
from usersvc.services.mail_previews import KINDS, Preview


def preview_mail(  # noqa: PLR0917 - each is an option of its own
    ctx: typer.Context,
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND",
            help="As --list names it; with --to-dir, all unless given.",
            autocompletion=completion.mail_kinds,
        ),
    ] = None,
    locale: Annotated[
        Locale | None,
        typer.Option(help="The language; unless given, mail.default_locale, or with --to-dir all."),
    ] = None,
    to_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write KIND.LOCALE.txt and .html into this folder."),
    ] = None,
    list_kinds: Annotated[
        bool, typer.Option("--list", help="List kinds, their values, and languages.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show a mail as it would go out, made of sample values and of your templates.

    Needs no database. Says which file each part was made from, and where a template has a mistake (3).
    """
    if list_kinds:
        _list(as_json)
        return
    if kind is None and to_dir is None:
        raise typer.BadParameter("Name a KIND, or take --list or --to-dir.")
    if kind is not None and kind not in KINDS:
        raise typer.BadParameter(f"There is no kind {printable(kind)}: usersvc preview-mail --list")
    settings = load_settings(ctx)
    locales = [locale] if locale else LOCALES if to_dir else [settings.mail.default_locale]
    found = list(mail_previews.previews(settings, kinds=[kind] if kind else KINDS, locales=locales))
    written = [_write(preview, to_dir) if to_dir else [] for preview in found]
    if as_json:
        print_json([_as_dict(*each) for each in zip(found, written, strict=True)])
    elif to_dir:
        _print_files(found, written)
    else:
        _print_mail(found[0])
    refuse_mistakes(list(dict.fromkeys(str(each) for preview in found for each in preview.mistakes)))


def refuse_mistakes(mistakes: list[str]) -> None:
    """Tell them, a line each. Raises BrokenTemplates if there are any."""
    for mistake in mistakes:
        typer.echo(f"  {printable(mistake)}", err=True)
    if mistakes:
        raise BrokenTemplates


def _list(as_json: bool) -> None:
    if as_json:
        print_json({"kinds": {kind: list(values) for kind, values in SAMPLES.items()}, "locales": LOCALES})
        return
    print_table(["kind", "values"], [[kind, ", ".join(values)] for kind, values in SAMPLES.items()])
    typer.echo(f"\nIn each of: {', '.join(LOCALES)}")


def _print_mail(preview: Preview) -> None:
    typer.echo(f"Text: {preview.text.file}\nHTML: {preview.html.file}", err=True)
    typer.echo(f"Subject: {printable(preview.subject)}\n\n{preview.text.content}", nl=False)


def _print_files(found: list[Preview], written: list[list[str]]) -> None:
    rows = [
        [file, str(part.file)]
        for preview, files in zip(found, written, strict=True)
        for part, file in zip((preview.text, preview.html), files, strict=True)
    ]
    print_table(["written", "made of"], rows)


def _write(preview: Preview, folder: Path) -> list[str]:
    """The text as a template has it, with its subject in the first line."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {"txt": f"{preview.subject}\n\n{preview.text.content}", "html": preview.html.content}
    files = {folder / f"{preview.kind}.{preview.locale}.{ending}": text for ending, text in contents.items()}
    for file, text in files.items():
        file.write_text(text, encoding="utf-8")
    return [str(file) for file in files]


def _as_dict(preview: Preview, written: list[str]) -> dict[str, Any]:
    return {
        "kind": preview.kind,
        "locale": preview.locale,
        "subject": preview.subject,
        "text": preview.text.content,
        "html": preview.html.content,
        "text_from": str(preview.text.file),
        "html_from": str(preview.html.file),
        "mistakes": [str(mistake) for mistake in preview.mistakes],
        "written": written,
    }
