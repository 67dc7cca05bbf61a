"""What a shell offers for a word that is being typed, read from the database.

Silent: where there is no database, or no right to open it, nothing is offered, said or made. What is offered
lands in a command line as it is, and zsh evaluates it: a name with a sign that means something to a shell is
never offered. A stranger may have chosen it.
"""

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import typer

# Who waits longer for a database types on.
_PATIENCE_SECONDS = 5
_HARMLESS = re.compile(r"\w[\w@.+-]*", re.ASCII)
_ASKED_BY_BASH = "complete_bash"

Complete = Callable[[typer.Context, str], list[str]]


class _Word:
    """Of the one that is typed, what the shell does not replace."""

    head = ""


def mend_words(environ: MutableMapping[str, str] = os.environ) -> None:
    """bash hands over `ada@exa` as three words, and replaces the last two of them where that is typed."""
    if environ.get("_USERSVC_COMPLETE") != _ASKED_BY_BASH:
        return
    last = int(environ.get("COMP_CWORD", "0"))
    words = environ.get("COMP_WORDS", "").split("\n")[: last + 1]
    whole: list[str] = []
    for word in words:
        if whole and (word == "@" or whole[-1].endswith("@")):
            whole[-1] += word
        else:
            whole.append(word)
    if whole[-1] != words[-1]:
        _Word.head, at, rest = whole[-1].rpartition("@")
        whole[-1] = at + rest
    environ["COMP_WORDS"] = "\n".join(whole)
    environ["COMP_CWORD"] = str(len(whole) - 1)


def _offering(kind: str) -> Complete:
    """What the function of this name in services/suggestions.py finds."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        begun = _Word.head + incomplete
        try:
            found = _suggested(ctx.find_root().params.get("config"), begun, kind)
        except Exception:  # A command would tell it; here it would stand in a line that is being typed.
            return []
        harmless = [name for name in found if name.startswith(begun) and _HARMLESS.fullmatch(name)]
        return [name.removeprefix(_Word.head) for name in harmless]

    return complete


users = _offering("users")
groups = _offering("groups")
services = _offering("services")
webhooks = _offering("webhooks")
given_up_mails = _offering("given_up_mails")
given_up_deliveries = _offering("given_up_deliveries")
keys = _offering("keys")


def words_of(kind: type[StrEnum]) -> Complete:
    return lambda ctx, incomplete: [str(word) for word in kind if word.startswith(incomplete)]


def actions(ctx: typer.Context, incomplete: str) -> list[str]:
    """Of the audit, which needs no database."""
    from usersvc.services.audit import ACTIONS

    return [action for action in ACTIONS if action.startswith(incomplete)]


def mail_kinds(ctx: typer.Context, incomplete: str) -> list[str]:
    """Of mails that can be looked at, which needs no database."""
    from usersvc.mail.samples import SAMPLES

    return [kind for kind in SAMPLES if kind.startswith(incomplete)]


def _suggested(config: Any, beginning: str, kind: str) -> list[str]:
    from usersvc import configuration, logs
    from usersvc.cli.opening import core_on, operator
    from usersvc.services import schema, suggestions

    logs.configure(level="critical", to=sys.stderr)
    with _in_time(), core_on(configuration.load(config)) as core:
        schema.require_current(core)
        found: list[str] = getattr(suggestions, kind)(core, beginning=beginning, actor=operator())
    return found


@contextmanager
def _in_time() -> Iterator[None]:
    """Ends the process, which has said nothing yet."""
    if sys.platform == "win32":
        yield
        return
    before = signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    left, _ = signal.setitimer(signal.ITIMER_REAL, _PATIENCE_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, before)
