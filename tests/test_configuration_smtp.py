"""The settings of mail by SMTP: what they need of each other, told before a mail is lost."""

from pathlib import Path

import pytest
import trustme

from tests.smtp import ca_file
from usersvc import configuration
from usersvc.settings import Settings, SettingsError

RIGHT = {
    "transport": "smtp",
    "from_address": "Example <no-reply@example.org>",
    "smtp_host": "mail.example.org",
    "smtp_username": "mailer",
    "smtp_password": "right horse battery",
}


def load(**values: object) -> Settings:
    """With these keys in variables; an empty one is as good as none."""
    return configuration.load(
        environ={f"USERSVC_MAIL__{name.upper()}": str(value) for name, value in (RIGHT | values).items()}
    )


def mistakes(**values: object) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(**values)
    return caught.value.mistakes


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_right_settings_are_right() -> None:
    settings = load()
    assert settings.mail.smtp_password.get_secret_value() == "right horse battery"
    assert load(smtp_username="", smtp_password="").mail.smtp_host == "mail.example.org"


@pytest.mark.parametrize(
    ("security", "port", "expected"),
    [("starttls", 0, 587), ("tls", 0, 465), ("none", 0, 25), ("tls", 2465, 2465)],
)
def test_the_port_follows_the_security_unless_it_is_named(security: str, port: int, expected: int) -> None:
    settings = load(smtp_security=security, smtp_port=port, smtp_username="", smtp_password="")
    assert settings.smtp_port == expected
    [shown] = [value.value for value in settings.values() if value.key == "mail.smtp_port"]
    assert shown == expected


@pytest.mark.parametrize(
    "host",
    ["mail.example.org", "localhost", "relay", "10.0.0.1", "::1", "xn--bcher-kva.example", "a_b.example"],
)
def test_a_host_is_a_name_or_an_address(host: str) -> None:
    assert load(smtp_host=host).mail.smtp_host == host


def test_smtp_without_a_host() -> None:
    [mistake] = mistakes(smtp_host="")
    assert mistake.startswith("USERSVC_MAIL__SMTP_HOST: USERSVC_MAIL__TRANSPORT: mail.smtp_host: expected ")


@pytest.mark.parametrize(
    "address", ["usersvc <no-reply@localhost>", "no-reply@localhost", "grüße@example.org"]
)
def test_smtp_from_an_address_that_servers_refuse(address: str) -> None:
    [mistake] = mistakes(from_address=address)
    assert "mail.from_address: expected an address that mail servers accept" in mistake


def test_smtp_with_the_default_sender_names_what_chose_smtp() -> None:
    environ = {"USERSVC_MAIL__TRANSPORT": "smtp", "USERSVC_MAIL__SMTP_HOST": "mail.example.org"}
    with pytest.raises(SettingsError) as caught:
        configuration.load(environ=environ)
    [mistake] = caught.value.mistakes
    assert mistake.startswith("USERSVC_MAIL__TRANSPORT: mail.from_address: expected ")


@pytest.mark.parametrize("missing", ["smtp_username", "smtp_password"])
def test_half_a_login(missing: str) -> None:
    [mistake] = mistakes(**{missing: ""})
    assert f"mail.{missing}: expected beside mail.smtp_" in mistake
    assert RIGHT["smtp_password"] not in mistake


@pytest.mark.parametrize("host", ["mail.example.org", "10.0.0.1", "relay"])
def test_a_login_in_the_clear_to_another_machine(host: str) -> None:
    [mistake] = mistakes(smtp_host=host, smtp_security="none")
    assert "mail.smtp_security: expected starttls or tls" in mistake
    assert load(smtp_host=host, smtp_security="none", smtp_username="", smtp_password="")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_a_login_in_the_clear_on_this_machine_is_fine(host: str) -> None:
    assert load(smtp_host=host, smtp_security="none").mail.smtp_username == "mailer"


def test_a_file_of_certificates_has_to_hold_some_and_not_be_writable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "own" / "ca.pem"
    assert mistakes(smtp_ca_file=path) == [
        f"USERSVC_MAIL__SMTP_CA_FILE: mail.smtp_ca_file: there is no file {path}"
    ]
    path.parent.mkdir()
    path.write_text("no certificate")
    path.chmod(0o644)
    assert "cannot be read as certificates" in mistakes(smtp_ca_file=path)[0]
    ca_file(trustme.CA(), path.parent)
    assert load(smtp_ca_file=path).smtp_ca_file == path
    assert load(smtp_ca_file="own/ca.pem").smtp_ca_file == path
    path.chmod(0o646)
    assert f"others can write {path}: chmod o-w it" in mistakes(smtp_ca_file=path)[0]


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    found = mistakes(
        smtp_password="",
        smtp_security="none",
        smtp_ca_file=tmp_path / "none.pem",
        from_address="no-reply@localhost",
    )
    assert [mistake.split(": mail.")[1].split(":")[0] for mistake in found] == [
        "from_address",
        "smtp_password",
        "smtp_security",
        "smtp_ca_file",
    ]


@pytest.mark.parametrize("transport", ["file", "console"])
def test_while_another_transport_is_chosen_the_same_lines_may_stand_unfinished(transport: str) -> None:
    settings = load(transport=transport, smtp_host="", smtp_password="", from_address="no-reply@localhost")
    assert settings.mail.smtp_username == "mailer"


def test_a80_the_password_is_shown_nowhere() -> None:
    settings = load()
    [shown] = [value.value for value in settings.values() if value.key == "mail.smtp_password"]
    assert shown == "***"
    for text in (
        repr(settings),
        str(settings.model_dump()),
        settings.model_dump_json(),
        repr(settings.values()),
    ):
        assert RIGHT["smtp_password"] not in text
