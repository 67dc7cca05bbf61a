"""The figures' arithmetic is right, and docs/performance.md names every question that there is."""

import asyncio
import math
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from bench import records, tables
from bench.arrivals import Arrivals, arrive, percentile
from bench.ceilings import read
from bench.contender import PASSWORD
from bench.filling import fill
from bench.finding import Finding
from bench.questions.growth import before_the_last_page
from bench.spread import Spread, alternating, ratios
from bench.targets import BY_KEY, QUESTIONS, TARGETS
from tests.factories import OPERATOR, STRANGER
from usersvc.core import Core
from usersvc.services import directory, login, maintenance

ROOT = Path(__file__).parent.parent
_TOLD = """Running 4s test @ http://127.0.0.1:8000/
  Latency Distribution
     50%   12.30ms
     99%    1.20s
  4000 requests in 4.00s, 1.2MB read
  Non-2xx or 3xx responses: 400
Requests/sec:   1000.00
"""


def _record(**figures: list[float]) -> records.Record:
    finding = Finding("`GET /users/me`", "requests/s", versions={"usersvc": "1"}, notes=["noted"])
    for name, values in figures.items():
        finding.measured(name, values)
    finding.compares("me-bare", figures["usersvc"], figures["bare"])
    now = datetime(2026, 11, 25, tzinfo=UTC)
    return records.Record("me", now, records.Machine.this(), 3, 5.0, 0.25, finding)


def test_a_ratio_is_that_of_one_round() -> None:
    # The second round was disturbed: both are half as fast, the ratio is the same.
    assert ratios([100, 50, 120], [50, 25, 40]) == [2, 2, 3]
    assert Spread.of([2, 3, 2]) == Spread(2, 2, 3, 3)


def test_who_goes_first_takes_turns() -> None:
    assert list(alternating(["a", "b", "c"], 3)) == [*"abc", *"cba", *"abc"]


def test_a_target_is_met_from_its_bound_on() -> None:
    least, most = BY_KEY["me-bare"], BY_KEY["start"]
    assert [least.is_met_by(found) for found in (0.49, 0.5)] == [False, True]
    assert [most.is_met_by(found) for found in (2.0, 2.01)] == [True, False]
    assert (least.shown, most.shown) == ("≥ 0.5", "≤ 2 s")


def test_what_wrk_says_is_read_without_the_answers_that_are_not_good() -> None:
    found = read(_TOLD)
    assert (found.rate, found.p99, found.asked) == (900, 1.2, 4000)


def test_who_is_not_answered_has_waited_for_ever() -> None:
    assert percentile(range(1, 101), 0.99) == 99
    found = Arrivals(tuple((200, 0.1) for _ in range(98)), unanswered=2)
    assert found.percentile(0.98) == 0.1
    assert found.percentile(0.99) == math.inf


def test_requests_come_whether_or_not_the_last_was_answered() -> None:
    """Of five, on a server that answers none until all have come."""
    all_came = asyncio.Event()
    heard = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        heard.append(reader)
        if len(heard) == 5:
            all_came.set()
        await all_came.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async def come() -> Arrivals:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await arrive(lambda it: it.ask("GET", "/"), port=port, rate=1000, seconds=0.005)

    found = asyncio.run(come())
    assert (found.good, found.unanswered) == (5, 0)


def test_every_question_has_a_module_and_a_line_in_the_document() -> None:
    modules = {path.stem for path in (ROOT / "bench/questions").glob("[a-z]*.py")}
    page = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    assert modules == set(QUESTIONS) == set(re.findall(r"^\| `([a-z]+)` \|", page, re.MULTILINE))
    assert len(BY_KEY) == len(TARGETS)


def test_every_target_is_decided_by_its_question() -> None:
    for target in TARGETS:
        source = (ROOT / f"bench/questions/{target.question}.py").read_text(encoding="utf-8")
        assert f'"{target.key}"' in source


def test_a_record_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    record = _record(usersvc=[1.0, 2.0, 3.0], bare=[2.0, 4.0, 4.0])
    records.save(record, tmp_path)
    assert records.saved("me", tmp_path) == record
    assert records.saved("storm", tmp_path) is None


def test_the_document_keeps_what_stands_around_its_figures(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"# before\n\n{tables.BEGIN}\n\nold\n\n{tables.END}\n\nafter\n", encoding="utf-8")
    record = _record(usersvc=[1000.0, 2000.0, 3000.0], bare=[2000.0, 5000.0, 4000.0])
    for _ in range(2):
        tables.document([record], page, {"me": tmp_path / "performance" / "me.svg"})
    told = page.read_text(encoding="utf-8")
    assert told.startswith("# before\n")
    assert told.endswith("\n\nafter\n")
    assert "old" not in told
    assert f"| {BY_KEY['me-bare'].what} | ≥ 0.5 | 0.50 | 0.40 to 0.75 |  |" in told
    assert "| usersvc | 2,000 | 1,000 to 3,000 |" in told
    assert "](performance/me.svg)" in told


def test_a_page_without_the_markers_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("# mine\n", encoding="utf-8")
    with pytest.raises(ValueError, match="lacks the lines"):
        tables.document([], page, {})
    assert page.read_text(encoding="utf-8") == "# mine\n"


def test_the_terminal_shows_what_was_missed() -> None:
    console = Console(width=150, record=True)
    tables.show([_record(usersvc=[1.0], bare=[4.0])], console)
    shown = console.export_text()
    assert re.search(r"bare FastAPI.*≥ 0.5.*0.25.*one round", shown)


@pytest.mark.sqlite
def test_what_is_filled_in_is_used_as_if_people_had_made_it(core: Core) -> None:
    assert core.database.path
    fill(core.database.path, 60, ended_days=60)
    listed = directory.list_users(core, actor=OPERATOR, limit=100).accounts
    assert [account.email for account in listed] == [f"b{number}@example.org" for number in range(60)]
    cursor = before_the_last_page(core)
    last = directory.list_users(core, actor=OPERATOR, limit=50, cursor=cursor)
    assert (last.accounts, last.next_cursor) == (listed[10:], None)
    assert maintenance.purge(core, actor=OPERATOR, dry_run=True)["sessions"] == 60
    assert login.log_in(core, email="b59@example.org", password=PASSWORD, actor=STRANGER)
