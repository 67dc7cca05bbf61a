"""What a file says, compared with what there is, and brought about; without taking anything from anybody."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Make
from tests.database import dump, rows
from tests.factories import (
    EMAIL,
    OPERATOR,
    PASSWORD,
    STRANGER,
    active,
    an_admin,
    audit_rows,
    deactivated,
    delivered,
    pending,
    signed_in,
    together,
    user_row,
)
from usersvc.core import Core
from usersvc.errors import Forbidden, LastAdmin, SecretFileNotWritten, WrongDeclaration
from usersvc.services import groups, memberships, service_accounts, webhooks
from usersvc.services.apply.carrying_out import carry_out, make_plan
from usersvc.services.apply.declaration import read
from usersvc.services.apply.plan import Action, Item, Left, Outcome, Plan, Step
from usersvc.services.client_authentication import authenticate_client
from usersvc.services.groups import GroupView
from usersvc.services.service_accounts import ServiceView

Apply = Callable[..., list[tuple[Step, Outcome]]]

ROOT, MO = "root@example.org", "mo@example.org"
URL = "https://hooks.example.org/in?key=hidden"
WHOLE = f"""
    [[administrators]]
    email = "{ROOT}"
    username = "root"

    [[roles]]
    email = "{MO}"
    role = "moderator"
    invite = true

    [[groups]]
    name = "desk"
    description = "Orders"
    permissions = ["orders:read", "orders:write"]
    managers = ["{ROOT}"]
    members = ["{MO}", "{EMAIL}"]

    [[services]]
    name = "Invoicing"
    permissions = ["orders:read"]
    audiences = ["billing"]
    expires_days = 30
    secret_file = "invoicing"

    [[services]]
    name = "asleep"
    permissions = []
    active = false

    [[webhooks]]
    url = "{URL}"
    events = ["user.deleted", "user.activated"]
    enabled = false
    secret_file = "webhook"
    """


@pytest.fixture
def core(make_core: Make) -> Core:
    return make_core(tokens__audiences="billing, files")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / "declared"
    folder.mkdir(mode=0o700)
    return folder / "prod.toml"


@pytest.fixture
def plan(core: Core, file: Path) -> Callable[..., Plan]:
    def plan(text: str, *, prune: bool = False) -> Plan:
        file.write_text(text, encoding="utf-8")
        return make_plan(core, read(core, file), prune=prune, actor=OPERATOR)

    return plan


@pytest.fixture
def apply(core: Core, file: Path, plan: Callable[..., Plan]) -> Apply:
    """What was done; afterwards nothing is to be done."""

    def apply(text: str, *, prune: bool = False) -> list[tuple[Step, Outcome]]:
        done = _carry_out(core, file, plan(text, prune=prune))
        assert plan(text, prune=prune).steps == []
        return done

    return apply


def _carry_out(core: Core, file: Path, made: Plan) -> list[tuple[Step, Outcome]]:
    done: list[tuple[Step, Outcome]] = []
    carry_out(
        core,
        read(core, file),
        made,
        actor=OPERATOR,
        done=lambda step, outcome: done.append((step, outcome)),
    )
    return done


def _group(core: Core, name: str = "desk") -> GroupView:
    return groups.find(core, name=name, actor=OPERATOR)


def _people(core: Core, name: str = "desk") -> dict[str | None, bool]:
    page = memberships.list_members(core, group_id=_group(core, name).id, actor=OPERATOR)
    return {member.email: member.manager for member in page.members}


def _service(core: Core, name: str) -> ServiceView:
    return service_accounts.find(core, name=name, actor=OPERATOR)


def _secret_in(path: Path) -> str:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n")
    return text.strip()


def _mistakes(plan: Callable[..., Plan], text: str, **more: bool) -> list[str]:
    with pytest.raises(WrongDeclaration) as raised:
        plan(text, **more)
    return [mistake.partition("prod.toml: ")[2] for mistake in raised.value.mistakes]


def test_everything_is_made_as_the_file_says_and_twice_is_once(core: Core, file: Path, apply: Apply) -> None:
    active(core)
    done = apply(WHOLE)
    assert {step.action for step, _ in done} == {Action.MAKE}
    assert sorted(message["To"] for message in delivered(core)) == [MO, ROOT]
    root, mo = user_row(core, ROOT), user_row(core, MO)
    assert (root.status, root.role, root.username) == ("invited", "admin", "root")
    assert (mo.status, mo.role) == ("invited", "moderator")
    desk = _group(core)
    assert (desk.description, desk.permissions) == ("Orders", ["orders:read", "orders:write"])
    assert _people(core) == {EMAIL: False, ROOT: True, MO: False}
    [webhook] = webhooks.list_webhooks(core, actor=OPERATOR)
    assert (webhook.url, webhook.events, webhook.enabled) == (URL, ["user.activated", "user.deleted"], False)
    assert not _service(core, "asleep").is_active

    # The secrets are in their files and nowhere else.
    secrets = [_secret_in(file.parent / "invoicing"), _secret_in(file.parent / "webhook")]
    invoicing = _service(core, "invoicing")
    assert authenticate_client(
        core, client_id=str(invoicing.id), client_secret=secrets[0], actor=STRANGER
    ).audiences(core) == ["billing"]
    assert sorted(path.name for path in file.parent.iterdir()) == ["invoicing", "prod.toml", "webhook"]
    told = f"{done} {rows(core, 'SELECT detail FROM audit')}"
    assert not any(hidden in told for hidden in [*secrets, "hidden"])
    assert [(outcome.secret_file, outcome.lacks_secret) for step, outcome in done[-3:]] == [
        (file.parent / "invoicing", False),
        (None, True),
        (file.parent / "webhook", False),
    ]
    before = dump(core)
    assert apply(WHOLE, prune=True) == []
    assert dump(core) == before


def test_of_several_at_the_same_time_each_thing_is_made_once(core: Core, file: Path) -> None:
    active(core)
    file.write_text(WHOLE, encoding="utf-8")
    declared = read(core, file)
    # All of them have seen nothing yet.
    plans = [make_plan(core, declared, actor=OPERATOR) for _ in range(4)]
    done = together(*[lambda made=made: _carry_out(core, file, made) for made in plans])
    assert all(isinstance(steps, list) for steps in done), done
    assert len(webhooks.list_webhooks(core, actor=OPERATOR)) == 1
    assert len(delivered(core)) == 2
    actions = ("user.invited", "group.created", "service.created", "webhook.created")
    assert [len(audit_rows(core, action)) for action in actions] == [2, 1, 2, 1]
    assert _people(core) == {EMAIL: False, ROOT: True, MO: False}
    made = [outcome for steps in done for _, outcome in steps if outcome.secret_file]
    assert len(made) == 2
    [invoicing] = [one.id for one in made if one.secret_file and one.secret_file.name == "invoicing"]
    secret = _secret_in(file.parent / "invoicing")
    authenticate_client(core, client_id=str(invoicing), client_secret=secret, actor=STRANGER)
    assert make_plan(core, declared, actor=OPERATOR).steps == []


@pytest.mark.sqlite
def test_nothing_is_taken_from_anybody_but_by_pruning(
    core: Core, plan: Callable[..., Plan], apply: Apply
) -> None:
    root, ada = an_admin(core), active(core)
    an_admin(core, "former@example.org")
    apply(WHOLE.replace("active = false", "may_end_sessions = true"))
    other = webhooks.create(core, url="https://other.example.org/", actor=OPERATOR)
    groups.create(core, name="former", actor=OPERATOR)
    less = f"""
        [[administrators]]
        email = "{ROOT}"

        [[roles]]
        email = "{EMAIL}"
        role = "moderator"

        [[groups]]
        name = "desk"
        permissions = ["orders:read", "orders:cancel"]
        managers = []
        members = ["{ROOT}"]

        [[services]]
        name = "asleep"
        permissions = ["stock:read"]
        may_end_sessions = false

        [[webhooks]]
        url = "{URL}"
        events = []
        enabled = true
        """
    left = plan(less).left
    assert [(one.action, one.item.section, one.item.name) for one in left] == [
        (Action.REMOVE, "administrators", "former@example.org"),
        (Action.REMOVE, "roles", MO),
        (Action.CHANGE, "groups", "desk"),
        (Action.REMOVE, "groups", "former"),
        (Action.CHANGE, "services", "asleep"),
        (Action.REMOVE, "services", "invoicing"),
        (Action.REMOVE, "webhooks", "https://other.example.org"),
    ]
    [desk] = [one for one in left if one.item.name == "desk"]
    assert [(change.what, change.removed) for change in desk.differences] == [
        ("permissions", ["orders:write"]),
        ("managers", [ROOT]),
        ("members", [EMAIL, MO]),
    ]
    apply(less)
    assert user_row(core, EMAIL).role == "moderator"
    assert _group(core).permissions == ["orders:cancel", "orders:read", "orders:write"]
    assert _people(core) == {EMAIL: False, ROOT: True, MO: False}
    assert (_service(core, "asleep").permissions, _service(core, "asleep").may_end_sessions) == (
        ["stock:read"],
        True,
    )
    assert [hook.enabled for hook in webhooks.list_webhooks(core, actor=OPERATOR)] == [True, True]
    assert user_row(core, "former@example.org").role == "admin"
    assert [one.item.name for one in plan(less).left] == [one.item.name for one in left]

    # Sections that are not there stay as they are, whatever else is pruned.
    apply("groups = []", prune=True)
    assert groups.list_groups(core, actor=OPERATOR).groups == []
    assert len(service_accounts.list_services(core, actor=OPERATOR)) == 2
    groups.create(core, name="desk", permissions=["orders:write"], actor=OPERATOR)
    memberships.add(core, group_id=_group(core).id, user_id=ada.id, manager=True, actor=OPERATOR)
    memberships.add(core, group_id=_group(core).id, user_id=root.id, manager=True, actor=OPERATOR)

    apply(less, prune=True)
    assert user_row(core, "former@example.org").role == user_row(core, MO).role == "user"
    assert user_row(core, ROOT).role == "admin"
    assert _group(core).permissions == ["orders:cancel", "orders:read"]
    assert _people(core) == {ROOT: False}
    assert not _service(core, "invoicing").is_active
    assert not _service(core, "asleep").may_end_sessions
    [hook] = webhooks.list_webhooks(core, actor=OPERATOR)
    assert hook.id != other.id
    assert (hook.events, hook.enabled) == ([], True)


@pytest.mark.sqlite
def test_roles_follow_the_file_as_far_as_accounts_allow(
    core: Core, plan: Callable[..., Plan], apply: Apply
) -> None:
    active(core, username="ada")
    pending(core, "late@example.org", username="late")
    deactivated(core, "gone@example.org")
    roles = '[[roles]]\nemail = "{}"\nrole = "{}"\n'
    people = 'managers = ["nobody@example.org"]\nmembers = ["gone@example.org"]'
    assert _mistakes(
        plan,
        '[[administrators]]\nemail = "gone@example.org"\n'
        + '[[administrators]]\nemail = "new@example.org"\nusername = "ada"\n'
        + roles.format("late@example.org", "moderator")
        + roles.format("nobody@example.org", "user")
        + f'[[groups]]\nname = "desk"\npermissions = []\n{people}',
    ) == [
        "administrators 1 (gone@example.org): this account is deactivated: activate it first",
        "administrators 2 (new@example.org): username: ada is taken",
        "roles 1 (late@example.org): this account is pending: activate it first, or set invite = true",
        "roles 2 (nobody@example.org): there is no account with this address: set invite = true to invite it",
        "groups 1 (desk): there is no account nobody@example.org",
        "groups 1 (desk): gone@example.org is deactivated: activate it first",
    ]
    [(step, _), (invited, _)] = apply(
        f'[[administrators]]\nemail = "{EMAIL}"\n'
        + roles.format("late@example.org", "moderator")
        + "invite = true"
    )
    assert (step.action, invited.action) == (Action.CHANGE, Action.MAKE)
    assert "what was registered there and not activated is void" in invited.item.note
    late = user_row(core, "late@example.org")
    assert (late.status, late.role, late.password_hash, late.username) == ("invited", "moderator", None, None)
    assert user_row(core).role == "admin"

    # To be an administrator is more than the file says here.
    assert apply(roles.format(EMAIL, "moderator")) == []
    an_admin(core)
    apply(roles.format(EMAIL, "moderator"), prune=True)
    assert (user_row(core).role, user_row(core, "late@example.org").role) == ("moderator", "user")


@pytest.mark.sqlite
def test_the_last_active_administrator_stays(core: Core, plan: Callable[..., Plan], apply: Apply) -> None:
    an_admin(core)
    other = '[[administrators]]\nemail = "ada@example.org"\n'
    before = dump(core)
    for text in (other, "administrators = []", f'[[roles]]\nemail = "{ROOT}"\nrole = "user"'):
        with pytest.raises(LastAdmin):
            plan(text, prune=True)
    assert dump(core) == before
    # Who follows comes before the other one goes.
    active(core)
    assert [step.item.name for step, _ in apply(other, prune=True)] == [EMAIL, ROOT]
    assert (user_row(core).role, user_row(core, ROOT).role) == ("admin", "user")


@pytest.mark.sqlite
def test_every_mistake_is_told_at_once_with_its_place_and_nothing_is_changed(
    core: Core, file: Path, plan: Callable[..., Plan]
) -> None:
    before = dump(core)
    (file.parent / "open").mkdir()
    (file.parent / "open").chmod(0o777)
    text = f"""
        [[group]]
        [[administrators]]
        email = "nobody"
        mail = "{ROOT}"
        [[roles]]
        email = "{MO}"
        role = "admin"
        [[roles]]
        email = "{MO}"
        role = "user"
        invite = "yes"
        [[groups]]
        name = "Desk"
        permissions = ["users:write", "orders"]
        [[groups]]
        name = "desk"
        description = "a\\u0000b"
        [[groups]]
        name = "stock"
        permissions = []
        managers = ["{MO}"]
        members = ["MO@example.org"]
        [[groups]]
        name = "stock"
        permissions = []
        [[services]]
        name = "a"
        permissions = []
        audiences = ["nowhere"]
        expires_days = 4000
        [[services]]
        name = "b"
        permissions = []
        secret_file = "nowhere/b"
        [[services]]
        name = "c"
        permissions = []
        secret_file = "open/c"
        [[webhooks]]
        url = "http://127.0.0.1/?key=hidden"
        [[webhooks]]
        url = "{URL}"
        events = ["user.seen"]
        secret_file = 7
        [[webhooks]]
        url = "https://hooks.example.org/"
        secret_file = "open/../open/c"
        """
    found = _mistakes(plan, text)
    beginnings = [
        "group: there is no such section",
        "administrators 1 (nobody): email: ",
        "administrators 1 (nobody): mail: there is no such key",
        "roles 1 (mo@example.org): role: expected 'user' or 'moderator'",
        "roles 2 (mo@example.org): invite: expected true or false",
        "groups 1 (Desk): name: A group's name has 1 to 32",
        "groups 1 (Desk): permissions 1: users:write is reserved",
        "groups 1 (Desk): permissions 2: A permission is two words",
        "groups 2 (desk): description: expected text without NUL",
        "groups 2 (desk): permissions: expected here",
        "services 1 (a): audiences 1: There is no such audience",
        "services 1 (a): expires_days: expected less than or equal to 3650",
        "webhooks 1: url: Webhooks go by https",
        "webhooks 2: events 1: expected 'user.registered'",
        "webhooks 2: secret_file: expected a path",
        "groups 4 (stock): stock stands here twice",
        "webhooks 3: secret_file open/../open/c stands here twice",
        "groups 3 (stock): MO@example.org stands here twice",
        f"services 2 (b): secret_file: there is no folder {file.parent}/nowhere",
        f"services 3 (c): secret_file: others can write into {file.parent}/open",
        "webhooks 3: secret_file: others can write into",
    ]
    assert [
        (line, start) for line, start in zip(found, beginnings, strict=True) if not line.startswith(start)
    ] == []
    assert "hidden" not in str(found)
    assert _mistakes(plan, "[groups]\nname = 'a'") == ["groups: expected tables, [[groups]], or [] for none"]
    assert "not TOML" in _mistakes(plan, "[[groups")[0]
    file.chmod(0o646)
    assert _mistakes(plan, "") == ["others can write this file: chmod o-w it"]
    file.unlink()
    with pytest.raises(WrongDeclaration, match="there is no such file"):
        read(core, file)
    assert dump(core) == before


@pytest.mark.sqlite
def test_a_secret_is_written_whole_or_not_at_all_and_never_over_a_file(
    core: Core, file: Path, plan: Callable[..., Plan]
) -> None:
    text = '[[services]]\nname = "{0}"\npermissions = []\nsecret_file = "{0}/secret"\n'
    for name in ("early", "late"):
        (file.parent / name).mkdir(mode=0o700)
    # No room: nothing was made.
    made = plan(text.format("early"))
    (file.parent / "early").rmdir()
    with pytest.raises(SecretFileNotWritten, match="No such file or directory"):
        _carry_out_of(core, made)
    assert service_accounts.list_services(core, actor=OPERATOR) == []

    # Another one was there when it should get its name: it stays, and there is a way to a secret.
    made = plan(text.format("late"))
    taken = file.parent / "late" / "secret"
    taken.write_text("mine", encoding="utf-8")
    with pytest.raises(SecretFileNotWritten, match=r"File exists.*`usersvc rotate-service late`"):
        _carry_out(core, file, made)
    assert [path.name for path in taken.parent.iterdir()] == ["secret"]
    assert taken.read_text(encoding="utf-8") == "mine"
    assert plan(text.format("late")).same == [Item("services", "late", id=_service(core, "late").id)]
    taken.unlink()
    [item] = plan(text.format("late")).same
    assert "late/secret is not there: get another secret by rotate-service" in item.note

    service_accounts.deactivate(core, service_id=_service(core, "late").id, actor=OPERATOR)
    [item] = plan(text.format("late")).same
    assert "active = true lets it in" in item.note
    (file.parent / "new").mkdir(mode=0o700)
    (file.parent / "new" / "secret").write_text("mine", encoding="utf-8")
    [mistake] = _mistakes(plan, text.format("new"))
    assert mistake.startswith("services 1 (new): secret_file: there is a file already")


def _carry_out_of(core: Core, made: Plan) -> None:
    for step in made.steps:
        step.run()


@pytest.mark.sqlite
def test_what_somebody_else_does_meanwhile_is_not_undone_but_by_who_agreed_to_it(
    core: Core, file: Path, plan: Callable[..., Plan]
) -> None:
    an_admin(core)
    made = plan(WHOLE.replace(f', "{EMAIL}"', ""), prune=True)
    assert not any(step.takes for step in made.steps)
    # The same group with more, and one that nobody has agreed to delete.
    groups.create(core, name="desk", permissions=["orders:ship"], actor=OPERATOR)
    groups.create(core, name="new", actor=OPERATOR)
    _carry_out(core, file, made)
    assert _group(core).permissions == ["orders:read", "orders:write"]
    assert _group(core, "new").members == 0

    second = webhooks.create(core, url=URL, actor=OPERATOR).id
    [mistake] = _mistakes(plan, WHOLE.replace(f', "{EMAIL}"', ""))
    assert mistake.startswith("webhooks 1: there are 2 webhooks to this URL: delete all but one of ")
    assert str(second) in mistake


@pytest.mark.sqlite
def test_a_service_that_would_have_too_many_permissions_is_a_mistake(
    core: Core, plan: Callable[..., Plan]
) -> None:
    there = [f"a:p{number}" for number in range(20)]
    service_accounts.create(core, name="busy", permissions=there, actor=OPERATOR)
    wanted = str([f"b:p{number}" for number in range(20)])
    text = f'[[services]]\nname = "busy"\npermissions = {wanted}'
    [mistake] = _mistakes(plan, text)
    assert "at most 32 permissions" in mistake
    assert len(plan(text, prune=True).steps) == 1


@pytest.mark.sqlite
def test_only_an_operator_applies(core: Core, file: Path) -> None:
    an_admin(core, password=PASSWORD)
    file.write_text("", encoding="utf-8")
    with pytest.raises(Forbidden):
        make_plan(core, read(core, file), actor=signed_in(core, ROOT))
    assert make_plan(core, read(core, file), actor=OPERATOR).left == list[Left]()
