"""Each route that takes a token takes its own kind alone, whole, signed by us and in time.

The reader of tokens is tested in tests/security/test_tokens.py; here is that every route asks it.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from httpx2 import Response

from tests.api.conftest import code_of
from tests.attacks.conftest import ADMIN, TARGET, World
from tests.database import dump, rows
from tests.factories import OTHER_PASSWORD
from tests.forgery import forgeries, resigned
from usersvc.security.keys import Use

KINDS = (
    *("access", "refresh", "activation", "invitation", "reset"),
    *("email_change", "email_revert", "login_revoke"),
)
# Where a token stands in a body: under which name, which kinds are right, what the others are answered with.
IN_BODIES: dict[str, tuple[str, set[str], int, str | None]] = {
    "POST /auth/refresh": ("refresh_token", {"refresh"}, 401, "INVALID_TOKEN"),
    # Whatever it is, one is logged out afterwards.
    "POST /auth/logout": ("refresh_token", {"refresh"}, 200, None),
    "POST /auth/activate": ("token", {"activation"}, 422, "INVALID_LINK"),
    "POST /auth/reset-password": ("reset_token", {"reset", "invitation"}, 422, "INVALID_LINK"),
    "POST /auth/confirm-email": ("token", {"email_change"}, 422, "INVALID_LINK"),
    "POST /auth/restore-email": ("token", {"email_revert"}, 422, "INVALID_LINK"),
    "POST /auth/end-session": ("token", {"login_revoke"}, 422, "INVALID_LINK"),
}
PAGES = {
    "/activate": {"activation"},
    "/reset-password": {"reset", "invitation"},
    "/confirm-email": {"email_change"},
    "/restore-email": {"email_revert"},
    "/end-session": {"login_revoke"},
}


def _of_kind(world: World, kind: str) -> str:
    pair = world.pairs[TARGET]
    return {"access": pair.access_token, "refresh": pair.refresh_token, **world.links}[kind]


def _links_made_wrong(world: World, link: str) -> Iterator[str]:
    """Almost a link, or what a thief of the database would hold of it."""
    yield from (
        "",
        "x" * 43,
        link[:-1],
        link + "A",
        link[1:] + link[0],
        link.swapcase(),
        f" {link}",
        f"{link}\n",
    )
    yield from (quote(link) + "%00", link + "=", link * 200, "../" + link)
    found = "SELECT id, digest, nonce, key_id FROM link_tokens"
    for row in rows(world.core, found):
        for value in row:
            yield value.hex() if isinstance(value, bytes) else str(value)


def _jwts_made_wrong(world: World, use: Use, token: str) -> Iterator[tuple[str, str]]:
    now = int(world.clock.now().timestamp())
    ring = world.core.key_ring
    yield from forgeries(ring, use, token).items()
    if use is Use.ACCESS:
        yield "from the future", resigned(ring, use, token, iat=now + 31)
        yield "not before the future", resigned(ring, use, token, nbf=now + 31)


def _post(world: World, route: str, token: str) -> Response:
    name = IN_BODIES[route][0]
    body = {name: token} | ({"new_password": OTHER_PASSWORD} if name == "reset_token" else {})
    return world.client.post(route.split()[1], json=body)


def _wrong(world: World, route: str) -> Iterator[tuple[str, str]]:
    right = IN_BODIES[route][1]
    yield from ((kind, _of_kind(world, kind)) for kind in KINDS if kind not in right)
    if "refresh" in right:
        yield from _jwts_made_wrong(world, Use.REFRESH, _of_kind(world, "refresh"))
    else:
        for kind in right:
            yield from (
                (f"{kind}: {made!r}", made) for made in _links_made_wrong(world, _of_kind(world, kind))
            )


def test_a71_every_field_for_a_token_has_its_row(world: World) -> None:
    document = world.client.document
    assert document is not None
    found = set()
    for route, said in world.with_json().items():
        name = said["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        fields = document["components"]["schemas"][name]["properties"]
        found |= {(route, field) for field in fields if "token" in field}
    assert found == {(route, row[0]) for route, row in IN_BODIES.items()}


@pytest.mark.parametrize("route", IN_BODIES)
def test_a71_a_wrong_token_in_a_body_changes_nothing(world: World, route: str) -> None:
    _, right, status, code = IN_BODIES[route]
    before = dump(world.core)
    for name, token in _wrong(world, route):
        response = _post(world, route, token)
        assert response.status_code == status, f"{name}: {response.text}"
        assert code is None or code_of(response) == code, name
        assert len(token) < 20 or token not in response.text
    assert dump(world.core) == before
    # What was tried in vain with these stands as it was.
    for kind in sorted(right):
        assert _post(world, route, _of_kind(world, kind)).status_code == 200


def test_a70_a_forged_bearer_gets_in_nowhere(world: World) -> None:
    """A table would say the same for each route: no bearer, no way in."""
    guarded = [
        route for route, said in world.documented().items() if {"Bearer": []} in said.get("security", [])
    ]
    made = dict(_jwts_made_wrong(world, Use.ACCESS, world.pairs[ADMIN].access_token))
    before = dump(world.core)
    for route in guarded:
        for name, token in made.items():
            response = world.call(route, {"Authorization": f"Bearer {token}"})
            assert (response.status_code, code_of(response)) == (401, "INVALID_TOKEN"), f"{route}: {name}"
    assert dump(world.core) == before
    bearer = {"Authorization": f"Bearer {resigned(world.core.key_ring, Use.ACCESS, _admin(world))}"}
    assert world.call("GET /admin/users", bearer).status_code == 200


def _admin(world: World) -> str:
    return world.pairs[ADMIN].access_token


@pytest.mark.parametrize("path", PAGES)
def test_a19_a_page_opens_for_its_own_links_alone(world: World, path: str) -> None:
    before = dump(world.core)
    for kind in KINDS:
        token = _of_kind(world, kind)
        page = world.client.http.get(path, params={"token": token})
        assert page.status_code == (200 if kind in PAGES[path] else 422), kind
        if kind in PAGES[path]:
            continue
        sent = world.client.http.post(path, data={"token": token, "password": OTHER_PASSWORD})
        assert sent.status_code == 422, kind
        assert "not valid" in sent.text
        assert token not in sent.text
    assert dump(world.core) == before


@pytest.mark.parametrize(
    ("route", "kind", "life", "code"),
    [
        ("POST /auth/activate", "activation", {"hours": 24}, "INVALID_LINK"),
        ("POST /auth/reset-password", "reset", {"minutes": 30}, "INVALID_LINK"),
        ("POST /auth/reset-password", "invitation", {"hours": 72}, "INVALID_LINK"),
        ("POST /auth/confirm-email", "email_change", {"hours": 24}, "INVALID_LINK"),
        ("POST /auth/restore-email", "email_revert", {"days": 7}, "INVALID_LINK"),
        ("POST /auth/end-session", "login_revoke", {"days": 7}, "INVALID_LINK"),
        ("POST /auth/refresh", "refresh", {"days": 14}, "TOKEN_EXPIRED"),
    ],
)
def test_a18_a_token_of_a_body_is_dead_on_the_second(
    world: World, route: str, kind: str, life: dict[str, Any], code: str
) -> None:
    before = dump(world.core)
    world.clock.move(**life)
    assert code_of(_post(world, route, _of_kind(world, kind))) == code
    assert dump(world.core) == before
    world.clock.move(seconds=-1)
    assert _post(world, route, _of_kind(world, kind)).status_code == 200
