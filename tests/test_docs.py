"""The documents are true: commands, routes, codes, kinds of mail and links in them are those of the code."""

import ast
import inspect
import os
import re
import textwrap
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import SecretStr

from usersvc.api.app import create_app
from usersvc.api.deps import PREFIX
from usersvc.api.errors import STATUS, TRANSPORT
from usersvc.cli import commands
from usersvc.cli.app import CLOSED_PIPE, EXIT, WRONG_SETTING
from usersvc.core import Core
from usersvc.errors import CODES
from usersvc.mail.samples import SAMPLES
from usersvc.mail.templating import BUILT_IN as _BUILT_IN
from usersvc.security.hashing_pool import HashingPool
from usersvc.services.audit import ACTIONS
from usersvc.services.checks.finding import ok
from usersvc.services.doctor import checks
from usersvc.settings import keys

ROOT = Path(__file__).parent.parent
COMMANDS = [listed.name for listed in commands.COMMANDS]
DOCUMENTS = [
    path for where in ("*.md", "docs/**/*.md", "examples/*/*.md") for path in sorted(ROOT.glob(where))
]

# What only commands raise: no route can answer with these.
_OF_COMMANDS = {
    "KEY_NOT_FOUND",
    "KEY_REFUSED",
    "KEYS_CHANGED",
    "ROTATION_PENDING",
    "NEW_SECRET_MISSING",
    "NEW_SECRET_UNFIT",
    "MAIL_NOT_FOUND",
    "MAIL_NOT_GIVEN_UP",
    "MAIL_NOT_SENT",
    "INVALID_WEBHOOK",
    "WEBHOOK_NOT_FOUND",
    "WEBHOOK_NOT_REACHED",
    "DELIVERY_NOT_FOUND",
    "DELIVERY_NOT_GIVEN_UP",
    "INVALID_IMPORT",
    "IMPORT_CONFLICT",
    "IMPORT_INTERFERED",
    "DATABASE_NOT_EMPTY",
    "ROW_REFUSED",
    "COPY_DIFFERS",
    "BROKEN_TEMPLATES",
    "BACKUP_EXISTS",
    "BACKUP_RUNNING",
    "BACKUP_UNFIT",
    "DATABASE_IN_USE",
    "DUMP_FAILED",
    "NO_BACKUP",
    "CHECKS_FAILED",
    "NO_LONGER_MATCHES",
    "SOME_REFUSED",
    "ADDRESS_IN_USE",
    "NO_ADDRESS",
    "NOT_SERVING",
    "OTHER_SYSTEM_USER",
}

# Told by /oauth/* in the words of OAuth's standards.
_OF_OAUTH = {"INVALID_CLIENT", "INVALID_SCOPE", "MAY_NOT_REVOKE"}


def _text(*names: str) -> str:
    return "\n".join((ROOT / name).read_text(encoding="utf-8") for name in names)


def test_the_readme_begins_with_the_two_commands() -> None:
    lines = [line for line in _text("README.md").splitlines() if line]
    assert lines[1].strip().startswith("make run ")
    assert lines[2].strip().startswith("make test ")


def test_the_readme_lists_every_command_and_no_other() -> None:
    listed = re.findall(r"^    usersvc ([a-z-]+)  ", _text("README.md"), re.MULTILINE)
    assert sorted(listed) == sorted(COMMANDS)


def test_the_readme_shows_every_make_command_that_there_is() -> None:
    offered = set(re.findall(r"^([a-z-]+):.*##", _text("Makefile"), re.MULTILINE))
    assert set(re.findall(r"(?:^ *|`)make ([a-z-]+)", _text("README.md", ".ci/run"), re.MULTILINE)) <= offered


def test_every_route_is_documented_and_no_other(core: Core) -> None:
    routes = {
        (method.upper(), path)
        for path, operations in create_app(core)._app.openapi()["paths"].items()
        for method in operations
    }
    documented = {
        (method, PREFIX + path)
        for method, path in re.findall(r"^\| `([A-Z]+) (/\S+)` \|", _text("docs/api.md"), re.MULTILINE)
    }
    assert documented == {route for route in routes if route[1].startswith(PREFIX)}
    for _, path in routes:
        assert path.removeprefix(PREFIX) in _text("docs/api.md")


