"""The outbox emptied: claimed by lease, rendered and sent outside any transaction, settled.

At least once: a worker that dies after sending sends again when its lease is over, with the same
Message-ID and the same link, so that a reader sees one mail. Never silently lost: what cannot be
sent is retried with growing pauses for two days, and then stays as `dead`; what the mail server
refuses for good is `failed` at once.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import urlsplit

from jinja2 import TemplateError

from usersvc import logs
from usersvc.core import Core, Tx, retried
from usersvc.errors import DomainError, MailNotSent
from usersvc.locales import Locale, known
from usersvc.mail.errors import LoginRefused, MailRefused
from usersvc.repositories.outbox import OutboxMail
from usersvc.services import _limits, _mails
from usersvc.services._leases import LEASE, patiently, pause
from usersvc.services.actor import Actor

PAUSE_AFTER_REFUSED_LOGIN = timedelta(minutes=1)
_TRIES_OF_A_BROKEN_MAIL = 5

_log = logs.get("usersvc.delivery")


def deliver_due(core: Core, *, owner: str, stopping: Callable[[], bool] = lambda: False) -> int:
    """Send what is due, until nothing is or the process is `stopping`; how many were sent.

    `owner` names the worker in the leases. Any number of workers may do so at once. A mail that
    fails is put off and stops no other one; a refused login ends the run, since all would meet it.
    """
    sent = 0
    while not stopping() and _there_is_mail(core):
        mail = _claim(core, owner)
        if mail is None:
            continue
        with logs.for_request(mail.request_id):
            try:
                sent += _handle(core, mail)
            except DomainError:
                raise  # The database cannot be used; the lease ends by itself.
            except LoginRefused as error:
                _put_back(core, mail, error)
                break
            except Exception as error:
                # Templates are code of others: whatever one raises concerns its mail alone.
                _put_off(core, mail, error)
    return sent


def _there_is_mail(core: Core) -> bool:
    with core.read() as tx:
        held_back = _limits.mails_held_back(core, tx)
        if held_back is not None:
            return tx.outbox.there_is_mail(tx.now, without=held_back)
        if tx.outbox.there_is_mail(tx.now):
            _log.warning("mail waits: throttle.mails_per_hour_in_all is reached")
        return False


@retried
def _claim(core: Core, owner: str) -> OutboxMail | None:
    with core.write() as tx:
        tx.jobs.beat(at=tx.now)
        _limits.hold_mails(core, tx)
        held_back = _limits.mails_held_back(core, tx)
        if held_back is None:
            return None
        mail = tx.outbox.claim_next(owner, at=tx.now, lease_until=tx.now + LEASE, without=held_back)
        if mail and mail.kind not in _REQUESTS:
            _limits.count_mail(core, tx)
        return mail


def _handle(core: Core, mail: OutboxMail) -> bool:
    """Whether a mail went out."""
    if mail.kind in _REQUESTS:
        _resolve(core, mail)
        return False
    return _send(core, mail)


@retried
def _resolve(core: Core, mail: OutboxMail) -> None:
    """A request that nobody waits for: only now is the account looked up."""
    with core.write() as tx:
        resolved = _REQUESTS[mail.kind](core, tx, mail)
        tx.outbox.settle(mail, "sent" if resolved else "dropped", at=tx.now)


def _send(core: Core, mail: OutboxMail) -> bool:
    """Whether it went out; False where its link is dead, so that there is nothing to send any more."""
    link = _link_data(core, mail)
    if link is None:
        _drop(core, mail)
        return False
    data = {"host": urlsplit(core.settings.public_url).netloc, **mail.data, **link}
    message = core.messages.render(
        mail.kind,
        data,
        locale=_locale(core, mail),
        to=mail.address,
        message_id=mail.message_id,
        at=mail.created_at,
    )
    where = core.transport.send(message)
    # What went out and still counts as due goes out twice.
    patiently(lambda: _settle_sent(core, mail))
    _log.info("mail sent", kind=mail.kind, to=mail.address, via=where, attempt=mail.attempts)
    return True


@retried
def _settle_sent(core: Core, mail: OutboxMail) -> None:
    with core.write() as tx:
        _close(tx, mail, "sent")


def _close(tx: Tx, mail: OutboxMail, status: str, *, error: str | None = None) -> bool:
    """Settle a mail; False where the lease was lost. Of some nothing is kept, sent or not."""
    settled = tx.outbox.settle(mail, status, at=tx.now, error=error)
    if settled and mail.kind in _NOT_KEPT:
        tx.outbox.delete(mail.id)
    return settled


@retried
def _drop(core: Core, mail: OutboxMail) -> None:
    with core.write() as tx:
        _limits.give_back_mail(core, tx)
        tx.outbox.settle(mail, "dropped", at=tx.now)


@retried
def _put_off(core: Core, mail: OutboxMail, error: Exception) -> None:
    """Later again, or given up."""
    reason = _reason(error)
    refused = isinstance(error, MailRefused)
    # Jinja calls a missing template an OSError too.
    broken = isinstance(error, TemplateError) or not isinstance(error, OSError)
    with core.write() as tx:
        next_attempt_at = tx.now + pause(mail.attempts)
        if refused or (broken and mail.attempts >= _TRIES_OF_A_BROKEN_MAIL):
            _give_up(tx, mail, "failed", reason)
        elif next_attempt_at >= mail.give_up_at:
            _give_up(tx, mail, "dead", reason)
        else:
            tx.outbox.retry(mail, next_attempt_at=next_attempt_at, error=reason)
    _log.warning("mail not sent", kind=mail.kind, to=mail.address, attempt=mail.attempts, error=reason)


def _give_up(tx: Tx, mail: OutboxMail, status: Literal["failed", "dead"], reason: str) -> None:
    if not _close(tx, mail, status, error=reason):
        return
    action = "mail.failed" if status == "failed" else "mail.dead"
    detail = {"mail": str(mail.id), "kind": mail.kind}
    tx.audit(_job(mail), action, target=mail.user_id, outcome=MailNotSent.code, **detail)


def _job(mail: OutboxMail) -> Actor:
    return replace(Actor.job("deliver_outbox"), request_id=mail.request_id)


@retried
def _put_back(core: Core, mail: OutboxMail, error: LoginRefused) -> None:
    """Due again soon, having lost nothing: neither an attempt nor the time since it was due."""
    reason = _reason(error)
    with core.write() as tx:
        next_attempt_at = tx.now + PAUSE_AFTER_REFUSED_LOGIN
        give_up_at = mail.give_up_at + (next_attempt_at - mail.next_attempt_at)
        _limits.give_back_mail(core, tx)
        tx.outbox.put_back(mail, next_attempt_at=next_attempt_at, give_up_at=give_up_at, error=reason)
    _log.error("mail server refused the login: no mail goes out", error=reason)


def _reason(error: Exception) -> str:
    return logs.mask_text(f"{type(error).__name__}: {error}")[:500]


def _link_data(core: Core, mail: OutboxMail) -> dict[str, str] | None:
    """The link, made now and kept nowhere; None where it is dead or its key is gone."""
    if mail.kind not in _WITH_LINK:
        return {}
    with core.read() as tx:
        token = tx.link_tokens.by_id(mail.link_token_id) if mail.link_token_id else None
        if token and not token.lives(tx.now):
            token = None
    if token is None or _mails.link_secret(core, token) is None:
        return None
    return {"link": _mails.link_address(core, token), "expires_at": _readable(token.expires_at)}


def _locale(core: Core, mail: OutboxMail) -> Locale:
    """The language of whoever reads it, as it is set now."""
    wanted = mail.data.get("locale")
    if wanted is None and mail.user_id:
        with core.read() as tx:
            user = tx.users.by_id(mail.user_id)
        wanted = user.locale if user else None
    return known(wanted) or core.settings.mail.default_locale


def _readable(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _resend_activation(core: Core, tx: Tx, request: OutboxMail) -> bool:
    """The activation link of a pending account; who was invited gets the invitation again."""
    user = tx.users.hold_by_email_key(request.address)
    if user is None or user.status not in ("pending", "invited"):
        return False
    kind = "activation" if user.status == "pending" else "invitation"
    repeats_link = _mails.repeats_link(tx, user, "invitation")
    if not _limits.may_mail(core, tx, kind, user.email_key, repeats_link=repeats_link):
        return False
    _QUEUE[kind](core, tx, user)
    action = "activation.mailed" if kind == "activation" else "invitation.mailed"
    tx.audit(_job(request), action, target=user.id, asked_for=request.kind)
    return True


def _forgot_password(core: Core, tx: Tx, request: OutboxMail) -> bool:
    """A reset link for an active account; who never activated his gets the link that does instead."""
    user = tx.users.hold_by_email_key(request.address)
    if user is None or user.status != "active":
        return _resend_activation(core, tx, request)
    repeats_link = _mails.repeats_link(tx, user, "reset")
    if not _limits.may_mail(core, tx, "password_reset", user.email_key, repeats_link=repeats_link):
        return False
    _mails.queue_reset_mail(core, tx, user)
    tx.audit(_job(request), "password.reset_mailed", target=user.id, asked_for=request.kind)
    return True


_QUEUE = {"activation": _mails.queue_activation_mail, "invitation": _mails.queue_invitation_mail}
_REQUESTS = {"resend_activation": _resend_activation, "forgot_password": _forgot_password}
# Its row has the address of an account that was erased.
_NOT_KEPT = frozenset({"account_erased"})
_WITH_LINK = frozenset({"activation", "invitation", "activated", "password_reset"})
