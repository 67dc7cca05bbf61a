"""How long, and how many at once: what PostgreSQL is bounded by, told without its driver."""

from dataclasses import dataclass

from usersvc.settings import Settings


@dataclass(frozen=True)
class Bounds:
    """How many connections, and for how many seconds each kind of wait may last."""

    pool: int = 10
    overflow: int = 5
    pool_wait: float = 3
    connect: int = 5
    statement: float = 5
    lock: float = 3
    idle_in_transaction: float = 15


def bounds_of(settings: Settings) -> Bounds:
    given = settings.database
    return Bounds(
        pool=given.pool_size,
        overflow=given.pool_overflow,
        pool_wait=given.pool_seconds,
        connect=given.connect_seconds,
        statement=given.statement_seconds,
        lock=given.lock_seconds,
        idle_in_transaction=given.idle_in_transaction_seconds,
    )
