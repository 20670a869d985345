from __future__ import annotations

import pytest

from tests.support.bus_lines import acks, agent_acks, agent_reads, agent_says, leaves, read, rule, say
from tests.support.lines import cut, hello
from tests.support.play import Line, Play
from upbeat_server.engine.bus.message import SubscribeAction
from upbeat_server.engine.limits import BusBounds, Delivery, Limits

QUICK = Limits(delivery=Delivery(redelivery_ms=1_000, redelivery_max_ms=4_000, attempts_max=3))


@pytest.fixture
def news(play: Play) -> Play:
    """Alice reads the news on stream 1."""
    play >> read("alice")
    return play.skip()


def test_a_message_is_delivered_once_and_not_again_when_it_is_acknowledged(news: Play) -> None:
    news >> say("news", "m1")
    news << "published m1 as news:1 durably" << "deliver news:1 m1 to alice at s1"
    news >> acks("alice", 1)
    news.later(400_000).over()


def test_what_is_not_acknowledged_comes_again_later_each_time_and_then_is_a_dead_letter() -> None:
    play = Play(QUICK)
    play >> read("alice") >> say("news", "m1")
    play.skip().at(990).over()
    play.at(1_000) << "deliver news:1 m1 to alice at s1 again #2"
    play.at(2_990).over()
    play.at(3_000) << "deliver news:1 m1 to alice at s1 again #3"
    play.at(7_000).over()
    letters = play.engine.bus.dead_letters.letters.values()
    assert [(letter.subscriber, letter.attempts, letter.reason) for letter in letters] == [
        ("alice", 3, "ATTEMPTS_EXHAUSTED")
    ]
    play.later(100_000).over()
    assert len(letters) == 1


def test_what_one_is_done_with_behind_a_message_that_it_holds_back_is_not_written_for_ever(
    news: Play,
) -> None:
    for number in range(1, 51):
        news >> say("news", f"m{number}")
    news >> acks("alice", *range(2, 51))
    assert news.engine.bus.topics["news"].subscriptions["alice"].done == set()
    news.skip().restart() >> read("alice")
    assert news.said[1:] == ["deliver news:1 m1 to alice at s1 again #1"]
    news.skip()


def test_a_late_acknowledgement_of_the_first_attempt_counts() -> None:
    play = Play(QUICK)
    play >> read("alice") >> say("news", "m1")
    play.at(1_000)
    play >> acks("alice", 1)
    play.skip().later(100_000).over()
    assert play.engine.counters.acked == 1
    assert not play.engine.bus.dead_letters.letters


def test_an_acknowledgement_of_another_stream_or_of_what_was_never_sent_changes_nothing() -> None:
    play = Play(Limits(delivery=Delivery(unacked_max=1)))
    play >> read("alice") >> say("news", "m1") >> say("news", "m2")
    play.skip()
    play >> acks("alice", 1, 2, stream=2) >> acks("alice", 2, 99)
    play.over()
    play >> acks("alice", 1)
    play << "deliver news:2 m2 to alice at s1"


def test_first_deliveries_keep_the_order_of_the_topic_and_no_more_than_the_window_is_under_way() -> None:
    play = Play(Limits(delivery=Delivery(unacked_max=2)))
    play >> read("alice")
    play.skip().together(*(say("news", f"m{n}") for n in range(1, 6)))
    assert play.said[-2:] == ["deliver news:1 m1 to alice at s1", "deliver news:2 m2 to alice at s1"]
    play >> acks("alice", 2)
    play << "deliver news:3 m3 to alice at s1"
    play >> acks("alice", 1, 3)
    play << "deliver news:4 m4 to alice at s1" << "deliver news:5 m5 to alice at s1"


