"""Sequences that nobody thought of: a machine makes them up, does them for real and in tests/faults/model.py.

They are the same few each time: `MODEL_RUNS=1000 pytest tests/faults/test_model.py` goes on to others.
"""

import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Table, select

from tests.conftest import cores, postgresql_values
from tests.databases import Databases
from tests.factories import EMAIL as ADA
from tests.factories import OPERATOR, OTHER_PASSWORD, PASSWORD, STRANGER, token_in
from tests.faults.model import MOST_SESSIONS, AccessToken, Entry, Link, Model, Refused, Session
from usersvc.clock import MovedClock
from usersvc.core import Tx
from usersvc.db.models import audit, outbox, users
from usersvc.db.models import sessions as session_rows
from usersvc.errors import DomainError
from usersvc.mail.transports import MemoryTransport
from usersvc.services import (
    admin,
    delivery,
    first_admin,
    invitations,
    login,
    maintenance,
    passwords,
    registration,
    sessions,
)
from usersvc.services.actor import Actor
from usersvc.services.authentication import authenticate

RUNS = int(os.environ.get("MODEL_RUNS", "6"))
STEPS = 40
# Two days before a leap day, in the middle of a second.
START = datetime(2028, 2, 27, 12, 0, 0, 500_000, tzinfo=UTC)
FIXED = {"throttle__enabled": False, "sessions__max_per_user": MOST_SESSIONS}
BOB = "bob@example.org"
ROOT = "root@example.org"
NOBODY = UUID(int=0)
PURGE = Actor.job("purge_expired")
SECONDS = [timedelta(seconds=1), timedelta(seconds=6), timedelta(seconds=11)]
SHORT = [*SECONDS, timedelta(minutes=9)]
LONG = [timedelta(minutes=31), *(timedelta(hours=hours) for hours in (25, 73))]
LONGEST = [timedelta(days=days) for days in (8, 15, 31, 401)]

Place = tuple[Path, dict[str, object]]
Anew = Callable[[], AbstractContextManager[Place]]

emails = st.sampled_from([ADA, BOB, ROOT])
chosen = st.sampled_from([PASSWORD, OTHER_PASSWORD])
roles = st.sampled_from(["user", "moderator", "admin"])
rarely = st.sampled_from([False, False, False, True])
mostly = st.sampled_from([True, True, True, False])
seconds = st.sampled_from(SECONDS)
times = st.sampled_from([*SHORT * 3, *LONG * 2, *LONGEST])
# Which refresh token, counted back from the current one.
back = st.sampled_from([0, 0, 0, 1, 1, 2])


def _one_that(
    find: Callable[[Model], list[Any]], works: Callable[[Model, Any], bool]
) -> st.SearchStrategy[Any]:
    """One of those that work now; any where none does."""

    def choose(machine: "Usersvc") -> st.SearchStrategy[Any]:
        found = find(machine.model)
        return st.sampled_from([one for one in found if works(machine.model, one)] or found)

    return st.runner().flatmap(choose)


