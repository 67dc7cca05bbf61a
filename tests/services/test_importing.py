"""Bringing users in from a file: nobody twice, nobody demoted, nothing half, and on from where it was."""

import csv
import io
import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from tests.conftest import Make
from tests.database import rows
from tests.factories import (
    EMAIL,
    OPERATOR,
    OTHER_PASSWORD,
    PASSWORD,
    STRANGER,
    active,
    an_admin,
    audit_rows,
    deactivated,
    delivered,
    invited,
    logged_in,
    pending,
    signed_in,
    text_of,
    token_in,
    user_row,
)
from tests.files import bring_in, counts, lines
from tests.groups import a_group, names_of, put_in, words
from tests.outbox import Killed
from tests.profiles import schemas_in
from usersvc.core import Core
from usersvc.errors import (
    Forbidden,
    ImportConflict,
    ImportInterfered,
    InvalidCredentials,
    InvalidImport,
    InvalidLink,
    PasswordChangeRequired,
)
from usersvc.security.passwords import hash_password
from usersvc.services import (
    _imports,
    admin,
    email_change,
    erasure,
    importing,
    login,
    login_alerts,
    registration,
    sessions,
    webhooks,
)
from usersvc.services.importing import Counted, Options

HASH = hash_password(PASSWORD, cost=4)
OTHER_HASH = hash_password(OTHER_PASSWORD, cost=4)
ADA_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
ADA: dict[str, Any] = {
    "id": ADA_ID,
    "email": "Ada@example.org",
    "email_verified": True,
    "username": "ada",
    "role": "moderator",
    "status": "active",
    "password_hash": HASH,
    "must_change_password": False,
    "locale": "fr",
    "profile": {"points": 1},
    "attributes": {"plan": "paid"},
    "groups": ["desk"],
    "created_at": "2020-01-01T00:00:00Z",
    "registered_at": "2020-01-01T00:00:00Z",
    "invited_at": None,
    "activated_at": "2020-01-02T00:00:00Z",
    "deactivated_at": None,
    "password_changed_at": "2021-01-01T00:00:00Z",
    "last_login_at": "2022-01-01T00:00:00.123456Z",
    "deletion_due_at": "2099-01-01T00:00:00Z",
}
_CSV_CELLS = {"profile": '{"points": 1}', "attributes": '{"plan": "paid"}', "groups": '["desk"]'}
ACTIVE = {"email_verified": True}


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "_BATCH", 3)


@pytest.fixture
def keeping(make_core: Make, core: Core) -> Core:
    """With schemas for what is kept, and with a group."""
    core = make_core(**schemas_in(core.settings.data_dir))
    a_group(core, "desk", "orders:read")
    return core


def _people(*numbers: int, **more: Any) -> bytes:
    return lines(*({"email": f"u{number}@example.org", **ACTIVE, **more} for number in numbers))


def _emails(core: Core) -> list[str]:
    return sorted(email for (email,) in rows(core, "SELECT email FROM users"))


def _csv(user: dict[str, Any]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(user))
    writer.writeheader()
    writer.writerow({**user, **_CSV_CELLS})
    return text.getvalue().encode("utf-8-sig")


# -- our own form


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "data", [lines(ADA), _csv(ADA), json.dumps([ADA]).encode()], ids=["jsonl", "csv", "json"]
)
def test_a_user_in_our_own_form_comes_in_as_he_was(keeping: Core, data: bytes) -> None:
    done, refused = bring_in(keeping, data)
    assert (counts(done), refused) == ((1, 0, 0, 0), [])
    user = user_row(keeping)
    assert (user.id, user.email, user.username, user.role) == (
        UUID(ADA_ID),
        "Ada@example.org",
        "ada",
        "moderator",
    )
    assert admin.show(keeping, user_id=user.id, actor=OPERATOR).deletion_due_at == datetime(
        2099, 1, 1, tzinfo=UTC
    )
    for name in ("created_at", "registered_at", "activated_at", "password_changed_at", "last_login_at"):
        assert getattr(user, name).isoformat().replace("+00:00", "Z") == ADA[name]
    account = admin.show(keeping, user_id=user.id, actor=OPERATOR)
    assert account.locale == "fr"
    assert not user.must_change_password
    assert (account.profile, account.attributes) == ('{"points":1}', '{"plan":"paid"}')
    assert names_of(keeping) == ["desk"]
    logged_in(keeping)
    assert [entry.target_id for entry in audit_rows(keeping, "user.imported")] == [user.id]
    [finished] = audit_rows(keeping, "import.finished")
    assert finished.detail == {"source": "usersvc", "imported": 1, "updated": 0, "skipped": 0, "refused": 0}


