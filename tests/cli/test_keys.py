"""`keys`, `rotate-keys`, `retire-key` and `rotate-secret`."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.factories import EMAIL, PASSWORD, STRANGER, logged_in
from usersvc import configuration
from usersvc.core import Core, build
from usersvc.errors import InvalidToken, SessionEnded
from usersvc.services import keys, sessions
from usersvc.services.authentication import authenticate

pytestmark = pytest.mark.sqlite
NEW = "w8Kp2-Zr5_Tn7Yx4Bv1Mq9Lc6Hd3Jf0Gs"


@pytest.fixture
def core(run: Run, folder: Path):
    run("create-admin", EMAIL, "--password-stdin", text=f"{PASSWORD}\n")
    core = build(configuration.load())
    keys.open_ring(core)
    yield core
    core.close()


def listed(run: Run, *arguments: str) -> list[tuple[str, str, str]]:
    found = json.loads(run(*(arguments or ("keys",)), "--json").stdout)
    assert all(
        set(key) == {"kid", "use", "algorithm", "state", "created_at", "signs_from", "retired_at"}
        for key in found
    )
    return [(key["use"], key["algorithm"], key["state"]) for key in found]


def kid_of(run: Run, use: str) -> str:
    found = json.loads(run("keys", "--json").stdout)
    return str(next(key["kid"] for key in found if key["use"] == use))


def test_keys_are_listed_and_rotated(run: Run, core: Core) -> None:
    uses = ["refresh", "link", "cursor", "throttle"]
    assert listed(run) == [("access", "ES256", "signs"), *((use, "HS256", "signs") for use in uses)]
    made = listed(run, "rotate-keys", "--use", "access", "--use", "link", "--algorithm", "EdDSA")
    assert sorted(made) == [("access", "EdDSA", "next"), ("link", "HS256", "next")]
    assert "already" not in run("rotate-keys", "--use", "link", code=6).stdout
    assert [line.split()[1:4] for line in run("keys").stdout.splitlines()[1:3]] == [
        ["access", "EdDSA", "next"],
        ["access", "ES256", "signs"],
    ]
    assert sorted(listed(run, "rotate-keys", "--use", "throttle", "--after", "5")) == [
        ("throttle", "HS256", "next")
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--use", "other"),
        ("--algorithm", "HS256"),
        ("--use", "link", "--algorithm", "ES256"),
        ("--after", "4"),
    ],
)
def test_what_cannot_be_rotated_so_is_wrong_usage(run: Run, core: Core, arguments: tuple[str, ...]) -> None:
    run("rotate-keys", *arguments, code=2)
    assert len(listed(run)) == 5


def test_a_key_is_retired_after_a_question_that_says_what_ends(run: Run, core: Core) -> None:
    pair = logged_in(core)
    kid = kid_of(run, "refresh")
    result = run("retire-key", kid, text="n\n", code=1)
    assert f"Retire {kid}: sessions that were last refreshed under it end?" in result.stderr
    assert authenticate(core, access_token=pair.access_token, actor=STRANGER)
    assert "1 sessions, 0 links" in run("retire-key", kid, "--yes").stdout
    with pytest.raises(SessionEnded):
        authenticate(core, access_token=pair.access_token, actor=STRANGER)
    assert run("retire-key", kid, "--yes", code=6)
    assert "There is no such key" in run("retire-key", "unknown", code=5).stderr


def test_the_secret_key_is_replaced_after_a_question(run: Run, core: Core, folder: Path) -> None:
    file = folder / "data" / "secret.key"
    before, pair = file.read_text(), logged_in(core)
    run("rotate-secret", text="n\n", code=1)
    assert file.read_text() == before
    assert "5 keys are wrapped anew; everybody stays logged in." in run("rotate-secret", "--yes").stdout
    assert file.read_text() != before
    pair = sessions.refresh(core, refresh_token=pair.refresh_token, actor=STRANGER)
    result = run("rotate-secret", "--compromised", text="y\n")
    assert "end all sessions and all links" in result.stderr
    assert "5 keys were made anew. Ended: 1 sessions, 0 links." in result.stdout
    keys.follow(core)
    with pytest.raises(InvalidToken):
        sessions.refresh(core, refresh_token=pair.refresh_token, actor=STRANGER)


def test_a_secret_in_the_settings_needs_a_file_with_the_new_one(
    run: Run, core: Core, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = (folder / "data" / "secret.key").read_text().strip()
    (folder / "data" / "secret.key").unlink()
    monkeypatch.setenv("USERSVC_SERVER__SECRET_KEY", secret)
    assert "name a file with the new one" in run("rotate-secret", "--yes", code=3).stderr
    new = folder / "new.key"
    new.write_text(NEW)
    new.chmod(0o644)
    assert "others can read" in run("rotate-secret", "--yes", "--new-secret-file", str(new), code=78).stderr
    new.chmod(0o600)
    assert "Now set server.secret_key" in run("rotate-secret", "--yes", "--new-secret-file", str(new)).stderr
    assert "not the secret key" in run("keys", code=78).stderr
    monkeypatch.setenv("USERSVC_SERVER__SECRET_KEY", NEW)
    assert len(listed(run)) == 5
