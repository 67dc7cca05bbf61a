"""The form of a permission, and the words that usersvc keeps for itself."""

import pytest

from usersvc.errors import InvalidPermission, ReservedPermission
from usersvc.services.actor import PERMISSIONS
from usersvc.services.permissions import OWN, RESERVED_NAMESPACES, permission_name


@pytest.mark.parametrize(
    "name", ["orders:write", "a:b", "0:9", "shop-1.eu_west:read.all", "x" * 32 + ":" + "y" * 32]
)
def test_a_permission_is_two_words_and_stays_as_it_is(name: str) -> None:
    assert permission_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ":",
        "orders",
        "orders:",
        ":write",
        "orders:write:all",
        "Orders:write",
        "orders:Write",
        " orders:write",
        "orders:write\n",
        "orders: write",
        "-orders:write",
        "orders:.write",
        "orders:*",
        "x" * 33 + ":y",
        "x:" + "y" * 33,
        "\u043erders:write",
        "orders:writ\uff45",
        "orders\0:write",
    ],
)
def test_anything_else_is_refused(name: str) -> None:
    with pytest.raises(InvalidPermission):
        permission_name(name)


def test_every_word_of_usersvc_is_reserved_and_so_are_the_namespaces_of_those_it_asks_for() -> None:
    assert frozenset().union(*PERMISSIONS.values()) == OWN
    for name in OWN:
        with pytest.raises(ReservedPermission, match=name):
            permission_name(name)
    assert {name.partition(":")[0] for name in OWN} - {"content"} <= RESERVED_NAMESPACES


@pytest.mark.parametrize("namespace", sorted(RESERVED_NAMESPACES))
def test_a_reserved_namespace_is_taken_whole(namespace: str) -> None:
    with pytest.raises(ReservedPermission):
        permission_name(f"{namespace}:anything")
    assert permission_name(f"x{namespace}:anything")


def test_of_content_one_word_is_reserved() -> None:
    assert permission_name("content:publish")
