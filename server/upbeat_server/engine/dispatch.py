"""Joins queue and fleet: hands out work, once a turn.

Task first, then agent: the best task over all lanes that have a free agent is
picked, class by class, then an agent for it. So no agent gets a task of a lower
class while one of a higher class that it could do waits - but for the overdue
lane: every 8th turn of an agent goes to the head of a fair order that has waited
longer than its class may, if there is one.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from upbeat_server.engine import hedging, leases
from upbeat_server.engine.collaboration import accounts
from upbeat_server.engine.model import SideEffects, TaskState
from upbeat_server.engine.queue import CLASSES
from upbeat_server.engine.timers import WAKE_NEVER

if TYPE_CHECKING:
    from upbeat_server.engine.agent import Agent
    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.task import Task

QUEUED = TaskState.QUEUED
NONE = SideEffects.NONE

HAND_OUTS_MAX = 4_096
"""Tasks handed out in one turn, so that nothing else waits long; the next turn follows at once."""

PAIRS_MAX = 1_000
"""Requirements matched against profiles in one turn."""

ASIDE_MAX = 1_000
"""Tasks of one requirement that wait for an agent that has not failed them; beyond, any will do."""

ASIDE_TURN_MAX = 32
"""Tasks that are offered again in one turn after they stepped aside."""

ASIDE_RETRY_MS = 1_000


def dispatch(engine: Engine, now_ms: int, pressure: float = 0.0) -> None:
    """Hand out what can be handed out."""
    engine.turn_wanted_ms = 0
    engine.choice.begin_turn(pressure)
    if not engine.fleet.match_some(PAIRS_MAX):
        engine.turn_wanted_ms = now_ms
    recalled = _recall_aside(engine, now_ms) if engine.asides else 0
    if engine.held:
        _reconsider_held(engine)
    left = HAND_OUTS_MAX
    queue, depths = engine.queue, engine.queue.depth_by_priority
    for priority in CLASSES:
        best = queue.ready[priority].best
        while left and depths[priority] and queue.open_signatures:
            task = best()
            if task is None:
                break
            left -= 1
            if not _hand_out(engine, task, now_ms):
                recalled -= 1
    if not left or (recalled > 0 and engine.asides):
        engine.turn_wanted_ms = now_ms
    # If another turn follows at once, what it hands out goes first.
    if engine.hedges.due_ms < WAKE_NEVER and engine.turn_wanted_ms != now_ms:
        hedging.end_turn(engine, now_ms)


def _hand_out(engine: Engine, task: Task, now_ms: int) -> bool:
    """Hand out the task that goes first; False if it stepped aside, or waits for a better agent."""
    if task.member_of is not None and not _within_budget(engine, task, now_ms):
        return False
    choice = engine.choice
    agent = _sticky(engine, task, now_ms) if task.spec.sticky_key else None
    if agent is None:
        agent = choice.follow(task)
    if agent is None:
        candidates = choice.candidates(task)
        if task.rejections or task.record.failed_agents or task.panel:
            candidates = _acceptable(engine, task, candidates, now_ms)
            if not candidates:
                _set_aside(engine, task, now_ms)
                return False
        agent = choice.pick(task, candidates, now_ms)
        if agent is None:
            _hold(engine, task, now_ms)
            return False
    if not (agent.turn + agent.index) % engine.limits.ordering.overdue_turn:
        overdue = _overdue_head(engine, agent, now_ms)
        if overdue is not None and overdue is not task:
            task = overdue
            task.is_sticky = False
            if task.member_of is not None and not _within_budget(engine, task, now_ms):
                return False
    leases.grant(engine, task, agent, now_ms)
    if task.spec.side_effects == NONE and hedging.may_hedge(task):
        hedging.watch(engine, task, agent, now_ms)
    if task.spec.sticky_key:
        engine.sticky.remember(task.spec.sticky_key, agent)
    return True


def _sticky(engine: Engine, task: Task, now_ms: int) -> Agent | None:
    """The agent that the task's sticky key prefers; None if there is none that may get it now."""
    task.is_sticky = False
    agent = engine.sticky.agent_of(task)
    if agent is None or engine.choice.is_out(task.spec.type, agent):
        return None
    if agent.agent_id in _unwilling(task, now_ms).union(task.record.failed_agents):
        return None
    task.is_sticky = True
    task.chosen = None
    return agent


def _hold(engine: Engine, task: Task, now_ms: int) -> None:
    """The task waits for a better agent, and so does its lane: what comes after it would decide alike."""
    if task.bin is not None:
        engine.queue.ready[task.spec.priority].pass_over(task.bin.lane)
    engine.held[task.signature] = None
    hold_ms = engine.limits.choice.hold_ms
    until_ms = task.held_since_ms + hold_ms
    if until_ms <= now_ms:
        until_ms = now_ms + hold_ms  # It waits longer, as it does for one that does not fail.
    engine.turn_wanted_ms = min(engine.turn_wanted_ms or until_ms, until_ms)


