"""A file in the documented form of each product: who comes in, as what, and logs in with the old password."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.conftest import Make
from tests.factories import OPERATOR, PASSWORD, logged_in, user_row
from tests.files import FILES, FIREBASE_PASSWORD, PARAMETERS, bring_in
from tests.profiles import schemas_in
from usersvc.core import Core
from usersvc.errors import AccountDeactivated, InvalidCredentials, InvalidImport
from usersvc.services import accounts, admin
from usersvc.services.importing import PRODUCTS, Options

# What a product calls its fields is the same on every database.
pytestmark = pytest.mark.sqlite


@dataclass(frozen=True)
class Expected:
    product: str
    statuses: dict[str, str]
    """Of each who comes in, by what stands before the @."""
    refused: list[tuple[str, str]] = field(default_factory=list)
    """The field, and how the reason begins."""
    log_in: str = "ada"
    password: str = PASSWORD
    created: str = ""
    """Of ada."""
    options: dict[str, Any] = field(default_factory=dict)


_FIREBASE = {
    "statuses": {"ada": "active", "bob": "pending", "cleo": "deactivated"},
    "refused": [("email", "There is no address")],
    "password": FIREBASE_PASSWORD,
    "created": "2017-10-25T01:12:05",
    "options": {"parameters": PARAMETERS},
}
EXPECTED = {
    "auth0-hashes.ndjson": Expected("auth0", {"ada": "active", "bob": "pending"}),
    "auth0-users.ndjson": Expected(
        "auth0", {"ada": "active", "cleo": "deactivated"}, log_in="", created="2019-12-06T18:36:12.412"
    ),
    "firebase.json": Expected("firebase", **_FIREBASE),
    "firebase.csv": Expected("firebase", **_FIREBASE),
    "supabase.csv": Expected(
        "supabase",
        {"ada": "active", "bob": "pending", "cleo": "deactivated"},
        [("deleted_at", "This user was deleted")],
        created="2023-05-01T07:59",
    ),
    "keycloak.json": Expected(
        "keycloak",
        {
            **dict.fromkeys(("ada", "eve", "fay", "gil"), "active"),
            "bob": "pending",
            "cleo": "deactivated",
        },
        [("credentials", "The algorithm of the password"), ("email", "There is no address")],
        log_in="ada eve fay gil",
        created="2023-11-14T22:13:20",
    ),
    "django.json": Expected(
        "django",
        {**dict.fromkeys(("ada", "eve", "fay", "gil", "ivy", "jon", "kim"), "active"), "cleo": "deactivated"},
        [("email", "There is no address"), ("password_hash", "This is no form of a password hash")],
        log_in="ada eve fay gil ivy jon",
        created="2020-02-02T02:02:02.222",
        options={"trust_addresses": True},
    ),
    "cognito.json": Expected(
        "cognito",
        {"ada": "active", "bob": "pending", "cleo": "deactivated"},
        log_in="",
        created="2022-10-10T10:10:10.123",
    ),
    "cognito.csv": Expected("cognito", {"ada": "active", "bob": "pending"}, log_in=""),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_who_is_in_the_file_comes_in_and_logs_in_with_the_old_password(core: Core, name: str) -> None:
    expected = EXPECTED[name]
    done, refused = bring_in(core, (FILES / name).read_bytes(), product=expected.product, **expected.options)
    assert done.imported == len(expected.statuses)
    assert len(refused) == len(expected.refused)
    for one, (where, begins) in zip(refused, expected.refused, strict=True):
        assert (one.field, one.reason[: len(begins)]) == (where, begins)
    users = {who: user_row(core, f"{who}@example.org") for who in expected.statuses}
    assert {who: user.status for who, user in users.items()} == expected.statuses
    assert expected.created in users["ada"].created_at.isoformat()
    for who in expected.log_in.split():
        _logs_in_and_is_rehashed(core, f"{who}@example.org", expected.password)
    for who, status in expected.statuses.items():
        _is_let_in_only_if_active(core, f"{who}@example.org", status, expected.password)


def _logs_in_and_is_rehashed(core: Core, email: str, password: str) -> None:
    before = user_row(core, email).password_hash
    assert before
    assert not before.startswith("usersvc1$")
    with pytest.raises(InvalidCredentials):
        logged_in(core, email, f"{password}x")
    assert user_row(core, email).password_hash == before
    logged_in(core, email, password)
    after = user_row(core, email).password_hash
    assert after
    assert after.startswith("usersvc1$2b$04$")
    logged_in(core, email, password)
    assert user_row(core, email).password_hash == after


def _is_let_in_only_if_active(core: Core, email: str, status: str, password: str) -> None:
    """Who never proved an address has no password any more, and no other field."""
    user = user_row(core, email)
    assert (user.email_verified_at is not None) == (status == "active" or user.activated_at is not None)
    if status == "active":
        return
    with pytest.raises((InvalidCredentials, AccountDeactivated)):
        logged_in(core, email, password)
    if status == "pending":
        assert user.password_hash is None
        assert user.activated_at is None


def test_every_product_has_a_file() -> None:
    assert {expected.product for expected in EXPECTED.values()} | {"usersvc"} == set(PRODUCTS)


def test_both_files_of_auth0_make_one_account_and_let_nobody_in_who_is_blocked(core: Core) -> None:
    bring_in(core, (FILES / "auth0-users.ndjson").read_bytes(), product="auth0")
    hashes = (FILES / "auth0-hashes.ndjson").read_bytes()
    of_cleo = hashes.splitlines()[0].replace(b"Ada@", b"cleo@")
    done, _ = bring_in(core, hashes + of_cleo, product="auth0", on_conflict="update")
    assert (done.imported, done.updated, done.skipped) == (1, 1, 1)
    assert user_row(core).username == "ada"
    logged_in(core, "ada@example.org", PASSWORD)
    _is_let_in_only_if_active(core, "cleo@example.org", user_row(core, "cleo@example.org").status, PASSWORD)
    assert user_row(core, "cleo@example.org").status == "deactivated"


def test_ids_of_the_product_go_into_attributes_where_that_is_wished(make_core: Make, core: Core) -> None:
    core = make_core(**schemas_in(core.settings.data_dir))
    fields = (("attributes.customer", "localId"), ("username", ""))
    data = (FILES / "firebase.json").read_bytes()
    done, _ = bring_in(core, data, product="firebase", parameters=PARAMETERS, fields=fields)
    assert done.imported == 3
    account = admin_view(core, "ada@example.org")
    assert account.attributes == '{"customer":"kYi4EvWQlQTKSfnJ3dRSP6IH3ed2"}'
    assert admin_view(core, "bob@example.org").attributes == "{}", "he never proved his address"


def admin_view(core: Core, email: str) -> accounts.FullAccount:
    return admin.show(core, user_id=user_row(core, email).id, actor=OPERATOR)


def test_firebase_without_its_parameters_is_not_begun() -> None:
    with pytest.raises(InvalidImport, match="--hash-config"):
        Options(product="firebase").field_map  # noqa: B018
    assert Options(product="firebase", fields=(("password_hash", ""),)).field_map


def test_names_that_are_addresses_or_ids_are_no_usernames(core: Core) -> None:
    bring_in(core, (FILES / "keycloak.json").read_bytes(), product="keycloak")
    assert user_row(core).username == "ada"
    assert user_row(core, "eve@example.org").username is None
    assert user_row(core).created_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
