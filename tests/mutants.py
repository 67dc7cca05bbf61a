"""Change the modules that decide what a caller may do, one small thing at a time: does a test see it?

What is changed is never written to a file. The tests are collected and run once, to know which functions each
of them calls; then for each change a process is forked, in which the function has the changed code and those
tests run until one fails. What stands outside of functions is changed where a new process imports it.
`tests/mutants.toml` says which modules there are, with which tests, and which survivors are accepted and
why.
Exits with 1 where others survive.

    python -m tests.mutants [MODULE ...]
"""

import argparse
import ast
import gc
import importlib
import json
import os
import signal
import sys
import tempfile
import threading
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from multiprocessing import get_context
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import pytest
from _pytest.runner import runtestprotocol
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

from tests.mutation_operators import operators

ROOT = Path(__file__).parents[1]
LIST = ROOT / "tests" / "mutants.toml"
OUTSIDE = "<module>"
OPTIONS = [
    "-q",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "-m",
    "not process and not postgresql and not redis",
]
KILLED, SURVIVED, TIMED_OUT = "killed", "survived", "timed out"


@dataclass(frozen=True)
class Mutant:
    module: str
    """`usersvc.security.limits`"""
    function: str
    """By its qualified name; OUTSIDE where it is in none."""
    line: int
    was: str
    becomes: str
    source: str
    """Of the whole module."""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Stays the same when lines are added elsewhere."""
        return self.module, self.function, self.was, self.becomes

    @property
    def path(self) -> Path:
        return path_of(self.module)

    def __str__(self) -> str:
        return f"{self.module}:{self.line} {self.function}\n      - {self.was}\n      + {self.becomes}"


def path_of(module: str) -> Path:
    return ROOT / f"{module.replace('.', '/')}.py"


# The mutants of a module


def mutants_of(module: str) -> list[Mutant]:
    source = path_of(module).read_text(encoding="utf-8")
    tree, nodes = ast.parse(source), list(ast_nodes(get_ast(source)))
    left_out = _lines_of_types(tree)
    found: dict[str, Mutant] = {}
    for operator in operators().values():
        positions = [position for node in nodes for position in operator.mutation_positions(node)]
        for occurrence, (start, _) in enumerate(positions):
            if any(begin <= start < end for begin, end in left_out):
                continue
            mutated = mutate_code(source, operator, occurrence)
            if mutated is None or mutated in found or not _compiles(mutated):
                continue
            was, becomes = _changed(source, mutated)
            found[mutated] = Mutant(module, _function_at(tree, start[0]), start[0], was, becomes, mutated)
    return sorted(found.values(), key=lambda mutant: mutant.line)


def _lines_of_types(tree: ast.Module) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where annotations stand, `frozen=True`, and the star before named parameters: they decide nothing."""
    found: list[ast.expr] = []
    stars = []
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                found += [node.returns] if node.returns else []
                defaults = [one for one in (*node.args.defaults, *node.args.kw_defaults) if one]
                if not defaults:
                    stars.append(((node.lineno, node.col_offset), (node.body[0].lineno, 0)))
            case ast.arg(annotation=ast.expr() as annotation):
                found.append(annotation)
            case ast.AnnAssign():
                found.append(node.annotation)
            case ast.ClassDef():
                found += [one for one in node.decorator_list if isinstance(one, ast.Call)]
            case ast.Assign(value=ast.Subscript(value=ast.Name(id="Literal")) as literal):
                found.append(literal)
    typed = [
        ((one.lineno, one.col_offset), (one.end_lineno or one.lineno, one.end_col_offset or 0))
        for one in found
    ]
    return typed + stars


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def _changed(source: str, mutated: str) -> tuple[str, str]:
    """The lines that differ, on one line each."""
    before, after = source.splitlines(), mutated.splitlines()
    begin = next(n for n, (one, other) in enumerate(zip(before, after, strict=False)) if one != other)
    end = next(
        n for n, (one, other) in enumerate(zip(before[::-1], after[::-1], strict=False)) if one != other
    )
    end = min(end, len(before) - begin, len(after) - begin)
    return tuple(" ".join(" ".join(lines[begin : len(lines) - end]).split()) for lines in (before, after))  # type: ignore[return-value]


