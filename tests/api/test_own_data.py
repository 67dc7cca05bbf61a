"""One's own data over HTTP: exported, deleted with the password, and by an administrator."""

import pytest

from tests.api.conftest import Client, code_of
from tests.factories import (
    EMAIL,
    OPERATOR,
    OTHER_PASSWORD,
    PASSWORD,
    active,
    an_admin,
    logged_in,
    user_row,
)
from usersvc.clock import MovedClock, rfc_3339
from usersvc.core import Core
from usersvc.services import export

# The same on every database.
pytestmark = pytest.mark.sqlite


def test_the_export_is_what_the_service_gives_in_its_documented_shape(core: Core, client: Client) -> None:
    active(core)
    token = logged_in(core).access_token
    response = client.get("/users/me/export", token=token)
    data = response.json()["data"]
    assert response.status_code == 200
    assert data["account"]["email"] == EMAIL
    assert data["audit"][0]["action"] == "user.exported"
    again = export.export(core, user_id=user_row(core).id, actor=OPERATOR)
    assert set(data) == set(vars(again))
    assert set(data["account"]) == set(vars(again.account))
    for name in ("sessions", "mails", "audit"):
        assert set(data[name][0]) == set(vars(getattr(again, name)[0]))


def test_deleting_it_takes_the_password_and_ends_every_session(
    core: Core, client: Client, clock: MovedClock
) -> None:
    active(core)
    token = logged_in(core).access_token
    wrong = client.call("DELETE", "/users/me", token=token, json={"password": OTHER_PASSWORD})
    assert (wrong.status_code, code_of(wrong)) == (403, "WRONG_PASSWORD")
    assert client.call("DELETE", "/users/me", token=token).status_code == 422
    assert client.get("/users/me", token=token).status_code == 200
    response = client.call("DELETE", "/users/me", token=token, json={"password": PASSWORD})
    assert response.status_code == 202
    due_at = user_row(core).deletion_due_at
    assert due_at
    assert response.json()["data"] == {"deletion_due_at": rfc_3339(due_at)}
    assert code_of(client.get("/users/me", token=token)) == "SESSION_ENDED"
    entered = client.post("/auth/login", json={"email": EMAIL, "password": PASSWORD})
    assert entered.status_code == 200
    assert user_row(core).deletion_due_at is None


def test_the_last_administrator_is_refused_and_deletes_others(core: Core, client: Client) -> None:
    token = logged_in(core, an_admin(core).email).access_token
    refused = client.call("DELETE", "/users/me", token=token, json={"password": PASSWORD})
    assert (refused.status_code, code_of(refused)) == (409, "LAST_ADMIN")
    path, template = f"/admin/users/{active(core).id}", "/admin/users/{user_id}"
    first = client.call("DELETE", path, template=template, token=token)
    again = client.call("DELETE", path, template=template, token=token)
    assert (first.status_code, again.json()) == (202, first.json())
    own = client.call(
        "DELETE", f"/admin/users/{user_row(core, 'root@example.org').id}", template=template, token=token
    )
    assert code_of(own) == "OWN_ACCOUNT"
