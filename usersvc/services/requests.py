"""Requests of strangers, counted before what takes long."""

from usersvc.core import Core, retried
from usersvc.services import _limits
from usersvc.services.actor import Actor


@retried
def count(core: Core, asking: _limits.Asking, actor: Actor) -> None:
    """One more of this network. Raises TooManyAttempts, then nothing was counted."""
    with core.write() as tx:
        _limits.require_turn(core, tx, asking, actor)
