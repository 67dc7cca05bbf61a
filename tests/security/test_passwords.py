"""The policy for new passwords, the hash that is stored, and how long either may take."""

import base64
import contextlib
import hashlib
import hmac
import time
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

import bcrypt
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from usersvc.errors import WeakPassword
from usersvc.security import passwords, strength
from usersvc.security.hashing_pool import HashingPool
from usersvc.security.passwords import (
    PasswordHasher,
    Policy,
    dummy_hash,
    hash_password,
    is_too_large,
    needs_rehash,
    verify_password,
)

COST = 10
GOOD = "zebra quilt 41 lamp"
EMAIL = "ada.lovelace@example.org"
POLICY = Policy(12, 256, 3)
LENIENT = Policy(12, 256, 0)


@pytest.fixture
def hasher() -> Iterator[PasswordHasher]:
    pool = HashingPool(threads=1)
    yield PasswordHasher(pool, cost=COST)
    pool.close()


def accepts(password: str, policy: Policy = POLICY) -> None:
    policy.check(password, email=EMAIL, username="countess")


def reason(
    password: str, policy: Policy = POLICY, email: str = EMAIL, username: str | None = "countess"
) -> str:
    with pytest.raises(WeakPassword) as caught:
        policy.check(password, email=email, username=username)
    assert password not in str(caught.value)
    return str(caught.value)


def cpu_seconds(work: Callable[[], object]) -> float:
    before = time.thread_time()
    work()
    return time.thread_time() - before


def plain(password: bytes, prefix: bytes = b"2b") -> str:
    """A hash as others make it."""
    made = bcrypt.hashpw(password, bcrypt.gensalt(COST))
    return made.replace(b"$2b$", b"$" + prefix + b"$").decode()


# -- the policy: length


def test_a35_fewest_and_most_characters_are_accepted_and_one_beyond_is_not() -> None:
    letters = "kq7 vx2 wz9 " * 30
    assert "too short: at least 12 characters" in reason(letters[:11], LENIENT)
    accepts(letters[:12], LENIENT)
    accepts(letters[:256], LENIENT)
    assert "too long: at most 256 characters" in reason(letters[:257], LENIENT)


def test_a35_a_character_is_a_code_point_after_normalisation() -> None:
    composed = "é" * 12
    decomposed = unicodedata.normalize("NFD", composed)
    assert len(decomposed) == 24
    accepts(decomposed, LENIENT)
    assert "too short" in reason(decomposed[:22], LENIENT)
    accepts(unicodedata.normalize("NFD", "é" * 256), LENIENT)
    assert "too long" in reason(unicodedata.normalize("NFD", "é" * 257), LENIENT)


def test_a35_an_emoji_is_one_character() -> None:
    accepts("\U0001f600" * 256, LENIENT)
    assert "too short" in reason("\U0001f600" * 11, LENIENT)
    assert "too long" in reason("\U0001f600" * 257, LENIENT)


def test_the_limits_are_those_of_the_settings() -> None:
    policy = Policy(8, 64, 0)
    accepts("qx7vkz2w", policy)
    assert "at least 8 characters" in reason("qx7vkz2", policy)
    assert "at most 64 characters" in reason("q" * 65, policy)
    assert "at most 64 characters" in reason("q" * 5000, policy)


@pytest.mark.parametrize(
    "huge", ["x" * 1_000_000, "\U0001f600" * 300_000, "e\u0301" * 500_000, "\ud800" * 500_000]
)
def test_a37_a_huge_password_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch, huge: str) -> None:
    monkeypatch.setattr(passwords, "normalise", lambda _: pytest.fail("it was worked on"))
    monkeypatch.setattr(strength, "zxcvbn", lambda *_, **__: pytest.fail("it was worked on"))
    assert is_too_large(huge)
    assert "too long" in reason(huge)


def test_too_large_counts_bytes_and_not_characters() -> None:
    assert not is_too_large("x" * 1024)
    assert is_too_large("x" * 1025)
    assert not is_too_large("é" * 512)
    assert is_too_large("é" * 513)
    assert not is_too_large("\U0001f600" * 256)
    assert is_too_large("\U0001f600" * 257)
    assert not is_too_large("\ud800" * 256)


# -- the policy: strength


