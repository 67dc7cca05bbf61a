"""A running server, asked by schemathesis for what its document allows or not, as nobody and in each role."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.factories import PASSWORD
from tests.processes import Running, Usersvc
from tests.profiles import schemas_in

pytestmark = [pytest.mark.process, pytest.mark.long]

_CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Usersvc, Running]]:
    """Somebody of each role. Nothing is limited: who is refused is asked nothing more."""
    found = Usersvc(tmp_path_factory.mktemp("fuzzing"))
    found.environ["USERSVC_THROTTLE__ENABLED"] = "false"
    found.environ |= {f"USERSVC_{name.upper()}": str(path) for name, path in schemas_in(found.folder).items()}
    for role in ("admin", "moderator", "user"):
        found.run("create-admin", f"{role}@example.org", "--password-stdin", "--yes", text=PASSWORD)
    for role in ("moderator", "user"):
        found.run("set-role", f"{role}@example.org", role)
    with found.serving("--no-worker") as process:
        yield found, process
        assert "Traceback" not in process.output


@pytest.mark.parametrize("role", [None, "user", "moderator", "admin"])
def test_every_answer_is_as_documented_and_none_is_a_crash(
    serving: tuple[Usersvc, Running], role: str | None
) -> None:
    usersvc, process = serving
    environ = usersvc.environ | {"SCHEMATHESIS_HOOKS": str(Path(__file__).with_name("fuzzing_hooks.py"))}
    if role:
        environ["FUZZING_EMAIL"] = f"{role}@example.org"
        environ["FUZZING_PASSWORD"] = PASSWORD
        environ["FUZZING_API"] = usersvc.api
    found = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{usersvc.url}/openapi.json"),
            *("--checks", ",".join(_CHECKS), "--phases", "examples,coverage,fuzzing"),
            *("--max-examples", "3", "--generation-deterministic", "--no-color"),
        ],
        cwd=usersvc.folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=360,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    if role == "admin":
        assert '"route": "/api/v1/admin/users", "status": 200' in process.output, "he was one"
