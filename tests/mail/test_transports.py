import email
import os
import stat
from email import policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.conftest import settings_for
from usersvc.mail import transports
from usersvc.mail.transports import ConsoleTransport, FileTransport, MemoryTransport, transport_from


def a_message(message_id: str = "<1.activation@example.org>", body: str = "Hello\n") -> EmailMessage:
    message = EmailMessage(policy=policy.SMTP)
    message["To"] = "ada@example.org"
    message["Subject"] = "Subject"
    message["Message-ID"] = message_id
    message.set_content(body)
    return message


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "mail"


def test_a_mail_is_a_file_of_its_own_that_can_be_read_back(folder: Path) -> None:
    where = FileTransport(folder).send(a_message())
    assert where == str(folder / "1.activation.eml")
    message = email.message_from_bytes(Path(where).read_bytes(), policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert (message["To"], message["Message-ID"]) == ("ada@example.org", "<1.activation@example.org>")
    assert message.get_content().splitlines() == ["Hello"]


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_files_of_mail_are_for_their_owner_alone_whatever_the_umask(folder: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        where = FileTransport(folder / "data" / "mail").send(a_message())
    finally:
        os.umask(before)
    assert mode(Path(where)) == 0o600
    assert mode(folder / "data" / "mail") == 0o700
    assert mode(folder / "data") == 0o700


def test_a_mail_that_is_sent_twice_is_one_file(folder: Path) -> None:
    transport = FileTransport(folder)
    transport.send(a_message(body="first\n"))
    where = transport.send(a_message(body="second\n"))
    transport.send(a_message("<2.activation@example.org>"))
    assert sorted(path.name for path in folder.iterdir()) == ["1.activation.eml", "2.activation.eml"]
    assert "second" in Path(where).read_text()
    assert mode(Path(where)) == 0o600


def test_a_mail_is_written_whole_or_not_at_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(transports.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        FileTransport(folder).send(a_message())
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_an_error_that_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "mail").write_text("a file stands in the way")
    with pytest.raises(OSError, match="exists"):
        FileTransport(tmp_path / "mail").send(a_message())


def test_a_message_id_cannot_lead_out_of_the_folder(folder: Path, tmp_path: Path) -> None:
    for message_id in ("<../../evil@x>", f"<{tmp_path}/evil@x>"):
        try:
            where = FileTransport(folder).send(a_message(message_id))
        except OSError:
            continue
        assert Path(where).resolve().parent == folder.resolve()
    assert [path.name for path in tmp_path.rglob("*evil*") if path.parent != folder] == []


def test_old_files_are_purged_and_others_stay(folder: Path) -> None:
    transport = FileTransport(folder)
    assert transport.purge(1e12) == 0
    old, new = (Path(transport.send(a_message(f"<{name}.x@y>"))) for name in ("old", "new"))
    os.utime(old, (1000, 1000))
    os.utime(new, (2000, 2000))
    assert transport.purge(2000) == 1
    assert [path.name for path in folder.iterdir()] == [new.name]
    assert transport.purge(2001) == 1


def test_the_console_shows_the_mail(capsys: pytest.CaptureFixture[str]) -> None:
    ConsoleTransport().send(a_message(body="Open https://users.example.org/activate?token=abc\n"))
    shown = capsys.readouterr().out
    assert "To: ada@example.org" in shown
    assert "https://users.example.org/activate?token=abc" in shown


def test_a_link_in_a_file_or_on_the_console_can_be_copied_whole_in_every_language(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    link = "https://users.example.org/activate?token=" + "x" * 43
    message = a_message()
    message.set_content(f"Grüße, नमस्ते\n\n{link}\n", cte="quoted-printable")
    message.add_alternative(f"<p>Grüße <a href='{link}'>", subtype="html", cte="quoted-printable")
    file = Path(FileTransport(folder).send(message))
    ConsoleTransport().send(message)
    for shown in (file.read_text(encoding="utf-8"), capsys.readouterr().out):
        assert "Grüße, नमस्ते" in shown
        assert link in shown.splitlines()
        assert f"<a href='{link}'>" in shown
    read = email.message_from_bytes(file.read_bytes(), policy=policy.default)
    text = read.get_body(("plain",))
    assert text is not None
    assert text.get_content() == f"Grüße, नमस्ते\n\n{link}\n"
    assert b"=3D" in message.as_bytes(), "by SMTP it goes as it was"


def test_memory_keeps_what_it_is_given_in_order() -> None:
    transport = MemoryTransport()
    first, second = a_message("<1@x>"), a_message("<2@x>")
    transport.send(first)
    transport.send(second)
    assert transport.sent == [first, second]


def test_the_transport_is_the_one_of_the_settings(tmp_path: Path) -> None:
    transport = transport_from(settings_for(tmp_path))
    assert isinstance(transport, FileTransport)
    assert transport.send(a_message()) == str(tmp_path / "mail" / "1.activation.eml")
    assert isinstance(transport_from(settings_for(tmp_path, mail__transport="console")), ConsoleTransport)
