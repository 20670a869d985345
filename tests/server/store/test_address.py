from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from upbeat_server.store.address import open_store
from upbeat_server.store.memory import MemoryStore
from upbeat_server.store.sqlite import SqliteStore
from upbeat_server.store.store import StoreInvalid

if TYPE_CHECKING:
    from pathlib import Path


def test_memory_is_the_memory_store() -> None:
    assert isinstance(open_store("memory"), MemoryStore)


async def test_sqlite_opens_the_file_it_names(tmp_path: Path) -> None:
    store = open_store(f"sqlite:{tmp_path}/with:colon.db")
    assert isinstance(store, SqliteStore)
    assert not list(tmp_path.iterdir())
    await store.open()
    await store.close()
    assert (tmp_path / "with:colon.db").is_file()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", "write memory or sqlite:PATH"),
        ("sqlite:", "write memory or sqlite:PATH"),
        ("memory:", "write memory or sqlite:PATH"),
        ("upbeat.db", "write memory or sqlite:PATH"),
        ("mysql://localhost/x", "write memory or sqlite:PATH"),
        ("sqlite::memory:", "needs a file"),
        ("postgresql://localhost/upbeat", "no PostgreSQL store"),
        ("postgres://localhost/upbeat", "no PostgreSQL store"),
    ],
)
def test_an_address_without_a_store_is_refused_with_the_remedy(address: str, said: str) -> None:
    with pytest.raises(StoreInvalid, match=said):
        open_store(address)
