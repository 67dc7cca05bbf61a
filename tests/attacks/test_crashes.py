"""Whatever breaks on the way of a request, it opens nothing, tells nothing and leaves nothing half done."""

from collections.abc import Callable
from typing import Any

import pytest
from httpx2 import Response
from sqlalchemy import Connection

from tests.api.conftest import code_of
from tests.attacks.conftest import ADMIN, TARGET, World
from tests.database import dump
from tests.factories import OTHER_PASSWORD, PASSWORD
from usersvc.clock import MovedClock
from usersvc.repositories.audit import Audit
from usersvc.repositories.directory import Directory
from usersvc.repositories.link_tokens import LinkTokens
from usersvc.repositories.outbox import Outbox
from usersvc.repositories.sessions import Session, Sessions
from usersvc.repositories.users import Users
from usersvc.security.passwords import PasswordHasher, Policy
from usersvc.security.tokens import Tokens
from usersvc.services import authorization

SECRET = "SELECT password_hash FROM users -- /var/lib/usersvc"


def _log_in(world: World) -> Response:
    return world.client.post("/auth/login", json={"email": TARGET, "password": PASSWORD})


def _refresh(world: World) -> Response:
    return world.client.post("/auth/refresh", json={"refresh_token": world.pairs[TARGET].refresh_token})


def _log_out(world: World) -> Response:
    return world.client.post("/auth/logout", json={"refresh_token": world.pairs[TARGET].refresh_token})


def _reset(world: World) -> Response:
    body = {"reset_token": world.links["reset"], "new_password": OTHER_PASSWORD}
    return world.client.post("/auth/reset-password", json=body)


def _activate(world: World) -> Response:
    return world.client.post("/auth/activate", json={"token": world.links["activation"]})


def _register(world: World) -> Response:
    return world.client.post("/users", json={"email": "new@example.org", "password": PASSWORD})


def _change(world: World) -> Response:
    body = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    return world.client.post("/users/me/change-password", json=body, token=world.pairs[TARGET].access_token)


def _administer(route: str) -> Callable[[World], Response]:
    return lambda world: world.call(route, {"Authorization": f"Bearer {world.pairs[ADMIN].access_token}"})


OWNERS: dict[str, Any] = {"authorization": authorization} | {
    owner.__name__: owner
    for owner in (
        Audit,
        Connection,
        Directory,
        LinkTokens,
        MovedClock,
        Outbox,
        PasswordHasher,
        Policy,
        Session,
        Sessions,
        Tokens,
        Users,
    )
}
# Each request, and what breaks on its way, one after the other.
BROKEN: dict[str, tuple[Callable[[World], Response], str]] = {
    "log in": (
        _log_in,
        "MovedClock.now Users.by_email_key PasswordHasher.verify Users.log_in Sessions.insert Audit.insert "
        "Connection.commit",
    ),
    "refresh": (
        _refresh,
        "Tokens.read_refresh Sessions.with_user Session.lives Sessions.rotate Connection.commit",
    ),
    "log out": (_log_out, "Tokens.read_refresh Sessions.end Audit.insert Connection.commit"),
    "reset": (
        _reset,
        "LinkTokens.by_digest Policy.check PasswordHasher.hash LinkTokens.use Users.set_password "
        "Sessions.end_all Outbox.insert Audit.insert Connection.commit",
    ),
    "activate": (_activate, "LinkTokens.use Users.activate Audit.insert Connection.commit"),
    "register": (
        _register,
        "PasswordHasher.hash Users.insert LinkTokens.insert Outbox.insert Audit.insert Connection.commit",
    ),
    "change": (
        _change,
        "PasswordHasher.verify Users.set_password LinkTokens.revoke_all Sessions.end_all Sessions.insert "
        "Outbox.insert Audit.insert Connection.commit",
    ),
    "list": (
        _administer("GET /admin/users"),
        "Tokens.read_access Sessions.with_user Session.lives authorization.require Directory.page",
    ),
    "promote": (
        _administer("PATCH /admin/users/{user_id}/role"),
        "authorization.require authorization.require_over Users.set_role Audit.insert Connection.commit",
    ),
    "shut out": (
        _administer("PATCH /admin/users/{user_id}/deactivate"),
        "Users.deactivate Sessions.end_all LinkTokens.revoke_all Audit.insert Connection.commit",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a82_what_breaks_opens_nothing_tells_nothing_and_can_be_repeated(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    request, places = BROKEN[name]
    before = dump(world.core)
    for place in places.split():
        owner, _, step = place.partition(".")
        caplog.clear()
        with monkeypatch.context() as patch:
            patch.setattr(OWNERS[owner], step, _broken)
            response = request(world)
        assert (response.status_code, code_of(response)) == (500, "INTERNAL_ERROR"), place
        for told in ("SELECT", "/var", "RuntimeError", "Traceback", "token"):
            assert told not in response.text
        assert response.headers["x-request-id"] in caplog.text
        assert "request crashed" in caplog.text
        assert dump(world.core) == before, place
    assert request(world).status_code < 300


def _broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError(SECRET)


def test_a82_tokens_that_cannot_be_signed_are_not_given(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sign_access", "sign_refresh"):
        with monkeypatch.context() as patch:
            patch.setattr(Tokens, name, _broken)
            for request in (_log_in, _refresh):
                response = request(world)
                assert (response.status_code, code_of(response)) == (500, "INTERNAL_ERROR")
                assert "eyJ" not in response.text
    # What was committed before is as if the answer had been lost: the same token goes on within the grace.
    assert _refresh(world).status_code == 200
