"""The language of a user's mails: taken at registration, changed, and used when a mail is sent."""

import pytest

from tests.conftest import Make
from tests.factories import (
    EMAIL,
    OPERATOR,
    OTHER_PASSWORD,
    PASSWORD,
    STRANGER,
    active,
    an_admin,
    delivered,
    invited,
    outbox_rows,
    pending,
    signed_in,
    text_of,
    user_row,
)
from tests.outbox import queue
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.db.models import users
from usersvc.errors import Forbidden, UserNotFound
from usersvc.security.secrets import new_id
from usersvc.services import accounts, invitations, locales, passwords, registration

# It is the same on every database.
pytestmark = pytest.mark.sqlite


def _languages(core: Core) -> list[str]:
    return [message["Content-Language"] for message in delivered(core)]


def test_mails_are_in_the_language_that_a_user_has_when_they_are_sent(core: Core, clock: MovedClock) -> None:
    registration.register(core, email=EMAIL, password=PASSWORD, locale="hi", actor=STRANGER)
    [message] = delivered(core)
    assert message["Content-Language"] == "hi"
    assert "खाता" in message["Subject"]
    assert "नमस्ते" in text_of(message)
    account = user_row(core)
    clock.move(hours=1)
    passwords.forgot(core, email=EMAIL, actor=STRANGER)
    locales.set_locale(core, user_id=account.id, locale="fr", actor=OPERATOR)
    assert _languages(core) == ["fr"]


def test_who_has_no_language_or_one_of_a_newer_version_is_mailed_in_that_of_the_settings(
    make_core: Make,
) -> None:
    core = make_core(mail__default_locale="es")
    registration.register(core, email=EMAIL, password=PASSWORD, actor=STRANGER)
    queue(core, "nobody@example.org")
    assert user_row(core).locale is None
    assert _languages(core) == ["es", "es"]
    with core.write() as tx:
        tx.connection.execute(users.update().values(locale="tlh"))
    registration.resend_activation(core, email=EMAIL, actor=STRANGER)
    invitations.invite(core, email="bob@example.org", actor=OPERATOR)
    assert _languages(core) == ["es"]
    assert accounts.find(core, name=EMAIL, actor=OPERATOR).locale == "tlh"


def test_a_mail_to_who_has_no_account_any_more_names_its_language_itself(core: Core) -> None:
    queue(core, "gone@example.org", locale="de")
    queue(core, "gone@example.org", locale=None)
    assert _languages(core) == ["de", "en"]


def test_a_known_address_keeps_its_language_whoever_registers_it_again(core: Core, clock: MovedClock) -> None:
    active(core, locale="de")
    clock.move(hours=1)
    registration.register(core, email=EMAIL, password=OTHER_PASSWORD, locale="fr", actor=STRANGER)
    assert _languages(core) == ["de"]
    assert user_row(core).locale == "de"


@pytest.mark.parametrize(
    ("password", "locale", "kept"),
    [
        (PASSWORD, None, "de"),
        (PASSWORD, "fr", "fr"),
        (OTHER_PASSWORD, None, None),
        (OTHER_PASSWORD, "fr", "fr"),
    ],
)
def test_a_pending_account_keeps_the_language_of_the_same_person_alone(
    core: Core, password: str, locale: str | None, kept: str | None
) -> None:
    pending(core, locale="de")
    registration.register(core, email=EMAIL, password=password, locale=locale, actor=STRANGER)  # type: ignore[arg-type]
    assert user_row(core).locale == kept


def test_an_invitation_is_in_the_language_that_it_names_and_not_in_that_of_a_stranger(core: Core) -> None:
    pending(core, locale="hi")
    invited(core)
    assert user_row(core).locale is None
    invitations.invite(core, email="bob@example.org", locale="zh-Hans", actor=OPERATOR)
    [message] = delivered(core)
    assert message["Content-Language"] == "zh-Hans"
    assert message["Subject"].startswith("邀请您加入")


def test_without_activation_by_mail_the_language_is_kept_too(make_core: Make) -> None:
    core = make_core(registration__activation=False)
    made = registration.register(core, email=EMAIL, password=PASSWORD, locale="pt", actor=STRANGER)
    assert made is not None
    assert made.locale == user_row(core).locale == "pt"


def test_only_who_may_change_others_sets_their_language(core: Core) -> None:
    an_admin(core)
    ada = active(core)
    by = signed_in(core)
    assert accounts.change(core, locale="de", actor=by).locale == "de"
    before = user_row(core)
    with pytest.raises(Forbidden):
        locales.set_locale(core, user_id=ada.id, locale="fr", actor=by)
    with pytest.raises(UserNotFound):
        locales.set_locale(core, user_id=new_id(core.clock.now()), locale="fr", actor=OPERATOR)
    admin = signed_in(core, "root@example.org")
    assert locales.set_locale(core, user_id=ada.id, locale="de", actor=admin).locale == "de"
    assert user_row(core) == before, "the same language again is no change"
    assert locales.set_locale(core, user_id=ada.id, locale="fr", actor=admin).locale == "fr"
    assert all(mail.status == "sent" for mail in outbox_rows(core))
