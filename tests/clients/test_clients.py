"""Others read usersvc's document and check its tokens: a linter, generators of clients, verifiers."""

import json
import re
import shutil
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from authlib.oauth2.rfc6750.errors import InvalidTokenError
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from joserfc import jwt as joserfc_jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from starlette.testclient import TestClient

from tests.clients.toolbox import PACKAGES, PYTHON, ROOT, node, of_npm, of_python, run
from tests.factories import PASSWORD
from tests.forgery import forgeries
from tests.verify.serving import Served, served
from usersvc.api.app import create_app
from usersvc.core import Core
from usersvc.security.keys import Use
from usersvc.verify import TokenError, TokenVerifier

HERE = Path(__file__).parent

pytestmark = [pytest.mark.process, pytest.mark.sqlite]


def _document(core: Core, folder: Path) -> Path:
    path = folder / "openapi.json"
    path.write_text(json.dumps(create_app(core)._app.openapi(), indent=1), encoding="utf-8")
    return path


def test_a_strict_linter_finds_nothing_in_the_document(core: Core, tmp_path: Path) -> None:
    """Where it does, the lines below name the rule and the place: mend the route, not the rules."""
    document = _document(core, tmp_path)
    rules = ["--config", str(HERE / "redocly.yaml"), "--format", "json"]
    command = [*of_npm("redocly"), "lint", str(document), *rules]
    found = ""
    try:
        run(command, tmp_path)
    except AssertionError as failed:
        found = "\n".join(_problems(str(failed))) or str(failed)
    if found:
        pytest.fail(found, pytrace=False)


def _problems(output: str) -> Iterator[str]:
    found, _ = json.JSONDecoder().raw_decode(output[output.index("{") :])
    for problem in found["problems"]:
        yield f"{problem['ruleId']}: {problem['message']} at {problem['location'][0].get('pointer')}"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("clients")) as running:
        yield running


def _logs_in(found: Served, command: list[str], folder: Path) -> None:
    printed = run(command, folder, USERSVC_URL=found.usersvc.url, USERSVC_PASSWORD=PASSWORD)
    expected = {"code": "INVALID_CREDENTIALS", "email": "moderator@example.org", "role": "moderator"}
    assert json.loads(printed) == expected


def test_a_generated_typescript_client_compiles_and_logs_in(
    core: Core, found: Served, tmp_path: Path
) -> None:
    document = _document(core, tmp_path)
    (tmp_path / "node_modules").symlink_to(PACKAGES)
    shutil.copy(HERE / "log_in.mts", tmp_path)
    run([*of_npm("openapi-typescript"), str(document), "-o", "schema.ts"], tmp_path)
    options = ["--strict", "--noEmit", "--module", "nodenext", "--target", "es2023", "--types", "node"]
    # Not declarations of the packages; the generated one is none by its name, and is looked at.
    options += ["--allowImportingTsExtensions", "--skipLibCheck"]
    run([*of_npm("tsc"), *options, "log_in.mts"], tmp_path)
    _logs_in(found, node("--disable-warning=ExperimentalWarning", "log_in.mts"), tmp_path)


def test_a_generated_python_client_is_typed_and_logs_in(core: Core, found: Served, tmp_path: Path) -> None:
    document = _document(core, tmp_path)
    shutil.copy(HERE / "log_in.py", tmp_path)
    options = ["--meta", "none", "--output-path", "usersvc_client", "--fail-on-warning"]
    run([*of_python("openapi-python-client"), "generate", "--path", str(document), *options], tmp_path)
    # What the generator itself brings along is not strict.
    mypy = ["-m", "mypy", "--strict", "--follow-imports", "silent", "--python-executable", PYTHON]
    run([sys.executable, *mypy, "log_in.py"], tmp_path)
    _logs_in(found, [PYTHON, "log_in.py"], tmp_path)


# What nobody may believe, whatever library he checks with.
_FORGED = (
    "alg none",
    "alg nOnE",
    "no signature",
    "edited",
    "another key under our kid",
    "the public key as a secret",
    "the published key as a secret",
    "a key of its own",
    "a key to be fetched",
    "crit",
    "kid unknown",
    "typ JWT",
    "another issuer",
    "issuer with a tail",
    "another audience",
)


def _with_pyjwt(url: str, issuer: str, audience: str) -> Callable[[str], dict[str, Any]]:
    keys = jwt.PyJWKClient(url)

    def check(token: str) -> dict[str, Any]:
        if jwt.get_unverified_header(token).get("typ") != "at+jwt":
            raise jwt.InvalidTokenError
        key = keys.get_signing_key_from_jwt(token)
        required = {"require": ["exp", "iat", "sub", "client_id", "jti"], "strict_aud": True}
        return jwt.decode(
            token, key, ["ES256"], audience=audience, issuer=issuer, leeway=30, options=required
        )

    return check


def _with_joserfc(url: str, issuer: str, audience: str) -> Callable[[str], dict[str, Any]]:
    keys = KeySet.import_key_set(_fetched(url))
    registry = joserfc_jwt.JWTClaimsRegistry(
        leeway=30,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": audience},
        exp={"essential": True},
        sub={"essential": True},
    )

    def check(token: str) -> dict[str, Any]:
        found = joserfc_jwt.decode(token, keys, algorithms=["ES256"])
        if found.header.get("typ") != "at+jwt":
            raise ValueError("not an access token")
        registry.validate(found.claims)
        return dict(found.claims)

    return check


