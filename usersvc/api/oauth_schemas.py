"""What OAuth's routes take and answer, in the words of RFC 6749, 7662 and 8414."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from usersvc.api.forms import MEDIA_TYPE
from usersvc.services.client_credentials import ServiceToken
from usersvc.services.introspection import Introspected


class ServiceTokenOut(BaseModel):
    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105
    expires_in: int = Field(description="Seconds.")
    scope: str | None = Field(
        None, description="Its permissions, with spaces between them; absent without any."
    )

    @classmethod
    def of(cls, token: ServiceToken) -> "ServiceTokenOut":
        scope = " ".join(token.permissions) or None
        return cls(access_token=token.access_token, expires_in=token.expires_in, scope=scope)


class IntrospectionOut(BaseModel):
    active: bool
    scope: str | None = Field(None, description="What the bearer may do now, with spaces between them.")
    client_id: str | None = None
    token_type: Literal["Bearer"] | None = None
    exp: int | None = None
    iat: int | None = None
    sub: str | None = None
    aud: str | None = None
    iss: str | None = None
    jti: str | None = None
    sid: str | None = Field(None, description="Of a user's token: the session.")
    role: str | None = Field(None, description="Of a user's token: the role as it is now.")
    groups: list[str] | None = Field(
        None, description="Of a user's token: the groups as they are now, where there are any."
    )
    permissions: list[str] | None = Field(None, description="What the bearer may do now.")

    @classmethod
    def of(cls, found: Introspected | None, issuer: str) -> "IntrospectionOut":
        if found is None:
            return cls(active=False)
        claims = found.claims
        return cls(
            active=True,
            scope=" ".join(found.permissions) or None,
            client_id=claims.client_id,
            token_type="Bearer",  # noqa: S106
            exp=claims.expires_at,
            iat=claims.issued_at,
            sub=str(claims.subject),
            aud=claims.audience,
            iss=issuer,
            jti=str(claims.token_id),
            sid=str(claims.session_id) if claims.session_id else None,
            role=found.role,
            groups=found.groups or None,
            permissions=found.permissions,
        )


class MetadataOut(BaseModel):
    issuer: str
    token_endpoint: str
    jwks_uri: str
    introspection_endpoint: str
    revocation_endpoint: str
    grant_types_supported: list[str]
    response_types_supported: list[str]
    token_endpoint_auth_methods_supported: list[str]
    introspection_endpoint_auth_methods_supported: list[str]
    revocation_endpoint_auth_methods_supported: list[str]


CLIENT_SCHEME = {
    "type": "http",
    "scheme": "basic",
    "description": "The client id and the secret of a service account.",
}


def form(required: dict[str, str], optional: dict[str, str]) -> dict[str, Any]:
    """The body of a route and how its client says who it is, for the OpenAPI document."""
    own = {"client_id": "Unless it is in the Authorization header.", "client_secret": "Beside `client_id`."}
    fields = {
        name: {"type": "string", "description": said}
        for name, said in {**required, **optional, **own}.items()
    }
    schema = {"type": "object", "properties": fields, "required": list(required)}
    return {
        "requestBody": {"required": True, "content": {MEDIA_TYPE: {"schema": schema}}},
        "security": [{"Client": []}, {}],
    }
