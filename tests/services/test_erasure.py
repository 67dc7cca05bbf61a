"""Erasing: what is left of an account, and that it is done again to one that came back."""

from dataclasses import replace
from uuid import UUID

import pytest

from tests.conftest import Make
from tests.database import dump
from tests.factories import (
    EMAIL,
    OPERATOR,
    OTHER_PASSWORD,
    STRANGER,
    active,
    an_admin,
    delivered,
    entries_of,
    invited,
    pending,
    signed_in,
    together,
    user_row,
)
from tests.groups import a_group, put_in
from tests.profiles import schemas_in
from usersvc.core import Core
from usersvc.errors import DomainError, Forbidden, LastAdmin, SessionEnded, UserNotFound
from usersvc.mail.transports import FileTransport
from usersvc.services import (
    accounts,
    admin,
    authorization,
    delivery,
    erasure,
    login,
    passwords,
    profiles,
    registration,
    webhooks,
)
from usersvc.services.actor import Actor

HOME = replace(STRANGER, ip="198.51.100.7", user_agent="Ada's telephone", request_id="ada-asked-for-this")
TRACES = (EMAIL, "countess", "lovelace", "198.51.100.7", "telephone", "marylebone")


def _erased(core: Core) -> list[UUID]:
    return [one.user_id for one in erasure.list_erasures(core, actor=OPERATOR)]


def _forget(core: Core, email: str = EMAIL) -> UUID:
    user_id = user_row(core, email).id
    erasure.forget(core, user_id=user_id, actor=OPERATOR)
    return user_id


def _live(core: Core) -> UUID:
    """Something of everything that is kept about somebody."""
    user_id = active(core, "Ada@example.org", username="countess").id
    registration.register(core, email=EMAIL, password=OTHER_PASSWORD, actor=HOME)
    for wrong in ("wrong", "wrong"):
        with pytest.raises(DomainError):
            login.log_in(core, email=EMAIL, password=wrong, actor=HOME)
    by = replace(signed_in(core), ip=HOME.ip, user_agent=HOME.user_agent, request_id=HOME.request_id)
    accounts.change(core, username="lovelace", profile={"address": {"city": "Marylebone"}}, actor=by)
    profiles.set_attributes(core, user_id=user_id, attributes={"plan": "paid"}, actor=OPERATOR)
    put_in(core, a_group(core))
    passwords.forgot(core, email="ADA@example.org", actor=STRANGER)
    delivered(core)
    passwords.forgot(core, email=EMAIL, actor=STRANGER)
    passwords.change(core, current_password="zebra quilt 41 lamp", new_password=OTHER_PASSWORD, actor=by)
    return user_id


def test_a69_nothing_in_the_database_tells_who_it_was(make_core: Make, core: Core) -> None:
    core = make_core(**schemas_in(core.settings.data_dir))
    webhooks.create(core, url="https://receiver.example/", events=[], actor=OPERATOR)
    bob = active(core, "bob@example.org", username="bob")
    user_id = _live(core)
    before = dump(core).lower()
    assert all(trace in before for trace in TRACES)

    erasure.forget(core, user_id=user_id, actor=OPERATOR)

    assert EMAIL in dump(core).lower(), "the last mail waits"
    [last] = delivered(core)
    assert last["To"] == "Ada@example.org"
    left = dump(core).lower()
    assert [trace for trace in TRACES if trace in left] == []
    assert "ada-asked" not in left
    assert _erased(core) == [user_id]
    with core.read() as tx:
        assert tx.users.by_id(user_id) is None
        told = [entry.action for entry in entries_of(tx, user_id)]
        assert "user.renamed" in told
        assert told[-1] == "user.erased"
        assert tx.deliveries.newest(webhook_id=None, status=None, limit=1)[0].data == {
            "user_id": str(user_id)
        }
    assert admin.show(core, user_id=bob.id, actor=OPERATOR).username == "bob"
    # Address and username are anybody's again.
    assert active(core, username="lovelace").id != user_id


