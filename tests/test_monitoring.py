"""docs/metrics.md, the dashboard and the alerts name what a running service tells, and nothing else."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Metric
from starlette.testclient import TestClient

from tests.factories import OPERATOR
from tests.metrics import families
from usersvc.api.app import create_app
from usersvc.core import Core
from usersvc.services import maintenance

pytestmark = pytest.mark.sqlite  # what is told is the same on both

ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
DASHBOARD = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text(encoding="utf-8"))
ALERTS = yaml.safe_load((ROOT / "deploy" / "prometheus-alerts.yaml").read_text(encoding="utf-8"))
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]

# What Prometheus adds to every series, and what a histogram is made of.
OF_EVERY_SERIES = {"instance", "job"}
_NAME = re.compile(r"\b(?:usersvc|process)_[a-z_]+\b")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
# "by" inside of it is not the name of anything.
_GROUPED = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")


@pytest.fixture
def told(core: Core) -> dict[str, Metric]:
    """What /metrics says once all that it can tell has happened."""
    maintenance.purge(core, actor=OPERATOR)
    http = TestClient(create_app(core), client=("127.0.0.1", 50000))
    http.get("/healthz")
    return families(http.get("/metrics").text)


def _labels(family: Metric) -> set[str]:
    return {label for sample in family.samples for label in sample.labels} - {"le"}


def _series(told: dict[str, Metric]) -> dict[str, dict[str, set[str]]]:
    """The name of each sample, with its labels and their values."""
    found: dict[str, dict[str, set[str]]] = {}
    for sample in (sample for family in told.values() for sample in family.samples):
        labels = found.setdefault(sample.name, {})
        for label, said in sample.labels.items():
            labels.setdefault(label, set()).add(said)
    return found


def test_every_metric_is_documented_with_its_type_and_labels_and_no_other(told: dict[str, Metric]) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) ?\| .+ \|$", DOCUMENT, re.MULTILINE)
    documented = [(name, kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows]
    exposed = [(name, family.type, _labels(family)) for name, family in told.items()]
    assert sorted(documented, key=str) == sorted(exposed, key=str)


def test_every_metric_of_ours_says_what_it_means_and_has_its_unit(told: dict[str, Metric]) -> None:
    for name, family in told.items():
        assert family.documentation.endswith("."), name
        if name.startswith("usersvc_"):
            unit = r"_(total|seconds|jobs|mails|deliveries|rows|processes|info|up)$"
            assert re.search(unit, name), name


def test_every_kind_of_rows_that_are_purged_is_told(told: dict[str, Metric], core: Core) -> None:
    kinds = {sample.labels["kind"] for sample in told["usersvc_purge_last_deleted_rows"].samples}
    assert kinds == set(maintenance.purge(core, actor=OPERATOR, dry_run=True))


def test_every_status_of_a_mail_and_of_a_delivery_is_told(told: dict[str, Metric]) -> None:
    models = ROOT / "usersvc" / "db" / "models"
    schema = "".join((models / name).read_text(encoding="utf-8") for name in ("mail.py", "webhooks.py"))
    listed = re.findall(r'one_of\("status", ("due".*?)\)', schema)
    for name, statuses in zip(("usersvc_outbox_mails", "usersvc_webhook_deliveries"), listed, strict=True):
        exposed = {sample.labels["status"] for sample in told[name].samples}
        assert exposed == set(re.findall(r'"(\w+)"', statuses))


def _expressions(node: Any) -> Iterator[str]:
    """Of the dashboard: of its panels and of its variables."""
    if isinstance(node, list):
        for inner in node:
            yield from _expressions(inner)
    elif isinstance(node, dict):
        for key, inner in node.items():
            if key in ("expr", "definition") and isinstance(inner, str):
                yield inner
            else:
                yield from _expressions(inner)


def _check(expression: str, series: dict[str, dict[str, set[str]]]) -> None:
    """Each selector has labels of its series, and values that they have; so has each grouping."""
    names = _NAME.findall(_GROUPED.sub("", expression))
    assert names, expression
    for name in names:
        assert name in series, f"{name} in {expression}"
    for name, matchers in re.findall(r"\b((?:usersvc|process)_[a-z_]+)\{([^}]*)\}", expression):
        assert _MATCHER.sub("", matchers).strip(" ,") == "", f"{matchers} in {expression}"
        for label, operator, said in _MATCHER.findall(matchers):
            assert label in series[name].keys() | OF_EVERY_SERIES, f"{label} in {expression}"
            alternatives = said.split("|") if operator in ("=~", "!~") else [said]
            if label in ("outcome", "status") and re.fullmatch(r"[\w|]+", said):
                assert set(alternatives) <= series[name][label], f"{said} in {expression}"
    known = set().union(*(series[name] for name in names)) | OF_EVERY_SERIES
    for grouped in _GROUPED.findall(expression):
        assert {label.strip() for label in grouped.split(",")} <= known, f"{grouped} in {expression}"


EXPRESSIONS = [*dict.fromkeys(_expressions(DASHBOARD)), *(rule["expr"] for rule in RULES)]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_dashboard_and_alerts_ask_for_what_there_is(expression: str, told: dict[str, Metric]) -> None:
    _check(expression, _series(told))


@pytest.mark.parametrize(
    "expression",
    [
        "usersvc_nothing_total",
        "rate(usersvc_logins_total{user='ada'}[5m])",
        'rate(usersvc_logins_total{user="ada"}[5m])',
        'rate(usersvc_logins_total{outcome="OKAY"}[5m])',
        'usersvc_outbox_mails{status=~"dead|lost"}',
        "sum by (route) (usersvc_logins_total)",
        "rate(usersvc_hashing_wait_seconds[5m])",
        "up",
    ],
)
def test_the_check_sees_what_there_is_not(expression: str, told: dict[str, Metric]) -> None:
    with pytest.raises(AssertionError):
        _check(expression, _series(told))


def test_every_metric_of_ours_is_on_the_dashboard(told: dict[str, Metric]) -> None:
    shown = {name for expression in _expressions(DASHBOARD) for name in _NAME.findall(expression)}
    shown = {name.removesuffix("_bucket") for name in shown}
    assert shown == {name for name in told if name.startswith("usersvc_")}


def test_the_dashboard_takes_its_data_source_from_a_variable() -> None:
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    sources = {str(panel["datasource"]["uid"]) for panel in DASHBOARD["panels"] if panel["type"] != "row"}
    sources |= {
        str(target["datasource"]["uid"])
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", [])
    }
    assert sources == {"${datasource}"}


def test_the_panels_of_the_dashboard_have_each_their_place() -> None:
    taken: set[tuple[int, int]] = set()
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


def test_every_alert_is_documented_in_its_order_and_no_other() -> None:
    assert re.findall(r"^\| `(Usersvc\w+)` \| .+ \| .+ \|$", DOCUMENT, re.MULTILINE) == [
        rule["alert"] for rule in RULES
    ]


def test_every_alert_has_what_people_read_when_it_wakes_them() -> None:
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]
        assert all(rule["annotations"].values()), rule["alert"]


def test_the_configuration_for_prometheus_in_the_document_is_yaml() -> None:
    [text] = re.findall(r"^```yaml\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    [job] = yaml.safe_load(text)["scrape_configs"]
    assert job["job_name"] == "usersvc"
