"""Groups and their members, for administrators and for the managers of a group."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from usersvc.api.deps import PREFIX, BearerToken, run_signed_in
from usersvc.api.errors import documented
from usersvc.api.groups_schemas import (
    GroupChangeIn,
    GroupIn,
    GroupOut,
    MemberIn,
    MemberOut,
    MembershipOut,
    PageQuery,
)
from usersvc.api.paging import LINK, link_next
from usersvc.api.schemas import Success, answer
from usersvc.errors import (
    Forbidden,
    GroupNameTaken,
    GroupNotFound,
    InvalidCursor,
    InvalidGroup,
    InvalidPermission,
    InvalidToken,
    NotActive,
    ReservedPermission,
    SessionEnded,
    TokenExpired,
    TokenTooLarge,
    TooManyGroups,
    TooManyPermissions,
    UserNotFound,
)
from usersvc.services import groups, memberships

router = APIRouter(prefix=PREFIX, tags=["groups"])

_UNKNOWN_BEARER = (InvalidToken, SessionEnded, TokenExpired)
_MAY_NOT = (*_UNKNOWN_BEARER, Forbidden)
_REFUSED = (InvalidGroup, InvalidPermission, ReservedPermission, TooManyPermissions, GroupNameTaken)


@router.get(
    "/users/me/groups",
    summary="List my groups",
    response_model=Success[list[MembershipOut]],
    responses=documented(*_UNKNOWN_BEARER, body=False),
)
async def list_my_groups(request: Request, bearer: BearerToken) -> Response:
    """Which groups I am in, by name, as they are now: a token has what they were when it was made."""
    found = await run_signed_in(request, bearer, memberships.list_own)
    return answer([MembershipOut.model_validate(membership) for membership in found])


@router.get(
    "/admin/users/{user_id}/groups",
    summary="List a user's groups",
    response_model=Success[list[MembershipOut]],
    responses=documented(*_MAY_NOT, UserNotFound),
)
async def list_groups_of(user_id: UUID, request: Request, bearer: BearerToken) -> Response:
    """Which groups somebody is in, by name."""
    found = await run_signed_in(request, bearer, memberships.list_of, user_id=user_id)
    return answer([MembershipOut.model_validate(membership) for membership in found])


@router.get(
    "/admin/groups",
    summary="List groups",
    response_model=Success[list[GroupOut]],
    responses={200: {"headers": LINK}, **documented(*_MAY_NOT, InvalidCursor)},
)
async def list_groups(
    query: Annotated[PageQuery, Query()], request: Request, bearer: BearerToken
) -> Response:
    """One page, by name. The next one is at the address in the `Link` header."""
    page = await run_signed_in(request, bearer, groups.list_groups, on="long_reads", **query.given())
    response = answer([GroupOut.model_validate(group) for group in page.groups])
    link_next(response, request, query.given(), page.next_cursor)
    return response


@router.post(
    "/admin/groups",
    summary="Make a group",
    status_code=201,
    response_model=Success[GroupOut],
    responses=documented(*_MAY_NOT, *_REFUSED, TooManyGroups),
)
async def create_group(body: GroupIn, request: Request, bearer: BearerToken) -> Response:
    """Make a group without members. Its permissions are words of the services that check the tokens."""
    group = await run_signed_in(request, bearer, groups.create, **body.model_dump())
    return answer(GroupOut.model_validate(group), status=201)


@router.get(
    "/admin/groups/{group_id}",
    summary="Show a group",
    response_model=Success[GroupOut],
    responses=documented(*_MAY_NOT, GroupNotFound),
)
async def show_group(group_id: UUID, request: Request, bearer: BearerToken) -> Response:
    """One group. Its managers may, too."""
    group = await run_signed_in(request, bearer, groups.show, group_id=group_id)
    return answer(GroupOut.model_validate(group))


@router.patch(
    "/admin/groups/{group_id}",
    summary="Change a group",
    response_model=Success[GroupOut],
    responses=documented(*_MAY_NOT, *_REFUSED, GroupNotFound, TokenTooLarge),
)
async def change_group(
    group_id: UUID, body: GroupChangeIn, request: Request, bearer: BearerToken
) -> Response:
    """Rename or describe it, or give it other permissions: the list takes the place of the one before."""
    group = await run_signed_in(request, bearer, groups.change, group_id=group_id, **body.given())
    return answer(GroupOut.model_validate(group))


@router.delete(
    "/admin/groups/{group_id}",
    summary="Delete a group",
    response_model=Success[None],
    responses=documented(*_MAY_NOT, GroupNotFound),
)
async def delete_group(group_id: UUID, request: Request, bearer: BearerToken) -> Response:
    """Delete it for good; its members lose its permissions with their next token."""
    await run_signed_in(request, bearer, groups.delete, group_id=group_id)
    return answer()


@router.get(
    "/admin/groups/{group_id}/members",
    summary="List a group's members",
    response_model=Success[list[MemberOut]],
    responses={200: {"headers": LINK}, **documented(*_MAY_NOT, GroupNotFound, InvalidCursor)},
)
async def list_members(
    group_id: UUID, query: Annotated[PageQuery, Query()], request: Request, bearer: BearerToken
) -> Response:
    """One page, the oldest accounts first. Managers of the group may, too; to them addresses are null."""
    page = await run_signed_in(
        request, bearer, memberships.list_members, on="long_reads", group_id=group_id, **query.given()
    )
    response = answer([MemberOut.model_validate(member) for member in page.members])
    link_next(response, request, query.given(), page.next_cursor)
    return response


@router.put(
    "/admin/groups/{group_id}/members/{user_id}",
    summary="Add a member to a group",
    response_model=Success[None],
    responses=documented(*_MAY_NOT, GroupNotFound, UserNotFound, NotActive, TooManyGroups, TokenTooLarge),
)
async def add_member(
    group_id: UUID, user_id: UUID, body: MemberIn, request: Request, bearer: BearerToken
) -> Response:
    """Make an account a member, or a manager. Managers of the group add ordinary members."""
    await run_signed_in(
        request, bearer, memberships.add, group_id=group_id, user_id=user_id, manager=body.manager
    )
    return answer()


@router.delete(
    "/admin/groups/{group_id}/members/{user_id}",
    summary="Remove a member from a group",
    response_model=Success[None],
    responses=documented(*_MAY_NOT, GroupNotFound),
)
async def remove_member(group_id: UUID, user_id: UUID, request: Request, bearer: BearerToken) -> Response:
    """Take somebody out of a group, if he is in it. Managers of the group remove ordinary members."""
    await run_signed_in(request, bearer, memberships.remove, group_id=group_id, user_id=user_id)
    return answer()
