"""Service accounts: made, listed, changed, shut out and let in; their secrets rotated and revoked."""

from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from usersvc.api.deps import PREFIX, BearerToken, run_signed_in
from usersvc.api.errors import documented
from usersvc.api.schemas import Success, answer
from usersvc.api.service_schemas import (
    ChangeServiceIn,
    CreateServiceIn,
    NewCredentialOut,
    NewServiceOut,
    RotateServiceIn,
    ServiceOut,
)
from usersvc.errors import (
    CredentialNotFound,
    Forbidden,
    InvalidDescription,
    InvalidPermission,
    InvalidServiceName,
    InvalidToken,
    ReservedPermission,
    ServiceNameTaken,
    ServiceNotFound,
    SessionEnded,
    TokenExpired,
    TooManyCredentials,
    UnknownAudience,
)
from usersvc.services import service_accounts

router = APIRouter(prefix=f"{PREFIX}/admin", tags=["service accounts"])

_MAY_NOT = (InvalidToken, SessionEnded, TokenExpired, Forbidden)
_WRONG = (InvalidDescription, InvalidPermission, ReservedPermission, UnknownAudience)


@router.get(
    "/services",
    summary="List service accounts",
    response_model=Success[list[ServiceOut]],
    responses=documented(*_MAY_NOT, body=False),
)
async def list_services(request: Request, bearer: BearerToken) -> Response:
    """All of them, by name."""
    found = await run_signed_in(request, bearer, service_accounts.list_services, on="long_reads")
    return answer([ServiceOut.model_validate(service) for service in found])


@router.post(
    "/services",
    summary="Make a service account",
    status_code=201,
    response_model=Success[NewServiceOut],
    responses=documented(*_MAY_NOT, *_WRONG, InvalidServiceName, ServiceNameTaken),
)
async def create_service(body: CreateServiceIn, request: Request, bearer: BearerToken) -> Response:
    """With its first secret, which is in this answer and nowhere else."""
    made = await run_signed_in(request, bearer, service_accounts.create, **body.model_dump())
    return answer(NewServiceOut.model_validate(made), status=201)


@router.get(
    "/services/{service_id}",
    summary="Show a service account",
    response_model=Success[ServiceOut],
    responses=documented(*_MAY_NOT, ServiceNotFound),
)
async def show_service(service_id: UUID, request: Request, bearer: BearerToken) -> Response:
    """One service with its credentials, without their secrets."""
    found = await run_signed_in(request, bearer, service_accounts.show, service_id=service_id)
    return answer(ServiceOut.model_validate(found))


@router.patch(
    "/services/{service_id}",
    summary="Change a service account",
    response_model=Success[ServiceOut],
    responses=documented(*_MAY_NOT, *_WRONG, ServiceNotFound),
)
async def change_service(
    service_id: UUID, body: ChangeServiceIn, request: Request, bearer: BearerToken
) -> Response:
    """Replace what is given, whole. Tokens tell the old permissions until they expire."""
    changed = await run_signed_in(
        request, bearer, service_accounts.change, service_id=service_id, **body.given()
    )
    return answer(ServiceOut.model_validate(changed))


@router.patch(
    "/services/{service_id}/activate",
    summary="Activate a service account",
    response_model=Success[ServiceOut],
    responses=documented(*_MAY_NOT, ServiceNotFound),
)
async def activate_service(service_id: UUID, request: Request, bearer: BearerToken) -> Response:
    """Let it in again, with the secrets that are neither revoked nor expired."""
    changed = await run_signed_in(request, bearer, service_accounts.activate, service_id=service_id)
    return answer(ServiceOut.model_validate(changed))


@router.patch(
    "/services/{service_id}/deactivate",
    summary="Deactivate a service account",
    response_model=Success[ServiceOut],
    responses=documented(*_MAY_NOT, ServiceNotFound),
)
async def deactivate_service(service_id: UUID, request: Request, bearer: BearerToken) -> Response:
    """Refuse its secrets, and its tokens where they are introspected, at once."""
    changed = await run_signed_in(request, bearer, service_accounts.deactivate, service_id=service_id)
    return answer(ServiceOut.model_validate(changed))


@router.delete(
    "/services/{service_id}",
    summary="Delete a service account",
    response_model=Success[None],
    responses=documented(*_MAY_NOT, ServiceNotFound),
)
async def delete_service(service_id: UUID, request: Request, bearer: BearerToken) -> Response:
    """Delete it for good, with its secrets; its tokens are refused at once where they are introspected."""
    await run_signed_in(request, bearer, service_accounts.delete, service_id=service_id)
    return answer()


@router.post(
    "/services/{service_id}/credentials",
    summary="Rotate the secret of a service account",
    status_code=201,
    response_model=Success[NewCredentialOut],
    responses=documented(*_MAY_NOT, ServiceNotFound, TooManyCredentials),
)
async def rotate_service(
    service_id: UUID, body: RotateServiceIn, request: Request, bearer: BearerToken
) -> Response:
    """Make another secret, which is in this answer and nowhere else; those before it work a while longer."""
    made = await run_signed_in(
        request, bearer, service_accounts.rotate, service_id=service_id, **body.model_dump()
    )
    return answer(NewCredentialOut.model_validate(made), status=201)


@router.delete(
    "/services/{service_id}/credentials/{credential_id}",
    summary="Revoke a secret of a service account",
    response_model=Success[None],
    responses=documented(*_MAY_NOT, ServiceNotFound, CredentialNotFound),
)
async def revoke_credential(
    service_id: UUID, credential_id: UUID, request: Request, bearer: BearerToken
) -> Response:
    """Refuse one secret, and its tokens where they are introspected, at once."""
    await run_signed_in(
        request,
        bearer,
        service_accounts.revoke_credential,
        service_id=service_id,
        credential_id=credential_id,
    )
    return answer()
