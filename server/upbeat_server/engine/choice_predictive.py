"""The default policy: the free agent that should be done first.

What counts is the time until a task is done: the expected run on the agent, longer by what has to be
tried again where attempts fail. Agents that are much worse at a type than others (``slow_factor``), because
they are slow or because they fail, are *out* for it: they get a probe now and then, one at a time and short
as work of the type goes, and are in again when the probes say so. A task is held when a busy agent should
finish it sooner by ``hold_factor`` than the best free one would - for a while, and only while few tasks wait.
However many wait, it lets work of another type go first that the agent is better at.
"""

from __future__ import annotations

from itertools import islice
from math import exp, log
from typing import TYPE_CHECKING

import msgspec

from upbeat_server.engine.choice import LeastLoaded
from upbeat_server.engine.model import AgentState, SideEffects

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from upbeat_server.engine.agent import Agent
    from upbeat_server.engine.effects import Level
    from upbeat_server.engine.fleet import Fleet
    from upbeat_server.engine.limits import ChoiceRules
    from upbeat_server.engine.predictor import Predictor
    from upbeat_server.engine.task import Task

LOAD_WEIGHT = 0.1
"""What a full agent loses to an idle one, in log space: equals share the work."""

FAILING_MOST = 0.98
"""Beyond it agents are alike: where all of a type fails, what is left is chance."""

FAILING_OPEN = 0.5
"""An agent that fails more than this and is out gets no work at all but probes, however much waits."""

LOG_SWAP = log(1.25)
"""By how much, in log space, an agent has to be better at other work that waits to be left to it."""

OTHERS_LOOKED_AT_MAX = 16
"""Requirements looked at for such work."""

PROBE_LONGER = 0.1
"""By how much, in log space, a probe may be expected to take longer than usual work of its type."""

PROBE_LATE_TURNS = 10
"""A probe that is late by so many times ``probe_turns`` is made with whatever comes."""

OVERRUN = 2.0
"""Times the usual run of its size, after which an attempt is looked at."""

BUSY_LOOKED_AT_MAX = 64
HOLD_WORTH_MS = 250.0
"""Runs that are shorter are not worth a wait."""

CONNECTED = AgentState.CONNECTED
UNSAFE = SideEffects.UNSAFE


class Reasons(msgspec.Struct, frozen=True, gc=False):
    """Why an agent was picked; times in ms, ``next_ms`` 0: there was no other."""

    expected_ms: float
    next_ms: float
    held_ms: int
    is_probe: bool = False
    is_hedge: bool = False


