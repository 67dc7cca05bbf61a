"""The whole main job once, from the first registration to the purge, through running processes.

An API process and a worker apart, a browser for the pages, the shell for the operator, HTTP for the rest.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.browser import DESKTOP, chromium, opened
from tests.factories import EMAIL, OTHER_PASSWORD, PASSWORD
from tests.processes import Usersvc, eventually

pytestmark = pytest.mark.process

ROOT = "root@example.org"
THIRD_PASSWORD = "copper meadow 19 kite"


class Person:
    """Somebody with a client program: the tokens of one session."""

    def __init__(self, usersvc: Usersvc, email: str, password: str) -> None:
        self._usersvc = usersvc
        answer = usersvc.post("/auth/login", {"email": email, "password": password})
        assert answer.status_code == 200, answer.text
        self.pair: dict[str, Any] = answer.json()["data"]

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx2.Response:
        address = path if path.startswith("http") else self._usersvc.api + path
        headers = {"Authorization": f"Bearer {self.pair['access_token']}"}
        return httpx2.request(method, address, json=body, headers=headers, timeout=30)


@pytest.fixture
def usersvc(tmp_path: Path) -> Iterator[Usersvc]:
    found = Usersvc(tmp_path)
    found.run("create-admin", ROOT, "--password-stdin", text=f"{PASSWORD}\n")
    with found.serving("--no-worker"), found.running("worker"):
        yield found


def _link(usersvc: Usersvc, kind: str) -> str:
    """Of the one mail of this kind."""
    [mail] = eventually(lambda: [path for path in usersvc.mails() if path.stem.endswith(f".{kind}")])
    found = re.search(r"http://\S+token=[\w-]{43}", mail.read_text(encoding="utf-8"))
    assert found
    return found[0]


def test_the_whole_main_job(usersvc: Usersvc) -> None:
    usersvc.post("/users", {"email": EMAIL, "password": PASSWORD, "username": "ada"})
    with chromium() as browser, opened(browser, usersvc.url, **DESKTOP) as page:
        page.goto(_link(usersvc, "activation"))
        page.get_by_role("button", name="Activate").click()
        page.get_by_role("heading", name="Your account is active").wait_for()

    ada = Person(usersvc, EMAIL, PASSWORD)
    assert ada.call("GET", "/users/me").json()["data"]["status"] == "active"
    change = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    assert ada.call("POST", "/users/me/change-password", change).status_code == 200
    assert ada.call("GET", "/users/me").status_code == 401, "every session ended"

    usersvc.post("/auth/forgot-password", {"email": EMAIL})
    token = _link(usersvc, "password_reset").partition("token=")[2]
    reset = {"reset_token": token, "new_password": THIRD_PASSWORD}
    assert usersvc.post("/auth/reset-password", reset).status_code == 200

    ada = Person(usersvc, EMAIL, THIRD_PASSWORD)
    assert ada.call("GET", "/admin/users").json()["error"]["code"] == "FORBIDDEN"
    usersvc.run("set-role", EMAIL, "admin")
    assert _listed_by_pages(usersvc, ada) == [EMAIL, ROOT]

    root = Person(usersvc, ROOT, PASSWORD)
    root_id = root.call("GET", "/users/me").json()["data"]["id"]
    assert ada.call("PATCH", f"/admin/users/{root_id}/deactivate").json()["data"]["status"] == "deactivated"
    assert root.call("GET", "/users/me").status_code == 401
    refresh = usersvc.post("/auth/refresh", {"refresh_token": root.pair["refresh_token"]})
    assert refresh.json()["error"]["code"] == "SESSION_ENDED"

    _invite(usersvc, ada, "grace@example.org")
    assert _listed_by_pages(usersvc, ada) == [EMAIL, "grace@example.org", ROOT]

    assert usersvc.post("/auth/logout", {"refresh_token": ada.pair["refresh_token"]}).status_code == 200
    assert ada.call("GET", "/users/me").status_code == 401
    expected = json.loads(usersvc.run("purge-tokens", "--dry-run", "--json").stdout)
    assert json.loads(usersvc.run("purge-tokens", "--json").stdout) == expected
    assert expected["links"] == 3, "of the activation, the reset and the invitation"


def _listed_by_pages(usersvc: Usersvc, admin: Person) -> list[str]:
    """Every address, in pages of one, as the `Link` headers lead on."""
    found, address = [], "/admin/users?limit=1&sort=email"
    while address:
        answer = admin.call("GET", address)
        found += [user["email"] for user in answer.json()["data"]]
        address = answer.links.get("next", {}).get("url", "")
        assert not address or address.startswith(f"{usersvc.api}/admin/users?")
    return found


def _invite(usersvc: Usersvc, admin: Person, email: str) -> None:
    answer = admin.call("POST", "/admin/users", {"email": email, "role": "moderator"})
    assert answer.json()["data"]["status"] == "invited"
    with chromium() as browser, opened(browser, usersvc.url, **DESKTOP) as page:
        page.goto(_link(usersvc, "invitation"))
        page.get_by_label("Password").fill(OTHER_PASSWORD)
        page.get_by_role("button", name="Set password").click()
        page.get_by_role("heading", name="Your account is active").wait_for()
    me = Person(usersvc, email, OTHER_PASSWORD).call("GET", "/users/me").json()["data"]
    assert (me["role"], me["status"], me["email_verified"]) == ("moderator", "active", True)
