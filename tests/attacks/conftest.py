"""A small world that is made once and copied for each test: accounts, sessions and links of every kind."""

import shutil
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Response

from tests.api.conftest import Client
from tests.conftest import Make, cores
from tests.factories import (
    OPERATOR,
    OTHER_PASSWORD,
    PASSWORD,
    active,
    an_admin,
    delivered,
    invited,
    logged_in,
    pending,
    rewrite_user,
    token_in,
    user_row,
)
from tests.forgery import parts_of
from tests.profiles import schemas_in
from usersvc.api.deps import PREFIX
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.mail.transports import MemoryTransport
from usersvc.services import admin, groups, memberships, passwords, service_accounts, sessions
from usersvc.services.service_accounts import NewService
from usersvc.services.sessions import TokenPair

USER, MODERATOR, ADMIN = "ada@example.org", "mod@example.org", "root@example.org"
# Somebody else, to whom things are done; his link resets his password.
TARGET = "bob@example.org"
PENDING, INVITED = "pia@example.org", "ina@example.org"
DEACTIVATED, DEMOTED = "gone@example.org", "demoted@example.org"
# Deactivated too, but his session was left as it was.
IN_LIMBO = "limbo@example.org"
ENDED = "root@example.org, logged out"
GROUP = "a-desk"


# Of each route that takes one, a body that it would do something with for whoever may.
BODIES: dict[str, dict[str, Any]] = {
    "POST /users": {"email": "new{n}@example.org", "password": PASSWORD},
    "POST /auth/activate": {"token": "x"},
    "POST /auth/resend-activation": {"email": USER},
    "POST /auth/login": {"email": USER, "password": PASSWORD},
    "POST /auth/refresh": {"refresh_token": "{refresh_token}"},
    "POST /auth/logout": {"refresh_token": "x"},
    "POST /auth/tokens": {"audience": "billing"},
    "POST /auth/forgot-password": {"email": USER},
    "POST /auth/reset-password": {"reset_token": "x", "new_password": OTHER_PASSWORD},
    "PATCH /users/me": {"username": "new{n}", "profile": {"points": 1}},
    "POST /users/me/change-password": {"current_password": PASSWORD, "new_password": OTHER_PASSWORD},
    "DELETE /users/me": {"password": PASSWORD},
    "POST /admin/users": {"email": "new{n}@example.org"},
    "PATCH /admin/users/{user_id}/role": {"role": "moderator"},
    "POST /admin/services": {"name": "new{n}", "permissions": ["orders:read"]},
    "PATCH /admin/services/{service_id}": {"description": "Reads {n} orders."},
    "POST /admin/services/{service_id}/credentials": {"overlap_hours": 0},
    "PATCH /admin/users/{user_id}/attributes": {"attributes": {"plan": "paid"}},
    "POST /admin/groups": {"name": "new{n}", "description": "", "permissions": ["orders:write"]},
    "PATCH /admin/groups/{group_id}": {"name": "new{n}", "permissions": ["orders:write"]},
    "PUT /admin/groups/{group_id}/members/{user_id}": {"manager": True},
}


SETTINGS: dict[str, object] = {"throttle__enabled": False, "tokens__audiences": "billing, files"}


@dataclass(frozen=True)
class Made:
    """What is left of the making: a data directory, and what only the owners hold."""

    folder: Path
    clock: MovedClock
    pairs: dict[str, TokenPair]
    links: dict[str, str]
    """Of each purpose one that lives."""
    service: NewService