@pytest.mark.sqlite
def test_what_a_spreadsheet_would_take_for_a_formula_comes_back_as_it_was(core: Core) -> None:
    data = b"email,email_verified\n'+tag@example.org,true\n''quoted@example.org,true\no'neill@example.org,1\n"
    bring_in(core, data)
    assert _emails(core) == ["'quoted@example.org", "+tag@example.org", "o'neill@example.org"]


@pytest.mark.sqlite
def test_nobody_comes_back_who_was_erased_and_no_address_that_its_owner_may_have_back(core: Core) -> None:
    account = active(core)
    email_change.set_for(core, user_id=account.id, email="new@example.org", actor=OPERATOR)
    _, refused = bring_in(core, lines({"email": EMAIL, **ACTIVE}))
    assert [(one.line, one.field) for one in refused] == [(1, "email")]
    erasure.forget(core, user_id=account.id, actor=OPERATOR)
    _, refused = bring_in(core, lines({"id": str(account.id), "email": "again@example.org", **ACTIVE}))
    assert [(one.line, one.field) for one in refused] == [(1, "id")]
    assert _emails(core) == []


@pytest.mark.sqlite
def test_nobody_comes_back_who_is_erased_or_moved_while_a_batch_is_written(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL the insert waits for whoever erases, and then finds the place empty."""
    gone, moved = active(core), active(core, "moved@example.org")
    erasure.forget(core, user_id=gone.id, actor=OPERATOR)
    email_change.set_for(core, user_id=moved.id, email="new@example.org", actor=OPERATOR)
    permitted, looked = _imports._Bringing.permitted, [0]

    def look(bringing: Any, given: Any) -> Any:
        looked[0] += 1
        return list(given) if looked[0] == 1 else permitted(bringing, given)

    monkeypatch.setattr(_imports._Bringing, "permitted", look)
    data = lines(
        {"id": str(gone.id), "email": EMAIL, **ACTIVE},
        {"email": "moved@example.org", **ACTIVE},
        {"email": "ivy@example.org", **ACTIVE},
    )
    done, refused = bring_in(core, data)
    assert counts(done) == (1, 0, 0, 2)
    assert [(one.line, one.field) for one in refused] == [(1, "id"), (2, "email")]
    assert _emails(core) == ["ivy@example.org", "new@example.org"]


@pytest.mark.sqlite
def test_a_password_that_its_owner_had_voided_does_not_come_back(core: Core) -> None:
    active(core)
    for ip in ("192.0.2.1", "198.51.100.7"):
        login.log_in(core, email=EMAIL, password=PASSWORD, actor=replace(STRANGER, ip=ip))
    [alert] = [mail for mail in delivered(core) if "end-session" in text_of(mail)]
    login_alerts.end_session(core, token=token_in(alert), actor=STRANGER)
    given = lines({"email": EMAIL, **ACTIVE, "password_hash": HASH})
    assert counts(bring_in(core, given, on_conflict="update")[0]) == (0, 0, 1, 0)
    assert user_row(core).password_hash is None


@pytest.mark.sqlite
def test_who_has_to_replace_a_password_has_to_afterwards(core: Core) -> None:
    bring_in(core, _people(1, password_hash=HASH, must_change_password=True))
    with pytest.raises(PasswordChangeRequired):
        logged_in(core, "u1@example.org")


@pytest.mark.sqlite
def test_whoever_is_not_active_comes_in_as_that(core: Core) -> None:
    given = [
        {"email": "p@example.org", "status": "pending", "password_hash": HASH, "username": "pia"},
        {"email": "i@example.org", "status": "invited", "role": "admin"},
        {"email": "d@example.org", "status": "deactivated", "password_hash": HASH, "email_verified": True},
        {"email": "u@example.org", "password_hash": HASH},
        {"email": "n@example.org", "email_verified": True},
    ]
    assert counts(bring_in(core, lines(*given))[0]) == (5, 0, 0, 0)
    pia, ivy, dora, uma, nia = (user_row(core, one["email"]) for one in given)
    assert (pia.status, pia.password_hash, pia.activated_at) == ("pending", HASH, None)
    assert (ivy.status, ivy.role, ivy.invited_at is None) == ("invited", "admin", False)
    assert (dora.status, dora.deactivated_at is None, dora.activated_at is None) == (
        "deactivated",
        False,
        False,
    )
    assert (uma.status, uma.password_hash, uma.registered_at is None) == ("pending", None, False)
    assert (nia.status, nia.password_hash) == ("active", None)
    # Nobody is told of it but by what they ask for themselves.
    assert delivered(core) == []


@pytest.mark.sqlite
def test_who_was_never_proved_is_let_in_only_by_his_mail_and_chooses_a_password(core: Core) -> None:
    bring_in(core, lines({"email": EMAIL, "password_hash": HASH}))
    with pytest.raises(InvalidCredentials):
        logged_in(core)
    registration.resend_activation(core, email=EMAIL, actor=STRANGER)
    [mail] = delivered(core)
    registration.activate(core, token=token_in(mail), password=OTHER_PASSWORD, actor=STRANGER)
    logged_in(core, EMAIL, OTHER_PASSWORD)
    with pytest.raises(InvalidCredentials):
        logged_in(core)


# -- what is refused


REFUSED: dict[str, tuple[dict[str, Any] | str, str, str]] = {
    "no address": ({"username": "ada"}, "email", "There is no address."),
    "a wrong address": ({"email": "SECRET@"}, "email", "This is not an e-mail address we can use."),
    "no text": ({"email": ["SECRET"]}, "email", "Expected text."),
    "a wrong username": ({"email": EMAIL, "username": "SECRET name"}, "username", "3 to 32"),
    "a wrong role": ({"email": EMAIL, "role": "SECRET"}, "role", "Expected one of user"),
    "a wrong status": ({"email": EMAIL, "status": "SECRET"}, "status", "Expected one of pending"),
    "a wrong id": ({"email": EMAIL, "id": "SECRET"}, "id", "a UUID"),
    "a wrong time": ({"email": EMAIL, "created_at": "SECRET"}, "created_at", "Expected a time"),
    "a time out of bounds": ({"email": EMAIL, "created_at": 10**30}, "created_at", "Expected a time"),
    "a wrong truth": (
        {"email": EMAIL, "email_verified": "SECRET"},
        "email_verified",
        "Expected true or false",
    ),
    "a wrong hash": ({"email": EMAIL, **ACTIVE, "password_hash": "SECRET"}, "password_hash", "no form of"),
    "a long hash": ({"email": EMAIL, **ACTIVE, "password_hash": "$2" * 200}, "password_hash", "at most 255"),
    "an expensive hash": (
        {"email": EMAIL, **ACTIVE, "password_hash": "$2b$15$" + "a" * 53},
        "password_hash",
        "more than 14",
    ),
    "no object": ({"email": EMAIL, **ACTIVE, "profile": [1]}, "profile", "Expected a JSON object"),
    "what does not fit": ({"email": EMAIL, **ACTIVE, "profile": {"points": "SECRET"}}, "profile.points", ""),
    "no such group": ({"email": EMAIL, **ACTIVE, "groups": ["SECRET"]}, "groups", "There is no group"),
    "no list": ({"email": EMAIL, **ACTIVE, "groups": "desk"}, "groups", "JSON array"),
    "a group while pending": ({"email": EMAIL, "status": "pending", "groups": ["desk"]}, "status", "pending"),
    "a role while pending": ({"email": EMAIL, "role": "admin"}, "status", "pending"),
    "a password while invited": (
        {"email": EMAIL, "status": "invited", "password_hash": HASH},
        "password_hash",
        "invited",
    ),
    "a broken line": ('{"email": "SECRET', "", "no JSON"),
    "another value": ("[1]", "", "no JSON object"),
    "a NUL": ({"email": "SECRET\0@example.org"}, "email", "not an e-mail address"),
    "a lone surrogate": ({"email": "\ud800@example.org"}, "email", "not an e-mail address"),
    "a hash with NUL": (
        {"email": EMAIL, **ACTIVE, "password_hash": "pbkdf2_sha256$1$SECRET\0$" + "A" * 43 + "="},
        "password_hash",
        "printable",
    ),
    "a group with NUL": ({"email": EMAIL, **ACTIVE, "groups": ["SECRET\0"]}, "groups", "no group"),
    "a lone surrogate as a group": ({"email": EMAIL, **ACTIVE, "groups": ["\ud800"]}, "groups", "no group"),
    "before all time": (
        {"email": EMAIL, **ACTIVE, "created_at": "0001-01-01T00:00:00+23:59"},
        "created_at",
        "Expected a time",
    ),
    "too deep": ('{"email": ' + "[" * 100_000, "", "no JSON"),
    "too long": ('{"email": "' + "a" * (1 << 20) + '"}', "", "longer than 1 MiB"),
}


@pytest.mark.sqlite
def test_each_refused_line_is_told_with_its_field_and_never_with_its_value(keeping: Core) -> None:
    """Good ones stand between them and come in."""
    given: list[Any] = []
    for number, (line, _, _) in enumerate(REFUSED.values()):
        given += [line, {"email": f"good{number}@example.org", **ACTIVE}]
    done, refused = bring_in(keeping, lines(*given))
    assert counts(done) == (len(REFUSED), 0, 0, len(REFUSED))
    assert [one.line for one in refused] == list(range(1, 2 * len(REFUSED), 2))
    for one, (name, (_, where, reason)) in zip(refused, REFUSED.items(), strict=True):
        assert one.field == where, name
        assert reason in one.reason, name
        assert "SECRET" not in str(one), name


@pytest.mark.sqlite
@pytest.mark.parametrize("deep", [b"[" * 5000, b'{"a":' * 5000, b'"\\"]\\\\",' * 700 + b"[" * 5000])
def test_a_document_that_nests_deep_is_read_no_further(core: Core, deep: bytes) -> None:
    """What reads it keeps the way to each place: of 200 KB it would make many gigabytes."""
    good = json.dumps({"email": EMAIL, **ACTIVE}).encode()
    for document in (b"[" + good + b",[" + deep, b"[" + good + b',"\\\\","]",' + deep):
        with pytest.raises(InvalidImport, match="deeper"):
            bring_in(core, document)


@pytest.mark.sqlite
def test_lines_of_csv_that_cannot_be_read_are_refused_alone(core: Core) -> None:
    data = (
        b"email,email_verified,username\n"
        b"a@example.org,true\n"
        b"b@example.org,true,bea,more\n"
        b'"c@example.org",true,"two\nlines"\n'
        b"\xff@example.org,true,\n"
        b"\n" + b"d@example.org,true," + b"x" * 200_000 + b"\ne@example.org,true,\n"
    )
    _, refused = bring_in(core, data)
    assert _emails(core) == ["a@example.org", "e@example.org"]
    assert [(one.line, one.field) for one in refused] == [(3, ""), (5, "username"), (6, ""), (8, "")]
    with pytest.raises(InvalidImport, match="twice"):
        bring_in(core, b"email,email\n")
    assert counts(bring_in(core, b"")[0]) == (0, 0, 0, 0)


@pytest.mark.sqlite
def test_a_document_that_breaks_off_leaves_what_came_before(core: Core, small_batches: None) -> None:
    whole = json.dumps([{"email": f"u{number}@example.org", **ACTIVE} for number in range(8)])
    with pytest.raises(InvalidImport, match="After 7 users"):
        bring_in(core, whole[:-20].encode())
    assert len(_emails(core)) == 6


# -- conflicts


def test_an_address_is_one_account_however_it_is_written_and_in_whatever_batch(
    core: Core, small_batches: None
) -> None:
    active(core)
    spellings = [
        EMAIL,
        "ADA@example.org",
        "new@example.org",
        "NEW@EXAMPLE.org",
        "x@example.org",
        "New@example.org",
    ]
    given = lines(*({"email": email, **ACTIVE, "password_hash": HASH} for email in spellings))
    assert counts(bring_in(core, given)[0]) == (2, 0, 4, 0)
    assert _emails(core) == [EMAIL, "new@example.org", "x@example.org"]


def test_taken_usernames_and_ids_are_refused(core: Core) -> None:
    active(core, username="ada")
    known = str(user_row(core).id)
    given = lines(
        {"email": "a@example.org", **ACTIVE, "username": "ADA"},
        {"email": "b@example.org", **ACTIVE, "username": "bea"},
        {"email": "c@example.org", **ACTIVE, "username": "bea"},
        {"email": "d@example.org", **ACTIVE, "id": known},
        {"email": "e@example.org", **ACTIVE, "id": ADA_ID},
        {"email": "f@example.org", **ACTIVE, "id": ADA_ID},
    )
    done, refused = bring_in(core, given, on_conflict="update")
    assert counts(done) == (2, 0, 0, 4)
    assert [(one.line, one.field) for one in refused] == [
        (1, "username"),
        (3, "username"),
        (4, "id"),
        (6, "id"),
    ]
    assert _emails(core) == [EMAIL, "b@example.org", "e@example.org"]


@pytest.mark.sqlite
def test_failing_stops_at_the_line_and_keeps_the_batches_before(core: Core, small_batches: None) -> None:
    active(core, "u4@example.org")
    with pytest.raises(ImportConflict, match="Line 5"):
        bring_in(core, _people(*range(6)), on_conflict="fail")
    assert _emails(core) == ["u0@example.org", "u1@example.org", "u2@example.org", "u4@example.org"]
    assert audit_rows(core, "import.finished") == []


@pytest.mark.sqlite
def test_updating_changes_neither_role_nor_status_nor_password(keeping: Core) -> None:
    active(keeping, username="lovelace")
    admin.set_role(keeping, user_id=user_row(keeping).id, role="admin", actor=OPERATOR)
    by = signed_in(keeping)
    before = user_row(keeping)
    demoting = {**ADA, "id": None, "role": "user", "status": "deactivated", "password_hash": OTHER_HASH}
    done, _ = bring_in(keeping, lines(demoting), on_conflict="update")
    assert counts(done) == (0, 1, 0, 0)
    after = user_row(keeping)
    for name in ("id", "email", "role", "status", "password_hash", "created_at", "email_verified_at"):
        assert getattr(after, name) == getattr(before, name), name
    assert after.username == "ada"
    assert names_of(keeping) == ["desk"]
    [entry] = audit_rows(keeping, "user.imported")
    assert entry.detail["changed"] == ["username", "profile", "attributes", "groups"]
    assert sessions.list_own(keeping, actor=by)
    assert counts(bring_in(keeping, lines(demoting), on_conflict="update", again=True)[0]) == (0, 0, 1, 0)


@pytest.mark.sqlite
def test_a_password_is_replaced_only_on_demand_which_ends_sessions_and_is_mailed(core: Core) -> None:
    active(core)
    by = signed_in(core)
    delivered(core)
    given = {"email": EMAIL, **ACTIVE, "password_hash": OTHER_HASH}
    done, _ = bring_in(core, lines(given), on_conflict="update", replace_passwords=True)
    assert counts(done) == (0, 1, 0, 0)
    assert sessions.list_own(core, actor=by) == []
    assert [mail["To"] for mail in delivered(core)] == [EMAIL]
    logged_in(core, EMAIL, OTHER_PASSWORD)
    given |= {"password_hash": HASH, "must_change_password": True}
    bring_in(core, lines(given), on_conflict="update", replace_passwords=True)
    with pytest.raises(PasswordChangeRequired):
        logged_in(core)


@pytest.mark.sqlite
def test_who_has_no_password_gets_that_of_the_file(core: Core) -> None:
    bring_in(core, lines({"email": EMAIL, **ACTIVE}))
    invited(core, "ivy@example.org")
    deactivated(core, "dora@example.org", OTHER_PASSWORD)
    given = [
        {"email": email, **ACTIVE, "password_hash": HASH}
        for email in (EMAIL, "ivy@example.org", "dora@example.org")
    ]
    assert counts(bring_in(core, lines(*given), on_conflict="update")[0]) == (0, 1, 2, 0)
    logged_in(core)
    assert user_row(core, "ivy@example.org").password_hash is None


def test_what_a_stranger_registered_does_not_stand_in_the_way_of_the_owner(keeping: Core) -> None:
    token = pending(keeping, password=OTHER_PASSWORD, username="mallory")
    assert counts(bring_in(keeping, lines(ADA))[0]) == (0, 0, 1, 0)
    assert user_row(keeping).status == "pending"
    assert counts(bring_in(keeping, lines(ADA), on_conflict="update")[0]) == (0, 1, 0, 0)
    user = user_row(keeping)
    assert (user.status, user.username, user.role) == ("active", "ada", "moderator")
    with pytest.raises(InvalidLink):
        registration.activate(keeping, token=token, actor=STRANGER)
    with pytest.raises(InvalidCredentials):
        logged_in(keeping, EMAIL, OTHER_PASSWORD)
    logged_in(keeping)
    unproved = lines({"email": "bob@example.org", "password_hash": HASH})
    pending(keeping, "bob@example.org")
    assert counts(bring_in(keeping, unproved, on_conflict="update")[0]) == (0, 0, 1, 0)


def test_a_taken_username_does_not_break_a_take_over(core: Core) -> None:
    active(core, "bob@example.org", username="ada")
    pending(core)
    given = lines({"email": EMAIL, **ACTIVE, "username": "ada"}, {"email": "new@example.org", **ACTIVE})
    done, refused = bring_in(core, given, on_conflict="update")
    assert (counts(done), refused[0].field) == ((1, 0, 0, 1), "username")
    assert user_row(core).status == "pending"


@pytest.mark.sqlite
def test_groups_that_no_token_can_hold_are_refused(core: Core) -> None:
    active(core)
    a_group(core, "small")
    put_in(core, a_group(core, "large", *words(99)))
    a_group(core, "larger", *words(99))
    both = {**ACTIVE, "groups": ["large", "larger", "small"]}
    _, refused = bring_in(core, lines({"email": "new@example.org", **both}, {"email": EMAIL, **both}))
    assert [one.field for one in refused] == ["groups", "groups"]
    alone = {"email": EMAIL, **ACTIVE, "groups": ["larger"]}
    assert counts(bring_in(core, lines(alone), on_conflict="update")[0]) == (0, 0, 1, 0)
    assert names_of(core) == ["large"]


# -- going on, dry runs


def test_what_was_broken_off_goes_on_where_it_was(core: Core, small_batches: None) -> None:
    data, options = _people(*range(10)), Options()
    digest = importing.digest_of(io.BytesIO(data), options)

    def plan() -> importing.Plan:
        return importing.plan(core, digest=digest, options=options, actor=OPERATOR)

    def break_off(_: object) -> None:
        raise Killed

    for _ in range(2):
        with pytest.raises(Killed):
            importing.run(core, Counted(io.BytesIO(data)), plan=plan(), actor=OPERATOR, settled=break_off)
    assert (plan().progress.records, plan().progress.line, len(_emails(core))) == (6, 6, 6)
    stale = plan()
    done = importing.run(core, Counted(io.BytesIO(data)), plan=plan(), actor=OPERATOR)
    assert (counts(done), done.records) == ((10, 0, 0, 0), 10)
    assert len(audit_rows(core, "user.imported")) == 10
    assert plan().finished_at == done.finished_at
    with pytest.raises(ImportInterfered):
        importing.run(core, Counted(io.BytesIO(data)), plan=stale, actor=OPERATOR)
    assert counts(bring_in(core, data, again=True)[0]) == (0, 0, 10, 0)
    assert counts(bring_in(core, data, trust_addresses=True)[0]) == (0, 0, 10, 0)


def test_a_dry_run_says_the_same_and_keeps_nothing(keeping: Core, small_batches: None) -> None:
    active(keeping, "u1@example.org")
    data = _people(0, 1, 2, 3, 0) + lines(ADA, {"email": "no"})
    before = {
        name: rows(keeping, f"SELECT * FROM {name}")
        for name in ("users", "audit", "imports", "group_members")
    }
    tried, refused = bring_in(keeping, data, dry_run=True)
    after = {name: rows(keeping, f"SELECT * FROM {name}") for name in before}
    assert after == before
    done, refused_in_truth = bring_in(keeping, data)
    assert (counts(tried), refused) == (counts(done), refused_in_truth) == ((4, 0, 2, 1), refused)
    with pytest.raises(ImportConflict, match="Line 5"):
        bring_in(keeping, _people(10, 11, 12, 13, 10), dry_run=True, on_conflict="fail")


@pytest.mark.sqlite
def test_webhooks_are_told_of_each(core: Core) -> None:
    webhooks.create(core, url="https://receiver.example/", actor=OPERATOR)
    bring_in(core, lines({"email": EMAIL, **ACTIVE}, {"email": "bob@example.org"}))
    told = rows(core, "SELECT event FROM webhook_deliveries ORDER BY event")
    assert [event for (event,) in told] == ["user.activated", "user.registered", "user.registered"]


@pytest.mark.sqlite
def test_only_an_operator_imports(core: Core) -> None:
    an_admin(core)
    by = signed_in(core, "root@example.org")
    with pytest.raises(Forbidden):
        importing.plan(core, digest=None, options=Options(), actor=by)
    plan = importing.plan(core, digest=None, options=Options(), actor=OPERATOR)
    with pytest.raises(Forbidden):
        importing.run(core, Counted(io.BytesIO(_people(1))), plan=plan, actor=by)


class _Endless(io.RawIOBase):
    """A file of so many users that is nowhere whole."""

    def __init__(self, users: int) -> None:
        super().__init__()
        self._lines = self._of(users)
        self._rest = b""

    @staticmethod
    def _of(users: int) -> Iterator[bytes]:
        for number in range(users):
            yield json.dumps({"email": f"u{number}@example.org", "note": "x" * 20_000}).encode() + b"\n"

    def read(self, size: int = -1) -> bytes:
        while len(self._rest) < size and (line := next(self._lines, b"")):
            self._rest += line
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


@pytest.mark.sqlite
def test_more_users_need_no_more_memory(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "_BATCH", 20)
    peaks = []
    for users in (60, 300):
        plan = importing.plan(
            core, digest=None, options=Options(fields=(("email_verified", ""),)), actor=OPERATOR
        )
        tracemalloc.start()
        importing.run(core, Counted(_Endless(users)), plan=plan, actor=OPERATOR)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 300_000, peaks
    assert len(_emails(core)) == 300