@pytest.mark.parametrize(
    "password",
    [
        GOOD,
        "83746519283745019",
        "    zebra quilt lamp   ",
        "\U0001f600\U0001f680\U0001f3a9\U0001f984\U0001f355\U0001f40d\U0001f9c0\U0001f308\U0001f6b2\U0001f4a1"
        "\U0001f52d\U0001f41d",
        "Пятница тринадцатое ёж",
        "correct horse battery staple",
        "q" * 30 + "zebra quilt lamp",
        f"{GOOD} " * 12,
    ],
)
def test_a36_digits_blanks_emoji_and_any_script_are_accepted(password: str) -> None:
    accepts(password)


@pytest.mark.parametrize(
    ("password", "advice"),
    [
        ("aaaaaaaaaaaaaaaa", 'Repeats like "aaa"'),
        ("abcabcabcabcabc", 'Repeats like "abcabcabc"'),
        ("abcdefghijklmnop", "Sequences like"),
        ("qwertyuiopasdfgh", "easy to guess"),
        ("iloveyou1234", "commonly used password"),
        ("usersvcusersvc", "easy to guess"),
        ("unbelievable", "Add another word or two."),
        ("\U0001f600" * 64, "Repeats like"),
    ],
)
def test_a37_a_weak_password_is_refused_with_a_reason(password: str, advice: str) -> None:
    why = reason(password)
    assert why.startswith("This password is too easy to guess. ")
    assert advice in why
    assert why.endswith(".")
    assert ".." not in why


@pytest.mark.parametrize("password", ["password1234", "QwertyUiop12", "123456789abc", "MinecraFT123"])
def test_a37_a_common_password_is_refused_in_any_case_and_at_any_score(password: str) -> None:
    assert reason(password, LENIENT) == "This is one of the most common passwords."


@pytest.mark.parametrize(
    "password",
    [
        "ada.lovelace@example.org",
        "my ADA.Lovelace 41 quilt",
        "zebra Countess 41 lamp",
        "xADA.LOVELACE@EXAMPLE.ORGx",
    ],
)
def test_a37_a_password_with_the_address_or_username_in_it_is_refused(password: str) -> None:
    assert reason(password) == "This password contains your e-mail address or username."


def test_a_very_short_name_refuses_no_password_by_chance() -> None:
    POLICY.check("zebra quilt 41 lamp ada", email="ada@example.org", username="qui")


def test_without_a_username_only_the_address_counts() -> None:
    POLICY.check("zebra Countess 41 lamp", email=EMAIL)
    assert "contains" in reason("zebra ada.lovelace 41", username=None)


def test_the_lowest_score_is_that_of_the_settings() -> None:
    accepts("unbelievable", LENIENT)
    middling = "zebra quilts"
    accepts(middling, Policy(12, 256, 2))
    assert "too easy" in reason(middling, Policy(12, 256, 4))


def test_a_person_may_name_himself_only_where_the_rest_is_strong() -> None:
    """zxcvbn knows the names too, so one in disguise counts for little."""
    POLICY.check("gr4bthwyk_zu", email="bob@example.org")
    assert "too easy" in reason("gr4bthwyk_zu", email="grabthwyk_zu@example.org")


@pytest.mark.parametrize("length", [73, 200, 256])
def test_only_the_beginning_of_a_long_password_is_rated_and_that_is_enough(length: int) -> None:
    accepts((f"{GOOD} " * 20)[:length])
    assert "too easy" in reason("a" * length)


@pytest.mark.parametrize(
    "slow", ["4@8({[<369!1|0$5+7%2" * 4, "1990" * 64, "12/3/1999 " * 25, "ab" * 128, "passwordPASSW0RD" * 16]
)
def test_a37_the_check_of_a_password_takes_no_long_work(slow: str) -> None:
    def check() -> None:
        with contextlib.suppress(WeakPassword):
            accepts(slow)

    assert cpu_seconds(check) < 1.0


