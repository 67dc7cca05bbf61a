"""Every use case that writes, as it is done for real, and what the audit then tells.

A case prepares up to its `yield` and acts after it. An event is told as: action, who acted, to whom, outcome.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import text

from tests import outbox as mails
from tests.conftest import Make, settings_for
from tests.factories import (
    EMAIL,
    OPERATOR,
    OTHER_PASSWORD,
    PASSWORD,
    STRANGER,
    active,
    an_admin,
    deactivated,
    delivered,
    invited,
    logged_in,
    pending,
    signed_in,
    token_in,
    user_row,
)
from tests.groups import a_group, put_in
from tests.hooks import hook, reachable, tell, the_delivery
from tests.processes import free_port
from tests.profiles import schemas_in
from tests.receivers import Receiver, receiver
from usersvc.clock import MovedClock
from usersvc.core import Core, build
from usersvc.errors import DomainError, Overloaded, WrongPassword
from usersvc.mail.errors import LoginRefused, MailRefused
from usersvc.services import (
    accounts,
    admin,
    attempts,
    audiences,
    client_authentication,
    client_credentials,
    copying,
    delivery,
    first_admin,
    groups,
    health,
    invitations,
    key_rotation,
    keys,
    login,
    maintenance,
    memberships,
    migration,
    outbox,
    passwords,
    profiles,
    registration,
    requests,
    revocation,
    secret_rotation,
    service_accounts,
    sessions,
    watching,
    webhook_delivery,
    webhooks,
)
from usersvc.services.actor import Actor
from usersvc.services.client_authentication import Client

ROOT = "root@example.org"
PURGE = Actor.job("purge_expired")


@dataclass
class World:
    core: Core
    clock: MovedClock
    make_core: Make


@dataclass(frozen=True)
class Case:
    use: Callable[..., Any]
    run: Callable[[World], Iterator[None]]
    events: tuple[str, ...]


CASES: dict[str, Case] = {}


def told(use: Callable[..., Any], *events: str) -> Callable[[Callable[[World], Iterator[None]]], None]:
    def add(run: Callable[[World], Iterator[None]]) -> None:
        CASES[run.__name__] = Case(use, run, events)

    return add


# -- registering and activating


@told(registration.register, "user.registered | anonymous | ada | ok")
def register(w: World) -> Iterator[None]:
    yield
    registration.register(w.core, email=EMAIL, password=PASSWORD, actor=STRANGER)


@told(registration.register, "user.registered_again | anonymous | ada | ok")
def register_again_while_pending(w: World) -> Iterator[None]:
    pending(w.core)
    yield
    registration.register(w.core, email=EMAIL, password=OTHER_PASSWORD, actor=STRANGER)


@told(registration.register, "user.registered_again | anonymous | ada | ok")
def register_an_active_address(w: World) -> Iterator[None]:
    active(w.core)
    yield
    registration.register(w.core, email=EMAIL, password=OTHER_PASSWORD, actor=STRANGER)


@told(registration.register, "user.registered | anonymous | ada | ok")
def register_without_activation(w: World) -> Iterator[None]:
    w.core = w.make_core(registration__activation=False)
    yield
    registration.register(w.core, email=EMAIL, password=PASSWORD, actor=STRANGER)


@told(registration.resend_activation, "activation.requested | anonymous |  | ok")
def ask_for_another_activation_mail(w: World) -> Iterator[None]:
    yield
    registration.resend_activation(w.core, email=EMAIL, actor=STRANGER)


@told(registration.activate, "user.activated | anonymous | ada | ok")
def activate_by_link(w: World) -> Iterator[None]:
    token = pending(w.core)
    yield
    registration.activate(w.core, token=token, actor=STRANGER)


@told(accounts.change, "user.renamed | user ada | ada | ok")
def rename(w: World) -> Iterator[None]:
    active(w.core)
    by = signed_in(w.core)
    yield
    accounts.change(w.core, username="lovelace", actor=by)


def _keeping(w: World) -> None:
    w.core = w.make_core(**schemas_in(w.core.settings.data_dir))


@told(accounts.change, "user.profile_changed | user ada | ada | ok")
def write_the_profile(w: World) -> Iterator[None]:
    _keeping(w)
    active(w.core)
    by = signed_in(w.core)
    yield
    accounts.change(w.core, profile={"points": 1}, actor=by)


# -- logging in and out


@told(login.log_in, "user.logged_in | user ada | ada | ok")
def log_in(w: World) -> Iterator[None]:
    active(w.core)
    yield
    login.log_in(w.core, email=EMAIL, password=PASSWORD, actor=STRANGER)


@told(login.log_in, "user.login_failed | anonymous | ada | INVALID_CREDENTIALS")
def log_in_with_a_wrong_password(w: World) -> Iterator[None]:
    active(w.core)
    yield
    login.log_in(w.core, email=EMAIL, password=OTHER_PASSWORD, actor=STRANGER)


@told(login.log_in, "user.login_failed | anonymous |  | INVALID_CREDENTIALS")
def log_in_under_an_unknown_address(w: World) -> Iterator[None]:
    yield
    login.log_in(w.core, email=EMAIL, password=PASSWORD, actor=STRANGER)


@told(login.log_in, "user.login_failed | anonymous | ada | ACCOUNT_DEACTIVATED")
def log_in_to_a_deactivated_account(w: World) -> Iterator[None]:
    deactivated(w.core)
    yield
    login.log_in(w.core, email=EMAIL, password=PASSWORD, actor=STRANGER)


@told(login.log_in, "session.ended_as_surplus | anonymous | ada | ok", "user.logged_in | user ada | ada | ok")
def log_in_once_too_often(w: World) -> Iterator[None]:
    w.core = w.make_core(sessions__max_per_user=1)
    active(w.core)
    logged_in(w.core)
    yield
    login.log_in(w.core, email=EMAIL, password=PASSWORD, actor=STRANGER)


@told(sessions.refresh)
def refresh(w: World) -> Iterator[None]:
    active(w.core)
    token = logged_in(w.core).refresh_token
    yield
    sessions.refresh(w.core, refresh_token=token, actor=STRANGER)


@told(sessions.refresh, "session.ended_after_reuse | anonymous | ada | TOKEN_REUSED")
def refresh_with_a_copied_token(w: World) -> Iterator[None]:
    active(w.core)
    token = logged_in(w.core).refresh_token
    sessions.refresh(w.core, refresh_token=token, actor=STRANGER)
    w.clock.move(minutes=1)
    yield
    sessions.refresh(w.core, refresh_token=token, actor=STRANGER)


@told(sessions.log_out, "session.logged_out | user ada | ada | ok")
def log_out(w: World) -> Iterator[None]:
    active(w.core)
    token = logged_in(w.core).refresh_token
    yield
    sessions.log_out(w.core, refresh_token=token, actor=STRANGER)


@told(sessions.log_out_everywhere, "session.logged_out_everywhere | user ada | ada | ok")
def log_out_everywhere(w: World) -> Iterator[None]:
    active(w.core)
    by = signed_in(w.core)
    yield
    sessions.log_out_everywhere(w.core, actor=by)


@told(sessions.end_own, "session.ended | user ada | ada | ok")
def end_one_session(w: World) -> Iterator[None]:
    active(w.core)
    by = signed_in(w.core)
    assert by.session_id
    yield
    sessions.end_own(w.core, session_id=by.session_id, actor=by)


@told(sessions.revoke_all, "session.revoked_all | user root | ada | ok")
def revoke_sessions(w: World) -> Iterator[None]:
    account = active(w.core)
    logged_in(w.core)
    an_admin(w.core)
    by = signed_in(w.core, ROOT)
    yield
    sessions.revoke_all(w.core, user_id=account.id, actor=by)


# -- limits


def _fail(w: World, times: int, ip: str = "192.0.2.1") -> None:
    for _ in range(times):
        with suppress(DomainError):
            login.log_in(w.core, email=EMAIL, password=OTHER_PASSWORD, actor=replace(STRANGER, ip=ip))


def _locked(w: World) -> None:
    """An account that nobody gets into from where he never was."""
    w.core = w.make_core(throttle__account_login_attempts=10)
    active(w.core)
    for number in range(10):
        _fail(w, 1, ip=f"198.51.100.{number}")


_FAILED = "user.login_failed | anonymous | ada | INVALID_CREDENTIALS"


@told(login.log_in, _FAILED, "user.login_paused | anonymous | ada | INVALID_CREDENTIALS")
def log_in_in_vain_until_there_is_a_pause(w: World) -> Iterator[None]:
    active(w.core)
    _fail(w, 4)
    yield
    _fail(w, 1)


@told(login.log_in, _FAILED, "user.login_paused | anonymous | ada | INVALID_CREDENTIALS")
def log_in_in_vain_after_a_pause_until_there_is_another(w: World) -> Iterator[None]:
    active(w.core)
    _fail(w, 5)
    w.clock.move(minutes=1)
    yield
    _fail(w, 1)


@told(login.log_in, *[_FAILED] * 2, *["user.login_paused | anonymous | ada | INVALID_CREDENTIALS"] * 2)
def log_in_in_vain_until_the_network_pauses_too(w: World) -> Iterator[None]:
    w.core = w.make_core(throttle__network_login_attempts=5)
    active(w.core)
    _fail(w, 3)
    yield
    _fail(w, 9)


@told(login.log_in, _FAILED, "user.login_locked | anonymous | ada | INVALID_CREDENTIALS")
def log_in_in_vain_until_the_login_is_locked(w: World) -> Iterator[None]:
    w.core = w.make_core(throttle__account_login_attempts=10)
    active(w.core)
    for number in range(9):
        _fail(w, 1, ip=f"198.51.100.{number}")
    yield
    _fail(w, 1)


@told(login.log_in, "user.login_unlocked | anonymous | ada | ok", "user.logged_in | user ada | ada | ok")
def log_in_to_a_locked_account_from_a_known_network(w: World) -> Iterator[None]:
    w.core = w.make_core(throttle__account_login_attempts=10)
    active(w.core)
    logged_in(w.core)
    for number in range(10):
        _fail(w, 1, ip=f"198.51.100.{number}")
    yield
    logged_in(w.core)


@told(passwords.reset, "user.login_unlocked | anonymous | ada | ok", "password.reset | anonymous | ada | ok")
def reset_the_password_of_a_locked_account(w: World) -> Iterator[None]:
    _locked(w)
    passwords.forgot(w.core, email=EMAIL, actor=STRANGER)
    token = token_in(delivered(w.core)[-1])
    yield
    passwords.reset(w.core, token=token, new_password=OTHER_PASSWORD, actor=STRANGER)


@told(login.unlock, "user.login_unlocked | operator tester | ada | ok")
def unlock(w: World) -> Iterator[None]:
    _locked(w)
    user_id = user_row(w.core).id
    yield
    login.unlock(w.core, user_id=user_id, actor=OPERATOR)


@told(attempts.admit)
def count_an_attempt(w: World) -> Iterator[None]:
    yield
    attempts.admit(w.core, email_key=EMAIL, actor=STRANGER)


@told(attempts.verify)
def give_an_attempt_back(w: World) -> Iterator[None]:
    attempt = attempts.admit(w.core, email_key=EMAIL, actor=STRANGER)
    w.core.hashing.close()
    yield
    with suppress(Overloaded):
        attempts.verify(w.core, attempt, password=PASSWORD)


@told(requests.count)
def count_a_request(w: World) -> Iterator[None]:
    yield
    requests.count(w.core, "register", STRANGER)


@told(attempts.succeed)
def give_the_right_password(w: World) -> Iterator[None]:
    active(w.core)
    attempt = attempts.admit(w.core, email_key=EMAIL, actor=STRANGER)
    yield
    attempts.succeed(w.core, attempt)


@told(attempts.fail, "password.change_failed | anonymous | ada | WRONG_PASSWORD")
def settle_a_failure(w: World) -> Iterator[None]:
    active(w.core)
    attempt = attempts.admit(w.core, email_key=EMAIL, actor=STRANGER)
    yield
    attempts.fail(w.core, attempt, WrongPassword(), action="password.change_failed")


# -- passwords


@told(passwords.forgot, "password.forgotten | anonymous |  | ok")
def forget_the_password(w: World) -> Iterator[None]:
    active(w.core)
    yield
    passwords.forgot(w.core, email=EMAIL, actor=STRANGER)


@told(passwords.reset, "password.reset | anonymous | ada | ok")
def reset_the_password(w: World) -> Iterator[None]:
    active(w.core)
    passwords.forgot(w.core, email=EMAIL, actor=STRANGER)
    token = token_in(delivered(w.core)[-1])
    yield
    passwords.reset(w.core, token=token, new_password=OTHER_PASSWORD, actor=STRANGER)


@told(passwords.reset, "user.activated | anonymous | ada | ok")
def accept_an_invitation(w: World) -> Iterator[None]:
    token = invited(w.core)
    yield
    passwords.reset(w.core, token=token, new_password=PASSWORD, actor=STRANGER)


@told(passwords.change, "password.changed | user ada | ada | ok")
def change_the_password(w: World) -> Iterator[None]:
    active(w.core)
    by = signed_in(w.core)
    yield
    passwords.change(w.core, current_password=PASSWORD, new_password=OTHER_PASSWORD, actor=by)


@told(passwords.change, "password.change_failed | user ada | ada | WRONG_PASSWORD")
def change_the_password_with_a_wrong_one(w: World) -> Iterator[None]:
    active(w.core)
    by = signed_in(w.core)
    yield
    passwords.change(w.core, current_password=OTHER_PASSWORD, new_password=OTHER_PASSWORD, actor=by)


@told(passwords.mail_reset, "password.reset_mailed | operator tester | ada | ok")
def mail_a_reset_link(w: World) -> Iterator[None]:
    account = active(w.core)
    yield
    passwords.mail_reset(w.core, user_id=account.id, actor=OPERATOR)


@told(passwords.show_reset_link, "password.reset_link_shown | operator tester | ada | ok")
def show_a_reset_link(w: World) -> Iterator[None]:
    account = active(w.core)
    yield
    passwords.show_reset_link(w.core, user_id=account.id, actor=OPERATOR)


# -- administration


@told(invitations.invite, "user.invited | user root | ada | ok")
def invite(w: World) -> Iterator[None]:
    an_admin(w.core)
    by = signed_in(w.core, ROOT)
    yield
    invitations.invite(w.core, email=EMAIL, actor=by)


@told(admin.activate, "user.activated | operator tester | ada | ok")
def activate_a_pending_account(w: World) -> Iterator[None]:
    pending(w.core)
    account = user_row(w.core)
    yield
    admin.activate(w.core, user_id=account.id, actor=OPERATOR)


@told(admin.activate, "user.activated | operator tester | ada | ok")
def activate_a_deactivated_account(w: World) -> Iterator[None]:
    account = deactivated(w.core)
    yield
    admin.activate(w.core, user_id=account.id, actor=OPERATOR)


@told(admin.deactivate, "user.deactivated | user root | ada | ok")
def deactivate(w: World) -> Iterator[None]:
    account = active(w.core)
    logged_in(w.core)
    an_admin(w.core)
    by = signed_in(w.core, ROOT)
    yield
    admin.deactivate(w.core, user_id=account.id, actor=by)


@told(admin.set_role, "user.role_changed | user root | ada | ok")
def set_a_role(w: World) -> Iterator[None]:
    account = active(w.core)
    an_admin(w.core)
    by = signed_in(w.core, ROOT)
    yield
    admin.set_role(w.core, user_id=account.id, role="moderator", actor=by)


@told(profiles.set_attributes, "user.attributes_changed | user root | ada | ok")
def set_attributes(w: World) -> Iterator[None]:
    _keeping(w)
    account = active(w.core)
    an_admin(w.core)
    by = signed_in(w.core, ROOT)
    yield
    profiles.set_attributes(w.core, user_id=account.id, attributes={"plan": "paid"}, actor=by)


@told(profiles.set_profile, "user.profile_changed | operator tester | ada | ok")
def set_a_profile(w: World) -> Iterator[None]:
    _keeping(w)
    account = active(w.core)
    yield
    profiles.set_profile(w.core, user_id=account.id, profile={"points": 1}, actor=OPERATOR)


@told(first_admin.create_admin, "user.created | operator tester | root | ok")
def create_an_administrator(w: World) -> Iterator[None]:
    yield
    first_admin.create_admin(w.core, email=ROOT, password=PASSWORD, actor=OPERATOR)


@told(first_admin.create_admin, "user.role_changed | operator tester | ada | ok")
def promote_an_active_account(w: World) -> Iterator[None]:
    active(w.core)
    yield
    first_admin.create_admin(w.core, email=EMAIL, password=None, actor=OPERATOR)


@told(
    first_admin.create_admin,
    "user.activated | operator tester | ada | ok",
    "user.role_changed | operator tester | ada | ok",
)
def promote_a_pending_account(w: World) -> Iterator[None]:
    pending(w.core)
    yield
    first_admin.create_admin(w.core, email=EMAIL, password=OTHER_PASSWORD, actor=OPERATOR)


# -- groups


@told(groups.create, "group.created | user root |  | ok")
def create_a_group(w: World) -> Iterator[None]:
    an_admin(w.core)
    by = signed_in(w.core, ROOT)
    yield
    groups.create(w.core, name="desk", permissions=["orders:read"], actor=by)


@told(groups.change, "group.changed | operator tester |  | ok")
def change_a_group(w: World) -> Iterator[None]:
    group = a_group(w.core, "desk", "orders:read")
    yield
    groups.change(w.core, group_id=group.id, name="counter", grant=["orders:write"], actor=OPERATOR)


@told(groups.delete, "group.deleted | operator tester |  | ok")
def delete_a_group(w: World) -> Iterator[None]:
    active(w.core)
    group = a_group(w.core)
    put_in(w.core, group)
    yield
    groups.delete(w.core, group_id=group.id, actor=OPERATOR)


@told(memberships.add, "group.member_added | user mia | ada | ok")
def add_a_member_as_a_manager(w: World) -> Iterator[None]:
    account, group = active(w.core), a_group(w.core)
    active(w.core, "mia@example.org")
    put_in(w.core, group, "mia@example.org", manager=True)
    by = signed_in(w.core, "mia@example.org")
    yield
    memberships.add(w.core, group_id=group.id, user_id=account.id, actor=by)


@told(memberships.add, "group.member_changed | operator tester | ada | ok")
def make_a_member_a_manager(w: World) -> Iterator[None]:
    active(w.core)
    group = a_group(w.core)
    user_id = put_in(w.core, group)
    yield
    memberships.add(w.core, group_id=group.id, user_id=user_id, manager=True, actor=OPERATOR)


@told(memberships.remove, "group.member_removed | operator tester | ada | ok")
def remove_a_member(w: World) -> Iterator[None]:
    active(w.core)
    group = a_group(w.core)
    user_id = put_in(w.core, group)
    yield
    memberships.remove(w.core, group_id=group.id, user_id=user_id, actor=OPERATOR)


# -- service accounts


def _service(w: World, **more: Any) -> service_accounts.NewService:
    w.core = w.make_core(tokens__audiences="billing")
    return service_accounts.create(
        w.core, name="billing", permissions=["orders:read"], audiences=["billing"], actor=OPERATOR, **more
    )


def _client(w: World, made: service_accounts.NewService) -> Client:
    return client_authentication.authenticate_client(
        w.core,
        client_id=str(made.service.id),
        client_secret=made.credential.client_secret,
        actor=STRANGER,
    )


@told(service_accounts.create, "service.created | user root |  | ok")
def create_a_service(w: World) -> Iterator[None]:
    an_admin(w.core)
    by = signed_in(w.core, ROOT)
    yield
    service_accounts.create(w.core, name="billing", permissions=["orders:read"], actor=by)


@told(service_accounts.change, "service.changed | operator tester |  | ok")
def change_a_service(w: World) -> Iterator[None]:
    made = _service(w)
    yield
    service_accounts.change(w.core, service_id=made.service.id, permissions=[], actor=OPERATOR)


@told(service_accounts.rotate, "service.rotated | operator tester |  | ok")
def rotate_a_service(w: World) -> Iterator[None]:
    made = _service(w)
    yield
    service_accounts.rotate(w.core, service_id=made.service.id, actor=OPERATOR)


@told(service_accounts.revoke_credential, "service.credential_revoked | operator tester |  | ok")
def revoke_a_credential(w: World) -> Iterator[None]:
    made = _service(w)
    yield
    service_accounts.revoke_credential(
        w.core, service_id=made.service.id, credential_id=made.credential.id, actor=OPERATOR
    )


@told(service_accounts.deactivate, "service.deactivated | operator tester |  | ok")
def deactivate_a_service(w: World) -> Iterator[None]:
    made = _service(w)
    yield
    service_accounts.deactivate(w.core, service_id=made.service.id, actor=OPERATOR)


@told(service_accounts.activate, "service.activated | operator tester |  | ok")
def activate_a_service(w: World) -> Iterator[None]:
    made = _service(w)
    service_accounts.deactivate(w.core, service_id=made.service.id, actor=OPERATOR)
    yield
    service_accounts.activate(w.core, service_id=made.service.id, actor=OPERATOR)


@told(client_authentication.authenticate_client)
def use_a_credential_for_the_first_time(w: World) -> Iterator[None]:
    made = _service(w)
    yield
    _client(w, made)


@told(
    client_authentication.authenticate_client,
    "service.authentication_failed | anonymous |  | INVALID_CLIENT",
)
def use_a_credential_that_was_revoked(w: World) -> Iterator[None]:
    made = _service(w)
    service_accounts.revoke_credential(
        w.core, service_id=made.service.id, credential_id=made.credential.id, actor=OPERATOR
    )
    yield
    _client(w, made)


@told(revocation.revoke, "token.revoked | service billing |  | ok")
def revoke_a_service_token(w: World) -> Iterator[None]:
    client = _client(w, _service(w))
    token = client_credentials.issue(w.core, client=client, scope=None, audience=None).access_token
    yield
    revocation.revoke(w.core, client=client, token=token)


@told(revocation.revoke, "session.revoked | service billing | ada | ok")
def revoke_a_user_token(w: World) -> Iterator[None]:
    client = _client(w, _service(w, may_end_sessions=True))
    active(w.core)
    token = audiences.issue_token(w.core, audience="billing", actor=signed_in(w.core)).access_token
    yield
    revocation.revoke(w.core, client=client, token=token)


# -- mail


@told(delivery.deliver_due)
def send_a_mail(w: World) -> Iterator[None]:
    mails.queue(w.core)
    yield
    mails.deliver(w.core)


@told(delivery.deliver_due)
def drop_a_mail_whose_link_is_dead(w: World) -> Iterator[None]:
    mails.registered(w.core)
    w.clock.move(days=2)
    yield
    mails.deliver(w.core)


@told(delivery.deliver_due, "password.reset_mailed | job deliver_outbox | ada | ok")
def mail_a_reset_link_that_was_asked_for(w: World) -> Iterator[None]:
    active(w.core)
    passwords.forgot(w.core, email=EMAIL, actor=STRANGER)
    yield
    mails.deliver(w.core)


@told(delivery.deliver_due, "activation.mailed | job deliver_outbox | ada | ok")
def mail_another_activation_link(w: World) -> Iterator[None]:
    pending(w.core)
    w.clock.move(minutes=2)
    registration.resend_activation(w.core, email=EMAIL, actor=STRANGER)
    yield
    mails.deliver(w.core)


@told(delivery.deliver_due, "invitation.mailed | job deliver_outbox | ada | ok")
def mail_an_invitation_again(w: World) -> Iterator[None]:
    invited(w.core)
    w.clock.move(minutes=2)
    registration.resend_activation(w.core, email=EMAIL, actor=STRANGER)
    yield
    mails.deliver(w.core)


@told(delivery.deliver_due)
def close_a_request_for_an_unknown_address(w: World) -> Iterator[None]:
    passwords.forgot(w.core, email=EMAIL, actor=STRANGER)
    yield
    mails.deliver(w.core)


@told(delivery.deliver_due)
def put_off_a_mail(w: World) -> Iterator[None]:
    mails.queue(w.core)
    w.core.transport = mails.Scripted(ConnectionRefusedError())
    yield
    mails.deliver(w.core)


@told(delivery.deliver_due)
def put_back_a_mail_while_the_login_is_refused(w: World) -> Iterator[None]:
    mails.queue(w.core)
    w.core.transport = mails.Scripted(LoginRefused("535 wrong password"))
    yield
    mails.deliver(w.core)


@told(delivery.deliver_due, "mail.failed | job deliver_outbox |  | MAIL_NOT_SENT")
def give_up_a_mail_that_is_refused(w: World) -> Iterator[None]:
    mails.queue(w.core)
    w.core.transport = mails.Scripted(MailRefused("550 no such user"))
    yield
    mails.deliver(w.core)


@told(delivery.deliver_due, "mail.dead | job deliver_outbox | ada | MAIL_NOT_SENT")
def give_up_a_mail_after_two_days(w: World) -> Iterator[None]:
    deactivated(w.core)
    admin.activate(w.core, user_id=user_row(w.core).id, actor=OPERATOR)
    w.core.transport = mails.Scripted(ConnectionRefusedError())
    w.clock.move(hours=48)
    yield
    mails.deliver(w.core)


@told(outbox.retry, "mail.retried | operator tester |  | ok")
def retry_a_mail(w: World) -> Iterator[None]:
    mails.queue(w.core)
    w.core.transport = mails.Scripted(MailRefused("550 no such user"))
    mails.deliver(w.core)
    yield
    outbox.retry(w.core, mail_id=mails.the_mail(w.core).id, actor=OPERATOR)


@told(outbox.send_test, "mail.tested | operator tester |  | ok")
def send_a_test_mail(w: World) -> Iterator[None]:
    yield
    outbox.send_test(w.core, address=EMAIL, actor=OPERATOR)


@told(outbox.send_test, "mail.tested | operator tester |  | MAIL_NOT_SENT")
def send_a_test_mail_in_vain(w: World) -> Iterator[None]:
    w.core.transport = mails.Scripted(ConnectionRefusedError())
    yield
    outbox.send_test(w.core, address=EMAIL, actor=OPERATOR)


# -- webhooks


def _hook(w: World, met: Receiver | None = None) -> UUID:
    """A webhook to this machine; where no receiver is given, to a port that nobody listens on."""
    reachable(w.core)
    return hook(w.core, met or Receiver(port=free_port())).id


@told(webhooks.create, "webhook.created | operator tester |  | ok")
def make_a_webhook(w: World) -> Iterator[None]:
    yield
    webhooks.create(w.core, url="https://receiver.example/", actor=OPERATOR)


@told(
    webhooks.change,
    "webhook.changed | operator tester |  | ok",
    "webhook.disabled | operator tester |  | ok",
    "webhook.changed | operator tester |  | ok",
)
def change_a_webhook(w: World) -> Iterator[None]:
    webhook_id = _hook(w)
    tell(w.core)
    yield
    webhooks.change(w.core, webhook_id=webhook_id, description="Ours", actor=OPERATOR)
    webhooks.change(w.core, webhook_id=webhook_id, enabled=False, actor=OPERATOR)
    webhooks.change(w.core, webhook_id=webhook_id, enabled=True, actor=OPERATOR)


@told(webhooks.rotate_secret, "webhook.secret_rotated | operator tester |  | ok")
def give_a_webhook_another_secret(w: World) -> Iterator[None]:
    webhook_id = _hook(w)
    yield
    webhooks.rotate_secret(w.core, webhook_id=webhook_id, actor=OPERATOR)


@told(webhooks.delete, "webhook.deleted | operator tester |  | ok")
def delete_a_webhook(w: World) -> Iterator[None]:
    webhook_id = _hook(w)
    tell(w.core)
    yield
    webhooks.delete(w.core, webhook_id=webhook_id, actor=OPERATOR)


@told(webhooks.send_test, "webhook.tested | operator tester |  | WEBHOOK_NOT_REACHED")
def try_a_webhook_in_vain(w: World) -> Iterator[None]:
    webhook_id = _hook(w)
    yield
    webhooks.send_test(w.core, webhook_id=webhook_id, actor=OPERATOR)


@told(webhooks.retry_delivery, "webhook.delivery_retried | operator tester |  | ok")
def retry_a_delivery(w: World) -> Iterator[None]:
    _hook(w)
    tell(w.core)
    w.clock.move(hours=48)
    webhook_delivery.deliver_due(w.core, owner="test")
    yield
    webhooks.retry_delivery(w.core, delivery_id=the_delivery(w.core).id, actor=OPERATOR)


@told(webhook_delivery.deliver_due)
def send_what_is_accepted_and_drop_what_nobody_is_told(w: World) -> Iterator[None]:
    with receiver() as met:
        gone = _hook(w, met)
        _hook(w, met)
        tell(w.core)
        with w.core.write() as tx:
            tx.webhooks.delete(gone)
        yield
        webhook_delivery.deliver_due(w.core, owner="test")


@told(webhook_delivery.deliver_due)
def put_off_a_delivery(w: World) -> Iterator[None]:
    _hook(w)
    tell(w.core)
    yield
    webhook_delivery.deliver_due(w.core, owner="test")


@told(webhook_delivery.deliver_due, "webhook.gave_up | job deliver_webhooks |  | WEBHOOK_NOT_REACHED")
def give_up_a_delivery_after_two_days(w: World) -> Iterator[None]:
    _hook(w)
    tell(w.core)
    w.clock.move(hours=48)
    yield
    webhook_delivery.deliver_due(w.core, owner="test")


@told(webhook_delivery.deliver_due, "webhook.disabled | job deliver_webhooks |  | ok")
def hear_that_a_receiver_is_gone(w: World) -> Iterator[None]:
    with receiver() as met:
        _hook(w, met)
        tell(w.core)
        met.answer(410, 410)
        yield
        webhook_delivery.deliver_due(w.core, owner="test")


# -- the instance


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
