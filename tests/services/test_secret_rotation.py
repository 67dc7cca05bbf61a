"""The secret key replaced, whole or not at all, wherever it is broken off."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Make
from tests.factories import (
    EMAIL,
    OPERATOR,
    OTHER_PASSWORD,
    STRANGER,
    active,
    audit_rows,
    delivered,
    logged_in,
    token_in,
)
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.errors import (
    Forbidden,
    InvalidLink,
    InvalidToken,
    KeysChanged,
    KeysUnavailable,
    NewSecretMissing,
    NewSecretUnfit,
    SessionEnded,
)
from usersvc.security import secret_key
from usersvc.security.keys import Use, secret_check
from usersvc.services import key_rotation, keys, passwords, secret_rotation, sessions, webhooks
from usersvc.services.actor import Actor
from usersvc.services.authentication import authenticate
from usersvc.services.sessions import TokenPair
from usersvc.settings import Settings, SettingsError
from usersvc.webhooks.signing import as_text

NEW = "w8Kp2-Zr5_Tn7Yx4Bv1Mq9Lc6Hd3Jf0Gs"

pytestmark = pytest.mark.sqlite


class Killed(BaseException):
    pass


@pytest.fixture
def file(data_dir: Path) -> Path:
    return data_dir / "secret.key"


def refresh(core: Core, pair: TokenPair) -> TokenPair:
    return sessions.refresh(core, refresh_token=pair.refresh_token, actor=STRANGER)


def killing(monkeypatch: pytest.MonkeyPatch, name: str, *, after: bool) -> None:
    real: Callable[..., None] = getattr(secret_key, name)

    def killed(*arguments: object) -> None:
        if after:
            real(*arguments)
        raise Killed

    monkeypatch.setattr(secret_key, name, killed)


def test_the_ring_is_wrapped_anew_and_nobody_is_logged_out(core: Core, make_core: Make, file: Path) -> None:
    active(core)
    pair = logged_in(core)
    old, ring = file.read_text(), {key.kid for key in core.key_ring.keys}
    rotated = secret_rotation.rotate_secret(core, actor=OPERATOR)
    assert (rotated.keys, rotated.sessions, rotated.links, rotated.in_file) == (len(Use), 0, 0, True)
    assert file.read_text() != old
    assert file.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in file.parent.glob("*secret*")] == ["secret.key"]
    fresh = make_core()
    assert {key.kid for key in fresh.key_ring.keys} == ring
    for one in (core, fresh):
        keys.follow(one)
        assert authenticate(one, access_token=pair.access_token, actor=STRANGER)
        pair = refresh(one, pair)
    file.write_text(old)
    with pytest.raises(SettingsError, match="this is not the secret key"):
        make_core()
    [entry] = audit_rows(core, "secret.rotated")
    assert (entry.actor_kind, entry.detail) == ("operator", {"compromised": False})


def test_after_a_compromise_nothing_old_is_accepted_and_everybody_can_begin_anew(
    core: Core, make_core: Make, clock: MovedClock
) -> None:
    active(core)
    pair = logged_in(core)
    passwords.forgot(core, email=EMAIL, actor=STRANGER)
    [mail] = delivered(core)
    other = make_core()
    key_rotation.rotate(core, actor=OPERATOR)
    rotated = secret_rotation.rotate_secret(core, compromised=True, actor=OPERATOR)
    assert (rotated.keys, rotated.sessions, rotated.links) == (len(Use), 1, 1)
    for one in (other, make_core()):
        keys.follow(one)
        with pytest.raises(InvalidToken):
            authenticate(one, access_token=pair.access_token, actor=STRANGER)
        with pytest.raises(InvalidToken):
            refresh(one, pair)
        with pytest.raises(InvalidLink):
            passwords.reset(one, token=token_in(mail), new_password=OTHER_PASSWORD, actor=STRANGER)
    with pytest.raises(SessionEnded):  # Not its key alone: the session itself is over.
        authenticate(core, access_token=pair.access_token, actor=STRANGER)
    new = logged_in(other)
    assert authenticate(other, access_token=new.access_token, actor=STRANGER)
    assert {key.state for key in key_rotation.list_keys(core, actor=OPERATOR)} == {"signs", "refused"}
    assert len(audit_rows(core, "key.refused")) == 9
    clock.move(minutes=2)
    passwords.forgot(other, email=EMAIL, actor=STRANGER)
    [again] = delivered(other)
    passwords.reset(other, token=token_in(again), new_password=OTHER_PASSWORD, actor=STRANGER)


def test_killed_before_the_database_knows_the_new_one_the_old_one_stays(
    core: Core, make_core: Make, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = file.read_text()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killing(patch, "write_next", after=True)
        secret_rotation.rotate_secret(core, actor=OPERATOR)
    assert file.read_text() == old
    assert make_core().key_ring
    (file.parent / f".secret.key.{'0' * 16}").write_text("a draft that was not finished")
    kept = file.parent / ".secret.key.copy-of-2026"
    kept.write_text("a copy of somebody's own")
    secret_rotation.rotate_secret(core, actor=OPERATOR)
    assert {found.name for found in file.parent.glob("*secret*")} == {"secret.key", kept.name}
    assert make_core().key_ring


def test_killed_before_the_file_is_replaced_the_next_start_does_it(
    core: Core, make_core: Make, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = file.read_text()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killing(patch, "take_next", after=False)
        secret_rotation.rotate_secret(core, compromised=True, actor=OPERATOR)
    assert file.read_text() == old
    keys.follow(core)  # a process that runs meanwhile
    assert keys.check_ring(core) == len(Use)
    assert file.read_text() == old
    assert {key.kid for key in make_core().key_ring.keys} == {key.kid for key in core.key_ring.keys}
    assert file.read_text() != old
    assert [found.name for found in file.parent.glob("*secret*")] == ["secret.key"]


def test_a_secret_in_the_settings_is_replaced_by_the_one_that_is_given(
    make_core: Make, file: Path, clock: MovedClock
) -> None:
    old = file.read_text().strip()
    core = make_core(server__secret_key=old)
    active(core)
    pair = logged_in(core)
    with pytest.raises(NewSecretMissing):
        secret_rotation.rotate_secret(core, actor=OPERATOR)
    for unfit in ("short", "change-me " * 9):
        with pytest.raises(NewSecretUnfit):
            secret_rotation.rotate_secret(core, new_secret=unfit, actor=OPERATOR)
    rotated = secret_rotation.rotate_secret(core, new_secret=NEW, actor=OPERATOR)
    assert not rotated.in_file
    assert file.read_text().strip() == old
    keys.follow(core)
    pair = refresh(core, pair)
    assert refresh(make_core(server__secret_key=NEW), pair)
    with pytest.raises(SettingsError, match=r"server\.secret_key: this is not the secret key"):
        make_core(server__secret_key=old)


def test_a_process_that_cannot_open_the_new_keys_signs_nothing_and_says_so(
    make_core: Make, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = file.read_text().strip()
    core, running = make_core(server__secret_key=old), make_core(server__secret_key=old)
    active(core)
    pair = logged_in(running)
    secret_rotation.rotate_secret(core, new_secret=NEW, compromised=True, actor=OPERATOR)
    keys.follow(running)
    assert "start this process again" in caplog.text
    with pytest.raises(InvalidToken):
        authenticate(running, access_token=pair.access_token, actor=STRANGER)
    with pytest.raises(KeysUnavailable):
        logged_in(running)
    caplog.clear()
    keys.follow(running)
    assert caplog.text == ""
    assert logged_in(make_core(server__secret_key=NEW))


@pytest.mark.parametrize("compromised", [False, True])
def test_webhooks_keep_their_secrets_under_the_new_one(
    core: Core, make_core: Make, compromised: bool
) -> None:
    made = webhooks.create(core, url="https://receiver.example/", actor=OPERATOR)
    again = webhooks.rotate_secret(core, webhook_id=made.id, actor=OPERATOR)
    other = make_core()
    rotated = secret_rotation.rotate_secret(core, compromised=compromised, actor=OPERATOR)
    assert rotated.webhooks == 1
    with pytest.raises(KeysChanged):
        webhooks.create(core, url="https://receiver.example/", actor=OPERATOR)
    for one in (other, make_core()):
        keys.follow(one)
        with one.read() as tx:
            [webhook] = tx.webhooks.all()
        wrapped = (webhook.old_secret_wrapped, webhook.secret_wrapped)
        opened = [one.webhook_secrets.open(webhook.id, secret or b"") for secret in wrapped]
        assert [as_text(secret) for secret in opened] == [made.secret, again.secret]


def test_keys_that_are_rotated_afterwards_are_wrapped_under_the_new_one(core: Core, make_core: Make) -> None:
    other = make_core()
    secret_rotation.rotate_secret(core, actor=OPERATOR)
    key_rotation.rotate(other, actor=OPERATOR)
    assert len(make_core().key_ring.keys) == 9


def test_only_the_shell_may_replace_it(core: Core, file: Path) -> None:
    old = file.read_text()
    for actor in (STRANGER, Actor("user", active(core).id), Actor.job("rotate_keys")):
        with pytest.raises(Forbidden):
            secret_rotation.rotate_secret(core, compromised=True, actor=actor)
    assert file.read_text() == old


def test_two_that_replace_it_at_once_and_are_both_killed_leave_the_one_that_the_database_knows(
    core: Core, make_core: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = make_core()
    with monkeypatch.context() as first:
        killing(first, "take_next", after=False)
        with pytest.raises(Killed):
            secret_rotation.rotate_secret(core, actor=OPERATOR)
    with monkeypatch.context() as second:
        killing(second, "write_next", after=True)
        with pytest.raises(Killed):
            secret_rotation.rotate_secret(later, actor=OPERATOR)

    keys.open_ring(make_core())


def test_who_starts_while_it_is_replaced_has_the_new_one(
    core: Core, make_core: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, starting, rotated = secret_key.find, make_core(), []

    def find(settings: Settings) -> str | None:
        if not rotated:
            rotated.append(True)
            secret_rotation.rotate_secret(core, actor=OPERATOR)
        return real(settings)

    monkeypatch.setattr(secret_key, "find", find)

    keys.open_ring(starting)

    assert starting.webhook_secrets.check == secret_check(str(real(core.settings)))


def test_who_starts_as_the_new_one_takes_the_place_of_the_file_has_it(
    core: Core, make_core: Make, monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    starting = make_core()
    with monkeypatch.context() as killed:
        killing(killed, "take_next", after=False)
        with pytest.raises(Killed):
            secret_rotation.rotate_secret(core, new_secret=NEW, actor=OPERATOR)
    real = secret_key.find

    def find(settings: Settings) -> str | None:
        found = real(settings)
        secret_key.take_next(file, secret_check(NEW))
        return found

    monkeypatch.setattr(secret_key, "find", find)

    keys.open_ring(starting)

    assert starting.webhook_secrets.check == secret_check(NEW)


def test_a_file_that_cannot_be_replaced_is_told_before_the_database_knows_the_new_one(
    core: Core, make_core: Make, monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    real = os.replace

    def busy(source: Path, target: Path) -> None:
        if target == file:  # Mounted by itself, as containers are given secrets.
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", busy)
        with pytest.raises(SettingsError, match="cannot be replaced: Device or resource busy"):
            secret_rotation.rotate_secret(core, actor=OPERATOR)
        assert make_core().webhook_secrets.check == core.webhook_secrets.check
    assert [found.name for found in file.parent.glob("*secret*")] == ["secret.key"]
