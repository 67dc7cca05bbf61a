"""`locale` over HTTP: out of Accept-Language, in the user, and changed by its owner."""

from tests.api.conftest import Client
from tests.factories import EMAIL, OTHER_PASSWORD, PASSWORD, active, an_admin, delivered, logged_in, user_row
from usersvc.core import Core
from usersvc.locales import LOCALES

BOB = "bob@example.org"


def _register(client: Client, email: str, language: str) -> tuple[int, str]:
    answer = client.post(
        "/users", json={"email": email, "password": PASSWORD}, headers={"Accept-Language": language}
    )
    return answer.status_code, answer.text.replace(email, "X")


def test_registering_takes_the_language_and_says_nothing_of_it(client: Client, core: Core) -> None:
    first = _register(client, EMAIL, "it, zh-CN;q=0.9, en;q=0.1")
    assert user_row(core).locale == "zh-Hans"
    second = _register(client, BOB, "\x00;;q=9," + "x" * 5000)
    assert user_row(core, BOB).locale is None
    assert first == second == _register(client, "eve@example.org", "de")
    assert [mail["Content-Language"] for mail in delivered(core)] == ["zh-Hans", "en", "de"]
    assert first == _register(client, EMAIL, "de")


def test_users_see_and_change_their_language(client: Client, core: Core) -> None:
    active(core, locale="fr")
    token = logged_in(core).access_token
    assert client.get("/users/me", token=token).json()["data"]["locale"] == "fr"
    for locale in LOCALES:
        changed = client.call("PATCH", "/users/me", token=token, json={"locale": locale, "username": "ada"})
        assert changed.json()["data"]["locale"] == locale
    assert client.get("/users/me", token=token).json()["data"]["locale"] == LOCALES[-1]


def test_another_language_is_refused_and_nothing_changed(client: Client, core: Core) -> None:
    active(core, locale="fr")
    token = logged_in(core).access_token
    for locale in ("it", "DE", "de-DE", "zh", "", None, 7, ["de"], "de\x00"):
        refused = client.call("PATCH", "/users/me", token=token, json={"locale": locale, "username": "ada"})
        assert (refused.status_code, refused.json()["error"]["fields"][0]["field"]) == (422, "locale")
    assert (user_row(core).locale, user_row(core).username) == ("fr", None)


def test_an_administrator_invites_in_a_language(client: Client, core: Core) -> None:
    an_admin(core)
    token = logged_in(core, "root@example.org").access_token
    made = client.post("/admin/users", token=token, json={"email": BOB, "locale": "hi"})
    assert made.json()["data"]["locale"] == "hi"
    assert [mail["Content-Language"] for mail in delivered(core)] == ["hi"]
    unknown = client.post("/admin/users", token=token, json={"email": EMAIL, "locale": "it"})
    assert unknown.status_code == 422
    registered = client.post("/users", json={"email": EMAIL, "password": OTHER_PASSWORD, "locale": "de"})
    assert registered.status_code == 422
