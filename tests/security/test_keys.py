"""Keys of the ring: made for one use, wrapped under the secret key, published without it."""

import dataclasses
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_der_private_key

from usersvc.errors import KeysUnavailable
from usersvc.security.keys import (
    ALGORITHMS,
    Key,
    KeyRing,
    Use,
    WrongSecret,
    make_key,
    same_secret,
    secret_check,
    unwrap,
    wrap,
)

SECRET = "Q7vN2mK9xR4tB8wL3pZ6yH1cD5fG0jSa"
OTHER_SECRET = "aS0jGf5Dc1Hy6Zp3Lw8Bt4Rx9Km2Nv7Q"


NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)


def row_of(key: Key) -> Key:
    """What the database knows of a key beside its wrapped part."""
    return dataclasses.replace(key, private=b"")


def numbers(key: Key) -> Any:
    return key.private if isinstance(key.private, bytes) else key.private.private_numbers()


def hkdf(secret: str, label: bytes) -> bytes:
    """RFC 5869 with SHA-256, no salt and 32 bytes."""
    extracted = hmac.digest(bytes(32), secret.encode(), hashlib.sha256)
    return hmac.digest(extracted, label + b"\x01", hashlib.sha256)


@pytest.mark.parametrize("use", Use)
def test_a_key_is_made_for_one_use_with_its_algorithm(use: Use) -> None:
    key = make_key(use)
    assert key.use is use
    if use is Use.ACCESS:
        assert key.algorithm == "ES256"
        assert isinstance(key.private.curve, ec.SECP256R1)
        assert key.public_jwk is not None
    else:
        assert key.algorithm == "HS256"
        assert key.public_jwk is None


@pytest.mark.parametrize("use", [use for use in Use if use is not Use.ACCESS])
def test_a74_a_symmetric_key_has_256_bits(use: Use) -> None:
    assert len(make_key(use).private) == 32


def test_keys_and_their_ids_are_random() -> None:
    made = [make_key(Use.LINK) for _ in range(50)]
    assert len({key.kid for key in made}) == len({key.private for key in made}) == 50
    assert all(len(key.kid) == 16 for key in made)


def test_the_uses_are_named_as_in_existing_databases() -> None:
    assert list(Use) == ["access", "refresh", "link", "cursor", "throttle"]


@pytest.mark.parametrize("use", Use)
def test_a_wrapped_key_opens_again_under_its_secret(use: Use) -> None:
    key = make_key(use)
    opened = unwrap(row_of(key), wrap(key, SECRET), SECRET)
    assert numbers(opened) == numbers(key)
    assert (opened.kid, opened.use, opened.algorithm, opened.public_jwk) == (
        key.kid,
        key.use,
        key.algorithm,
        key.public_jwk,
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_access_key_of_each_algorithm_is_wrapped_and_opened_and_published(algorithm: str) -> None:
    key = make_key(Use.ACCESS, algorithm, signs_from=NOW)
    opened = unwrap(row_of(key), wrap(key, SECRET), SECRET)
    token = jwt.encode({}, opened.private, algorithm)
    [published] = KeyRing([opened]).jwks()["keys"]
    assert jwt.decode(token, jwt.PyJWK(published), algorithms=[algorithm]) == {}
    assert (published["alg"], published["use"], published["kid"]) == (algorithm, "sig", key.kid)
    assert set(published) - {"kty", "crv", "x", "y", "n", "e"} == {"kid", "use", "alg"}
    assert opened.signs_from == NOW


def test_a_key_for_rs256_is_as_strong_as_the_others() -> None:
    assert make_key(Use.ACCESS, "RS256").private.key_size == 3072


def test_a_wrapped_key_holds_nothing_of_the_key() -> None:
    key = make_key(Use.LINK)
    wrapped = wrap(key, SECRET)
    assert not any(key.private[at : at + 4] in wrapped for at in range(29))
    assert wrap(key, SECRET) != wrapped


def test_a_wrapped_key_is_a_nonce_of_96_bits_and_what_aes_gcm_makes_with_it() -> None:
    """Another layout, derivation or order of what is bound would make existing databases unreadable."""
    key = make_key(Use.ACCESS)
    wrapped = wrap(key, SECRET)
    bound = json.dumps([key.kid, "access", "ES256", key.public_jwk], sort_keys=True).encode()
    opened = AESGCM(hkdf(SECRET, b"usersvc/key-wrap/v1")).decrypt(wrapped[:12], wrapped[12:], bound)
    assert load_der_private_key(opened, None).private_numbers() == numbers(key)  # type: ignore[union-attr]


@pytest.mark.parametrize("use", Use)
@pytest.mark.parametrize("secret", [OTHER_SECRET, SECRET[:-1], SECRET + " ", SECRET.lower(), ""])
def test_a_wrapped_key_does_not_open_under_another_secret(use: Use, secret: str) -> None:
    key = make_key(use)
    with pytest.raises(WrongSecret):
        unwrap(row_of(key), wrap(key, SECRET), secret)


def test_a_wrapped_key_does_not_open_in_a_changed_row() -> None:
    key, other = make_key(Use.ACCESS), make_key(Use.ACCESS)
    wrapped, row = wrap(key, SECRET), row_of(key)
    assert key.public_jwk
    for changed in (
        {"kid": other.kid},
        {"use": Use.REFRESH},
        {"algorithm": "HS256"},
        {"public_jwk": other.public_jwk},
        {"public_jwk": {**key.public_jwk, "x": key.public_jwk["y"]}},
        {"public_jwk": None},
    ):
        with pytest.raises(WrongSecret):
            unwrap(dataclasses.replace(row, **changed), wrapped, SECRET)


def test_a_key_of_one_use_cannot_be_moved_to_another() -> None:
    key = make_key(Use.LINK)
    for use in (Use.REFRESH, Use.CURSOR, Use.THROTTLE):
        with pytest.raises(WrongSecret):
            unwrap(dataclasses.replace(row_of(key), use=use), wrap(key, SECRET), SECRET)


@pytest.mark.parametrize("at", [0, 11, 12, 20, -1])
def test_a_changed_byte_of_a_wrapped_key_is_seen(at: int) -> None:
    key = make_key(Use.REFRESH)
    changed = bytearray(wrap(key, SECRET))
    changed[at] ^= 1
    with pytest.raises(WrongSecret):
        unwrap(row_of(key), bytes(changed), SECRET)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 12, 20, 28, 59])
