"""A relying service believes what usersvc signed for it, whole and in time, and nothing else."""

import json
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.forgery import b64, forged, forgeries, hs256, public_pem, signing
from tests.verify.conftest import AUDIENCE, CLAIMS, ISSUER, NOW, World, signed
from usersvc.security.keys import KeyRing, Use, make_key
from usersvc.security.tokens import Tokens
from usersvc.verify import (
    Claims,
    InvalidToken,
    PermissionMissing,
    TokenExpired,
    TokenMissing,
    TokenVerifier,
)

pytestmark = pytest.mark.sqlite


def refused(world: World, token: Any) -> None:
    with pytest.raises(InvalidToken) as caught:
        world.verifier.verify(token)
    assert type(caught.value) is InvalidToken


def test_what_usersvc_signs_is_read_as_it_was_meant(world: World) -> None:
    others = [make_key(use) for use in Use if use is not Use.ACCESS]
    ring = KeyRing([world.key, *others])
    tokens, at = Tokens(ring, issuer=ISSUER, audience=AUDIENCE), datetime.fromtimestamp(NOW, UTC)
    user, session = UUID(CLAIMS["sub"]), UUID(CLAIMS["sid"])
    token = tokens.sign_access(
        user_id=user,
        session_id=session,
        role="admin",
        permissions=["users:read", "content:manage"],
        groups=["desk"],
        at=at,
        expires_at=at + timedelta(minutes=10),
    )
    claims = world.verifier.verify(token)
    assert (claims.subject, claims.session_id) == (str(user), str(session))
    assert (claims.client_id, claims.expires_at, claims.role) == (AUDIENCE, NOW + 600, "admin")
    assert claims.permissions == {"users:read", "content:manage"}
    assert claims.groups == {"desk"}
    assert claims.all["iss"] == ISSUER
    for name, made in forgeries(ring, Use.ACCESS, token).items():
        if name in ("without nbf", "without sid", "without role", "without permissions", "without groups"):
            continue  # RFC 9068 asks for none of these
        with pytest.raises(InvalidToken) as caught:
            world.verifier.verify(made)
        assert type(caught.value) is InvalidToken, name
    refresh = tokens.sign_refresh(user_id=user, session_id=session, seq=1, rnd="x", at=at, expires_at=at)
    refused(world, refresh)


def test_a_service_account_has_no_session_no_role_and_perhaps_no_permission(world: World) -> None:
    made = {**CLAIMS, "sub": "billing", "client_id": "billing"}
    for name in ("sid", "role", "groups", "permissions", "nbf"):
        del made[name]
    token = forged({"alg": "ES256", "typ": "at+jwt", "kid": world.key.kid}, made, signing(world.key))
    claims = world.verifier.verify(token)
    assert claims == Claims("billing", "billing", NOW + 600, None, None, frozenset(), frozenset(), claims.all)
    with pytest.raises(PermissionMissing):
        claims.require_role("user")


def test_permissions_and_roles_are_asked_for(world: World) -> None:
    claims = world.verifier.verify(signed(world.key))
    claims.require_permission("content:manage")
    claims.require_role("user")
    claims.require_role("moderator")
    for ask, what in (
        (claims.require_permission, "users:read"),
        (claims.require_permission, "content"),
        (claims.require_permission, ""),
        (claims.require_role, "admin"),
        (claims.require_role, "librarian"),
    ):
        with pytest.raises(PermissionMissing):
            ask(what)
    world.verifier.verify(signed(world.key, role="admin")).require_role("admin")
    world.verifier.verify(signed(world.key, role="librarian")).require_role("librarian")
    with pytest.raises(PermissionMissing):
        world.verifier.verify(signed(world.key, role="librarian")).require_role("user")


