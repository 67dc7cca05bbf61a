"""Cursors are sealed: nobody reads one, changes one, or uses it for another list."""

import base64
import json
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.forgery import newest
from usersvc.security import cursors
from usersvc.security.keys import KeyRing, Use, make_key

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
PAYLOAD = {"value": "ada@example.org", "id": "1"}


def _ring(*uses: Use) -> KeyRing:
    return KeyRing(make_key(use) for use in uses or (Use.CURSOR,))


def test_what_was_sealed_comes_back() -> None:
    ring = _ring()
    assert cursors.unseal(ring, "users", cursors.seal(ring, "users", PAYLOAD, at=NOW)) == PAYLOAD


def test_it_comes_back_whatever_its_length_and_its_last_character() -> None:
    ring = _ring()
    for n in range(3000):
        payload = {"id": "x" * (n % 3)}
        assert cursors.unseal(ring, "users", cursors.seal(ring, "users", payload, at=NOW)) == payload


def test_a_cursor_is_a_nonce_of_96_bits_and_what_aes_gcm_makes_with_it() -> None:
    """Another layout would break the cursors that are under way."""
    ring = _ring()
    text = cursors.seal(ring, "users", PAYLOAD, at=NOW).partition(".")[2]
    sealed = base64.urlsafe_b64decode(text + "==")
    opened = AESGCM(newest(ring, Use.CURSOR).private).decrypt(sealed[:12], sealed[12:], b"users")
    assert json.loads(opened) == PAYLOAD


def test_a_cursor_has_2048_characters_at_most() -> None:
    ring = _ring()
    longest, longer = (cursors.seal(ring, "users", {"id": "x" * length}, at=NOW) for length in (1485, 1486))
    assert (len(longest), len(longer)) == (2048, 2049)
    assert cursors.unseal(ring, "users", longest) == {"id": "x" * 1485}
    with pytest.raises(cursors.BrokenCursor):
        cursors.unseal(ring, "users", longer)


def test_a_cursor_goes_into_an_address_and_shows_nothing() -> None:
    ring = _ring()
    one, two = cursors.seal(ring, "users", PAYLOAD, at=NOW), cursors.seal(ring, "users", PAYLOAD, at=NOW)
    assert one != two
    kid, _, text = one.partition(".")
    assert kid == newest(ring, Use.CURSOR).kid
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
    assert b"ada" not in base64.urlsafe_b64decode(text + "==")


def test_a_cursor_of_an_older_key_still_opens() -> None:
    old, new = make_key(Use.CURSOR), make_key(Use.CURSOR, signs_from=NOW)
    cursor = cursors.seal(KeyRing([old]), "users", PAYLOAD, at=NOW)
    assert cursors.unseal(KeyRing([old, new]), "users", cursor) == PAYLOAD


def test_a_cursor_of_another_list_or_ring_is_broken() -> None:
    ring = _ring()
    cursor = cursors.seal(ring, "users", PAYLOAD, at=NOW)
    with pytest.raises(cursors.BrokenCursor):
        cursors.unseal(ring, "audit", cursor)
    with pytest.raises(cursors.BrokenCursor):
        cursors.unseal(_ring(), "users", cursor)


def test_a_key_for_something_else_opens_none() -> None:
    ring = _ring(Use.CURSOR, Use.LINK)
    text = cursors.seal(ring, "users", PAYLOAD, at=NOW).partition(".")[2]
    with pytest.raises(cursors.BrokenCursor):
        cursors.unseal(ring, "users", f"{newest(ring, Use.LINK).kid}.{text}")


def test_every_changed_character_breaks_it() -> None:
    ring = _ring()
    cursor = cursors.seal(ring, "users", PAYLOAD, at=NOW)
    start = cursor.index(".") + 1
    for place in range(start, len(cursor) - 1):
        changed = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
        with pytest.raises(cursors.BrokenCursor):
            cursors.unseal(ring, "users", changed)


@pytest.mark.parametrize("more", [" ", "\n", "====", ".", "%", "é", "\0"])
def test_every_character_more_breaks_it(more: str) -> None:
    ring = _ring()
    cursor = cursors.seal(ring, "users", PAYLOAD, at=NOW)
    for place in (0, cursor.index("."), cursor.index(".") + 1, len(cursor) - 4, len(cursor)):
        with pytest.raises(cursors.BrokenCursor):
            cursors.unseal(ring, "users", cursor[:place] + more + cursor[place:])


@pytest.mark.parametrize(
    "text", ["", "A", "AAAA", "AAAAAAAAAAAAAAAA", "====", "a b", "é", "\ud800", "x" * 9000]
)
def test_what_is_no_cursor_is_broken(text: str) -> None:
    ring = _ring()
    for cursor in (text, f"{newest(ring, Use.CURSOR).kid}.{text}"):
        with pytest.raises(cursors.BrokenCursor):
            cursors.unseal(ring, "users", cursor)
