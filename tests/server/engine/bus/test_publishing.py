from __future__ import annotations

from tests.support.bus_lines import acks, leaves, read, say
from tests.support.play import Play
from upbeat_server.engine.bus.topic import IDS_KEPT
from upbeat_server.engine.commands import AckPublish
from upbeat_server.engine.limits import BusBounds, Delivery, Limits


def test_where_nobody_reads_a_message_goes_nowhere_and_says_so(play: Play) -> None:
    play >> say("news", "m1")
    play << "published m1 as news:0"
    assert play.engine.bus.topics == {}
    assert play.notes == {}


def test_a_repeat_is_acknowledged_and_makes_no_second_message(play: Play) -> None:
    play >> read("alice") >> say("news", "m1")
    play.skip() >> say("news", "m1")
    play << "published m1 as news:1 durably"
    play >> acks("alice", 1) >> say("news", "m1")
    play << "published m1 as news:1 durably"
    play.restart() >> say("news", "m1")
    play << "published m1 as news:1 durably"
    assert play.engine.counters.published == 0


def test_the_same_id_of_another_publisher_is_another_message(play: Play) -> None:
    play >> read("alice") >> say("news", "m1", by="x")
    play.skip() >> say("news", "m1", by="y")
    play << "published m1 as news:2 durably" << "deliver news:2 m1 to alice at s1"


def test_an_id_is_forgotten_behind_many_others(play: Play) -> None:
    play >> read("alice")
    for n in range(IDS_KEPT + 1):
        play.together(say("news", f"m{n}"))
        play >> acks("alice", n + 1)
    play.skip() >> say("news", "m1") >> say("news", "m0")
    assert play.said[:2] == ["published m1 as news:2 durably", f"published m0 as news:{IDS_KEPT + 2} durably"]
    assert len(play.engine.bus.topics["news"].ids) <= IDS_KEPT + 1
    assert sum(kind == "bus.message" for kind, _ in play.notes) <= IDS_KEPT + 1


def test_without_an_id_the_server_gives_one(play: Play) -> None:
    play >> read("alice")
    play.skip() >> say("news", "", text="x") >> say("news", "", text="x")
    acked = [command.message_id for command in play.unread if isinstance(command, AckPublish)]
    assert len(set(acked)) == 2
    assert all(len(message_id) == 16 for message_id in acked)
    play.skip()


def test_a_full_topic_refuses_until_something_is_acknowledged() -> None:
    play = Play(Limits(bus=BusBounds(topic_messages_max=2)))
    play >> read("alice") >> leaves(1) >> say("news", "m1") >> say("news", "m2")
    play.skip() >> say("news", "m3")
    (command,) = play.unread
    assert isinstance(command, AckPublish)
    assert command.refusal is not None
    assert (command.refusal.reason, command.refusal.retry_ms) == ("TOPIC_FULL", 250)
    assert command.refusal.metadata == {"topic": "news", "bound": "topic_messages_max", "limit": "2"}
    play.skip() >> read("alice") >> acks("alice", 1)
    play.skip() >> say("news", "m3")
    play << "published m3 as news:3 durably" << "deliver news:3 m3 to alice at s1"


def test_bytes_of_a_topic_and_of_all_are_bounded_but_one_message_always_fits() -> None:
    play = Play(Limits(bus=BusBounds(topic_bytes_max=50, messages_bytes_max=200)))
    play >> read("alice") >> read("alice", "sport") >> read("alice", "arts")
    play.skip() >> say("news", "m1", text="x" * 80) >> say("news", "m2") >> say("sport", "m3", text="x" * 80)
    play >> say("arts", "m4", text="x" * 80)
    refused = [c.refusal for c in play.unread if isinstance(c, AckPublish) and c.refusal is not None]
    assert [refusal.metadata["bound"] for refusal in refused] == ["topic_bytes_max", "messages_bytes_max"]
    play.skip()


def test_a_message_for_one_reaches_nobody_else_and_must_have_a_reader(play: Play) -> None:
    play >> read("alice") >> read("bob", stream=2)
    play.skip() >> say("news", "m1", to="bob")
    play << "published m1 as news:1 durably" << "deliver news:1 m1 to bob at s2"
    play >> say("news", "m2", to="carol") >> say("sport", "m3", to="bob")
    play << "refused m2: SUBSCRIBER_NOT_FOUND" << "refused m3: SUBSCRIBER_NOT_FOUND"
    play.restart() >> read("alice")
    play << "subscription alice to news at s1: ok"


def test_a_subscriber_does_not_get_what_it_published_itself(play: Play) -> None:
    play >> read("alice") >> read("bob", stream=2)
    play.skip() >> say("news", "m1", by="bob")
    play << "published m1 as news:1 durably" << "deliver news:1 m1 to alice at s1"


def test_a_sequence_is_not_given_out_again_after_a_restart(play: Play) -> None:
    play >> read("alice") >> say("news", "m1", by="alice") >> say("news", "m2", by="alice")
    play << "subscription alice to news at s1: ok" << "published m1 as news:1" << "published m2 as news:2"
    play.restart() >> say("news", "m3", by="bob") << "published m3 as news:3 durably"


def test_what_only_listeners_want_is_not_durable_and_never_fills_a_topic() -> None:
    play = Play(Limits(bus=BusBounds(topic_messages_max=2), delivery=Delivery(unacked_max=1)))
    play >> read("")
    play.skip()
    for n in range(1, 5):
        play >> say("news", f"m{n}")
    assert play.said == [
        "published m1 as news:1",
        "deliver news:1 m1 to nobody at s1",
        "published m2 as news:2",
        "published m3 as news:3",
        "subscription nobody to news at s1: SLOW_READER",
        "published m4 as news:0",
    ]
    assert play.notes == {}