class Usersvc(RuleBasedStateMachine):
    """Does each step in the model and for real: both must end alike."""

    logins = Bundle("logins")
    links = Bundle("links")
    # Most are dead after a while: those that work are as likely as all together.
    session = logins | _one_that(lambda model: model.sessions, Model.session_lives)
    to_activate = links | _one_that(lambda model: model.mailed_links, Model.activates)
    to_reset = links | _one_that(lambda model: model.mailed_links, Model.sets_password)
    # Who administers: an operator, or whoever has this session.
    whoever = st.none() | session

    def __init__(self, anew: Anew) -> None:
        super().__init__()
        self.clock = MovedClock(START)
        self.transport = MemoryTransport()
        self.model = Model(self.clock)
        self.closing = ExitStack()
        folder, values = self.closing.enter_context(anew())
        self.make = self.closing.enter_context(cores(folder, FIXED | values, self.clock, self.transport))
        self.core = self.make()
        with self.core.read() as tx:
            self.model.audit = [_as_entry(row) for row in _rows(tx, audit)]
        self.is_compared = True

    @initialize(target=logins)
    def begin(self) -> MultipleResults[Session]:
        """An administrator and a user, both logged in: without them most steps would be refused."""
        self._do(
            lambda: self.model.create_admin(ROOT, PASSWORD),
            lambda: first_admin.create_admin(self.core, email=ROOT, password=PASSWORD, actor=OPERATOR),
        )
        [link] = self.register(ADA, PASSWORD, worker=True).values
        self.activate(link, None)
        return multiple(*self.log_in(ROOT, wrong=False).values, *self.log_in(ADA, wrong=False).values)

    @initialize(target=links)
    def begin_pending(self) -> MultipleResults[Link]:
        return self.register(BOB, PASSWORD, worker=True)

    # -- registering and activating

    @rule(target=links, email=emails, password=chosen, worker=mostly)
    def register(self, email: str, password: str, worker: bool) -> MultipleResults[Link]:
        self._do(
            lambda: self.model.register(email, password),
            lambda: registration.register(self.core, email=email, password=password, actor=STRANGER),
        )
        return self._deliver(worker)

    @rule(target=links, email=emails, worker=mostly)
    def resend_activation(self, email: str, worker: bool) -> MultipleResults[Link]:
        self._do(
            lambda: self.model.resend_activation(email),
            lambda: registration.resend_activation(self.core, email=email, actor=STRANGER),
        )
        return self._deliver(worker)

    @rule(link=to_activate, password=st.none() | chosen)
    def activate(self, link: Link, password: str | None) -> None:
        self._do(
            lambda: self.model.activate(link, password),
            lambda: registration.activate(self.core, token=link.token, password=password, actor=STRANGER),
        )

    # -- sessions

    @rule(target=logins, email=emails, wrong=rarely)
    def log_in(self, email: str, wrong: bool) -> MultipleResults[Session]:
        password = self._password(email, wrong)
        session, pair = self._do(
            lambda: self.model.log_in(email, password),
            lambda: login.log_in(self.core, email=email, password=password, actor=STRANGER),
        )
        return self._keep(session, pair)

    @rule(session=session, back=back, again=st.lists(seconds, max_size=3))
    def refresh(self, session: Session, back: int, again: list[timedelta]) -> None:
        """And again with the same token, after so much time each; it answers byte for byte as it did."""
        step = max(0, len(session.refresh_tokens) - 1 - back)
        self._refresh(session, step)
        for time in again:
            self.clock.at += time
            self._refresh(session, step)

    @rule(session=session, back=back)
    def log_out(self, session: Session, back: int) -> None:
        token = session.refresh_tokens[max(0, len(session.refresh_tokens) - 1 - back)]
        self._do(
            lambda: self.model.log_out(session),
            lambda: sessions.log_out(self.core, refresh_token=token, actor=STRANGER),
        )

    @rule(session=session)
    def log_out_everywhere(self, session: Session) -> None:
        expected, ended = self._do(
            lambda: self.model.log_out_everywhere(session),
            lambda: sessions.log_out_everywhere(self.core, actor=self._actor(session)),
        )
        assert ended == expected

    # -- passwords

    @rule(target=links, email=emails, worker=mostly, new=st.none() | chosen)
    def forgot(self, email: str, worker: bool, new: str | None) -> MultipleResults[Link]:
        """With a new password where the link is used at once."""
        self._do(
            lambda: self.model.forgot(email),
            lambda: passwords.forgot(self.core, email=email, actor=STRANGER),
        )
        found = self._deliver(worker)
        for link in found.values if new else ():
            self.reset(link, new)
        return found

    @rule(link=to_reset, password=chosen)
    def reset(self, link: Link, password: str) -> None:
        self._do(
            lambda: self.model.reset(link, password),
            lambda: passwords.reset(self.core, token=link.token, new_password=password, actor=STRANGER),
        )

    @rule(target=logins, session=session, wrong=rarely, new=chosen)
    def change_password(self, session: Session, wrong: bool, new: str) -> MultipleResults[Session]:
        current = self._password(session.account.email, wrong)
        replacing, pair = self._do(
            lambda: self.model.change_password(session, current, new),
            lambda: passwords.change(
                self.core, current_password=current, new_password=new, actor=self._actor(session)
            ),
        )
        return self._keep(replacing, pair)

    # -- administration

    @rule(by=whoever, email=emails)
    def deactivate(self, by: Session | None, email: str) -> None:
        self._do(
            lambda: self.model.deactivate(by, email),
            lambda: admin.deactivate(self.core, user_id=self._id(email), actor=self._actor(by)),
        )

    @rule(target=links, by=whoever, email=emails, worker=mostly)
    def let_in(self, by: Session | None, email: str, worker: bool) -> MultipleResults[Link]:
        self._do(
            lambda: self.model.let_in(by, email),
            lambda: admin.activate(self.core, user_id=self._id(email), actor=self._actor(by)),
        )
        return self._deliver(worker)

    @rule(by=whoever, email=emails, role=roles)
    def set_role(self, by: Session | None, email: str, role: str) -> None:
        self._do(
            lambda: self.model.set_role(by, email, role),
            lambda: admin.set_role(self.core, user_id=self._id(email), role=role, actor=self._actor(by)),
        )

    @rule(target=links, by=whoever, email=emails, role=roles, worker=mostly)
    def invite(self, by: Session | None, email: str, role: str, worker: bool) -> MultipleResults[Link]:
        self._do(
            lambda: self.model.invite(by, email, role),
            lambda: invitations.invite(self.core, email=email, role=role, actor=self._actor(by)),
        )
        return self._deliver(worker)

    # -- jobs, time, and the end of a process

    @rule(target=links)
    def deliver(self) -> MultipleResults[Link]:
        return self._deliver()

    @rule(time=times)
    def wait(self, time: timedelta) -> None:
        self.clock.at += time

    @rule(purge=st.booleans())
    def restart(self, purge: bool) -> None:
        """With a worker, which purges where the last time is long ago."""
        self.core.close()
        self.core = self.make()
        if purge:
            self._do(self.model.purge, lambda: maintenance.purge(self.core, actor=PURGE))

    # -- what holds after every step

    @invariant()
    def is_as_the_model_says(self) -> None:
        self.is_compared = False
        with self.core.read() as tx:
            self._compare_accounts(tx)
            self._compare_mails(tx)
            self._compare_audit(tx)
            self._compare_sessions(tx)
        self._try_access_tokens()
        self._look_at_links()
        self.is_compared = True

    def teardown(self) -> None:
        """Refresh tokens are tried at the end, as that uses them up; not where something is wrong already."""
        try:
            if self.is_compared:
                self._try_refresh_tokens()
        finally:
            self.closing.close()

    def _compare_accounts(self, tx: Tx) -> None:
        found = {row.email: row for row in _rows(tx, users)}
        assert {email: (row.status, row.role, bool(row.password_hash)) for email, row in found.items()} == {
            account.email: (account.status, account.role, bool(account.password))
            for account in self.model.accounts.values()
        }
        for email, account in self.model.accounts.items():
            account.id = account.id or found[email].id
            assert account.id == found[email].id
        assert any(row.role == "admin" and row.status == "active" for row in found.values())

    def _compare_mails(self, tx: Tx) -> None:
        """One for each event that causes one, and no other."""
        assert Counter((row.kind, row.address, row.status) for row in _rows(tx, outbox)) == Counter(
            (mail.kind, mail.address, mail.status) for mail in self.model.mails
        )

    def _compare_audit(self, tx: Tx) -> None:
        assert Counter(
            (row.at, row.action, row.actor_kind, row.actor_id, row.target_id, row.outcome)
            for row in _rows(tx, audit)
        ) == Counter(map(_as_row, self.model.audit))

    def _compare_sessions(self, tx: Tx) -> None:
        living = [row for row in _rows(tx, session_rows) if not row.ended_at and row.expires_at > tx.now]
        expected = [one for one in self.model.sessions if self.model.session_lives(one)]
        assert Counter(row.user_id for row in living) == Counter(one.account.id for one in expected)

    def _try_access_tokens(self) -> None:
        for session in self.model.sessions:
            for token in session.access_tokens:
                expected, account = _outcome(partial(self.model.admit, token))
                told, found = _outcome(
                    partial(authenticate, self.core, access_token=token.text, actor=STRANGER)
                )
                assert told == expected
                if account:
                    assert (found[1].id, found[1].role) == (account.id, account.role)

    def _look_at_links(self) -> None:
        """As their pages do, which spends nothing."""
        for link in self.model.mailed_links:
            if link.purpose == "activation":
                works, expected = self.model.activates(link), link.account.password is None
                look = partial(registration.needs_password, self.core, token=link.token)
            else:
                works, expected = self.model.sets_password(link), link.account.status == "invited"
                look = partial(passwords.accepts_invitation, self.core, token=link.token, actor=STRANGER)
            assert _outcome(look) == (("ok", expected) if works else ("INVALID_LINK", None))

    def _try_refresh_tokens(self) -> None:
        for session in list(self.model.sessions):
            self._refresh(session, len(session.refresh_tokens) - 1)
            self._refresh(session, 0)
        self.is_as_the_model_says()

    # -- steps

    def _do(self, should: Callable[[], Any], use: Callable[[], Any]) -> tuple[Any, Any]:
        """What the model and the use case return; two times None where they refuse it, for one reason."""
        self.is_compared = False
        # Mails go out in the order of their times.
        self.clock.move(milliseconds=1)
        expected, wanted = _outcome(should)
        told, result = _outcome(use)
        assert told == expected
        return wanted, result

    def _refresh(self, session: Session, step: int) -> None:
        token = session.refresh_tokens[step]
        _, pair = self._do(
            lambda: self.model.refresh(session, step),
            lambda: sessions.refresh(self.core, refresh_token=token, actor=STRANGER),
        )
        if pair:
            assert session.refresh_tokens[step + 1 :] in ([], [pair.refresh_token])
            self._keep(session, pair)

    def _deliver(self, worker: bool = True) -> MultipleResults[Link]:
        """The links that are known now and were not before."""
        if not worker:
            return multiple()
        sent, _ = self._do(self.model.deliver, lambda: delivery.deliver_due(self.core, owner="test"))
        messages, self.transport.sent = self.transport.sent, []
        assert Counter(map(_kind_and_address, messages)) == Counter(
            (mail.kind, mail.address) for mail in sent
        )
        # Of several mails of one kind to one address, all that go out have the link that lives.
        linked = {(mail.kind, mail.address): mail.link for mail in sent}
        found = [(linked[_kind_and_address(message)], message) for message in messages]
        return multiple(*(link for link, message in found if link and self._learn(link, token_in(message))))

    def _learn(self, link: Link, token: str) -> bool:
        """Whether this link is new; one that was mailed before is mailed as it was."""
        if link.token:
            assert link.token == token
            return False
        assert token not in {other.token for other in self.model.mailed_links}
        link.token = token
        return True

    def _keep(self, session: Session | None, pair: sessions.TokenPair | None) -> MultipleResults[Session]:
        if session is None or pair is None:
            return multiple()
        if pair.refresh_token not in session.refresh_tokens:
            session.refresh_tokens.append(pair.refresh_token)
        session.access_tokens.append(
            AccessToken(session, self.model.access_until(session), pair.access_token)
        )
        return multiple(session)

    def _password(self, email: str, wrong: bool) -> str:
        account = self.model.accounts.get(email)
        right = (account and account.password) or PASSWORD
        return (OTHER_PASSWORD if right == PASSWORD else PASSWORD) if wrong else right

    def _id(self, email: str) -> UUID:
        account = self.model.accounts.get(email)
        return account.id if account and account.id else NOBODY

    def _actor(self, by: Session | None) -> Actor:
        if by is None:
            return OPERATOR
        return authenticate(self.core, access_token=by.access_tokens[-1].text, actor=STRANGER)[0]


