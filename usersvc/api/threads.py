"""On which threads requests wait: each kind of work on its own, so that none can take the others' away."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Literal, TypeVar

from usersvc.errors import Overloaded

Result = TypeVar("Result")
Kind = Literal["hashing", "ordinary", "glances", "long_reads"]

WAIT_SECONDS = 3.0


class Pool:
    """At most `places` threads. Plain ones: the way through anyio's takes five times as long."""

    def __init__(self, kind: Kind, places: int) -> None:
        self.places = places
        self._executor = ThreadPoolExecutor(places, kind)

    async def run(self, work: Callable[[], Result]) -> Result:
        """Raises Overloaded where none is free within WAIT_SECONDS; work that has begun is never given up."""
        pending = self._executor.submit(copy_context().run, work)
        # That does nothing to work that has begun.
        patience = asyncio.get_running_loop().call_later(WAIT_SECONDS, pending.cancel)
        try:
            return await asyncio.wrap_future(pending)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task and task.cancelling():
                raise
            raise Overloaded(retry_after=1) from None
        finally:
            patience.cancel()


class Threads:
    """Those that wait for a password to be hashed, those of ordinary use cases, those that read one row by
    its key from a server, those of long reads.
    """

    def __init__(self, *, hashing_places: int) -> None:
        # More than the hashing pool lets in, so that its honest "overloaded" comes at once; but no more
        # than there are readers of the database for.
        self.hashing = Pool("hashing", min(hashing_places + 16, 192))
        self.ordinary = Pool("ordinary", 24)
        # More would only take turns at the interpreter.
        self.glances = Pool("glances", 2)
        # Each takes the interpreter from everybody else for as long as it makes its rows.
        self.long_reads = Pool("long_reads", 2)

    def of(self, kind: Kind) -> Pool:
        pool: Pool = getattr(self, kind)
        return pool
