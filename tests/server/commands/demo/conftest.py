from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from upbeat_server.commands.demo.reviews import Module

Write = Callable[..., Module]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Puts source into a file and names it as a module."""

    def put(source: str | bytes, name: str = "pack.mod", file: str = "mod.py") -> Module:
        data = source if isinstance(source, bytes) else textwrap.dedent(source).encode()
        (tmp_path / file).write_bytes(data)
        return Module(str(tmp_path / file), name, "pack")

    return put