@pytest.mark.parametrize("algorithm", ["EdDSA", "RS256"])
def test_a70_each_key_has_one_algorithm_and_it_is_not_the_token_s_choice(
    world: World, algorithm: str
) -> None:
    other = make_key(Use.ACCESS, algorithm)
    world.publisher.publish(world.key, other)
    assert world.verifier.verify(signed(other)).role == "moderator"
    assert world.verifier.verify(signed(world.key)).role == "moderator"
    for alg in ("ES256", "EdDSA", "RS256", "RS512", "PS256", "HS256", "none", "es256", None, ["ES256"], 1):
        for key in (world.key, other):
            if alg != key.algorithm:
                refused(world, signed(key, header={"alg": alg}))
    for key in (world.key, other):
        for secret in (public_pem(key), json.dumps(key.public_jwk).encode(), b""):
            header = {"alg": "HS256", "typ": "at+jwt", "kid": key.kid}
            refused(world, forged(header, CLAIMS, hs256(secret)))
    refused(world, signed(world.key, header={"kid": other.kid}))


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "JWT"},
        {"typ": "AT+JWT"},
        {"typ": "application/at+jwt"},
        {"typ": "rt+jwt"},
        {"typ": None},
        {"typ": ["at+jwt"]},
        {"kid": None},
        {"kid": ""},
        {"kid": 1},
        {"kid": {"a": 1}},
        {"kid": "x" * 129},
        {"crit": ["exp"]},
        {"crit": []},
        {"b64": False},
        {"b64": True},
        {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/cert.pem"},
        {"x5c": ["MIIB"]},
        {"zip": "DEF"},
        {"jwk": make_key(Use.ACCESS).public_jwk},
    ],
    ids=lambda header: ascii(header)[:40],
)
def test_a75_a_header_that_is_not_usersvc_s_is_refused_without_asking_anybody(
    world: World, header: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "socket", lambda *_, **__: pytest.fail("a connection was opened"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("a name was looked up"))
    refused(world, signed(world.key, header=header))


def test_a70_what_is_no_token_is_refused_without_asking_anybody(world: World) -> None:
    good = signed(world.key)
    head, body, signature = good.split(".")
    for token in (
        *("", ".", "..", "...", "a.b.c", "garbage", "\0", "ä.ä.ä", "x" * 9000, f"{head}.{body}"),
        *(f"{good}.", f".{good}", f"{good}\n", f" {good}", f"{good}=", f"{head}.{body}.", f"..{signature}"),
        *(f"{head}..{signature}", f"{head}.{body}.{signature}.{signature}", f"{head}!.{body}.{signature}"),
        *(None, 1, good.encode(), [good]),
    ):
        refused(world, token)
    assert world.publisher.asked == 0
    for header in (
        "[]",
        "1",
        "null",
        '"at+jwt"',
        "{",
        "[" * 5000,
        '{"typ": "at+jwt", "kid": NaN}',
        "\ufeff{}",
    ):
        refused(world, forged(header, CLAIMS, signing(world.key)))
    not_utf_8 = b64(b'{"typ": "at+jwt", "kid": "\xff"}')
    refused(world, f"{not_utf_8}.{body}.{signature}")
    assert world.publisher.asked == 0


def test_a61_a_name_that_stands_twice_is_refused(world: World) -> None:
    kid = world.key.kid
    twice = f'{{"alg": "ES256", "typ": "at+jwt", "kid": "{kid}", "kid": "{kid}"}}'
    refused(world, forged(twice, CLAIMS, signing(world.key)))
    header = {"alg": "ES256", "typ": "at+jwt", "kid": kid}
    text = json.dumps(CLAIMS)
    for claims in (
        text[:-1] + ', "role": "admin"}',
        text[:-1] + ', "more": {"a": 1, "a": 2}}',
        text[:-1] + ', "more": NaN}',
        text[:-1] + ', "more": ' + "[" * 2000 + "]" * 2000 + "}",
        f"[{text}]",
        "null",
        text[:-1],
    ):
        refused(world, forged(header, claims, signing(world.key)))
    assert world.verifier.verify(forged(header, text, signing(world.key)))


@pytest.mark.parametrize("name", ["iss", "aud"])
def test_a72_issuer_and_audience_are_ours_to_the_letter(world: World, name: str) -> None:
    ours = CLAIMS[name]
    for other in (
        f"{ours}/",
        ours[:-1],
        f"{ours}.evil.example",
        ours.upper(),
        "",
        1,
        None,
        [ours],
        [],
        {ours: 1},
    ):
        refused(world, signed(world.key, **{name: other}))
    refused(world, signed(world.key, aud=[AUDIENCE, "other"]))


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "client_id", "jti", "iat", "exp"])
def test_a76_what_rfc_9068_requires_is_required(world: World, name: str) -> None:
    refused(world, signed(world.key, without=name))
    refused(world, signed(world.key, **{name: None}))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        *((name, ("", 1, True, ["x"], {"x": 1})) for name in ("sub", "client_id", "jti", "sid", "role")),
        *(
            (name, (None, "content:manage", {"x": 1}, [1], [None], [""], [["x"]]))
            for name in ("permissions", "groups")
        ),
        *(
            (name, (str(NOW), NOW + 0.5, True, [NOW], "", -1, 0, 2**53, 10**400))
            for name in ("iat", "nbf", "exp")
        ),
    ],
)
def test_a76_claims_have_their_form(world: World, name: str, values: tuple[Any, ...]) -> None:
    for value in values:
        refused(world, signed(world.key, **{name: value}))


def test_a76_a_token_is_good_from_its_beginning_to_its_end_with_thirty_seconds_of_leeway(
    world: World,
) -> None:
    token = signed(world.key)
    for after in (-30, 0, 600, 629.9):
        world.now = NOW + after
        assert world.verifier.verify(token).expires_at == NOW + 600
    for after in (630, 631, 10**8):
        world.now = NOW + after
        with pytest.raises(TokenExpired):
            world.verifier.verify(token)
        refused(world, signed(world.key, aud="other"))
    world.now = NOW - 30.1
    refused(world, token)
    world.now = NOW
    for name in ("iat", "nbf"):
        assert world.verifier.verify(signed(world.key, **{name: NOW + 30}))
        refused(world, signed(world.key, **{name: NOW + 31}))


