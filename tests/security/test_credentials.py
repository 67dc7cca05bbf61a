"""The form of a service's secret: random, recognised by its prefix, checked before the database is asked."""

import re

import pytest

from usersvc.security.credentials import hint_of, is_well_formed, new_credential

# CRC-32 of 43 zeros is 2_018_072_207, in base 62 2CZclj.
KNOWN = "usvc_" + "0" * 43 + "2CZclj"


def test_a_new_one_is_well_formed_and_unlike_every_other() -> None:
    made = {new_credential() for _ in range(200)}
    assert len(made) == 200
    for credential in made:
        assert re.fullmatch(r"usvc_[0-9A-Za-z]{49}", credential)
        assert is_well_formed(credential)
        assert hint_of(credential) == credential[-4:]
    # 256 bits fill 43 digits of base 62: each digit takes many values.
    assert all(len({credential[place] for credential in made}) > 25 for place in range(6, 48))


def test_the_checksum_is_that_of_crc_32() -> None:
    assert is_well_formed(KNOWN)


def test_what_was_mistyped_is_none() -> None:
    for place in range(len(KNOWN)):
        for wrong in ("2", "z", "_", " ", "\u0660"):
            text = KNOWN[:place] + wrong + KNOWN[place + 1 :]
            assert is_well_formed(text) is (text == KNOWN)
    credential = new_credential()
    swapped = [credential[:n] + credential[n + 1] + credential[n] + credential[n + 2 :] for n in range(5, 53)]
    assert all(not is_well_formed(text) for text in swapped if text != credential)


@pytest.mark.parametrize(
    "text", ["", "usvc_", KNOWN[:-1], KNOWN + "0", KNOWN + "\n", " " + KNOWN, KNOWN.upper()]
)
def test_another_form_is_none(text: str) -> None:
    assert not is_well_formed(text)
