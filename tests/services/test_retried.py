"""On PostgreSQL two transactions can be in each other's way: each step that writes is done again then."""

from importlib import import_module

import pytest

from tests.services.test_audit_complete import OPENERS
from usersvc.core import retried


@pytest.mark.parametrize("name", sorted(OPENERS))
def test_r18_every_step_that_writes_is_done_again(name: str) -> None:
    module, _, function = name.partition(".")
    step = getattr(import_module(f"usersvc.services.{module}"), function)
    assert step.__code__ is retried(step).__code__
