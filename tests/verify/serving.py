"""A running usersvc with somebody of each role in it, for those who check its tokens from outside."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import settings_for
from tests.factories import PASSWORD
from tests.forgery import resigned
from tests.processes import Running, Usersvc
from usersvc.core import build
from usersvc.security.keys import KeyRing, Use
from usersvc.services import keys


class Served:
    def __init__(self, usersvc: Usersvc, process: Running) -> None:
        self.usersvc = usersvc
        self.process = process

    def log_in(self, role: str) -> str:
        """The access token of the one who has this role."""
        answer = self.usersvc.post(
            "/auth/login", {"email": f"{role}@example.org", "password": PASSWORD}
        ).json()
        return str(answer["data"]["access_token"])

    @contextmanager
    def ring(self) -> Iterator[KeyRing]:
        """The keys that it signs with, out of its folder."""
        core = build(settings_for(self.usersvc.folder / "data"))
        try:
            keys.open_ring(core)
            yield core.key_ring
        finally:
            core.close()

    def resigned(self, token: str, **claims: Any) -> str:
        """The same token with other claims, signed with the key that is published here."""
        with self.ring() as ring:
            return resigned(ring, Use.ACCESS, token, **claims)

    def times_asked(self, path: str) -> int:
        """How often a path was asked for, by the log."""
        return self.process.output.count(f'"{path}"')


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    usersvc = Usersvc(folder)
    usersvc.environ |= {
        "USERSVC_REGISTRATION__ACTIVATION": "false",
        "USERSVC_THROTTLE__ENABLED": "false",
        "USERSVC_TOKENS__AUDIENCES": "billing, shipping",
    }
    with usersvc.serving("--no-worker") as process:
        for role in ("user", "moderator"):
            made = usersvc.post("/users", {"email": f"{role}@example.org", "password": PASSWORD})
            assert made.status_code == 201, made.text
        usersvc.run("set-role", "moderator@example.org", "moderator")
        yield Served(usersvc, process)
        assert "Traceback" not in process.output