def test_what_others_did_keeps_who_they_were(core: Core) -> None:
    active(core)
    root = replace(signed_in(core, an_admin(core).email), ip="203.0.113.9")
    user_id = user_row(core).id
    admin.set_role(core, user_id=user_id, role="moderator", actor=root)
    _forget(core)
    with core.read() as tx:
        [changed] = [entry for entry in entries_of(tx, user_id) if entry.action == "user.role_changed"]
    assert (changed.actor_id, changed.ip) == (root.user_id, "203.0.113.9")
    assert changed.detail == {"before": "user", "after": "moderator"}


def test_erased_once_is_fine_twice_and_who_never_was_is_not(core: Core) -> None:
    active(core)
    by = signed_in(core)
    user_id = _forget(core)
    before = dump(core)
    erasure.forget(core, user_id=user_id, actor=OPERATOR)
    assert dump(core) == before
    with pytest.raises(UserNotFound):
        erasure.forget(core, user_id=UUID(int=1), actor=OPERATOR)
    with core.read() as tx, pytest.raises(SessionEnded):
        authorization.require(tx, by)


@pytest.mark.parametrize("make", [pending, invited])
def test_who_was_never_let_in_is_erased_too(core: Core, make: Make) -> None:
    make(core)
    user_id = _forget(core)
    assert _erased(core) == [user_id]
    assert EMAIL not in dump(core)


def test_only_operators_erase_and_list(core: Core) -> None:
    root = signed_in(core, an_admin(core).email)
    user_id = active(core).id
    for actor in (root, STRANGER, Actor.job("purge_expired")):
        with pytest.raises(Forbidden):
            erasure.forget(core, user_id=user_id, actor=actor)
        with pytest.raises(Forbidden):
            erasure.forget_again(core, [], actor=actor)
        with pytest.raises(Forbidden):
            list(erasure.list_erasures(core, actor=actor))


def test_a53_of_two_administrators_who_are_erased_at_once_one_stays(core: Core) -> None:
    first, second = an_admin(core).id, an_admin(core, "second@example.org").id
    answers = together(
        *(
            lambda user_id=user_id: erasure.forget(core, user_id=user_id, actor=OPERATOR)  # type: ignore[misc]
            for user_id in (first, second)
        )
    )
    assert sorted(type(answer) for answer in answers if answer) == [LastAdmin]
    assert len(_erased(core)) == 1


def test_mails_that_are_files_go_too(make_core: Make, core: Core) -> None:
    core = make_core()
    core.transport = FileTransport(core.settings.mail_dir)
    for email in (EMAIL, "bob@example.org"):
        registration.register(core, email=email, password=OTHER_PASSWORD, actor=STRANGER)
    delivery.deliver_due(core, owner="test")
    _forget(core)
    [left] = core.settings.mail_dir.glob("*.eml")
    assert "bob@example.org" in left.read_text(encoding="utf-8")


# -- again, after a backup was restored


def test_who_came_back_is_erased_again_and_the_record_is_whole(core: Core) -> None:
    """A restored database does not know its own erasures since."""
    gone = erasure.Erasure(UUID(int=7), core.clock.now())
    back = erasure.Erasure(active(core).id, core.clock.now())
    root = erasure.Erasure(an_admin(core).id, core.clock.now())
    active(core, "bob@example.org")
    done = erasure.forget_again(core, [gone, back, root], actor=OPERATOR)
    assert (done.erased, done.refused) == (1, [root.user_id])
    assert set(_erased(core)) == {gone.user_id, back.user_id}
    assert EMAIL not in dump(core)
    assert user_row(core, "bob@example.org").status == "active"
    before = dump(core)
    assert erasure.forget_again(core, iter([gone, back]), actor=OPERATOR).erased == 0
    assert dump(core) == before
    an_admin(core, "second@example.org")
    assert erasure.forget_again(core, [root], actor=OPERATOR).refused == []


def test_the_first_time_of_an_erasure_stays_and_the_oldest_comes_first(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "_AT_ONCE", 2)
    at = core.clock.now()
    record = [erasure.Erasure(UUID(int=number), at) for number in range(1, 6)]
    erasure.forget_again(core, record[::-1], actor=OPERATOR)
    erasure.forget_again(core, [replace(record[0], erased_at=at.replace(year=2001))], actor=OPERATOR)
    assert list(erasure.list_erasures(core, actor=OPERATOR)) == record
