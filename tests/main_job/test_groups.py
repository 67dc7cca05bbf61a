"""A group through running processes: made in the shell, seen in a token, gone with the next one."""

import httpx2
import jwt
import pytest

from tests.factories import EMAIL, PASSWORD
from tests.processes import Usersvc

pytestmark = pytest.mark.process


def _checked(usersvc: Usersvc, token: str) -> dict:
    """As a service does that only has the published keys."""
    key = jwt.PyJWKClient(f"{usersvc.url}/.well-known/jwks.json").get_signing_key_from_jwt(token)
    return jwt.decode(token, key, algorithms=["ES256"], audience="usersvc", issuer=usersvc.url, leeway=30)


def _granted(usersvc: Usersvc, pair: dict[str, str]) -> tuple[list[str], list[str]]:
    claims = _checked(usersvc, pair["access_token"])
    return claims.get("groups", []), claims["permissions"]


def test_an_operator_puts_somebody_into_a_group_and_a_service_sees_it_until_he_is_out(
    usersvc: Usersvc,
) -> None:
    usersvc.environ["USERSVC_REGISTRATION__ACTIVATION"] = "false"
    permits = ["--permission", "orders:read", "--permission", "orders:write"]
    with usersvc.serving("--no-worker"):
        usersvc.run("create-group", "order-desk", *permits)
        assert usersvc.post("/users", {"email": EMAIL, "password": PASSWORD}).status_code == 201
        usersvc.run("add-member", "order-desk", EMAIL, "--manager")

        pair = usersvc.post("/auth/login", {"email": EMAIL, "password": PASSWORD}).json()["data"]
        assert _granted(usersvc, pair) == (["order-desk"], ["orders:read", "orders:write"])
        bearer = {"Authorization": f"Bearer {pair['access_token']}"}
        [own] = httpx2.get(f"{usersvc.api}/users/me/groups", headers=bearer, timeout=30).json()["data"]
        assert (own["name"], own["manager"]) == ("order-desk", True)
        # What services ask for lets nobody do anything here.
        refused = httpx2.get(f"{usersvc.api}/admin/groups", headers=bearer, timeout=30)
        assert refused.json()["error"]["code"] == "FORBIDDEN"

        usersvc.run("remove-member", "order-desk", EMAIL)
        pair = usersvc.post("/auth/refresh", {"refresh_token": pair["refresh_token"]}).json()["data"]
        assert _granted(usersvc, pair) == ([], [])
        assert usersvc.me(pair["access_token"]).status_code == 200
