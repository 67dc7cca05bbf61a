"""What `tests/mutants.py` changes in a module: the operators of cosmic-ray that matter here, and four more.

Of a comparison of sizes, the three replacements that a test must tell apart to tell all of them apart; of one
of identity or equality, the opposite (what is compared so has no order here); of a sum or a mask, too. What
the others would give is a TypeError, or one of these again.
"""

from collections.abc import Iterator
from typing import Any

import parso
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator
from parso.python.tree import Keyword, String
from parso.tree import NodeOrLeaf

Position = tuple[tuple[int, int], tuple[int, int]]

_COMPARISONS = {
    "Lt": "LtE GtE NotEq",
    "LtE": "Lt Gt Eq",
    "Gt": "GtE LtE NotEq",
    "GtE": "Gt Lt Eq",
    "Eq": "NotEq",
    "NotEq": "Eq",
    "Is": "IsNot",
    "IsNot": "Is",
}
_SUMS = {
    "Add": "Sub",
    "Sub": "Add",
    "Mul": "Div",
    "Div": "Mul",
    "FloorDiv": "Mul",
    "Mod": "Mul",
    "Pow": "Mul",
    "BitOr": "BitAnd",
    "BitAnd": "BitOr",
    "LShift": "RShift",
}
_OTHERS = """
    AddNot NumberReplacer RemoveDecorator ReplaceAndWithOr ReplaceBreakWithContinue
    ReplaceContinueWithBreak ReplaceFalseWithTrue ReplaceOrWithAnd ReplaceTrueWithFalse
    ReplaceUnaryOperator_Delete_Not ReplaceUnaryOperator_USub_UAdd ZeroIterationForLoop
"""
_OF_ANY_NUMBER = ("where", "require", "min", "max")


class RemoveStatement(Operator):  # type: ignore[misc]
    """`pass` for a call whose result nobody takes, for a `raise`, for an assignment to what is there."""

    def mutation_positions(self, node: NodeOrLeaf) -> Iterator[Position]:
        if self._is_statement(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: NodeOrLeaf, index: int) -> NodeOrLeaf:
        return _text(node, "pass")

    @staticmethod
    def _is_statement(node: NodeOrLeaf) -> bool:
        if node.parent is None or node.parent.type != "simple_stmt":
            return False
        is_call = node.type in ("atom_expr", "power") and node.get_code().rstrip().endswith(")")
        is_raise = node.type == "raise_stmt" or (isinstance(node, Keyword) and node.value == "raise")
        is_again = node.type == "expr_stmt" and node.children[1].type in (
            "operator",
            "annassign",
            "augassign",
        )
        return is_call or is_raise or (is_again and "+=" in node.get_code())

    @classmethod
    def examples(cls) -> tuple[Any, ...]:
        return ()


class CatchNothing(Operator):  # type: ignore[misc]
    """`except ()`; what cosmic-ray has for it knows no exceptions with a dot in their name."""

    def mutation_positions(self, node: NodeOrLeaf) -> Iterator[Position]:
        if node.type == "except_clause":
            yield node.start_pos, node.end_pos

    def mutate(self, node: NodeOrLeaf, index: int) -> NodeOrLeaf:
        node.children[1] = parso.parse(" ()")
        return node

    @classmethod
    def examples(cls) -> tuple[Any, ...]:
        return ()


class RemoveArgument(Operator):  # type: ignore[misc]
    """A condition of a query less, a value less that is handed on."""

    def mutation_positions(self, node: NodeOrLeaf) -> Iterator[Position]:
        for argument in self._removable(node):
            yield argument.start_pos, argument.end_pos

    def mutate(self, node: NodeOrLeaf, index: int) -> NodeOrLeaf:
        removed = self._removable(node)[index]
        kept = [one.get_code().strip() for one in self._arguments(node) if one is not removed]
        return _text(node, ", ".join(kept))

    def _removable(self, node: NodeOrLeaf) -> list[NodeOrLeaf]:
        return [argument for argument in self._arguments(node) if self._can_go(node, argument)]

    @staticmethod
    def _arguments(node: NodeOrLeaf) -> list[NodeOrLeaf]:
        if node.type != "arglist":
            return []
        return [child for child in node.children if getattr(child, "value", None) != ","]

    @staticmethod
    def _can_go(node: NodeOrLeaf, argument: NodeOrLeaf) -> bool:
        """Any of what takes any number, and what is named; without another, the call is a TypeError."""
        called = node.parent.get_previous_sibling().get_code().strip().split(".")[-1]
        return called in _OF_ANY_NUMBER or (argument.type == "argument" and "=" in argument.get_code())

    @classmethod
    def examples(cls) -> tuple[Any, ...]:
        return ()


class ReplaceString(Operator):  # type: ignore[misc]
    """Another text, of which nobody knows."""

    def mutation_positions(self, node: NodeOrLeaf) -> Iterator[Position]:
        if isinstance(node, String) and node.parent.type != "simple_stmt":
            yield node.start_pos, node.end_pos

    def mutate(self, node: NodeOrLeaf, index: int) -> NodeOrLeaf:
        at = min(node.value.find(quote) for quote in "'\"" if quote in node.value) + 1
        return _text(node, f"{node.value[:at]}XX{node.value[at:]}")

    @classmethod
    def examples(cls) -> tuple[Any, ...]:
        return ()


def _text(node: NodeOrLeaf, text: str) -> NodeOrLeaf:
    """Code in the place of a node."""
    prefix = node.get_first_leaf().prefix
    return parso.parse(prefix + text)


def operators() -> dict[str, Any]:
    """By name; cosmic-ray's under its own."""
    names = [f"ReplaceComparisonOperator_{one}_{to}" for one, by in _COMPARISONS.items() for to in by.split()]
    names += [f"ReplaceBinaryOperator_{one}_{to}" for one, to in _SUMS.items()]
    found = {name: get_operator(f"core/{name}")() for name in (*names, *_OTHERS.split())}
    return found | {
        one.__name__: one() for one in (RemoveStatement, RemoveArgument, ReplaceString, CatchNothing)
    }
