"""Tokens are believed only when they are ours, of the right kind, whole and in time."""

import json
import socket
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.forgery import b64, forged, hs256, signing, unb64
from usersvc.errors import InvalidToken, TokenExpired
from usersvc.security.keys import Key, KeyRing, Use, make_key
from usersvc.security.tokens import LEEWAY_SECONDS, AccessClaims, RefreshClaims, Tokens

ISSUER = "https://users.example.org"
AUDIENCE = "usersvc"
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
ISSUED = int(NOW.timestamp())
USER = UUID("01950000-0000-7000-8000-000000000001")
SESSION = UUID("01950000-0000-7000-8000-000000000002")

KEYS = {use: make_key(use) for use in Use}
RING = KeyRing(KEYS.values())
TOKENS = Tokens(RING, issuer=ISSUER, audience=AUDIENCE)

ACCESS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": str(USER),
    "client_id": AUDIENCE,
    "sid": str(SESSION),
    "jti": str(USER),
    "iat": ISSUED,
    "nbf": ISSUED,
    "exp": ISSUED + 600,
    "role": "user",
    "permissions": ["self"],
}
REFRESH: dict[str, Any] = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": str(USER),
    "sid": str(SESSION),
    "seq": 1,
    "rnd": "random",
    "iat": ISSUED,
    "exp": ISSUED + 86400,
}


def access(
    *, header: dict[str, Any] | None = None, without: str = "", key: Key | None = None, **claims: Any
) -> str:
    """An access token with a good signature of our key, and what is changed in it."""
    key = key or KEYS[Use.ACCESS]
    made = {"alg": key.algorithm, "typ": "at+jwt", "kid": key.kid, **(header or {})}
    return forged(made, {k: v for k, v in {**ACCESS, **claims}.items() if k != without}, signing(key))


def refresh(*, header: dict[str, Any] | None = None, without: str = "", **claims: Any) -> str:
    key = KEYS[Use.REFRESH]
    made = {"alg": "HS256", "typ": "rt+jwt", "kid": key.kid, **(header or {})}
    return forged(made, {k: v for k, v in {**REFRESH, **claims}.items() if k != without}, signing(key))


def signed_access(tokens: Tokens = TOKENS) -> str:
    return tokens.sign_access(
        user_id=USER,
        session_id=SESSION,
        role="admin",
        permissions=["users:read"],
        groups=["desk"],
        at=NOW,
        expires_at=NOW + timedelta(minutes=10),
    )


def signed_refresh(tokens: Tokens = TOKENS, *, seq: int = 3) -> str:
    return tokens.sign_refresh(
        user_id=USER, session_id=SESSION, seq=seq, rnd="random", at=NOW, expires_at=NOW + timedelta(days=14)
    )


def read(token: str, *, after: float = 0) -> AccessClaims:
    return TOKENS.read_access(token, at=NOW + timedelta(seconds=after))


def refused(token: str) -> None:
    """As either kind."""
    with pytest.raises(InvalidToken):
        read(token)
    with pytest.raises(InvalidToken):
        TOKENS.read_refresh(token)


# -- good tokens


def test_a_signed_access_token_is_read_back() -> None:
    assert read(signed_access()) == AccessClaims(USER, SESSION)


def test_an_access_token_has_the_header_and_claims_of_the_standard() -> None:
    token = signed_access()
    header, claims, _ = token.split(".")
    assert json.loads(unb64(header)) == {"typ": "at+jwt", "alg": "ES256", "kid": KEYS[Use.ACCESS].kid}
    found = json.loads(unb64(claims))
    assert UUID(found.pop("jti")).version == 7
    assert found == {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(USER),
        "client_id": AUDIENCE,
        "sid": str(SESSION),
        "iat": ISSUED,
        "nbf": ISSUED,
        "exp": ISSUED + 600,
        "role": "admin",
        "permissions": ["users:read"],
        "groups": ["desk"],
    }


