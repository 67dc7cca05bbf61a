"""What is held about one person, table by table, the newest first."""

from uuid import UUID

from sqlalchemy import Connection, and_, func, select

from usersvc.db.models import audit, logins_from, outbox, sessions
from usersvc.repositories.audit import AuditEntry
from usersvc.repositories.outbox import OutboxMail
from usersvc.repositories.sessions import Session

_SESSIONS = select(*[sessions.c[name] for name in Session.__dataclass_fields__])
_MAILS = select(*[outbox.c[name] for name in OutboxMail.__dataclass_fields__])
_ENTRIES = select(*[audit.c[name] for name in AuditEntry.__dataclass_fields__])


class Holdings:
    """`limit`: None for all there is."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def sessions(self, user_id: UUID, *, limit: int | None) -> list[Session]:
        """The ended ones too."""
        found = _SESSIONS.where(sessions.c.user_id == user_id).order_by(sessions.c.id.desc()).limit(limit)
        return [Session(*row) for row in self._connection.execute(found)]

    def mails(self, user_id: UUID, *addresses: str, limit: int | None) -> list[OutboxMail]:
        """And what was asked for at the addresses."""
        asked = and_(outbox.c.user_id.is_(None), outbox.c.address.in_(addresses))
        both = {}
        for own in (outbox.c.user_id == user_id, asked):
            found = _MAILS.where(own).order_by(outbox.c.id.desc()).limit(limit)
            for row in self._connection.execute(found):
                both[row[0]] = OutboxMail(*row)
        return [both[mail_id] for mail_id in sorted(both, reverse=True)][:limit]

    def entries(self, user_id: UUID, *, limit: int | None) -> list[AuditEntry]:
        """Where the user acted, or it was done to him."""
        # One after the other: each by its index, in its order.
        both = {}
        for column in (audit.c.actor_id, audit.c.target_id):
            found = _ENTRIES.where(column == user_id).order_by(audit.c.id.desc()).limit(limit)
            for row in self._connection.execute(found):
                both[row[0]] = AuditEntry(*row)
        return [both[entry_id] for entry_id in sorted(both, reverse=True)][:limit]

    def count_networks(self, user_id: UUID) -> int:
        counted = select(func.count()).where(logins_from.c.user_id == user_id)
        return self._connection.execute(counted).scalar_one()
