"""What tables show."""

import pytest
from rich.console import Console

from usersvc.cli import output
from usersvc.cli.output import print_row, print_table


def test_brackets_in_a_cell_are_shown_and_mean_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["said"], [["550 [bold]no[/bold]"], ["550 [/var/mail] is full"]])
    assert [line.strip() for line in capsys.readouterr().out.splitlines()] == [
        "said",
        "550 [bold]no[/bold]",
        "550 [/var/mail] is full",
    ]


@pytest.mark.parametrize("evil", ["\x1b", "\x9b", "\x90", "\u202e", "\u2066", "\n", "\r", "\x7f", "\u2028"])
def test_no_cell_moves_the_cursor_or_turns_the_direction(
    capsys: pytest.CaptureFixture[str], evil: str
) -> None:
    print_table(["device"], [[f"curl{evil}[2J/8"]])
    print_row([f"curl{evil}[2J/8"], [1])
    assert [line.strip() for line in capsys.readouterr().out.split("\n")] == [
        "device",
        "curl [2J/8",
        "curl [2J/8",
        "",
    ]


ID = "01a22498-7e99-795c-8cad-aea9aad54a9a"


def on_a_terminal(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """What it shows of a table with ids."""
    monkeypatch.setattr(output, "console", lambda **_: Console(width=width, highlight=False))
    print_table(["id", "address", "created_at"], [[ID, "ada@example.org", "2026-11-28 23:58:23Z"]] * 2)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_a_terminal_that_is_wide_enough_for_the_ids_shows_a_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert on_a_terminal(80, capsys, monkeypatch)[1] == f"{ID}  ada@example.org  2026-11-28 23:58:23Z"
    assert on_a_terminal(66, capsys, monkeypatch)[1] == f"{ID}  ada@example.org  2026-11-28"


def test_a_terminal_that_is_too_narrow_shows_rows_as_fields_and_breaks_no_id(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = [f"id          {ID}", "address     ada@example.org", "created_at  2026-11-28 23:58:23Z"]
    assert on_a_terminal(60, capsys, monkeypatch) == [*row, "", *row]


def test_a_word_is_broken_only_where_nothing_else_can_give_way(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "console", lambda **_: Console(width=28, highlight=False))
    print_table(["address", "created_at"], [["ada@example.org", "2026-11-28 23:58:23Z"]])
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "address          created_at",
        "ada@example.org  2026-11-28",
        "                 23:58:23Z",
    ]
