"""Who is there, what they offer, who is free.

Agents with equal capabilities and labels share a ``Profile``; requirements are
matched against profiles, not agents, and only once. A new requirement or a new
profile is matched in slices (``match_some``), so that a large fleet never
stalls a turn. Within a profile the free agents are a lazily cleaned heap by
load; the stamp of an agent tells its valid entry from older ones.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush, heapreplace
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from upbeat_server.engine.agent import Agent
from upbeat_server.engine.model import AgentState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from upbeat_server.engine.model import Labels, SessionId
    from upbeat_server.engine.queue import Queue, Signature

ProfileKey: TypeAlias = "tuple[frozenset[str], tuple[tuple[str, str], ...]]"

CANDIDATES_MAX = 32
"""Profiles looked at for one task: the best of 32 is as good as the best of all."""

OTHERS_MAX = 64
"""Agents looked at to tell whether a task may wait for another one than those that failed it."""

CONNECTED = AgentState.CONNECTED


class Profile:
    """What a group of agents has in common, and which of them are free."""

    __slots__ = ("agents", "capabilities", "free", "free_agents", "key", "labels", "sampled", "signatures")

    def __init__(self, key: ProfileKey) -> None:
        self.key = key
        self.capabilities = key[0]
        self.labels: Labels = dict(key[1])
        self.agents: dict[str, Agent] = {}
        self.signatures: dict[Signature, None] = {}
        self.free: list[tuple[float, int, int, Agent]] = []
        self.free_agents: list[Agent] = []  # In no order; each knows its place.
        self.sampled = 0  # Where the next sample of them begins.

    def satisfies(self, signature: Signature) -> bool:
        """Whether agents of this profile may get tasks with this requirement."""
        task_type, required, _ = signature.requirement
        if task_type not in self.capabilities or not self.capabilities.issuperset(required):
            return False
        return signature.predicate is None or signature.predicate(self.labels)

    def gain(self, agent: Agent) -> None:
        """An agent became free."""
        agent.available = True
        agent.free_place = len(self.free_agents)
        self.free_agents.append(agent)

    def spend(self, agent: Agent) -> int:
        """An agent is free no longer: the last one takes its place.

        Answers for how many signatures with waiting tasks no agent is free now, and one was.
        """
        agent.available = False
        last = self.free_agents.pop()
        if last is not agent:
            self.free_agents[agent.free_place] = last
            last.free_place = agent.free_place
        closed = 0
        if not self.free_agents:
            for signature in self.signatures:
                free_profiles = signature.free_profiles
                if free_profiles:  # It has none while its type is paused.
                    del free_profiles[self]
                    if not free_profiles and signature.waiting:
                        closed += 1
        return closed

    def sample(self, most: int) -> list[Agent]:
        """Up to ``most`` free agents: all, or others each time."""
        free = self.free_agents
        if len(free) <= most:
            return free.copy()
        begin = self.sampled % len(free)
        self.sampled = begin + most
        found = free[begin : begin + most]
        return found + free[: most - len(found)]

    def least_loaded(self) -> Agent | None:
        """The free agent with the smallest share of its slots taken.

        What an agent got since it was entered is found out when its entry comes up.
        """
        free = self.free
        while free:
            load, index, stamp, agent = free[0]
            if agent.free_stamp != stamp or not agent.available or agent.profile is not self:
                heappop(free)
                continue
            actual = len(agent.leases) / agent.slots
            if actual == load:
                return agent
            heapreplace(free, (actual, index, stamp, agent))
        return None

    def least_loaded_besides(self, shunned: AbstractSet[str]) -> Agent | None:
        """The free agent with the smallest load that is not among ``shunned`` (agent ids)."""
        passed = []
        while (agent := self.least_loaded()) is not None and agent.agent_id in shunned:
            passed.append(heappop(self.free))
        for entry in passed:
            heappush(self.free, entry)
        return agent

    def enter(self, agent: Agent) -> None:
        """Enter a free agent under its present load."""
        agent.free_stamp += 1
        if len(self.free) > 4 * len(self.agents) + 64:
            self.free = [entry for entry in self.free if entry[3].free_stamp == entry[2]]
            heapify(self.free)
        heappush(self.free, (len(agent.leases) / agent.slots, agent.index, agent.free_stamp, agent))


class Fleet:
    """All agents of a namespace."""

    __slots__ = (
        "_count",
        "_matching",
        "_of_capability",
        "_queue",
        "agents",
        "gone",
        "of_index",
        "of_type",
        "paused",
        "profiles",
        "sessions",
        "unacked_bytes_max",
    )

    def __init__(self, queue: Queue, unacked_bytes_max: int = 16 << 20) -> None:
        self._queue = queue
        self.unacked_bytes_max = unacked_bytes_max
        self._count = 0
        self._matching: deque[Iterator[tuple[Signature, Profile]]] = deque()
        self._of_capability: dict[str, dict[Profile, None]] = {}
        self.of_type: dict[str, dict[Signature, None]] = {}  # The requirements of live tasks.
        self.agents: dict[str, Agent] = {}
        self.gone: dict[str, Agent] = {}  # Disconnected ones, the longest gone first.
        self.of_index: dict[int, Agent] = {}
        self.paused: dict[str, None] = {}  # Task types that nobody is offered, in the order of pausing.
        self.sessions: dict[SessionId, Agent] = {}
        self.profiles: dict[ProfileKey, Profile] = {}

    def add(self, agent_id: str) -> Agent:
        """Make a new agent known."""
        self._count += 1
        agent = self.agents[agent_id] = self.of_index[self._count] = Agent(agent_id, self._count)
        return agent

    def forget(self, agent: Agent) -> None:
        """Forget a disconnected agent."""
        del self.agents[agent.agent_id]
        self.gone.pop(agent.agent_id, None)
        del self.of_index[agent.index]

    def leave(self, agent: Agent) -> None:
        """Take a disconnected agent out of its profile; it is listed a while."""
        self.gone[agent.agent_id] = agent
        if agent.profile is not None:
            self._withdraw(agent, agent.profile)

    def offer(self, agent: Agent, capabilities: frozenset[str], labels: dict[str, str]) -> None:
        """Set what an agent offers."""
        agent.capabilities = capabilities
        agent.labels = labels
        key = (capabilities, tuple(sorted(labels.items())))
        old = agent.profile
        if old is not None and old.key == key:
            return
        if old is not None:
            self._withdraw(agent, old)
        profile = self.profiles.get(key)
        if profile is None:
            profile = self.profiles[key] = Profile(key)
            for capability in capabilities:
                self._of_capability.setdefault(capability, {})[profile] = None
            self._matching.append(self._pairs_of_profile(profile))
        profile.agents[agent.agent_id] = agent
        agent.profile = profile
        self.refresh(agent)

    def _withdraw(self, agent: Agent, profile: Profile) -> None:
        if agent.available:
            self._queue.open_signatures -= profile.spend(agent)
        agent.free_stamp += 1
        agent.profile = None
        del profile.agents[agent.agent_id]
        if profile.agents:
            return
        del self.profiles[profile.key]
        for capability in profile.capabilities:
            holders = self._of_capability[capability]
            del holders[profile]
            if not holders:
                del self._of_capability[capability]
        for signature in profile.signatures:
            del signature.profiles[profile]
        profile.signatures.clear()

    def refresh(self, agent: Agent) -> None:
        """Tell that the agent's state, slots or leases changed."""
        profile = agent.profile
        if profile is None:
            return
        if (
            agent.state is CONNECTED
            and len(agent.leases) < agent.slots
            and agent.unacked_bytes < self.unacked_bytes_max
        ):
            profile.enter(agent)
            if not agent.available:
                self._gain(profile, agent)
        elif agent.available:
            agent.free_stamp += 1
            self._queue.open_signatures -= profile.spend(agent)

    def granted(self, agent: Agent) -> None:
        """Tell that the agent got an attempt more: it may have no room for another."""
        if len(agent.leases) >= agent.slots or agent.unacked_bytes >= self.unacked_bytes_max:
            self.refresh(agent)

    def _gain(self, profile: Profile, agent: Agent) -> None:
        profile.gain(agent)
        if len(profile.free_agents) == 1:
            for signature in profile.signatures:
                if not signature.is_paused:
                    free_profiles = signature.free_profiles
                    free_profiles[profile] = None
                    if signature.waiting and len(free_profiles) == 1:
                        self._queue.open(signature)

    def watch_for(self, signature: Signature) -> None:
        """Match a new signature against the fleet, in the turns to come."""
        task_type = signature.requirement[0]
        self.of_type.setdefault(task_type, {})[signature] = None
        signature.is_paused = task_type in self.paused
        signature.is_watched = True
        self._matching.append(self._pairs_of_signature(signature))

    def unwatch(self, signature: Signature) -> None:
        """Forget a signature that no live task has."""
        signature.is_watched = False
        task_type = signature.requirement[0]
        of_type = self.of_type[task_type]
        del of_type[signature]
        if not of_type:
            del self.of_type[task_type]
        for profile in signature.profiles:
            profile.signatures.pop(signature, None)
        signature.profiles.clear()
        signature.free_profiles.clear()

    def _pairs_of_profile(self, profile: Profile) -> Iterator[tuple[Signature, Profile]]:
        # In the order of the types, for sets of strings have none.
        for capability in sorted(profile.capabilities):
            for signature in list(self.of_type.get(capability, ())):
                yield signature, profile

    def _pairs_of_signature(self, signature: Signature) -> Iterator[tuple[Signature, Profile]]:
        for profile in list(self._of_capability.get(signature.requirement[0], ())):
            yield signature, profile

    def match_some(self, pairs_max: int) -> bool:
        """Match up to ``pairs_max`` pairs of requirement and profile. Answers whether all are done."""
        left = pairs_max
        while self._matching:
            pairs = self._matching[0]
            for signature, profile in islice(pairs, left):
                left -= 1
                if _match(signature, profile) and signature.waiting and len(signature.free_profiles) == 1:
                    self._queue.open(signature)
            if left <= 0:
                return False
            left -= 1  # For the search itself, or many that find nothing would cost nothing.
            self._matching.popleft()
        return True

    def candidates(self, signature: Signature) -> list[Agent]:
        """The least loaded free agent of each of up to CANDIDATES_MAX profiles, in rotation."""
        if len(signature.free_profiles) == 1:
            (profile,) = signature.free_profiles
            if len(profile.free_agents) == 1:
                return profile.free_agents.copy()
            agent = profile.least_loaded()
            return [] if agent is None else [agent]
        found = []
        for profile in list(islice(signature.free_profiles, CANDIDATES_MAX)):
            agent = profile.least_loaded()
            if agent is not None:
                found.append(agent)
        if len(signature.free_profiles) > CANDIDATES_MAX:
            first = next(iter(signature.free_profiles))
            del signature.free_profiles[first]
            signature.free_profiles[first] = None
        return found

    def sample(self, signature: Signature) -> list[Agent]:
        """Up to CANDIDATES_MAX free agents that satisfy the signature, of all profiles alike."""
        profiles = signature.free_profiles
        if len(profiles) == 1:
            (profile,) = profiles
            return profile.sample(CANDIDATES_MAX)
        if len(profiles) <= CANDIDATES_MAX:
            each = CANDIDATES_MAX // (len(profiles) or 1)
            found = [agent for profile in profiles for agent in profile.sample(each)]
        else:
            first = list(islice(profiles, CANDIDATES_MAX))
            found = [agent for profile in first for agent in profile.sample(1)]
            for profile in first:
                del profiles[profile]
                profiles[profile] = None
        return found

    def capable(self, signature: Signature, most: int) -> Iterator[Agent]:
        """Connected agents that satisfy a requirement, whether it is matched yet or not; at most ``most``."""
        found = 0
        for profile in self._of_capability.get(signature.requirement[0], ()):
            if not profile.satisfies(signature):
                continue
            for agent in profile.agents.values():
                if found >= most:
                    return
                if agent.state is AgentState.CONNECTED:
                    found += 1
                    yield agent

    def count_capable(self, signature: Signature, most: int) -> int:
        """How many agents satisfy a requirement, counted up to ``most``."""
        return sum(1 for _ in self.capable(signature, most))

    def free_besides(self, signature: Signature, shunned: AbstractSet[str]) -> Agent | None:
        """A free agent that satisfies the signature and is not among ``shunned`` (agent ids)."""
        # Each of the shunned spoils one profile at most.
        for profile in islice(signature.free_profiles, len(shunned) + 1):
            agent = profile.least_loaded_besides(shunned)
            if agent is not None:
                return agent
        return None

    def is_offered_besides(self, signature: Signature, shunned: AbstractSet[str]) -> bool:
        """Whether an agent that is not among ``shunned`` could get it, busy ones included.

        Looks at a bounded number of agents, so it may miss one behind many that are about to leave.
        """
        agents = (agent for profile in signature.profiles for agent in profile.agents.values())
        return any(
            agent.state is AgentState.CONNECTED and agent.slots > 0 and agent.agent_id not in shunned
            for agent in islice(agents, len(shunned) + OTHERS_MAX)
        )


def _match(signature: Signature, profile: Profile) -> bool:
    """Tie a requirement and a profile that satisfies it. Answers whether that gave it free agents."""
    if not signature.is_watched or not profile.agents or signature in profile.signatures:
        return False  # One of the two is gone, or the other one's turn matched them.
    if not profile.satisfies(signature):
        return False
    profile.signatures[signature] = None
    signature.profiles[profile] = None
    if not profile.free_agents or signature.is_paused:
        return False
    signature.free_profiles[profile] = None
    return True
