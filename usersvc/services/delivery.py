"""The outbox emptied: claimed by lease, rendered and sent outside any transaction, settled.

At least once: a worker that dies after sending sends again when its lease is over, with the same
Message-ID and the same link, so that a reader sees one mail. Never silently lost: what cannot be
sent is retried with growing pauses for two days, and then stays as `dead`.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from jinja2 import TemplateError

from usersvc import logs
from usersvc.core import Core, Tx
from usersvc.repositories.link_tokens import LinkToken
from usersvc.repositories.outbox import OutboxMail
from usersvc.services import _steps

LEASE = timedelta(minutes=5)
PAUSES = [timedelta(minutes=m) for m in (1, 5, 15, 60, 180, 360)]
_TRIES_OF_A_BROKEN_MAIL = 5

_log = logs.get("usersvc.delivery")


@dataclass(frozen=True)
class _Ready:
    """A claimed mail that is worth sending, with what its template needs."""

    mail: OutboxMail
    data: dict[str, Any]


def deliver_due(core: Core, *, owner: str, stopping: Callable[[], bool] = lambda: False) -> int:
    """Send what is due, until nothing is or the process is `stopping`; how many were sent.

    `owner` names the worker in the leases. Any number of workers may do so at once.
    """
    sent = 0
    while not stopping() and _there_is_mail(core):
        ready = _claim(core, owner)
        if ready:
            sent += _send(core, ready)
    return sent


def _there_is_mail(core: Core) -> bool:
    with core.read() as tx:
        return tx.outbox.there_is_mail(tx.now)


def _claim(core: Core, owner: str) -> _Ready | None:
    with core.write() as tx:
        mail = tx.outbox.claim_next(owner, at=tx.now, lease_until=tx.now + LEASE)
        if mail is None:
            return None
        if mail.kind in _REQUESTS:
            resolved = _REQUESTS[mail.kind](core, tx, mail)
            tx.outbox.settle(mail, "sent" if resolved else "dropped", at=tx.now)
            return None
        data = {"host": urlsplit(core.settings.public_url).netloc, **mail.data}
        if mail.kind not in _WITH_LINK:
            return _Ready(mail, data)
        link = _living_link(core, tx, mail)
        if link is None:
            tx.outbox.settle(mail, "dropped", at=tx.now)
            return None
        return _Ready(mail, data | link)


def _send(core: Core, ready: _Ready) -> bool:
    mail = ready.mail
    try:
        message = core.messages.render(
            mail.kind, ready.data, to=mail.address, message_id=mail.message_id, at=mail.created_at
        )
        where = core.transport.send(message)
    except (OSError, TemplateError, ValueError) as error:
        _put_off(core, mail, error)
        return False
    with core.write() as tx:
        tx.outbox.settle(mail, "sent", at=tx.now)
    _log.info("mail sent", kind=mail.kind, to=mail.address, via=where, attempt=mail.attempts)
    return True


def _put_off(core: Core, mail: OutboxMail, error: Exception) -> None:
    reason = logs.mask_text(f"{type(error).__name__}: {error}")[:500]
    broken = not isinstance(error, OSError)
    with core.write() as tx:
        next_attempt_at = tx.now + _pause(mail.attempts)
        if broken and mail.attempts >= _TRIES_OF_A_BROKEN_MAIL:
            tx.outbox.settle(mail, "failed", at=tx.now, error=reason)
        elif next_attempt_at >= mail.give_up_at:
            tx.outbox.settle(mail, "dead", at=tx.now, error=reason)
        else:
            tx.outbox.retry(mail, next_attempt_at=next_attempt_at, error=reason)
    _log.warning("mail not sent", kind=mail.kind, to=mail.address, attempt=mail.attempts, error=reason)


def _pause(attempts: int) -> timedelta:
    pause = PAUSES[min(attempts, len(PAUSES)) - 1]
    return pause * random.uniform(0.9, 1.1)  # noqa: S311 - spreads retries, protects nothing


def _living_link(core: Core, tx: Tx, mail: OutboxMail) -> dict[str, str] | None:
    token = tx.link_tokens.by_id(mail.link_token_id) if mail.link_token_id else None
    secret = _steps.link_secret(core, token) if token and token.lives(tx.now) else None
    if token is None or secret is None:
        return None
    return {"link": _link(core, token, secret), "expires_at": _readable(token.expires_at)}


def _link(core: Core, token: LinkToken, secret: str) -> str:
    pages = {"activation": (core.settings.mail.activate_link, "activate")}
    own, page = pages[token.purpose]
    return own.replace("{token}", secret) if own else f"{core.settings.public_url}/{page}?token={secret}"


def _readable(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _resend_activation(core: Core, tx: Tx, request: OutboxMail) -> bool:
    """Now the account is looked up; nobody waits for the answer any more."""
    user = tx.users.by_email_key(request.address)
    if user is None or user.status != "pending":
        return False
    if not _steps.may_mail(core, tx, "activation", user.email_key):
        return False
    _steps.queue_activation_mail(core, tx, user)
    return True


_REQUESTS = {"resend_activation": _resend_activation}
_WITH_LINK = frozenset({"activation"})
