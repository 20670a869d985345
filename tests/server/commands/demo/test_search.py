from __future__ import annotations

from pathlib import Path

import pytest

from upbeat_server.commands.demo import search
from upbeat_server.commands.demo.search import ORDERS, Found, Query

WANTED = "class A:\n    def wanted(self):\n        if a: pass\n"


class Stopped(Exception):
    """What a search is ended with."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Files of which ``m`` defines the function; others mention it, or define another of its name."""
    sources = {
        "a": "# wanted\n",
        "b": "def wanted(): pass\n",
        "c": "class A:\n    def wanted(self): pass\n",
        "d": "def (wanted\ndef wanted\n",
        "m": WANTED,
        "z": "x = 1\n" * 50,
    }
    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(source)
    return tmp_path


def query(root: Path, order: str, function: str = "A.wanted", complexity: int = 2, files: int = 6) -> Query:
    return Query(str(root), files, function, complexity, order)


@pytest.mark.parametrize(("order", "files_read"), [("by-name", 5), ("backwards", 2), ("largest-first", 2)])
def test_every_order_finds_the_same_function_in_its_own_time(root: Path, order: str, files_read: int) -> None:
    assert search.find(query(root, order), lambda: None) == Found("m", 2, files_read)


@pytest.mark.parametrize("order", ORDERS)
def test_what_is_not_there_is_not_found(root: Path, order: str) -> None:
    assert search.find(query(root, order, function="A.missing"), lambda: None) is None
    assert search.find(query(root, order, complexity=3), lambda: None) is None


def test_only_so_many_files_are_searched(root: Path) -> None:
    assert search.find(query(root, "by-name", files=3), lambda: None) == Found("m", 2, 3)


def test_a_search_looks_up_before_every_file_and_can_be_stopped_there(root: Path) -> None:
    looks: list[None] = []

    def look_up() -> None:
        looks.append(None)
        if len(looks) == 3:
            raise Stopped

    with pytest.raises(Stopped):
        search.find(query(root, "by-name"), look_up)


def test_a_file_that_has_gone_is_passed_over(root: Path) -> None:
    def look_up() -> None:
        (root / "m.py").unlink(missing_ok=True)

    assert search.find(query(root, "by-name"), look_up) is None
    (root / "m.py").write_text(WANTED)
    assert search.find(query(root, "largest-first"), look_up) is None
