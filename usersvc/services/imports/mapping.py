"""From a record to usersvc's own fields: the product's map, and what the operator changes of it."""

from dataclasses import dataclass
from typing import Any

from usersvc.errors import InvalidImport
from usersvc.services.imports.fields import TARGETS
from usersvc.services.imports.products import HashParameters, Product, Values

_NESTED = ("attributes", "profile")


@dataclass(frozen=True)
class FieldMap:
    product: Product
    sources: dict[str, str]
    """By the field of usersvc, also `attributes.NAME` and `profile.NAME`; an empty one leaves it out."""
    parameters: HashParameters | None = None

    def __post_init__(self) -> None:
        for target in self.sources:
            what, _, name = target.partition(".")
            if target not in TARGETS and not (what in _NESTED and name):
                known = ", ".join((*TARGETS, "attributes.NAME", "profile.NAME"))
                raise InvalidImport(f"There is no field {target}. There are {known}.")
        if self.product.name == "firebase" and not self.parameters and "password_hash" not in self.sources:
            raise InvalidImport(
                "The passwords of a Firebase project need its hash parameters: --hash-config FILE; "
                "--field password_hash= leaves the passwords out."
            )

    def values(self, record: Values) -> Values:
        """Raises Refused."""
        found = dict(self.product.read(record, self.parameters))
        for target, source in self.sources.items():
            value = _at(record, source) if source else None
            what, _, name = target.partition(".")
            if not name:
                found[target] = value
            elif value not in (None, ""):
                kept = found.get(what)
                found[what] = {**(kept if isinstance(kept, dict) else {}), name: value}
        return found


def _at(record: Values, path: str) -> Any:
    """A field by its name, or by the names that lead to it, with dots between."""
    if path in record:
        return record[path]
    found: Any = record
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found
