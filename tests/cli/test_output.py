"""What tables show."""

import pytest

from usersvc.cli.output import print_table


def test_brackets_in_a_cell_are_shown_and_mean_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["said"], [["550 [bold]no[/bold]"], ["550 [/var/mail] is full"]])
    assert [line.strip() for line in capsys.readouterr().out.splitlines()] == [
        "said",
        "550 [bold]no[/bold]",
        "550 [/var/mail] is full",
    ]
