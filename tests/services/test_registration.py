from tests.factories import EMAIL, active
from usersvc.core import Core


def test_who_registers_and_opens_the_link_has_an_active_account(core: Core) -> None:
    account = active(core)
    assert (account.email, account.status, account.email_verified) == (EMAIL, "active", True)
