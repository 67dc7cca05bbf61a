"""What must be true after the kill loop, whatever was killed: everything else is told in words."""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage

from tests.factories import token_in
from tests.faults.journal import HoldingServer, Journal
from tests.faults.killer import Killer
from tests.faults.site import Site

_SAMPLE = 20
_MOST_TWICE = 0.01
_MOST_OF_A_LOG = 4000


@dataclass
class Mails:
    """What the mail server took."""

    taken: Counter[str] = field(default_factory=Counter)
    """By Message-ID."""
    by_address: dict[str, dict[str, EmailMessage]] = field(default_factory=lambda: defaultdict(dict))
    different: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, server: HoldingServer) -> "Mails":
        mails = cls()
        for received in server.received:
            message = received.message
            message_id, [address] = str(message["Message-ID"]), received.recipients
            mails.taken[message_id] += 1
            known = mails.by_address[address].setdefault(message_id, message)
            if token_in(known) != token_in(message):
                mails.different.append(f"{message_id} was sent with two links")
        return mails

    def twice(self, held: Counter[str]) -> tuple[int, int]:
        """How often a mail was taken again: after its worker was killed with it in hand, and otherwise."""
        again = {message_id: number - 1 for message_id, number in self.taken.items()}
        excused = sum(min(number, held[message_id]) for message_id, number in again.items())
        return excused, sum(again.values()) - excused

    def last_to(self, address: str) -> EmailMessage:
        """Message-IDs begin with the time at which the mail was written."""
        return max(self.by_address[address].items())[1]


def findings(site: Site, journal: Journal, killer: Killer, mails: Mails) -> list[str]:
    """While a server runs and everything was sent and purged."""
    people = {address: _plain(number) for number, address in site.rows("SELECT id, email FROM users")}
    queued = Counter(
        address for (address,) in site.rows("SELECT address FROM outbox WHERE kind = 'activation'")
    )
    registered = Counter(
        _plain(target)
        for (target,) in site.rows(
            "SELECT target_id FROM audit WHERE action IN ('user.registered', 'user.registered_again')"
        )
    )
    return [
        *journal.wrong,
        *site.ended_by_themselves,
        *_lost(journal, people, mails),
        *_half_done(site, people, queued, registered),
        *_dead_letters(site, mails, killer),
        *_purged_by_halves(site, killer),
        *_of_nobody(site),
        *_links_that_fail(site, journal, mails),
        *_told_in_logs(site),
        *_damage(site),
    ]


def _plain(number: object) -> str:
    """An id: hex on SQLite, a UUID on PostgreSQL."""
    return str(number).replace("-", "")


def _lost(journal: Journal, people: dict[str, str], mails: Mails) -> Iterator[str]:
    if not journal.acknowledged:
        yield "nobody could register"
    for address in journal.acknowledged:
        if address not in people:
            yield f"{address} was acknowledged and has no account"
        if address not in mails.by_address:
            yield f"{address} was acknowledged and got no mail"


def _half_done(
    site: Site, people: dict[str, str], queued: Counter[str], registered: Counter[str]
) -> Iterator[str]:
    """Of each registration the account, the audit's entry, a mail and at last one living link, or nothing."""
    living = Counter(
        _plain(user)
        for (user,) in site.rows(
            "SELECT user_id FROM link_tokens WHERE used_at IS NULL AND revoked_at IS NULL"
        )
    )
    for address, user in people.items():
        if not registered[user] == queued[address] > 0:
            yield f"{address} registered {registered[user]} times, with {queued[address]} mails"
        if living[user] != 1:
            yield f"{address} has {living[user]} links"
    for address in queued.keys() - people.keys():
        yield f"there is a mail to {address}, who has no account"
    for user in registered.keys() - set(people.values()):
        yield f"the audit tells of {user}, who has no account"


def _dead_letters(site: Site, mails: Mails, killer: Killer) -> Iterator[str]:
    yield from mails.different
    kept = site.rows("SELECT message_id, status, last_error FROM outbox")
    for message_id, status, error in kept:
        if status not in ("sent", "dropped") or error:
            yield f"the mail {message_id} is {status} ({error})"
    for message_id in mails.taken.keys() - {message_id for message_id, _, _ in kept}:
        yield f"the mail {message_id} went out and is not in the outbox"
    _, unexcused = mails.twice(killer.held)
    if unexcused > _MOST_TWICE * len(mails.taken):
        yield f"{unexcused} mails went out twice without a worker that died with them in hand"


def _purged_by_halves(site: Site, killer: Killer) -> Iterator[str]:
    entries = Counter(
        _plain(target) for (target,) in site.rows("SELECT target_id FROM audit WHERE action = 'user.purged'")
    )
    if entries != Counter(number.hex for number in killer.abandoned):
        yield "the audit does not tell of each purged account once, and of no other"


def _of_nobody(site: Site) -> Iterator[str]:
    for table in ("link_tokens", "sessions", "outbox"):
        found = site.rows(
            f"SELECT count(*) FROM {table} LEFT JOIN users ON users.id = {table}.user_id "
            f"WHERE {table}.user_id IS NOT NULL AND users.id IS NULL"
        )
        if found != [(0,)]:
            yield f"{table} has rows of accounts that are gone: {found}"


def _links_that_fail(site: Site, journal: Journal, mails: Mails) -> Iterator[str]:
    known = sorted(journal.acknowledged & mails.by_address.keys())
    for address in random.sample(known, min(_SAMPLE, len(known))):
        answer = site.usersvc.post("/auth/activate", {"token": token_in(mails.last_to(address))})
        if answer.status_code != 200:
            yield f"the link in the last mail to {address} is answered with {answer.status_code}"


# What Python itself says in a child whose parent is killed before it has told it what to do.
_KILLED_PARENT = re.compile(
    r"Traceback \(most recent call last\):\n"
    r"(?:  .*\n)*?  .*in spawn_main\n(?:  .*\n)*?EOFError: Ran out of input\n"
)


def _told_in_logs(site: Site) -> Iterator[str]:
    for log in sorted(site.usersvc.folder.glob("*.log")):
        text = _KILLED_PARENT.sub("", log.read_text(encoding="utf-8", errors="replace"))
        if "Traceback" in text:
            yield f"{log.name} tells of a bug:\n{text[text.index('Traceback') :][:_MOST_OF_A_LOG]}"


def _damage(site: Site) -> Iterator[str]:
    if site.server is None and (found := site.rows("PRAGMA integrity_check")) != [("ok",)]:
        yield f"the database file is damaged: {found}"
