"""Links in mails: where they lead whatever a request says of itself, and what ends them."""

import re

import pytest

from tests.api.conftest import Client, code_of
from tests.attacks.conftest import ADMIN, INVITED, PENDING, TARGET, USER, World
from tests.conftest import Make
from tests.factories import OTHER_PASSWORD, PASSWORD, delivered, text_of, token_in

PUBLIC = "https://users.example.org"
EVIL = "evil.example.net"
CHANGED = "Your password at 127.0.0.1:8000 was changed"
POISON = [
    {"Host": EVIL},
    {"Host": f"users.example.org:@{EVIL}"},
    {"Host": f"users.example.org.{EVIL}"},
    {"X-Forwarded-Host": EVIL, "X-Forwarded-Proto": "http", "X-Forwarded-Port": "8080"},
    {"X-Host": EVIL, "X-HTTP-Host-Override": EVIL, "X-Forwarded-Server": EVIL},
    {"Forwarded": f"for=192.0.2.1;host={EVIL};proto=http"},
    {"X-Original-URL": f"https://{EVIL}/", "X-Rewrite-URL": f"https://{EVIL}/"},
    {"X-Forwarded-Prefix": f"//{EVIL}", "X-Script-Name": f"//{EVIL}"},
    {"Origin": f"https://{EVIL}", "Referer": f"https://{EVIL}/"},
]


def test_a26_links_lead_to_the_public_address_alone(make_world_core: Make) -> None:
    """Though the caller is a trusted proxy: that is for the address of the client, and nothing else."""
    core = make_world_core(server__public_url=PUBLIC, server__trusted_proxies="192.0.2.7")
    client = Client(core)
    for headers in POISON:
        for path, email in (
            ("/auth/forgot-password", TARGET),
            ("/auth/forgot-password", INVITED),
            ("/auth/resend-activation", PENDING),
            ("/users", USER),
        ):
            body = {"email": email} | ({"password": PASSWORD} if path == "/users" else {})
            assert client.post(path, json=body, headers=headers).status_code == 202
        mails = delivered(core)
        assert len(mails) == 4, headers
        for mail in mails:
            assert EVIL not in mail.as_string(), headers
            links = re.findall(r"https?://\S+", text_of(mail))
            assert all(link.startswith(f"{PUBLIC}/") for link in links), headers
        assert sum("token=" in text_of(mail) for mail in mails) == 3


def test_a26_the_next_page_is_under_the_public_address(world: World) -> None:
    token = world.pairs[ADMIN].access_token
    for headers in POISON:
        query = "/admin/users?limit=1"
        response = world.client.get(query, template="/admin/users", token=token, headers=headers)
        assert response.headers["link"].startswith("<http://127.0.0.1:8000/api/v1/admin/users?"), headers
        assert EVIL not in response.headers["link"]


def _reset(world: World, purpose: str = "reset") -> str | None:
    body = {"reset_token": world.links[purpose], "new_password": OTHER_PASSWORD}
    response = world.client.post("/auth/reset-password", json=body)
    return None if response.status_code == 200 else code_of(response)


def _administers(world: World, path: str, email: str) -> None:
    template = f"/admin/users/{{user_id}}/{path}"
    filled = template.format(user_id=world.id_of(email))
    response = world.client.call("PATCH", filled, template=template, token=world.pairs[ADMIN].access_token)
    assert response.status_code == 200


def test_a20_a_changed_password_ends_the_link_that_would_reset_it(world: World) -> None:
    body = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    token = world.pairs[TARGET].access_token
    assert world.client.post("/users/me/change-password", json=body, token=token).status_code == 200
    assert _reset(world) == "INVALID_LINK"


@pytest.mark.parametrize(("purpose", "email"), [("reset", TARGET), ("invitation", INVITED)])
def test_a20_a_link_does_not_come_back_with_its_account(world: World, purpose: str, email: str) -> None:
    _administers(world, "deactivate", email)
    assert _reset(world, purpose) == "INVALID_LINK"
    _administers(world, "activate", email)
    assert _reset(world, purpose) == "INVALID_LINK"


def test_a20_an_activation_link_does_not_come_back_with_its_account(world: World) -> None:
    body = {"token": world.links["activation"], "password": OTHER_PASSWORD}
    for path in ("deactivate", "activate"):
        _administers(world, path, PENDING)
        assert code_of(world.client.post("/auth/activate", json=body)) == "INVALID_LINK"


def test_a24_no_look_at_a_link_spends_it(world: World) -> None:
    """As scanners of mail do, and browsers that fetch ahead."""
    for path, purpose in (("/activate", "activation"), ("/reset-password", "reset")):
        for method in ("GET", "HEAD", "OPTIONS", "PUT", "GET"):
            for headers in ({}, {"Purpose": "prefetch"}, {"User-Agent": "MailScanner/1"}):
                params = {"token": world.links[purpose]}
                response = world.client.http.request(method, path, params=params, headers=headers)
                assert response.status_code in (200, 405)
                assert response.headers["referrer-policy"] == "no-referrer"
                assert response.headers["cache-control"] == "no-store"
    assert world.client.post("/auth/activate", json={"token": world.links["activation"]}).status_code == 200
    assert _reset(world) is None


def test_a33_the_owner_is_told_when_his_password_is_replaced(world: World) -> None:
    """Whoever did it: each time one mail, to the address that is kept."""
    body = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    token = world.pairs[TARGET].access_token
    assert world.client.post("/users/me/change-password", json=body, token=token).status_code == 200
    assert [(mail["To"], mail["Subject"]) for mail in delivered(world.core)] == [(TARGET, CHANGED)]
    world.client.post("/auth/forgot-password", json={"email": TARGET})
    [message] = delivered(world.core)
    body = {"reset_token": token_in(message), "new_password": PASSWORD}
    assert world.client.post("/auth/reset-password", json=body).status_code == 200
    assert [(mail["To"], mail["Subject"]) for mail in delivered(world.core)] == [(TARGET, CHANGED)]
