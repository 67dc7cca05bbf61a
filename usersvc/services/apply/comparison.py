"""What each section is handed to compare: the file, what there is, and the plan that it adds to."""

from dataclasses import dataclass

from usersvc.core import Core
from usersvc.services.actor import Actor
from usersvc.services.apply.declaration import Declaration
from usersvc.services.apply.plan import Plan
from usersvc.services.apply.secret_files import Files


@dataclass(frozen=True)
class Comparison:
    core: Core
    declared: Declaration
    files: Files
    plan: Plan
    actor: Actor
