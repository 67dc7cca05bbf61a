"""The rules of the house that import contracts cannot see; docs/architecture.md says why."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.factories import EMAIL, PASSWORD
from tests.processes import Usersvc

PACKAGE = Path(__file__).parent.parent / "usersvc"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "versions" not in path.parts)

Rule = Callable[[str, ast.AST], bool]


def _calls(name: str) -> Callable[[ast.AST], bool]:
    def matches(node: ast.AST) -> bool:
        if not isinstance(node, ast.Call):
            return False
        called = node.func
        return getattr(called, "attr", None) == name or getattr(called, "id", None) == name

    return matches


def _is_attribute(owner: str, name: str) -> Callable[[ast.AST], bool]:
    def matches(node: ast.AST) -> bool:
        return (
            isinstance(node, ast.Attribute)
            and node.attr == name
            and isinstance(node.value, ast.Name)
            and node.value.id == owner
        )

    return matches


def _asks(node: ast.AST) -> bool:
    return _is_attribute("typer", "prompt")(node) or _is_attribute("typer", "confirm")(node)


def _imports_inside_functions(node: ast.AST) -> bool:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    return any(isinstance(inner, ast.Import | ast.ImportFrom) for inner in ast.walk(node))


def _swallows_everything(node: ast.AST) -> bool:
    if not isinstance(node, ast.ExceptHandler):
        return False
    broad = node.type is None or getattr(node.type, "id", "") in ("Exception", "BaseException")
    return broad and all(isinstance(line, ast.Pass | ast.Continue) for line in node.body)


def _compares_a_secret(node: ast.AST) -> bool:
    """`==` on a secret tells by its time how much of it was right: hmac.compare_digest, or look it up."""
    if not isinstance(node, ast.Compare) or not any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
        return False
    names = {
        getattr(side, "attr", getattr(side, "id", ""))
        for side in (node.left, *node.comparators)
        if not isinstance(side, ast.Constant)
    }
    return any(name.endswith(("secret", "digest", "rnd", "signature", "_token")) for name in names)


# What, where it may stand, and why there.
RULES: dict[str, tuple[Callable[[ast.AST], bool], list[str]]] = {
    "commits stand in core.py": (_calls("commit"), ["core.py"]),
    "rollbacks stand in core.py": (_calls("rollback"), ["core.py"]),
    "questions at a terminal take Ctrl+C": (_asks, ["cli/asking.py"]),
    # serving.py, keyboard.py: of files, not of SQL.
    "SQL is built in repositories/ and db/": (
        _calls("select"),
        ["repositories/", "db/", "api/serving.py", "cli/keyboard.py"],
    ),
    # storages.py, postgresql_queue.py: Huey's own tables. worker.py: of a task, not of SQL.
    "SQL is run in repositories/ and db/": (
        _calls("execute"),
        ["repositories/", "db/", "jobs/storages.py", "jobs/postgresql_queue.py", "jobs/worker.py"],
    ),
    "the environment is read in configuration.py": (
        _is_attribute("os", "environ"),
        ["configuration.py", "cli/completion.py"],  # a shell says so what is typed
    ),
    "the environment is read once": (_calls("getenv"), []),
    "the time is read in clock.py": (_is_attribute("datetime", "now"), ["clock.py"]),
    "the time is not read as utcnow": (_is_attribute("datetime", "utcnow"), []),
    # verifier.py: of a relying service, which has no clock of ours.
    "the time is not read as time.time": (_is_attribute("time", "time"), ["verify/verifier.py"]),
    # What is slow to import and seldom needed.
    "imports stand at the top": (
        _imports_inside_functions,
        [
            "__main__.py",  # all: Ctrl+C is heard while they are imported
            "cli/server.py",  # the web stack and the queue
            "cli/configuration.py",  # Jinja, where there are templates of mails to check
            "cli/doctor.py",  # the queue
            "cli/completion.py",  # all, where nothing is completed
            "cli/keyboard.py",  # what Windows does not have
            "core.py",  # Jinja, where a mail is rendered; HTTP, where a webhook is called
            "db/engine.py",  # PostgreSQL's driver
            "db/dump.py",  # the same, which reading a backup does not need
            "db/types.py",  # PostgreSQL's dialect
            "jobs/queue.py",  # PostgreSQL's dialect
            "mail/transports.py",  # SMTP
            "security/passwords.py",  # zxcvbn, where a password is chosen
            "profile_schema.py",  # the checker of JSON Schema, where the settings name a schema
            "services/migration.py",  # Alembic, where the schema is not current
            "services/names.py",  # email-validator, where a command is given an address
        ],
    ),
    "no error is swallowed": (_swallows_everything, []),
    "secrets are not compared with ==": (_compares_a_secret, ["repositories/"]),
    # docs/decisions/0001: one read by key, nothing else, in the event loop.
    "the event loop reads a row for /users/me alone": (_calls("read_one_row"), ["api/me.py"]),
    "a statement without a transaction finds the bearer alone": (
        _calls("glance"),
        ["services/authentication.py"],
    ),
}


def _offenders(rule: str, files: list[Path] = FILES) -> Iterator[str]:
    matches, allowed = RULES[rule]
    for path in files:
        place = path.relative_to(PACKAGE).as_posix()
        if place.startswith(tuple(allowed)):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if matches(node):
                yield f"{place}:{getattr(node, 'lineno', 0)}"


@pytest.mark.parametrize("rule", RULES)
def test_the_code_keeps_the_rule(rule: str) -> None:
    assert list(_offenders(rule)) == []


BROKEN = {
    "commits stand in core.py": "connection.commit()",
    "rollbacks stand in core.py": "tx.rollback()",
    "questions at a terminal take Ctrl+C": "typer.confirm('Sure?')",
    "SQL is built in repositories/ and db/": "q = select(users)",
    "SQL is run in repositories/ and db/": "connection.execute(q)",
    "the environment is read in configuration.py": "x = os.environ['X']",
    "the environment is read once": "x = os.getenv('X')",
    "the time is read in clock.py": "x = datetime.now()",
    "the time is not read as utcnow": "x = datetime.utcnow()",
    "the time is not read as time.time": "x = time.time()",
    "imports stand at the top": "def f():\n    import os",
    "no error is swallowed": "try:\n    f()\nexcept Exception:\n    pass",
    "secrets are not compared with ==": "x = row.digest == given",
    "the event loop reads a row for /users/me alone": "read_one_row(request, bearer, f)",
    "a statement without a transaction finds the bearer alone": "with core.glance() as tx:\n    pass",
}


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_sees_what_breaks_it(rule: str) -> None:
    matches, _ = RULES[rule]
    assert any(matches(node) for node in ast.walk(ast.parse(BROKEN[rule])))


def test_use_cases_do_not_call_use_cases_transactions_do_not_nest() -> None:
    """A `with core.write()` inside a `with core.read()` or `core.write()` would wait for itself."""
    opening = ("read", "glance", "write")

    def opens(node: ast.AST) -> bool:
        return isinstance(node, ast.With) and any(
            isinstance(item.context_expr, ast.Call)
            and isinstance(item.context_expr.func, ast.Attribute)
            and item.context_expr.func.attr in opening
            and getattr(item.context_expr.func.value, "id", "") == "core"
            for item in node.items
        )

    nested = [
        f"{path.name}:{outer.lineno}"
        for path in FILES
        for outer in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(outer, ast.With) and opens(outer)
        for inner in ast.walk(outer)
        if inner is not outer and opens(inner)
    ]
    assert nested == []


def test_shared_steps_take_the_transaction_and_never_open_one() -> None:
    for path in (PACKAGE / "services").glob("_[a-z]*.py"):
        text = path.read_text(encoding="utf-8")
        assert "core.write(" not in text
        assert "core.read(" not in text


def test_every_module_says_what_it_is_for() -> None:
    silent = [path.name for path in FILES if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
    assert silent == []


def test_no_file_became_a_place_where_everything_lands() -> None:
    """A smell turned into a fence far out: cut by capability before this."""
    # The closed list of errors is read as a list, three lines each.
    files = [path for path in FILES if path != PACKAGE / "errors.py"]
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {path: lines for path, lines in lengths.items() if lines > 400} == {}


# What is slow to import, and for what it is not needed.
_OF_SERVERS = ["fastapi", "starlette", "uvicorn", "prometheus_client", "huey", "redis"]
_OF_FEW = [
    "alembic",
    "mako",
    "zxcvbn",
    "aiosmtplib",
    "jsonschema_rs",
    "argon2",
    "passlib",
    "ijson",
    "h11",
    "sqlalchemy.dialects.postgresql",
    "usersvc.db.postgresql",
]
_OF_A_COMMAND = [
    "sqlalchemy",
    "pydantic",
    "structlog",
    "cryptography",
    "jwt",
    "rich",
    "jinja2",
    "usersvc.core",
]
_LOADED = "import sys; print([name for name in sys.argv[1].split() if name in sys.modules])"
_IMPORTS_OF_SERVE = (
    "from usersvc.cli.commands import load; load('serve'); from usersvc.api import server; "
    "from usersvc.jobs import queue, worker; "
)


def _loaded(names: list[str], usersvc: Usersvc, code: str) -> str:
    command = [sys.executable, "-c", f"{code}{_LOADED}", " ".join(names)]
    done = subprocess.run(
        command, cwd=usersvc.folder, env=usersvc.environ, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1]


def _of(*arguments: str) -> str:
    return f"from usersvc.cli.app import app; app({list(arguments)}, standalone_mode=False); "


def test_help_loads_no_command_and_nothing_that_commands_need(tmp_path: Path) -> None:
    names = [*_OF_SERVERS, *_OF_FEW, *_OF_A_COMMAND]
    assert _loaded(names, Usersvc(tmp_path), _of("--help")) == "[]"
    assert _loaded(["sqlalchemy"], Usersvc(tmp_path), "import usersvc.core; ") == "['sqlalchemy']"


def test_a_command_on_sqlite_loads_nothing_of_servers_and_postgresql(tmp_path: Path) -> None:
    usersvc = Usersvc(tmp_path)
    usersvc.run("create-admin", EMAIL, "--password-stdin", text=PASSWORD)
    names = [*_OF_SERVERS, *_OF_FEW, "jinja2", "psycopg"]
    assert _loaded(names, usersvc, _of("show-user", EMAIL)) == "[]"
    assert _loaded(["alembic", "email_validator"], usersvc, _of("migrate")) == "[]"


def test_a_server_on_sqlite_loads_nothing_of_postgresql_smtp_and_migrations(tmp_path: Path) -> None:
    """Huey imports the drivers of Redis and PostgreSQL by itself. zxcvbn is there before anybody asks."""
    assert _loaded(_OF_FEW, Usersvc(tmp_path), _IMPORTS_OF_SERVE) == "['zxcvbn']"


def test_each_import_contract_is_seen_to_break(tmp_path: Path) -> None:
    """A copy of the package with one forbidden import for each contract breaks every one of them."""
    copy = tmp_path / "usersvc"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("static", "__pycache__"))
    shutil.copy(PACKAGE.parent / "pyproject.toml", tmp_path)
    for place, forbidden in (
        ("repositories/users.py", "import usersvc.services.login"),
        ("api/me.py", "import usersvc.repositories.users"),
        ("services/login.py", "import fastapi"),
        ("services/sessions.py", "import rich"),
        ("core.py", "import huey"),
        ("security/hashing_pool.py", "import prometheus_client"),
    ):
        path = copy / place
        path.write_text(f"{path.read_text('utf-8')}\n{forbidden}\n", encoding="utf-8")
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    environ = {"PYTHONPATH": str(tmp_path), "PATH": "", "COLUMNS": "200"}
    found = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert "Contracts: 0 kept, 6 broken." in found.stdout
