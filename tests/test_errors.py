"""The errors of the domain: their codes are what clients program against."""

import re

import pytest

from usersvc import errors
from usersvc.errors import CODES, DomainError, InvalidEmail, KeepWrites, Kind, Overloaded, WeakPassword

CLOSED_LIST = {
    "INVALID_EMAIL": Kind.INVALID,
    "INVALID_WEBHOOK": Kind.INVALID,
    "INVALID_USERNAME": Kind.INVALID,
    "INVALID_GROUP": Kind.INVALID,
    "GROUP_NOT_FOUND": Kind.NOT_FOUND,
    "GROUP_NAME_TAKEN": Kind.CONFLICT,
    "TOO_MANY_GROUPS": Kind.CONFLICT,
    "TOO_MANY_PERMISSIONS": Kind.CONFLICT,
    "TOKEN_TOO_LARGE": Kind.CONFLICT,
    "INVALID_PERMISSION": Kind.INVALID,
    "RESERVED_PERMISSION": Kind.INVALID,
    "INVALID_PROFILE": Kind.INVALID,
    "INVALID_ATTRIBUTES": Kind.INVALID,
    "WEAK_PASSWORD": Kind.INVALID,
    "INVALID_LINK": Kind.INVALID,
    "UNKNOWN_AUDIENCE": Kind.INVALID,
    "INVALID_SERVICE_NAME": Kind.INVALID,
    "INVALID_DESCRIPTION": Kind.INVALID,
    "INVALID_SCOPE": Kind.INVALID,
    "INVALID_CLIENT": Kind.UNAUTHENTICATED,
    "MAY_NOT_REVOKE": Kind.FORBIDDEN,
    "SERVICE_NOT_FOUND": Kind.NOT_FOUND,
    "CREDENTIAL_NOT_FOUND": Kind.NOT_FOUND,
    "SERVICE_NAME_TAKEN": Kind.CONFLICT,
    "TOO_MANY_CREDENTIALS": Kind.CONFLICT,
    "PASSWORD_REQUIRED": Kind.INVALID,
    "NEW_SECRET_MISSING": Kind.INVALID,
    "NEW_SECRET_UNFIT": Kind.INVALID,
    "KEY_NOT_FOUND": Kind.NOT_FOUND,
    "KEY_REFUSED": Kind.CONFLICT,
    "KEYS_CHANGED": Kind.CONFLICT,
    "ROTATION_PENDING": Kind.CONFLICT,
    "KEYS_UNAVAILABLE": Kind.UNAVAILABLE,
    "INVALID_CREDENTIALS": Kind.UNAUTHENTICATED,
    "INVALID_TOKEN": Kind.UNAUTHENTICATED,
    "TOKEN_EXPIRED": Kind.UNAUTHENTICATED,
    "TOKEN_REUSED": Kind.UNAUTHENTICATED,
    "SESSION_ENDED": Kind.UNAUTHENTICATED,
    "ACCOUNT_DEACTIVATED": Kind.FORBIDDEN,
    "ACCOUNT_NOT_ACTIVATED": Kind.FORBIDDEN,
    "REGISTRATION_CLOSED": Kind.FORBIDDEN,
    "WRONG_PASSWORD": Kind.FORBIDDEN,
    "TOO_MANY_ATTEMPTS": Kind.THROTTLED,
    "LOGIN_LOCKED": Kind.THROTTLED,
    "FORBIDDEN": Kind.FORBIDDEN,
    "INVALID_CURSOR": Kind.INVALID,
    "INVALID_IMPORT": Kind.INVALID,
    "IMPORT_CONFLICT": Kind.CONFLICT,
    "IMPORT_INTERFERED": Kind.CONFLICT,
    "LAST_ADMIN": Kind.CONFLICT,
    "NO_LONGER_MATCHES": Kind.CONFLICT,
    "SOME_REFUSED": Kind.CONFLICT,
    "OWN_ACCOUNT": Kind.CONFLICT,
    "USER_NOT_FOUND": Kind.NOT_FOUND,
    "MAIL_NOT_FOUND": Kind.NOT_FOUND,
    "WEBHOOK_NOT_FOUND": Kind.NOT_FOUND,
    "DELIVERY_NOT_FOUND": Kind.NOT_FOUND,
    "DELIVERY_NOT_GIVEN_UP": Kind.CONFLICT,
    "MAIL_NOT_GIVEN_UP": Kind.CONFLICT,
    "SESSION_NOT_FOUND": Kind.NOT_FOUND,
    "EMAIL_TAKEN": Kind.CONFLICT,
    "USERNAME_TAKEN": Kind.CONFLICT,
    "NOT_ACTIVE": Kind.CONFLICT,
    "OVERLOADED": Kind.UNAVAILABLE,
    "DATABASE_BUSY": Kind.UNAVAILABLE,
    "DATABASE_UNAVAILABLE": Kind.UNAVAILABLE,
    "NO_DATABASE": Kind.UNAVAILABLE,
    "SCHEMA_OUTDATED": Kind.UNAVAILABLE,
    "SCHEMA_TOO_NEW": Kind.UNAVAILABLE,
    "COPY_UNFINISHED": Kind.UNAVAILABLE,
    "DATABASE_NOT_EMPTY": Kind.CONFLICT,
    "ROW_REFUSED": Kind.CONFLICT,
    "COPY_DIFFERS": Kind.CONFLICT,
    "BACKUP_EXISTS": Kind.CONFLICT,
    "BACKUP_RUNNING": Kind.CONFLICT,
    "BACKUP_UNFIT": Kind.CONFLICT,
    "DATABASE_IN_USE": Kind.CONFLICT,
    "NO_BACKUP": Kind.INVALID,
    "NOT_RESTORED": Kind.UNAVAILABLE,
    "DUMP_FAILED": Kind.UNAVAILABLE,
    "MAIL_NOT_SENT": Kind.UNAVAILABLE,
    "WEBHOOK_NOT_REACHED": Kind.UNAVAILABLE,
    "BROKEN_TEMPLATES": Kind.INVALID,
    "CHECKS_FAILED": Kind.UNAVAILABLE,
    "ADDRESS_IN_USE": Kind.UNAVAILABLE,
    "NO_ADDRESS": Kind.UNAVAILABLE,
    "NOT_SERVING": Kind.UNAVAILABLE,
    "OTHER_SYSTEM_USER": Kind.FORBIDDEN,
}


