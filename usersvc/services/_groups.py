"""What the use cases of groups and of their members share. The steps take the caller's transaction."""

from collections.abc import Collection
from uuid import UUID

from usersvc.core import Tx
from usersvc.errors import GroupNotFound, TokenTooLarge, TooManyGroups, TooManyPermissions
from usersvc.repositories.groups import Group

MOST_GROUPS = 1000
MOST_GROUPS_OF_A_USER = 50
MOST_PERMISSIONS_OF_A_GROUP = 100
# Of the claims `groups` and `permissions` as JSON, without what a role grants: in base64, and with all the
# rest of a token, less than the 8 KiB that proxies take for one header.
MOST_BYTES_OF_CLAIMS = 4096


def get(tx: Tx, group_id: UUID) -> Group:
    """Raises GroupNotFound."""
    group = tx.groups.by_id(group_id)
    if group is None:
        raise GroupNotFound
    return group


def require_room_for_a_group(tx: Tx) -> None:
    if tx.groups.count() >= MOST_GROUPS:
        raise TooManyGroups(f"There are {MOST_GROUPS:,} groups already, and no more may be.")


def require_few(permissions: Collection[str]) -> None:
    if len(permissions) > MOST_PERMISSIONS_OF_A_GROUP:
        raise TooManyPermissions


def require_room_for_a_member(tx: Tx, user_id: UUID) -> None:
    """Once he is in. Raises TooManyGroups, TokenTooLarge."""
    if tx.memberships.count_of(user_id) > MOST_GROUPS_OF_A_USER:
        most = MOST_GROUPS_OF_A_USER
        raise TooManyGroups(f"This account is in {most} groups already, and may be in no more.")
    if tx.memberships.is_beyond(MOST_BYTES_OF_CLAIMS, user_id):
        raise TokenTooLarge


def require_small_tokens(tx: Tx, group_id: UUID) -> None:
    """Once the group is changed. Raises TokenTooLarge."""
    if tx.memberships.a_member_is_beyond(MOST_BYTES_OF_CLAIMS, group_id):
        raise TokenTooLarge
