"""No text, however it is made, takes more time to be looked at than its length."""

import importlib
import pkgutil
import re
import time
from collections.abc import Iterator

import pytest

import usersvc
from tests.factories import EMAIL
from usersvc import logs
from usersvc.api.client_address import client_address, networks
from usersvc.errors import InvalidEmail, InvalidUsername
from usersvc.services.names import parse_email, parse_username

# Where a pattern tries every way to divide such a text, it takes minutes of 20,000 characters.
REPEATED = [
    "a",
    "0",
    "-",
    ".",
    "_",
    "@",
    "a.",
    "a@",
    "a-",
    "0-",
    ":",
    "*",
    ",",
    " ",
    "eyJ",
    "a=",
    "token=",
    "$2b$",
]
ENDS = ["", "!", "@", "é"]
LENGTH = 20_000
MOST_SECONDS = 0.5


def _texts() -> Iterator[str]:
    for part in REPEATED:
        for end in ENDS:
            yield part * (LENGTH // len(part)) + end


def _patterns() -> dict[str, re.Pattern[str]]:
    """Every pattern that a module of ours keeps."""
    found = {}
    for module in pkgutil.walk_packages(usersvc.__path__, "usersvc."):
        if module.name.endswith(("__main__", ".env")) or ".migrations." in module.name:
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, re.Pattern):
                found[f"{module.name}.{name}"] = value
    return found


PATTERNS = _patterns()


def test_a49_there_are_patterns_to_try() -> None:
    assert {"usersvc.services.names._USERNAME", "usersvc.logs._ADDRESS"} <= set(PATTERNS)


@pytest.mark.parametrize("name", PATTERNS)
def test_a49_no_pattern_takes_more_than_the_length_of_a_text(name: str) -> None:
    pattern = PATTERNS[name]
    for text in _texts():
        before = time.thread_time()
        pattern.fullmatch(text if isinstance(pattern.pattern, str) else text.encode("utf-8", "surrogatepass"))
        if name.startswith("usersvc.logs."):  # These look for a place anywhere in a text.
            pattern.sub("", text)
        assert time.thread_time() - before < MOST_SECONDS, text[:20]


def test_a49_no_name_takes_more_than_its_length_to_be_refused() -> None:
    for text in [
        *_texts(),
        *(f"{text}@example.org" for text in _texts()),
        *(f"a@{text}" for text in _texts()),
    ]:
        before = time.thread_time()
        with pytest.raises(InvalidEmail):
            parse_email(text, special_domains=False)
        with pytest.raises(InvalidUsername):
            parse_username(text)
        assert time.thread_time() - before < MOST_SECONDS, text[:20]
    assert parse_email(EMAIL, special_domains=False).key == EMAIL


def test_a49_no_header_takes_more_than_its_length_to_be_read() -> None:
    trusted = networks("192.0.2.7")
    for text in _texts():
        before = time.thread_time()
        client_address("192.0.2.7", [text], trusted)
        logs.printable(text)
        logs.mask_text(text)
        assert time.thread_time() - before < MOST_SECONDS, text[:20]
