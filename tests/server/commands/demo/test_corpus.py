from __future__ import annotations

from pathlib import Path

from upbeat_server.commands.demo import corpus


def test_modules_have_dotted_names_and_packages(tmp_path: Path) -> None:
    for name in (
        "a.py",
        "p/__init__.py",
        "p/m.py",
        "p/q/n.py",
        "site-packages/x.py",
        ".git/y.py",
        "p/data.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = {(module.name, module.package) for module in corpus.modules_under(tmp_path)}
    assert found == {("a", corpus.TOP_LEVEL), ("p", "p"), ("p.m", "p"), ("p.q.n", "p.q")}


def test_the_standard_library_is_large_and_without_installed_packages() -> None:
    modules = corpus.modules_under(corpus.standard_library())
    assert len(modules) > 300
    assert not any("site-packages" in module.path or "dist-packages" in module.path for module in modules)


def test_few_are_spread_over_all(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"m{number:02}.py").touch()
    modules = corpus.modules_under(tmp_path)
    few = corpus.few_of(modules, 10)
    assert len(few) == 10
    assert few[-1].name > "m40"
    assert corpus.few_of(few, 100) == few
