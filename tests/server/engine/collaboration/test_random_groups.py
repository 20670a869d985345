"""Whole trees of collaborations under whatever happens: each ends, once, as it would have without it.

Agents answer by the key of a child alone, so the outcome of a tree is known from a run in
which nothing went wrong. A run with restarts, lost agents and other orders of ends must come to
an end as well; one whose modes do not race must come to the same.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fan_mode import FanMode, fan
from tests.support.lines import (
    ack,
    beat,
    cancel,
    collaborate,
    cut,
    failure,
    hello,
    listening,
    result,
    spec_of,
)
from tests.support.play import Play
from upbeat_server.engine.model import (
    FINISHED,
    Collaboration,
    Competitive,
    Consensus,
    Parallel,
    Payload,
    Pipeline,
    RetryPolicy,
    Sequential,
    TaskSpec,
)

WORK = spec_of(retry=RetryPolicy(max_attempts=2, initial_backoff_ms=0))
AGENTS = ("a1", "a2", "a3", "a4", "a5")
ITEMS = tuple(Payload("application/json", b"%d" % number) for number in range(3))


def nested(mode: Any) -> TaskSpec:
    return TaskSpec("", collaboration=Collaboration(mode, max_concurrency=4))


def modes(steps: Any, *, racing: bool) -> Any:
    some = st.lists(steps, min_size=1, max_size=3).map(tuple)
    kinds = [
        st.builds(Sequential, some, on_step_failure=st.sampled_from((1, 2))),
        st.builds(Parallel, some, join=st.sampled_from((1, 4)), failure_policy=st.just(2)),
        st.builds(
            Pipeline,
            st.lists(steps, min_size=1, max_size=2).map(tuple),
            st.just(ITEMS),
            on_item_failure=st.sampled_from((2, 3)),
            stage_concurrency=st.integers(1, 3),
            buffer=st.integers(1, 2),
        ),
        st.builds(
            Consensus,
            st.just(WORK),
            st.integers(1, 3),
            quorum=st.just(1),
            early_decision=st.booleans() if racing else st.just(False),
            on_no_consensus=st.just(2),
        ),
        st.builds(lambda step, count: fan(step, count=count), steps, st.integers(0, 3)),
    ]
    if racing:
        kinds.append(
            st.builds(Competitive, some, launch=st.sampled_from((1, 2, 3)), hedge_delay_ms=st.just(500))
        )
        kinds.append(st.builds(Parallel, some, join=st.sampled_from((2, 3)), quorum=st.just(1)))
    return st.one_of(kinds)


def trees(*, racing: bool) -> Any:
    leaves = st.just(WORK)
    inner = modes(leaves, racing=racing).map(nested)
    return modes(st.one_of(leaves, inner), racing=racing)


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(("end", "end", "end", "end", "restart", "cut", "wait", "back")), st.integers(0, 99)
    ),
    max_size=40,
)


def outcome_of(key: str) -> Any:
    """What an agent answers for a child, in every attempt: every eighth one fails."""
    number = sum(key.encode()) % 8
    return failure if number == 7 else result


class Fleet:
    """Agents who hold leases over restarts, and answer by key."""

    def __init__(self, play: Play) -> None:
        self.play = play
        for name in AGENTS:
            play >> hello(name, slots=20)

    def held(self) -> list[str]:
        """Current leases whose agent is there, as names."""
        found = []
        for name in AGENTS:
            agent = self.play.engine.fleet.agents.get(name)
            if agent is None or not agent.session_id:
                continue
            for lease_id, task in agent.leases.items():
                if task is not None:
                    found.append((f"{self.play.names[task.task_id]}.{lease_id & 0xFFFF}", name))
        return [f"{lease}@{name}" for lease, name in sorted(found)]

    def act(self, action: str, luck: int) -> None:
        play = self.play
        held = self.held()
        match action:
            case "end" if held:
                self.end(held[luck % len(held)])
            case "restart":
                leases: dict[str, list[str]] = {name: [] for name in AGENTS}
                for each in held:
                    lease, _, name = each.rpartition("@")
                    leases[name].append(lease)
                play.skip().restart() >> listening()
                for name in AGENTS:
                    play >> hello(name, slots=20, holds=tuple(leases[name]))
            case "cut":
                name = AGENTS[luck % len(AGENTS)]
                if play.agent(name).session_id:
                    play >> cut(name)
            case "back":
                name = AGENTS[luck % len(AGENTS)]
                play >> hello(name, slots=20)
            case "wait":
                play.later(luck * 20)
        play.skip()

    def end(self, each: str) -> None:
        lease, _, name = each.rpartition("@")
        self.play >> ack(lease, by=name)
        self.play >> outcome_of(lease.rpartition(".")[0])(lease, by=name)
        self.play.skip()

    def finish(self) -> None:
        """Heal, and answer everything until nothing is left."""
        play = self.play
        for name in AGENTS:
            agent = play.engine.fleet.agents.get(name)
            if agent is None or not agent.session_id:
                play >> hello(name, slots=20)
        for _ in range(400):
            if not play.engine.tasks:
                return
            held = self.held()
            if held:
                self.end(held[0])
            else:
                for name in AGENTS:
                    play >> beat(name)
                play.later(700).skip()
        raise AssertionError(f"left: {[play.names[task_id] for task_id in play.engine.tasks]}")


def run(mode: Any, actions: Any) -> Play:
    play = Play(modes={"fan": FanMode()})
    fleet = Fleet(play)
    play >> collaborate("c", mode, step_fields={"input": Payload("application/json", b"[1,2]")})
    play.skip()
    for action, luck in actions:
        fleet.act(action, luck)
    fleet.finish()
    assert play.engine.groups == {}
    assert play.engine.children == play.engine.reserved == 0
    for task_id in play.names:
        assert play.stored(play.names[task_id]).state in FINISHED
    return play


@settings(max_examples=150, deadline=None)
@given(mode=trees(racing=True), actions=ACTIONS)
def test_whatever_happens_every_collaboration_ends_once(mode: Any, actions: Any) -> None:
    run(mode, actions)


@settings(max_examples=150, deadline=None)
@given(mode=trees(racing=False), actions=ACTIONS)
def test_restarts_and_other_orders_do_not_change_what_it_comes_to(mode: Any, actions: Any) -> None:
    calm, rough = run(mode, []), run(mode, actions)
    for play in (calm, rough):
        for name in play.tasks:
            losses = play.stored(name).lease_losses
            if losses >= 5:
                return  # An agent was cut too often: the task failed for that.
    assert rough.stored("c").state == calm.stored("c").state
    assert rough.stored("c").output == calm.stored("c").output


@settings(max_examples=60, deadline=None)
@given(mode=trees(racing=True), actions=ACTIONS, when=st.integers(0, 40))
def test_a_cancel_at_any_time_leaves_nothing(mode: Any, actions: Any, when: int) -> None:
    play = Play(modes={"fan": FanMode()})
    fleet = Fleet(play)
    play >> collaborate("c", mode, step_fields={"input": Payload("application/json", b"[1,2]")})
    for action, luck in actions[:when]:
        fleet.act(action, luck)
    play >> cancel("c")
    play.skip()
    assert play.engine.tasks == {}
    assert play.engine.groups == {}