def _with_authlib(url: str, issuer: str, audience: str) -> Callable[[str], dict[str, Any]]:
    class Validator(JWTBearerTokenValidator):  # type: ignore[misc]
        def get_jwks(self) -> Any:
            return keys

    keys = KeySet.import_key_set(_fetched(url))
    validator = Validator(issuer=issuer, resource_server=audience)

    def check(token: str) -> dict[str, Any]:
        found = validator.authenticate_token(token)
        validator.validate_token(found, None, None)
        return dict(found)

    return check


def _fetched(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


_LIBRARIES = {"PyJWT": _with_pyjwt, "joserfc": _with_joserfc, "Authlib": _with_authlib}
_REFUSALS = (jwt.PyJWTError, JoseError, InvalidTokenError, ValueError, TokenError)


def test_libraries_of_others_believe_its_tokens_and_no_forged_ones(found: Served, tmp_path: Path) -> None:
    good = {role: found.log_in(role) for role in ("user", "moderator")}
    with found.ring() as ring:
        made = forgeries(ring, Use.ACCESS, good["user"])
    wrong = {name: made[name] for name in _FORGED}
    wrong["expired"] = found.resigned(good["user"], exp=int(time.time()) - 31)
    url, issuer = f"{found.usersvc.url}/.well-known/jwks.json", found.usersvc.url
    for name, library in _LIBRARIES.items():
        check = library(url, issuer, "usersvc")
        for role, token in good.items():
            assert check(token)["role"] == role
        for what, token in wrong.items():
            with pytest.raises(_REFUSALS):
                raise AssertionError(f"{name} believes {what}: {check(token)}")
    asked = {"jwks": url, "issuer": issuer, "audience": "usersvc", "tokens": good | wrong}
    (tmp_path / "node_modules").symlink_to(PACKAGES)
    shutil.copy(HERE / "verify.mjs", tmp_path)
    told = json.loads(run(node("verify.mjs"), tmp_path, text=json.dumps(asked)))
    assert {name: told[name] for name in good} == {role: role for role in good}
    assert [name for name in wrong if not told[name].startswith("refused: ERR_J")] == []


def _with_usersvc_verify(url: str, issuer: str, audience: str) -> Callable[[str], dict[str, Any]]:
    verifier = TokenVerifier(issuer, audience, jwks_url=url)
    return lambda token: dict(verifier.verify(token).all)


def test_a_token_for_one_audience_is_believed_there_alone_a_service_s_own_too(found: Served) -> None:
    usersvc, user = found.usersvc, found.log_in("user")
    headers = {"Authorization": f"Bearer {user}"}
    exchanged = usersvc.post("/auth/tokens", {"audience": "billing"}, headers=headers).json()["data"]
    options = ["--permission", "invoices:read", "--audience", "billing", "--json"]
    made = json.loads(usersvc.run("create-service", "reports", *options).stdout)
    secret = made["client_id"], made["client_secret"]
    form = {"grant_type": "client_credentials"}
    fetched = httpx2.post(f"{usersvc.url}/oauth/token", data=form, auth=secret, timeout=30).json()
    url = f"{usersvc.url}/.well-known/jwks.json"
    for library in (*_LIBRARIES.values(), _with_usersvc_verify):
        check = library(url, usersvc.url, "billing")
        assert check(exchanged["access_token"])["role"] == "user"
        claims = check(fetched["access_token"])
        assert (claims["sub"], claims["permissions"]) == (made["client_id"], ["invoices:read"])
        assert not {"sid", "role"} & set(claims)
        for audience, tokens in (("billing", [user]), ("shipping", [user, exchanged["access_token"]])):
            for token in tokens:
                with pytest.raises(_REFUSALS):
                    library(url, usersvc.url, audience)(token)


def test_the_examples_for_other_frameworks_work_with_the_folder_verify_alone(
    found: Served, tmp_path: Path
) -> None:
    text = (ROOT / "docs" / "relying-services.md").read_text(encoding="utf-8")
    text = text.replace("http://127.0.0.1:8000", found.usersvc.url)
    examples = dict(re.findall(r"```python\n# ([a-z]+)\n(.*?)```", text, re.DOTALL))
    shutil.copytree(ROOT / "usersvc" / "verify", tmp_path / "usersvc" / "verify")
    user = found.log_in("user")
    tokens = {
        "moderator": found.log_in("moderator"),
        "user": user,
        "garbage": "garbage",
        "expired": found.resigned(user, exp=int(time.time()) - 31),
    }
    requests = {name: {"Authorization": f"Bearer {token}"} for name, token in tokens.items()} | {"nobody": {}}
    told = run(
        [PYTHON, "-W", "error", str(HERE / "frameworks.py")],
        tmp_path,
        text=json.dumps([examples, requests]),
        PYTHONPATH=str(tmp_path),
    )
    expected = {"moderator": 200, "user": 403, "garbage": 401, "expired": 401, "nobody": 401}
    assert json.loads(told) == {
        "flask": expected,
        "django": expected,
        "asgi": expected | {"user": 200},  # which asks for no permission
    }
    names: dict[str, Any] = {}
    exec(examples["fastapi"], names)
    client = TestClient(names["app"])
    for name, headers in requests.items():
        assert client.get("/orders", headers=headers).status_code == expected[name]