def subclasses(of: type[DomainError] = DomainError) -> list[type[DomainError]]:
    return [found for sub in of.__subclasses__() for found in (sub, *subclasses(sub))]


def test_the_codes_of_the_domain_are_a_closed_list_of_known_kinds() -> None:
    found = {code: cls.kind for code, cls in CODES.items() if cls.__module__ == errors.__name__}
    assert found == CLOSED_LIST


def test_every_error_of_a_kind_is_in_the_list_under_its_own_code() -> None:
    of_a_kind = [cls for cls in subclasses() if "kind" in cls.__dict__]
    assert len(of_a_kind) == len({cls.code for cls in of_a_kind}) == len(CODES)
    assert {cls.code: cls for cls in of_a_kind} == CODES


@pytest.mark.parametrize("code", sorted(CODES))
def test_a_code_is_upper_case_words_of_its_class_name(code: str) -> None:
    assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", code)
    assert CODES[code].__name__.upper() == code.replace("_", "")
    assert len(code.split("_")) == len(re.findall(r"[A-Z]", CODES[code].__name__))


@pytest.mark.parametrize("error", CODES.values(), ids=CODES)
def test_every_error_has_a_sentence_for_a_person(error: type[DomainError]) -> None:
    assert error.message.strip().endswith(".")
    assert str(error()) == error.message


@pytest.mark.parametrize("error", CODES.values(), ids=CODES)
def test_every_error_has_one_of_the_seven_kinds(error: type[DomainError]) -> None:
    assert len(Kind) == 7
    assert error.kind in Kind


def test_a_message_of_its_own_replaces_the_general_one_and_leaves_the_code() -> None:
    error = WeakPassword("This password is too short.")
    assert str(error) == "This password is too short."
    assert error.code == "WEAK_PASSWORD"
    assert WeakPassword.message == "This password is too easy to guess."


def test_an_error_says_after_how_long_to_try_again_only_where_that_helps() -> None:
    assert InvalidEmail().retry_after is None
    assert Overloaded(retry_after=3).retry_after == 3
    assert str(Overloaded(retry_after=3)) == Overloaded.message


def test_an_error_made_of_another_without_a_kind_keeps_its_code() -> None:
    class EvenWeaker(WeakPassword):
        pass

    assert EvenWeaker.code == "WEAK_PASSWORD"
    assert CODES["WEAK_PASSWORD"] is WeakPassword
    assert "EVEN_WEAKER" not in CODES


def test_keeping_writes_carries_the_error_and_is_none_itself() -> None:
    error = InvalidEmail()
    kept = KeepWrites(error)
    assert kept.error is error
    assert not isinstance(kept, DomainError)