def test_a75_a_token_and_its_kid_may_have_their_whole_length(world: World) -> None:
    for kid in ("k", "k" * 128):
        named = replace(world.key, kid=kid)
        world.publisher.publish(world.key, named)
        world.age += 30
        assert world.verifier.verify(signed(named)).role == "moderator"
    longest = next(token for n in range(5000, 6000) if len(token := signed(world.key, more="x" * n)) >= 8190)
    assert len(longest) <= 8192
    assert world.verifier.verify(longest).role == "moderator"
    refused(world, signed(world.key, more="x" * 6000))


def test_claims_can_be_kept_in_a_set_and_logged(world: World) -> None:
    token = signed(world.key)
    assert len({world.verifier.verify(token), world.verifier.verify(token)}) == 1
    assert CLAIMS["jti"] not in repr(world.verifier.verify(token))


def test_the_keys_are_looked_for_beside_the_issuer(world: World) -> None:
    server = world.publisher.url.removesuffix("/.well-known/jwks.json")
    for issuer in (server, f"{server}/"):
        verifier = TokenVerifier(issuer, AUDIENCE, clock=lambda: world.now)
        assert verifier.verify(signed(world.key, iss=issuer)).role == "moderator"
    assert world.publisher.paths == ["/.well-known/jwks.json"] * 2


def test_the_header_of_http_is_read(world: World) -> None:
    token = signed(world.key)
    for value in (f"Bearer {token}", f"bearer {token}", f"BEARER  {token} "):
        assert world.verifier.from_header(value).role == "moderator"
    for value in (None, "", "Bearer", token, "Basic YTpi", f"Bearer\t{token}"):
        with pytest.raises(TokenMissing if value != "Bearer" else InvalidToken):
            world.verifier.from_header(value)
    for value in (f"Bearer {token} {token}", f"Bearer {token},", "Bearer ", f"Bearer Bearer {token}"):
        with pytest.raises(InvalidToken):
            world.verifier.from_header(value)


def test_refusals_say_what_rfc_6750_wants_and_nothing_of_what_was_sent(world: World) -> None:
    found = {}
    for name, claims in (("wrong", {"aud": "other"}), ("expired", {"exp": NOW - 31})):
        with pytest.raises(InvalidToken) as caught:
            world.verifier.verify(signed(world.key, **claims))
        found[name] = (caught.value.status, caught.value.headers["WWW-Authenticate"])
    assert found == {
        "wrong": (401, 'Bearer error="invalid_token", error_description="This token is not valid here."'),
        "expired": (401, 'Bearer error="invalid_token", error_description="This token has expired."'),
    }
    assert TokenMissing().headers == {"WWW-Authenticate": "Bearer"}
    assert (PermissionMissing().status, PermissionMissing().error) == (403, "insufficient_scope")


@pytest.mark.parametrize(
    "url",
    [
        "http://users.example.org/jwks.json",
        "http://localhost.example.org/x",
        "http://10.0.0.1/x",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "//users.example.org/x",
        "https:///x",
        "users.example.org",
        "https://me@users.example.org/x",
        "https://users.example.org/x#y",
    ],
)
def test_keys_come_over_tls_or_from_this_machine(url: str) -> None:
    with pytest.raises(ValueError, match="address of the keys"):
        TokenVerifier(ISSUER, AUDIENCE, jwks_url=url)


def test_an_address_without_tls_has_to_be_asked_for() -> None:
    assert TokenVerifier("http://usersvc:8000", AUDIENCE, allow_http=True)
    for url in ("http://localhost:1/x", "http://127.0.0.2/x", "http://[::1]:8000/x", "https://10.0.0.1/x"):
        assert TokenVerifier(ISSUER, AUDIENCE, jwks_url=url)
    for issuer, audience in (("", AUDIENCE), (ISSUER, "")):
        with pytest.raises(ValueError, match="needs an issuer and an audience"):
            TokenVerifier(issuer, audience)


def test_importing_it_loads_nothing_else_of_usersvc_and_no_framework() -> None:
    code = (
        "import sys, usersvc.verify, usersvc.verify.asgi; print(sorted(name for name in sys.modules"
        " if name.split('.')[0] in ('usersvc', 'fastapi', 'starlette', 'pydantic', 'sqlalchemy')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    parts = ("", ".asgi", ".claims", ".errors", ".keys", ".verifier")
    assert done.stdout.strip() == str(["usersvc", *(f"usersvc.verify{part}" for part in parts)])