def test_bytes_under_way_are_bounded_for_a_subscriber_and_for_a_stream() -> None:
    play = Play(Limits(delivery=Delivery(unacked_bytes_max=20, stream_bytes_max=40)))
    play >> read("alice") >> read("alice", "sport") >> read("alice", "arts")
    play.skip()
    for topic in ("news", "sport", "arts"):
        play.together(say(topic, "m1", text="x" * 11), say(topic, "m2", text="y" * 11))
    delivered = [words.split()[1] for words in play.said if words.startswith("deliver")]
    assert delivered == ["news:1", "sport:1"]  # 21 bytes each, with the content type.
    play >> acks("alice", 1, topic="sport")
    assert [words.split()[1] for words in play.said] == ["arts:1"]
    play >> acks("alice", 1, topic="arts")
    assert [words.split()[1] for words in play.said] == ["sport:2"]


@pytest.mark.parametrize(
    "line",
    [
        read("alice", action=SubscribeAction.LEAVE),
        read("alice", action=SubscribeAction.FORGET),
        read("alice", stream=2),
    ],
    ids=["leaves", "is forgotten", "reads elsewhere"],
)
def test_who_leaves_a_full_stream_makes_room_for_the_others(line: Line) -> None:
    play = Play(Limits(delivery=Delivery(unacked_bytes_max=20, stream_bytes_max=20)))
    play >> read("alice") >> read("bob", "sport")
    play >> say("news", "m1", text="x" * 20) >> say("sport", "m2")
    assert "deliver sport:1 m2 to bob at s1" not in play.said  # The stream is full.
    play >> line
    assert "deliver sport:1 m2 to bob at s1" in play.said


def test_a_subscriber_that_was_away_gets_what_it_missed_before_anything_new(news: Play) -> None:
    news >> say("news", "m1") >> say("news", "m2") >> leaves(1) >> say("news", "m3")
    news.skip()
    news >> read("alice", stream=2)
    news << "subscription alice to news at s2: ok"
    news << "deliver news:1 m1 to alice at s2 again #2" << "deliver news:2 m2 to alice at s2 again #2"
    news << "deliver news:3 m3 to alice at s2"


def test_what_a_killed_server_had_sent_is_sent_again_and_says_so(news: Play) -> None:
    news.together(say("news", "m1"), say("news", "m2"), say("news", "m3"))
    news >> acks("alice", 2)
    news.skip().restart()
    news >> read("alice") >> say("news", "m4")
    assert news.said == [
        "subscription alice to news at s1: ok",
        "deliver news:1 m1 to alice at s1 again #1",
        "deliver news:3 m3 to alice at s1 again #1",
        "published m4 as news:4 durably",
        "deliver news:4 m4 to alice at s1",
    ]
    news >> acks("alice", 1, 3, 4)
    news.restart() >> read("alice")
    news << "subscription alice to news at s1: ok"


def test_attempts_are_counted_over_restarts_from_the_second_on() -> None:
    play = Play(QUICK)
    play >> read("alice") >> say("news", "m1")
    play.at(1_000).restart() >> read("alice")
    assert play.said[-1] == "deliver news:1 m1 to alice at s1 again #3"
    play >> leaves(1) >> read("alice")
    play << "subscription alice to news at s1: ok"
    assert len(play.engine.bus.dead_letters.letters) == 1
    play.restart()
    assert len(play.engine.bus.dead_letters.letters) == 1


def test_agents_read_and_publish_under_their_id_and_do_not_hear_themselves(play: Play) -> None:
    play >> hello("a1", offers=("x",)) >> hello("a2", offers=("x",)) >> agent_reads("a1")
    play.skip()
    play >> agent_says("a1", "news", "m1") >> agent_says("a2", "news", "m1")
    assert play.said == [
        "published m1 as news:1",
        "published m1 as news:2 durably",
        "deliver news:2 m1 to a1 at a1",
    ]
    play >> agent_acks("a1", 2) >> cut("a1")
    play.skip().later(20_000) >> say("news", "m3")
    play << "published m3 as news:3 durably"
    play >> hello("a1", offers=("x",)) >> agent_reads("a1")
    play << "subscription a1 to news at a1: ok" << "deliver news:3 m3 to a1 at a1"


