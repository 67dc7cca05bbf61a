"""Logins from devices that an account is new to: told to its owner, who can undo them."""

from dataclasses import replace

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
    logged_in,
    signed_in,
    text_of,
    token_in,
    user_row,
)
from tests.services.test_email_change import chosen, to
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.errors import InvalidCredentials, InvalidLink, SessionEnded
from usersvc.services import email_change, login, login_alerts, maintenance, passwords, sessions
from usersvc.services._login_alerts import in_words
from usersvc.services.actor import Actor

# One flow on each database; which login is told is the same on both.
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:{}) Gecko/20100101 Firefox/{}"
HOME = Actor("anonymous", ip="192.0.2.1", user_agent=FIREFOX.format("130.0", "130.0"))
PHONE = replace(HOME, user_agent="Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Safari/604.1")
THIEF = replace(HOME, ip="198.51.100.7")


def enter(core: Core, actor: Actor, email: str = EMAIL, password: str = PASSWORD) -> list[str]:
    """The texts of what the login caused."""
    login.log_in(core, email=email, password=password, actor=actor)
    return [text_of(message) for message in delivered(core)]


@pytest.mark.sqlite
def test_the_first_login_is_silent_and_each_new_device_or_network_is_told_once(
    core: Core, clock: MovedClock
) -> None:
    active(core)
    assert enter(core, HOME) == []
    assert enter(core, replace(HOME, user_agent=FIREFOX.format("142.0", "142.0"))) == []
    [phone] = enter(core, PHONE)
    assert "Device: Safari (iPhone)" in phone
    assert "IP address: 192.0.2.1" in phone
    [elsewhere] = enter(core, THIEF)
    assert "Firefox (Linux)" in elsewhere
    for actor in (HOME, PHONE, THIEF):
        assert enter(core, actor) == []
    clock.move(days=60)
    assert enter(core, PHONE) == []
    clock.move(days=60)
    assert enter(core, PHONE) == [], "seen within 90 days, by the login before"
    assert len(enter(core, HOME)) == 1
    clock.move(days=91)
    assert len(enter(core, HOME)) == 1, "an account that was not used for so long"
    maintenance.purge(core, actor=OPERATOR)
    with core.read() as tx:
        assert tx.connection.exec_driver_sql("SELECT count(*) FROM known_devices").scalar_one() == 1


@pytest.mark.sqlite
def test_what_is_not_told_is_not_known(core: Core, clock: MovedClock) -> None:
    active(core)
    enter(core, HOME)
    told = [enter(core, replace(HOME, ip=f"198.51.100.{n}")) for n in range(6)]
    assert [len(mails) for mails in told] == [1, 1, 1, 1, 1, 0]
    clock.move(minutes=61)
    assert len(enter(core, replace(HOME, ip="198.51.100.5"))) == 1


@pytest.mark.sqlite
def test_devices_are_learnt_in_silence_after_an_upgrade_and_alerts_can_be_off(make_core: Make) -> None:
    silent = make_core(mail__login_alerts=False)
    active(silent)
    assert enter(silent, HOME) == enter(silent, THIEF) == []
    core = make_core()
    assert enter(core, HOME) == []
    assert len(enter(core, THIEF)) == 1


@pytest.mark.sqlite
def test_a_login_that_was_not_mine_is_undone(core: Core) -> None:
    active(core)
    mine = login.log_in(core, email=EMAIL, password=PASSWORD, actor=HOME)
    theirs = login.log_in(core, email=EMAIL, password=PASSWORD, actor=THIEF)
    [alert] = delivered(core)
    thief = signed_in(core)
    delivered(core)
    # What a thief would do to keep what he has.
    passwords.change(core, current_password=PASSWORD, new_password=OTHER_PASSWORD, actor=thief)
    delivered(core)
    login_alerts.end_session(core, token=token_in(alert), actor=STRANGER)
    for password in (PASSWORD, OTHER_PASSWORD):
        with pytest.raises(InvalidCredentials):
            logged_in(core, EMAIL, password)
    with core.read() as tx:
        assert tx.sessions.living(user_row(core).id, at=tx.now) == []
    assert mine != theirs
    with pytest.raises(InvalidLink):
        login_alerts.end_session(core, token=token_in(alert), actor=STRANGER)
    assert chosen(core, "marble 92 otter fog") == EMAIL
    assert enter(core, HOME, password="marble 92 otter fog") == []
    assert len(enter(core, THIEF, password="marble 92 otter fog")) == 1, "his device is not known any more"


def test_a_login_undone_after_the_thief_changed_the_address_gives_the_account_to_its_owner(
    core: Core, clock: MovedClock
) -> None:
    user_id = active(core).id
    enter(core, HOME)
    pair = login.log_in(core, email=EMAIL, password=PASSWORD, actor=THIEF)
    [alert] = delivered(core)
    clock.move(minutes=1)
    for email in ("bob@example.net", "cleo@example.net"):
        email_change.set_for(core, user_id=user_id, email=email, actor=OPERATOR)
        clock.move(minutes=1)
    delivered(core)
    login.log_in(core, email="cleo@example.net", password=PASSWORD, actor=PHONE)
    [of_the_thief] = delivered(core)
    login_alerts.end_session(core, token=token_in(alert), actor=STRANGER)
    mailed = delivered(core)
    assert [to(message) for message in mailed] == [EMAIL]
    with pytest.raises(InvalidLink):
        login_alerts.end_session(core, token=token_in(of_the_thief), actor=STRANGER)
    passwords.reset(core, token=token_in(mailed[0]), new_password=OTHER_PASSWORD, actor=STRANGER)
    assert logged_in(core, EMAIL, OTHER_PASSWORD)
    with pytest.raises(SessionEnded):
        sessions.refresh(core, refresh_token=pair.refresh_token, actor=THIEF)


def test_the_words_for_a_device_hold_nothing_that_a_stranger_wrote() -> None:
    assert in_words("curl/8.5.0") == "curl"
    assert in_words(None) == in_words("") == in_words("Mozilla/5.0 (new)") == ""
    assert in_words("Mozilla/5.0 (Windows NT 10.0)") == "Windows"
    assert in_words("https://evil.example/?x=<b>Chrome</b> on Windows") == "Chrome (Windows)"
    assert in_words("evil.example/click http://evil.example") == "evil"
    assert in_words("x" * 300) == "x" * 32
    assert in_words("Mozilla/5.0 (Windows NT 10.0) Chrome/126 Safari/537 Edg/126") == "Edge (Windows)"
    assert in_words("Mozilla/5.0 (Linux; Android 15) Chrome/126 Mobile Safari/537") == "Chrome (Android)"


@pytest.mark.sqlite
def test_an_administrators_login_is_told_like_any(core: Core) -> None:
    an_admin(core)
    assert enter(core, HOME, "root@example.org") == []
    assert len(enter(core, THIEF, "root@example.org")) == 1
