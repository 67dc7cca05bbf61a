"""Each limit with several processes on one database, hit by many requests at once."""

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.factories import EMAIL, PASSWORD
from tests.processes import Usersvc, eventually

pytestmark = pytest.mark.process

WRONG = "wrong password 123"
NO_TURN = ("OVERLOADED", "DATABASE_BUSY")


@pytest.fixture
def usersvc(tmp_path: Path) -> Usersvc:
    """Clients come through a proxy on this machine, so that each can have a network of its own."""
    usersvc = Usersvc(tmp_path)
    usersvc.environ["USERSVC_SERVER__TRUSTED_PROXIES"] = "127.0.0.1"
    return usersvc


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(40) as pool:
        yield pool


def _code(usersvc: Usersvc, path: str, body: dict[str, str], client: str = "192.0.2.1") -> str:
    answer = usersvc.post(path, body, headers={"X-Forwarded-For": client}).json()
    return "in" if answer["success"] else str(answer["error"]["code"])


def _once(
    pool: ThreadPoolExecutor, usersvc: Usersvc, path: str, asked: Iterable[tuple[dict[str, str], str]]
) -> list[str]:
    """What each of these bodies gets, sent by its client, all at once."""
    return list(pool.map(lambda one: _code(usersvc, path, one[0], one[1]), asked))


def _codes(
    pool: ThreadPoolExecutor, usersvc: Usersvc, path: str, asked: Iterable[tuple[dict[str, str], str]]
) -> Counter[str]:
    """As above; those that found no turn, again: a busy machine refuses some, and counts none of them."""
    asked, found = list(asked), Counter[str]()
    while asked:
        codes = _once(pool, usersvc, path, asked)
        found.update(code for code in codes if code not in NO_TURN)
        asked = [one for one, code in zip(asked, codes, strict=True) if code in NO_TURN]
    return found


def _guesses(pool: ThreadPoolExecutor, usersvc: Usersvc, asked: list[tuple[str, str]]) -> Counter[str]:
    """Wrong passwords for these addresses from these clients."""
    bodies = [({"email": email, "password": WRONG}, client) for email, client in asked]
    return _codes(pool, usersvc, "/auth/login", bodies)


def test_a42_of_200_guesses_at_once_five_are_verified_and_the_right_one_is_not_among_them(
    usersvc: Usersvc, pool: ThreadPoolExecutor
) -> None:
    usersvc.run("create-admin", EMAIL, "--password-stdin", text=f"{PASSWORD}\n")
    with usersvc.serving("--workers", "2"):
        guesses = [WRONG] * 200
        guesses[99] = PASSWORD
        bodies = [({"email": EMAIL, "password": guess}, "192.0.2.1") for guess in guesses]
        answers = _once(pool, usersvc, "/auth/login", bodies)
        assert answers[99] in ("TOO_MANY_ATTEMPTS", *NO_TURN)
        found = Counter(answers)
        # A guess that found the hashing queue full was not verified, and is not counted.
        assert found["INVALID_CREDENTIALS"] <= 5
        assert set(found) <= {"INVALID_CREDENTIALS", "TOO_MANY_ATTEMPTS", *NO_TURN}
        _guesses(pool, usersvc, [(EMAIL, "192.0.2.1")] * 5)
        assert _code(usersvc, "/auth/login", {"email": EMAIL, "password": PASSWORD}) == "TOO_MANY_ATTEMPTS"


def test_guesses_of_one_network_at_many_addresses(usersvc: Usersvc, pool: ThreadPoolExecutor) -> None:
    with usersvc.serving("--workers", "2"):
        many = [(f"u{number}@example.org", "192.0.2.1") for number in range(60)]
        assert _guesses(pool, usersvc, many) == {"INVALID_CREDENTIALS": 30, "TOO_MANY_ATTEMPTS": 30}
        # The addresses of one IPv6 /64 are one network, however they are written.
        many = [(f"v{n}@example.org", f"2001:db8:0:1:{n:x}::{n + 1:x}") for n in range(60)]
        assert _guesses(pool, usersvc, many) == {"INVALID_CREDENTIALS": 30, "TOO_MANY_ATTEMPTS": 30}


def test_guesses_of_many_small_networks_in_one_large_one(usersvc: Usersvc, pool: ThreadPoolExecutor) -> None:
    usersvc.environ["USERSVC_THROTTLE__NETWORK_LOGIN_ATTEMPTS"] = "2"
    with usersvc.serving("--workers", "2"):
        many = [(f"u{n}@example.org", f"2001:db8:0:{n:x}::1") for n in range(40)]
        assert _guesses(pool, usersvc, many) == {"INVALID_CREDENTIALS": 20, "TOO_MANY_ATTEMPTS": 20}


