"""The example of a relying service, run as its README says, beside a real usersvc."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.processes import Running, eventually, free_port
from tests.verify.serving import Served, served

ROOT = Path(__file__).parent.parent.parent
ORDERS = ROOT / "examples" / "orders"

pytestmark = [pytest.mark.process, pytest.mark.sqlite]


class Orders:
    def __init__(self, client: httpx2.Client) -> None:
        self._client = client

    def __call__(self, method: str, path: str, token: str | None, body: Any = None) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self._client.request(method, path, headers=headers, json=body)

    def is_up(self) -> bool:
        try:
            return self._client.get("/openapi.json").status_code == 200
        except httpx2.TransportError:
            return False


def test_the_example_checks_roles_and_permissions_and_asks_usersvc_once(tmp_path: Path) -> None:
    port = free_port()
    with (
        served(tmp_path) as found,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
        (tmp_path / "orders.log").open("wb") as log,
    ):
        orders = Orders(client)
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "orders:app", "--port", str(port)],
            cwd=ORDERS,
            env={**os.environ, "USERSVC_ISSUER": found.usersvc.url},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        running = Running(process, tmp_path / "orders.log")
        try:
            running.wait_until(orders.is_up, "the example is up")
            _ask(orders, found)
        finally:
            running.kill()
    assert "Traceback" not in running.output


def _ask(orders: Orders, found: Served) -> None:
    user, moderator = found.log_in("user"), found.log_in("moderator")
    for number in range(1, 21):
        made = orders("POST", "/orders", user, {"what": "tea"})
        assert (made.status_code, made.json()["number"]) == (201, number)
    assert len(orders("GET", "/orders/mine", user).json()) == 20
    assert orders("GET", "/orders/mine", moderator).json() == []
    for method, path in (("GET", "/orders"), ("DELETE", "/orders/1")):
        refused = orders(method, path, user)
        assert refused.status_code == 403
        assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]
    assert len(orders("GET", "/orders", moderator).json()) == 20
    assert orders("DELETE", "/orders/1", moderator).status_code == 204
    assert orders("DELETE", "/orders/1", moderator).status_code == 404
    ended = int(time.time()) - 31
    for token, told in (
        (None, "Bearer"),
        ("garbage", "This token is not valid here."),
        (found.resigned(user, aud="billing"), "This token is not valid here."),
        (found.resigned(user, exp=ended), "This token has expired."),
    ):
        for method, path in (("GET", "/orders"), ("GET", "/orders/mine"), ("DELETE", "/orders/2")):
            answer = orders(method, path, token)
            assert answer.status_code == 401
            assert told in answer.headers["www-authenticate"]
    eventually(lambda: found.times_asked("/.well-known/jwks.json"))
    assert found.times_asked("/.well-known/jwks.json") == 1
    # What docs/relying-services.md says of a session that has ended.
    headers = {"Authorization": f"Bearer {user}"}
    assert httpx2.post(f"{found.usersvc.api}/auth/logout-all", headers=headers).status_code == 200
    assert found.usersvc.me(user).status_code == 401
    assert orders("GET", "/orders/mine", user).status_code == 200
    # With usersvc away it goes on.
    assert found.process.stop() == 0
    assert orders("GET", "/orders", moderator).status_code == 200


def test_the_example_stays_short_and_its_readme_names_what_it_reads() -> None:
    program, readme = (ORDERS / "orders.py").read_text("utf-8"), (ORDERS / "README.md").read_text("utf-8")
    assert len(program.splitlines()) < 60
    for name in re.findall(r"USERSVC_[A-Z]+", program):
        assert name in readme
    for route in re.findall(r'@app\.([a-z]+)\("(/[a-z/]+)', program):
        assert f"{route[0].upper()} {route[1]}" in readme.replace("`", "")
