"""The whole main job once, from the first registration to the purge, through running processes.

Two servers of two processes each and workers, a browser for the pages, the shell for the operator, HTTP for
the rest; on each database, and with each queue.
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
from tests.main_job.machines import KINDS, Machines, machines
from tests.processes import eventually

pytestmark = pytest.mark.process

ROOT = "root@example.org"
THIRD_PASSWORD = "copper meadow 19 kite"


class Person:
    """Somebody with a client program: the tokens of one session."""

    def __init__(self, several: Machines, email: str, password: str) -> None:
        self._several = several
        answer = several.call("POST", "/auth/login", {"email": email, "password": password})
        assert answer.status_code == 200, answer.text
        self.pair: dict[str, Any] = answer.json()["data"]

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx2.Response:
        return self._several.call(method, path, body, token=self.pair["access_token"])


@pytest.fixture(params=KINDS)
def several(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machines]:
    with machines(request.param, tmp_path) as found:
        found.usersvc.run("create-admin", ROOT, "--password-stdin", text=f"{PASSWORD}\n")
        yield found


def _link(several: Machines, kind: str) -> str:
    """Of the one mail of this kind."""
    [mail] = eventually(lambda: several.mails(kind))
    found = re.search(r"http://\S+token=[\w-]{43}", mail.read_text(encoding="utf-8"))
    assert found
    return found[0]


def test_the_whole_main_job(several: Machines) -> None:
    several.call("POST", "/users", {"email": EMAIL, "password": PASSWORD, "username": "ada"})
    with chromium() as browser, opened(browser, several.usersvc.url, **DESKTOP) as page:
        page.goto(_link(several, "activation"))
        page.get_by_role("button", name="Activate").click()
        page.get_by_role("heading", name="Your account is active").wait_for()

    ada = Person(several, EMAIL, PASSWORD)
    assert ada.call("GET", "/users/me").json()["data"]["status"] == "active"
    change = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    assert ada.call("POST", "/users/me/change-password", change).status_code == 200
    assert ada.call("GET", "/users/me").status_code == 401, "every session ended"

    several.call("POST", "/auth/forgot-password", {"email": EMAIL})
    token = _link(several, "password_reset").partition("token=")[2]
    reset = {"reset_token": token, "new_password": THIRD_PASSWORD}
    assert several.call("POST", "/auth/reset-password", reset).status_code == 200

    ada = Person(several, EMAIL, THIRD_PASSWORD)
    assert ada.call("GET", "/admin/users").json()["error"]["code"] == "FORBIDDEN"
    several.usersvc.run("set-role", EMAIL, "admin")
    assert _listed_by_pages(several, ada) == [EMAIL, ROOT]

    root = Person(several, ROOT, PASSWORD)
    root_id = root.call("GET", "/users/me").json()["data"]["id"]
    assert ada.call("PATCH", f"/admin/users/{root_id}/deactivate").json()["data"]["status"] == "deactivated"
    assert root.call("GET", "/users/me").status_code == 401
    refresh = several.call("POST", "/auth/refresh", {"refresh_token": root.pair["refresh_token"]})
    assert refresh.json()["error"]["code"] == "SESSION_ENDED"

    _invite(several, ada, "grace@example.org")
    assert _listed_by_pages(several, ada) == [EMAIL, "grace@example.org", ROOT]

    logout = several.call("POST", "/auth/logout", {"refresh_token": ada.pair["refresh_token"]})
    assert logout.status_code == 200
    assert ada.call("GET", "/users/me").status_code == 401
    expected = json.loads(several.usersvc.run("purge-tokens", "--dry-run", "--json").stdout)
    assert json.loads(several.usersvc.run("purge-tokens", "--json").stdout) == expected
    assert expected["links"] == 3, "of the activation, the reset and the invitation"


def _listed_by_pages(several: Machines, admin: Person) -> list[str]:
    """Every address, in pages of one, as the `Link` headers lead on."""
    found, address = [], "/admin/users?limit=1&sort=email"
    while address:
        answer = admin.call("GET", address)
        found += [user["email"] for user in answer.json()["data"]]
        following = answer.links.get("next", {}).get("url", "")
        assert not following or following.startswith(f"{several.usersvc.api}/admin/users?")
        address = following.removeprefix(several.usersvc.api)
    return found


def _invite(several: Machines, admin: Person, email: str) -> None:
    answer = admin.call("POST", "/admin/users", {"email": email, "role": "moderator"})
    assert answer.json()["data"]["status"] == "invited"
    with chromium() as browser, opened(browser, several.usersvc.url, **DESKTOP) as page:
        page.goto(_link(several, "invitation"))
        page.get_by_label("Password").fill(OTHER_PASSWORD)
        page.get_by_role("button", name="Set password").click()
        page.get_by_role("heading", name="Your account is active").wait_for()
    me = Person(several, email, OTHER_PASSWORD).call("GET", "/users/me").json()["data"]
    assert (me["role"], me["status"], me["email_verified"]) == ("moderator", "active", True)
