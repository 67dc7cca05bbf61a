"""What is held about a person, handed to that person: all of it, and nothing of others."""

import json
from dataclasses import asdict, replace
from uuid import UUID

import pytest

from tests.conftest import Make
from tests.factories import (
    EMAIL,
    OPERATOR,
    PASSWORD,
    STRANGER,
    active,
    an_admin,
    delivered,
    logged_in,
    signed_in,
    user_row,
)
from tests.groups import a_group, put_in
from tests.profiles import schemas_in
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.errors import DomainError, Forbidden, TooManyAttempts, UserNotFound
from usersvc.services import (
    accounts,
    admin,
    email_change,
    export,
    login,
    maintenance,
    passwords,
    profiles,
    sessions,
)

HOME = replace(STRANGER, ip="198.51.100.7")


def test_everything_that_is_held_and_nothing_of_others(
    make_core: Make, core: Core, clock: MovedClock
) -> None:
    core = make_core(**schemas_in(core.settings.data_dir))
    root = replace(signed_in(core, an_admin(core).email), ip="203.0.113.9")
    account = active(core, "Ada@example.org", username="ada")
    ended = logged_in(core)
    sessions.log_out(core, refresh_token=ended.refresh_token, actor=STRANGER)
    by = replace(signed_in(core), ip=HOME.ip)
    profiles.set_attributes(core, user_id=account.id, attributes={"plan": "paid"}, actor=root)
    accounts.change(core, username="lovelace", profile={"points": 1}, actor=by)
    put_in(core, a_group(core), manager=True)
    with pytest.raises(DomainError):
        login.log_in(core, email=EMAIL, password="wrong", actor=replace(HOME, ip="192.0.2.99"))
    passwords.forgot(core, email=EMAIL, actor=HOME)
    delivered(core)
    passwords.forgot(core, email=EMAIL, actor=HOME)

    found = export.export_own(core, actor=by)

    assert found == replace(export.export(core, user_id=account.id, actor=OPERATOR), audit=found.audit)
    user = user_row(core)
    assert asdict(found.account) == {name: getattr(user, name) for name in asdict(found.account)}
    assert found.complete
    assert (found.profile, found.attributes) == ({"points": 1}, {"plan": "paid"})
    assert [(group.name, group.manager) for group in found.groups] == [("desk", True)]
    assert sorted(str(session.end_reason) for session in found.sessions) == ["None", "logged out"]
    assert found.known_networks == 1
    assert found.known_devices == 1
    assert {(mail.kind, mail.status) for mail in found.mails} >= {
        ("activation", "sent"),
        ("password_reset", "sent"),
        ("forgot_password", "due"),
    }
    entries = {entry.action: entry for entry in found.audit}
    assert found.audit[0].action == "user.exported"
    assert entries["user.renamed"].detail == {"before": "ada", "after": "lovelace"}
    assert entries["user.renamed"].ip == HOME.ip
    written = entries["user.attributes_changed"]
    assert (written.actor_kind, written.by_you, written.to_you, written.ip) == ("user", False, True, None)
    assert entries["user.login_failed"].ip is None
    text = json.dumps(asdict(found), default=str)
    for foreign in ("root@example.org", str(root.user_id), "203.0.113.9", "192.0.2.99"):
        assert foreign not in text
    for secret in (user.password_hash, ended.refresh_token, "rnd", "digest", "nonce", "link_token"):
        assert str(secret) not in text


def test_a10_what_became_of_a_new_address_is_not_told(core: Core, clock: MovedClock) -> None:
    """Else who asks for an address learns whether somebody has it."""
    active(core)
    active(core, "bob@example.net")
    told = []
    for email in ("bob@example.net", "nobody@example.net"):
        by = signed_in(core)
        email_change.ask(core, email=email, password=PASSWORD, actor=by)
        delivered(core)
        clock.move(hours=23)
        maintenance.purge(core, actor=OPERATOR)
        found = export.export_own(core, actor=by)
        entries = [entry for entry in found.audit if "email" in entry.action]
        told.append(([mail.kind for mail in found.mails], [entry.action for entry in entries][:1]))
        assert [change.new_email for change in found.email_changes][:1] == [email]
        clock.move(hours=2)
    assert told[0] == told[1]


def test_what_was_done_to_others_is_told_without_them(core: Core) -> None:
    an_admin(core)
    by = signed_in(core, "root@example.org")
    other = active(core)
    admin.set_role(core, user_id=other.id, role="moderator", actor=by)
    found = export.export_own(core, actor=by)
    [done] = [entry for entry in found.audit if entry.action == "user.role_changed"]
    assert (done.by_you, done.to_you, done.detail) == (True, False, {})
    assert str(other.id) not in json.dumps(asdict(found), default=str)


def test_the_newest_come_where_there_are_more(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "MOST", 3)
    active(core)
    by, *_ = (signed_in(core) for _ in range(3))
    found = export.export_own(core, actor=by)
    assert (len(found.sessions), len(found.audit), found.complete) == (3, 3, False)
    assert found.audit[0].action == "user.exported"
    whole = export.export(core, user_id=user_row(core).id, actor=OPERATOR)
    assert whole.complete
    assert whole.audit[1:4] == found.audit


def test_who_reads_often_is_told_to_wait_and_others_cannot_read(core: Core, clock: MovedClock) -> None:
    account = active(core)
    by = signed_in(core)
    for _ in range(core.settings.throttle.requests_per_minute):
        export.export_own(core, actor=by)
    with pytest.raises(TooManyAttempts):
        export.export_own(core, actor=by)
    an_admin(core)
    with pytest.raises(Forbidden):
        export.export(core, user_id=account.id, actor=signed_in(core, "root@example.org"))
    with pytest.raises(UserNotFound):
        export.export(core, user_id=UUID(int=1), actor=OPERATOR)
