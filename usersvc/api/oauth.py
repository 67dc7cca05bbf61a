"""What services ask for: tokens (RFC 6749, 4.4), introspection (RFC 7662), revocation (RFC 7009)."""

import base64
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import unquote_plus

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from usersvc.api.deps import caller, face_of
from usersvc.api.forms import NotAForm, read_form
from usersvc.api.oauth_errors import OAuthRefusal, documented
from usersvc.api.oauth_schemas import IntrospectionOut, MetadataOut, ServiceTokenOut, form
from usersvc.errors import InvalidClient
from usersvc.services import client_credentials, introspection, revocation
from usersvc.services.client_authentication import authenticate_client

Result = TypeVar("Result")

router = APIRouter(tags=["oauth"])

_GRANT = "client_credentials"
_METHODS = ["client_secret_basic", "client_secret_post"]
# RFC 8707: the only field that may come more than once; a token of ours has one audience.
_REPEATABLE = "resource"
_TOKEN = {"token": "The token to look at."}


@router.post(
    "/oauth/token",
    summary="Get a token for a service",
    response_model=ServiceTokenOut,
    responses=documented(400, 401, 429),
    openapi_extra=form(
        {"grant_type": "`client_credentials`."},
        {
            "scope": "Some of the service's permissions, with spaces between them; else all of them.",
            "audience": "One of the service's audiences; else the only one that it has.",
            "resource": "The same, as RFC 8707 calls it.",
        },
    ),
)
async def issue(request: Request) -> Response:
    """An access token of the service itself, for one of its audiences. There is no refresh token."""
    fields = await _fields(request)
    issued = await _run_as_client(
        request,
        fields,
        client_credentials.issue,
        lambda: {"scope": _scope(fields), "audience": _audience(fields)},
    )
    body = ServiceTokenOut.of(issued).model_dump(exclude_none=True)
    return JSONResponse(body, headers={"Cache-Control": "no-store", "Pragma": "no-cache"})


@router.post(
    "/oauth/introspect",
    summary="Ask whether a token is good now",
    response_model=IntrospectionOut,
    responses=documented(400, 401, 429),
    openapi_extra=form(_TOKEN, {"token_type_hint": "Not needed."}),
)
async def introspect(request: Request) -> Response:
    """`active` for tokens of this client's audiences alone, with what the bearer may do as it is now."""
    fields = await _fields(request)
    found = await _run_as_client(request, fields, introspection.introspect, lambda: _token(fields))
    issuer = face_of(request).core.settings.issuer
    return JSONResponse(IntrospectionOut.of(found, issuer).model_dump(exclude_none=True))


@router.post(
    "/oauth/revoke",
    summary="Revoke a token",
    responses={
        200: {"description": "It is good no more, or never was.", "content": {}},
        **documented(400, 401, 429),
    },
    response_class=Response,
    openapi_extra=form(_TOKEN, {"token_type_hint": "Not needed."}),
)
async def revoke(request: Request) -> Response:
    """A token of the service itself; a user's ends its session, for services that may end sessions."""
    fields = await _fields(request)
    await _run_as_client(request, fields, revocation.revoke, lambda: _token(fields))
    return Response()


@router.get(
    "/.well-known/oauth-authorization-server",
    summary="Where services ask for what",
    response_model=MetadataOut,
)
async def metadata(request: Request) -> Response:
    """The metadata of RFC 8414."""
    settings = face_of(request).core.settings
    found = MetadataOut(
        issuer=settings.issuer,
        token_endpoint=f"{settings.public_url}/oauth/token",
        jwks_uri=f"{settings.public_url}/.well-known/jwks.json",
        introspection_endpoint=f"{settings.public_url}/oauth/introspect",
        revocation_endpoint=f"{settings.public_url}/oauth/revoke",
        grant_types_supported=[_GRANT],
        response_types_supported=[],
        token_endpoint_auth_methods_supported=_METHODS,
        introspection_endpoint_auth_methods_supported=_METHODS,
        revocation_endpoint_auth_methods_supported=_METHODS,
    )
    return JSONResponse(found.model_dump(), headers={"Cache-Control": "public, max-age=300"})


async def _run_as_client(
    request: Request,
    fields: dict[str, str],
    use_case: Callable[..., Result],
    values: Callable[[], dict[str, Any]],
) -> Result:
    """A use case of the client; finding out which one it is takes place in the same thread.

    What it asks for is looked at after it is known who asks.
    """
    face, stranger = face_of(request), caller(request)
    client_id, client_secret = _client(request.headers.getlist("authorization"), fields)

    def as_the_client() -> Result:
        client = authenticate_client(
            face.core, client_id=client_id, client_secret=client_secret, actor=stranger
        )
        return use_case(face.core, client=client, **values())

    return await face.threads.ordinary.run(as_the_client)


async def _fields(request: Request) -> dict[str, str]:
    """Each field once, those without a value left out (RFC 6749, 3.2)."""
    try:
        found = await read_form(request)
    except NotAForm as error:
        raise OAuthRefusal("invalid_request", str(error)) from None
    fields = {}
    for name, values in found.items():
        given = list(dict.fromkeys(values)) if name == _REPEATABLE else values
        if len(given) > 1:
            word = "invalid_target" if name == _REPEATABLE else "invalid_request"
            raise OAuthRefusal(word, "A field is there more than once.")
        if given[0]:
            fields[name] = given[0]
    return fields


def _client(headers: list[str], fields: dict[str, str]) -> tuple[str, str]:
    """The id and the secret, by exactly one of the two methods of RFC 6749, 2.3.1. Raises InvalidClient."""
    if not headers:
        return fields.get("client_id", ""), fields.get("client_secret", "")
    if len(headers) > 1 or "client_secret" in fields:
        raise OAuthRefusal("invalid_request", "Say who the client is in one way alone.")
    scheme, _, encoded = headers[0].partition(" ")
    if scheme.lower() != "basic":
        raise InvalidClient
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode()
        client_id, colon, secret = decoded.partition(":")
        client_id, secret = unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
    except ValueError:
        raise InvalidClient from None
    if not colon:
        raise InvalidClient
    if fields.get("client_id", client_id) != client_id:
        raise OAuthRefusal("invalid_request", "The client ids in header and form differ.")
    return client_id, secret


def _scope(fields: dict[str, str]) -> list[str] | None:
    _require(fields, "grant_type")
    if fields["grant_type"] != _GRANT:
        raise OAuthRefusal("unsupported_grant_type", f"Only {_GRANT} is supported.")
    return fields["scope"].split(" ") if "scope" in fields else None


def _audience(fields: dict[str, str]) -> str | None:
    audience, resource = fields.get("audience"), fields.get("resource")
    if audience and resource and audience != resource:
        raise OAuthRefusal("invalid_target", "A token has one audience.")
    return audience or resource


def _token(fields: dict[str, str]) -> dict[str, Any]:
    _require(fields, "token")
    return {"token": fields["token"]}


def _require(fields: dict[str, str], name: str) -> None:
    if name not in fields:
        raise OAuthRefusal("invalid_request", f"The field {name} is missing.")