@dataclass(frozen=True)
class World:
    core: Core
    client: Client
    clock: MovedClock
    pairs: dict[str, TokenPair]
    links: dict[str, str]
    service: NewService

    def id_of(self, email: str) -> str:
        return str(user_row(self.core, email).id)

    def session_of(self, email: str) -> str:
        return str(parts_of(self.pairs[email].access_token)[1]["sid"])

    def call(self, route: str, headers: dict[str, str], *, n: int = 0, email: str = TARGET) -> Response:
        """`n` tells calls of one test apart; `email` is who calls, where a path names an own session."""
        method, path = route.split()
        body = {name: self._filled(value, n) for name, value in BODIES.get(route, {}).items()}
        more: dict[str, Any] = {"headers": headers} | ({"json": body} if body else {})
        if not path.startswith(("/users", "/auth", "/admin")):
            return self.client.http.request(method, path, **more)
        filled = self.filled(path, session_id=self.session_of(email))
        return self.client.call(method, filled, template=path, **more)

    def _filled(self, value: Any, n: int) -> Any:
        if not isinstance(value, str):
            return value
        return value.replace("{n}", str(n)).replace("{refresh_token}", self.pairs[TARGET].refresh_token)

    def filled(self, path: str, **more: str) -> str:
        """A path with the ids of those whom things are done to."""
        made = self.service
        ids = {"service_id": made.service.id, "credential_id": made.credential.id, "group_id": self.group_id}
        return path.format(**{"user_id": self.id_of(TARGET), **ids, **more})

    @property
    def group_id(self) -> str:
        """Of the one that is there, with one member; it has had other names since."""
        with self.core.read() as tx:
            return str(tx.groups.page(after=None, limit=1)[0].id)

    def documented(self) -> dict[str, dict[str, Any]]:
        """Every route of the OpenAPI document, as `POST /auth/login`, with what is said of it."""
        document = self.client.document
        assert document is not None
        return {
            f"{method.upper()} {path.removeprefix(PREFIX)}": operation
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        }

    def with_json(self) -> dict[str, dict[str, Any]]:
        """Of these the routes that take JSON; services send forms."""
        return {
            route: said
            for route, said in self.documented().items()
            if "application/json" in said.get("requestBody", {}).get("content", {})
        }


@pytest.fixture(scope="session")
def made(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("world") / "data"))
    clock, transport = MovedClock(), MemoryTransport()
    with cores(folder, SETTINGS, clock, transport) as make:
        core = make()
        pairs, links = _populate(core)
        service = service_accounts.create(
            core, name="billing", permissions=["orders:read"], audiences=["billing"], actor=OPERATOR
        )
    return Made(folder, clock, pairs, links, service)


def _populate(core: Core) -> tuple[dict[str, TokenPair], dict[str, str]]:
    an_admin(core, ADMIN)
    administrators = (DEACTIVATED, DEMOTED, IN_LIMBO)
    roles = {USER: "user", TARGET: "user", MODERATOR: "moderator"} | dict.fromkeys(administrators, "admin")
    for email, role in roles.items():
        account = active(core, email, username=email.partition("@")[0])
        admin.set_role(core, user_id=account.id, role=role, actor=OPERATOR)
    pairs = {email: logged_in(core, email) for email in (ADMIN, *roles)}
    pairs[ENDED] = logged_in(core, ADMIN)
    sessions.log_out(core, refresh_token=pairs[ENDED].refresh_token, actor=OPERATOR)
    rewrite_user(core, IN_LIMBO, status="deactivated")
    admin.deactivate(core, user_id=user_row(core, DEACTIVATED).id, actor=OPERATOR)
    admin.set_role(core, user_id=user_row(core, DEMOTED).id, role="user", actor=OPERATOR)
    desk = groups.create(core, name=GROUP, permissions=["orders:read"], actor=OPERATOR)
    memberships.add(core, group_id=desk.id, user_id=user_row(core, TARGET).id, actor=OPERATOR)
    delivered(core)
    links = {"activation": pending(core, PENDING, OTHER_PASSWORD), "invitation": invited(core, INVITED)}
    passwords.forgot(core, email=TARGET, actor=OPERATOR)
    [message] = delivered(core)
    return pairs, {**links, "reset": token_in(message)}


@pytest.fixture
def make_world_core(made: Made, tmp_path: Path) -> Iterator[Make]:
    folder = Path(shutil.copytree(made.folder, tmp_path / "data"))
    with cores(folder, {**SETTINGS, **schemas_in(tmp_path)}, copy(made.clock), MemoryTransport()) as make:
        yield make


@pytest.fixture
def world(made: Made, make_world_core: Make) -> World:
    core = make_world_core()
    assert isinstance(core.clock, MovedClock)
    return World(core, Client(core), core.clock, dict(made.pairs), dict(made.links), made.service)
