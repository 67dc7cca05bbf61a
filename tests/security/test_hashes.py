"""Hashes that other programs made: known ones verify, and what would cost too much is never begun."""

import logging
import time

import argon2
import bcrypt
import pytest
from passlib import hash as passlib  # libpass

from tests.files import FIREBASE_PASSWORD, PARAMETERS
from usersvc.security import hashes, passwords
from usersvc.security.passwords import needs_rehash, unusable, verify_evenly, verify_password

# Which form a hash has is the same on every database.
pytestmark = pytest.mark.sqlite

KEY = PARAMETERS.signer_key
_FIREBASE = "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ=="

# By whom each was published.
KNOWN = {
    "firebase/scrypt": (
        FIREBASE_PASSWORD,
        f"$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk={KEY}$42xEC+ixf3L2lw==${_FIREBASE}",
    ),
    "RFC 7914, 12, scrypt": (
        "pleaseletmein",
        "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr5"
        "5h6F3A1lHkDfzwF7RVdYhw",
    ),
    "RFC 7914, 11, PBKDF2": (
        "passwd",
        "$pbkdf2-sha256$1$c2FsdA$VawEblbjCJ/sFpHCJUS2BflBhSFt3gRl5oudV8INrLxJypzM8Xm2RZkWZLOdd.8xfHG4RbHjC9UJESBB06GX"
        "gw",
    ),
    "RFC 6070": ("password", "$pbkdf2$4096$c2FsdA$SwB5AbdlSJq.rUnZJvch0GWkKcE"),
    "Ulrich Drepper's SHA-crypt": (
        "Hello world!",
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
    ),
    "phpass's test program": ("test12345", "$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0"),
    "the same of phpBB": ("test12345", "$H$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0"),
    "crypt_blowfish": ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
}


@pytest.mark.parametrize("source", KNOWN)
def test_published_hashes_verify_with_their_password_and_no_other(source: str) -> None:
    password, stored = KNOWN[source]
    assert unusable(stored) is None
    assert len(stored) <= 255
    assert verify_password(password, stored)
    assert not verify_password(f"{password}x", stored)
    assert needs_rehash(stored, cost=10)


