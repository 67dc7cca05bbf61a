"""How a finished message leaves: by SMTP, as a file, to the console, or into memory for tests."""

import contextlib
import copy
import os
import secrets
import sys
import tempfile
from collections.abc import Iterable
from email.message import EmailMessage
from pathlib import Path
from typing import Protocol

from usersvc.files import make_private, sync_folder
from usersvc.mail.errors import NotSent
from usersvc.mail.route import Route
from usersvc.settings import Settings


class Transport(Protocol):
    def send(self, message: EmailMessage) -> str:
        """Send to the one address in `To`; returns where it went, for the log.

        OSError: try again. MailRefused: never. LoginRefused: not before an operator has mended it.
        """
        ...

    def check(self) -> Route:
        """Go all the way but for the mail; raises as `send` does. Leaves nothing behind."""
        ...


class FileTransport:
    """One `.eml` file a mail, readable by its owner alone, in a folder of the data directory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, message: EmailMessage) -> str:
        make_private(self._folder)
        name = _name_of(str(message["Message-ID"]))
        target = self._folder / f"{name}.eml"
        draft = self._folder / f".{name}.{secrets.token_hex(4)}"
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                # Line ends as other files have them, so that a link can be cut out by a script.
                file.write(_readable(message).as_bytes(policy=message.policy.clone(linesep="\n")))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
            sync_folder(self._folder)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        return str(target)

    def check(self) -> Route:
        folder = self._folder if self._folder.exists() else self._folder.parent
        if folder.exists():
            try:
                tempfile.TemporaryFile(dir=folder).close()
            except OSError as error:
                raise NotSent(f"{folder} cannot be written: {error.strerror}") from None
        return Route(f"files in {self._folder}")

    def discard(self, message_ids: Iterable[str]) -> None:
        """Delete these mails, where they are still there."""
        for message_id in message_ids:
            (self._folder / f"{_name_of(message_id)}.eml").unlink(missing_ok=True)

    def purge(self, before: float, *, dry_run: bool = False) -> int:
        """Delete mails older than `before` (seconds since the epoch), and drafts of workers that died.

        How many mails that were; with `dry_run` it only counts them.
        """
        deleted = 0
        for path in [*self._folder.glob("*.eml"), *self._folder.glob(".*.*")]:
            with contextlib.suppress(FileNotFoundError):  # another worker was faster
                if path.stat().st_mtime < before:
                    if not dry_run:
                        path.unlink()
                    deleted += path.suffix == ".eml"
        return deleted


def _name_of(message_id: str) -> str:
    """A mail that is sent twice is still one file."""
    return message_id.strip("<>").partition("@")[0]


def _readable(message: EmailMessage) -> EmailMessage:
    """For eyes and scripts: without what SMTP needs, which tears a link apart."""
    copied = copy.deepcopy(message)
    for part in copied.walk():
        if part["Content-Transfer-Encoding"] == "quoted-printable":
            part.set_content(part.get_content(), subtype=part.get_content_subtype(), cte="8bit")
    return copied


class ConsoleTransport:
    """To standard output, for a look at the mails while developing."""

    def send(self, message: EmailMessage) -> str:
        encoding = sys.stdout.encoding or "utf-8"
        shown = _readable(message).as_bytes().decode("utf-8")
        sys.stdout.write(f"\n{shown}\n".encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()
        return "console"

    def check(self) -> Route:
        return Route("the console")


class MemoryTransport:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.sent: list[EmailMessage] = []

    def send(self, message: EmailMessage) -> str:
        self.sent.append(message)
        return "memory"

    def check(self) -> Route:
        return Route("memory")


def transport_from(settings: Settings) -> Transport:
    match settings.mail.transport:
        case "smtp":
            from usersvc.mail.smtp import smtp_from

            return smtp_from(settings)
        case "console":
            return ConsoleTransport()
        case "file":
            return FileTransport(settings.mail_dir)
