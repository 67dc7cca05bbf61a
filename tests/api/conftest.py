"""A client that holds every answer to the contract, whatever the test looks at."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from usersvc.api.app import create_app
from usersvc.api.deps import PREFIX
from usersvc.core import Core

# Answers that no route gives, so no route documents them.
_OF_NO_ROUTE = ("NOT_FOUND", "METHOD_NOT_ALLOWED")


_documents: list[dict[str, Any]] = []


def _document(http: TestClient) -> dict[str, Any]:
    """No setting changes it, and it takes longer to make than all else that a client needs."""
    if not _documents:
        _documents.append(http.get("/openapi.json").json())
    return _documents[0]


class Client:
    """Calls the application in this process; `json=` and `token=` as a client program would send them."""

    def __init__(self, core: Core, peer: str = "192.0.2.7") -> None:
        self.http = TestClient(create_app(core), client=(peer, 50000))
        self.document = _document(self.http) if core.settings.server.docs else None

    def call(
        self, method: str, path: str, *, token: str | None = None, template: str | None = None, **more: Any
    ) -> Response:
        """`template` is the path as the document has it, where it holds a value."""
        headers = dict(more.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        response = self.http.request(method, PREFIX + path, headers=headers, **more)
        self._check(method, template or path, response)
        return response

    def get(self, path: str, **more: Any) -> Response:
        return self.call("GET", path, **more)

    def post(self, path: str, **more: Any) -> Response:
        return self.call("POST", path, **more)

    def _check(self, method: str, path: str, response: Response) -> None:
        assert response.headers["content-type"] == "application/json"
        assert response.headers["x-request-id"]
        assert response.headers["cache-control"] == "no-store"
        envelope = response.json()
        assert set(envelope) == {"success", "data", "error"}
        assert envelope["success"] is (response.status_code < 400)
        if response.status_code < 400:
            assert envelope["error"] is None
            assert str(response.status_code) in self._documented(method, path)
            return
        assert envelope["data"] is None
        code = envelope["error"]["code"]
        if response.status_code == 401:
            assert response.headers["www-authenticate"] == "Bearer"
        if response.status_code in (429, 503):
            assert int(response.headers["retry-after"]) >= 1
        if code not in _OF_NO_ROUTE:
            documented = self._documented(method, path)[str(response.status_code)]
            assert code in json.dumps(documented), f"{method} {path} does not document {code}"

    def _documented(self, method: str, path: str) -> dict[str, Any]:
        assert self.document is not None
        responses: dict[str, Any] = self.document["paths"][PREFIX + path][method.lower()]["responses"]
        return responses


@pytest.fixture
def client(core: Core) -> Client:
    return Client(core)


@pytest.fixture
def make_client(make_core: Callable[..., Core]) -> Callable[..., Client]:
    """Clients of cores with other settings: `make_client(registration__activation=False)`."""
    return lambda **values: Client(make_core(**values))


def code_of(response: Response) -> str:
    return str(response.json()["error"]["code"])
