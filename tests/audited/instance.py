"""The database, its keys, its jobs."""

from collections.abc import Iterator
from contextlib import suppress

from sqlalchemy import text

from tests import outbox as mails
from tests.audited.case import PURGE, World, told
from tests.conftest import settings_for
from tests.factories import (
    OPERATOR,
    STRANGER,
    active,
    delivered,
    logged_in,
    pending,
)
from usersvc.core import Core, build
from usersvc.services import (
    copying,
    health,
    key_rotation,
    keys,
    maintenance,
    migration,
    secret_rotation,
    watching,
)
from usersvc.services.actor import Actor


@told(migration.prepare, "schema.migrated | operator tester |  | ok")
def migrate(w: World) -> Iterator[None]:
    w.core = build(settings_for(w.core.database.path.parent / "new"), clock=w.clock)
    w.core.database.create()
    yield
    try:
        migration.prepare(w.core, actor=OPERATOR)
    finally:
        w.core.close()


def _empty(w: World) -> Core:
    assert w.core.database.path
    return build(w.core.settings.on_database(f"sqlite:///{w.core.database.path}.copy"), clock=w.clock)


@told(migration.prepare_copy)
def make_a_database_ready_to_be_copied_into(w: World) -> Iterator[None]:
    """The copy is told when it is complete."""
    source, w.core = w.core, _empty(w)
    plan = copying.plan(source, w.core)
    w.core.database.create()
    yield
    migration.prepare_copy(w.core, mark=plan.mark)
    w.core.close()


@told(copying.copy, "database.copied | operator tester |  | ok")
def copy_a_database(w: World) -> Iterator[None]:
    """What is copied has its entries; here it is there already, and is compared and released."""
    source, w.core = w.core, _empty(w)
    plan = copying.plan(source, w.core)
    migration.prepare_copy(w.core, mark=plan.mark)
    with suppress(mails.Killed):
        copying.copy(source, w.core, plan=plan, actor=OPERATOR, verified=_kill)
    yield
    try:
        copying.copy(source, w.core, plan=plan, actor=OPERATOR)
    finally:
        w.core.close()


def _kill(rows: int) -> None:
    raise mails.Killed


@told(keys.open_ring, "secret.set | job start |  | ok", *["key.created | job start |  | ok"] * len(keys.Use))
def make_the_keys(w: World) -> Iterator[None]:
    with w.core.write() as tx:
        for table in ("keys", "instance"):
            tx.connection.execute(text(f"DELETE FROM {table}"))
    yield
    keys.open_ring(w.core)


_ROTATED = ["key.retired | operator tester |  | ok", "key.created | operator tester |  | ok"]


@told(key_rotation.rotate, *_ROTATED)
def rotate_a_key(w: World) -> Iterator[None]:
    yield
    key_rotation.rotate(w.core, uses=[keys.Use.LINK], actor=OPERATOR)


@told(
    key_rotation.rotate_due, *[event.replace("operator tester", "job rotate_keys") for event in _ROTATED * 4]
)
def rotate_keys_by_the_clock(w: World) -> Iterator[None]:
    w.core = w.make_core(tokens__rotation_days=30)
    w.clock.move(days=31)
    yield
    key_rotation.rotate_due(w.core, actor=Actor.job("rotate_keys"))


@told(key_rotation.retire, "key.refused | operator tester |  | ok", _ROTATED[1])
def retire_a_key(w: World) -> Iterator[None]:
    [kid, *_] = [key.kid for key in w.core.key_ring.keys]
    yield
    key_rotation.retire(w.core, kid=kid, actor=OPERATOR)


@told(secret_rotation.rotate_secret, "secret.rotated | operator tester |  | ok")
def replace_the_secret_key(w: World) -> Iterator[None]:
    yield
    secret_rotation.rotate_secret(w.core, actor=OPERATOR)


@told(
    secret_rotation.rotate_secret,
    *["key.refused | operator tester |  | ok"] * len(keys.Use),
    *[_ROTATED[1]] * len(keys.Use),
    "secret.rotated | operator tester |  | ok",
)
def replace_a_secret_key_that_others_have_seen(w: World) -> Iterator[None]:
    yield
    secret_rotation.rotate_secret(w.core, compromised=True, actor=OPERATOR)


@told(health.beat)
def give_a_sign_of_life(w: World) -> Iterator[None]:
    yield
    health.beat(w.core)


@told(health.check_ready)
def probe(w: World) -> Iterator[None]:
    yield
    health.check_ready(w.core, actor=STRANGER)


@told(watching.warn)
def look_for_workers(w: World) -> Iterator[None]:
    yield
    watching.warn(w.core)


@told(
    maintenance.purge,
    "user.purged | job purge_expired | bob | ok",
    "audit.purged | job purge_expired |  | ok",
    "key.deleted | job purge_expired |  | ok",
    "data.purged | job purge_expired |  | ok",
)
def purge(w: World) -> Iterator[None]:
    """Something of each kind."""
    active(w.core)
    logged_in(w.core)
    key_rotation.rotate(w.core, uses=[keys.Use.CURSOR], actor=OPERATOR)
    w.clock.move(days=500)
    mails.queue(w.core)
    delivered(w.core)
    pending(w.core, "bob@example.org")
    w.clock.move(days=8)
    yield
    maintenance.purge(w.core, actor=PURGE)


@told(maintenance.purge_slot, "data.purged | job purge_expired |  | ok")
def purge_by_the_clock(w: World) -> Iterator[None]:
    yield
    maintenance.purge_slot(w.core, w.clock.now(), actor=PURGE)
