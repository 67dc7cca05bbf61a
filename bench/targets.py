"""What usersvc sets out to reach, each as a figure of one run on one machine."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    key: str
    question: str
    """The module of bench/questions/ that finds it."""
    what: str
    bound: float
    at_most: bool = False
    unit: str = ""
    """Empty for a ratio."""

    def is_met_by(self, found: float) -> bool:
        return found <= self.bound if self.at_most else found >= self.bound

    @property
    def shown(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.bound:g}{self.unit and ' ' + self.unit}"


def _most(key: str, question: str, what: str, bound: float, unit: str = "") -> Target:
    return Target(key, question, what, bound, at_most=True, unit=unit)


TARGETS = (
    Target("me-fastapi-users", "me", "`/users/me`, SQLite: against fastapi-users", 5),
    Target("me-bare", "me", "`/users/me`, SQLite: against bare FastAPI with a static model", 0.5),
    Target("me-aiosqlite", "me", "`/users/me`, SQLite: against AsyncSession over aiosqlite", 2.5),
    Target("logins-bcrypt", "logins", "logins: against bare `bcrypt.checkpw` of the same cost", 0.95),
    _most("start", "footprint", "start of `serve` on an existing database until it is ready", 2, "s"),
    _most("memory", "footprint", "memory of `serve` at rest", 120, "MiB"),
    _most("memory-grown", "footprint", "memory after 100,000 requests: against at rest", 1.1),
    _most("help", "commands", "`usersvc --help`: time against `python -c pass`", 12),
    _most("show-user", "commands", "`usersvc show-user`: time against `python -c pass`", 35),
    Target(
        "storm-rate", "storm", "`/users/me` beside ten times the logins that fit: rate against alone", 0.6
    ),
    _most("storm-p99", "storm", "`/users/me` beside ten times the logins that fit: p99 against alone", 3),
    Target("lists-rate", "contention", "`/users/me` beside 8 slow lists: rate against alone", 0.4),
    Target("locked-rate", "contention", "`/users/me` under another's write lock: rate against alone", 0.4),
    Target("refresh-django", "refreshes", "refreshes, SQLite: against Django with simplejwt's blacklist", 3),
    Target("growth-me", "growth", "`/users/me` at the most users: rate against the fewest", 0.9),
    Target("growth-login", "growth", "logins at the most users: rate against the fewest", 0.9),
    Target("growth-refresh", "growth", "refreshes at the most users: rate against the fewest", 0.9),
    _most("growth-last-page", "growth", "last page of the most users: time against the first page", 1.5),
    _most("purge-wait", "purge", "purge of all ended sessions: longest wait of another writer", 100, "ms"),
    _most("purge-log", "purge", "purge of all ended sessions: longest write-ahead log", 64, "MiB"),
    Target(
        "me-pg-fastapi-users", "postgresql", "`/users/me`, PostgreSQL: against fastapi-users, asyncpg", 2.5
    ),
    Target("me-asyncpg", "postgresql", "`/users/me`, PostgreSQL: against AsyncSession over asyncpg", 1.2),
)
BY_KEY = {target.key: target for target in TARGETS}
QUESTIONS = tuple(dict.fromkeys(target.question for target in TARGETS))
