"""Whether the process lives, whether it can serve, on how many threads, and the keys for relying services."""

import time

import jwt
import pytest
from starlette.testclient import TestClient

from tests.api.conftest import Client
from tests.database import locked, run
from tests.factories import active, logged_in
from usersvc.api.app import create_app
from usersvc.api.deps import Readiness
from usersvc.core import Core


@pytest.mark.sqlite
def test_r29_the_process_lives_without_a_database(client: Client, core: Core) -> None:
    core.close()
    core.database.path.unlink()
    assert client.http.get("/healthz").json() == {"status": "ok"}
    ready = client.http.get("/readyz")
    assert (ready.status_code, ready.json()["reason"]) == (503, "NO_DATABASE")


def test_ready_means_the_database_takes_writes(client: Client, core: Core) -> None:
    with locked(core):
        ready = client.http.get("/readyz")
        assert (ready.status_code, ready.json()) == (
            503,
            {"status": "unavailable", "reason": "DATABASE_BUSY"},
        )
        assert int(ready.headers["retry-after"]) >= 1
        assert client.http.get("/healthz").status_code == 200
    time.sleep(Readiness.SECONDS)
    assert client.http.get("/readyz").json() == {"status": "ok"}


def test_who_asks_often_causes_no_more_writes(
    client: Client, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    def probed_at() -> object:
        with core.read() as tx:
            job = tx.jobs.by_name("readiness probe")
        return job and job.finished_at

    assert client.http.get("/readyz").status_code == 200
    first = probed_at()
    core.clock.move(seconds=1)
    with monkeypatch.context() as patch:
        patch.setattr(Readiness, "SECONDS", 60)
        assert {client.http.get("/readyz").status_code for _ in range(20)} == {200}
    assert probed_at() == first
    time.sleep(Readiness.SECONDS)
    assert client.http.get("/readyz").status_code == 200
    assert probed_at() != first


def test_an_older_schema_is_not_ready(client: Client, core: Core) -> None:
    run(core, "UPDATE alembic_version SET version_num = '0000'")
    assert client.http.get("/readyz").json()["reason"] == "SCHEMA_OUTDATED"


def test_a_process_that_stops_is_not_ready(core: Core) -> None:
    ready = TestClient(create_app(core, draining=lambda: True)).get("/readyz")
    assert (ready.status_code, ready.json()["reason"]) == (503, "STOPPING")


def test_relying_services_can_check_a_token_with_the_published_keys(client: Client, core: Core) -> None:
    account = active(core)
    token = logged_in(core).access_token
    response = client.http.get("/.well-known/jwks.json")
    assert response.headers["cache-control"] == "public, max-age=300"
    keys = jwt.PyJWKSet.from_dict(response.json())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(
        token,
        key,
        algorithms=["ES256"],
        audience="usersvc",
        issuer="http://127.0.0.1:8000",
        options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
    )
    assert claims["sub"] == str(account.id)
    assert (claims["role"], claims["permissions"]) == ("user", [])
    assert all("d" not in key for key in response.json()["keys"])
