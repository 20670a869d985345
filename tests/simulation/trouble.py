"""The faults of a run, as they come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.simulation.calls import Stub
from tests.simulation.quotas import Pauses
from tests.simulation.virtual_loop import START_S
from upbeat.v1 import agent_service_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.world import World

FREEZES_S = (0.5, 5.0, 25.0, 45.0)


class Trouble:
    """One stream of random numbers for each kind of fault: none changes another."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._is_over = False
        self._rngs = {name: world.mix.rng(name) for name in KINDS}
        self._pauses = Pauses(world, self._rngs["pauses"])
        world.disk.when_committing = self._commit_begins

    async def run(self) -> None:
        """Let every kind of fault strike in its own time."""
        loop = self._world.loop
        for name, strike in KINDS.items():
            if self._world.mix.has(name):
                loop.start(loop.world, self._keep_striking(name, strike))

    def end(self) -> None:
        """No more of it."""
        self._is_over = True

    async def _keep_striking(self, name: str, strike: Callable[[Trouble], object]) -> None:
        """About six times a run at full strength, at least once if the run is long enough."""
        rng, mix = self._rngs[name], self._world.mix
        mean_s = mix.duration_s / (1 + 6 * mix.strength(name))
        while not self._is_over:
            await asyncio.sleep(rng.expovariate(1 / mean_s))
            if not self._is_over:
                self._world.trace(f"fault {name}")
                strike(self)

    def _later(self, after_s: float, call: Callable[[], object]) -> None:
        loop = self._world.loop
        loop.call_later(after_s, call, context=loop.world.context)

    # Each kind.

    def break_stream(self) -> None:
        """One connection breaks, cleanly or half-open."""
        rng, wires = self._rngs["breaks"], self._world.network.wires.all()
        if wires:
            rng.choice(wires).tear(rng.choice(("", "", "client", "server", "both")))

    def cut_off(self) -> None:
        """A host and the server do not reach each other."""
        world, rng = self._world, self._rngs["partitions"]
        hosts = [agent.host for agent in world.crew.agents]
        hosts += [submitter.host for submitter in world.submitters]
        hosts += [world.watcher.host, world.reader.host]
        world.network.cut_off(rng.choice(hosts), rng.choice((2.0, 8.0, 20.0, 40.0)))

    def kill_agent(self) -> None:
        """SIGKILL to an agent."""
        world = self._world
        if world.crew.agents:
            world.crew.kill(self._rngs["agent_deaths"].choice(world.crew.agents))

    def freeze_agent(self) -> None:
        """SIGSTOP to an agent, and SIGCONT."""
        world, rng = self._world, self._rngs["agent_freezes"]
        if not world.crew.agents:
            return
        agent = rng.choice(world.crew.agents)
        world.loop.freeze(agent.host)
        self._later(rng.choice(FREEZES_S), lambda: world.loop.thaw(agent.host))

    def agent_leaves(self) -> None:
        """An agent says goodbye, in order or at once."""
        world, rng = self._world, self._rngs["agent_departures"]
        if not world.crew.agents:
            return
        agent = rng.choice(world.crew.agents)
        at_once = rng.random() < 0.5

        async def leave() -> None:
            if at_once:
                agent.link.leave_now()
            else:
                agent.link.leave("deploy")

        world.loop.start(agent.host, leave())

    def fill_disk(self) -> None:
        """Commits fail for a while."""
        disk = self._world.disk
        disk.is_full = True

        def free() -> None:
            disk.is_full = False

        self._later(self._rngs["store_full"].choice((0.2, 2.0, 10.0)), free)

    def kill_server(self) -> None:
        """SIGKILL to the server, at any point."""
        world = self._world
        if world.server is not None:
            world.kill_server()
            self._start_again(self._rngs["server_deaths"].choice((0.1, 1.0, 6.0, 20.0)))

    def stop_server(self) -> None:
        """SIGTERM: a deploy."""
        world = self._world
        server = world.server
        if server is None or not server.is_serving or server.is_stopping:
            return
        server.is_stopping = True

        async def stop() -> None:
            await server.stop()
            if world.server is server:
                world.kill_server()
                self._start_again(after_s)

        after_s = self._rngs["server_stops"].choice((0.1, 10.0))
        world.loop.start(server.host, stop())

    def freeze_server(self) -> None:
        """The machine of the server stands still: its clock leaps."""
        world, rng = self._world, self._rngs["server_freezes"]
        server = world.server
        if server is not None:
            world.loop.freeze(server.host)
            self._later(rng.choice(FREEZES_S), lambda: world.loop.thaw(server.host))

    def pause_type(self) -> None:
        """An operator pauses a type for a while."""
        self._pauses.strike()

    def drain_agent(self) -> None:
        """An operator drains an agent."""
        world = self._world
        stub = Stub(world.network, world.reader.host, "AgentService")
        if not world.crew.agents:
            return
        agent = self._rngs["drains"].choice(world.crew.agents)
        request = agent_service_pb2.DrainAgentRequest(agent_id=agent.manner.agent_id)

        async def drain() -> None:
            await asyncio.gather(stub.DrainAgent(request), return_exceptions=True)

        world.loop.start(world.reader.host, drain())

    def _commit_begins(self) -> None:
        """A commit is about to be made, or is durable and not yet answered: die here, perhaps."""
        world, mix = self._world, self._world.mix
        rng = self._rngs["deaths_in_commits"]
        if self._is_over or not mix.has("deaths_in_commits") or world.loop.time() < START_S + 0.5:
            return
        if rng.random() < 0.02 * mix.strength("deaths_in_commits"):
            world.order.counts["server died in a commit"] += 1
            world.network.soon(world.kill_server)
            self._start_again(rng.choice((0.1, 1.0, 6.0)))

    def _start_again(self, after_s: float) -> None:
        world = self._world

        def start() -> None:
            if world.server is None:
                world.start_server()

        self._later(after_s, start)


KINDS: dict[str, Callable[[Trouble], object]] = {
    "breaks": Trouble.break_stream,
    "partitions": Trouble.cut_off,
    "agent_deaths": Trouble.kill_agent,
    "agent_freezes": Trouble.freeze_agent,
    "agent_departures": Trouble.agent_leaves,
    "store_full": Trouble.fill_disk,
    "server_deaths": Trouble.kill_server,
    "server_stops": Trouble.stop_server,
    "server_freezes": Trouble.freeze_server,
    "drains": Trouble.drain_agent,
    "pauses": Trouble.pause_type,
    "deaths_in_commits": lambda _trouble: None,
}
