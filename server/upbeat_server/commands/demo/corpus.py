"""Which files the demo reviews: those of the standard library, or of a folder of the user's."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from upbeat_server.commands.demo.reviews import Module

TOP_LEVEL = "(top level)"
"""The package of modules that are in none."""

QUICK_FILES = 120
_SKIPPED = frozenset(("site-packages", "dist-packages", "__pycache__", "node_modules"))


def standard_library() -> Path:
    """Where the modules of this Python are."""
    return Path(sysconfig.get_path("stdlib"))


def modules_under(root: Path) -> list[Module]:
    """Every Python file under ``root`` by name; installed packages and hidden folders are left out."""
    return sorted(_found(root), key=lambda module: module.name)


def few_of(modules: list[Module], count: int = QUICK_FILES) -> list[Module]:
    """About ``count`` modules spread evenly over all."""
    step = max(1, len(modules) // count)
    return modules[::step][:count]


def _found(root: Path) -> Iterator[Module]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED and not name.startswith("."))
        for file in files:
            path = Path(folder, file)
            # Names that are not Unicode cannot travel as JSON text; pipes and sockets are not files.
            if file.endswith(".py") and path.is_file() and _is_unicode(str(path)):
                yield _module(root, path)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _module(root: Path, path: Path) -> Module:
    parts = list(path.relative_to(root).with_suffix("").parts)
    package = ".".join(parts[:-1]) or TOP_LEVEL
    if parts[-1] == "__init__" and len(parts) > 1:
        parts.pop()
    return Module(str(path), ".".join(parts), package)
