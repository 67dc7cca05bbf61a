"""Registering and activating over HTTP; the rules themselves are tested in tests/services."""

from tests.api.conftest import Client, code_of
from tests.factories import EMAIL, OTHER_PASSWORD, PASSWORD, active, delivered, pending, token_in
from usersvc.core import Core


def test_registering_answers_202_and_mails_a_link(client: Client, core: Core) -> None:
    response = client.post("/users", json={"email": EMAIL, "password": PASSWORD, "username": "ada"})
    assert response.status_code == 202
    assert response.json()["data"] == {"email": EMAIL, "activation": "sent"}
    [mail] = delivered(core)
    activated = client.post("/auth/activate", json={"token": token_in(mail)})
    assert activated.status_code == 200
    user = activated.json()["data"]
    assert (user["email"], user["username"], user["status"]) == (EMAIL, "ada", "active")
    assert user["email_verified"] is True
    assert user["is_active"] is True
    assert user["is_admin"] is False
    assert user["created_at"].endswith("Z")
    assert set(user) == {
        *("id", "email", "email_verified", "username", "locale", "role", "is_admin", "is_active"),
        *("status", "created_at", "updated_at", "last_login_at"),
    }


def test_a03_a_known_address_gets_the_same_answer_as_an_unknown_one(client: Client, core: Core) -> None:
    active(core)
    known = client.post("/users", json={"email": EMAIL, "password": OTHER_PASSWORD})
    unknown = client.post("/users", json={"email": "bob@example.org", "password": OTHER_PASSWORD})
    assert known.status_code == unknown.status_code == 202
    assert known.text.replace(EMAIL, "X") == unknown.text.replace("bob@example.org", "X")
    assert _comparable(known.headers) == _comparable(unknown.headers)


def test_a12_asking_for_another_link_answers_the_same_for_everybody(client: Client, core: Core) -> None:
    active(core)
    pending(core, "bob@example.org")
    answers = [
        client.post("/auth/resend-activation", json={"email": email})
        for email in (EMAIL, "bob@example.org", "nobody@example.org")
    ]
    assert {response.status_code for response in answers} == {202}
    assert len({response.text for response in answers}) == 1
    assert len({str(_comparable(response.headers)) for response in answers}) == 1


def test_what_is_wrong_with_a_registration_is_told(client: Client) -> None:
    for email, password, username, status, code in [
        ("ada", PASSWORD, None, 422, "INVALID_EMAIL"),
        (EMAIL, "short", None, 422, "WEAK_PASSWORD"),
        (EMAIL, PASSWORD, "!", 422, "INVALID_USERNAME"),
    ]:
        response = client.post("/users", json={"email": email, "password": password, "username": username})
        assert (response.status_code, code_of(response)) == (status, code)


def test_a_taken_username_is_told(client: Client, core: Core) -> None:
    active(core, username="ada")
    response = client.post(
        "/users", json={"email": "bob@example.org", "password": PASSWORD, "username": "Ada"}
    )
    assert (response.status_code, code_of(response)) == (409, "USERNAME_TAKEN")


def test_registration_can_be_closed(make_client) -> None:
    response = make_client(registration__enabled=False).post(
        "/users", json={"email": EMAIL, "password": PASSWORD}
    )
    assert (response.status_code, code_of(response)) == (403, "REGISTRATION_CLOSED")


def test_without_activation_the_account_is_active_at_once(make_client) -> None:
    client = make_client(registration__activation=False)
    made = client.post("/users", json={"email": EMAIL, "password": PASSWORD})
    assert made.status_code == 201
    assert (made.json()["data"]["status"], made.json()["data"]["email_verified"]) == ("active", False)
    again = client.post("/users", json={"email": EMAIL, "password": PASSWORD})
    assert (again.status_code, code_of(again)) == (409, "EMAIL_TAKEN")


def test_a_link_that_is_no_link_is_refused(client: Client) -> None:
    response = client.post("/auth/activate", json={"token": "A" * 43})
    assert (response.status_code, code_of(response)) == (422, "INVALID_LINK")


def test_an_account_without_a_password_asks_for_one_and_keeps_the_link(client: Client, core: Core) -> None:
    token = pending(core)
    client.post("/users", json={"email": EMAIL, "password": OTHER_PASSWORD})
    asked = client.post("/auth/activate", json={"token": token})
    assert (asked.status_code, code_of(asked)) == (422, "PASSWORD_REQUIRED")
    weak = client.post("/auth/activate", json={"token": token, "password": "short"})
    assert (weak.status_code, code_of(weak)) == (422, "WEAK_PASSWORD")
    chosen = client.post("/auth/activate", json={"token": token, "password": "marble 92 otter fog"})
    assert chosen.status_code == 200
    login = client.post("/auth/login", json={"email": EMAIL, "password": "marble 92 otter fog"})
    assert login.status_code == 200


def _comparable(headers) -> dict[str, str]:
    return {
        name: value
        for name, value in headers.items()
        if name not in ("x-request-id", "content-length", "date")
    }
