"""One server for all the cases of a module: it has to survive them one after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.server.rpc.bad_input.whole_server import WholeServer, whole_server


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WholeServer]:
    """A whole server with an ordinary agent."""
    async with whole_server(tmp_path_factory.mktemp("bad_input")) as served:
        await served.start_ordinary_agent()
        yield served
