"""The limits with several API processes on one database, hit by many requests at once."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.factories import EMAIL, PASSWORD
from tests.processes import Usersvc

pytestmark = pytest.mark.process


def _code(usersvc: Usersvc, path: str, body: dict[str, str]) -> str:
    answer = usersvc.post(path, body).json()
    return "in" if answer["success"] else str(answer["error"]["code"])


def test_a42_of_200_guesses_at_once_five_are_verified_and_the_right_one_is_not_among_them(tmp_path) -> None:
    usersvc = Usersvc(tmp_path)
    usersvc.run("create-admin", EMAIL, "--password-stdin", text=f"{PASSWORD}\n")
    with usersvc.serving("--workers", "2"), ThreadPoolExecutor(40) as pool:
        guesses = ["wrong password 123"] * 200
        guesses[99] = PASSWORD
        answers = list(
            pool.map(
                lambda guess: _code(usersvc, "/auth/login", {"email": EMAIL, "password": guess}), guesses
            )
        )
        assert answers[99] in ("TOO_MANY_ATTEMPTS", "OVERLOADED")
        found = Counter(answers)
        # A guess that found the hashing queue full was not verified, and is not counted.
        assert found["INVALID_CREDENTIALS"] <= 5
        assert set(found) <= {"INVALID_CREDENTIALS", "TOO_MANY_ATTEMPTS", "OVERLOADED"}
        assert _code(usersvc, "/auth/login", {"email": EMAIL, "password": PASSWORD}) == "TOO_MANY_ATTEMPTS"


def test_requests_of_one_network_are_counted_over_all_processes(tmp_path) -> None:
    usersvc = Usersvc(tmp_path)
    with usersvc.serving("--workers", "2"), ThreadPoolExecutor(20) as pool:
        bodies = [{"email": f"u{number}@example.org"} for number in range(60)]
        for path in ("/auth/forgot-password", "/auth/resend-activation"):
            found = Counter(pool.map(lambda body, path=path: _code(usersvc, path, body), bodies))
            assert found == {"in": 20, "TOO_MANY_ATTEMPTS": 40}