def test_two_access_tokens_differ_in_their_id() -> None:
    ids = {json.loads(unb64(signed_access().split(".")[1]))["jti"] for _ in range(5)}
    assert len(ids) == 5


def test_a_relying_service_verifies_an_access_token_with_the_published_key() -> None:
    token = signed_access()
    published = jwt.PyJWKSet.from_dict(RING.jwks())
    key = published[jwt.get_unverified_header(token)["kid"]]
    options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
    claims = jwt.decode(token, key, algorithms=["ES256"], audience=AUDIENCE, issuer=ISSUER, options=options)
    assert claims["sub"] == str(USER)


def test_a_signed_refresh_token_is_read_back() -> None:
    assert TOKENS.read_refresh(signed_refresh()) == RefreshClaims(
        USER, SESSION, 3, "random", ISSUED + 14 * 86400
    )


def test_a_refresh_token_has_just_the_claims_it_needs() -> None:
    header, claims, _ = signed_refresh().split(".")
    assert json.loads(unb64(header)) == {"typ": "rt+jwt", "alg": "HS256", "kid": KEYS[Use.REFRESH].kid}
    assert json.loads(unb64(claims)) == {**REFRESH, "seq": 3, "exp": ISSUED + 14 * 86400}


def test_the_same_refresh_is_the_same_token_byte_for_byte() -> None:
    again = Tokens(KeyRing(KEYS.values()), issuer=ISSUER, audience=AUDIENCE)
    assert signed_refresh() == signed_refresh(again)
    assert signed_refresh(seq=4) != signed_refresh(seq=3)


def test_a_refresh_token_is_read_after_its_end_too_so_that_one_can_log_out() -> None:
    assert TOKENS.read_refresh(refresh(iat=1, exp=2)).expires_at == 2


def test_a77_tokens_of_an_older_key_are_still_read() -> None:
    new = make_key(Use.ACCESS, signs_from=NOW)
    ring = KeyRing([new, *KEYS.values()])
    tokens = Tokens(ring, issuer=ISSUER, audience=AUDIENCE)
    assert tokens.read_access(signed_access(), at=NOW) == AccessClaims(USER, SESSION)
    assert jwt.get_unverified_header(signed_access(tokens))["kid"] == new.kid


def test_the_forged_tokens_of_these_tests_are_good_before_they_are_changed() -> None:
    assert read(access()) == AccessClaims(USER, SESSION)
    assert TOKENS.read_refresh(refresh()) == RefreshClaims(USER, SESSION, 1, "random", ISSUED + 86400)


# -- signatures and algorithms


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", None])
def test_a70_a_token_that_says_it_is_not_signed_is_refused(alg: str | None) -> None:
    for use, typ, claims in ((Use.ACCESS, "at+jwt", ACCESS), (Use.REFRESH, "rt+jwt", REFRESH)):
        header = {"alg": alg, "typ": typ, "kid": KEYS[use].kid}
        refused(forged(header, claims, lambda _: b""))
        refused(forged(header, claims, signing(KEYS[use])))


def test_a70_a_token_without_its_signature_is_refused() -> None:
    for token in (signed_access(), signed_refresh()):
        head, claims, _ = token.split(".")
        refused(f"{head}.{claims}.")
        refused(f"{head}.{claims}")
        refused(f"{head}..")


def test_a70_the_signature_of_another_token_is_refused() -> None:
    for token, other in (
        (signed_access(), access(sub=str(SESSION))),
        (signed_refresh(seq=1), signed_refresh(seq=2)),
    ):
        refused(f"{token.rpartition('.')[0]}.{other.rpartition('.')[2]}")


@pytest.mark.parametrize(
    ("name", "value"), [("sub", str(SESSION)), ("role", "admin"), ("exp", ISSUED + 10**6)]
)
def test_a70_an_edited_access_token_is_refused(name: str, value: object) -> None:
    head, _, signature = access().split(".")
    edited = b64(json.dumps({**ACCESS, name: value}).encode())
    refused(f"{head}.{edited}.{signature}")


