"""What a token is worth now: everything that ends it ends it at once, and nobody sees another one's."""

import pytest

from tests.conftest import Make
from tests.factories import EMAIL, OPERATOR, STRANGER, active, logged_in, rewrite_user, signed_in
from tests.forgery import forgeries, resigned
from usersvc.clock import MovedClock
from usersvc.core import Core
from usersvc.errors import MayNotRevoke
from usersvc.security.keys import Use
from usersvc.services import admin, audiences, client_credentials, maintenance, service_accounts, sessions
from usersvc.services.actor import Actor
from usersvc.services.client_authentication import Client, authenticate_client
from usersvc.services.introspection import introspect
from usersvc.services.revocation import revoke
from usersvc.services.service_accounts import NewService


@pytest.fixture
def core(make_core: Make) -> Core:
    return make_core(tokens__audiences="billing, files")


def made(core: Core, name: str, *named: str, may_end_sessions: bool = False) -> NewService:
    return service_accounts.create(
        core,
        name=name,
        permissions=["a:x", "b:y"],
        audiences=named,
        may_end_sessions=may_end_sessions,
        actor=OPERATOR,
    )


def client_of(core: Core, new: NewService) -> Client:
    return authenticate_client(
        core,
        client_id=str(new.service.id),
        client_secret=new.credential.client_secret,
        actor=STRANGER,
    )


def of_user(core: Core, actor: Actor, audience: str = "billing") -> str:
    return audiences.issue_token(core, audience=audience, actor=actor).access_token


def of_service(core: Core, client: Client, audience: str | None = None) -> str:
    return client_credentials.issue(core, client=client, scope=None, audience=audience).access_token


def is_active(core: Core, client: Client, token: str) -> bool:
    return introspect(core, client=client, token=token) is not None


def test_a_user_is_shown_as_the_database_has_him_now(core: Core, clock: MovedClock) -> None:
    account = active(core)
    client = client_of(core, made(core, "billing", "billing"))
    token = of_user(core, signed_in(core))
    admin.set_role(core, user_id=account.id, role="moderator", actor=OPERATOR)
    found = introspect(core, client=client, token=token)
    assert found is not None
    assert (found.role, found.permissions) == ("moderator", ["content:manage"])
    clock.move(seconds=599)
    assert is_active(core, client, token)
    # No leeway: who asks here needs no second clock.
    clock.move(seconds=1)
    assert not is_active(core, client, token)


def test_a30_what_ends_a_session_or_an_account_ends_its_tokens_at_once(core: Core) -> None:
    account = active(core)
    client = client_of(core, made(core, "billing", "billing"))
    tokens = {}
    for how in ("logged out", "revoked", "deactivated"):
        if how == "logged out":
            pair = logged_in(core)
            tokens[how] = of_user(core, signed_in(core))
            assert is_active(core, client, tokens[how])
            sessions.log_out(core, refresh_token=pair.refresh_token, actor=STRANGER)
            assert is_active(core, client, tokens[how]), "it is another session's"
        if how == "revoked":
            sessions.revoke_all(core, user_id=account.id, actor=OPERATOR)
            assert not is_active(core, client, tokens["logged out"])
        if how == "deactivated":
            token = of_user(core, signed_in(core))
            rewrite_user(core, EMAIL, status="deactivated")
            assert not is_active(core, client, token)


