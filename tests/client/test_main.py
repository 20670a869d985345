from __future__ import annotations

import sys

import pytest

from upbeat.__main__ import main


def forget_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("upbeat.cli")]:
        monkeypatch.delitem(sys.modules, name)


def test_without_the_extra_the_command_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_the_command_line(monkeypatch)
    monkeypatch.setitem(sys.modules, "typer", None)
    with pytest.raises(SystemExit, match=r"needs typer; install it with: pip install 'upbeat\[cli\]'"):
        main()


def test_a_module_missing_for_another_reason_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_the_command_line(monkeypatch)
    monkeypatch.setitem(sys.modules, "upbeat.cli.main", None)
    with pytest.raises(ModuleNotFoundError, match=r"upbeat\.cli\.main"):
        main()
