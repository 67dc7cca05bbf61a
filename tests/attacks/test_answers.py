"""What answers show: of nobody more than his own, of no row what only the service needs."""

import base64
import re
from typing import Any

import pytest
from sqlalchemy import LargeBinary

from tests.attacks.conftest import ADMIN, BODIES, DEACTIVATED, INVITED, MODERATOR, PENDING, USER, World
from tests.database import rows
from tests.factories import OTHER_PASSWORD, PASSWORD
from tests.forgery import unb64
from usersvc.db.models import metadata

# Columns whose values nobody outside may see, besides everything that is kept as bytes.
HIDDEN = {("users", "password_hash"), ("link_tokens", "id"), ("outbox", "id"), ("outbox", "message_id")}
OTHERS = (MODERATOR, PENDING, INVITED, DEACTIVATED, ADMIN)
# What an answer that shows an account, a session or tokens may hold.
FIELDS = {
    "user": "id email email_verified username locale role is_admin is_active status "
    "created_at updated_at last_login_at",
    "whole user": "id email email_verified username locale role is_admin is_active status "
    "created_at updated_at last_login_at profile attributes",
    "user for administrators": "id email email_verified username locale role is_admin is_active status "
    "created_at updated_at last_login_at profile attributes must_change_password "
    "deletion_due_at",
    "session": "id device ip created_at last_used_at current",
    "tokens": "access_token refresh_token token_type expires_in refresh_expires_in",
    "token": "access_token audience token_type expires_in",
    "service": "id name description permissions audiences may_end_sessions is_active created_at updated_at "
    "last_used_at credentials",
    "new service": "service credential",
    "new secret": "id client_id client_secret expires_at",
    "own group": "id name description permissions manager",
    "group": "id name description permissions members created_at updated_at",
    "member": "user_id email username status manager added_at",
    "entry": "id at actor_kind actor_id actor_name action target_id ip outcome request_id detail",
    "sign-up": "email activation",
    "count": "sessions_ended",
    "deletion": "deletion_due_at",
    "export": "exported_at complete account profile attributes groups email_changes sessions known_devices "
    "known_networks mails audit",
}


def _forms(value: Any) -> set[str]:
    """As it could stand in an answer."""
    if isinstance(value, bytes):
        return {value.hex(), base64.b64encode(value).decode(), base64.urlsafe_b64encode(value).decode()}
    return {str(value), str(value).replace("-", "")}


def _hidden(world: World) -> set[str]:
    found: set[str] = set()
    with world.core.read() as tx:
        for table in metadata.tables.values():
            names = [
                column.name
                for column in table.columns
                if isinstance(column.type, LargeBinary) or (table.name, column.name) in HIDDEN
            ]
            for row in tx.connection.execute(table.select()).mappings():
                found |= {form for name in names if row[name] is not None for form in _forms(row[name])}
    return found


def _readable(text: str) -> str:
    """With what stands inside tokens, which anybody can read."""
    parts = re.findall(r"\bey[\w-]{18,}(?=\.)", text)
    return text + " ".join(unb64(part).decode("latin-1") for part in parts)


@pytest.mark.parametrize("caller", [USER, ADMIN])
def test_a54_no_answer_holds_what_only_the_service_needs(world: World, caller: str) -> None:
    headers = {"Authorization": f"Bearer {world.pairs[caller].access_token}"}
    last = (
        "DELETE /users/me",
        "POST /users/me/change-password",
        "DELETE /users/me/sessions/{session_id}",
        "POST /auth/logout-all",
    )
    routes = [route for route in world.documented() if route not in last]
    hidden = _hidden(world)
    answered = 0
    for n, route in enumerate([*routes, last[1]]):
        response = world.call(route, headers, n=n, email=caller)
        answered += response.status_code < 300
        text = _readable(response.text)
        hidden |= _hidden(world)
        assert not {form for form in hidden if form in text}, route
        assert PASSWORD not in text
        assert OTHER_PASSWORD not in text
        if caller == USER:
            assert not [address for address in OTHERS if address in text], route
    assert answered > len([route for route in BODIES if "/admin/" not in route])


def test_a54_answers_have_the_fields_that_are_documented_and_no_other(world: World) -> None:
    headers = {"Authorization": f"Bearer {world.pairs[ADMIN].access_token}"}
    known = {frozenset(names.split()): kind for kind, names in FIELDS.items()}
    seen = set()
    # What ends the caller's own session is left out; what replaces it comes last.
    last, ending = "POST /users/me/change-password", ("/auth/logout-all", "/users/me/sessions/{session_id}")
    routes = [route for route in world.documented() if route.split()[1] not in ending and route != last]
    routes.sort(key=lambda route: route == "DELETE /admin/services/{service_id}")  # Others ask about it.
    for n, route in enumerate([*routes, last]):
        if not route.split()[1].startswith(("/users", "/auth", "/admin")):
            continue
        response = world.call(route, headers, n=n, email=ADMIN)
        data = response.json()["data"]
        for item in data if isinstance(data, list) else [data]:
            if item is not None:
                assert frozenset(item) in known, f"{route}: {sorted(item)}"
                seen.add(known[frozenset(item)])
    assert seen == set(FIELDS)


def test_a81_what_is_wrong_with_the_database_is_not_told_to_strangers(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    path = str(world.core.database.path)
    with world.core.write() as tx:
        tx.connection.exec_driver_sql("ALTER TABLE users RENAME TO gone")
    for asked in ("/readyz", "/healthz", "/api/v1/users/me"):
        response = world.client.http.get(
            asked, headers={"Authorization": f"Bearer {world.pairs[USER].access_token}"}
        )
        for told in (path, "sqlite", "users", "SELECT", "0.", "Traceback"):
            assert told not in response.text, response.text
    assert rows(world.core, "SELECT count(*) FROM gone")
