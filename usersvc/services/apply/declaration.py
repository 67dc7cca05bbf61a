"""The file that says what there should be: its sections, what each may hold, every mistake in it at once."""

import os
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    ValidationInfo,
)

from usersvc.core import Core
from usersvc.errors import DomainError, WrongDeclaration
from usersvc.services import groups, service_accounts, webhooks
from usersvc.services.names import Address, parse_email, parse_username
from usersvc.services.permissions import permission_name
from usersvc.services.service_accounts import LONGEST_EXPIRES_DAYS
from usersvc.setting_types import OptionalPath, open_to_others
from usersvc.webhooks.events import Event

_MOST_OF_A_HINT = 64
_SAID = {
    "extra_forbidden": "there is no such key",
    "missing": "expected here",
    "path_type": "expected a path",
    "string_type": "expected text",
    "bool_type": "expected true or false",
    "list_type": "expected a list",
    "int_type": "expected a whole number",
}


def _by(rule: Callable[[Core, Any], Any]) -> Callable[[Any, ValidationInfo], Any]:
    """A rule of the services, whose fact becomes the mistake."""

    def check(value: Any, info: ValidationInfo) -> Any:
        core = info.context
        assert isinstance(core, Core)
        try:
            return rule(core, value)
        except DomainError as error:
            raise ValueError(str(error)) from None

    return check


def _kept(rule: Callable[[Core, Any], object]) -> AfterValidator:
    """A rule that only looks."""

    def look(core: Core, value: Any) -> Any:
        rule(core, value)
        return value

    return AfterValidator(_by(look))


def _address(core: Core, text: object) -> Address:
    if not isinstance(text, str):
        raise ValueError("expected an e-mail address")
    return parse_email(text, special_domains=core.settings.registration.special_domains)


def _require_description(_: Core, text: str) -> None:
    """As the API, which refuses it in any text: PostgreSQL keeps none."""
    if "\0" in text:
        raise ValueError("expected text without NUL")
    groups.require_fit(None, text)


Email = Annotated[Address, BeforeValidator(_by(_address))]
Username = Annotated[StrictStr, AfterValidator(_by(lambda _, text: parse_username(text)))]
Permission = Annotated[StrictStr, _kept(lambda _, text: permission_name(text))]
GroupName = Annotated[StrictStr, _kept(lambda _, text: groups.require_fit(text, None))]
OfGroup = Annotated[StrictStr, _kept(_require_description)]
ServiceName = Annotated[StrictStr, AfterValidator(_by(lambda _, text: service_accounts.service_name(text)))]
OfService = Annotated[StrictStr, _kept(lambda _, text: service_accounts.one_line(text))]
Audience = Annotated[StrictStr, _kept(lambda core, name: service_accounts.audience_list(core, [name]))]
Url = Annotated[StrictStr, _kept(webhooks.require_url)]
OfWebhook = Annotated[StrictStr, _kept(lambda _, text: webhooks.require_description(text))]


