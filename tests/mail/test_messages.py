import email
import re
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from jinja2 import TemplateNotFound

from tests.factories import text_of
from usersvc.mail.messages import Messages
from usersvc.mail.samples import SAMPLES
from usersvc.services import delivery

AT = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
LINK = SAMPLES["activation"]["link"]
DATA = SAMPLES


def render(
    kind: str = "activation",
    data: dict[str, Any] | None = None,
    *,
    locale: str = "en",
    to: str = "ada@example.org",
    templates: Path | None = None,
    sender: str = "Example Accounts <no-reply@example.org>",
) -> EmailMessage:
    values = DATA[kind] | (data or {}) if kind in DATA else data or {}
    return Messages(templates, sender=sender).render(
        kind, values, locale=locale, to=to, message_id="<1.x@y>", at=AT
    )


def html_of(message: EmailMessage) -> str:
    part = message.get_body(("html",))
    assert part is not None
    return str(part.get_content())


def as_read(message: EmailMessage) -> EmailMessage:
    """The message as who receives it parses it."""
    parsed = email.message_from_bytes(message.as_bytes(), policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    assert parsed.defects == []
    return parsed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def test_samples_have_a_link_where_mails_get_one() -> None:
    assert {kind for kind in DATA if "link" in DATA[kind]} == delivery._WITH_LINK


@pytest.mark.parametrize("kind", DATA)
def test_a_mail_has_exactly_its_headers_and_two_parts(kind: str) -> None:
    message = as_read(render(kind))
    assert {name.lower() for name in message.keys()} == {  # noqa: SIM118 - a message is no dict
        "from",
        "to",
        "subject",
        "date",
        "message-id",
        "auto-submitted",
        "content-language",
        "mime-version",
        "content-type",
    }
    assert message["From"] == "Example Accounts <no-reply@example.org>"
    assert message["To"] == "ada@example.org"
    assert message["Message-ID"] == "<1.x@y>"
    assert message["Date"].datetime == AT
    assert message["Auto-Submitted"] == "auto-generated"
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/alternative",
        "text/plain",
        "text/html",
    ]


@pytest.mark.parametrize("kind", DATA)
def test_the_first_line_of_the_text_is_the_subject_and_is_not_repeated(kind: str) -> None:
    message = render(kind)
    assert "users.example.org" in message["Subject"]
    assert len(message["Subject"]) < 100
    assert message["Subject"] not in text_of(message)
    assert text_of(message).startswith("Hello,")


@pytest.mark.parametrize("kind", DATA)
def test_both_parts_say_what_the_data_say(kind: str) -> None:
    message = render(kind)
    for value in DATA[kind].values():
        assert value in text_of(message)
        assert value in html_of(message)


@pytest.mark.parametrize("kind", DATA)
def test_no_mail_loads_anything_from_elsewhere(kind: str) -> None:
    html = html_of(render(kind))
    assert not re.search(r"<(script|img|link|iframe|object|form)\b|\burl\(|\bsrc=", html, re.IGNORECASE)
    assert set(re.findall(r'href="([^"]*)"', html)) <= {DATA[kind].get("link")}


def test_the_text_part_stands_on_disk_as_it_is_read() -> None:
    raw = render().as_bytes()
    assert LINK.encode() + b"\r\n" in raw
    assert b"=3D" not in raw
    assert b"Content-Transfer-Encoding: 7bit" in raw


@pytest.mark.parametrize("length", [1, 60, 66, 100])
def test_a_message_id_stands_on_one_line(length: int) -> None:
    message_id = f"<{'x' * length}@example.org>"
    message = Messages(None, sender="no-reply@example.org").render(
        "password_changed",
        DATA["password_changed"],
        locale="en",
        to="ada@example.org",
        message_id=message_id,
        at=AT,
    )
    assert f"\r\nMessage-ID: {message_id}\r\n".encode() in message.as_bytes()
    assert as_read(message)["Message-ID"] == message_id


def test_text_beyond_ascii_arrives(folder: Path) -> None:
    (folder / "activation.txt").write_text("Grüße von {{ host }}\n\nÖffnen: {{ link }}\n", encoding="utf-8")
    message = render(templates=folder)
    assert message.as_bytes().isascii()
    parsed = as_read(message)
    assert parsed["Subject"] == "Grüße von users.example.org"
    assert text_of(parsed).strip() == f"Öffnen: {LINK}"


def test_a_very_long_line_arrives(folder: Path) -> None:
    (folder / "activation.txt").write_text("Subject\n\n" + "x" * 5000 + "\n")
    message = render(templates=folder)
    assert max(map(len, message.as_bytes().split(b"\r\n"))) <= 998
    assert text_of(as_read(message)).strip() == "x" * 5000


# -- addresses


