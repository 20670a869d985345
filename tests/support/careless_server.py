"""``upbeat serve`` whose commits are not synced: the control that must lose what it acknowledged.

There is no setting for this, on purpose: only this module, which no release holds, weakens the
connection after the store has opened it. Run as ``python -m tests.support.careless_server serve ...``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat.__main__ import main
from upbeat_server.store import sqlite
from upbeat_server.store.sqlite_schema import open_writer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import apsw


def open_careless_writer(path: Path, steps: Sequence[str], *, was_serving: bool) -> apsw.Connection:
    """The writing connection as ever, but a commit is only in the memory of the machine."""
    connection = open_writer(path, steps, was_serving=was_serving)
    connection.pragma("synchronous", "normal")
    return connection


if __name__ == "__main__":
    setattr(sqlite, "open_writer", open_careless_writer)  # noqa: B010 - mypy knows it as constant
    main()
