"""The file of the secret key: made once, whole, for its owner alone."""

import os
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import settings_for
from usersvc.security import secret_key
from usersvc.setting_types import secret_key_problem
from usersvc.settings import SettingsError

SECRET = "Q7vN2mK9xR4tB8wL3pZ6yH1cD5fG0jSa"
OTHER_SECRET = "aS0jGf5Dc1Hy6Zp3Lw8Bt4Rx9Km2Nv7Q"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "secret.key"


def write(path: Path, content: str | bytes, mode: int = 0o600) -> None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)


def find(folder: Path, **values: object) -> str | None:
    return secret_key.find(settings_for(folder, **values))


def refusal(folder: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        find(folder)
    [mistake] = caught.value.mistakes
    return mistake


def test_without_a_setting_and_a_file_there_is_none(tmp_path: Path) -> None:
    assert find(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_the_setting_is_the_secret_whatever_lies_in_the_data_directory(tmp_path: Path, path: Path) -> None:
    write(path, OTHER_SECRET)
    assert find(tmp_path, server__secret_key=SECRET) == SECRET


def test_a_named_file_holds_the_secret_instead_of_that_in_the_data_directory(
    tmp_path: Path, path: Path
) -> None:
    write(path, OTHER_SECRET)
    write(tmp_path / "named", f"{SECRET}\n")
    assert find(tmp_path, server__secret_key_file=tmp_path / "named") == SECRET


def test_the_secret_is_the_text_of_the_file_without_blanks_around(tmp_path: Path, path: Path) -> None:
    write(path, f"  {SECRET}\r\n\n")
    assert find(tmp_path) == SECRET


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o666])
def test_a57_a_secret_that_others_can_open_is_refused_with_the_remedy(
    tmp_path: Path, path: Path, mode: int
) -> None:
    write(path, SECRET, mode)
    assert refusal(tmp_path) == f"{path}: others can read the secret key: chmod 600 it"


@pytest.mark.parametrize("content", ["", "\n", "short", "changeme" * 8, "a" * 64, b"\xff" * 64])
def test_a57_a_file_without_a_usable_secret_is_refused_and_not_replaced(
    tmp_path: Path, path: Path, content: str | bytes
) -> None:
    write(path, content)
    before = path.read_bytes()
    mistake = refusal(tmp_path)
    assert mistake.startswith(f"{path}: ")
    assert SECRET not in mistake
    assert "changeme" not in mistake
    assert path.read_bytes() == before


def test_a80_a_secret_is_made_for_its_owner_alone_whatever_the_umask(tmp_path: Path, path: Path) -> None:
    old = os.umask(0)
    try:
        secret_key.make(path)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600
    assert find(tmp_path)


def test_a_secret_is_random_long_and_one_line(path: Path, tmp_path: Path) -> None:
    secret_key.make(path)
    secret_key.make(tmp_path / "other")
    text = path.read_text()
    assert text.endswith("\n")
    assert len(text.splitlines()) == 1
    assert len(text.strip()) >= 43
    assert text != (tmp_path / "other").read_text()
    assert secret_key_problem(text.strip()) is None


def test_a_secret_that_was_made_is_usable_whatever_chance_put_into_it(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in some 8,000 holds a word by chance that placeholders are known by."""
    real = secrets.token_urlsafe
    drawn = ["h3Kd-9_Qw2Lr7sVb1NzToDoXcYpGt5MfUaJe8HoRi4TmWk0Zq6BxVn2LpSd8gEyKcA"]
    monkeypatch.setattr(secrets, "token_urlsafe", lambda size=None: drawn.pop() if drawn else real(size))
    secret_key.make(path)
    assert find(tmp_path) == path.read_text().strip()


def test_making_never_replaces_a_secret(tmp_path: Path, path: Path) -> None:
    write(path, f"{SECRET}\n")
    secret_key.make(path)
    assert path.read_text() == f"{SECRET}\n"
    assert list(tmp_path.iterdir()) == [path]


def test_making_never_follows_a_link_that_leads_nowhere(tmp_path: Path, path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    secret_key.make(path)
    assert not (tmp_path / "elsewhere").exists()
    assert [found.name for found in tmp_path.iterdir()] == ["secret.key"]


def test_nothing_but_the_secret_is_left_in_its_folder(tmp_path: Path, path: Path) -> None:
    secret_key.make(path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_nlink == 1


def test_a_secret_is_made_whole_or_not_at_all(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SettingsError, match="cannot be written there: No space"):
        secret_key.make(path)
    assert list(tmp_path.iterdir()) == []


def test_the_secret_is_on_the_disk_before_it_has_its_name(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync
    named_at_sync = []

    def spy(handle: int) -> None:
        named_at_sync.append(path.exists())
        real(handle)

    monkeypatch.setattr(os, "fsync", spy)
    secret_key.make(path)
    assert named_at_sync == [False, True]


def test_of_several_at_once_one_makes_the_secret_and_all_find_the_same(tmp_path: Path, path: Path) -> None:
    settings = settings_for(tmp_path)
    for _ in range(10):
        path.unlink(missing_ok=True)
        barrier = threading.Barrier(8)

        def make_and_find(barrier: threading.Barrier = barrier) -> list[str | None]:
            barrier.wait()
            seen = [secret_key.find(settings)]
            secret_key.make(path)
            return [*seen, secret_key.find(settings), secret_key.find(settings)]

        with ThreadPoolExecutor(8) as executor:
            found = [future.result() for future in [executor.submit(make_and_find) for _ in range(8)]]
        assert len({text for seen in found for text in seen if text is not None}) == 1
        assert all(seen[1] for seen in found)
        assert list(tmp_path.iterdir()) == [path]