def test_a07_a_comma_never_makes_a_second_recipient() -> None:
    for to in ("a@x.org, evil@x.org", '"a@x.org, b"@x.org', "a,b@x.org"):
        try:
            message = as_read(render(to=to))
        except ValueError:
            continue
        assert len(message["To"].addresses) == 1
        assert message["Cc"] is None
        assert message["Bcc"] is None


@pytest.mark.parametrize("to", ["a@x.org\r\nBcc: e@x.org", "a@x.org\nX: y", "a\r@x.org", "\r\n@x.org"])
def test_a07_a_line_break_in_an_address_is_refused(to: str) -> None:
    with pytest.raises(ValueError, match="CR or LF"):
        render(to=to)


@pytest.mark.parametrize("to", ["o'hara+news@example.org", "a@xn--bcher-kva.de", "a.b_c%d@example.org"])
def test_an_unusual_address_arrives_whole(to: str) -> None:
    [address] = as_read(render(to=to))["To"].addresses
    assert address.addr_spec == to


@pytest.mark.parametrize(
    ("sender", "name", "address"),
    [
        ("no-reply@example.org", "", "no-reply@example.org"),
        ("Example <no-reply@example.org>", "Example", "no-reply@example.org"),
        ("Bücher <no-reply@example.org>", "Bücher", "no-reply@example.org"),
    ],
)
def test_the_sender_is_the_one_of_the_settings(sender: str, name: str, address: str) -> None:
    [found] = as_read(render(sender=sender))["From"].addresses
    assert (found.display_name, found.addr_spec) == (name, address)


# -- what data may do


def test_a08_data_are_escaped_in_html_and_evaluated_nowhere() -> None:
    device = '<script>alert(1)</script> {{ 7 * 7 }} {% raw %} " onload="x & y'
    message = as_read(render("session_ended", {"device": device}))
    assert device in text_of(message)
    html = html_of(message)
    assert "<script" not in html
    assert '" onload="' not in html
    assert "&lt;script&gt;" in html
    assert "{{ 7 * 7 }}" in html
    assert "49" not in text_of(message)


def test_a08_a_link_cannot_break_out_of_its_attribute() -> None:
    html = html_of(render(data={"link": 'https://x.org/?a="><script>alert(1)</script>'}))
    assert "<script" not in html
    assert '"><' not in html.partition("x.org")[2].partition("</a>")[0].partition('" style')[0]


@pytest.mark.parametrize("text", ["x\r\nBcc: evil@example.org", "x\nBcc: evil@example.org", "x\rBcc: e@x"])
def test_a08_data_with_line_breaks_make_no_header(text: str) -> None:
    for kind, fields in DATA.items():
        data = dict.fromkeys(fields, text)
        try:
            message = render(kind, data)
        except ValueError:
            continue
        parsed = email.message_from_bytes(message.as_bytes(), policy=policy.default)
        assert parsed["Bcc"] is None
        assert len(parsed.get_all("To", [])) == 1


def test_a08_long_data_arrive_in_lines_that_mail_can_carry() -> None:
    message = render("session_ended", {"device": "x" * 10_000})
    assert max(map(len, message.as_bytes().split(b"\r\n"))) <= 998
    assert "x" * 10_000 in text_of(as_read(message))


# -- templates of one's own


def test_a_template_in_the_folder_replaces_the_built_in_one_and_no_other(folder: Path) -> None:
    (folder / "activation.txt").write_text("Welcome\n\nOpen {{ link }}\n")
    message = render(templates=folder)
    assert message["Subject"] == "Welcome"
    assert text_of(message) == f"Open {LINK}\n"
    assert html_of(message) == html_of(render())
    assert render("session_ended", templates=folder)["Subject"] == render("session_ended")["Subject"]


def test_the_layout_alone_can_be_replaced(folder: Path) -> None:
    (folder / "layout.html").write_text("<main>{% block body %}{% endblock %}</main>")
    html = html_of(render(templates=folder))
    assert html.startswith("<main>")
    assert LINK in html


def test_a_template_of_ones_own_is_escaped_too(folder: Path) -> None:
    (folder / "session_ended.html").write_text("<p>{{ device }}</p>")
    html = html_of(render("session_ended", {"device": "<b>"}, templates=folder))
    assert html.strip() == "<p>&lt;b&gt;</p>"


def test_a_template_with_windows_line_ends_is_fine(folder: Path) -> None:
    (folder / "activation.txt").write_bytes(b"Welcome\r\n\r\nOpen {{ link }}\r\n")
    message = as_read(render(templates=folder))
    assert message["Subject"] == "Welcome"
    assert text_of(message).split() == ["Open", LINK]


def test_an_unknown_kind_has_no_template() -> None:
    with pytest.raises(TemplateNotFound):
        render("no_such_kind")