@pytest.mark.parametrize(("name", "value"), [("sub", str(SESSION)), ("seq", 2), ("rnd", "other")])
def test_a70_an_edited_refresh_token_is_refused(name: str, value: object) -> None:
    head, _, signature = refresh().split(".")
    edited = b64(json.dumps({**REFRESH, name: value}).encode())
    refused(f"{head}.{edited}.{signature}")


def test_a70_a_changed_signature_is_refused() -> None:
    for token in (signed_access(), signed_refresh()):
        rest, _, signature = token.rpartition(".")
        changed = bytearray(unb64(signature))
        for at in (0, len(changed) // 2, len(changed) - 1):
            changed[at] ^= 1
            refused(f"{rest}.{b64(bytes(changed))}")
        refused(f"{rest}.{b64(bytes(64))}")


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "not a token",
        "\0",
        "é.é.é",
        "\ud800.\ud800.\ud800",
        "a" * 10_000,
        "." * 10_000,
        "\U0001f600" * 3000,
    ],
    ids=ascii,
)
def test_a70_what_is_no_token_is_refused(token: str) -> None:
    refused(token)


@pytest.mark.parametrize("part", ["[]", "1", '"text"', "null", "{", "", "[" * 3000, '{"a":' * 1000])
def test_a70_a_header_or_claims_that_are_no_object_are_refused(part: str) -> None:
    key = KEYS[Use.ACCESS]
    refused(forged(part, ACCESS, signing(key)))
    refused(forged({"alg": "ES256", "typ": "at+jwt", "kid": key.kid}, part, signing(key)))


def test_a70_a_token_of_many_characters_is_refused_though_its_signature_is_good() -> None:
    assert read(access(more="x" * 3000)) == AccessClaims(USER, SESSION)
    refused(access(more="x" * 8192))


def test_a70_a_token_has_at_most_8192_characters() -> None:
    # No base64 has a length of 1 modulo 4: padding the header too, a token of any length can be made.
    longer = 5668
    tokens = [
        access(header={"pad": "x" * header}, more="x" * more)
        for header in range(3)
        for more in range(longer, longer + 20)
    ]
    lengths = {len(token): token for token in tokens}
    assert read(lengths[8192]) == AccessClaims(USER, SESSION)
    refused(lengths[8193])


def test_a73_the_public_key_is_no_hs256_secret() -> None:
    public = KEYS[Use.ACCESS].private.public_key()
    formats = serialization.PublicFormat
    secrets = [
        public.public_bytes(serialization.Encoding.PEM, formats.SubjectPublicKeyInfo),
        public.public_bytes(serialization.Encoding.PEM, formats.SubjectPublicKeyInfo).strip(),
        public.public_bytes(serialization.Encoding.DER, formats.SubjectPublicKeyInfo),
        public.public_bytes(serialization.Encoding.X962, formats.UncompressedPoint),
        json.dumps(RING.jwks()["keys"][0]).encode(),
        b"",
    ]
    for secret in secrets:
        for typ, claims in (("at+jwt", ACCESS), ("rt+jwt", REFRESH)):
            for kid in (KEYS[Use.ACCESS].kid, KEYS[Use.REFRESH].kid):
                refused(forged({"alg": "HS256", "typ": typ, "kid": kid}, claims, hs256(secret)))


@pytest.mark.parametrize(
    "alg", ["HS256", "HS384", "ES384", "ES512", "ES256K", "RS256", "PS256", "EdDSA", "es256"]
)
def test_a73_a_key_is_used_with_exactly_its_own_algorithm(alg: str) -> None:
    refused(access(header={"alg": alg}))


@pytest.mark.parametrize("alg", ["HS384", "HS512", "ES256", "hs256"])
def test_a73_a_refresh_key_is_used_with_exactly_its_own_algorithm(alg: str) -> None:
    refused(refresh(header={"alg": alg}))
    if alg.startswith("HS"):
        made = jwt.encode(
            REFRESH,
            KEYS[Use.REFRESH].private * 2,
            alg,
            headers={"typ": "rt+jwt", "kid": KEYS[Use.REFRESH].kid},
        )
        refused(made)