def _outcome(act: Callable[[], Any]) -> tuple[str, Any]:
    try:
        return "ok", act()
    except (DomainError, Refused) as error:
        return error.code, None


def _rows(tx: Tx, table: Table) -> list[Any]:
    return list(tx.connection.execute(select(table)))


def _as_entry(row: Any) -> Entry:
    """Of the first start."""
    return Entry(row.at, row.action, row.actor_kind, None, row.outcome)


def _as_row(entry: Entry) -> tuple[object, ...]:
    kind, actor_id = (entry.by, None) if isinstance(entry.by, str) else ("user", entry.by.id)
    return entry.at, entry.action, kind, actor_id, entry.target and entry.target.id, entry.outcome


def _kind_and_address(message: EmailMessage) -> tuple[str, str]:
    found = re.search(r"\.(\w+)@", message["Message-ID"])
    assert found
    return found[1], message["To"].addresses[0].addr_spec


# -- the test


@contextmanager
def _on_sqlite(prepared: Path) -> Iterator[Place]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(shutil.copytree(prepared, Path(folder) / "data")), {}


@contextmanager
def _on_postgresql(prepared: Path, databases: Databases) -> Iterator[Place]:
    with databases.one() as name, _on_sqlite(prepared) as (folder, _):
        yield folder, postgresql_values(databases.server, name)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def anew(request: pytest.FixtureRequest, prepared: Path) -> Anew:
    """A database of its own for each time it is called."""
    if request.param == "sqlite":
        return partial(_on_sqlite, prepared)
    return partial(_on_postgresql, prepared, request.getfixturevalue("prepared_postgresql"))


# What fails is made smaller, which takes its time.
@pytest.mark.timeout(600 + 5 * RUNS)
@pytest.mark.long
def test_r36_whatever_happens_in_whatever_order_ends_as_the_model_says(anew: Anew) -> None:
    # Each run begins with the simplest sequence there is, and later ones would be much like the second.
    for number in range(RUNS):
        run_state_machine_as_test(
            seed(number)(partial(Usersvc, anew)),
            settings=settings(
                max_examples=2,
                stateful_step_count=STEPS,
                database=None,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