def _function_at(tree: ast.Module, line: int) -> str:
    """The outermost function whose body has this line."""
    for node in tree.body:
        inner = [(node, node.name)] if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else []
        if isinstance(node, ast.ClassDef):
            methods = [one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
            inner = [(one, f"{node.name}.{one.name}") for one in methods]
        for function, name in inner:
            if function.body[0].lineno <= line <= (function.end_lineno or 0):
                return name
    return OUTSIDE


# Processes


def forked(
    works: Sequence[tuple[Any, Callable[[], bool]]], *, jobs: int, seconds: float
) -> Iterator[tuple[Any, str]]:
    """Run each in a process of its own, so many at once: KILLED where it returned False or broke."""
    waiting, running = list(reversed(works)), dict[int, tuple[Any, float]]()
    while waiting or running:
        while waiting and len(running) < jobs:
            what, work = waiting.pop()
            running[_fork(work)] = what, time.monotonic() + seconds
        time.sleep(0.01)
        for pid, (what, until) in list(running.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                del running[pid]
                yield what, KILLED if status else SURVIVED
            elif time.monotonic() > until:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                del running[pid]
                yield what, TIMED_OUT


def _fork(work: Callable[[], bool]) -> int:
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    if not os.environ.get("MUTANTS_TALK"):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
    passed = False
    try:
        passed = work()
    finally:
        os._exit(0 if passed else 1)


# Mutants in functions


class Calls:
    """Which functions of these modules are called while a test runs."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = {str(path_of(module)): module for module in modules}
        self.found: set[tuple[str, str]] = set()

    def __call__(self, frame: FrameType, event: str, arg: object) -> None:
        if event == "call" and frame.f_code.co_filename in self._modules:
            name = frame.f_code.co_qualname.partition(".<locals>")[0]
            self.found.add((self._modules[frame.f_code.co_filename], name))

    def __enter__(self) -> set[tuple[str, str]]:
        self.found = set()
        sys.setprofile(self)
        return self.found

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)


class Inside:
    """Takes the place of pytest's loop over the tests."""

    def __init__(self, mutants: Sequence[Mutant], *, jobs: int, seconds: float) -> None:
        self.mutants, self.jobs, self.seconds = mutants, jobs, seconds
        self.results: dict[Mutant, str] = {}
        self.broken: list[str] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = session.items
        _warm(items)
        calls = self._calls(items)
        functions = _functions(self.mutants[0])
        gc.freeze()
        works = []
        for mutant in self.mutants:
            tests = [items[n] for n in calls.get((mutant.module, mutant.function), [])]
            works.append((mutant, partial(_survives, mutant, functions, tests)))
        for number, (mutant, outcome) in enumerate(forked(works, jobs=self.jobs, seconds=self.seconds), 1):
            self.results[mutant] = outcome
            _tell(number, len(works), mutant, outcome)
        return True

    def _calls(self, items: Sequence[pytest.Item]) -> dict[tuple[str, str], list[int]]:
        """The tests that call each function, the quickest first."""
        modules = [self.mutants[0].module]
        parts = [range(n, len(items), self.jobs) for n in range(self.jobs)]
        with tempfile.TemporaryDirectory() as folder:
            works = [
                (n, partial(_watch, items, parts[n], modules, Path(folder, str(n)))) for n in range(self.jobs)
            ]
            for _, outcome in forked(works, jobs=self.jobs, seconds=3600):
                if outcome != SURVIVED:
                    raise SystemExit("the tests could not be run without a change")
            seen = [row for part in Path(folder).iterdir() for row in json.loads(part.read_text())]
        self.broken = [items[n].nodeid for n, passed, _, _ in seen if not passed]
        found = defaultdict(list)
        for _, n, called in sorted((seconds, n, called) for n, passed, seconds, called in seen if passed):
            for module, function in called:
                found[module, function].append(n)
        return found


def _warm(items: Sequence[pytest.Item]) -> None:
    """Leave a data directory prepared, and no other fixture, for all that are forked."""
    for item in items:
        if "data_dir" in getattr(item, "fixturenames", ()):
            runtestprotocol(item, log=False, nextitem=_of_elsewhere(items, item))
            return


def _of_elsewhere(items: Sequence[pytest.Item], item: pytest.Item) -> pytest.Item:
    return next((other for other in items if other.path != item.path), items[-1])


def _run(items: Sequence[pytest.Item], item: pytest.Item) -> bool:
    item.session._setupstate.teardown_exact(item)
    reports = runtestprotocol(item, log=False, nextitem=_of_elsewhere(items, item))
    return not any(report.failed for report in reports)


def _watch(items: Sequence[pytest.Item], part: Sequence[int], modules: Sequence[str], to: Path) -> bool:
    _own_folder(items[0])
    calls = Calls(modules)
    threading.setprofile(calls)
    rows = []
    for n in part:
        began = time.perf_counter()
        with calls as found:
            passed = _run(items, items[n])
        rows.append((n, passed, time.perf_counter() - began, sorted(found)))
    to.write_text(json.dumps(rows))
    return True


def _survives(mutant: Mutant, functions: Sequence[FunctionType], tests: Sequence[pytest.Item]) -> bool:
    if not tests:
        return True
    _own_folder(tests[0])
    _swap(mutant, functions)
    return all(_run(tests[0].session.items, item) for item in tests)


def _own_folder(item: pytest.Item) -> None:
    """Two processes must not make one folder."""
    factory = item.config._tmp_path_factory  # type: ignore[attr-defined]
    base = factory.getbasetemp() / f"of-{os.getpid()}"
    base.mkdir()
    factory._basetemp = base


def _functions(mutant: Mutant) -> list[FunctionType]:
    """Those of its module, whoever holds them."""
    importlib.import_module(mutant.module)
    path = str(mutant.path)
    found = [one for one in gc.get_objects() if isinstance(one, FunctionType)]
    return [one for one in found if one.__code__.co_filename == path]


def _swap(mutant: Mutant, functions: Sequence[FunctionType]) -> None:
    codes = {code.co_qualname: code for code in _codes(compile(mutant.source, str(mutant.path), "exec"))}
    for function in functions:
        function.__code__ = codes[function.__code__.co_qualname]


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


# Mutants outside of functions


class Changed(MetaPathFinder, Loader):
    """Imports a module as the mutant has it."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        return spec_from_loader(name, self) if name == self.mutant.module else None

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = str(self.mutant.path)
        exec(compile(self.mutant.source, str(self.mutant.path), "exec"), module.__dict__)


def _survives_import(mutant: Mutant, tests: Sequence[str]) -> bool:
    sys.meta_path.insert(0, Changed(mutant))
    return pytest.main([*OPTIONS, "-x", *tests]) == 0


# The report


def _tell(number: int, total: int, mutant: Mutant, outcome: str) -> None:
    if outcome != KILLED:
        print(f"{number}/{total} {outcome}: {mutant}", flush=True)


def run(module: str, tests: Sequence[str], *, jobs: int, seconds: float) -> dict[Mutant, str]:
    """What became of each mutant of this module."""
    mutants = mutants_of(module)
    outside = [mutant for mutant in mutants if mutant.function == OUTSIDE]
    works = [(mutant, partial(_survives_import, mutant, tests)) for mutant in outside]
    results = {}
    for number, (mutant, outcome) in enumerate(forked(works, jobs=jobs, seconds=4 * seconds), 1):
        results[mutant] = outcome
        _tell(number, len(works), mutant, outcome)
    inside = Inside([one for one in mutants if one.function != OUTSIDE], jobs=jobs, seconds=seconds)
    pytest.main([*OPTIONS, *tests], plugins=[inside])
    if len(inside.results) != len(inside.mutants):
        raise RuntimeError(f"the tests of {module} could not be run")
    for broken in inside.broken:
        print(f"left out, since it fails without a change: {broken}")
    return results | inside.results


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("modules", nargs="*")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=600)
    asked = parser.parse_args()
    listed = tomllib.loads(LIST.read_text(encoding="utf-8"))
    accepted = _accepted(listed["accepted"])
    if unknown := set(asked.modules) - {module["name"] for module in listed["module"]}:
        parser.error(f"not in {LIST.name}: {', '.join(sorted(unknown))}")
    chosen = [module for module in listed["module"] if not asked.modules or module["name"] in asked.modules]
    results: dict[Mutant, str] = {}
    # Each in a new process: pytest collects nothing a second time in one, and what was imported is not again.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        for module in chosen:
            print(module["name"], flush=True)
            work = partial(run, module["name"], module["tests"], jobs=asked.jobs, seconds=asked.seconds)
            results |= pool.submit(work).result()
    return _report(results, accepted)


def _accepted(listed: Sequence[dict[str, Any]]) -> set[tuple[str, str, str, str]]:
    found = set()
    for one in listed:
        if not one["reason"].strip():
            raise ValueError(f"accepted without a reason: {one}")
        found |= {(one["module"], one["function"], one["was"], becomes) for becomes in one["becomes"]}
    return found


def _report(results: dict[Mutant, str], accepted: set[tuple[str, str, str, str]]) -> int:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for mutant, outcome in results.items():
        is_accepted = outcome == SURVIVED and mutant.key in accepted
        counts[mutant.module]["accepted" if is_accepted else outcome] += 1
    columns = (KILLED, TIMED_OUT, "accepted", SURVIVED)
    print(f"{'':40}{'mutants':>10}" + "".join(f"{column:>10}" for column in columns) + f"{'score':>8}")
    for module, count in counts.items():
        figures = "".join(f"{count[column]:>10}" for column in columns)
        score = count[KILLED] / count.total()
        print(f"{module:40}{count.total():>10}{figures}{score:>8.1%}")
    # One that ran out of time may be slow and not seen.
    left = [mutant for mutant, outcome in results.items() if outcome != KILLED and mutant.key not in accepted]
    tried = {mutant.module for mutant in results}
    survived = {mutant.key for mutant, outcome in results.items() if outcome == SURVIVED}
    for key in sorted(key for key in accepted - survived if key[0] in tried):
        print(f"accepted, but did not survive: {' | '.join(key)}")
    for mutant in left:
        print(f"{results[mutant]}: {mutant}")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
