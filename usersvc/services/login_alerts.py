"""A login that was not its owner's, undone by the link of the mail that told of it."""

from usersvc.core import Core, retried
from usersvc.errors import InvalidLink
from usersvc.repositories.link_tokens import LinkToken
from usersvc.services import _events, _recovery, email_change, requests
from usersvc.services.actor import Actor
from usersvc.webhooks.events import Event


def end_session(core: Core, *, token: str, actor: Actor) -> None:
    """Spend the link: no password, no session, and a reset link to the address that the alert went to.

    Where the address was changed since, as whoever logged in would, that is undone too. Raises InvalidLink,
    TooManyAttempts, EmailTaken.
    """
    requests.count(core, "end session", actor)
    _end_session(core, email_change.require_link(core, token=token, purpose="login_revoke"), actor)


@retried
def _end_session(core: Core, link: LinkToken, actor: Actor) -> None:
    with core.write() as tx:
        user = tx.users.hold(link.user_id)
        if user is None or user.status != "active" or not tx.link_tokens.use(link.id, at=tx.now):
            raise InvalidLink
        change = tx.email_changes.first_way_back(user.id, since=link.created_at, at=tx.now)
        if change:
            user = _recovery.restore_address(tx, user, change)
        ended = _recovery.shut_out(core, tx, user, "not its owner's login", actor)
        tx.audit(actor, "session.denied", target=user.id, session=str(link.subject_id), sessions=ended)
        if change:
            tx.audit(actor, "user.email_restored", target=user.id, sessions=0)
            _events.tell(tx, Event.CHANGED, user.id)
