"""Who may do what: read from the database at that moment, for every kind of actor."""

from datetime import timedelta
from uuid import uuid4

import pytest

from tests.factories import OPERATOR, STRANGER, active, an_admin, rewrite_user, signed_in, user_row
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.errors import Forbidden, SessionEnded
from usersvc.services import authorization, sessions
from usersvc.services.actor import PERMISSIONS, Actor

EVERYTHING = PERMISSIONS["admin"]


def may(core: Core, actor: Actor, *permissions: str) -> bool:
    with core.read() as tx:
        try:
            authorization.require(tx, actor, *permissions)
        except Forbidden:
            return False
    return True


def is_over(core: Core, actor: Actor, email: str) -> None:
    with core.read() as tx:
        authorization.require_over(tx, actor, user_row(core, email))


def test_a51_each_role_holds_what_is_promised_and_no_more(core: Core) -> None:
    """Written down here once more: who changes what a role may do has to say so twice."""
    promised = {
        "user": set(),
        "moderator": {"content:manage"},
        "admin": {
            "content:manage",
            "users:read",
            "users:write",
            "roles:write",
            "groups:read",
            "groups:write",
            "audit:read",
        },
    }
    active(core)
    actor = signed_in(core)
    for role, permissions in promised.items():
        rewrite_user(core, role=role)
        assert {one for one in promised["admin"] if may(core, actor, one)} == permissions


def test_a51_all_that_is_asked_for_has_to_be_held(core: Core) -> None:
    active(core)
    actor = signed_in(core)
    rewrite_user(core, role="moderator")
    assert may(core, actor, "content:manage")
    assert not may(core, actor, "content:manage", "users:read")
    assert not may(core, actor, "users:read", "content:manage")


def test_a51_nobody_without_a_session_holds_anything_but_the_operator(core: Core) -> None:
    account = active(core)
    for actor in (STRANGER, Actor.job("purge"), Actor("user", user_id=account.id)):
        assert not may(core, actor, "content:manage")
    assert may(core, OPERATOR, *EVERYTHING)
    assert not may(core, OPERATOR, "what nobody holds")


def test_a51_only_the_operator_is_the_operator(core: Core) -> None:
    root = an_admin(core)
    authorization.require_operator(OPERATOR)
    for actor in (
        STRANGER,
        Actor.job("purge"),
        STRANGER.signed_in(root.id, uuid4()),
        signed_in(core, root.email),
    ):
        with pytest.raises(Forbidden):
            authorization.require_operator(actor)


def test_a51_the_session_of_another_gives_nothing(core: Core) -> None:
    root, user = an_admin(core), active(core)
    of_root = signed_in(core, root.email)
    assert of_root.session_id
    for other in (user.id, uuid4(), type(user.id)(int=0), type(user.id)(int=2**128 - 1)):
        with pytest.raises(SessionEnded):
            may(core, STRANGER.signed_in(other, of_root.session_id), "users:read")
    with pytest.raises(SessionEnded):
        may(core, STRANGER.signed_in(root.id, uuid4()), "users:read")


@pytest.mark.parametrize("status", ["pending", "invited", "deactivated"])
def test_a30_who_is_not_active_holds_nothing_though_his_session_lives(core: Core, status: str) -> None:
    root = an_admin(core)
    actor = signed_in(core, root.email)
    rewrite_user(core, root.email, status=status)
    with pytest.raises(SessionEnded):
        may(core, actor, "users:read")


def test_a25_a_session_that_is_over_gives_nothing(core: Core, clock: MovedClock) -> None:
    root = an_admin(core)
    ended, idle = signed_in(core, root.email), signed_in(core, root.email)
    assert ended.session_id
    sessions.end_own(core, session_id=ended.session_id, actor=idle)
    with pytest.raises(SessionEnded):
        may(core, ended, "users:read")
    assert may(core, idle, "users:read")
    clock.at += timedelta(days=core.settings.sessions.idle_days)
    with pytest.raises(SessionEnded):
        may(core, idle, "users:read")


def test_a52_nobody_is_over_who_holds_more(core: Core) -> None:
    root, user = an_admin(core), active(core)
    actor = signed_in(core, user.email)
    rewrite_user(core, user.email, role="moderator")
    is_over(core, actor, user.email)
    is_over(core, OPERATOR, root.email)
    with pytest.raises(Forbidden):
        is_over(core, actor, root.email)
    with pytest.raises(Forbidden):
        is_over(core, STRANGER, user.email)
