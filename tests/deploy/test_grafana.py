"""The Grafana board: every expression parses, and panels neither overlap nor repeat."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import yaml

from tests.support.promql import board, board_expressions, metrics_in, needs_promtool, promtool

WIDTH = 24


def panels() -> list[dict[str, Any]]:
    """Everything on the board, rows included."""
    listed: list[dict[str, Any]] = board()["panels"]
    return listed


def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
    """The cells of the grid that a panel covers."""
    place = panel["gridPos"]
    return set(
        itertools.product(
            range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        )
    )


@needs_promtool
def test_every_expression_parses(tmp_path: Path) -> None:
    recorded = [
        {"record": f"board:{number}", "expr": expression}
        for number, expression in enumerate(board_expressions().values())
    ]
    (tmp_path / "board.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "board", "rules": recorded}]}, width=10_000)
    )
    assert f"{len(recorded)} rules found" in promtool("check", "rules", "board.yml", folder=tmp_path)


def test_every_panel_has_a_name_and_something_to_show() -> None:
    for panel in panels():
        assert panel["title"]
        assert panel["type"] == "row" or panel["targets"], panel["title"]
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids))


def test_panels_do_not_overlap_or_leave_the_board() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        covered = cells(panel)
        assert not covered & taken, panel["title"]
        assert max(x for x, _ in covered) < WIDTH, panel["title"]
        taken |= covered


def test_every_query_is_for_the_chosen_source_server_and_namespace() -> None:
    for panel in panels():
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"
    for where, expression in board_expressions().items():
        metrics = metrics_in(expression)
        if "$" not in expression:
            assert metrics <= {"upbeat_ready", "ALERTS"}, where
        elif any(name.startswith("upbeat_bus") or name == "upbeat_tasks" for name in metrics):
            assert "$instance" in expression, where


def test_the_board_has_a_variable_for_each_that_it_uses() -> None:
    names = {variable["name"] for variable in board()["templating"]["list"]}
    assert names == {"datasource", "job", "instance", "namespace"}
