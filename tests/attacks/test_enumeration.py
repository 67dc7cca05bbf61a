"""Nobody learns whether an address is known: answers compared byte by byte, for accounts of every kind."""

from email.message import EmailMessage

import bcrypt
import pytest
from httpx2 import Response
from sqlalchemy import Connection

from tests.api.conftest import Client, code_of
from tests.attacks.conftest import ADMIN, DEACTIVATED, INVITED, PENDING, TARGET, USER, World
from tests.conftest import Make
from tests.database import rows
from tests.factories import OTHER_PASSWORD, PASSWORD, delivered, rewrite_user
from usersvc.mail.transports import MemoryTransport
from usersvc.security.hashing_pool import HashingPool
from usersvc.security.passwords import PasswordHasher, hash_password

UNKNOWN = "nobody@example.org"
# Of every kind: there is none; active, administrator, never activated, invited, shut out.
ADDRESSES = [UNKNOWN, USER, ADMIN, PENDING, INVITED, DEACTIVATED, TARGET.upper()]


def _answer(response: Response) -> tuple[int, str, dict[str, str]]:
    """All that a stranger is shown, but what tells requests apart."""
    headers = {name: value for name, value in response.headers.items() if name != "x-request-id"}
    return response.status_code, response.text, headers


def _one(answers: list[Response]) -> Response:
    shown = [_answer(response) for response in answers]
    assert all(found == shown[0] for found in shown), shown
    return answers[0]


class NotReached(MemoryTransport):
    def send(self, message: EmailMessage) -> str:
        raise AssertionError("a request does not wait for a mail server")


def test_a10_a_login_in_vain_has_one_answer(world: World) -> None:
    rewrite_user(world.core, "mod@example.org", password_hash=hash_password(PASSWORD, cost=11))
    tried = [
        (address, "a wrong pass phrase 7") for address in (*ADDRESSES, "mod@example.org", "no address", "")
    ]
    # The right password of who never activated, of who has none, and what no account can have.
    tried += [(PENDING, OTHER_PASSWORD), (INVITED, ""), (USER, ""), (USER, "x" * 2000), (UNKNOWN, PASSWORD)]
    answers = [world.client.post("/auth/login", json={"email": e, "password": p}) for e, p in tried]
    assert code_of(_one(answers)) == "INVALID_CREDENTIALS"


def test_a15_a_pause_begins_at_the_same_attempt_for_everybody(make_world_core: Make) -> None:
    client = Client(make_world_core(throttle__enabled=True, throttle__network_login_attempts=1000))
    courses = []
    for address in (UNKNOWN, USER, PENDING):
        body = {"email": address, "password": "a wrong pass phrase 7"}
        answers = [client.post("/auth/login", json=body) for _ in range(7)]
        courses.append([_answer(response) for response in answers])
        assert [response.status_code for response in answers] == [401] * 5 + [429] * 2
    assert all(course == courses[0] for course in courses)


@pytest.mark.parametrize("path", ["/auth/forgot-password", "/auth/resend-activation"])
def test_a11_asking_for_a_link_has_one_answer(make_world_core: Make, path: str) -> None:
    """Again within the pause, and over the mails of an hour, too: a refusal would tell of a mail before."""
    core = make_world_core(throttle__enabled=True, throttle__requests_per_minute=1000)
    client = Client(core)
    answers = []
    for _ in range(7):
        for address in ADDRESSES:
            before = rows(core, "SELECT count(*) FROM outbox")[0][0]
            answers.append(client.post(path, json={"email": address}))
            assert rows(core, "SELECT count(*) FROM outbox") == [(before + 1,)]
        delivered(core)
    assert _one(answers).status_code == 202


def test_a03_registering_has_one_answer(world: World) -> None:
    """The address that was sent is in the answer, so it is taken out of it."""
    answers = [
        world.client.post("/users", json={"email": address, "password": password})
        for address in ADDRESSES
        for password in (PASSWORD, OTHER_PASSWORD)
    ]
    assert {response.status_code for response in answers} == {202}
    for response in answers:
        assert response.json()["data"].keys() == {"email", "activation"}
    lengths = {len(response.text) - len(response.json()["data"]["email"]) for response in answers}
    assert len(lengths) == 1
    assert len({frozenset(response.headers) for response in answers}) == 1


@pytest.mark.parametrize("path", ["/auth/forgot-password", "/auth/resend-activation", "/users"])
def test_a14_no_request_meets_the_mail_server(world: World, path: str) -> None:
    """So one that is away, slow, or refuses one address only tells no stranger anything."""
    world.core.transport = NotReached()
    body = {"password": PASSWORD} if path == "/users" else {}
    answers = [world.client.post(path, json={"email": address, **body}) for address in ADDRESSES]
    assert {response.status_code for response in answers} == {202}
    waiting = rows(world.core, "SELECT count(*) FROM outbox WHERE status = 'due'")
    assert waiting[0][0] >= len(ADDRESSES) - 2


@pytest.mark.parametrize(
    "stored",
    [
        None,
        *(hash_password(PASSWORD, cost=cost) for cost in range(4, 9)),
        bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode(),
    ],
    ids=["none", "4", "5", "6", "7", "8", "plain 5"],
)
def test_a13_a_wrong_password_takes_the_work_of_the_current_cost_whatever_is_stored(
    stored: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted and not timed: bcrypt does its work 2 to the cost times."""
    work = []
    real = bcrypt.checkpw

    def counted(password: bytes, hashed: bytes) -> bool:
        work.append(2 ** int(hashed.split(b"$")[2]))
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    pool = HashingPool(threads=1)
    assert PasswordHasher(pool, cost=8).verify("a wrong pass phrase 7", stored) is False
    assert sum(work) == 2**8
    pool.close()


def test_a13_every_login_in_vain_takes_the_same_work(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any kind of account; as many commits, too."""
    world.core.hasher = PasswordHasher(world.core.hashing, cost=8)
    rewrite_user(world.core, "mod@example.org", password_hash=hash_password(PASSWORD, cost=6))
    found = {}
    real_check, real_commit = bcrypt.checkpw, Connection.commit
    for address in (*ADDRESSES, "mod@example.org", "no address"):
        work: list[int] = []
        commits: list[Connection] = []

        def counted(password: bytes, hashed: bytes, work: list[int] = work) -> bool:
            work.append(2 ** int(hashed.split(b"$")[2]))
            return real_check(password, hashed)

        def committed(connection: Connection, commits: list[Connection] = commits) -> None:
            commits.append(connection)
            real_commit(connection)

        with monkeypatch.context() as patch:
            patch.setattr(bcrypt, "checkpw", counted)
            patch.setattr(Connection, "commit", committed)
            world.client.post("/auth/login", json={"email": address, "password": "a wrong pass phrase 7"})
        found[address] = (sum(work), len(commits))
    assert set(found.values()) == {(2**8, found[UNKNOWN][1])}, found
