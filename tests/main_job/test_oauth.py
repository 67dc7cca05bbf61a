"""Service accounts through a running server, by a client that nobody here wrote: Authlib's."""

import json
import re
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session

from tests.factories import PASSWORD
from tests.processes import Usersvc
from usersvc.security.credentials import new_credential

pytestmark = pytest.mark.process

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "oauth.md"
ROOT = "root@example.org"


def _made(usersvc: Usersvc, name: str, *options: str) -> dict[str, str]:
    made: dict[str, str] = json.loads(usersvc.run("create-service", name, *options, "--json").stdout)
    return made


def _session(
    found: dict[str, Any], made: dict[str, str], method: str = "client_secret_basic"
) -> OAuth2Session:
    assert method in found["token_endpoint_auth_methods_supported"]
    return OAuth2Session(
        made["client_id"],
        made["client_secret"],
        token_endpoint_auth_method=method,
        revocation_endpoint_auth_method=method,
        token_endpoint=found["token_endpoint"],
    )


def _verified(found: dict[str, Any], token: str) -> dict[str, Any]:
    """As a service does that calls nobody back."""
    key = jwt.PyJWKClient(found["jwks_uri"]).get_signing_key_from_jwt(token)
    claims: dict[str, Any] = jwt.decode(
        token, key, algorithms=["ES256"], audience="billing", issuer=found["issuer"]
    )
    return claims


def test_a_service_gets_tokens_looks_into_those_of_users_and_is_shut_out(usersvc: Usersvc, rows) -> None:
    usersvc.environ["USERSVC_TOKENS__AUDIENCES"] = "billing"
    usersvc.run("create-admin", ROOT, "--password-stdin", text=PASSWORD)
    billing = _made(usersvc, "billing", "--audience", "billing", "--permission", "orders:read")
    ends = _made(usersvc, "ends", "--audience", "billing", "--may-end-sessions")
    with usersvc.serving("--no-worker") as server:
        found = httpx2.get(f"{usersvc.url}/.well-known/oauth-authorization-server").json()
        for method in ("client_secret_basic", "client_secret_post"):
            with _session(found, billing, method) as session:
                token = session.fetch_token(grant_type="client_credentials", scope="orders:read")
                assert (token["token_type"], token["expires_in"]) == ("Bearer", 600)
                claims = _verified(found, token["access_token"])
                assert (claims["sub"], claims["scope"]) == (billing["client_id"], "orders:read")
                shown = session.introspect_token(
                    found["introspection_endpoint"], token["access_token"]
                ).json()
                assert (shown["active"], shown["client_id"]) == (True, billing["client_id"])
                session.revoke_token(found["revocation_endpoint"], token["access_token"]).raise_for_status()
                again = session.introspect_token(found["introspection_endpoint"], token["access_token"])
                assert again.json() == {"active": False}
        assert usersvc.me(token["access_token"]).status_code == 401

        login = usersvc.post("/auth/login", {"email": ROOT, "password": PASSWORD}).json()["data"]
        bearer = {"Authorization": f"Bearer {login['access_token']}"}
        exchanged = usersvc.post("/auth/tokens", {"audience": "billing"}, headers=bearer).json()["data"]
        users = exchanged["access_token"]
        assert _verified(found, users)["role"] == "admin"
        assert usersvc.me(users).status_code == 401
        refused = usersvc.post(
            "/auth/tokens", {"audience": "billing"}, headers={"Authorization": f"Bearer {users}"}
        )
        assert refused.status_code == 401
        with _session(found, billing) as session, _session(found, ends) as ending:
            shown = session.introspect_token(found["introspection_endpoint"], users).json()
            assert (shown["active"], shown["role"], shown["sid"]) == (
                True,
                "admin",
                _verified(found, users)["sid"],
            )
            assert session.revoke_token(found["revocation_endpoint"], users).json()["error"] == (
                "unauthorized_client"
            )
            assert ending.revoke_token(found["revocation_endpoint"], users).status_code == 200
            again = session.introspect_token(found["introspection_endpoint"], users)
            assert again.json() == {"active": False}
            assert usersvc.me(login["access_token"]).status_code == 401

        for number in range(6):
            wrong = {**billing, "client_secret": new_credential()}
            with _session(found, wrong) as session, pytest.raises(OAuthError) as refusal:
                session.fetch_token(grant_type="client_credentials")
            assert refusal.value.error == ("invalid_client" if number < 5 else "temporarily_unavailable")
        with _session(found, billing) as session:
            assert session.fetch_token(grant_type="client_credentials")["scope"] == "orders:read"
            usersvc.run("deactivate-service", "billing")
            with pytest.raises(OAuthError) as refusal:
                session.fetch_token(grant_type="client_credentials")
            # Its secret is a wrong one now, and those before it have filled the limit.
            assert refusal.value.error == "temporarily_unavailable"
        for secret in (billing["client_secret"], ends["client_secret"], users):
            assert secret not in server.output
    told = {(kind, action) for kind, action in rows("SELECT actor_kind, action FROM audit")}
    assert {
        ("operator", "service.created"),
        ("operator", "service.deactivated"),
        ("service", "token.revoked"),
        ("service", "session.revoked"),
        ("anonymous", "service.authentication_failed"),
    } <= told


def test_what_the_document_shows_works_as_it_stands(usersvc: Usersvc) -> None:
    """The code in docs/oauth.md, as a program would have it."""
    [code] = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    usersvc.environ["USERSVC_TOKENS__AUDIENCES"] = "billing"
    usersvc.run("migrate")
    made = _made(usersvc, "reports", "--audience", "billing", "--permission", "orders:read")
    with usersvc.serving("--no-worker"):
        code = code.replace("http://127.0.0.1:8000", usersvc.url)
        for name in ("client_id", "client_secret"):
            code = code.replace(name.upper(), made[name])
        names: dict[str, Any] = {}
        exec(code, names)
        assert names["is_good"](names["token"])
        assert not names["is_good"]("x")
