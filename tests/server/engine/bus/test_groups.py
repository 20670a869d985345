"""The children of a collaboration talk; their parent is only a number here."""

from __future__ import annotations

import pytest

from tests.support.bus_lines import PARENT, be_child, begin_group, child_acks, child_reads, child_says, read
from tests.support.lines import ack, cancel, cut, failure, goodbye, hello, result, submit
from tests.support.play import Play
from upbeat_server.engine import bus
from upbeat_server.engine.bus.message import SubscribeAction, group_topic
from upbeat_server.engine.limits import BusBounds, Limits
from upbeat_server.engine.model import RetryPolicy


@pytest.fixture
def group(play: Play) -> Play:
    """Two children run, c1 on a1 and c2 on a2; c3 waits."""
    return begin(play)


def begin(play: Play) -> Play:
    begin_group(play)
    for name in ("c1", "c2", "c3"):
        be_child(play, name)
    play >> hello("a1") >> hello("a2")
    play >> ack("c1.1") >> ack("c2.1")
    return play.skip()


def test_children_take_no_room_from_other_subscribers() -> None:
    play = begin(Play(Limits(bus=BusBounds(subscribers_max=1))))
    play >> read("alice") >> read("bob")
    play << "subscription alice to news at s1: ok"
    play << "subscription bob to news at s1: SUBSCRIBERS_EXHAUSTED"


def ends(play: Play, name: str) -> Play:
    return play.change(lambda engine: bus.attempt_ended(engine, play.task(name)))


def test_a_child_publishes_to_all_its_siblings_and_not_to_itself(group: Play) -> None:
    group >> child_reads("c1.1") >> child_reads("c2.1")
    group.skip() >> child_says("c1.1", "m1")
    group << "published m1 as group/parent:1 durably" << "deliver group/parent:1 m1 to c2 at a2"
    group >> child_acks("c2.1", 1)
    group.later(1_000).over()


def test_a_child_publishes_to_one_sibling(group: Play) -> None:
    group >> child_reads("c2.1") >> child_says("c1.1", "m1", to="c3") >> child_says("c1.1", "m2", to="c2")
    assert [words for words in group.said if words.startswith("deliver")] == [
        "deliver group/parent:2 m2 to c2 at a2"
    ]
    group >> cancel("c3")
    group.skip() >> child_says("c1.1", "m3", to="c3") << "refused m3: SUBSCRIBER_NOT_FOUND"


def test_a_late_sibling_reads_from_the_start(group: Play) -> None:
    group >> child_reads("c2.1") >> child_says("c1.1", "m1") >> child_says("c2.1", "m2")
    group >> child_acks("c2.1", 1)
    group.skip() >> hello("a3") >> child_reads("c3.1")
    assert group.said[1:] == [
        "subscription c3 to group/parent at a3: ok",
        "deliver group/parent:1 m1 to c3 at a3",
        "deliver group/parent:2 m2 to c3 at a3",
    ]


def test_a_sibling_that_is_made_later_reads_what_everybody_there_has_acknowledged(group: Play) -> None:
    group >> cancel("c3") >> child_reads("c2.1") >> child_says("c1.1", "m1") >> child_acks("c2.1", 1)
    group.skip()
    be_child(group, "c4")
    group >> hello("a4", offers=("work",)) >> cut("a4")
    wanted = group.engine.bus.topics[group_topic(PARENT)].subscriptions
    (late,) = [sub for sub in wanted.values() if group.task_name(int(sub.name, 16)) == "c4"]
    assert list(late.wanted) == [1]
    group.skip()


def test_what_nobody_there_wants_makes_room_for_what_somebody_does() -> None:
    play = begin(Play(Limits(bus=BusBounds(topic_messages_max=2))))
    play >> cancel("c3") >> child_reads("c2.1")
    for n in range(1, 5):
        play >> child_says("c1.1", f"m{n}") >> child_acks("c2.1", n)
    assert [words for words in play.skip().said if "refused" in words] == []
    play >> child_says("c1.1", "m5") >> child_says("c1.1", "m6")
    play.skip() >> child_says("c1.1", "m7") << "refused m7: TOPIC_FULL"
    play >> child_says("c1.1", "m1") << "published m1 as group/parent:1 durably"
    assert list(play.engine.bus.topics[group_topic(PARENT)].kept) == [5, 6]


def test_what_a_child_has_not_acknowledged_follows_it_to_its_next_attempt(play: Play) -> None:
    begin_group(play)
    be_child(play, "c1", retry=RetryPolicy(initial_backoff_ms=0))
    be_child(play, "c2")
    play >> hello("a1") >> hello("a2")
    play >> ack("c1.1") >> ack("c2.1") >> child_reads("c1.1")
    play >> child_says("c2.1", "m1") >> child_says("c2.1", "m2") >> child_acks("c1.1", 1)
    play.skip()
    ends(play, "c1") >> failure("c1.1") >> hello("a3")
    play.later(1_000).skip() >> child_reads("c1.2")
    holder = play.holders[play.lease("c1.2")]
    play << f"subscription c1 to group/parent at {holder}: ok"
    play << f"deliver group/parent:2 m2 to c1 at {holder} again #2"