@hypothesis_settings(
    max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(st.text(st.characters(exclude_categories=()), min_size=0, max_size=40))
def test_the_policy_has_an_answer_to_any_text(password: str) -> None:
    try:
        POLICY.check(password, email=EMAIL, username="countess")
    except WeakPassword:
        return
    assert 12 <= len(unicodedata.normalize("NFC", password)) <= 256


# -- lone surrogates: Python can hold them, no encoding can


def test_a39_a_lone_surrogate_is_refused_in_a_new_password() -> None:
    reason(f"{GOOD} \ud800")


def test_a39_a_lone_surrogate_matches_nothing_and_does_not_crash() -> None:
    assert verify_password("\ud800", hash_password(GOOD, cost=COST)) is False
    assert verify_password("\ud800", hash_password("?", cost=COST)) is False
    assert verify_password("\ud800", plain(GOOD.encode())) is False


# -- the hash


def test_a_password_is_stored_as_bcrypt_over_a_digest_of_all_of_it() -> None:
    stored = hash_password("Zoe\u0308 quilt", cost=COST)
    assert stored.startswith("usersvc1$2b$10$")
    mac = hmac.new(b"usersvc/password/v1", "Zo\u00eb quilt".encode(), hashlib.sha384).digest()
    assert bcrypt.checkpw(base64.b64encode(mac), stored.removeprefix("usersvc1").encode())


def test_a_hash_made_once_verifies_for_ever() -> None:
    """A change of the scheme that keeps its name would lock everybody out."""
    stored = (
        "usersvc1"
        + bcrypt.hashpw(
            base64.b64encode(hmac.digest(b"usersvc/password/v1", GOOD.encode(), "sha384")),
            b"$2b$10$abcdefghijklmnopqrstuu",
        ).decode()
    )
    assert verify_password(GOOD, stored)
    assert not verify_password(GOOD + "x", stored)


def test_the_same_password_gives_another_hash_each_time() -> None:
    assert hash_password(GOOD, cost=COST) != hash_password(GOOD, cost=COST)


def test_the_cost_is_that_of_the_settings() -> None:
    assert hash_password(GOOD, cost=11).startswith("usersvc1$2b$11$")


@pytest.mark.parametrize(
    ("password", "others"),
    [
        ("a" * 72 + "b", ["a" * 72 + "c", "a" * 72, "a" * 73]),
        ("\U0001f600" * 64, ["\U0001f600" * 63, "\U0001f600" * 18, "\U0001f600" * 63 + "\U0001f601"]),
        ("ab\0cd", ["ab\0ce", "ab", "ab\0", "abcd"]),
        (" zebra quilt ", ["zebra quilt", " zebra quilt", "zebra quilt "]),
        ("Zebra", ["zebra", "ZEBRA"]),
        ("\ufb01ve", ["five"]),
        ("", ["\0", " "]),
    ],
    ids=["72 bytes", "emoji", "NUL", "blanks", "case", "ligature", "empty"],
)
def test_a34_only_the_exact_password_verifies(password: str, others: list[str]) -> None:
    stored = hash_password(password, cost=COST)
    assert verify_password(password, stored)
    for other in others:
        assert not verify_password(other, stored)


def test_a35_both_normal_forms_of_a_password_verify() -> None:
    composed, decomposed = "\u00e9t\u00e9 quilt", "e\u0301te\u0301 quilt"
    for one, other in ((composed, decomposed), (decomposed, composed)):
        stored = hash_password(one, cost=COST)
        assert verify_password(one, stored)
        assert verify_password(other, stored)


@pytest.mark.parametrize("prefix", [b"2a", b"2b", b"2y"])
def test_a38_plain_bcrypt_from_elsewhere_verifies(prefix: bytes) -> None:
    stored = plain(GOOD.encode(), prefix)
    assert verify_password(GOOD, stored)
    assert not verify_password(f"{GOOD}!", stored)
    assert needs_rehash(stored, cost=COST)


def test_a34_plain_bcrypt_of_a_long_password_verifies_as_it_was_cut() -> None:
    stored = plain(b"a" * 72)
    assert verify_password("a" * 100, stored)
    assert not verify_password("a" * 71, stored)


def test_a_plain_hash_of_our_digest_is_not_taken_for_our_scheme() -> None:
    ours = hash_password(GOOD, cost=COST)
    assert not verify_password(GOOD, ours.removeprefix("usersvc1"))
    assert not verify_password(GOOD, f"usersvc1{plain(GOOD.encode())}")


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "x",
        "usersvc1",
        "usersvc2$2b$10$" + "a" * 53,
        "$argon2id$v=19$m=1,t=1,p=1$YWFh$YWFh",
        "$1$salt$hash",
        GOOD,
    ],
)
def test_a38_a_form_that_is_not_known_matches_nothing(stored: str) -> None:
    assert verify_password(GOOD, stored) is False
    assert needs_rehash(stored, cost=COST)


