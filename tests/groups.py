"""Groups for tests, made through the services."""

from typing import Any
from uuid import UUID

from tests.factories import EMAIL, OPERATOR, logged_in, user_row
from tests.forgery import parts_of
from usersvc.core import Core
from usersvc.services import groups, memberships
from usersvc.services.groups import GroupView


def a_group(core: Core, name: str = "desk", *permissions: str) -> GroupView:
    return groups.create(core, name=name, permissions=permissions, actor=OPERATOR)


def put_in(core: Core, group: GroupView, email: str = EMAIL, *, manager: bool = False) -> UUID:
    """The id of the account that is in the group now."""
    user_id = user_row(core, email).id
    memberships.add(core, group_id=group.id, user_id=user_id, manager=manager, actor=OPERATOR)
    return user_id


def names_of(core: Core, email: str = EMAIL) -> list[str]:
    """The groups that somebody is in."""
    found = memberships.list_of(core, user_id=user_row(core, email).id, actor=OPERATOR)
    return [membership.name for membership in found]


def claims_of(access_token: str) -> tuple[list[str], list[str]]:
    """`groups` and `permissions` of a token."""
    claims: dict[str, Any] = parts_of(access_token)[1]
    return claims.get("groups", []), claims["permissions"]


def granted(core: Core, email: str = EMAIL) -> tuple[list[str], list[str]]:
    """What a token that is made now says."""
    return claims_of(logged_in(core, email).access_token)


def words(number: int, length: int = 20) -> list[str]:
    """So many permissions, each of this length."""
    return [f"shop:{index:0{length - 5}}" for index in range(number)]
