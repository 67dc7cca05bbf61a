"""What must hold of accounts, sessions, links, mails and the audit after each step, in plain Python.

The rules are written down here a second time, so that a slip in either shows: nothing is imported from
usersvc but its clock, and nothing is asked of it but ids and the text of tokens, which a machine fills in.
A method does what a use case should do to all of these, or raises Refused; what a refusal writes is written.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NoReturn
from uuid import UUID

from usersvc.clock import Clock

MOST_SESSIONS = 2
"""Of a user; less than the default, so that it is reached."""
ACCESS = timedelta(minutes=10)
LEEWAY = timedelta(seconds=30)
GRACE = timedelta(seconds=10)
IDLE = timedelta(days=14)
ABSOLUTE = timedelta(days=30)
LIFETIMES = {
    "activation": timedelta(hours=24),
    "invitation": timedelta(hours=72),
    "reset": timedelta(minutes=30),
}
REVOCABLE = timedelta(days=7)
DEVICE_KNOWN = timedelta(days=90)
KEPT_SESSIONS = timedelta(days=30)
KEPT_MAILS = timedelta(days=7)
KEPT_PENDING = timedelta(days=7)
KEPT_AUDIT = timedelta(days=400)


class Refused(Exception):
    """The use case ends with this code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(eq=False)
class Account:
    email: str
    status: str
    password: str | None
    begun_at: datetime
    """When it was registered or invited the last time."""
    role: str = "user"
    was_active: bool = False
    logged_in_at: datetime | None = None
    """The last time."""
    id: UUID | None = None


@dataclass(eq=False)
class AccessToken:
    session: "Session"
    expires_at: datetime
    text: str = ""


@dataclass(eq=False)
class Session:
    account: Account
    used_at: datetime
    expires_at: datetime
    absolute_at: datetime
    ended: bool = False
    expiries: list[datetime] = field(default_factory=list)
    """Of its refresh tokens, the current one last."""
    refresh_tokens: list[str] = field(default_factory=list)
    access_tokens: list[AccessToken] = field(default_factory=list)


@dataclass(eq=False)
class Link:
    purpose: str
    account: Account
    expires_at: datetime
    dead: bool = False
    token: str | None = None
    """None until it is mailed."""


@dataclass(eq=False)
class Mail:
    kind: str
    address: str
    at: datetime
    account: Account | None = None
    link: Link | None = None
    status: str = "due"


@dataclass(frozen=True, eq=False)
class Entry:
    at: datetime
    action: str
    by: Account | str
    """A user, or the kind of another actor."""
    target: Account | None
    outcome: str


