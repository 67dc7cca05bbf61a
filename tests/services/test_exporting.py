"""Accounts in a file: all that is kept of them, whole, in two forms that say the same."""

import csv
import io
import json
from typing import Any

import pytest
from sqlalchemy import event

from tests.conftest import Make
from tests.factories import (
    EMAIL,
    OPERATOR,
    active,
    an_admin,
    audit_rows,
    deactivated,
    invited,
    logged_in,
    pending,
    signed_in,
    user_row,
)
from tests.groups import a_group, put_in
from tests.profiles import schemas_in
from usersvc.clock import rfc_3339
from usersvc.core import Core
from usersvc.errors import Forbidden
from usersvc.services import exporting, locales, profiles
from usersvc.services.actor import Actor
from usersvc.services.directory import Filters
from usersvc.services.exporting import FIELDS

EVERYBODY = Filters()


def _bytes(core: Core, form: exporting.Form, filters: Filters = EVERYBODY, **more: Any) -> bytes:
    pieces = list(exporting.export(core, filters=filters, form=form, actor=OPERATOR, **more))
    data = b"".join(piece.data for piece in pieces)
    heading = 1 if form == "csv" else 0
    assert sum(piece.accounts for piece in pieces) == len(data.decode().splitlines()) - heading
    return data


def _lines(core: Core, filters: Filters = EVERYBODY, **more: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _bytes(core, "jsonl", filters, **more).splitlines()]


def _rows(core: Core, filters: Filters = EVERYBODY, **more: Any) -> list[dict[str, str]]:
    text = io.StringIO(_bytes(core, "csv", filters, **more).decode(), newline="")
    return list(csv.DictReader(text, strict=True))


def _read_back(row: dict[str, str]) -> dict[str, Any]:
    """A row of CSV as docs/operations.md says how to read it."""
    found: dict[str, Any] = {}
    for name, cell in row.items():
        text = cell[1:] if cell.startswith("'") else cell
        is_json = name in ("email_verified", "profile", "attributes", "groups")
        found[name] = None if not cell else json.loads(text) if is_json else text
    return found


@pytest.fixture
def several(make_core: Make) -> Core:
    core = make_core(**schemas_in(make_core().settings.data_dir))
    active(core, username="ada")
    profiles.set_profile(core, user_id=user_row(core).id, profile={"points": 1}, actor=OPERATOR)
    locales.set_locale(core, user_id=user_row(core).id, locale="de", actor=OPERATOR)
    profiles.set_attributes(core, user_id=user_row(core).id, attributes={"plan": "paid"}, actor=OPERATOR)
    for name in ("stock", "desk"):
        put_in(core, a_group(core, name))
    logged_in(core)
    pending(core, "=1+1@example.org")
    deactivated(core, "+bob@example.org")
    invited(core, "'ivy@example.org", role="moderator")
    return core


def test_all_that_is_kept_of_an_account_is_in_it(several: Core) -> None:
    found = _lines(several, with_hashes=True)
    user = user_row(several)
    times = ("created_at", "registered_at", "activated_at", "last_login_at")
    assert list(found[0]) == list(FIELDS)
    assert found[0] == {
        "id": str(user.id),
        "email": EMAIL,
        "email_verified": True,
        "username": "ada",
        "role": "user",
        "status": "active",
        "password_hash": user.password_hash,
        "locale": "de",
        "profile": {"points": 1},
        "attributes": {"plan": "paid"},
        "groups": ["desk", "stock"],
        "invited_at": None,
        "deactivated_at": None,
        "deletion_due_at": None,
        "password_changed_at": rfc_3339(user.password_changed_at) if user.password_changed_at else None,
        **{name: rfc_3339(getattr(user, name)) for name in times},
    }
    assert [(each["email"], each["status"], each["role"]) for each in found[1:]] == [
        ("=1+1@example.org", "pending", "user"),
        ("+bob@example.org", "deactivated", "user"),
        ("'ivy@example.org", "invited", "moderator"),
    ]
    assert [each["profile"] for each in found[1:]] == [None, None, None]
    assert [bool(each["password_hash"]) for each in found] == [True, True, True, False]