def test_every_error_code_is_documented_with_its_status() -> None:
    documented = dict(re.findall(r"^\| `([A-Z_]+)` \| (\d+) \|", _text("docs/api.md"), re.MULTILINE))
    codes = {
        code: STATUS[error.kind] for code, error in CODES.items() if code not in _OF_COMMANDS | _OF_OAUTH
    }
    codes |= {code: status for status, (code, _) in TRANSPORT.items()}
    assert {code: int(status) for code, status in documented.items()} == codes


def test_every_exit_code_is_documented() -> None:
    documented = {
        int(code) for code in re.findall(r"^\| (\d+) \|", _text("docs/operations.md"), re.MULTILINE)
    }
    assert {0, 1, 2, WRONG_SETTING, CLOSED_PIPE, *EXIT.values()} <= documented


def test_the_bounds_of_the_hashing_queue_are_documented() -> None:
    bounds = inspect.signature(HashingPool).parameters
    rows = re.findall(
        r"^\| passwords of .* \| (\d+) .*in each API process.* \| `OVERLOADED`",
        _text("docs/api.md"),
        re.MULTILINE,
    )
    assert rows == [str(bounds[name].default) for name in ("per_client", "queue")]
    for name in ("usersvc/api/counting.py", "docs/metrics.md"):
        assert "their network's share (two" in _text(name)


def test_every_kind_of_mail_is_documented() -> None:
    documented = set(re.findall(r"^\| `([a-z_]+)` \| ", _text("docs/operations.md"), re.MULTILINE))
    kinds = {path.stem for path in (_BUILT_IN / "en").iterdir()} - {"mail"}
    assert documented == kinds
    values = dict(
        re.findall(r"^\| `([a-z_]+)` \| [^|]+ \| (.+) \|$", _text("docs/operations.md"), re.MULTILINE)
    )
    for kind, sample in SAMPLES.items():
        assert re.findall(r"`([a-z_]+)`", values[kind]) == list(sample)


def test_every_check_of_doctor_is_documented_in_its_order() -> None:
    [table] = re.findall(
        r"^\| check \| failed \|.*\n\|[- |]+\n((?:\|.*\n)+)", _text("docs/operations.md"), re.MULTILINE
    )
    documented = re.findall(r"^\| ([a-z ]+) \|", table, re.MULTILINE)
    assert documented == ["settings", *(check.name for check in checks(lambda _: ok("well")))]


def test_settings_that_the_documents_name_exist() -> None:
    tables = {table for table, _, _ in keys()}
    known = {f"{table}.{key}" for table, key, _ in keys()}
    named = {
        name
        for document in DOCUMENTS
        for name in re.findall(r"`([a-z]+\.[a-z_]+)`", document.read_text(encoding="utf-8"))
        if name.split(".")[0] in tables and name != "queue.db"
    }
    assert named
    # Some actions of the audit look like settings; the next test looks at those.
    assert named - set(audit_table()) <= known


