"""Whatever happens in whatever order: the invariants hold, and once faults heal every task ends."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.support.lines import (
    beat,
    cancel,
    cut,
    drain,
    frame,
    goodbye,
    hello,
    listening,
    purged,
    spec_of,
    submission,
    submit,
)
from tests.support.play import Line, Play
from upbeat_server.engine.events import (
    AgentFrame,
    AttemptAcked,
    AttemptEnded,
    AttemptProgressed,
    CapabilityChanged,
    TasksSubmitted,
)
from upbeat_server.engine.limits import Bounds, Graces, Limits, Ordering, Retention
from upbeat_server.engine.model import Error, Limit, Payload, RetryPolicy, Usage

LIMITS = Limits(
    Bounds(queue_tasks_max=24, queue_bytes_max=1_500, signatures_max=6, fairness_keys_max=8, agents_max=4),
    Graces(forget_agent_ms=60_000),
    Ordering(overdue_high_ms=500, overdue_normal_ms=1_000, overdue_low_ms=2_000, overdue_turn=3),
    Retention(finished_ms=60_000, finished_tasks_max=100, purge_interval_ms=10_000),
)
AGENTS = ("a1", "a2", "a3", "a4", "a5")
TYPES = ("work", "play")
JUMPS_MS = (0, 1, 10, 400, 1_000, 6_000, 12_000, 25_000, 40_000, 310_000)

QUOTAS = (
    (Limit("one", max_running=1),),
    (Limit("one", max_running=2),),
    (Limit("slow", per_second=0.5),),
    (Limit("one", max_running=1), Limit("slow", per_second=2.0)),
    (Limit("slow", max_running=3, per_second=1.5), Limit("third", max_running=1)),
)

sometimes_ms = st.sampled_from((0, 0, 0, 300, 5_000, 50_000))
specs = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(TYPES),
        "priority": st.integers(1, 4),
        "required_capabilities": st.sampled_from(((), ("gpu",))),
        "selector": st.sampled_from(("", "region=eu")),
        "fairness_key": st.sampled_from(("", "k1", "k2")),
        "fairness_weight": st.sampled_from((1.0, 2.0, 0.5)),
        "queue_timeout_ms": sometimes_ms,
        "attempt_timeout_ms": st.sampled_from((300_000, 2_000)),
        "total_timeout_ms": sometimes_ms,
        "side_effects": st.sampled_from((1, 1, 2, 3)),
        "sticky_key": st.sampled_from(("", "", "s1", "s2")),
        "dedup_key": st.sampled_from(("", "", "only")),
        "limits": st.sampled_from(((), (), *QUOTAS)),
        "retry": st.builds(
            RetryPolicy,
            max_attempts=st.integers(1, 3),
            initial_backoff_ms=st.sampled_from((0, 10, 1_000)),
            non_retryable_reasons=st.sampled_from(((), ("FATAL",))),
        ),
    },
)
offers = st.sampled_from((("work",), ("work", "play"), ("work", "play", "gpu"), ("play",), ()))
labels = st.sampled_from(({}, {"region": "eu"}, {"region": "us", "host": "h"}))
agents = st.sampled_from(AGENTS)


class Life(RuleBasedStateMachine):
    """One engine, a few agents that may lie, callers who repeat themselves, and kills of the server."""

    def __init__(self) -> None:
        super().__init__()
        self.play = Play(LIMITS)
        self.count = 0
        self.is_well = True
        self.leases: list[int] = []  # All that any agent was ever assigned or made up.

    @initialize()
    def agents_come(self) -> None:
        for name in AGENTS[:2]:
            self.do(hello(name, slots=2))

    def do(self, line: Line, *, ends: bool = True) -> None:
        """One input; ``ends`` ends the turn with it."""
        play = self.play
        before = len(play.holders)
        self.is_well = False
        play.tell(line(play))
        if ends:
            play.end_turn()
        self.is_well = True
        play.skip()
        if len(play.holders) > before:
            self.leases += list(play.holders)[before:]

    def wait(self, ms: int) -> None:
        """Time passes, the engine is woken in time."""
        self.is_well = False
        self.play.later(ms).skip()
        self.is_well = True

    def of(self, name: str) -> list[int]:
        """The current leases of an agent, oldest first."""
        agent = self.play.engine.fleet.agents.get(name)
        return sorted(agent.leases) if agent is not None else []

    def pick(self, data: st.DataObject, name: str) -> int:
        """Mostly a lease of the agent; now and then another's, an old one, or none at all."""
        own = self.of(name)
        pool = (
            own if own and not data.draw(st.sampled_from((0, 0, 0, 1))) else [*self.leases[-30:], 0xBAD0001]
        )
        return data.draw(st.sampled_from(pool))

    @rule(fields=specs, repeats=st.booleans(), wait_ms=st.sampled_from((0, 0, 3_000)), ends=st.booleans())
    def submit(self, fields: dict[str, Any], repeats: bool, wait_ms: int, ends: bool) -> None:
        self.count += not repeats
        if wait_ms:
            fields = fields | {"not_before_ms": self.play.engine.clock_ms + wait_ms}
        self.do(submit(f"t{self.count}", request_id=f"r{self.count}", **fields), ends=ends)

    @rule(fields=specs, many=st.integers(2, 6))
    def submit_many(self, fields: dict[str, Any], many: int) -> None:
        batch = [submission(spec_of(**fields), index=index) for index in range(many)]
        self.do(lambda play: TasksSubmitted(1 << 30, batch))

    @rule(data=st.data(), ends=st.booleans())
    def cancel(self, data: st.DataObject, ends: bool) -> None:
        name = data.draw(st.sampled_from([*self.play.tasks][-8:] or ["?"]))
        self.do(cancel(name), ends=ends)

    @rule(data=st.data(), name=agents, offers=offers, labels=labels, slots=st.integers(0, 3))
    def agent_comes(
        self, data: st.DataObject, name: str, offers: tuple[str, ...], labels: dict[str, str], slots: int
    ) -> None:
        known = sorted({*self.of(name), *self.leases[-10:]})
        held = data.draw(st.lists(st.sampled_from(known), unique=True, max_size=4)) if known else []
        if data.draw(st.sampled_from((1, 1, 0))):
            mine = [lease for lease, holder in self.play.holders.items() if holder == name]
            held = mine[-3:]
        resumes = name in self.play.sessions and data.draw(st.booleans())
        line = hello(name, offers=offers, labels=labels, slots=slots, resumes=resumes)

        def holding(play: Play) -> Any:
            event: Any = line(play)
            event.held_leases = held
            return event

        self.do(holding)

    @rule(data=st.data(), name=agents, many=st.integers(1, 3), accepted=st.sampled_from((True, True, False)))
    def ack(self, data: st.DataObject, name: str, many: int, accepted: bool) -> None:
        if name in self.play.sessions:
            leases = {self.pick(data, name) for _ in range(many)}
            self.do(frame(name, acks=[AttemptAcked(lease, accepted) for lease in sorted(leases)]))

    @rule(data=st.data(), name=agents, sequence=st.integers(0, 3), ends=st.booleans())
    def progress(self, data: st.DataObject, name: str, sequence: int, ends: bool) -> None:
        if name in self.play.sessions:
            said = AttemptProgressed(self.pick(data, name), 0.5, "half", b"chunk" * (sequence > 0), sequence)
            self.do(frame(name, progress=[said]), ends=ends)

    @rule(data=st.data(), name=agents, many=st.integers(1, 3), ends=st.booleans())
    def result(self, data: st.DataObject, name: str, many: int, ends: bool) -> None:
        if name not in self.play.sessions:
            return
        results = []
        for _ in range(many):
            lease = self.pick(data, name)
            kind = data.draw(st.sampled_from(("output", "output", "error", "fatal", "rejected", "nothing")))
            error = Error("FATAL" if kind == "fatal" else "BROKEN", "it broke")
            output = Payload(data=b"done") if kind == "output" else None
            results.append(
                AttemptEnded(
                    lease,
                    output,
                    None if kind in ("output", "nothing") else error,
                    Usage(1, 2, 3),
                    rejected=kind == "rejected",
                )
            )
        self.do(frame(name, results=results), ends=ends)

    @rule(name=agents, slots=st.integers(0, 3), removed=st.booleans(), what=st.sampled_from(("work", "gpu")))
    def agent_changes(self, name: str, slots: int, removed: bool, what: str) -> None:
        if name in self.play.sessions:
            self.do(frame(name, slots=slots, changes=[CapabilityChanged(what, removed)]))

    @rule(name=agents, how=st.sampled_from((beat, beat, cut, cut, goodbye)), ends=st.booleans())
    def stream(self, name: str, how: Any, ends: bool) -> None:
        if name in self.play.sessions:
            self.do(how(name), ends=ends)

    @rule(name=agents, by_itself=st.booleans())
    def drain(self, name: str, by_itself: bool) -> None:
        if by_itself and name in self.play.sessions:
            self.do(frame(name, drain=True))
        else:
            self.do(drain(name))

    @rule(ms=st.sampled_from(JUMPS_MS), beats=st.booleans())
    def time_passes(self, ms: int, beats: bool) -> None:
        if beats:
            for name in sorted(self.play.engine.fleet.agents):
                self.do(beat(name))
        self.wait(ms)
        self.leases += [lease for lease in list(self.play.holders)[-20:] if lease not in self.leases]

    @rule(ms=st.sampled_from(JUMPS_MS))
    def time_jumps(self, ms: int) -> None:
        """The server was busy or suspended: no turn in between."""
        self.is_well = False
        self.play.now_ms += ms
        self.play.end_turn().skip()
        self.is_well = True

    @rule(listens=st.booleans(), really=st.sampled_from((False, False, True)))
    def server_is_killed(self, listens: bool, really: bool) -> None:
        if not really:
            return
        self.play.end_turn().skip()
        self.play.restart()
        if listens:
            self.do(listening())

    @precondition(lambda self: self.count > 3)
    @rule(number=st.integers(1, 20))
    def store_forgets(self, number: int) -> None:
        self.do(purged(f"r{number}"))

    def teardown(self) -> None:
        """Faults heal: an agent that can do everything is there, and does it."""
        play = self.play
        if not self.is_well:
            return
        for name in AGENTS[:4]:
            self.do(cut(name) if name in play.sessions else beat_of_nobody)
        self.do(listening())
        self.wait(61_000 + LIMITS.graces.forget_agent_ms)
        self.do(hello("healer", slots=8, offers=(*TYPES, "gpu"), labels={"region": "eu"}))
        for _ in range(400):
            if not play.engine.tasks:
                break
            leases = self.of("healer")
            results = [AttemptEnded(lease, Payload(data=b"healed")) for lease in leases]
            self.do(frame("healer", results=results))
            self.wait(1_000)
        engine = play.engine
        assert not engine.tasks, "a task with a capable agent never ended"
        assert not any(agent.in_use for agent in engine.fleet.agents.values()), "a slot leaked"
        assert not any(engine.queue.depth_by_priority.values())
        assert not engine.queue.signatures
        assert not engine.queue.key_count
        assert not engine.asides
        assert not engine.dedup_keys
        assert not engine.quotas.stopping
        assert not any(quota.live or quota.running or quota.rows for quota in engine.quotas.by_key.values())
        assert engine.queue_bytes == 0


def beat_of_nobody(play: Play) -> AgentFrame:
    """A frame of a session that never was."""
    return AgentFrame(play.engine.next_session())


TestRandomLife = Life.TestCase
TestRandomLife.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
