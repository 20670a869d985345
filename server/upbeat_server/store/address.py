"""Where a store lives, as the configuration says it: ``memory`` or ``sqlite:PATH``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from upbeat_server.store.memory import MemoryStore
from upbeat_server.store.sqlite import SqliteStore
from upbeat_server.store.store import StoreInvalid

if TYPE_CHECKING:
    from upbeat_server.store.store import Store


def open_store(address: str) -> Store:
    """The store at an address, not opened yet. Raises StoreInvalid if there can be none."""
    scheme, _, place = address.partition(":")
    if address == "memory":
        return MemoryStore()
    if scheme == "sqlite" and place == ":memory:":
        raise StoreInvalid("a SQLite store needs a file: write memory for a store that keeps nothing")
    if scheme == "sqlite" and place:
        return SqliteStore(place)
    if scheme in ("postgresql", "postgres"):
        raise StoreInvalid("this release has no PostgreSQL store: use sqlite:PATH")
    raise StoreInvalid(f"there is no store at {address!r}: write memory or sqlite:PATH")


def file_of(address: str) -> Path:
    """The file of the store at an address. Raises StoreInvalid if it has none."""
    if address == "memory":
        raise StoreInvalid("a store in memory has no file, and is gone with its server: give sqlite:PATH")
    open_store(address)
    return Path(address.partition(":")[2])
