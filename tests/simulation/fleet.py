"""All agents of a run: who comes, dies, freezes, leaves, and comes back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.simulation.agent_host import AgentHost, Manner
from tests.simulation.liar import Liar
from tests.simulation.teamwork import PANEL_MAX, TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.world import World

OFFERS = (("work",), ("work", "play"), ("work", "play", "gpu"), ("play",))


class Crew:
    """The agents of a world, and the supervisor that starts them again."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.mix.rng("crew")
        self._number = 0
        self._is_healed = False
        self.agents: list[AgentHost] = []
        self.liars: list[Liar] = []
        self._past: list[AgentHost] = []

    def come(self) -> None:
        """All agents that the run begins with."""
        mix, rng = self._world.mix, self._rng
        for number in range(mix.agents):
            manner = Manner(
                f"agent-{number}",
                rng.choice(OFFERS) if not mix.is_fair else TYPES,
                rng.choice(({}, {"zone": "a"}, {"zone": "b", "host": f"h{number}"})),
                rng.choice((1, 2, 4)) if not mix.is_fair else 1,
                rng.choice((20.0, 300.0, 2_000.0)) if not mix.is_fair else 700.0,
                failure_share=0.5 * mix.strength("failures"),
                hang_share=0.3 * mix.strength("hangs"),
            )
            self.start(manner)
        for _ in range(rng.choice((1, 2)) if mix.has("liars") else 0):
            self.start_liar()

    def start(self, manner: Manner) -> AgentHost:
        """A process of an agent."""
        world = self._world
        self._number += 1
        rng = world.mix.rng(f"agent-process-{self._number}")
        agent = AgentHost(self._number, manner, world.network, world.claims, rng)
        agent.handlers.may_hang = not self._is_healed
        self.agents.append(agent)
        world.loop.start(agent.host, agent.live())
        world.loop.start(world.loop.world, self._supervise(agent))
        return agent

    def start_liar(self) -> None:
        """A process of a liar."""
        world = self._world
        self._number += 1
        rng = world.mix.rng(f"liar-process-{self._number}")
        liar = Liar(self._number, world.network, world.claims, rng, [*TYPES, "gpu"])
        self.liars.append(liar)
        world.loop.start(liar.host, liar.live())

    async def _supervise(self, agent: AgentHost) -> None:
        """Start an agent again that left or was refused."""
        while not agent.ended:
            await asyncio.sleep(1.0)
            if agent.host.is_dead:
                return
        await asyncio.sleep(self._rng.random() * 3)
        if agent in self.agents:
            self._replace(agent)

    def _replace(self, agent: AgentHost) -> None:
        self.agents.remove(agent)
        self._past.append(agent)
        self.start(agent.manner)

    def kill(self, agent: AgentHost) -> None:
        """SIGKILL; it is started again after a while, under the same name or another."""
        world, rng = self._world, self._rng
        world.loop.kill(agent.host)
        world.network.lose(agent.host)
        self.agents.remove(agent)
        self._past.append(agent)
        manner = agent.manner
        if rng.random() < 0.5:
            manner = Manner(**{**manner.__dict__, "agent_id": f"agent-{self._number + 100}"})
        world.loop.call_later(rng.random() * 15, self.start, manner, context=world.loop.world.context)

    def heal(self) -> None:
        """Liars are gone, everybody else is well, and somebody can do anything."""
        world = self._world
        self._is_healed = True
        for liar in self.liars:
            world.loop.kill(liar.host)
            world.network.lose(liar.host)
        for agent in self.agents:
            if agent.host.is_frozen:
                world.loop.thaw(agent.host)
            agent.handlers.recover()
        # As many as the largest panel needs, whoever has its other seats.
        healers = PANEL_MAX if world.mix.has("collaborations") else 1
        for number in range(healers):
            name = f"healer-{number}" if number else "healer"
            self.start(Manner(name, ("work", "play", "gpu"), {"zone": "a"}, 8, 50.0))

    def unanswered(self) -> list[tuple[AgentHost, int]]:
        """Agents whose results the server has not answered, and how many."""
        return [(agent, len(agent.session.results)) for agent in self.agents if agent.session.results]

    def leave(self) -> None:
        """All agents say goodbye."""
        world = self._world
        agents, self.agents = self.agents, []
        self._past += agents
        for agent in agents:
            agent.host.context.copy().run(_leave, world, agent)

    def overruns(self) -> Iterator[tuple[str, str]]:
        """Agents whose handlers were more than their slots."""
        for agent in (*self._past, *self.agents):
            if agent.handlers.overrun > 0:
                yield agent.host.name, f"ran {agent.handlers.overrun} handlers more than it has slots"


def _leave(world: World, agent: AgentHost) -> None:
    async def leave() -> None:
        agent.link.leave("the run is over")

    world.loop.start(agent.host, leave())