def test_a_newer_session_of_an_agent_reads_on_after_it_has_subscribed(play: Play) -> None:
    play >> hello("a1", offers=("x",)) >> agent_reads("a1") >> say("news", "m1")
    play.skip() >> hello("a1", offers=("x",))
    play << "end a1: FENCED"
    play >> agent_reads("a1")
    play << "subscription a1 to news at a1: ok" << "deliver news:1 m1 to a1 at a1 again #2"


def test_dead_letters_are_dropped_by_topic_subscriber_or_id(play: Play) -> None:
    play = Play(Limits(delivery=Delivery(redelivery_ms=1_000, attempts_max=1)))
    play >> read("alice") >> read("bob") >> read("carol", "sport")
    play >> say("news", "m1") >> say("sport", "m2")
    play.later(1_000).skip()
    assert len(play.engine.bus.dead_letters.letters) == 3
    play >> rule(topic="news", subscriber="bob") << "dead letters: 1 done, 0 kept"
    play >> rule(0, topic="sport") << "dead letters: 0 done, 0 kept"
    play >> rule(0) << "dead letters: 1 done, 0 kept"
    assert [letter.topic for letter in play.restart().engine.bus.dead_letters.letters.values()] == ["sport"]
    assert play.engine.bus.dead_letters.size == len("text/plain") + 2


@pytest.mark.parametrize("again", [True, False])
def test_a_dead_letter_that_is_named_twice_is_one(again: bool) -> None:
    play = Play(Limits(delivery=Delivery(redelivery_ms=1_000, attempts_max=1)))
    play >> read("alice") >> say("news", "m1")
    play.later(1_000).skip()
    play >> rule(0, 0, again=again) << "dead letters: 1 done, 0 kept"
    assert not play.skip().engine.bus.dead_letters.letters


def test_a_dead_letter_comes_again_to_its_subscriber_alone_and_stays_dead_if_that_is_gone() -> None:
    play = Play(Limits(delivery=Delivery(redelivery_ms=1_000, attempts_max=1)))
    play >> read("alice") >> read("bob", stream=2) >> say("news", "m1")
    play >> acks("bob", 1, stream=2)
    play.later(1_000).skip()
    play >> rule(topic="news", again=True)
    play << "dead letters: 1 done, 0 kept" << "deliver news:2 m1 to alice at s1"
    play.later(1_000) >> leaves(1) >> read("alice", action=2, stream=3)
    play.skip() >> rule(topic="news", again=True) << "dead letters: 0 done, 1 kept"
    assert len(play.engine.bus.dead_letters.letters) == 1


def test_dead_letters_are_bounded_and_end_with_the_retention_of_finished_tasks() -> None:
    bounds = BusBounds(dead_letters_max=2, dead_letter_bytes_max=30)
    play = Play(Limits(bus=bounds, delivery=Delivery(redelivery_ms=1_000, attempts_max=1)))
    play >> read("alice")
    for n in range(1, 5):
        play >> say("news", f"m{n}")
    play.later(1_000).skip()
    kept = play.engine.bus.dead_letters.letters
    assert [letter.message.message_id for letter in kept.values()] == ["m3", "m4"]
    play >> say("news", "m5", text="x" * 25)
    play.later(1_000).skip()
    assert [letter.message.message_id for letter in kept.values()] == ["m5"]
    play.later(86_400_000)
    assert len(kept) == 1
    play.later(11_000)
    assert len(kept) == 0
    assert not [kind for kind, _ in play.notes if kind == "bus.dead_letter"]


def test_a_name_that_stays_away_for_too_long_is_forgotten_and_its_messages_are_dead_letters() -> None:
    play = Play(Limits(delivery=Delivery(away_ms=60_000)))
    play >> read("alice") >> leaves(1) >> say("news", "m1")
    play.skip().later(59_000)
    assert "news" in play.engine.bus.topics
    play.later(12_000)
    assert play.engine.bus.topics == {}
    letters = play.engine.bus.dead_letters.letters.values()
    assert [letter.reason for letter in letters] == ["SUBSCRIBER_FORGOTTEN"]
    assert {kind for kind, _ in play.notes} == {"bus.dead_letter"}