MADE = [
    passlib.pbkdf2_sha1.using(rounds=10).hash("pass wörd"),
    passlib.pbkdf2_sha512.using(rounds=10).hash("pass wörd"),
    passlib.django_pbkdf2_sha1.using(rounds=10).hash("pass wörd"),
    passlib.django_pbkdf2_sha256.using(rounds=10).hash("pass wörd"),
    passlib.scrypt.using(rounds=4).hash("pass wörd"),
    passlib.sha512_crypt.using(rounds=1000).hash("pass wörd"),
    argon2.PasswordHasher(1, 8, 1, type=argon2.Type.I).hash("pass wörd"),
    argon2.PasswordHasher(1, 8, 1, type=argon2.Type.ID).hash("pass wörd"),
    bcrypt.hashpw("pass wörd".encode(), bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$"),
]


@pytest.mark.parametrize("stored", MADE, ids=range(len(MADE)))
def test_hashes_of_each_family_as_others_make_them_verify_as_the_password_was_typed(stored: str) -> None:
    assert unusable(stored) is None
    assert verify_password("pass wörd", stored)
    assert not verify_password("pass wo\u0308rd", stored)
    assert not verify_password("pass word", stored)
    assert verify_password("pass w\ud800rd", stored) is False


_ARGON2 = "$argon2id$v=19${}$c29tZXNhbHQ$RdescudvJCsgt3ub.b4dWRWJTmaaJObGRdescudvJCs".replace(".", "+")
_SCRYPT = "$scrypt${}$c2FsdA$" + "A" * 86
BEYOND = {
    "bcrypt": (passwords.dummy_hash(cost=15).removeprefix("usersvc1"), "14"),
    "argon2's memory": (_ARGON2.format("m=262145,t=1,p=1"), "262,144"),
    "argon2's passes": (_ARGON2.format("m=65536,t=17,p=1"), "1,048,576"),
    "argon2's lanes": (_ARGON2.format("m=1024,t=1,p=17"), "16"),
    "PBKDF2": ("pbkdf2_sha256$2000001$salt$" + "A" * 43 + "=", "2,000,000"),
    "PBKDF2's length": ("$pbkdf2-sha256$1000001$c2FsdA$" + "A" * 86, "2,000,000"),
    "scrypt's memory": (_SCRYPT.format("ln=19,r=8,p=1"), "268,435,456"),
    "scrypt's parallelism": (_SCRYPT.format("ln=17,r=8,p=4"), "536,870,912"),
    "Firebase": (f"$fbscrypt$v=1,n=20,r=8,p=1,ss=Bw==,sk={KEY}$c2FsdA==${_FIREBASE}", "268,435,456"),
    "SHA-512 crypt": (f"$6$rounds=1000001$salt${'a' * 86}", "1,000,000"),
    "phpass": (f"$P$J{'a' * 30}", "20"),
}


@pytest.mark.parametrize("what", BEYOND)
def test_what_would_hold_a_core_or_fill_the_memory_is_refused_and_never_begun(
    what: str, caplog: pytest.LogCaptureFixture
) -> None:
    stored, bound = BEYOND[what]
    assert f"more than {bound}" in (unusable(stored) or "")
    begun = time.thread_time()
    with caplog.at_level(logging.WARNING):
        assert verify_password("password", stored) is False
    assert time.thread_time() - begun < 0.2, "a fraction of what it would take"
    assert "cannot be used" in caplog.text
    assert stored not in caplog.text


DAMAGED = [
    "",
    "plain text",
    "md5$salt$" + "0" * 32,
    "$1$salt$hash",
    "$2b$10$short",
    "$2b$03$" + "a" * 53,
    "bcrypt_sha256$$2b$10$",
    "usersvc1$2b$17$" + "a" * 53,
    "usersvc1$2a$10$" + "a" * 53,
    "$argon2id$v=19$m=1,t=1",
    "$argon2id$v=19$m=x,t=1,p=1$c29tZXNhbHQ$RdescudvJCs",
    "pbkdf2_sha256$0$salt$" + "A" * 43 + "=",
    "pbkdf2_md5$10$salt$" + "A" * 22,
    "pbkdf2_sha256$10$salt$AAAA",
    "$pbkdf2-sha256$10$c2FsdA$" + "A" * 41,
    _SCRYPT.format("ln=0,r=8,p=1"),
    _SCRYPT.format("ln=4,r=0,p=1"),
    _SCRYPT.format("ln=16,r=1,p=1"),
    "$2b$04$" + "a" * 53,
    "$argon2id$v=19$m=8,t=1,p=1$\u00e9c29tZXNhbHQ$RdescudvJCs",
    "pbkdf2_sha256$10$sa\0lt$" + "A" * 43 + "=",
    "scrypt$1000$salt$8$1$" + "A" * 86,
    f"$fbscrypt$v=2,n=14,r=8,p=1,sk={KEY}$c2FsdA==${_FIREBASE}",
    "$6$rounds=0$salt$" + "a" * 86,
    "$P$B",
]


@pytest.mark.parametrize("stored", DAMAGED)
def test_what_is_no_whole_hash_of_a_known_form_is_refused_and_matches_nothing(stored: str) -> None:
    assert unusable(stored)
    assert not stored or stored not in (unusable(stored) or "")
    assert verify_password("password", stored) is False


def test_own_hashes_of_every_cost_that_the_settings_allow_can_be_brought_in() -> None:
    assert all(unusable(passwords.dummy_hash(cost=cost)) is None for cost in (10, 12, 16))
    assert not verify_password("password", passwords.dummy_hash(cost=4))


@pytest.mark.parametrize(
    "stored", [MADE[0], "damaged", BEYOND["bcrypt"][0]], ids=["fast", "damaged", "beyond"]
)
def test_a13_a_wrong_password_takes_about_as_long_as_a_hash_of_the_current_cost(
    monkeypatch: pytest.MonkeyPatch, stored: str
) -> None:
    """By a clock that goes as the work does, so that it says the same on a busy machine."""
    worked = 0

    def work(_: str, one: str) -> bool:
        nonlocal worked
        worked += 1 << passwords._cost_of(one) if one.startswith("usersvc1") else 0
        return False

    monkeypatch.setattr(passwords, "verify_password", work)
    monkeypatch.setattr(passwords.time, "perf_counter", lambda: worked)
    assert verify_evenly("wrong", stored, cost=11) is False
    assert worked == 1 << 11


def test_a13_what_takes_longer_by_itself_gets_no_more_than_the_look_at_the_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, dummies = iter([0, 5000, 5000, 5128]), []

    def work(_: str, one: str) -> bool:
        dummies.append(one)
        return False

    monkeypatch.setattr(passwords, "verify_password", work)
    monkeypatch.setattr(passwords.time, "perf_counter", lambda: next(clock))
    assert verify_evenly("wrong", MADE[0], cost=11) is False
    assert len(dummies) == 2


def test_a_right_password_is_not_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "dummy_hash", lambda **_: pytest.fail("a dummy was made"))
    assert verify_evenly("pass wörd", MADE[0], cost=11) is True


def test_a_family_that_is_not_there_is_said_without_the_value() -> None:
    with pytest.raises(hashes.UnusableHash, match="no form of a password hash"):
        hashes.parse("secret thing")


def test_what_a_library_refuses_only_when_it_verifies_matches_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Such a login is refused like any: a crash would tell which accounts have such a hash."""
    monkeypatch.setattr("usersvc.security.hashes.bcrypts._ENDS_A_SALT", "a")
    with caplog.at_level(logging.WARNING):
        assert verify_password("password", "$2b$04$" + "a" * 53) is False
    assert "cannot be used" in caplog.text
