"""PromQL expressions, wherever they are written, and the metrics that they name."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPLOY = Path(__file__).parents[2] / "deploy"
BOARD = DEPLOY / "grafana" / "upbeat.json"
RULE_FILES = ("recording.yml", "alerts.yml")

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is missing (apt install prometheus)"
)

_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"')
_SELECTORS = re.compile(r"\{[^{}]*\}")
_RANGES = re.compile(r"\[[^\]]*\]")
_LABEL_LISTS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)")
_NAMES = re.compile(r"(?<![\w:.])[a-zA-Z_:][\w:]*(?!\s*\()(?![\w:])")
_WORDS = {"and", "or", "unless", "offset", "bool", "inf", "nan"}


def metrics_in(expression: str) -> set[str]:
    """The names of the metrics in an expression."""
    text = _STRINGS.sub('""', expression)
    for left_out in (_SELECTORS, _RANGES, _LABEL_LISTS):
        text = left_out.sub(" ", text)
    return {name for name in _NAMES.findall(text) if name.lower() not in _WORDS}


@cache
def groups() -> list[dict[str, Any]]:
    """All groups of rules, recording ones first."""
    return [
        group
        for name in RULE_FILES
        for group in yaml.safe_load((DEPLOY / "prometheus" / name).read_text())["groups"]
    ]


def rules() -> list[dict[str, Any]]:
    """All rules, recording ones first."""
    return [rule for group in groups() for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """All alerts by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


@cache
def board() -> dict[str, Any]:
    """The Grafana board."""
    loaded: dict[str, Any] = json.loads(BOARD.read_text())
    return loaded


def board_expressions() -> dict[str, str]:
    """Every expression of the board, as Prometheus would get it, by where it stands."""
    found = {}
    shown = board()
    for panel in shown["panels"]:
        for target in panel.get("targets", ()):
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    for note in shown["annotations"]["list"]:
        if "expr" in note:
            found[note["name"]] = note["expr"]
    for variable in shown["templating"]["list"]:
        if variable["type"] == "query":
            # label_values(SELECTOR, LABEL) is Grafana's own function.
            found[variable["name"]] = variable["definition"].removeprefix("label_values(").rpartition(",")[0]
    return {where: expression.replace("$__rate_interval", "5m") for where, expression in found.items()}


def promtool(*arguments: str, folder: Path | None = None, text: str = "") -> str:
    """Run promtool; answers what it says, and fails with that when it is not content."""
    ran = subprocess.run(
        ["promtool", *arguments], cwd=folder, input=text, capture_output=True, text=True, check=False
    )
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0, said
    return said


def named_by_all() -> Iterator[tuple[str, str]]:
    """Every place with an expression, and a metric that it names."""
    for rule in rules():
        where = rule.get("alert") or rule["record"]
        yield from ((where, name) for name in sorted(metrics_in(rule["expr"])))
    for where, expression in board_expressions().items():
        yield from ((where, name) for name in sorted(metrics_in(expression)))