def test_csv_says_the_same_and_no_cell_of_it_is_a_formula(several: Core) -> None:
    rows = _rows(several, with_hashes=True)
    assert [_read_back(row) for row in rows] == _lines(several, with_hashes=True)
    assert [row["email"] for row in rows[1:]] == [
        "'=1+1@example.org",
        "'+bob@example.org",
        "''ivy@example.org",
    ]
    assert not [cell for row in rows for cell in row.values() if cell.startswith(tuple("=+-@\t\r"))]


@pytest.mark.sqlite
@pytest.mark.parametrize("begins", ["=", "+", "-", "@", "\t", "\r", "'", "''", "'="])
def test_whatever_a_cell_begins_with_is_read_back(begins: str) -> None:
    for text in (begins, f"{begins}cmd|'/c calc'!A0", "plain", 'a"b,c\nd'):
        [[cell]] = csv.reader(io.StringIO(exporting._csv([[exporting._cell(text)]]).decode(), newline=""))
        assert not cell.startswith(tuple("=+-@\t\r"))
        assert (cell[1:] if cell.startswith("'") else cell) == text


def test_without_the_wish_no_hash_is_even_read(several: Core) -> None:
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    with several.read() as tx:
        engine = tx.connection.engine
    event.listen(engine, "before_cursor_execute", note)
    found = _bytes(several, "jsonl") + _bytes(several, "csv")
    event.remove(engine, "before_cursor_execute", note)
    assert [statement for statement in asked if "FROM users" in statement]
    assert not [statement for statement in asked if "password_hash" in statement]
    known = (user_row(several).password_hash or "").encode()
    assert known
    assert known not in found
    assert [each["password_hash"] for each in _lines(several)] == [None] * 4
    assert known in _bytes(several, "csv", with_hashes=True)


def test_pages_have_everybody_once_and_only_those_who_were_asked_for(
    several: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    everybody = _lines(several)
    for size in (1, 3, 4, 5):
        monkeypatch.setattr(exporting, "_AT_ONCE", size)
        assert _lines(several) == everybody
    assert [each["email"] for each in _lines(several, Filters(status="active"))] == [EMAIL]
    assert _bytes(several, "jsonl", Filters(prefix="nobody")) == b""
    assert _bytes(several, "csv", Filters(prefix="nobody")).decode() == ",".join(FIELDS) + "\r\n"


def test_the_audit_says_who_took_what_before_anything_is_read(several: Core) -> None:
    at = several.clock.now()
    pieces = exporting.export(
        several,
        filters=Filters(status="active", created_before=at),
        form="csv",
        with_hashes=True,
        actor=OPERATOR,
    )
    [entry] = audit_rows(several, "users.exported")
    pieces.__next__()
    assert (entry.actor_kind, entry.actor_name) == ("operator", "tester")
    chosen = {"status": "active", "created_before": rfc_3339(at)}
    assert entry.detail == {"accounts": 0, "filters": chosen, "form": "csv", "hashes": True}


def test_hashes_are_for_operators_and_the_rest_for_who_may_read(core: Core) -> None:
    an_admin(core)
    active(core)

    def export(actor: Actor, with_hashes: bool) -> int:
        pieces = exporting.export(core, filters=EVERYBODY, form="jsonl", with_hashes=with_hashes, actor=actor)
        return sum(piece.accounts for piece in pieces)

    root, ada = signed_in(core, "root@example.org"), signed_in(core)
    assert export(root, with_hashes=False) == 2
    for actor, with_hashes in ((root, True), (ada, False), (ada, True)):
        with pytest.raises(Forbidden):
            export(actor, with_hashes)
    assert len(audit_rows(core, "users.exported")) == 1