def audit_table() -> dict[str, set[str]]:
    """The actions that docs/operations.md names, with what each has in its detail."""
    [section] = re.findall(r"^## The audit$(.*?)^## ", _text("docs/operations.md"), re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| `([a-z]+\.[a-z_]+)` \| .* \| (.*)\|$", section, re.MULTILINE)
    assert len(rows) == len(dict(rows))
    return {action: set(re.findall(r"`([a-z_]+)`", detail)) for action, detail in rows}


def test_every_action_of_the_audit_is_documented_and_no_other() -> None:
    assert set(audit_table()) == _actions_written() == set(ACTIONS)
    assert len(set(ACTIONS)) == len(ACTIONS)


def _actions_written() -> set[str]:
    """The literals of the services that look like an action and are neither a setting nor a logger."""
    literals = {
        str(node.value)
        for path in (ROOT / "usersvc" / "services").glob("*.py")
        if path.name != "audit.py"  # which lists them
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
    }
    actions = {literal for literal in literals if re.fullmatch(r"[a-z]+\.[a-z_]+", literal)}
    return {name for name in actions if not name.startswith("usersvc.")} - {f"{t}.{k}" for t, k, _ in keys()}


def _default_of(field: Any) -> str:
    """The default as docs/settings.md writes it: as TOML does, and "none" for what TOML cannot say."""
    match field.default:
        case None:
            return "none"
        case bool() | int():
            return f"`{str(field.default).lower()}`"
        case SecretStr():
            return f'`"{field.default.get_secret_value()}"`'
        case _:
            return f'`"{field.default}"`'


_ROW_OF_A_SETTING = re.compile(r"^\| `([a-z]+\.[a-z_]+)` \| (.*?) \| (.*) \|$", re.MULTILINE)


def test_every_setting_is_documented_once_in_its_table_with_its_default_and_no_other() -> None:
    _, *sections = re.split(r"^## \[([a-z]+)\]$", _text("docs/settings.md"), flags=re.MULTILINE)
    documented = [
        (table, name, default)
        for table, section in zip(sections[::2], sections[1::2], strict=True)
        for name, default, _ in _ROW_OF_A_SETTING.findall(section)
    ]
    assert documented == [(table, f"{table}.{key}", _default_of(field)) for table, key, field in keys()]
    assert len(_ROW_OF_A_SETTING.findall(_text("docs/settings.md"))) == len(documented)


def test_every_setting_is_documented_with_its_limits_and_what_it_may_be() -> None:
    meanings = {name: meaning for name, _, meaning in _ROW_OF_A_SETTING.findall(_text("docs/settings.md"))}
    for table, key, field in keys():
        limits = {
            name: getattr(limit, name)
            for limit in field.metadata
            for name in ("ge", "le")
            if hasattr(limit, name)
        }
        if limits:
            assert meanings[f"{table}.{key}"].endswith(f" {limits['ge']} to {limits['le']}."), key
        for value in get_args(field.annotation) if get_origin(field.annotation) is Literal else ():
            assert f"`{value}`" in meanings[f"{table}.{key}"], key


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_that_the_documents_name_exist(document: Path) -> None:
    named = re.findall(r"`usersvc ([a-z][a-z-]+)", document.read_text(encoding="utf-8"))
    named += re.findall(
        r"^    \$ .*\busersvc ([a-z][a-z-]+)", document.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert set(named) <= set(COMMANDS)


def test_the_program_in_extending_runs_and_prints_what_stands_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [(program, printed)] = re.findall(
        r"^```python\n(.*?)^```\n\nIt prints:\n\n((?:    [^\n]*\n)+)",
        _text("docs/extending.md"),
        re.DOTALL | re.MULTILINE,
    )
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.upper().startswith("USERSVC_")]:
        monkeypatch.delenv(name)
    exec(compile(program, "docs/extending.md", "exec"), {})
    assert capsys.readouterr().out == textwrap.dedent(printed)
    assert (tmp_path / "data" / "usersvc.db").exists()


def test_routes_codes_files_and_tests_that_extending_names_exist(core: Core) -> None:
    text = _text("docs/extending.md")
    paths = create_app(core)._app.openapi()["paths"]
    routes = re.findall(r"`([A-Z]+) (/\S+)`", text)
    assert routes
    for method, path in routes:
        assert method.lower() in paths[PREFIX + path]
    codes = set(re.findall(r"`([A-Z]+_[A-Z_]+)`", text))
    assert codes <= set(CODES)
    for path in re.findall(r"`((?:usersvc|tests|docs)/[\w/.]*)", text):
        assert (ROOT / path).exists(), path
    for path, test in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text):
        assert f"def {test}(" in _text(path)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target


def test_every_decision_is_listed() -> None:
    listed = re.findall(r"\((\d{4}-[a-z-]+\.md)\)", _text("docs/decisions/README.md"))
    assert listed == sorted(path.name for path in (ROOT / "docs" / "decisions").glob("0*.md"))


def test_paths_in_the_architecture_exist() -> None:
    for path in re.findall(r"`((?:tests|db|services|cli|api)/[\w/.]+\.\w+)`", _text("docs/architecture.md")):
        assert (ROOT / path).exists() or (ROOT / "usersvc" / path).exists(), path
