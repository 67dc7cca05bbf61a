"""Mails out of templates: a text and an HTML part from one kind, its data and a language."""

from collections.abc import Mapping
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime, parseaddr
from pathlib import Path
from typing import Any

from usersvc import logs
from usersvc.mail.templating import Mistake, Part, Templates


class _Policy(EmailPolicy):
    def fold_binary(self, name: str, value: Any) -> bytes:
        """A Message-ID stays on one line: some servers replace one that begins on the next."""
        if name.lower() == "message-id":
            return f"{name}: {value}{self.linesep}".encode("ascii")
        return super().fold_binary(name, value)


_SMTP = _Policy(linesep="\r\n")

_log = logs.get("usersvc.mail")


class Messages:
    """Renders mails. Templates in `templates_dir` replace the built-in ones, as templating.py says."""

    def __init__(self, templates_dir: Path | None, *, sender: str) -> None:
        self._templates = Templates(templates_dir)
        self._sender = parseaddr(sender)
        self._told: set[tuple[Path, int]] = set()

    def render(
        self, kind: str, data: Mapping[str, Any], *, locale: str, to: str, message_id: str, at: datetime
    ) -> EmailMessage:
        """Raises TemplateNotFound for an unknown kind, ValueError for an impossible address.

        A template of the operator's with a mistake is told in the log, and the built-in one taken.
        """
        text, html = self.parts(kind, data, locale=locale)
        self._tell(text, html)
        message = EmailMessage(policy=_SMTP)
        message["From"] = _address(self._sender[1], self._sender[0])
        # An Address, not a string: a comma in a string would become a second recipient.
        message["To"] = _address(to)
        message["Subject"] = text.subject
        message["Date"] = format_datetime(at)
        message["Message-ID"] = message_id
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
        message.set_content(text.content, cte=_encoding(text.content))
        message.add_alternative(html.content, subtype="html", cte=_encoding(html.content))
        if _all_in(locale, text, html):
            message["Content-Language"] = locale  # RFC 3282; after the parts, or it becomes one of theirs
        return message

    def parts(self, kind: str, data: Mapping[str, Any], *, locale: str) -> tuple[Part, Part]:
        """The text and the HTML, without the mail around them."""
        return self._templates.parts(kind, data, locale=locale)

    def _tell(self, *parts: Part) -> None:
        """Once for each state of a file, not for each mail."""
        for mistake in [part.mistake for part in parts if part.mistake]:
            version = mistake.file, _written_at(mistake.file)
            if version in self._told:
                continue
            self._told.add(version)
            _log.warning(
                "a template has a mistake: mails are made from the built-in one", mistake=_shown(mistake)
            )


def _shown(mistake: Mistake) -> str:
    return logs.mask_text(str(mistake))[:500]


def _written_at(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def _all_in(locale: str, *parts: Part) -> bool:
    """Whether it is known: a template of one's own that serves every language may be in any."""
    return all(part.name.startswith(f"{locale}/") for part in parts)


def _address(address: str, name: str = "") -> Address:
    local, _, domain = address.rpartition("@")
    return Address(display_name=name, username=local, domain=domain)


def _encoding(text: str) -> str:
    """ASCII goes as it is, so that a mail on disk can be read and its link copied whole."""
    return (
        "7bit" if text.isascii() and max(map(len, text.splitlines()), default=0) < 900 else "quoted-printable"
    )