def test_a73_only_the_one_algorithm_of_the_key_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = jwt.PyJWS.decode

    def spy(jws: jwt.PyJWS, token: str, key: Any, **more: Any) -> Any:
        asked.append((more["algorithms"], key))
        return real(jws, token, key, **more)

    monkeypatch.setattr(jwt.PyJWS, "decode", spy)
    read(access())
    TOKENS.read_refresh(refresh())
    assert [algorithms for algorithms, _ in asked] == [["ES256"], ["HS256"]]
    assert isinstance(asked[0][1], ec.EllipticCurvePublicKey)


def test_a74_a_key_with_too_few_bits_verifies_nothing() -> None:
    short = Key("short", Use.REFRESH, "HS256", b"x" * 31)
    tokens = Tokens(KeyRing([short]), issuer=ISSUER, audience=AUDIENCE)
    token = forged({"alg": "HS256", "typ": "rt+jwt", "kid": "short"}, REFRESH, hs256(short.private))
    with pytest.raises(InvalidToken):
        tokens.read_refresh(token)


# -- kinds


def test_a71_an_access_token_is_no_refresh_token_and_the_reverse() -> None:
    with pytest.raises(InvalidToken):
        TOKENS.read_refresh(signed_access())
    with pytest.raises(InvalidToken):
        read(signed_refresh())


@pytest.mark.parametrize(
    "typ", ["rt+jwt", "JWT", "jwt", "AT+JWT", "application/at+jwt", "at+jwt ", "", None, 1, ["at+jwt"]]
)
def test_a71_an_access_token_of_another_type_is_refused(typ: object) -> None:
    refused(access(header={"typ": typ}))


@pytest.mark.parametrize("typ", ["at+jwt", "JWT", "RT+JWT", "", None])
def test_a71_a_refresh_token_of_another_type_is_refused(typ: object) -> None:
    refused(refresh(header={"typ": typ}))


def test_a71_a_token_without_a_type_is_refused() -> None:
    refused(forged({"alg": "ES256", "kid": KEYS[Use.ACCESS].kid}, ACCESS, signing(KEYS[Use.ACCESS])))
    refused(forged({"alg": "HS256", "kid": KEYS[Use.REFRESH].kid}, REFRESH, signing(KEYS[Use.REFRESH])))


@pytest.mark.parametrize("use", [use for use in Use if use is not Use.ACCESS])
def test_a71_a_key_of_another_use_signs_no_access_token(use: Use) -> None:
    refused(access(key=KEYS[use], **REFRESH))


@pytest.mark.parametrize("use", [use for use in Use if use is not Use.REFRESH])
def test_a71_a_key_of_another_use_signs_no_refresh_token(use: Use) -> None:
    key = KEYS[use]
    header = {"alg": key.algorithm, "typ": "rt+jwt", "kid": key.kid}
    refused(forged(header, {**ACCESS, **REFRESH}, signing(key)))


# -- issuer and audience


@pytest.mark.parametrize(
    "iss",
    [
        "https://users.example.or",
        "https://users.example.org.evil.example",
        "https://users.example.org/",
        "HTTPS://users.example.org",
        "",
        None,
        1,
        [ISSUER],
        {"iss": ISSUER},
    ],
)
def test_a72_another_issuer_is_refused(iss: object) -> None:
    refused(access(iss=iss))
    refused(refresh(iss=iss))


@pytest.mark.parametrize(
    "aud",
    [
        "other",
        "usersv",
        "usersvc2",
        "USERSVC",
        "",
        None,
        1,
        [AUDIENCE],
        [AUDIENCE, "other"],
        [],
        {"a": AUDIENCE},
    ],
)
def test_a72_another_audience_or_a_list_is_refused(aud: object) -> None:
    refused(access(aud=aud))
    refused(refresh(aud=aud))


