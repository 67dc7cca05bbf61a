"""An account through running processes: exported, deleted by its owner, kept by a login, and erased."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.factories import EMAIL, PASSWORD
from tests.processes import PATIENCE_SECONDS, Usersvc, eventually

pytestmark = pytest.mark.process


def _pair(usersvc: Usersvc) -> dict[str, str]:
    """The header of who has logged in."""
    found = usersvc.post("/auth/login", {"email": EMAIL, "password": PASSWORD}).json()["data"]
    return {"Authorization": f"Bearer {found['access_token']}"}


def _call(usersvc: Usersvc, method: str, path: str, **more: Any) -> httpx2.Response:
    return httpx2.request(method, usersvc.api + path, timeout=PATIENCE_SECONDS, **more)


def _mail(usersvc: Usersvc, kind: str) -> list[Path]:
    return [path for path in usersvc.mails() if path.stem.endswith(f".{kind}")]


def test_an_owner_has_his_account_deleted_and_nothing_tells_of_him(
    usersvc: Usersvc, rows: Callable[..., list[tuple]]
) -> None:
    usersvc.environ |= {
        "USERSVC_REGISTRATION__ACTIVATION": "false",
        "USERSVC_RETENTION__DELETION_GRACE_DAYS": "0",
    }
    with usersvc.serving():
        usersvc.post("/users", {"email": EMAIL, "password": PASSWORD, "username": "ada"})
        bearer = _pair(usersvc)
        exported = _call(usersvc, "GET", "/users/me/export", headers=bearer).json()["data"]
        assert exported["account"]["username"] == "ada"
        body = {"password": PASSWORD}
        assert _call(usersvc, "DELETE", "/users/me", headers=bearer, json=body).status_code == 202
        assert _call(usersvc, "GET", "/users/me", headers=bearer).status_code == 401
        eventually(lambda: _mail(usersvc, "deletion_scheduled"))
        bearer = _pair(usersvc)
        eventually(lambda: _mail(usersvc, "deletion_cancelled"))
        usersvc.run("purge-tokens")
        assert _call(usersvc, "DELETE", "/users/me", headers=bearer, json=body).status_code == 202
        eventually(lambda: len(_mail(usersvc, "deletion_scheduled")) == 2)
        usersvc.run("purge-tokens")
        assert usersvc.post("/auth/login", {"email": EMAIL, **body}).status_code == 401
        eventually(lambda: [path.stem.rpartition(".")[2] for path in usersvc.mails()] == ["account_erased"])
        eventually(lambda: rows("SELECT count(*) FROM outbox") == [(0,)])
        assert exported["account"]["id"] in usersvc.run("erasures").stdout
    assert rows("SELECT count(*) FROM users") == [(0,)]
    # What was deleted is overwritten.
    assert EMAIL.encode() not in usersvc.database.read_bytes()