@pytest.mark.parametrize(
    "stored", ["$2", "$2b$10$short", "usersvc1$2b$10$", "usersvc1$2b$10$" + "!" * 53, "$2b$99$" + "a" * 53]
)
def test_a38_a_damaged_hash_matches_nothing_and_does_not_crash(stored: str) -> None:
    assert verify_password(GOOD, stored) is False


def test_a38_what_differs_from_a_fresh_hash_in_scheme_or_cost_needs_rehashing() -> None:
    stored = hash_password(GOOD, cost=COST)
    assert not needs_rehash(stored, cost=COST)
    assert needs_rehash(stored, cost=11)
    assert needs_rehash(stored.removeprefix("usersvc1"), cost=COST)
    assert needs_rehash(stored.replace("$2b$", "$2y$"), cost=COST)


# -- the dummy


def test_a_dummy_hash_looks_like_a_real_one_and_nobody_knows_its_password() -> None:
    real, dummy = hash_password(GOOD, cost=COST), dummy_hash(cost=COST)
    assert len(dummy) == len(real)
    assert dummy[: len("usersvc1$2b$10$")] == real[: len("usersvc1$2b$10$")]
    assert not verify_password(GOOD, dummy)
    assert not needs_rehash(dummy, cost=COST)
    assert dummy_hash(cost=COST) != dummy


def test_every_dummy_hash_is_one_that_bcrypt_takes() -> None:
    for _ in range(5):
        dummy = dummy_hash(cost=4).removeprefix("usersvc1").encode()
        assert bcrypt.checkpw(b"x", dummy) is False
        assert bcrypt.hashpw(b"x", dummy)[:29] == dummy[:29]


def test_a13_verifying_a_dummy_is_the_work_of_a_real_bcrypt() -> None:
    real, dummy = hash_password(GOOD, cost=11), dummy_hash(cost=11)
    for_real = min(cpu_seconds(lambda: verify_password("wrong", real)) for _ in range(2))
    for_dummy = min(cpu_seconds(lambda: verify_password("wrong", dummy)) for _ in range(2))
    assert for_real / 3 < for_dummy < for_real * 3


# -- on the pool


def test_the_hasher_hashes_and_verifies_at_its_cost(hasher: PasswordHasher) -> None:
    stored = hasher.hash(GOOD)
    assert stored.startswith(f"usersvc1$2b${COST}$")
    assert hasher.verify(GOOD, stored) is True
    assert hasher.verify(f"{GOOD}!", stored) is False
    assert not hasher.needs_rehash(stored)
    assert not hasher.needs_rehash(stored.replace("$10$", "$12$"))
    assert PasswordHasher(hasher._pool, cost=COST + 1).needs_rehash(stored)


def test_a13_where_there_is_no_hash_a_dummy_of_the_same_cost_is_verified(
    hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified = []

    def spy(password: str, stored: str) -> bool:
        verified.append(stored)
        return verify_password(password, stored)

    monkeypatch.setattr(passwords, "verify_password", spy)
    assert hasher.verify(GOOD, None) is False
    [dummy] = verified
    assert dummy.startswith(f"usersvc1$2b${COST}$")
    assert len(dummy) == len(hash_password(GOOD, cost=COST))


def test_where_there_is_no_hash_even_the_dummys_password_is_refused(
    hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hasher, "_dummy", hash_password(GOOD, cost=COST))
    assert hasher.verify(GOOD, None) is False


def test_hashing_is_counted_to_the_client() -> None:
    asked: list[str | None] = []

    class Counting(HashingPool):
        def run(self, job: Callable[[], object], **whose: Any) -> object:  # type: ignore[override]
            asked.append(whose["client"])
            return super().run(job, **whose)

    pool = Counting(threads=1)
    hasher = PasswordHasher(pool, cost=COST)
    hasher.verify(GOOD, hasher.hash(GOOD, client="192.0.2.1"), client="192.0.2.2")
    hasher.hash(GOOD)
    pool.close()
    assert asked == ["192.0.2.1", "192.0.2.2", None]


def test_a_password_that_no_face_lets_through_is_refused() -> None:
    assert "not allowed" in reason("zebra\0quilt\0lamp 41")