def test_a72_a_token_of_another_environment_with_the_same_keys_is_refused() -> None:
    for tokens in (
        Tokens(RING, issuer="https://staging.example.org", audience=AUDIENCE),
        Tokens(RING, issuer=ISSUER, audience="staging"),
    ):
        refused(signed_access(tokens))
        refused(signed_refresh(tokens))


# -- headers


@pytest.mark.parametrize(
    "kid",
    [
        "unknown",
        "",
        "../../dev/null",
        "/dev/null",
        "' OR 1=1 --",
        "x" * 4000,
        "x" * 1_000_000,
        None,
        1,
        True,
    ],
    ids=lambda kid: ascii(kid)[:20],
)
def test_a75_an_unknown_kid_is_refused(kid: object) -> None:
    refused(access(header={"kid": kid}))
    refused(refresh(header={"kid": kid}))


def test_a75_a_kid_that_is_only_almost_ours_is_refused() -> None:
    for use, make in ((Use.ACCESS, access), (Use.REFRESH, refresh)):
        kid = KEYS[use].kid
        for other in ([kid], {"kid": kid}, kid + "\0", kid + " ", kid[:-1], f"../{kid}"):
            refused(make(header={"kid": other}))


def test_a75_a_token_without_a_kid_is_refused() -> None:
    refused(forged({"alg": "ES256", "typ": "at+jwt"}, ACCESS, signing(KEYS[Use.ACCESS])))
    refused(forged({"alg": "HS256", "typ": "rt+jwt"}, REFRESH, signing(KEYS[Use.REFRESH])))


