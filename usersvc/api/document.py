"""The OpenAPI document: FastAPI's, with what client generators and linters want besides."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from usersvc.api.oauth_schemas import CLIENT_SCHEME
from usersvc.api.schemas import Failure

# In the order in which Swagger UI shows them. A route with another tag needs its line here.
TAGS = {
    "registration": "Making an account and activating it by mail.",
    "sessions": "Logging in, going on with a new pair of tokens, logging out.",
    "passwords": "Changing a password, and getting in without it by mail.",
    "own account": "What a person who is logged in sees and changes of his own.",
    "administration": "Accounts, roles and sessions of others, and the audit.",
    "groups": "Permissions of other services, given to many at once.",
    "service accounts": "Other programs that may ask for tokens, and their secrets.",
    "oauth": "Tokens for services, introspection and revocation, as the RFCs of OAuth 2.0 have them.",
    "keys": "What other services check access tokens with.",
    "health": "For those who watch over the process.",
}


def document_of(app: FastAPI) -> dict[str, Any]:
    """Made once; it changes with the code alone."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            license_info={"name": "MIT", "identifier": "MIT"},
            # Of wherever the document came from: a page under another name than server.public_url works too.
            servers=[{"url": "/", "description": "This usersvc."}],
            tags=[{"name": name, "description": description} for name, description in TAGS.items()],
            routes=app.routes,
        )
        # Where an operation names nothing, anybody may call it.
        document["security"] = []
        document["components"]["securitySchemes"]["Client"] = CLIENT_SCHEME
        schema = Failure.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas = document["components"]["schemas"]
        schemas |= schema.pop("$defs") | {"Failure": schema}
        _share_failures(document["paths"], schemas)
        _complete_examples(schemas)
        app.openapi_schema = document
    return app.openapi_schema


def _complete_examples(schemas: dict[str, Any]) -> None:
    """FastAPI leaves out every null of the document, also where an example has to have it."""
    for schema in schemas.values():
        for example in schema.get("examples", ()):
            for name in schema.get("required", ()):
                if {"type": "null"} in schema["properties"][name].get("anyOf", ()):
                    example.setdefault(name, None)


def _share_failures(paths: dict[str, Any], schemas: dict[str, Any]) -> None:
    """One schema for all answers with the same codes: a generated client has one type, not one a route."""
    for operation in (operation for operations in paths.values() for operation in operations.values()):
        for response in operation["responses"].values():
            for content in response.get("content", {}).values():
                if "allOf" in content.get("schema", {}):
                    name = _name_of(content["schema"])
                    schemas[name] = content["schema"]
                    content["schema"] = {"$ref": f"#/components/schemas/{name}"}


def _name_of(failure: dict[str, Any]) -> str:
    """`FailureBadRequest`: which codes it can carry."""
    _, narrowed = failure["allOf"]
    codes = narrowed["properties"]["error"]["properties"]["code"]["enum"]
    return "Failure" + "".join(code.title().replace("_", "") for code in codes)
