"""Files that hold users, and how they are imported; tests/imports/ has one in the form of each product.

Whoever can log in there has the password `PASSWORD`, in Firebase's files `user1password`, of its own example.
"""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.factories import OPERATOR
from usersvc.core import Core
from usersvc.services import importing
from usersvc.services.importing import Counted, HashParameters, Options, Progress, Refusal

FILES = Path(__file__).parent / "imports"
FIREBASE_PASSWORD = "user1password"
PARAMETERS = HashParameters.parse((FILES / "firebase.txt").read_text(encoding="utf-8"))


def lines(*users: dict[str, Any] | str) -> bytes:
    """JSON Lines; a text stands as it is."""
    return "".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in users).encode()


def bring_in(
    core: Core, data: bytes, *, dry_run: bool = False, again: bool = False, **options: Any
) -> tuple[Progress, list[Refusal]]:
    """What came of it, and what was refused."""
    asked = Options(**options)
    digest = importing.digest_of(io.BytesIO(data), asked)
    plan = importing.plan(core, digest=digest, options=asked, actor=OPERATOR, again=again)
    refused: list[Refusal] = []

    def hear(batch: Sequence[Refusal]) -> None:
        refused.extend(batch)

    done = importing.run(
        core, Counted(io.BytesIO(data)), plan=plan, actor=OPERATOR, dry_run=dry_run, hear=hear
    )
    return done, refused


def counts(progress: Progress) -> tuple[int, int, int, int]:
    """Imported, updated, skipped, refused."""
    return progress.imported, progress.updated, progress.skipped, progress.refused
