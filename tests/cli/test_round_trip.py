"""Users taken out of one database and brought into another: the same, who log in with the same passwords."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.factories import (
    OPERATOR,
    active,
    an_admin,
    deactivated,
    invited,
    logged_in,
    pending,
    user_row,
)
from tests.groups import a_group, names_of, put_in
from tests.profiles import schemas_in
from usersvc import configuration
from usersvc.core import Core, build
from usersvc.errors import InvalidCredentials
from usersvc.mail.transports import MemoryTransport
from usersvc.services import admin, keys, profiles

pytestmark = pytest.mark.sqlite  # what is taken out and brought in is tested on both


@contextmanager
def _in(folder: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Core]:
    shutil.copytree(prepared, folder / "data")
    for name, value in schemas_in(folder).items():
        monkeypatch.setenv(f"USERSVC_{name.upper()}", str(value))
    monkeypatch.chdir(folder)
    core = build(configuration.load(), transport=MemoryTransport())
    keys.open_ring(core)
    for name in ("stock", "desk"):
        a_group(core, name)
    yield core
    core.close()


def _everybody_there_can_be(core: Core) -> None:
    active(core, username="ada")
    logged_in(core)
    profiles.set_profile(core, user_id=user_row(core).id, profile={"points": 1}, actor=OPERATOR)
    profiles.set_attributes(core, user_id=user_row(core).id, attributes={"plan": "paid"}, actor=OPERATOR)
    put_in(core, a_group(core, "night"))
    pending(core, "=1+1@example.org", username="one")
    deactivated(core, "+bob@example.org")
    pending(core, "dan@example.org")
    admin.deactivate(core, user_id=user_row(core, "dan@example.org").id, actor=OPERATOR)
    invited(core, "'ivy@example.org", role="moderator")
    an_admin(core)


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_an_export_brought_in_elsewhere_gives_the_same_users_who_log_in(
    run: Run, folder: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    taken_out, again = folder / f"users.{form}", folder / f"again.{form}"
    with _in(folder, prepared, monkeypatch) as core:
        _everybody_there_can_be(core)
        run("export-users", str(taken_out), "--with-hashes", "--yes")
    (folder / "new").mkdir()
    with _in(folder / "new", prepared, monkeypatch) as core:
        a_group(core, "night")
        run("import-users", str(taken_out))
        run("export-users", str(again), "--with-hashes", "--yes")
        assert again.read_bytes() == taken_out.read_bytes()
        assert names_of(core) == ["night"]
        assert logged_in(core)
        assert logged_in(core, "root@example.org")
        with pytest.raises(InvalidCredentials):
            logged_in(core, "=1+1@example.org")
