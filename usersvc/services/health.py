"""Whether this process can serve."""

from usersvc.core import Core
from usersvc.services import schema
from usersvc.services.actor import Actor

_PROBE = "readiness probe"


def check_ready(core: Core, *, actor: Actor) -> None:
    """Write to the database for real. Raises what is in the way; `actor` may be anybody."""
    schema.require_current(core)
    with core.write() as tx:
        tx.jobs.finish(_PROBE, at=tx.now, counts={})