def _reconsider_held(engine: Engine) -> None:
    """Every turn what was held is looked at again, for something may have changed."""
    held = engine.held
    engine.held = {}
    for signature in held:
        engine.queue.offer_all(signature)


def _within_budget(engine: Engine, task: Task, now_ms: int) -> bool:
    """Whether the budgets above a child have room for an attempt; if not, it waits or has failed."""
    if task.member_of is None or not task.member_of.is_bounded:
        return True
    room, group = accounts.room_for(task.member_of)
    if room is accounts.Room.LATER:
        _set_aside(engine, task, now_ms)
    elif room is accounts.Room.NEVER:
        group.short = accounts.exhausted(group)
        engine.fail(task, group.short, now_ms)
        engine.turn_wanted_ms = now_ms  # What its collaboration makes of that is handed out next.
    return room is accounts.Room.YES


def _acceptable(engine: Engine, task: Task, candidates: list[Agent], now_ms: int) -> list[Agent]:
    """Candidates that have neither failed the task nor given it back lately, nor have a sibling's seat.

    That an agent failed it is a preference: it is dropped when no other agent is left. Costs
    as much as agents failed the task or gave it back, however large the fleet is.
    """
    unwilling = _unwilling(task, now_ms)
    shunned = unwilling.union(task.record.failed_agents)
    found = [agent for agent in candidates if agent.agent_id not in shunned]
    if found or not shunned:
        return found
    fleet, signature = engine.fleet, task.signature
    another = fleet.free_besides(signature, shunned)
    if another is not None:
        return [another]
    if len(signature.aside) < ASIDE_MAX and fleet.is_offered_besides(signature, shunned):
        return []
    another = fleet.free_besides(signature, unwilling)
    return [another] if another is not None else []


def _unwilling(task: Task, now_ms: int) -> set[str]:
    """Agents that gave the task back lately, or sit on its panel."""
    unwilling: set[str] = set()
    if task.rejections:
        unwilling |= {agent_id for agent_id, (_, until_ms) in task.rejections.items() if now_ms < until_ms}
    if task.member_of is not None and task.panel:
        unwilling |= task.member_of.taken_seats(task.record.member)
    return unwilling


def _set_aside(engine: Engine, task: Task, now_ms: int) -> None:
    """No free agent suits the task: it steps aside, so that those behind it can go."""
    engine.queue.remove(task)
    task.signature.aside[task] = None
    engine.asides[task.signature] = None
    if not engine.turn_wanted_ms:
        engine.turn_wanted_ms = now_ms + ASIDE_RETRY_MS


def _recall_aside(engine: Engine, now_ms: int) -> int:
    """Offer some of the tasks that stepped aside again, the longest waiting first. Answers how many."""
    recalled = 0
    for signature in list(engine.asides):
        aside = signature.aside
        if signature.free_profiles:
            for task in list(islice(aside, ASIDE_TURN_MAX - recalled)):
                recalled += 1
                del aside[task]
                engine.queue.push(task, engine.predictor.type_ms(task.spec.type))
        del engine.asides[signature]
        if aside:
            engine.asides[signature] = None  # Last of all: every requirement has its turn.
            engine.turn_wanted_ms = engine.turn_wanted_ms or now_ms + ASIDE_RETRY_MS
        if recalled >= ASIDE_TURN_MAX:
            break
    return recalled


def _overdue_head(engine: Engine, agent: Agent, now_ms: int) -> Task | None:
    """The longest overdue head of a fair order that the agent could take; of equals that of the higher class.

    Lanes are looked at only in classes where a task may have waited for too long, and for longer than
    the longest overdue head of those before: mostly in none, and in a long backlog in one.
    """
    if agent.profile is None:
        return None
    ordering, queue = engine.limits.ordering, engine.queue
    best: Task | None = None
    best_due_ms = now_ms
    for priority in CLASSES:
        limit_ms = ordering.overdue_ms(priority)
        if not limit_ms or queue.queued_since_ms(priority) + limit_ms >= best_due_ms:
            continue
        for signature in agent.profile.signatures:
            lane = signature.lanes.get(priority)
            first = None if lane is None or signature.is_paused else lane.first()
            if first is None:
                continue
            head = first[1]
            due_ms = head.record.queued_since_ms + limit_ms
            if due_ms < best_due_ms and agent in _acceptable(engine, head, [agent], now_ms):
                best, best_due_ms = head, due_ms
    return best
