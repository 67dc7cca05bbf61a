"""The page that a mailed activation link opens."""

import re

import pytest
from httpx2 import Response

from tests.api.conftest import Client
from tests.factories import EMAIL, OTHER_PASSWORD, PASSWORD, delivered, logged_in, pending
from usersvc.core import Core
from usersvc.security.hashing_pool import HashingPool
from usersvc.security.passwords import PasswordHasher
from usersvc.services import registration
from usersvc.services.actor import Actor


def _submit(client: Client, **fields: str) -> Response:
    return client.http.post("/activate", data=fields)


def test_a24_opening_the_link_spends_nothing_pressing_the_button_activates(
    client: Client, core: Core
) -> None:
    token = pending(core)
    for method in ("GET", "HEAD", "GET"):
        response = client.http.request(method, f"/activate?token={token}")
        assert response.status_code in (200, 405)
    page = client.http.get(f"/activate?token={token}")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    hidden = re.search(r'name="token" value="([^"]+)"', page.text)
    assert hidden
    assert 'type="password"' not in page.text
    done = _submit(client, token=hidden[1])
    assert done.status_code == 200
    assert EMAIL in done.text
    assert logged_in(core)
    assert _submit(client, token=hidden[1]).status_code == 422


def test_a_dead_link_is_told_and_offers_no_button(client: Client) -> None:
    for page in (client.http.get("/activate?token=nothing"), client.http.get("/activate"), _submit(client)):
        assert page.status_code == 422
        assert "not valid" in page.text
        assert "<button" not in page.text


def test_a02b_an_account_without_a_password_asks_for_one(client: Client, core: Core, stranger: Actor) -> None:
    token = pending(core)
    registration.register(core, email=EMAIL, password=OTHER_PASSWORD, actor=stranger)
    assert delivered(core) == []
    page = client.http.get(f"/activate?token={token}")
    assert 'type="password"' in page.text
    weak = _submit(client, token=token, password="password1234")
    assert weak.status_code == 422
    assert 'role="alert"' in weak.text
    assert "password1234" not in weak.text
    done = _submit(client, token=token, password="marble 92 otter fog")
    assert done.status_code == 200
    assert logged_in(core, password="marble 92 otter fog")


def test_the_page_lets_nothing_in_from_elsewhere(client: Client, core: Core) -> None:
    page = client.http.get(f"/activate?token={pending(core)}")
    policy = page.headers["content-security-policy"]
    for rule in ("default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert rule in policy
    assert "script" not in page.text
    assert "script-src" not in policy
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"


def test_what_comes_in_the_link_is_shown_as_text(client: Client, core: Core) -> None:
    page = client.http.get("/activate", params={"token": '"><script>alert(1)</script>'})
    assert "<script" not in page.text


def test_a_form_of_another_kind_is_an_empty_one(client: Client, core: Core) -> None:
    token = pending(core)
    page = client.http.post("/activate", files={"token": (None, token)})
    assert page.status_code == 422
    page = client.http.post(
        "/activate", content=f'{{"token": "{token}"}}', headers={"Content-Type": "application/json"}
    )
    assert page.status_code == 422
    assert _submit(client, token=token, password=PASSWORD).status_code == 200


def test_a_form_that_is_too_large_is_refused(client: Client) -> None:
    assert _submit(client, token="x" * 70_000).status_code == 413


@pytest.mark.parametrize(
    "password", ["%00", "victims+purple+55+hats%00x", "victims+purple+55+hats%ff", "%ed%a0%80" * 5]
)
def test_a_password_that_could_not_be_typed_again_is_refused(
    client: Client, core: Core, stranger: Actor, password: str
) -> None:
    token = pending(core)
    registration.register(core, email=EMAIL, password=OTHER_PASSWORD, actor=stranger)
    body = f"token={token}&password={password}"
    headers = {"Content-Type": "Application/X-WWW-Form-Urlencoded"}
    page = client.http.post("/activate", content=body, headers=headers)
    assert page.status_code == 422
    assert _submit(client, token=token, password="marble 92 otter fog").status_code == 200


def test_a_form_with_too_many_fields_is_no_form(client: Client) -> None:
    assert _submit(client, **{f"a{number}": "1" for number in range(11)}).status_code == 422


def test_the_page_says_when_to_come_back(client: Client, core: Core) -> None:
    token = pending(core)
    full = HashingPool(threads=1, queue=0, per_client=0)
    core.hasher = PasswordHasher(full, cost=10)
    with core.write() as tx:
        tx.connection.exec_driver_sql("UPDATE users SET password_hash = NULL")
    page = _submit(client, token=token, password="marble 92 otter fog")
    assert page.status_code == 503
    assert int(page.headers["retry-after"]) >= 1
    full.close()
