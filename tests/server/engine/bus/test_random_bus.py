"""Whatever streams, publishers and the server do: what is promised of messages holds.

Nothing acknowledged is delivered again; whatever a name wants is delivered until it is
acknowledged or dead; first deliveries keep their order; a message dies once for a name.
"""

from __future__ import annotations

from collections import defaultdict

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.support.bus_lines import PARENT, be_child, begin_group, leaves, publish_of, read, say
from tests.support.lines import hello
from tests.support.play import Line, Play
from upbeat_server.engine.bus.message import Subscribe, group_topic
from upbeat_server.engine.commands import AckPublish, Deliver
from upbeat_server.engine.events import AgentFrame, DeliveriesAcked, SessionEnded
from upbeat_server.engine.limits import BusBounds, Delivery, Limits

LIMITS = Limits(
    bus=BusBounds(topics_max=3, topic_messages_max=12, topic_bytes_max=400, topic_subscribers_max=4),
    delivery=Delivery(
        unacked_max=3, unacked_bytes_max=60, stream_bytes_max=100, redelivery_ms=1_000,
        redelivery_max_ms=3_000, attempts_max=4,
    ),
)  # fmt: skip
NAMES = ("alice", "bob", "carol", "")
TOPICS = ("news", "sport")
CHILDREN = ("c1", "c2", "c3")
GROUP = group_topic(PARENT)

streams = st.integers(1, 3)
topics = st.sampled_from(TOPICS)


