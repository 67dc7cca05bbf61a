"""The document that client generators and Swagger UI read."""

import json

from starlette.testclient import TestClient

from tests.api.conftest import Client
from usersvc.api.app import create_app
from usersvc.api.errors import STATUS, TRANSPORT
from usersvc.core import Core
from usersvc.errors import CODES


def test_every_documented_code_is_of_the_closed_list_and_under_its_status(client: Client) -> None:
    status_of = {code: STATUS[error.kind] for code, error in CODES.items()}
    status_of |= {code: status for status, (code, _) in TRANSPORT.items()}
    document = client.http.get("/openapi.json").json()
    seen = set()
    for path, methods in document["paths"].items():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                if int(status) < 400 or not path.startswith("/api/"):
                    continue
                name = response["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                [_, narrowed] = document["components"]["schemas"][name]["allOf"]
                for code in narrowed["properties"]["error"]["properties"]["code"]["enum"]:
                    assert status_of[code] == int(status), f"{path} {code}"
                    seen.add(code)
    assert {"EMAIL_TAKEN", "INVALID_LINK", "TOKEN_REUSED", "BODY_TOO_LARGE", "OVERLOADED"} <= seen


def test_references_in_the_document_resolve(client: Client) -> None:
    text = client.http.get("/openapi.json").text
    document = json.loads(text)
    for name in {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}:
        assert name in document["components"]["schemas"]


def test_the_bearer_scheme_is_declared_where_a_token_is_needed(client: Client) -> None:
    document = client.http.get("/openapi.json").json()
    assert document["components"]["securitySchemes"]["Bearer"]["scheme"] == "bearer"
    assert document["paths"]["/api/v1/users/me"]["get"]["security"] == [{"Bearer": []}]
    assert "security" not in document["paths"]["/api/v1/auth/login"]["post"]


def test_swagger_ui_comes_from_the_package_alone(client: Client) -> None:
    page = client.http.get("/docs")
    assert page.status_code == 200
    assert "http" not in page.text.replace("http-equiv", "")
    for path in ("swagger-ui/swagger-ui-bundle.js", "swagger-ui/swagger-ui.css", "docs.js"):
        assert f"/static/{path}" in page.text
        assert client.http.get(f"/static/{path}").status_code == 200
    assert "script-src 'self'" in page.headers["content-security-policy"]


def test_a81_docs_can_be_turned_off(make_core) -> None:
    client = TestClient(create_app(make_core(server__docs=False)))
    assert client.get("/docs").status_code == 404
    assert client.get("/openapi.json").status_code == 404
    assert client.get("/healthz").status_code == 200


def test_a_route_that_is_new_has_to_document_its_failures(core: Core) -> None:
    document = TestClient(create_app(core)).get("/openapi.json").json()
    for path, methods in document["paths"].items():
        if path.startswith("/api/"):
            for method, operation in methods.items():
                assert {"500", "503"} <= set(operation["responses"]), f"{method} {path}"
                assert operation["summary"]
                assert operation["description"]
