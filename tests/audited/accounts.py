"""Registering, activating, one's own account, and administration."""

from collections.abc import Iterator

from tests.audited.case import ROOT, World, told
from tests.factories import (
    EMAIL,
    OPERATOR,
    OTHER_PASSWORD,
    PASSWORD,
    STRANGER,
    active,
    an_admin,
    deactivated,
    logged_in,
    pending,
    signed_in,
    user_row,
)
from tests.profiles import schemas_in
from usersvc.services import (
    accounts,
    admin,
    first_admin,
    invitations,
    profiles,
    registration,
)


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