class Predictive(LeastLoaded):
    """See above. The least loaded that is not out for tiny tasks, and while nothing is known of a type."""

    def __init__(self, fleet: Fleet, predictor: Predictor, rules: ChoiceRules) -> None:
        super().__init__(fleet, predictor)
        self._rules = rules
        self._log_slow = log(rules.slow_factor)
        self._log_hold = rules.log_hold
        self._picks = 0  # Tasks that an agent was looked for; one that is held counts once.
        self._sound_one: Agent | None = None  # The only candidate of the last task, if it is not out.

    def candidates(self, task: Task) -> list[Agent]:
        """See Choice. If the least loaded is out (it fails at once), others are wanted."""
        self._sound_one = None
        task_type = task.spec.type
        if self._tiny[task_type]:
            found = self._fleet.candidates(task.signature)
            level = self._predictor.levels.get(task_type)
            if len(found) == 1:
                agent = found[0]
                if level is None or not self._is_out(task_type, level, agent):
                    self._sound_one = agent
                    return found
            if level is None or self._sound(task_type, level, found):
                return found
        return self._fleet.sample(task.signature)

    def pick(self, task: Task, candidates: list[Agent], now_ms: int) -> Agent | None:
        """See Choice."""
        if candidates[0] is self._sound_one and len(candidates) == 1:
            agent = candidates[0]
            self._picks += 1
            agent.probe_due = self._picks + self._rules.probe_turns
            task.chosen = None
            self._begin_chunk(task, agent)  # It is tiny, see above.
            return agent
        level = self._predictor.levels.get(task.spec.type)
        if level is None:
            return super().pick(task, candidates, now_ms)
        if not level.runs or self._tiny[task.spec.type]:
            return self._pick_by_load(task, candidates, level, now_ms)
        return self._pick_by_value(task, candidates, level, now_ms)

    def _pick_by_load(self, task: Task, candidates: list[Agent], level: Level, now_ms: int) -> Agent | None:
        """Of the agents that are not out the least loaded; a probe is one task and no chunk."""
        spec = task.spec
        if not task.held_since_ms:
            self._picks += 1
        sound = self._sound(spec.type, level, candidates)
        if len(sound) < len(candidates):
            log_ms = level.expected(spec.size_hint)
            for agent in candidates:
                if agent not in sound and self._is_probe(task, agent, level, log_ms):
                    ms = self._predictor.run_ms(spec.type, agent.agent_id, spec.size_hint)
                    return self._take(task, agent, Reasons(ms, 0.0, 0, is_probe=True))
        if not sound:
            least_bad = min(candidates, key=lambda agent: self._value(spec.type, agent.agent_id))
            awaited = self._better_to_wait_for(task, level, least_bad, now_ms)
            if awaited is not None:
                _hold(task, awaited, now_ms)
                return None
            sound = [least_bad]
        picked = super().pick(task, sound, now_ms)
        if picked is not None:
            picked.probe_due = self._picks + self._rules.probe_turns
        return picked

    def _pick_by_value(self, task: Task, candidates: list[Agent], level: Level, now_ms: int) -> Agent | None:
        """The agent that should be done first, or None for one that is busy and will be sooner."""
        spec = task.spec
        if not task.held_since_ms:
            self._picks += 1
        log_ms = level.expected(spec.size_hint) if spec.size_hint else level.log_ms
        out_from = self._out_from(level) if level.failing else self._log_slow
        best: Agent | None = None
        least_bad, least_bad_value = candidates[0], out_from + 1e9
        best_score = best_value = next_value = least_bad_value
        predictor, task_type = self._predictor, spec.type
        effects, cells, streaks = predictor.agents, predictor.cells, predictor.streaks.by_agent
        for agent in candidates:
            agent_id = agent.agent_id  # Here most of the time of a choice goes: _value without a call.
            effect, cell = effects.get(agent_id), cells.get((task_type, agent_id))
            value = 0.0 if effect is None else effect.value
            if agent_id in streaks or (cell is not None and cell.failing):
                value = self._value(task_type, agent_id)
            elif cell is not None:
                value += cell.effect.value
            if value > out_from:
                if self._is_probe(task, agent, level, log_ms):
                    return self._take(task, agent, Reasons(exp(log_ms + value), 0.0, 0, is_probe=True))
                if value < least_bad_value:
                    least_bad, least_bad_value = agent, value
                continue
            score = value + LOAD_WEIGHT * len(agent.leases) / agent.slots
            if score < best_score:
                best, best_score, best_value, next_value = agent, score, value, best_value
            elif value < next_value:
                next_value = value
        if best is None:
            awaited = self._better_to_wait_for(task, level, least_bad, now_ms)
            if awaited is not None:
                _hold(task, awaited, now_ms)
                return None
            best, best_value, next_value = least_bad, least_bad_value, out_from + 1e9
        elif best_value - level.fastest > self._log_hold and _may_hold(task, self._rules, now_ms):
            free_ms = exp(log_ms + best_value)
            awaited = self._worth_waiting_for(task, level, free_ms, now_ms)
            if awaited is not None:
                _hold(task, awaited, now_ms)
                return None
        elif best_value - level.fastest > LOG_SWAP and self._is_better_used(task, best, best_value, now_ms):
            _hold(task, None, now_ms)
            return None
        next_ms = exp(log_ms + next_value) if next_value <= out_from else 0.0
        held_ms = now_ms - task.held_since_ms if task.held_since_ms else 0
        return self._take(task, best, Reasons(exp(log_ms + best_value), next_ms, held_ms))

    def is_out(self, task_type: str, agent: Agent) -> bool:
        """See Choice."""
        level = self._predictor.levels.get(task_type)
        return level is not None and self._is_out(task_type, level, agent)

    def _is_out(self, task_type: str, level: Level, agent: Agent) -> bool:
        return self._value(task_type, agent.agent_id) > (
            self._out_from(level) if level.failing else self._log_slow
        )

    def _sound(self, task_type: str, level: Level, agents: Iterable[Agent]) -> list[Agent]:
        """Those that are not out for a type."""
        return [agent for agent in agents if not self._is_out(task_type, level, agent)]

    def _value(self, task_type: str, agent_id: str) -> float:
        """By how much the agent needs longer than an average one until such a task is done, in log space.

        That it is fast is no excuse for one that mostly fails: tasks have only so many attempts.
        """
        predictor = self._predictor
        effect = predictor.agents.get(agent_id)
        value = effect.value if effect is not None else 0.0
        cell = predictor.cells.get((task_type, agent_id))
        if cell is not None:
            value += cell.effect.value
        if predictor.streaks.by_agent or (cell is not None and cell.failing):
            failing = predictor.failing(task_type, agent_id)
            if failing > FAILING_OPEN:
                value = max(value, 0.0)
            if failing:
                value -= log(1 - min(failing, FAILING_MOST))
        return value

    def _out_from(self, level: Level) -> float:
        """From which value on an agent is out: where a type fails everywhere, nobody is for failing."""
        return self._log_slow - log(1 - min(level.failing, FAILING_MOST))

    def _is_probe(self, task: Task, agent: Agent, level: Level, log_ms: float) -> bool:
        """Whether an agent that is out gets this task to show what it can do now.

        Work that is long for its type would wait long for what a shorter task shows as well, so it is spared
        until the probe is so late that it seems there is none shorter.
        """
        late_turns = self._picks - agent.probe_due
        if agent.leases or late_turns < 0 or task.record.attempt or task.spec.side_effects == UNSAFE:
            return False
        if log_ms <= level.log_ms + PROBE_LONGER:
            return True
        return late_turns >= PROBE_LATE_TURNS * self._rules.probe_turns

    def _take(self, task: Task, agent: Agent, reasons: Reasons) -> Agent:
        agent.probe_due = self._picks + self._rules.probe_turns
        task.chosen = reasons
        return agent

    def _busy(self, task: Task) -> Iterator[Agent]:
        """Connected agents that could do the task and are full; of a large fleet some."""
        agents = (agent for profile in task.signature.profiles for agent in profile.agents.values())
        for agent in islice(agents, BUSY_LOOKED_AT_MAX):
            if agent.state is CONNECTED and 0 < agent.slots <= len(agent.leases):
                yield agent

    def _better_to_wait_for(self, task: Task, level: Level, least_bad: Agent, now_ms: int) -> Agent | None:
        """A busy agent that is not out, if a task that only agents would take that are out waits for one.

        It does as long as it would run on the slow one, so that those are used when there is more work than
        the others can do; and always if the other choice is one that fails.
        """
        task_type, record = task.spec.type, task.record
        awaited = next(
            (
                agent
                for agent in self._busy(task)
                if agent.agent_id not in record.failed_agents and not self._is_out(task_type, level, agent)
            ),
            None,
        )
        fails = self._predictor.failing(task_type, least_bad.agent_id) > FAILING_OPEN
        if awaited is None or (fails and not task.panel):
            return awaited
        out_ms = exp(level.expected(task.spec.size_hint) + self._value(task_type, least_bad.agent_id))
        is_early = now_ms - record.queued_since_ms < max(out_ms, self._rules.hold_ms)
        return awaited if is_early else None

    def _is_better_used(self, task: Task, agent: Agent, value: float, now_ms: int) -> bool:
        """Whether the agent is better at work of another type that waits, so that this task lets it go first.

        Of the same class and fairness key, and not much younger. The agent is not idle for it, so it is done
        however many tasks wait - then above all: it is what keeps agents with what they are good at.
        """
        hold_ms = self._rules.hold_ms
        bin_, profile = task.bin, agent.profile
        if bin_ is None or profile is None or (task.held_since_ms and now_ms >= task.held_since_ms + hold_ms):
            return False
        since_ms = task.record.queued_since_ms + hold_ms
        for signature in islice(profile.signatures, OTHERS_LOOKED_AT_MAX):
            lane = signature.lanes.get(bin_.lane.priority)
            if lane is None or not lane.listed or signature.is_paused:
                continue
            if value - self._value(signature.requirement[0], agent.agent_id) <= LOG_SWAP:
                continue
            found = lane.first()
            if found is not None and found[1].record.queued_since_ms <= since_ms:
                other = found[1]
                if other.spec.fairness_key == task.spec.fairness_key and not (
                    other.record.attempt or other.panel
                ):
                    return True
        return False

    def _worth_waiting_for(self, task: Task, level: Level, free_ms: float, now_ms: int) -> Agent | None:
        """A busy agent that should be done with it sooner by ``hold_factor`` than the best free one.

        One whose work overruns what was expected of it promises nothing.
        """
        if free_ms < HOLD_WORTH_MS:
            return None
        within_ms = free_ms / self._rules.hold_factor
        log_ms = level.expected(task.spec.size_hint)
        for agent in self._busy(task):
            run_ms = exp(log_ms + self._value(task.spec.type, agent.agent_id))
            if run_ms < within_ms and _wait_ms(agent, now_ms) + run_ms < within_ms:
                return agent
        return None

    def overrun_ms(self, task: Task, agent: Agent) -> int:
        """See Choice. Soon for an agent that is out, but not before a sound one would be done.

        Else a probe of one that is well again would lose to the second run, and never tell.
        """
        spec = task.spec
        level = self._predictor.levels.get(spec.type)
        if level is None or not level.runs:
            return 0
        usual_ms = exp(level.expected(spec.size_hint))
        if usual_ms < HOLD_WORTH_MS or self._tiny[spec.type]:
            return 0
        return round(usual_ms if self._is_out(spec.type, level, agent) else OVERRUN * usual_ms)

    def is_late(self, task: Task, agent: Agent, ran_ms: int) -> bool:
        """See Choice. An agent that is out, or a run that takes longer than nearly all."""
        spec = task.spec
        level = self._predictor.levels.get(spec.type)
        if level is None:
            return False
        if self._is_out(spec.type, level, agent):
            return True
        return ran_ms > self._predictor.late_ms(spec.type, agent.agent_id, spec.size_hint)

    def second(self, task: Task, candidates: list[Agent], ran_ms: int, now_ms: int) -> Agent | None:  # noqa: ARG002
        """See Choice. The fastest sound one, if it needs less than half of what the other has yet to go.

        How much of a run that is late is left nobody knows: as much as it has taken already.
        """
        spec = task.spec
        level = self._predictor.levels.get(spec.type)
        sound = [] if level is None else self._sound(spec.type, level, candidates)
        if level is None or task.agent is None or not sound:
            return None
        best = min(sound, key=lambda agent: (self._value(spec.type, agent.agent_id), agent.index))
        log_ms = level.expected(spec.size_hint)
        run_ms = exp(log_ms + self._value(spec.type, best.agent_id))
        left_ms = exp(log_ms + self._value(spec.type, task.agent.agent_id)) - ran_ms
        if left_ms <= 0 or not self._is_out(spec.type, level, task.agent):
            left_ms = ran_ms
        if run_ms * self._rules.hold_factor > left_ms:
            return None
        task.chosen = Reasons(run_ms, 0.0, 0, is_hedge=True)
        return best

    def explain(self, task: Task, agent: Agent) -> str:
        """See Choice."""
        chosen = task.chosen
        if chosen is None:
            return super().explain(task, agent)
        words = f"expected {_seconds(chosen.expected_ms)} on it"
        if chosen.is_probe:
            return (
                f"a probe: it is much slower than others, or fails, and gets one task now and then; {words}"
            )
        if chosen.is_hedge:
            return f"a second run, for the first one is late; {words}"
        if chosen.next_ms:
            words += f", {_seconds(chosen.next_ms)} on the next"
        if chosen.held_ms:
            words += f"; held {_seconds(chosen.held_ms)} for an agent like it"
        return words


def _may_hold(task: Task, rules: ChoiceRules, now_ms: int) -> bool:
    bin_ = task.bin
    if bin_ is None or bin_.lane.depth > rules.hold_tasks_max:
        return False
    return not task.held_since_ms or now_ms < task.held_since_ms + rules.hold_ms


def _hold(task: Task, awaited: Agent | None, now_ms: int) -> None:
    task.held_since_ms = task.held_since_ms or now_ms
    task.held_for = "" if awaited is None else awaited.agent_id


def _wait_ms(agent: Agent, now_ms: int) -> float:
    """When the first of a full agent's slots should be free; very long if there is no telling."""
    waits = []
    for running in agent.leases.values():
        if running is not None and running.chosen is not None and running.record.attempts:
            wait_ms = running.record.attempts[-1].start_ms + running.chosen.expected_ms - now_ms
            if wait_ms > 0:
                waits.append(wait_ms)
    return min(waits, default=1e12)


def _seconds(ms: float) -> str:
    return f"{ms / 1_000:.1f} s" if ms >= 1_000 else f"{ms / 1_000:.2g} s"
