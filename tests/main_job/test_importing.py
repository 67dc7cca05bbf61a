"""An import that is killed twice beside a server that goes on, and a login with the password of before."""

import json
from collections.abc import Callable

import pytest

from tests.factories import EMAIL
from tests.files import FILES, FIREBASE_PASSWORD
from tests.processes import Usersvc

pytestmark = pytest.mark.process

USERS = 4_000
KILLED_AT = (1_000, 2_000)


def _a_large_export(usersvc: Usersvc) -> None:
    """That of the fixture, with many more behind."""
    document = json.loads((FILES / "firebase.json").read_text(encoding="utf-8"))
    [ada, *_] = document["users"]
    more = [{**ada, "localId": f"id{number}", "email": f"u{number}@example.com"} for number in range(USERS)]
    text = json.dumps({"users": [*document["users"], *more]}, indent=1)
    (usersvc.folder / "users.json").write_text(text, encoding="utf-8")


def test_killed_twice_it_brings_everybody_in_once_and_ada_logs_in(
    usersvc: Usersvc, rows: Callable[..., list[tuple]]
) -> None:
    _a_large_export(usersvc)
    config = ["--hash-config", str(FILES / "firebase.txt"), "--report", "refused.csv"]
    command = ["import-users", "users.json", "--from", "firebase", *config]
    with usersvc.serving("--no-worker"):
        for least in KILLED_AT:
            with usersvc.running(*command) as process:
                process.wait_until(lambda least=least: _imported(rows) >= least, f"{least} are in")
                process.kill()
            assert least <= _imported(rows) < USERS
        done = json.loads(usersvc.run(*command, "--json", check=3).stdout)
        assert done["done_before"] >= KILLED_AT[-1]
        assert (done["imported"], done["skipped"], done["refused"]) == (USERS + 3, 0, 1)
        assert _imported(rows) == USERS + 3
        assert rows("SELECT count(*) FROM audit WHERE action = 'user.imported'") == [(USERS + 3,)]
        assert len((usersvc.folder / "refused.csv").read_text(encoding="utf-8").splitlines()) == 2

        for password, status in ((f"{FIREBASE_PASSWORD}x", 401), (FIREBASE_PASSWORD, 200)):
            answer = usersvc.post("/auth/login", {"email": EMAIL, "password": password})
            assert answer.status_code == status, answer.text
        [(stored,)] = rows("SELECT password_hash FROM users WHERE email_key = ?", EMAIL)
        assert stored.startswith("usersvc1$2b$")
        assert usersvc.post("/auth/login", {"email": EMAIL, "password": FIREBASE_PASSWORD}).status_code == 200


def _imported(rows: Callable[..., list[tuple]]) -> int:
    [(found,)] = rows("SELECT count(*) FROM users")
    return int(found)
