"""No field that a caller adds to a body reaches a row: every column of `users` at every route with a body."""

from typing import Any
from uuid import uuid4

import pytest
from httpx2 import Response

from tests.attacks.conftest import ADMIN, PENDING, TARGET, USER, World
from tests.database import dump, rows
from tests.factories import OTHER_PASSWORD, PASSWORD
from usersvc.db.models import users

# What an attacker would like to see in each column.
EVIL: dict[str, Any] = {
    "id": str(uuid4()),
    "email": "evil@example.net",
    "email_key": "evil@example.net",
    "email_verified_at": "2020-01-01T00:00:00Z",
    # With a hyphen, which no hash has: in a random one a short word can stand.
    "username": "evil-name",
    "username_key": "evil-name",
    "role": "admin",
    "status": "active",
    "password_hash": "$2b$10$abcdefghijklmnopqrstuuJ1n0o2p3q4r5s6t7u8v9w0x1y2z3A4B",
    "invited_at": "2020-01-01T00:00:00Z",
    "registered_at": "2020-01-01T00:00:00Z",
    "activated_at": "2020-01-01T00:00:00Z",
    "deactivated_at": "2020-01-01T00:00:00Z",
    "password_changed_at": "2020-01-01T00:00:00Z",
    "last_login_at": "2020-01-01T00:00:00Z",
    "created_at": "2020-01-01T00:00:00Z",
    "updated_at": "2020-01-01T00:00:00Z",
    "locale": "evil-locale",
    "profile": '{"evil": true}',
    "attributes": '{"evil": true}',
    "deletion_due_at": "2020-01-01T00:00:00Z",
}
# Names that stand in answers, or that other programs give to such things.
OTHERS: dict[str, Any] = {
    "email_verified": True,
    "is_admin": True,
    "is_active": True,
    "is_superuser": True,
    "roles": ["admin"],
    "permissions": ["users:write"],
    "session_id": str(uuid4()),
    "user_id": str(uuid4()),
    "actor": "operator",
    "mfa_enabled": False,
    "revoke_sessions": False,
    "user": {"role": "admin"},
    "__proto__": {"role": "admin"},
    "": "admin",
}
# For each route a body that is right, and which columns it may name: the write list.
ROUTES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "POST /users": ({"email": "new@example.org", "password": PASSWORD}, {"email", "username"}),
    "POST /auth/activate": ({"token": "{activation}"}, set()),
    "POST /auth/resend-activation": ({"email": PENDING}, {"email"}),
    "POST /auth/login": ({"email": TARGET, "password": PASSWORD}, {"email"}),
    "POST /auth/refresh": ({"refresh_token": "{refresh_token}"}, set()),
    "POST /auth/logout": ({"refresh_token": "{refresh_token}"}, set()),
    "POST /auth/tokens": ({"audience": "billing"}, set()),
    "POST /auth/forgot-password": ({"email": TARGET}, {"email"}),
    "POST /auth/reset-password": ({"reset_token": "{reset}", "new_password": OTHER_PASSWORD}, set()),
    "PATCH /users/me": ({"username": "another", "profile": {}}, {"username", "locale", "profile"}),
    "POST /users/me/change-password": (
        {"current_password": PASSWORD, "new_password": OTHER_PASSWORD},
        set(),
    ),
    "POST /admin/users": ({"email": "new@example.org"}, {"email", "role", "username", "locale"}),
    "DELETE /users/me": ({"password": PASSWORD}, set()),
    "PATCH /admin/users/{user_id}/role": ({"role": "moderator"}, {"role"}),
    # These name permissions, which no column of an account is.
    "POST /admin/services": ({"name": "new", "permissions": ["orders:read"]}, {"permissions"}),
    "PATCH /admin/services/{service_id}": ({"description": "Reads orders."}, {"permissions"}),
    "POST /admin/services/{service_id}/credentials": ({"overlap_hours": 1}, set()),
    "PATCH /admin/users/{user_id}/attributes": ({"attributes": {"plan": "paid"}}, {"attributes"}),
    "POST /admin/groups": ({"name": "desk"}, {"permissions"}),
    "PATCH /admin/groups/{group_id}": ({"name": "desk"}, {"permissions"}),
    "PUT /admin/groups/{group_id}/members/{user_id}": ({"manager": True}, set()),
}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _call(world: World, route: str, body: dict[str, Any], **more: Any) -> Response:
    method, path = route.split()
    caller = ADMIN if path.startswith("/admin") else USER
    filled = world.filled(path)
    return world.client.call(
        method, filled, template=path, token=world.pairs[caller].access_token, json=body, **more
    )


def _right(world: World, route: str) -> dict[str, Any]:
    known = {**world.links, "refresh_token": world.pairs[TARGET].refresh_token}
    return {
        name: known.get(value[1:-1], value) if isinstance(value, str) and value.startswith("{") else value
        for name, value in ROUTES[route][0].items()
    }


def test_a50_every_column_has_a_value_that_nobody_may_set() -> None:
    assert set(EVIL) == set(users.columns.keys())


def test_a50_every_route_with_a_body_says_what_it_writes(world: World) -> None:
    with_a_body = set(world.with_json())
    assert with_a_body == set(ROUTES)


@pytest.mark.parametrize("route", ROUTES)
def test_a50_no_column_can_be_written_through_a_field_beside_those_asked_for(
    world: World, route: str
) -> None:
    right, (_, may_write) = _right(world, route), ROUTES[route]
    extras = {name: value for name, value in EVIL.items() if name not in may_write}
    extras |= {_camel(name): value for name, value in extras.items() if name != _camel(name)}
    extras |= {name: value for name, value in OTHERS.items() if name not in may_write}
    before = dump(world.core)
    for name, value in extras.items():
        response = _call(world, route, {**right, name: value})
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (422, "VALIDATION_ERROR"), name
        assert [problem["message"] for problem in error["fields"]] == ["There is no such field."], name
        assert str(value) not in response.text or len(str(value)) < 6, name
    assert dump(world.core) == before


@pytest.mark.parametrize("route", ROUTES)
def test_a50_nothing_in_the_query_or_around_the_body_is_written(world: World, route: str) -> None:
    """That the body is right shows, too, what the extra field was refused for."""
    right = _right(world, route)
    before = dump(world.core)
    bodies: list[Any] = [{"user": right}, {"data": right}, [right], {**right, "user": right}]
    may_be_empty = "overlap_hours" in right
    for body in bodies if may_be_empty else [*bodies, {}]:
        assert _call(world, route, body).status_code == 422, body
    assert dump(world.core) == before
    powerful = _accounts(world, "admin", "new@example.org")
    response = _call(world, route, right, params={**EVIL, "is_admin": "true"})
    assert response.status_code < 300, response.text
    assert _accounts(world, "admin", "new@example.org") == powerful
    written = dump(world.core)
    for name in set(EVIL) - {"role", "status"}:
        assert EVIL[name] not in written, name


def _accounts(world: World, role: str, email: str) -> list[Any]:
    """Who has this role, and whether a new account is active."""
    found = "SELECT email FROM users WHERE role = :role OR (email = :email AND status = 'active') ORDER BY 1"
    return rows(world.core, found, role=role, email=email)