def test_publishing_and_reading_need_a_live_lease_of_a_child_of_the_group(group: Play) -> None:
    ends(group, "c1") >> result("c1.1")
    group.skip() >> child_says("c1.1", "m1") >> child_reads("c1.1")
    assert [words.rpartition(": ")[2] for words in group.said] == ["NOT_A_MEMBER", "NOT_A_MEMBER"]


def test_the_lease_of_another_agent_is_no_ticket(group: Play) -> None:
    group.holders[group.lease("c1.1")] = "a2"
    group >> child_says("c1.1", "m1") >> child_reads("c1.1")
    assert [words.rpartition(": ")[2] for words in group.said] == ["NOT_A_MEMBER", "NOT_A_MEMBER"]


def test_a_stranger_with_a_lease_of_its_own_is_no_member(group: Play) -> None:
    group >> hello("a9", offers=("play",)) >> submit("stranger", type="play")
    group.skip() >> child_says("stranger.1", "m1") << "refused m1: NOT_A_MEMBER"


def test_an_agent_that_reconnects_goes_on_with_its_children(group: Play) -> None:
    group >> child_reads("c2.1") >> child_says("c1.1", "m1") >> cut("a2")
    group.skip() >> hello("a2", resumes=True, holds=("c2.1",)) >> child_reads("c2.1")
    group << "subscription c2 to group/parent at a2: ok"
    group << "deliver group/parent:1 m1 to c2 at a2 again #2"


def test_a_child_that_stops_reading_gets_nothing_and_keeps_its_place(group: Play) -> None:
    group >> child_reads("c2.1") >> child_reads("c2.1", action=SubscribeAction.FORGET)
    group.skip() >> child_says("c1.1", "m1")
    group << "published m1 as group/parent:1 durably"
    group >> child_reads("c2.1")
    group << "subscription c2 to group/parent at a2: ok" << "deliver group/parent:1 m1 to c2 at a2"


def test_messages_of_a_group_outlive_the_server(group: Play) -> None:
    group >> child_reads("c2.1") >> child_says("c1.1", "m1") >> child_says("c1.1", "m2")
    group >> child_acks("c2.1", 1)
    group.skip().restart() >> hello("a2", resumes=True, holds=("c2.1",)) >> child_reads("c2.1")
    assert group.said == [
        "subscription c2 to group/parent at a2: ok",
        "deliver group/parent:2 m2 to c2 at a2 again #1",
    ]


def test_a_restart_finds_the_group_and_opening_it_again_changes_nothing(group: Play) -> None:
    group >> child_reads("c2.1") >> child_says("c1.1", "m1")
    group.skip().restart()
    before = dict(group.notes)
    group.change(lambda engine: bus.open_group(engine, PARENT))
    group.change(lambda engine: bus.join(engine, PARENT, group.tasks["c2"]))
    assert group.notes == before


def test_a_group_has_no_topic_before_one_of_its_children_speaks_or_listens(group: Play) -> None:
    assert (group.engine.bus.topics, group.engine.bus.subscriptions) == ({}, {})
    group >> child_reads("c2.1")
    names = [group.task_name(int(sub.name, 16)) for sub in group.engine.bus.subscriptions.values()]
    assert names == ["c1", "c2", "c3"]
    group.skip() >> child_says("c1.1", "m1", to="c3") << "published m1 as group/parent:1 durably"


def test_a_child_that_listens_is_told_what_was_said_before_it_did(group: Play) -> None:
    group >> child_says("c1.1", "m1")
    group.skip() >> child_reads("c2.1")
    group << "subscription c2 to group/parent at a2: ok" << "deliver group/parent:1 m1 to c2 at a2"


def test_the_topic_dies_with_the_group(group: Play) -> None:
    group >> child_reads("c2.1") >> child_says("c1.1", "m1")
    group.skip() >> cancel("parent")
    assert (group.engine.bus.topics, group.engine.bus.subscriptions) == ({}, {})
    assert group.engine.bus.shelf.size == 0
    assert group.notes == {}
    group.skip() >> child_says("c1.1", "m2") << "refused m2: NOT_A_MEMBER"


def test_a_goodbye_ends_deliveries_at_once(group: Play) -> None:
    group >> child_reads("c2.1") >> goodbye("a2")
    group.skip() >> child_says("c1.1", "m1")
    group << "published m1 as group/parent:1 durably"
    assert group.engine.bus.outlets == {}
