"""Tokens for other services: good there alone, as long as the session and no longer than other tokens."""

import pytest

from tests.conftest import Make
from tests.factories import EMAIL, OPERATOR, STRANGER, active, logged_in, rewrite_user, signed_in
from tests.forgery import parts_of
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.errors import InvalidToken, SessionEnded, UnknownAudience
from usersvc.services import admin, sessions
from usersvc.services.audiences import issue_token
from usersvc.services.authentication import authenticate

NAMED = "billing, https://Files.example.org/"


@pytest.fixture
def core(make_core: Make) -> Core:
    return make_core(tokens__audiences=NAMED)


def test_a_token_for_an_audience_says_the_same_of_the_same_session(core: Core) -> None:
    account = active(core)
    admin.set_role(core, user_id=account.id, role="moderator", actor=OPERATOR)
    own = parts_of(logged_in(core).access_token)[1]
    actor = signed_in(core)
    for audience in ("billing", "https://Files.example.org/"):
        issued = issue_token(core, audience=audience, actor=actor)
        header, claims = parts_of(issued.access_token)[:2]
        assert (issued.audience, issued.expires_in, header["typ"]) == (audience, 600, "at+jwt")
        different = {"aud": audience, "sid": str(actor.session_id), "jti": claims["jti"]}
        assert claims == {**own, **different}
        assert claims["jti"] != own["jti"]
        assert claims["client_id"] == "usersvc"


def test_a71_a_token_for_one_audience_opens_nothing_else(core: Core) -> None:
    active(core)
    issued = issue_token(core, audience="billing", actor=signed_in(core))
    with pytest.raises(InvalidToken):
        authenticate(core, access_token=issued.access_token, actor=STRANGER)


def test_only_named_audiences_get_one(core: Core) -> None:
    active(core)
    actor = signed_in(core)
    for audience in ("", "other", "usersvc", "Billing", "billing ", NAMED, "billing\0"):
        with pytest.raises(UnknownAudience):
            issue_token(core, audience=audience, actor=actor)


def test_a_token_lives_no_longer_than_its_session(core: Core, clock: MovedClock) -> None:
    active(core)
    actor = signed_in(core)
    clock.move(days=14, minutes=-4)
    assert issue_token(core, audience="billing", actor=actor).expires_in == 240
    clock.move(minutes=4)
    with pytest.raises(SessionEnded):
        issue_token(core, audience="billing", actor=actor)


def test_a30_who_is_out_gets_none(core: Core) -> None:
    """Also where the end came after the bearer was looked at."""
    active(core)
    ended, left = signed_in(core), signed_in(core)
    assert ended.session_id
    sessions.end_own(core, session_id=ended.session_id, actor=ended)
    rewrite_user(core, EMAIL, status="deactivated")
    for actor in (ended, left, OPERATOR):
        with pytest.raises(SessionEnded):
            issue_token(core, audience="billing", actor=actor)


def test_what_an_operator_took_from_the_settings_is_named_no_more(core: Core, make_core: Make) -> None:
    active(core)
    actor = signed_in(core)
    assert issue_token(core, audience="billing", actor=actor)
    with pytest.raises(UnknownAudience):
        issue_token(make_core(), audience="billing", actor=actor)
