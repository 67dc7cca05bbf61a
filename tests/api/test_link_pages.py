"""The pages that links about an address or a login open, and the routes beside them."""

import re
from dataclasses import replace

import pytest

from tests.api.conftest import Client, code_of
from tests.factories import (
    EMAIL,
    OPERATOR,
    OTHER_PASSWORD,
    PASSWORD,
    STRANGER,
    active,
    delivered,
    logged_in,
    text_of,
    token_in,
    user_row,
)
from usersvc.core import Core
from usersvc.services import email_change, login, password_change

# What a page shows is the same on every database.
pytestmark = pytest.mark.sqlite

NEW = "bob@example.net"


def link_of(core: Core, path: str) -> str:
    account = active(core)
    if path == "/confirm-email":
        email_change.ask_for(core, user_id=account.id, email=NEW, actor=OPERATOR)
    elif path == "/restore-email":
        email_change.set_for(core, user_id=account.id, email=NEW, actor=OPERATOR)
    else:
        logged_in(core)
        login.log_in(core, email=EMAIL, password=PASSWORD, actor=replace(STRANGER, user_agent="curl/8"))
    [message] = delivered(core)
    assert f"{core.settings.public_url}{path}?token=" in text_of(message)
    return token_in(message)


@pytest.mark.parametrize("path", ["/confirm-email", "/restore-email", "/end-session"])
def test_a24_opening_the_link_spends_nothing_pressing_the_button_does(
    client: Client, core: Core, path: str
) -> None:
    token = link_of(core, path)
    before = user_row(core, NEW if path == "/restore-email" else EMAIL)
    for _ in range(2):
        page = client.http.get(path, params={"token": token})
        assert page.status_code == 200
    assert user_row(core, before.email) == before
    policy = page.headers["content-security-policy"]
    for rule in ("default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert rule in policy
    assert (page.headers["referrer-policy"], page.headers["cache-control"]) == ("no-referrer", "no-store")
    assert "script" not in page.text
    hidden = re.search(r'name="token" value="([^"]+)"', page.text)
    assert hidden
    assert re.search(rf'<form method="post" action="{path}">', page.text)
    assert client.http.post(path, data={}).status_code == 422
    assert client.http.post(path, data={"token": hidden[1]}).status_code == 200
    assert user_row(core, NEW if path == "/confirm-email" else EMAIL) != before
    for again in (client.http.post(path, data={"token": token}), client.http.get(f"{path}?token={token}")):
        assert again.status_code == 422
        assert "<button" not in again.text


def test_a33_the_way_over_the_routes_and_there_and_back(client: Client, core: Core) -> None:
    active(core)
    token = client.post("/auth/login", json={"email": EMAIL, "password": PASSWORD}).json()["data"][
        "access_token"
    ]
    asking = {"email": NEW, "password": PASSWORD}
    assert code_of(client.post("/users/me/change-email", json=asking)) == "INVALID_TOKEN"
    wrong = client.post("/users/me/change-email", json={**asking, "password": OTHER_PASSWORD}, token=token)
    assert (wrong.status_code, code_of(wrong)) == (403, "WRONG_PASSWORD")
    assert code_of(client.post("/users/me/change-email", json={**asking, "email": EMAIL}, token=token)) == (
        "EMAIL_UNCHANGED"
    )
    asked = client.post("/users/me/change-email", json=asking, token=token)
    assert (asked.status_code, asked.json()["data"]) == (202, None)
    link = {"token": token_in(delivered(core)[-1])}
    confirmed = client.post("/auth/confirm-email", json=link)
    assert confirmed.json()["data"]["email"] == NEW
    assert client.get("/users/me", token=token).json()["data"]["email"] == NEW
    assert code_of(client.post("/auth/confirm-email", json=link)) == "INVALID_LINK"
    back = {"token": token_in(delivered(core)[-1])}
    assert client.post("/auth/restore-email", json=back).json()["data"] is None
    assert code_of(client.get("/users/me", token=token)) == "SESSION_ENDED"
    assert code_of(client.post("/auth/end-session", json=back)) == "INVALID_LINK"
    reset = {"reset_token": token_in(delivered(core)[-1]), "new_password": OTHER_PASSWORD}
    assert client.post("/auth/reset-password", json=reset).status_code == 200
    assert client.post("/auth/login", json={"email": EMAIL, "password": OTHER_PASSWORD}).status_code == 200


def test_a_password_that_has_to_be_replaced_says_so_and_is_replaced(client: Client, core: Core) -> None:
    account = active(core)
    password_change.set_for(core, user_id=account.id, password=OTHER_PASSWORD, actor=OPERATOR)
    credentials = {"email": EMAIL, "password": OTHER_PASSWORD}
    refused = client.post("/auth/login", json=credentials)
    assert (refused.status_code, code_of(refused)) == (403, "PASSWORD_CHANGE_REQUIRED")
    body = {"email": EMAIL, "current_password": OTHER_PASSWORD, "new_password": "marble 92 otter fog"}
    pair = client.post("/auth/change-password", json=body)
    assert pair.status_code == 200
    me = client.get("/users/me", token=pair.json()["data"]["access_token"])
    assert "must_change_password" not in me.json()["data"]
