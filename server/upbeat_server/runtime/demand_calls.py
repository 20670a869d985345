"""What the door may ask about demand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine import demand as engine_demand
from upbeat_server.engine.demand import Demand
from upbeat_server.runtime.desk import Desk

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upbeat_server.engine.fleet import ProfileKey
    from upbeat_server.runtime.demand_watches import DemandWatch


class DemandCalls(Desk):
    """Look at what there is to do, and be woken when it may have changed."""

    def demand(self, name: str, types: Iterable[str], offer: ProfileKey | None = None) -> Demand:
        """What there is to do for agents of these types; nothing in a namespace that is not open."""
        namespace = self._catalog.known(name)
        return Demand() if namespace is None else engine_demand.demand(namespace.engine, types, offer)

    async def watch_demand(self, name: str) -> DemandWatch:
        """A watch of what changes from now. Close it in the end."""
        self._admit_watch()
        namespace = await self._catalog.open(name)
        return namespace.demand_watches.open()