class BusLife(RuleBasedStateMachine):
    """Three streams, two topics, and a group of three children on three agents."""

    def __init__(self) -> None:
        super().__init__()
        self.play = Play(LIMITS)
        self.count = 0
        self.last_said = ""
        # By topic and subscriber: what was sent and not acknowledged, with where it went.
        self.sent: dict[tuple[str, str], dict[int, Deliver]] = defaultdict(dict)
        self.acked: dict[tuple[str, str], set[int]] = defaultdict(set)
        self.first: dict[tuple[str, str], int] = {}
        self.wanted: dict[tuple[str, str], set[int]] = defaultdict(set)

    @initialize()
    def begin(self) -> None:
        begin_group(self.play)
        for name in CHILDREN:
            be_child(self.play, name)
        for number in (1, 2, 3):
            self.do(hello(f"a{number}"))

    def teardown(self) -> None:
        self.heal()

    def do(self, line: Line) -> None:
        self.play >> line
        self.look()

    def look(self) -> None:
        for command in self.play.heard_last:
            if isinstance(command, Deliver):
                self.delivered(command)
            elif isinstance(command, AckPublish) and command.durable:
                self.kept(command)
        self.play.skip()

    def kept(self, ack: AckPublish) -> None:
        """A durable message is wanted by whoever wants it now, or had acknowledged it."""
        for sub in self.play.engine.bus.topics[ack.topic].subscriptions.values():
            if ack.sequence in sub.wanted and sub.name:
                self.wanted[ack.topic, sub.name].add(ack.sequence)

    def delivered(self, command: Deliver) -> None:
        place = command.topic, command.subscriber or f"#{command.subscription_id}"
        if not command.subscriber:
            self.sent[place][command.sequence] = command
            return
        assert command.sequence not in self.acked[place]
        if not command.redelivered:
            assert command.sequence > self.first.get(place, 0)
            self.first[place] = command.sequence
        self.sent[place][command.sequence] = command

    @rule(
        topic=topics,
        to=st.sampled_from(("", "", "", *NAMES)),
        by=st.sampled_from(("alice", "x")),
        count=st.integers(1, 4),
    )
    def publish(self, topic: str, to: str, by: str, count: int) -> None:
        lines = []
        for _ in range(count):
            self.count += 1
            self.last_said = f"m{self.count}"
            lines.append(say(topic, self.last_said, to=to, by=by, text="x" * (self.count % 40)))
        self.play.together(*lines)
        self.look()

    @rule(topic=topics)
    def repeat(self, topic: str) -> None:
        if self.last_said:
            self.do(say(topic, self.last_said, by="x"))

    @rule(topic=topics, name=st.sampled_from(NAMES), stream=streams)
    def subscribe(self, topic: str, name: str, stream: int) -> None:
        self.do(read(name, topic, stream=stream))

    @rule(topic=topics, name=st.sampled_from(NAMES), stream=streams)
    def leave(self, topic: str, name: str, stream: int) -> None:
        self.do(read(name, topic, stream=stream, action=1))

    @rule(topic=topics, name=st.sampled_from(NAMES[:3]))
    def forget(self, topic: str, name: str) -> None:
        self.forget_place((topic, name))
        self.do(read(name, topic, stream=1, action=2))
        if topic not in self.play.engine.bus.topics:  # Its sequences begin anew.
            for place in [place for place in (*self.acked, *self.first) if place[0] == topic]:
                self.forget_place(place)
                self.first.pop(place, None)

    def forget_place(self, place: tuple[str, str]) -> None:
        self.sent.pop(place, None)
        self.acked.pop(place, None)
        self.wanted.pop(place, None)

    @rule(stream=streams)
    def cut_stream(self, stream: int) -> None:
        self.do(leaves(stream))

    @rule(number=st.integers(1, 3))
    def cut_agent(self, number: int) -> None:
        self.do(lambda play: SessionEnded(play.sessions[f"a{number}"]))
        held = [lease for lease, holder in self.play.holders.items() if holder == f"a{number}"]
        name = self.play.agent(f"a{number}")
        self.do(hello(name.agent_id, resumes=True, holds=tuple(map(self.lease_name, held))))

    @rule(child=st.sampled_from(CHILDREN), to=st.sampled_from(("", *CHILDREN)))
    def child_publishes(self, child: str, to: str) -> None:
        task = self.play.task(child)
        if task.agent is None:
            return
        self.count += 1
        lease_id = next(lease for lease, held in task.agent.leases.items() if held is task)
        sibling = f"{self.play.tasks[to]:016x}" if to else ""
        publish = publish_of(GROUP, f"g{self.count}", to=sibling, lease_id=lease_id)
        self.do(lambda play: AgentFrame(task.agent.session_id, publishes=[publish]))  # type: ignore[union-attr]

    @rule(child=st.sampled_from(CHILDREN), action=st.sampled_from((0, 0, 0, 1)))
    def child_subscribes(self, child: str, action: int) -> None:
        task = self.play.task(child)
        if task.agent is None:
            return
        lease_id = next(lease for lease, held in task.agent.leases.items() if held is task)
        subscribe = Subscribe(GROUP, "", lease_id, action)
        self.do(lambda play: AgentFrame(task.agent.session_id, subscribes=[subscribe]))  # type: ignore[union-attr]

    @rule(share=st.sampled_from((0.3, 1.0)), chance=st.randoms(use_true_random=False))
    def acknowledge(self, share: float, chance: object) -> None:
        for place, deliveries in sorted(self.sent.items()):
            self.ack(place, [d for d in deliveries.values() if chance.random() < share])  # type: ignore[attr-defined]

    def ack(self, place: tuple[str, str], deliveries: list[Deliver]) -> None:
        for delivery in deliveries:
            if self.sent[place].get(delivery.sequence) is not delivery:
                continue  # It came again meanwhile.
            sub = self.play.engine.bus.subscriptions.get(delivery.subscription_id)
            counts = (
                sub is not None and sub.outlet == delivery.outlet and delivery.sequence in sub.wanted
                and (sub.wanted[delivery.sequence] > 0 or delivery.sequence < sub.doubt_below)
            )  # fmt: skip
            if counts and not place[1].startswith("#"):
                self.acked[place].add(delivery.sequence)
            del self.sent[place][delivery.sequence]
            acked = [(delivery.subscription_id, delivery.sequence)]
            outlet = delivery.outlet
            if outlet < 0:
                self.do(lambda play, n=-outlet, a=acked: DeliveriesAcked(n, a))  # type: ignore[misc]
            else:
                self.do(lambda play, s=outlet, a=acked: AgentFrame(s, delivery_acks=a))  # type: ignore[misc]

    @rule(ms=st.sampled_from((10, 900, 1_100, 4_000)))
    def wait(self, ms: int) -> None:
        self.play.later(ms)
        self.look()

    @rule()
    def kill(self) -> None:
        held = dict(self.play.holders)
        self.play.restart()
        self.sent.clear()
        for number in (1, 2, 3):
            leases = [lease for lease, holder in held.items() if holder == f"a{number}"]
            self.do(hello(f"a{number}", resumes=True, holds=tuple(map(self.lease_name, leases))))

    def lease_name(self, lease_id: int) -> str:
        return f"{self.play.task_name(lease_id >> 16)}.{lease_id & 0xFFFF}"

    def heal(self) -> None:
        """Every name reads and acknowledges all: then each message it wanted was acknowledged or died."""
        for topic in self.play.engine.bus.topics.copy():
            for name in self.play.engine.bus.topics[topic].subscriptions.copy():
                if topic != GROUP and not name.startswith("#"):
                    self.do(read(name, topic, stream=1))
        for child in CHILDREN:
            self.child_subscribes(child, 0)
        for _ in range(80):
            for place, deliveries in sorted(self.sent.items()):
                self.ack(place, list(deliveries.values()))
        dead = [
            (letter.topic, letter.subscriber, letter.sequence)
            for letter in self.play.engine.bus.dead_letters.letters.values()
        ]
        assert len(dead) == len(set(dead))
        for sub in self.play.engine.bus.subscriptions.values():
            if sub.topic.group_id and not sub.outlet:
                continue
            place = sub.topic.name, sub.name
            assert not sub.wanted
            missing = self.wanted[place] - self.acked[place]
            assert {(*place, sequence) for sequence in missing} <= set(dead)


TestBusLife = BusLife.TestCase
TestBusLife.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
