"""`set-locale`, `invite-user --locale`, and what `show-user` says of them."""

import json

import pytest

from tests.cli.conftest import Run
from tests.factories import EMAIL

# It is the same on every database.
pytestmark = pytest.mark.sqlite


def test_a_language_is_set_shown_and_told(run: Run, folder: object) -> None:
    run("migrate")
    run("invite-user", EMAIL, "--locale", "hi")
    assert json.loads(run("show-user", EMAIL, "--json").stdout)["locale"] == "hi"
    assert run("set-locale", EMAIL, "zh-Hans").stdout == f"Mails to {EMAIL} are in zh-Hans now.\n"
    assert run("set-locale", EMAIL, "zh-Hans").stdout == f"Mails to {EMAIL} are in zh-Hans already.\n"
    assert json.loads(run("list-users", "--json").stdout)[0]["locale"] == "zh-Hans"
    [entry] = json.loads(run("audit", "--action", "user.locale_changed", "--json").stdout)
    assert entry["detail"] == {"before": "hi", "after": "zh-Hans"}
    refused = run("set-locale", EMAIL, "it", code=2)
    assert "Value error" not in refused.stderr
    assert "'it' is not one of 'en', 'de', 'fr', 'es', 'pt', 'hi', 'zh-Hans'" in refused.stderr
    assert run("set-locale", "nobody@example.org", "de", code=5).stderr.count("\n") == 2
