"""The key ring's rows: one current key for each use, one secret for good."""

from dataclasses import replace

import pytest
from sqlalchemy.exc import IntegrityError

from tests.factories import pending
from usersvc.core import Core
from usersvc.repositories.keys import StoredKey


def _all(core: Core) -> dict[str, StoredKey]:
    with core.read() as tx:
        return {key.use: key for key in tx.keys.all()}


def test_the_database_knows_one_secret_and_takes_no_other(core: Core) -> None:
    with core.read() as tx:
        known = tx.keys.secret_check()
    with core.write() as tx:
        assert not tx.keys.remember_secret(b"\0" * 32, at=tx.now)
    with core.read() as tx:
        assert tx.keys.secret_check() == known
    assert known


def test_a_use_has_one_current_key_and_any_number_of_retired_ones(core: Core) -> None:
    key = _all(core)["link"]
    with pytest.raises(IntegrityError), core.write() as tx:
        tx.keys.insert(replace(key, kid="second"))
    with core.write() as tx:
        tx.keys.insert(replace(key, kid="old", retired_at=tx.now))
        tx.keys.insert(replace(key, kid="older", retired_at=tx.now))
    with core.read() as tx:
        assert {found.kid for found in tx.keys.all() if found.use == "link"} == {key.kid, "old", "older"}


def test_a_key_comes_back_as_it_was_kept(core: Core) -> None:
    key = _all(core)["access"]
    assert key.public_jwk
    with core.write() as tx:
        kept = replace(
            key, kid="copy", private_wrapped=b"\0\xff" * 30, retired_at=tx.now, compromised_at=tx.now
        )
        tx.keys.insert(kept)
    with core.read() as tx:
        assert kept in tx.keys.all()


def test_a_symmetric_key_has_no_public_part(core: Core) -> None:
    assert {use for use, key in _all(core).items() if key.public_jwk} == {"access"}
    with core.read() as tx:
        empty = tx.connection.exec_driver_sql("SELECT count(*) FROM keys WHERE public_jwk IS NULL").scalar()
    assert empty == 4


def test_a_key_that_links_were_made_with_cannot_be_deleted(core: Core) -> None:
    pending(core)
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"), core.write() as tx:
        tx.connection.exec_driver_sql("DELETE FROM keys WHERE use = 'link'")
