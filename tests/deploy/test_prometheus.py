"""The rules for Prometheus: they load, each alert fires when it should, and says what to do."""

from __future__ import annotations

import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.promql import DEPLOY, RULE_FILES, alerts, needs_promtool, promtool, rules
from upbeat_server.config import Settings

CASES = Path(__file__).parent / "alerts.test.yml"
SEVERITIES = {"critical", "warning"}


@cache
def cases() -> list[dict[str, Any]]:
    """What promtool is given."""
    listed: list[dict[str, Any]] = yaml.safe_load(CASES.read_text())["tests"]
    return listed


@needs_promtool
def test_the_example_and_its_rules_are_taken_by_prometheus(tmp_path: Path) -> None:
    for path in (DEPLOY / "prometheus").iterdir():
        shutil.copy(path, tmp_path)
    assert "SUCCESS" in promtool("check", "config", "--lint-fatal", "prometheus.yml", folder=tmp_path)


@needs_promtool
def test_every_alert_fires_and_is_silent_where_it_should(tmp_path: Path) -> None:
    # Without annotations: promtool would want all their texts repeated. It has rendered them above.
    for name in RULE_FILES:
        rule_file = yaml.safe_load((DEPLOY / "prometheus" / name).read_text())
        for group in rule_file["groups"]:
            for rule in group["rules"]:
                rule.pop("annotations", None)
        (tmp_path / name).write_text(yaml.safe_dump(rule_file))
    tried = yaml.safe_load(CASES.read_text()) | {"rule_files": list(RULE_FILES)}
    (tmp_path / "cases.yml").write_text(yaml.safe_dump(tried))
    assert "SUCCESS" in promtool("test", "rules", "cases.yml", folder=tmp_path)


@pytest.mark.parametrize("name", sorted(alerts()))
def test_an_alert_is_tried_both_ways(name: str) -> None:
    tried = [
        case for group in cases() for case in group.get("alert_rule_test", ()) if case["alertname"] == name
    ]
    assert any(case.get("exp_alerts") for case in tried), "it is never seen to fire"
    assert any(not case.get("exp_alerts") for case in tried), "it is never seen to be silent"


def test_every_recorded_value_is_tried() -> None:
    tried = " ".join(case["expr"] for group in cases() for case in group.get("promql_expr_test", ()))
    assert [rule["record"] for rule in rules() if "record" in rule and rule["record"] not in tried] == []


@pytest.mark.parametrize("name", sorted(alerts()))
def test_an_alert_says_how_bad_it_is_what_happened_and_where_to_look(name: str) -> None:
    alert = alerts()[name]
    assert alert["labels"]["severity"] in SEVERITIES
    assert set(alert["annotations"]) == {"summary", "description", "runbook"}
    assert all(len(text) > 20 for text in alert["annotations"].values())


def test_settings_that_a_runbook_names_exist() -> None:
    settings = Settings().model_dump()
    named = {
        setting
        for alert in alerts().values()
        for text in alert["annotations"].values()
        for setting in re.findall(r"engine(?:\.\w+)+", text)
    }
    assert named
    for setting in named:
        value = settings
        for part in setting.split("."):
            assert part in value, setting
            value = value[part]
