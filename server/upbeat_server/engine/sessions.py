"""Sessions: agents come, are heard, fall silent, leave and come back.

A newer session of an agent fences the older one. A stream that ends without
goodbye makes its agent suspect: nothing new, its leases are kept for a grace. A
goodbye gives the work back at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine import learned, leases, reasons, results
from upbeat_server.engine.agent_machine import AgentInput, next_agent_state
from upbeat_server.engine.bus import delivery, publishing, subscribing
from upbeat_server.engine.commands import AgentAnswered, EndSession, HelloRefused, TellDrain, Welcome
from upbeat_server.engine.model import NO_SESSION, AgentState, Error, Refusal, SideEffects

if TYPE_CHECKING:
    from upbeat_server.engine.agent import Agent
    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.events import AgentConnected, AgentDrainWanted, AgentFrame, SessionEnded
    from upbeat_server.engine.task import Task

SUSPECT = AgentState.SUSPECT
RETRY_AGENTS_MS = 5_000
FENCED_SESSIONS_KEPT = 8
AGENT_LEFT = "the agent said goodbye"


def connect(engine: Engine, event: AgentConnected, now_ms: int) -> None:
    """Open a session: fence an older one, adopt what the agent still holds, return the rest."""
    agent = engine.fleet.agents.get(event.agent_id)
    if agent is None:
        if not _has_room(engine):
            engine.commands.append(HelloRefused(event.origin, _agents_exhausted(engine)))
            return
        agent = engine.fleet.add(event.agent_id)
        agent.name = event.name
        learned.inherit(engine, agent, event.capabilities)
    elif event.session_id in agent.fenced_sessions:
        engine.commands.append(HelloRefused(event.origin, _fenced(event.agent_id)))
        return
    if agent.session_id != NO_SESSION:
        engine.commands.append(EndSession(agent.session_id, reasons.FENCED))
        subscribing.outlet_left(engine, agent.session_id)
        del engine.fleet.sessions[agent.session_id]
    resumed = event.session_id != NO_SESSION and event.session_id == agent.last_session_id
    if not resumed:
        agent.drain_wanted = False
    if not resumed and agent.last_session_id != NO_SESSION:
        # Whoever lived under the last session may not know yet that it was taken over.
        agent.fenced_sessions = (agent.last_session_id, *agent.fenced_sessions)[:FENCED_SESSIONS_KEPT]
    engine.fleet.gone.pop(agent.agent_id, None)
    agent.session_id = agent.last_session_id = engine.next_session()
    engine.fleet.sessions[agent.session_id] = agent
    agent.name = event.name
    agent.slots = event.slots
    agent.sdk_version = event.sdk_version
    agent.connect_ms = agent.last_seen_ms = now_ms
    agent.state = next_agent_state(agent.state, AgentInput.CONNECT)
    if agent.drain_wanted:
        agent.state = next_agent_state(agent.state, AgentInput.DRAIN)
    dropped = _reconcile(engine, agent, event, now_ms, resumed=resumed)
    engine.fleet.offer(agent, frozenset(event.capabilities), event.labels)
    engine.fleet.refresh(agent)
    engine.arm_agent(agent, now_ms + engine.limits.graces.suspect_after_ms)
    engine.commands.append(Welcome(event.origin, agent.session_id, resumed, dropped, agent.drain_wanted))
    engine.agent_changed(agent)


def _reconcile(
    engine: Engine, agent: Agent, event: AgentConnected, now_ms: int, *, resumed: bool
) -> list[int]:
    """Bring both sides to one view of the agent's leases. Answers those it should drop.

    That it does not hold a lease says that the work was not begun only if the process that was
    given it is the one that speaks. After a restart whoever names a session is believed to be.
    """
    held = dict.fromkeys(event.held_leases)
    for lease_id, task in list(agent.leases.items()):
        if task is None:
            del agent.leases[lease_id]  # Its session ended: the slot is free, the work unwanted.
            engine.quotas.answered(lease_id, now_ms)
            leases.let_go(engine, agent, lease_id)
        elif lease_id not in held:
            del agent.leases[lease_id]
            leases.return_or_lose(engine, task, "its agent came back without it", now_ms, is_heard=resumed)
        else:
            leases.taken(engine, task)
    dropped = [
        lease_id
        for lease_id in held
        if lease_id not in agent.leases and not leases.adopt(engine, agent, lease_id, now_ms)
    ]
    for task_id in list(engine.unadopted.get(agent.agent_id, ())):
        task = engine.tasks[task_id]
        may_be_begun = task.record.acked or event.session_id == NO_SESSION
        if may_be_begun and task.spec.side_effects == SideEffects.UNSAFE:
            leases.lose(engine, task, "its agent came back without it", now_ms)
        else:
            why = "its agent came back after a restart and never had it"
            leases.give_back(engine, task, Error(reasons.NOT_ACKNOWLEDGED, why), now_ms)
    return dropped


def _has_room(engine: Engine) -> bool:
    fleet = engine.fleet
    if len(fleet.agents) < engine.limits.bounds.agents_max:
        return True
    for agent in fleet.gone.values():  # The one that left first makes room.
        forget(engine, agent)
        return True
    return False


def _fenced(agent_id: str) -> Refusal:
    return Refusal(
        reasons.FENCED,
        f"a newer stream of agent {agent_id!r} took this session over: do not reconnect",
        {"agent_id": agent_id},
    )


def _agents_exhausted(engine: Engine) -> Refusal:
    limit = engine.limits.bounds.agents_max
    return Refusal(
        reasons.AGENTS_EXHAUSTED,
        f"the namespace has {limit:,} agents, which is its limit (agents_max): try again later",
        {"bound": "agents_max", "limit": str(limit)},
        retry_ms=RETRY_AGENTS_MS,
    )


def hear(engine: Engine, frame: AgentFrame, now_ms: int) -> None:
    """One frame, its fields in their order. A frame of a session that ended is too late."""
    agent = engine.fleet.sessions.get(frame.session_id)
    if agent is None:
        return
    agent.last_seen_ms = now_ms
    if agent.state is SUSPECT:
        _become(engine, agent, AgentInput.HEAR)
        if agent.drain_wanted:
            _become(engine, agent, AgentInput.DRAIN)
        engine.arm_agent(agent, now_ms + engine.limits.graces.suspect_after_ms)
    if frame.slots >= 0 and frame.slots != agent.slots:
        agent.slots = frame.slots
        engine.fleet.refresh(agent)
        engine.agent_changed(agent)
    for ack in frame.acks:
        leases.acknowledge(engine, agent, ack, now_ms)
    for said in frame.progress:
        leases.progress(engine, agent, said)
    for publish in frame.publishes:
        publishing.publish_from_agent(engine, agent, publish, now_ms)
    for subscribe in frame.subscribes:
        subscribing.subscribe_agent(engine, agent, subscribe)
    if frame.delivery_acks:
        delivery.acknowledge(engine, agent.session_id, frame.delivery_acks)
    if frame.results:
        results.report(engine, agent, frame.results, now_ms)
    if frame.changes:
        _change_capabilities(engine, agent, frame)
    if frame.drain:
        drain(engine, agent)
    if frame.goodbye:
        _part(engine, agent, now_ms)


def _change_capabilities(engine: Engine, agent: Agent, frame: AgentFrame) -> None:
    capabilities = set(agent.capabilities)
    for change in frame.changes:
        if change.removed:
            capabilities.discard(change.capability)
        else:
            capabilities.add(change.capability)
    engine.fleet.offer(agent, frozenset(capabilities), agent.labels)
    engine.agent_changed(agent)


def drain(engine: Engine, agent: Agent) -> None:
    """Nothing new for the agent until its process connects anew."""
    agent.drain_wanted = True
    _become(engine, agent, AgentInput.DRAIN)


def drain_wanted(engine: Engine, event: AgentDrainWanted) -> None:
    """An operator drains an agent."""
    agent = engine.fleet.agents.get(event.agent_id)
    if agent is None:
        refusal = Refusal(
            reasons.AGENT_NOT_FOUND,
            f"the namespace {engine.namespace!r} has no agent {event.agent_id!r}",
            {"agent_id": event.agent_id},
        )
        engine.commands.append(AgentAnswered(event.origin, None, refusal))
        return
    drain(engine, agent)
    if agent.session_id != NO_SESSION:
        engine.commands.append(TellDrain(agent.session_id))
    engine.commands.append(AgentAnswered(event.origin, agent, None))


def _become(engine: Engine, agent: Agent, agent_input: AgentInput) -> None:
    state = next_agent_state(agent.state, agent_input)
    if state is not agent.state:
        agent.state = state
        engine.fleet.refresh(agent)
        engine.agent_changed(agent)


def _part(engine: Engine, agent: Agent, now_ms: int) -> None:
    """The agent said goodbye: its work goes back at once, its stream ends in peace."""
    engine.commands.append(EndSession(agent.session_id, ""))
    _close(engine, agent)
    for task in _release(engine, agent, now_ms):
        if task.record.acked:
            leases.lose(engine, task, AGENT_LEFT, now_ms)
        else:
            leases.give_back(engine, task, Error(reasons.AGENT_LEFT, AGENT_LEFT), now_ms)
    _settle_down(engine, agent, now_ms)


def end(engine: Engine, event: SessionEnded, now_ms: int) -> None:
    """A stream is gone. If there was no goodbye, its agent is suspect for a grace."""
    agent = engine.fleet.sessions.get(event.session_id)
    if agent is None:
        return
    _close(engine, agent)
    for lease_id, task in list(agent.leases.items()):
        if task is None:
            del agent.leases[lease_id]
            engine.quotas.answered(lease_id, now_ms)
            leases.let_go(engine, agent, lease_id)
    _become(engine, agent, AgentInput.MISS)
    engine.arm_agent(agent, now_ms + engine.limits.graces.disconnect_grace_ms)


def check_on(engine: Engine, agent: Agent, now_ms: int) -> None:
    """The agent's timer: suspect it when it is silent, take its leases when it stays so."""
    graces = engine.limits.graces
    if agent.state is AgentState.DISCONNECTED:
        forget(engine, agent)
    elif agent.session_id == NO_SESSION:
        _lose_all(engine, agent, "the stream of its agent ended", now_ms)
    elif now_ms >= agent.last_seen_ms + graces.lease_timeout_ms:
        engine.commands.append(EndSession(agent.session_id, reasons.SILENT))
        _close(engine, agent)
        _lose_all(engine, agent, "its agent fell silent", now_ms)
    elif now_ms >= agent.last_seen_ms + graces.suspect_after_ms:
        _become(engine, agent, AgentInput.MISS)
        engine.arm_agent(agent, agent.last_seen_ms + graces.lease_timeout_ms)
    else:
        engine.arm_agent(agent, agent.last_seen_ms + graces.suspect_after_ms)


