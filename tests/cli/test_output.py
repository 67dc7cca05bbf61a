"""What tables show."""

import pytest

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
