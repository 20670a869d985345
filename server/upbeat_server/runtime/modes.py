"""Loads the modes that other packages have published under the entry-point group ``upbeat.modes``.

An entry point is an object with the methods of ``Mode``; its name is what callers put
into ``custom.name``. One that cannot be loaded stops the server before it listens: tasks
that need it may wait in the store, and would fail without it.
"""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from upbeat_server.engine.collaboration.mode import Mode

log = structlog.get_logger("upbeat.runtime")

GROUP: Final = "upbeat.modes"
METHODS: Final = ("faults", "children_max", "reducer")
BUILT_IN: Final = frozenset({"sequential", "parallel", "pipeline", "consensus", "competitive"})
"""What results call our own modes; another one of the same name could not be told from them."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,63}")


class ModeInvalid(Exception):
    """An installed mode cannot be used; the text is one sentence for an operator."""


def installed_modes() -> dict[str, Mode]:
    """All installed modes by name. Raises ModeInvalid for the first that cannot be used."""
    modes: dict[str, Mode] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)):
        if entry.name in modes:
            raise _invalid(entry, "another package has one of the same name: uninstall either")
        modes[entry.name] = _loaded(entry)
        log.info("mode_installed", mode=entry.name, origin=entry.value)
    return modes


def _loaded(entry: EntryPoint) -> Mode:
    if _NAME.fullmatch(entry.name) is None:
        raise _invalid(entry, "its name must be 1 to 63 characters of [A-Za-z0-9_.-]")
    if entry.name in BUILT_IN:
        raise _invalid(entry, "a mode of this name is built in: its package has to choose another")
    try:
        mode: Mode = entry.load()
    except Exception as error:
        # Whatever somebody else's module does when it is imported.
        log.exception("mode_not_loaded", mode=entry.name, origin=entry.value)
        raise _invalid(entry, f"it cannot be loaded ({type(error).__name__}: {error})") from error
    if isinstance(mode, type):
        raise _invalid(entry, "it is a class: its package has to publish an object of it")
    missing = [name for name in METHODS if not callable(getattr(mode, name, None))]
    if missing:
        raise _invalid(entry, f"it has no {' and no '.join(missing)}: it is no mode")
    return mode


def _invalid(entry: EntryPoint, why: str) -> ModeInvalid:
    origin = entry.value if entry.dist is None else f"{entry.value} of the package {entry.dist.name}"
    return ModeInvalid(" ".join(f"the mode {entry.name!r} ({origin}) cannot be used: {why}".split()))
