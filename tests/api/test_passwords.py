"""Passwords over HTTP and on their page; the rules are tested in tests/services."""

import re

from tests.api.conftest import Client, code_of
from tests.factories import EMAIL, OTHER_PASSWORD, PASSWORD, active, delivered, logged_in, token_in
from usersvc.core import Core


def _forgotten(client: Client, core: Core) -> str:
    active(core)
    assert client.post("/auth/forgot-password", json={"email": EMAIL}).status_code == 202
    [mail] = delivered(core)
    return token_in(mail)


def test_a11_forgetting_answers_the_same_for_everybody(client: Client, core: Core) -> None:
    active(core)
    answers = [
        client.post("/auth/forgot-password", json={"email": email})
        for email in (EMAIL, "nobody@example.org", EMAIL)
    ]
    assert {response.status_code for response in answers} == {202}
    assert len({response.text for response in answers}) == 1


def test_a_mailed_token_sets_a_new_password_once(client: Client, core: Core) -> None:
    body = {"reset_token": _forgotten(client, core), "new_password": OTHER_PASSWORD}
    weak = client.post("/auth/reset-password", json={**body, "new_password": "short"})
    assert (weak.status_code, code_of(weak)) == (422, "WEAK_PASSWORD")
    done = client.post("/auth/reset-password", json=body)
    assert (done.status_code, done.json()["data"]) == (200, None)
    again = client.post("/auth/reset-password", json=body)
    assert (again.status_code, code_of(again)) == (422, "INVALID_LINK")
    assert logged_in(core, password=OTHER_PASSWORD)


def test_changing_a_password_answers_with_a_new_pair(client: Client, core: Core) -> None:
    active(core)
    old = logged_in(core)
    body = {"current_password": OTHER_PASSWORD, "new_password": OTHER_PASSWORD}
    wrong = client.post("/users/me/change-password", json=body, token=old.access_token)
    assert (wrong.status_code, code_of(wrong)) == (403, "WRONG_PASSWORD")
    weak = {"current_password": PASSWORD, "new_password": "short"}
    assert (
        code_of(client.post("/users/me/change-password", json=weak, token=old.access_token))
        == "WEAK_PASSWORD"
    )
    body["current_password"] = PASSWORD
    pair = client.post("/users/me/change-password", json=body, token=old.access_token).json()["data"]
    assert client.get("/users/me", token=pair["access_token"]).status_code == 200
    assert code_of(client.get("/users/me", token=old.access_token)) == "SESSION_ENDED"
    assert code_of(client.post("/users/me/change-password", json=body)) == "INVALID_TOKEN"


def test_a24_the_page_of_a_reset_link_spends_nothing_until_the_button(client: Client, core: Core) -> None:
    token = _forgotten(client, core)
    for _ in range(2):
        page = client.http.get(f"/reset-password?token={token}")
        assert page.status_code == 200
    hidden = re.search(r'name="token" value="([^"]+)"', page.text)
    assert hidden
    assert "script" not in page.text
    assert "form-action 'self'" in page.headers["content-security-policy"]
    weak = client.http.post("/reset-password", data={"token": hidden[1], "password": "password1234"})
    assert weak.status_code == 422
    assert 'role="alert"' in weak.text
    assert "password1234" not in weak.text
    done = client.http.post("/reset-password", data={"token": hidden[1], "password": OTHER_PASSWORD})
    assert done.status_code == 200
    assert logged_in(core, password=OTHER_PASSWORD)
    for page in (
        client.http.get(f"/reset-password?token={token}"),
        client.http.post("/reset-password", data={"token": token, "password": PASSWORD}),
        client.http.post("/reset-password"),
        client.http.get("/reset-password"),
    ):
        assert page.status_code == 422
        assert "not valid" in page.text