class Model:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.accounts: dict[str, Account] = {}
        self.sessions: list[Session] = []
        self.links: list[Link] = []
        self.mails: list[Mail] = []
        self.audit: list[Entry] = []

    @property
    def now(self) -> datetime:
        return self._clock.now()

    # -- what lives

    def session_lives(self, session: Session) -> bool:
        return not session.ended and session.expires_at > self.now

    def living_sessions(self, account: Account) -> list[Session]:
        return [s for s in self.sessions if s.account is account and self.session_lives(s)]

    def link_lives(self, link: Link) -> bool:
        return not link.dead and link.expires_at > self.now

    @property
    def mailed_links(self) -> list[Link]:
        return [link for link in self.links if link.token]

    def activates(self, link: Link) -> bool:
        return link.purpose == "activation" and self.link_lives(link) and link.account.status == "pending"

    def sets_password(self, link: Link) -> bool:
        account = link.account
        if link.purpose == "invitation":
            fits = account.password is None and account.status in ("invited", "active")
        else:
            fits = link.purpose == "reset" and account.status == "active"
        return fits and self.link_lives(link)

    def admit(self, token: AccessToken) -> Account:
        """Whom an access token speaks for."""
        if _in_token(token.expires_at) + LEEWAY <= self.now:
            raise Refused("TOKEN_EXPIRED")
        if not self.session_lives(token.session):
            raise Refused("SESSION_ENDED")
        return token.session.account

    # -- registering and activating

    def create_admin(self, email: str, password: str) -> None:
        account = Account(email, "active", password, self.now, role="admin", was_active=True)
        self.accounts[email] = account
        self._tell("user.created", account, by="operator")

    def register(self, email: str, password: str) -> None:
        known = self.accounts.get(email)
        account = known or Account(email, "pending", password, self.now)
        self.accounts[email] = account
        self._tell("user.registered_again" if known else "user.registered", account)
        if account.status == "pending":
            account.password = password if account.password == password else None
            account.begun_at = self.now
            self._mail_link("activation", account)
        elif account.status == "invited":
            self._mail_link("invitation", account)
        elif account.status == "active":
            self._mail("already_registered", account)

    def resend_activation(self, email: str) -> None:
        self.mails.append(Mail("resend_activation", email, self.now))
        self._tell("activation.requested")

    def activate(self, link: Link, password: str | None) -> None:
        if not self.activates(link):
            raise Refused("INVALID_LINK")
        if link.account.password is None and password is None:
            raise Refused("PASSWORD_REQUIRED")
        self._spend(link, link.account.password or password)

    # -- sessions

    def log_in(self, email: str, password: str) -> Session:
        account = self.accounts.get(email)
        if account is None or account.password != password or account.status == "pending":
            self._fail("user.login_failed", account, "INVALID_CREDENTIALS")
        if account.status == "deactivated":
            self._fail("user.login_failed", account, "ACCOUNT_DEACTIVATED")
        session = self._open_session(account)
        self._alert(account)
        self._tell("user.logged_in", account, by=account)
        return session

    def _alert(self, account: Account) -> None:
        """Everybody has one device, so only who was away for long is new to it."""
        if account.logged_in_at and account.logged_in_at < self.now - DEVICE_KNOWN:
            link = Link("login_revoke", account, self.now + REVOCABLE)
            self.links.append(link)
            self._mail("new_login", account, link)
        account.logged_in_at = self.now

    def refresh(self, session: Session, step: int) -> None:
        """Use its refresh token number `step`."""
        if _in_token(session.expiries[step]) <= self.now:
            raise Refused("TOKEN_EXPIRED")
        if not self.session_lives(session):
            raise Refused("SESSION_ENDED")
        current = len(session.expiries) - 1
        if step == current:
            session.used_at = self.now
            session.expires_at = min(self.now + IDLE, session.absolute_at)
            session.expiries.append(session.expires_at)
        elif step != current - 1 or self.now - session.used_at > GRACE:
            session.ended = True
            self._mail("session_ended", session.account)
            self._fail("session.ended_after_reuse", session.account, "TOKEN_REUSED")

    def log_out(self, session: Session) -> None:
        if not session.ended:
            session.ended = True
            self._tell("session.logged_out", session.account, by=session.account)

    def log_out_everywhere(self, session: Session) -> int:
        account = self.admit(session.access_tokens[-1])
        self._tell("session.logged_out_everywhere", account, by=account)
        return self._end_sessions(account)

    def access_until(self, session: Session) -> datetime:
        return min(self.now + ACCESS, session.absolute_at)

    # -- passwords

    def forgot(self, email: str) -> None:
        self.mails.append(Mail("forgot_password", email, self.now))
        self._tell("password.forgotten")

    def reset(self, link: Link, password: str) -> None:
        if not self.sets_password(link):
            raise Refused("INVALID_LINK")
        if link.account.status == "invited":
            self._spend(link, password)
            return
        self._set_password(link.account, password)
        self._tell("password.reset", link.account)

    def change_password(self, session: Session, current: str, new: str) -> Session:
        account = self.admit(session.access_tokens[-1])
        if account.password != current:
            self._fail("password.change_failed", account, "WRONG_PASSWORD", by=account)
        self._set_password(account, new)
        self._tell("password.changed", account, by=account)
        return self._open_session(account)

    # -- administration; `by` is the session of who does it, None for an operator

    def deactivate(self, by: Session | None, email: str) -> None:
        actor = self._administrator(by)
        account = self._account(email, actor)
        if account.status == "deactivated":
            return
        self._require_another_admin(account)
        if account.status == "active":
            self._mail("deactivated", account)
        if not account.was_active:
            account.password = None
        account.status = "deactivated"
        self._end_sessions(account)
        self._kill_links(account)
        self._tell("user.deactivated", account, by=actor)

    def let_in(self, by: Session | None, email: str) -> None:
        actor = self._administrator(by)
        account = self._account(email)
        if account.status == "active":
            return
        self._kill_links(account)
        if account.was_active and account.password:
            self._mail("reactivated", account)
        else:
            account.password = None
            self._mail("activated", account, self._link("invitation", account))
        self._make_active(account, by=actor)

    def set_role(self, by: Session | None, email: str, role: str) -> None:
        actor = self._administrator(by)
        account = self._account(email, actor)
        if account.role == role:
            return
        if role != "user" and account.status not in ("active", "invited"):
            raise Refused("NOT_ACTIVE")
        self._require_another_admin(account)
        account.role = role
        self._tell("user.role_changed", account, by=actor)

    def invite(self, by: Session | None, email: str, role: str) -> None:
        actor = self._administrator(by)
        account = self.accounts.setdefault(email, Account(email, "pending", None, self.now))
        if account.status != "pending":
            raise Refused("EMAIL_TAKEN")
        account.status, account.role, account.password = "invited", role, None
        account.begun_at = self.now
        self._kill_links(account)
        self._mail_link("invitation", account)
        self._tell("user.invited", account, by=actor)

    @property
    def active_admins(self) -> list[Account]:
        return [a for a in self.accounts.values() if a.role == "admin" and a.status == "active"]

    # -- jobs

    def deliver(self) -> list[Mail]:
        """The mails that go out now."""
        sent = []
        for mail in self.mails:  # Grows meanwhile: what was asked for becomes a mail.
            if mail.status != "due":
                continue
            if mail.kind in ("resend_activation", "forgot_password"):
                mail.status = "sent" if self._resolve(mail) else "dropped"
            elif mail.link and not self.link_lives(mail.link):
                mail.status = "dropped"
            else:
                mail.status = "sent"
                sent.append(mail)
        return sent

    def purge(self) -> None:
        for session in self.sessions:
            if session.expires_at < self.now - KEPT_SESSIONS:
                session.ended = True
        gone = [account for account in self.accounts.values() if self._is_abandoned(account)]
        self.mails = [mail for mail in self.mails if self._is_kept(mail) and mail.account not in gone]
        for account in gone:
            del self.accounts[account.email]
            self._tell("user.purged", account, by="job")
        kept = [entry for entry in self.audit if entry.at >= self.now - KEPT_AUDIT]
        if kept != self.audit:
            self.audit = kept
            self._tell("audit.purged", by="job")
        self._tell("data.purged", by="job")

    # -- steps

    def _account(self, email: str, actor: Account | str | None = None) -> Account:
        account = self.accounts.get(email)
        if account is None:
            raise Refused("USER_NOT_FOUND")
        if account is actor:
            raise Refused("OWN_ACCOUNT")
        return account

    def _administrator(self, by: Session | None) -> Account | str:
        if by is None:
            return "operator"
        account = self.admit(by.access_tokens[-1])
        if account.role != "admin":
            raise Refused("FORBIDDEN")
        return account

    def _require_another_admin(self, account: Account) -> None:
        if self.active_admins == [account]:
            raise Refused("LAST_ADMIN")

    def _spend(self, link: Link, password: str | None) -> None:
        """For an account that was never active."""
        link.dead = True
        link.account.password = password
        self._make_active(link.account)

    def _make_active(self, account: Account, by: Account | str = "anonymous") -> None:
        account.status = "active"
        account.was_active = True
        self._tell("user.activated", account, by=by)

    def _set_password(self, account: Account, password: str) -> None:
        if account.password:
            self._mail("password_changed", account)
        account.password = password
        self._kill_links(account)
        self._end_sessions(account)

    def _open_session(self, account: Account) -> Session:
        living = self.living_sessions(account)
        surplus = sorted(living, key=lambda s: s.used_at)[: max(0, len(living) - MOST_SESSIONS + 1)]
        for session in surplus:
            session.ended = True
        if surplus:
            self._tell("session.ended_as_surplus", account)
        expires_at = self.now + IDLE
        session = Session(account, self.now, expires_at, self.now + ABSOLUTE, expiries=[expires_at])
        self.sessions.append(session)
        return session

    def _end_sessions(self, account: Account) -> int:
        living = self.living_sessions(account)
        for session in living:
            session.ended = True
        return len(living)

    def _kill_links(self, account: Account) -> None:
        for link in self.links:
            # Who broke in must not be able to end what undoes his login.
            link.dead = link.dead or (link.account is account and link.purpose != "login_revoke")

    def _link(self, purpose: str, account: Account) -> Link:
        """A new activation link is the only one from then on; of the others, the one that lives goes on."""
        for link in self.links:
            if link.account is account and link.purpose == purpose and self.link_lives(link):
                if purpose != "activation":
                    return link
                link.dead = True
        made = Link(purpose, account, self.now + LIFETIMES[purpose])
        self.links.append(made)
        return made

    def _mail_link(self, kind: str, account: Account) -> None:
        purpose = "reset" if kind == "password_reset" else kind
        self._mail(kind, account, self._link(purpose, account))

    def _mail(self, kind: str, account: Account, link: Link | None = None) -> None:
        self.mails.append(Mail(kind, account.email, self.now, account, link))

    def _resolve(self, request: Mail) -> bool:
        """Whether what was asked for leads to a mail, as the account stands now."""
        account = self.accounts.get(request.address)
        kinds = {"pending": "activation", "invited": "invitation"}
        if request.kind == "forgot_password":
            kinds["active"] = "password_reset"
        kind = kinds.get(account.status) if account else None
        if account is None or kind is None:
            return False
        self._mail_link(kind, account)
        action = "password.reset_mailed" if kind == "password_reset" else f"{kind}.mailed"
        self._tell(action, account, by="job")
        return True

    def _is_kept(self, mail: Mail) -> bool:
        return mail.status == "due" or mail.at >= self.now - KEPT_MAILS

    def _is_abandoned(self, account: Account) -> bool:
        if account.status not in ("pending", "invited") or account.begun_at >= self.now - KEPT_PENDING:
            return False
        return not any(link.account is account and self.link_lives(link) for link in self.links)

    def _tell(
        self,
        action: str,
        target: Account | None = None,
        *,
        by: Account | str = "anonymous",
        outcome: str = "ok",
    ) -> None:
        self.audit.append(Entry(self.now, action, by, target, outcome))

    def _fail(
        self, action: str, target: Account | None, code: str, *, by: Account | str = "anonymous"
    ) -> NoReturn:
        self._tell(action, target, by=by, outcome=code)
        raise Refused(code)


def _in_token(at: datetime) -> datetime:
    """Tokens count whole seconds."""
    return at.replace(microsecond=0)