def test_a_wrapped_key_that_was_cut_is_seen(length: int) -> None:
    key = make_key(Use.REFRESH)
    with pytest.raises(WrongSecret):
        unwrap(row_of(key), wrap(key, SECRET)[:length], SECRET)


def test_wrong_secret_names_the_key_and_no_secret() -> None:
    key = make_key(Use.LINK)
    with pytest.raises(WrongSecret) as caught:
        unwrap(row_of(key), wrap(key, SECRET), OTHER_SECRET)
    assert str(caught.value) == key.kid


def test_the_check_value_knows_its_secret_and_no_other() -> None:
    check = secret_check(SECRET)
    assert same_secret(SECRET, check)
    for other in (OTHER_SECRET, SECRET + "x", SECRET[:-1], ""):
        assert not same_secret(other, check)
    assert not same_secret(SECRET, b"")
    assert not same_secret(SECRET, check[:-1])


def test_the_check_value_is_the_same_for_ever_and_is_not_the_wrapping_key() -> None:
    """Another derivation would make every existing database refuse its secret."""
    assert secret_check(SECRET) == hkdf(SECRET, b"usersvc/secret-check/v1")
    assert secret_check(SECRET) != hkdf(SECRET, b"usersvc/key-wrap/v1")
    assert SECRET.encode() not in secret_check(SECRET)


def test_a_key_printed_by_accident_shows_no_private_part() -> None:
    key = make_key(Use.LINK)
    assert "private" not in repr(key)
    assert repr(key.private) not in repr(key)
    assert key.kid in repr(key)


def test_the_ring_signs_with_the_key_of_the_time_and_knows_the_others() -> None:
    old, link = make_key(Use.ACCESS, signs_from=NOW - DAY), make_key(Use.LINK)
    new, coming = make_key(Use.ACCESS, signs_from=NOW), make_key(Use.ACCESS, signs_from=NOW + DAY)
    ring = KeyRing([coming, link, new, old])
    signing = [
        ring.current(Use.ACCESS, at)
        for at in (NOW - 2 * DAY, NOW - DAY, NOW - TICK, NOW, NOW + DAY - TICK, NOW + DAY, NOW + 9 * DAY)
    ]
    assert signing == [old, old, old, new, new, coming, coming]
    assert ring.current(Use.LINK, NOW) is link
    assert all(ring.by_kid(key.kid, Use.ACCESS) is key for key in (old, new, coming))


def test_without_a_key_of_a_use_nothing_is_signed_and_nothing_found() -> None:
    ring = KeyRing([key := make_key(Use.LINK)])
    with pytest.raises(KeysUnavailable):
        ring.current(Use.ACCESS, NOW)
    assert ring.by_kid(key.kid, Use.ACCESS) is None


def test_a_key_is_found_for_its_own_use_alone() -> None:
    key = make_key(Use.LINK)
    ring = KeyRing([key])
    assert ring.by_kid(key.kid, Use.LINK) is key
    assert all(ring.by_kid(key.kid, use) is None for use in Use if use is not Use.LINK)
    assert ring.by_kid("unknown", Use.LINK) is None


def test_only_public_parts_of_the_signing_keys_are_published() -> None:
    made = [make_key(use) for use in Use]
    old = make_key(Use.ACCESS)
    published = KeyRing([*made, old]).jwks()["keys"]
    assert {jwk["kid"] for jwk in published} == {made[0].kid, old.kid}
    for jwk in published:
        assert set(jwk) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
        assert (jwk["kty"], jwk["crv"], jwk["use"], jwk["alg"]) == ("EC", "P-256", "sig", "ES256")


def test_the_verifier_is_the_public_part_and_made_once() -> None:
    key = make_key(Use.ACCESS)
    assert isinstance(key.verifier, ec.EllipticCurvePublicKey)
    assert key.verifier is key.verifier
    assert key.verifier.public_numbers() == key.private.public_key().public_numbers()
    symmetric = make_key(Use.REFRESH)
    assert symmetric.verifier == symmetric.private