class Entry(BaseModel):
    """What is not said of something that is there stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    _place: str = PrivateAttr("")

    @property
    def place(self) -> str:
        """Where in the file, for a person."""
        return self._place


class AnAdministrator(Entry):
    email: Email
    username: Username | None = None
    """Of a new account."""


class ARole(Entry):
    email: Email
    role: Literal["user", "moderator"]
    invite: StrictBool = False
    username: Username | None = None
    """Of a new account."""


class AGroup(Entry):
    name: GroupName
    description: OfGroup | None = None
    permissions: list[Permission]
    managers: list[Email] | None = None
    members: list[Email] | None = None

    @property
    def people(self) -> dict[str, bool]:
        """By the key of the address, and whether the account manages the group."""
        return {
            **{address.key: False for address in self.members or ()},
            **{address.key: True for address in self.managers or ()},
        }


class AService(Entry):
    name: ServiceName
    description: OfService | None = None
    permissions: list[Permission]
    audiences: list[Audience] | None = None
    may_end_sessions: StrictBool | None = None
    active: StrictBool | None = None
    expires_days: Annotated[StrictInt, Field(ge=0, le=LONGEST_EXPIRES_DAYS)] | None = None
    """Of the secret of a new one."""
    secret_file: OptionalPath = None


class AWebhook(Entry):
    url: Url
    description: OfWebhook | None = None
    events: list[Event] | None = None
    """Empty: all."""
    enabled: StrictBool | None = None
    secret_file: OptionalPath = None


class Declaration(NamedTuple):
    """None is a section that the file does not have: nothing is done to what it is about."""

    file: Path
    administrators: list[AnAdministrator] | None
    roles: list[ARole] | None
    groups: list[AGroup] | None
    services: list[AService] | None
    webhooks: list[AWebhook] | None


_E = TypeVar("_E", bound=Entry)
_SECTIONS: dict[str, type[Entry]] = {
    "administrators": AnAdministrator,
    "roles": ARole,
    "groups": AGroup,
    "services": AService,
    "webhooks": AWebhook,
}


def read(core: Core, path: Path) -> Declaration:
    """Relative paths in it are relative to its folder. Raises WrongDeclaration with every mistake."""
    path = path.absolute()
    document = _document(path)
    mistakes = [f"{name}: there is no such section" for name in sorted(set(document) - set(_SECTIONS))]
    found: dict[str, Any] = dict.fromkeys(_SECTIONS)
    for section, kind in _SECTIONS.items():
        if section in document:
            found[section] = list(_entries(core, section, kind, document[section], mistakes))
    declared = Declaration(path, **found)
    mistakes += [*_twice(declared), *_unfit_files(declared)]
    if mistakes:
        raise WrongDeclaration([f"{path}: {mistake}" for mistake in mistakes])
    return declared


def secret_path(declared: Declaration, file: Path) -> Path:
    return Path(os.path.normpath(declared.file.parent / file.expanduser()))


def _document(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise WrongDeclaration([f"{path}: there is no such file"])
    if open_to_others(path, reading=False):
        raise WrongDeclaration([f"{path}: others can write this file: chmod o-w it"])
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WrongDeclaration([f"{path}: not TOML: {error}"]) from None
    except OSError as error:
        raise WrongDeclaration([f"{path}: cannot be read: {error.strerror}"]) from None


def _entries(core: Core, section: str, kind: type[_E], tables: object, mistakes: list[str]) -> Iterator[_E]:
    """Those without a mistake; the mistakes of the others go to `mistakes`."""
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        mistakes.append(f"{section}: expected tables, [[{section}]], or [] for none")
        return
    for number, table in enumerate(tables, 1):
        place = f"{section} {number}{_hint(table)}"
        try:
            entry = kind.model_validate(table, context=core)
        except ValidationError as error:
            mistakes += [f"{place}: {mistake}" for mistake in _explained(error)]
        else:
            entry._place = place
            yield entry


def _hint(table: dict[str, Any]) -> str:
    """Never of a URL, which may hold a secret."""
    name = table.get("name", table.get("email"))
    fits = isinstance(name, str) and name.isprintable() and len(name) <= _MOST_OF_A_HINT
    return f" ({name})" if fits else ""


def _explained(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        key, *numbers = problem["loc"]
        where = " ".join([str(key), *[str(int(number) + 1) for number in numbers]])
        what = problem["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
        what = _SAID.get(problem["type"], what)
        yield f"{where}: {what}"


def _twice(declared: Declaration) -> Iterator[str]:
    """What stands there more than once, so that it would be unclear what holds."""
    people = [*(declared.administrators or ()), *(declared.roles or ())]
    yield from _repeated((entry, entry.email.key, entry.email.email) for entry in people)
    for named in (declared.groups or (), declared.services or ()):
        yield from _repeated((entry, entry.name, entry.name) for entry in named)
    yield from _repeated((entry, entry.url, "this URL") for entry in declared.webhooks or ())
    files = [entry for entry in _with_secrets(declared) if entry.secret_file]
    yield from _repeated(
        (entry, str(secret_path(declared, entry.secret_file)), f"secret_file {entry.secret_file}")
        for entry in files
        if entry.secret_file
    )
    for group in declared.groups or ():
        addresses = [*(group.managers or ()), *(group.members or ())]
        yield from _repeated((group, address.key, address.email) for address in addresses)


def _repeated(named: Iterable[tuple[Entry, str, str]]) -> Iterator[str]:
    """Each with what must not be there again, and as it is shown."""
    seen: Counter[str] = Counter()
    for entry, what, shown in named:
        seen[what] += 1
        if seen[what] == 2:
            yield f"{entry.place}: {shown} stands here twice"


def _with_secrets(declared: Declaration) -> list[AService | AWebhook]:
    return [*(declared.services or ()), *(declared.webhooks or ())]


def _unfit_files(declared: Declaration) -> Iterator[str]:
    for entry in _with_secrets(declared):
        if entry.secret_file is None:
            continue
        path = secret_path(declared, entry.secret_file)
        if not path.parent.is_dir():
            yield f"{entry.place}: secret_file: there is no folder {path.parent}"
        elif open_to_others(path.parent, reading=False):
            yield f"{entry.place}: secret_file: others can write into {path.parent}: chmod o-w it"