def test_guesses_at_one_account_from_many_networks_lock_strangers_out_but_not_its_owner(
    usersvc: Usersvc, pool: ThreadPoolExecutor
) -> None:
    usersvc.environ["USERSVC_THROTTLE__ACCOUNT_LOGIN_ATTEMPTS"] = "20"
    usersvc.run("create-admin", EMAIL, "--password-stdin", text=f"{PASSWORD}\n")
    right = {"email": EMAIL, "password": PASSWORD}
    with usersvc.serving("--workers", "2"):
        assert _code(usersvc, "/auth/login", right, "198.51.100.7") == "in"
        many = [(EMAIL, f"203.0.113.{number}") for number in range(50)]
        assert _guesses(pool, usersvc, many) == {"INVALID_CREDENTIALS": 20, "LOGIN_LOCKED": 30}
        assert _code(usersvc, "/auth/login", right, "192.0.2.200") == "LOGIN_LOCKED"
        assert _code(usersvc, "/auth/login", right, "198.51.100.7") == "in"
        [mail] = eventually(usersvc.mails)
        assert "locked" in mail.read_text()


def test_requests_of_one_network(usersvc: Usersvc, pool: ThreadPoolExecutor) -> None:
    """Each kind is counted by itself."""
    bodies: dict[str, dict[str, str]] = {
        "/users": {"email": "u{}@example.org", "password": "short"},
        "/auth/activate": {"token": "A" * 43},
        "/auth/resend-activation": {"email": "u{}@example.org"},
        "/auth/forgot-password": {"email": "u{}@example.org"},
        "/auth/reset-password": {"reset_token": "A" * 43, "new_password": PASSWORD},
    }
    with usersvc.serving("--workers", "2"):
        for path, body in bodies.items():
            asked = [{name: text.format(number) for name, text in body.items()} for number in range(60)]
            found = _codes(pool, usersvc, path, [(one, "192.0.2.1") for one in asked])
            # Of those that are counted apart from what they do, a busy machine may count one twice.
            assert 1 <= 60 - found["TOO_MANY_ATTEMPTS"] <= 20, path
            assert _code(usersvc, path, asked[0], "192.0.2.2") != "TOO_MANY_ATTEMPTS"


def test_refreshes_of_one_network(usersvc: Usersvc, pool: ThreadPoolExecutor) -> None:
    usersvc.run("create-admin", EMAIL, "--password-stdin", text=f"{PASSWORD}\n")
    with usersvc.serving("--workers", "2"):
        answer = usersvc.post("/auth/login", {"email": EMAIL, "password": PASSWORD}).json()
        body = {"refresh_token": answer["data"]["refresh_token"]}
        found = _codes(pool, usersvc, "/auth/refresh", [(body, "192.0.2.1")] * 200)
        assert found == {"in": 150, "TOO_MANY_ATTEMPTS": 50}


def test_mails_to_one_address_and_mails_of_one_network(usersvc: Usersvc, pool: ThreadPoolExecutor) -> None:
    usersvc.environ["USERSVC_THROTTLE__MAILS_PER_NETWORK_AND_DAY"] = "10"
    for name in ("ada", "bob"):
        usersvc.run("create-admin", f"{name}@example.org", "--password-stdin", text=f"{PASSWORD}\n")
    with usersvc.serving("--workers", "2"), usersvc.running("worker"):
        by_many = [({"email": "ada@example.org"}, f"203.0.113.{number}") for number in range(40)]
        assert set(_codes(pool, usersvc, "/auth/forgot-password", by_many)) == {"in"}
        eventually(lambda: _nothing_is_due(usersvc))
        assert [mail.read_text().count("To: ada@") for mail in usersvc.mails()] == [1]
        by_one = [({"email": f"u{number}@example.org"}, "192.0.2.1") for number in range(15)]
        assert set(_codes(pool, usersvc, "/auth/forgot-password", by_one)) == {"in"}
        assert _code(usersvc, "/auth/forgot-password", {"email": "bob@example.org"}) == "in"
        eventually(lambda: _nothing_is_due(usersvc))
        assert len(usersvc.mails()) == 1


def test_mails_of_the_whole_instance(usersvc: Usersvc, pool: ThreadPoolExecutor) -> None:
    usersvc.environ["USERSVC_THROTTLE__MAILS_PER_HOUR_IN_ALL"] = "10"
    usersvc.run("create-admin", EMAIL, "--password-stdin", text=f"{PASSWORD}\n")
    with usersvc.serving("--workers", "2"), usersvc.running("worker"):
        strangers = [
            ({"email": f"u{number}@example.org", "password": PASSWORD}, f"203.0.113.{number}")
            for number in range(16)
        ]
        assert set(_codes(pool, usersvc, "/users", strangers)) == {"in"}
        eventually(lambda: len(usersvc.mails()) == 8)
        assert _code(usersvc, "/auth/forgot-password", {"email": EMAIL}) == "in"
        eventually(lambda: len(usersvc.mails()) == 9)
        assert usersvc.run("outbox", "--status", "due", "--json").stdout.count('"due"') == 8


def _nothing_is_due(usersvc: Usersvc) -> bool:
    return usersvc.run("outbox", "--status", "due", "--json").stdout.strip() == "[]"
