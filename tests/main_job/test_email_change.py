"""An account that is broken into and taken back by its old mailbox, with a real server."""

import email
import email.policy
import re

import httpx2
import pytest

from tests.factories import EMAIL, OTHER_PASSWORD, PASSWORD, text_of
from tests.processes import PATIENCE_SECONDS, Usersvc, eventually

pytestmark = pytest.mark.process

THIEF = "eve@example.net"


def link_to(usersvc: Usersvc, address: str, path: str) -> str:
    """Out of the one mail to this address that leads to this page."""

    def found() -> list[str]:
        read = [
            email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
            for file in usersvc.mails()
        ]
        texts = [text_of(mail) for mail in read if address in str(mail["To"])]
        return [link for text in texts for link in re.findall(rf"http://\S+{path}\?token=[\w-]{{43}}", text)]

    [link] = eventually(found)
    return str(link)


def press(link: str, **fields: str) -> httpx2.Response:
    """Open the page of a link as a browser does, and its button."""
    page = httpx2.get(link, timeout=PATIENCE_SECONDS)
    assert page.status_code == 200, page.text
    form = {"token": link.partition("token=")[2], **fields}
    return httpx2.post(link.partition("?")[0], data=form, timeout=PATIENCE_SECONDS)


def test_a33_a_thief_moves_the_account_and_its_owner_takes_it_back(usersvc: Usersvc) -> None:
    usersvc.run("create-admin", EMAIL, "--password-stdin", text=f"{PASSWORD}\n")
    credentials = {"email": EMAIL, "password": PASSWORD}
    with usersvc.serving() as server:
        assert usersvc.post("/auth/login", credentials).status_code == 200
        stolen = usersvc.post("/auth/login", credentials, headers={"User-Agent": "curl/8.5.0"}).json()["data"]
        thief = {"Authorization": f"Bearer {stolen['access_token']}"}
        not_me = link_to(usersvc, EMAIL, "/end-session")
        asked = usersvc.post("/users/me/change-email", {"email": THIEF, "password": PASSWORD}, headers=thief)
        assert asked.status_code == 202
        assert press(link_to(usersvc, THIEF, "/confirm-email")).status_code == 200
        assert usersvc.me(stolen["access_token"]).json()["data"]["email"] == THIEF

        back = link_to(usersvc, EMAIL, "/restore-email")
        assert press(back).status_code == 200
        assert usersvc.me(stolen["access_token"]).status_code == 401
        for address in (EMAIL, THIEF):
            refused = usersvc.post("/auth/login", {"email": address, "password": PASSWORD})
            assert refused.json()["error"]["code"] == "INVALID_CREDENTIALS"
        assert press(link_to(usersvc, EMAIL, "/reset-password"), password=OTHER_PASSWORD).status_code == 200
        assert usersvc.post("/auth/login", {"email": EMAIL, "password": OTHER_PASSWORD}).status_code == 200

        usersvc.run("set-password", EMAIL, "--password-stdin", text=f"{PASSWORD}\n")
        told = usersvc.post("/auth/login", credentials)
        assert (told.status_code, told.json()["error"]["code"]) == (403, "PASSWORD_CHANGE_REQUIRED")
        body = {"email": EMAIL, "current_password": PASSWORD, "new_password": "marble 92 otter fog"}
        assert usersvc.post("/auth/change-password", body).status_code == 200
        assert server.stop() == 0
        for secret in (back, not_me):
            assert secret.partition("token=")[2] not in server.output
        assert THIEF not in server.output
