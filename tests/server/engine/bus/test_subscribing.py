from __future__ import annotations

from tests.support.bus_lines import acks, agent_reads, leaves, read, say
from tests.support.lines import hello, listening
from tests.support.play import Play
from upbeat_server.engine.bus.message import SubscribeAction
from upbeat_server.engine.commands import AnswerSubscribe
from upbeat_server.engine.limits import BusBounds, Limits

LEAVE, FORGET = SubscribeAction.LEAVE, SubscribeAction.FORGET


def test_a_name_reads_what_is_published_from_its_first_subscription_on(play: Play) -> None:
    play >> read("alice") >> say("news", "m1") >> read("bob", stream=2)
    play.skip() >> say("news", "m2")
    assert play.said == [
        "published m2 as news:2 durably",
        "deliver news:2 m2 to alice at s1",
        "deliver news:2 m2 to bob at s2",
    ]


def test_a_newer_stream_takes_a_name_over_and_the_older_is_told(play: Play) -> None:
    play >> read("alice") >> say("news", "m1")
    play.skip() >> read("alice", stream=2)
    play << "subscription alice to news at s1: FENCED"
    play << "subscription alice to news at s2: ok" << "deliver news:1 m1 to alice at s2 again #2"
    play >> acks("alice", 1) >> leaves(1)  # Of the older stream: neither counts.
    assert play.engine.bus.topics["news"].subscriptions["alice"].wanted == {1: 2}
    play >> acks("alice", 1, stream=2)
    play.later(400_000).over()


def test_subscribing_again_on_the_same_stream_changes_nothing(play: Play) -> None:
    play >> read("alice") >> read("") >> say("news", "m1")
    play.skip() >> read("alice") >> read("")
    play << "subscription alice to news at s1: ok" << "subscription nobody to news at s1: ok"


def test_what_has_no_name_ends_with_its_stream(play: Play) -> None:
    play >> read("") >> say("news", "m1") >> leaves(1)
    play.skip()
    assert play.engine.bus.topics == {}
    play >> read("", stream=2) << "subscription nobody to news at s2: ok"


def test_leaving_ends_deliveries_and_keeps_the_name(play: Play) -> None:
    play >> read("alice") >> read("") >> say("news", "m1")
    play.skip() >> read("alice", action=LEAVE) >> read("", action=LEAVE) >> say("news", "m2")
    play << "subscription alice to news at s1: ok" << "subscription nobody to news at s1: ok"
    play << "published m2 as news:2 durably"
    play >> read("alice")
    play << "subscription alice to news at s1: ok"
    play << "deliver news:1 m1 to alice at s1 again #2" << "deliver news:2 m2 to alice at s1"


def test_leaving_somebody_elses_stream_leaves_it_alone(play: Play) -> None:
    play >> read("alice")
    play.skip() >> read("alice", stream=2, action=LEAVE) >> say("news", "m1")
    play << "subscription alice to news at s2: ok"
    play << "published m1 as news:1 durably" << "deliver news:1 m1 to alice at s1"


def test_a_forgotten_name_leaves_nothing_behind_and_whoever_reads_under_it_is_told(play: Play) -> None:
    play >> read("alice") >> say("news", "m1")
    play.skip() >> read("alice", stream=2, action=FORGET)
    play << "subscription alice to news at s1: FENCED" << "subscription alice to news at s2: ok"
    assert play.engine.bus.topics == {}
    assert play.notes == {}
    play >> read("nobody", action=FORGET) << "subscription nobody to news at s1: ok"


def test_a_topic_lives_as_long_as_one_name_does(play: Play) -> None:
    play >> read("alice") >> read("bob", stream=2) >> say("news", "m1") >> acks("alice", 1)
    play.skip() >> read("alice", action=FORGET)
    assert sorted(key for _, key in play.notes) == ["news 0000000000000001", "news bob"]
    play.skip() >> read("bob", stream=2, action=FORGET)
    play.skip()
    assert play.notes == {}


def test_topics_and_subscribers_are_bounded_by_name() -> None:
    bounds = BusBounds(topics_max=1, topic_subscribers_max=2, subscribers_max=2)
    play = Play(Limits(bus=bounds))
    play >> read("a") >> read("b", "sport") >> read("b") >> read("c")
    refused = [c.refusal for c in play.unread if isinstance(c, AnswerSubscribe) and c.refusal is not None]
    assert [(refusal.reason, refusal.metadata["bound"]) for refusal in refused] == [
        ("TOPICS_EXHAUSTED", "topics_max"),
        ("SUBSCRIBERS_EXHAUSTED", "topic_subscribers_max"),
    ]
    play.skip() >> read("a", stream=5)  # A name that is there already is no further one.
    assert play.said == ["subscription a to news at s1: FENCED", "subscription a to news at s5: ok"]


def test_subscribers_of_all_topics_are_bounded() -> None:
    play = Play(Limits(bus=BusBounds(subscribers_max=1)))
    play >> read("a") >> read("b", "sport")
    assert play.said[-1] == "subscription b to sport at s1: SUBSCRIBERS_EXHAUSTED"


def test_an_agent_may_read_under_a_name_that_others_share(play: Play) -> None:
    play >> hello("a1", offers=("x",)) >> hello("a2", offers=("x",)) >> agent_reads("a1", name="crew")
    play.skip() >> agent_reads("a2", name="crew") >> say("news", "m1")
    play << "subscription crew to news at a1: FENCED" << "subscription crew to news at a2: ok"
    play << "published m1 as news:1 durably" << "deliver news:1 m1 to crew at a2"


def test_the_topic_of_a_group_is_closed_to_streams(play: Play) -> None:
    play >> read("alice", "group/00000000000000fa") >> say("group/00000000000000fa", "m1")
    assert [words.rpartition(": ")[2] for words in play.said] == ["NOT_A_MEMBER", "NOT_A_MEMBER"]


def test_a_topic_that_only_nameless_streams_read_ends_with_the_server(play: Play) -> None:
    play >> read("me") >> say("news", "m1") >> acks("me", 1) >> read("", stream=2)
    play >> read("me", action=FORGET)
    assert [kind for kind, _ in play.notes] == ["bus.message"]
    play.skip().restart() >> listening()
    assert play.engine.bus.topics == {}
    assert play.notes == {}
