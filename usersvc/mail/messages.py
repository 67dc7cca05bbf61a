"""Mails out of templates: a text and an HTML part from one kind and its data."""

from collections.abc import Mapping
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime, parseaddr
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import BaseLoader, ChoiceLoader, FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

_BUILT_IN = Path(__file__).parent / "templates"


class _Policy(EmailPolicy):
    def fold_binary(self, name: str, value: Any) -> bytes:
        """A Message-ID stays on one line: some servers replace one that begins on the next."""
        if name.lower() == "message-id":
            return f"{name}: {value}{self.linesep}".encode("ascii")
        return super().fold_binary(name, value)


_SMTP = _Policy(linesep="\r\n")


class Messages:
    """Renders mails. Templates of the same name in `templates_dir` replace the built-in ones.

    A kind is two files: KIND.txt, whose first line is the subject, and KIND.html.
    """

    def __init__(self, templates_dir: Path | None, *, sender: str) -> None:
        self._environment = _environment(templates_dir)
        self._sender = parseaddr(sender)

    def render(
        self, kind: str, data: Mapping[str, Any], *, to: str, message_id: str, at: datetime
    ) -> EmailMessage:
        """Raises whatever a broken template does, ValueError for an empty one or an impossible address."""
        subject, _, text = self._environment.get_template(f"{kind}.txt").render(data).partition("\n")
        if not subject.strip() or not text.strip():
            raise ValueError(f"{kind}.txt gives no subject or no text")
        html = self._environment.get_template(f"{kind}.html").render(data)
        message = EmailMessage(policy=_SMTP)
        message["From"] = _address(self._sender[1], self._sender[0])
        # An Address, not a string: a comma in a string would become a second recipient.
        message["To"] = _address(to)
        message["Subject"] = subject.strip()
        message["Date"] = format_datetime(at)
        message["Message-ID"] = message_id
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
        message.set_content(text.strip() + "\n", cte=_encoding(text))
        message.add_alternative(html, subtype="html", cte=_encoding(html))
        return message


@cache
def _environment(templates_dir: Path | None) -> SandboxedEnvironment:
    """It keeps what it has compiled; a file that is newer is compiled again."""
    folders: list[BaseLoader] = [FileSystemLoader(_BUILT_IN)]
    if templates_dir:
        folders.insert(0, FileSystemLoader(templates_dir))
    return SandboxedEnvironment(
        loader=ChoiceLoader(folders),
        autoescape=lambda name: bool(name) and str(name).endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _address(address: str, name: str = "") -> Address:
    local, _, domain = address.rpartition("@")
    return Address(display_name=name, username=local, domain=domain)


def _encoding(text: str) -> str:
    """ASCII goes as it is, so that a mail on disk can be read and its link copied whole."""
    return (
        "7bit" if text.isascii() and max(map(len, text.splitlines()), default=0) < 900 else "quoted-printable"
    )
