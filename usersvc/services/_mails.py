"""Steps to mails and links that several use cases share. They take the caller's transaction.

A link's secret is made out of its row when it is needed and kept nowhere: neither the database nor
the queue holds anything that opens a link.
"""

import base64
import os
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from usersvc import logs
from usersvc.core import Core, Tx
from usersvc.repositories.link_tokens import LinkToken
from usersvc.repositories.outbox import OutboxMail
from usersvc.repositories.users import User
from usersvc.security.keys import Use
from usersvc.security.secrets import digest, keyed_digest, new_id
from usersvc.services._leases import GIVE_UP_AFTER


def queue_mail(
    core: Core,
    tx: Tx,
    kind: str,
    *,
    address: str,
    user_id: UUID | None = None,
    link_token_id: UUID | None = None,
    data: dict[str, Any] | None = None,
) -> None:
    """Write the mail into the outbox, where it becomes true together with the rest of the transaction.

    It is sent in the user's language of that time; `locale` in `data` is for who has no account then.
    """
    mail_id = new_id(tx.now)
    tx.outbox.insert(
        OutboxMail(
            id=mail_id,
            kind=kind,
            user_id=user_id,
            address=address,
            link_token_id=link_token_id,
            data=data or {},
            message_id=message_id(core, kind, mail_id),
            status="due",
            attempts=0,
            next_attempt_at=tx.now,
            created_at=tx.now,
            give_up_at=tx.now + GIVE_UP_AFTER,
            request_id=logs.current_request(),
        )
    )
    tx.wake_worker()


def message_id(core: Core, kind: str, mail_id: UUID) -> str:
    host = urlsplit(core.settings.public_url).hostname or "localhost"
    return f"<{mail_id}.{kind}@{host}>"


def queue_activation_mail(core: Core, tx: Tx, user: User) -> None:
    """Mail a fresh activation link; the older ones die with this transaction."""
    lifetime = timedelta(hours=core.settings.registration.activation_hours)
    token = _issue_link(core, tx, user, "activation", lifetime)
    queue_mail(core, tx, "activation", address=user.email, user_id=user.id, link_token_id=token.id)


def reset_link(core: Core, tx: Tx, user: User) -> LinkToken:
    """The reset link of this user that lives, or a new one."""
    lifetime = timedelta(minutes=core.settings.registration.reset_minutes)
    living = tx.link_tokens.living(user.id, "reset", at=tx.now)
    return living or _issue_link(core, tx, user, "reset", lifetime)


def repeats_link(tx: Tx, user: User, purpose: str) -> bool:
    """Whether a mail now would carry a link that lives already. (An activation link is new each time.)"""
    return tx.link_tokens.living(user.id, purpose, at=tx.now) is not None


def queue_reset_mail(core: Core, tx: Tx, user: User) -> None:
    """Mail a reset link: the one that lives, with its first expiry, so that strangers cannot kill it."""
    token = reset_link(core, tx, user)
    queue_mail(core, tx, "password_reset", address=user.email, user_id=user.id, link_token_id=token.id)


def queue_invitation_mail(core: Core, tx: Tx, user: User) -> None:
    """Mail the invitation link: the one that lives, or a new one."""
    token = invitation_link(core, tx, user)
    queue_mail(core, tx, "invitation", address=user.email, user_id=user.id, link_token_id=token.id)


def queue_activated_mail(core: Core, tx: Tx, user: User) -> None:
    """Tell that an administrator activated the account, with a link to choose a password.

    The link lives as long as an invitation does: nobody sits waiting for this mail.
    """
    token = invitation_link(core, tx, user)
    queue_mail(core, tx, "activated", address=user.email, user_id=user.id, link_token_id=token.id)


def invitation_link(core: Core, tx: Tx, user: User) -> LinkToken:
    """The invitation link of this user that lives, or a new one."""
    lifetime = timedelta(hours=core.settings.registration.invitation_hours)
    living = tx.link_tokens.living(user.id, "invitation", at=tx.now)
    return living or _issue_link(core, tx, user, "invitation", lifetime)


def link_address(core: Core, token: LinkToken) -> str:
    """What a mail shows of this link. LookupError: its key is gone."""
    settings = core.settings.mail
    pages = {
        "activation": (settings.activate_link, "activate"),
        "invitation": (settings.invitation_link, "reset-password"),
        "reset": (settings.reset_link, "reset-password"),
    }
    own, page = pages[token.purpose]
    secret = link_secret(core, token)
    if secret is None:
        raise LookupError(f"there is no link key {token.key_id}")
    return own.replace("{token}", secret) if own else f"{core.settings.public_url}/{page}?token={secret}"


def link_secret(core: Core, token: LinkToken) -> str | None:
    """What the link of this row carries; None where its key is gone. Kept nowhere, made when needed."""
    key = core.key_ring.by_kid(token.key_id, Use.LINK)
    return _link_secret(key.private, token.purpose, token.id, token.nonce) if key else None


def _issue_link(core: Core, tx: Tx, user: User, purpose: str, lifetime: timedelta) -> LinkToken:
    """A new link for this purpose; an older one is dead."""
    tx.link_tokens.revoke_all(user.id, at=tx.now, purpose=purpose)
    key = core.key_ring.current(Use.LINK, tx.now)
    token_id, nonce = new_id(tx.now), os.urandom(16)
    token = LinkToken(
        id=token_id,
        user_id=user.id,
        purpose=purpose,
        key_id=key.kid,
        nonce=nonce,
        digest=digest(_link_secret(key.private, purpose, token_id, nonce)),
        created_at=tx.now,
        expires_at=tx.now + lifetime,
    )
    tx.link_tokens.insert(token)
    return token


def _link_secret(key: bytes, purpose: str, token_id: UUID, nonce: bytes) -> str:
    mac = keyed_digest(key, purpose, token_id.hex, nonce.hex())
    return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