def test_a59_what_ends_a_service_ends_its_tokens_at_once(core: Core) -> None:
    looks = client_of(core, made(core, "looks", "billing", "files"))
    new = made(core, "asks", "billing", "files")
    service_id = new.service.id
    token = of_service(core, client_of(core, new), "billing")
    found = introspect(core, client=looks, token=token)
    assert found is not None
    assert (found.role, found.permissions, found.claims.session_id) == (None, ["a:x", "b:y"], None)
    service_accounts.change(core, service_id=service_id, permissions=["b:y", "c:z"], actor=OPERATOR)
    found = introspect(core, client=looks, token=token)
    assert found is not None
    assert found.permissions == ["b:y"], "no more than it says, no more than is held"
    service_accounts.deactivate(core, service_id=service_id, actor=OPERATOR)
    assert not is_active(core, looks, token)
    service_accounts.activate(core, service_id=service_id, actor=OPERATOR)
    assert is_active(core, looks, token)
    service_accounts.change(core, service_id=service_id, audiences=["files"], actor=OPERATOR)
    assert not is_active(core, looks, token)
    service_accounts.change(core, service_id=service_id, audiences=["billing"], actor=OPERATOR)
    rotated = service_accounts.rotate(core, service_id=service_id, actor=OPERATOR)
    service_accounts.revoke_credential(
        core, service_id=service_id, credential_id=new.credential.id, actor=OPERATOR
    )
    assert not is_active(core, looks, token)
    again = authenticate_client(
        core, client_id=str(service_id), client_secret=rotated.client_secret, actor=STRANGER
    )
    assert is_active(core, looks, of_service(core, again))


def test_a72_nobody_sees_a_token_for_another_audience(core: Core, make_core: Make) -> None:
    active(core)
    actor = signed_in(core)
    billing, files = made(core, "billing", "billing"), made(core, "files", "files")
    none = client_of(core, made(core, "none"))
    sees, sees_not = client_of(core, billing), client_of(core, files)
    for token in (of_user(core, actor), of_service(core, sees)):
        assert is_active(core, sees, token)
        assert not is_active(core, sees_not, token)
        assert not is_active(core, none, token)
        assert not is_active(make_core(tokens__audiences="files"), sees, token)
    for token in (*vars(logged_in(core)).values(), "", "x", "\ud800", "x" * 100_000):
        assert not is_active(core, sees, str(token))


def test_a70_no_forgery_is_active_or_revokes_anything(core: Core) -> None:
    active(core)
    actor = signed_in(core)
    client = client_of(core, made(core, "billing", "billing", may_end_sessions=True))
    ring, now = core.key_ring, int(core.clock.now().timestamp())
    for token in (of_user(core, actor), of_service(core, client)):
        made_wrong = {
            **forgeries(ring, Use.ACCESS, token),
            "from the future": resigned(ring, Use.ACCESS, token, iat=now + 31),
            "not before the future": resigned(ring, Use.ACCESS, token, nbf=now + 31),
        }
        # RFC 9068 wants it, nobody here decides by it.
        made_wrong.pop("without scope", None)
        for name, forged in made_wrong.items():
            assert not is_active(core, client, forged), name
            revoke(core, client=client, token=forged)
        assert is_active(core, client, token)
    user = resigned(ring, Use.ACCESS, of_user(core, actor), sub=str(client.service.id))
    service = resigned(ring, Use.ACCESS, of_service(core, client), sub=str(actor.user_id))
    assert not is_active(core, client, user)
    assert not is_active(core, client, service)


def test_a_service_revokes_its_own_tokens_and_the_sessions_it_may_end(core: Core, clock: MovedClock) -> None:
    active(core)
    actor, other = signed_in(core), signed_in(core)
    asks = client_of(core, made(core, "asks", "billing"))
    ends = client_of(core, made(core, "ends", "billing", may_end_sessions=True))
    elsewhere = client_of(core, made(core, "elsewhere", "files", may_end_sessions=True))
    own, left, users, others = (
        of_service(core, asks),
        of_service(core, asks),
        of_user(core, actor),
        of_user(core, other),
    )
    for client, token in ((asks, users), (ends, own)):
        with pytest.raises(MayNotRevoke):
            revoke(core, client=client, token=token)
    for token in (own, users):
        revoke(core, client=elsewhere, token=token)
        assert is_active(core, asks, token)
    revoke(core, client=asks, token=own)
    revoke(core, client=ends, token=users)
    assert [is_active(core, asks, token) for token in (own, left, users, others)] == [
        *(False, True),
        *(False, True),
    ]
    with core.read() as tx:
        assert tx.services.count_revoked_before(clock.now().replace(year=9999)) == 1
    clock.move(minutes=11)
    purged = maintenance.purge(core, actor=Actor.job("purge_expired"))
    assert purged["revoked_tokens"] == 1
