"""What the commands say of themselves, as plain values."""

from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from operator import attrgetter
from typing import Any, get_args

from typer.main import get_command

from usersvc.cli.app import app
from usersvc.cli.commands import COMMANDS, load


@dataclass(frozen=True)
class Item:
    """An argument or an option."""

    forms: list[str]
    value: str
    meaning: str


@dataclass(frozen=True)
class Command:
    name: str
    prose: list[str]
    examples: str
    arguments: list[Item]
    options: list[Item]
    usage: str


@dataclass(frozen=True)
class Section:
    name: str
    commands: list[Command]


def sections() -> list[Section]:
    return [
        Section(name, [_command(listed.name) for listed in commands])
        for name, commands in groupby(COMMANDS, key=attrgetter("section"))
    ]


def global_options() -> list[Item]:
    return [_item(parameter) for parameter in get_command(app).params]


def _command(name: str) -> Command:
    command = load(name)
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and not each.hidden]
    names = [str(each.metavar) + ("..." if each.nargs != 1 else "") for each in arguments]
    usage = [
        f"usersvc {name}",
        *(["[OPTIONS]"] if options else []),
        *(given if each.required else f"[{given}]" for each, given in zip(arguments, names, strict=True)),
    ]
    return Command(
        name=name,
        prose=[" ".join(paragraph.split()) for paragraph in command.help.split("\n\n")],
        examples=command.epilog or "",
        arguments=[_item(each) for each in arguments],
        options=[_item(each) for each in options],
        usage=" ".join(usage),
    )


def _item(parameter: Any) -> Item:
    of_argument = parameter.param_type_name == "argument"
    forms = [str(parameter.metavar)] if of_argument else [*parameter.opts, *parameter.secondary_opts]
    is_flag = not of_argument and parameter.is_flag
    value = "" if of_argument or is_flag else parameter.metavar or parameter.name.upper()
    return Item(forms, value, " ".join([parameter.help or "", *_facts(parameter, is_flag)]).strip())


def _facts(parameter: Any, is_flag: bool) -> list[str]:
    """What help has in brackets, as sentences."""
    facts = []
    choices = _choices(parameter.type_descriptor.annotation)
    if choices and any(choice not in (parameter.help or "") for choice in choices):
        facts.append(f"One of {', '.join(f'`{choice}`' for choice in choices)}.")
    if parameter.min is not None and parameter.max is not None:
        facts.append(f"{parameter.min} to {parameter.max}.")
    elif parameter.min is not None:
        facts.append(f"At least {parameter.min}.")
    if parameter.default is not None and parameter.default != "" and not is_flag:
        facts.append(f"`{_text(parameter.default)}` unless given.")
    if parameter.envvar:
        facts.append(f"The variable `{parameter.envvar}` sets it too.")
    return facts


def _choices(annotation: Any) -> list[str]:
    """Out of an enumeration, a list of one, or literals."""
    kinds = get_args(annotation) or [annotation]
    texts = [kind for kind in kinds if isinstance(kind, str)]
    return texts + [_text(each) for kind in kinds if isinstance(kind, type(Enum)) for each in kind]


def _text(value: Any) -> str:
    return str(value.value if isinstance(value, Enum) else value)