def _close(engine: Engine, agent: Agent) -> None:
    subscribing.outlet_left(engine, agent.session_id)
    del engine.fleet.sessions[agent.session_id]
    agent.session_id = NO_SESSION


def _release(engine: Engine, agent: Agent, now_ms: int) -> list[Task]:
    """Empty the agent's hands; answers the tasks whose current lease it held."""
    tasks = []
    for lease_id, task in agent.leases.items():
        if task is None:
            engine.quotas.answered(lease_id, now_ms)
            leases.let_go(engine, agent, lease_id)
        else:
            tasks.append(task)
    agent.leases.clear()
    return tasks


def _lose_all(engine: Engine, agent: Agent, why: str, now_ms: int) -> None:
    for task in _release(engine, agent, now_ms):
        leases.return_or_lose(engine, task, why, now_ms, is_heard=False)
    _settle_down(engine, agent, now_ms)


def _settle_down(engine: Engine, agent: Agent, now_ms: int) -> None:
    """Disconnected, and listed as such for a while."""
    _become(engine, agent, AgentInput.LEAVE)
    engine.fleet.leave(agent)
    engine.arm_agent(agent, now_ms + engine.limits.graces.forget_agent_ms)


def forget(engine: Engine, agent: Agent) -> None:
    """A disconnected agent is listed no longer."""
    engine.arm_agent(agent, 0)
    engine.fleet.forget(agent)


def end_adoption(engine: Engine, now_ms: int) -> None:
    """The grace after a restart is over: leases nobody came back with are lost."""
    for task_ids in list(engine.unadopted.values()):
        for task_id in list(task_ids):
            task = engine.tasks[task_id]
            leases.lose(engine, task, "its agent did not come back after a restart", now_ms)
    engine.unadopted.clear()