@pytest.mark.parametrize("kid", [KEYS[Use.ACCESS].kid, "attacker"], ids=["ours", "unknown"])
def test_a75_a_key_that_the_token_brings_or_names_is_never_used(
    kid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "socket", lambda *_, **__: pytest.fail("a connection was opened"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("a name was looked up"))
    attacker = make_key(Use.ACCESS)
    assert attacker.public_jwk
    for more in (
        {"jwk": attacker.public_jwk},
        {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/cert.pem"},
        {"x5c": ["MIIB"]},
    ):
        header = {"alg": "ES256", "typ": "at+jwt", "kid": kid, **more}
        refused(forged(header, ACCESS, signing(attacker)))


@pytest.mark.parametrize(
    "more",
    [
        {"crit": ["x"], "x": 1},
        {"crit": ["exp"]},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"crit": []},
    ],
)
def test_a75_headers_that_have_to_be_understood_and_are_not_are_refused(more: dict[str, Any]) -> None:
    refused(access(header=more))
    refused(refresh(header=more))


# -- claims


@pytest.mark.parametrize("name", ACCESS)
def test_a76_an_access_token_without_one_of_its_claims_is_refused(name: str) -> None:
    refused(access(without=name))
    refused(access(**{name: None}))


@pytest.mark.parametrize("name", REFRESH)
def test_a76_a_refresh_token_without_one_of_its_claims_is_refused(name: str) -> None:
    refused(refresh(without=name))
    refused(refresh(**{name: None}))


@pytest.mark.parametrize("name", ["iat", "nbf", "exp"])
@pytest.mark.parametrize(
    "value",
    [str(ISSUED + 60), ISSUED + 60.0, True, [ISSUED], {}, "", "soon", -1, 0, 2**53, 10**400, float("inf")],
)
def test_a76_times_are_whole_numbers_of_seconds(name: str, value: object) -> None:
    refused(access(**{name: value}))
    if name in REFRESH:
        refused(refresh(**{name: value}))


def test_a76_times_are_as_late_as_every_reader_of_json_can_tell_them() -> None:
    latest = 2**53 - 1
    assert read(access(exp=latest)) == AccessClaims(USER, SESSION)
    assert TOKENS.read_refresh(refresh(exp=latest)).expires_at == latest


def test_a76_only_the_clock_that_is_given_counts_and_not_the_one_of_the_machine() -> None:
    for at in (datetime(1980, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)):
        then = int(at.timestamp())
        token = access(iat=then, nbf=then, exp=then + 600)
        assert TOKENS.read_access(token, at=at) == AccessClaims(USER, SESSION)
        assert TOKENS.read_refresh(refresh(iat=then, exp=then + 600)).expires_at == then + 600


def test_a76_a_number_that_json_cannot_hold_is_refused() -> None:
    key = KEYS[Use.ACCESS]
    header = {"alg": "ES256", "typ": "at+jwt", "kid": key.kid}
    for number in ("1e400", "-1e400", "NaN", "Infinity", "9" * 5000):
        claims = json.dumps({**ACCESS, "exp": "EXP"}).replace('"EXP"', number)
        refused(forged(header, claims, signing(key)))


def test_a76_an_access_token_is_good_until_thirty_seconds_after_its_end() -> None:
    assert LEEWAY_SECONDS == 30
    token = access(exp=ISSUED + 600)
    read(token, after=600)
    read(token, after=629.9)
    for after in (630, 631, 10**8):
        with pytest.raises(TokenExpired):
            read(token, after=after)


@pytest.mark.parametrize("name", ["iat", "nbf"])
def test_a76_an_access_token_from_the_future_is_refused_beyond_thirty_seconds(name: str) -> None:
    assert read(access(**{name: ISSUED + 30}))
    with pytest.raises(InvalidToken):
        read(access(**{name: ISSUED + 31}))


def test_a76_a_token_that_was_believed_before_is_looked_at_again_in_time() -> None:
    token = access()
    assert read(token) == read(token, after=600) == AccessClaims(USER, SESSION)
    with pytest.raises(TokenExpired):
        read(token, after=630)
    with pytest.raises(InvalidToken):
        read(token, after=-31)


def test_a77_a_token_that_was_believed_is_not_where_its_key_is_gone() -> None:
    token = access()
    assert read(token) == AccessClaims(USER, SESSION)
    others = [make_key(use) for use in Use]
    ring = KeyRing(others)
    with pytest.raises(InvalidToken):
        Tokens(ring, issuer=ISSUER, audience=AUDIENCE).read_access(token, at=NOW)


def test_a44_of_the_tokens_that_were_believed_only_so_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("usersvc.security.tokens._MOST_KNOWN", 2)
    tokens = Tokens(RING, issuer=ISSUER, audience=AUDIENCE)
    for number in range(5):
        tokens.read_access(access(jti=f"{USER}{number}"), at=NOW)
    with pytest.raises(InvalidToken):
        tokens.read_access(access(iss="another"), at=NOW)
    assert tokens._known_access.cache_info().currsize == 2


def test_a_token_that_is_wrong_and_expired_is_called_wrong() -> None:
    for token in (
        access(exp=ISSUED - 600, aud="other"),
        access(exp=ISSUED - 600)[:-6],
        access(exp=ISSUED - 600, header={"kid": "unknown"}),
    ):
        with pytest.raises(InvalidToken):
            read(token)


@pytest.mark.parametrize("name", ["sub", "sid"])
@pytest.mark.parametrize("value", ["", "ada", "01950000", 1, True, [str(USER)], {"id": str(USER)}])
def test_a76_ids_that_are_none_are_refused(name: str, value: object) -> None:
    refused(access(**{name: value}))
    refused(refresh(**{name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seq", 0),
        ("seq", -1),
        ("seq", 2**31),
        ("seq", 2**31 + 1),
        ("seq", "1"),
        ("seq", 1.0),
        ("seq", True),
        ("seq", [1]),
        ("rnd", 1),
        ("rnd", ["random"]),
    ],
)
def test_a76_a_refresh_token_with_no_proper_sequence_or_random_part_is_refused(
    name: str, value: object
) -> None:
    refused(refresh(**{name: value}))


def test_a_refresh_token_has_the_highest_step_that_the_table_can_hold() -> None:
    assert TOKENS.read_refresh(refresh(seq=2**31 - 1)).seq == 2**31 - 1
