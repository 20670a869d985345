"""Who is there, what they offer, who is free - and who is matched with what."""

from __future__ import annotations

import pytest

from tests.support.lines import frame, hello, offer, result, spec_of, submission, submit, withdraw
from tests.support.play import Play
from upbeat_server.engine import queue
from upbeat_server.engine.dispatch import PAIRS_MAX
from upbeat_server.engine.events import AttemptEnded, TasksSubmitted
from upbeat_server.engine.fleet import CANDIDATES_MAX
from upbeat_server.engine.model import Labels, Payload


def test_a_task_goes_only_to_an_agent_that_offers_its_type_and_what_it_requires(play: Play) -> None:
    play >> submit("t1", required_capabilities=("gpu", "vision"))
    play >> hello("a1") >> hello("a2", offers=("gpu", "vision")) >> hello("a3", offers=("work", "gpu"))
    assert play.said == []
    play >> hello("a4", offers=("work", "gpu", "vision"))
    play << "assign t1.1 to a4"


def test_a_capability_that_comes_brings_work_at_once_and_one_that_goes_brings_none(play: Play) -> None:
    play >> submit("t1", type="play") >> submit("t2", type="play") >> hello("a1")
    play >> offer("a1", "play")
    play << "assign t1.1 to a1"
    play >> withdraw("a1", "play") >> result("t1.1")
    play << "finished t1 COMPLETED" << "ack t1.1 to a1: ACCEPTED"
    play >> offer("a1", "play")
    play << "assign t2.1 to a1"


def test_an_agent_keeps_what_it_runs_when_it_stops_offering_it(play: Play) -> None:
    play >> hello("a1", slots=2) >> submit("t1") >> withdraw("a1", "work") >> submit("t2") >> result("t1.1")
    play << "assign t1.1 to a1" << "finished t1 COMPLETED" << "ack t1.1 to a1: ACCEPTED"


def test_a_selector_chooses_by_labels(play: Play) -> None:
    play >> submit("t1", selector="region=eu")
    play >> hello("us", labels={"region": "us"}) >> hello("none")
    assert play.said == []
    play >> hello("eu", labels={"region": "eu"})
    play << "assign t1.1 to eu"


def test_labels_may_change_with_the_session(play: Play) -> None:
    play >> submit("t1", selector="region=eu") >> hello("a1") >> hello("a1", labels={"region": "eu"})
    play << "end a1: FENCED" << "assign t1.1 to a1"


def test_work_goes_to_the_agent_with_the_smallest_share_of_its_slots_taken(play: Play) -> None:
    play >> hello("a1", slots=2) >> hello("a2", slots=4)
    for number in range(6):
        play >> submit(f"t{number}")
    assert [words.split()[-1] for words in play.said] == ["a1", "a2", "a2", "a1", "a2", "a2"]


def test_equal_agents_share_a_profile_that_goes_with_the_last_of_them(play: Play) -> None:
    play >> hello("a1") >> hello("a2") >> submit("t1", type="other")
    assert len(play.engine.fleet.profiles) == 1
    play >> frame("a1", goodbye=True) >> frame("a2", goodbye=True)
    assert play.engine.fleet.profiles == {}
    assert play.skip().engine.fleet._of_capability == {}


def test_requirements_stay_matched_a_while_after_their_last_task(play: Play) -> None:
    play >> hello("a1") >> submit("t1") >> submit("t2", selector="region=eu")
    play >> result("t1.1")
    known = play.skip().engine.queue
    assert ([key[2] for key in known.signatures], [key[2] for key in known.idle]) == (["region=eu"], [""])
    (profile,) = play.engine.fleet.profiles.values()
    assert [signature.requirement[2] for signature in profile.signatures] == [""]
    play >> submit("t3") << "assign t3.1 to a1"
    assert (len(known.signatures), known.idle) == (2, {})
    play.skip()


def test_an_agent_that_came_while_nobody_asked_is_matched_as_well(play: Play) -> None:
    play >> hello("a1") >> submit("t1") >> result("t1.1") >> frame("a1", goodbye=True)
    play >> hello("a2", labels={"region": "eu"})
    play.skip() >> submit("t2") << "assign t2.1 to a2"


def test_the_requirement_without_a_task_for_the_longest_time_is_forgotten(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "IDLE_MAX", 2)
    play >> hello("a1", offers=("work", "w0", "w1", "w2"))
    for number in range(3):
        play >> submit(f"t{number}", type=f"w{number}") >> result(f"t{number}.1")
    assert [key[0] for key in play.skip().engine.queue.idle] == ["w1", "w2"]
    assert list(play.engine.fleet.of_type) == ["w1", "w2"]
    (profile,) = play.engine.fleet.profiles.values()
    assert [signature.requirement[0] for signature in profile.signatures] == ["w1", "w2"]
    play >> submit("t3", type="w0") << "assign t3.1 to a1"


def test_a_requirement_that_comes_again_is_still_matched(play: Play) -> None:
    play >> hello("a1")
    for number in range(3):
        play >> submit(f"t{number}") >> result(f"t{number}.1")
    assert [words for words in play.said if words.startswith("assign")] == [
        f"assign t{number}.1 to a1" for number in range(3)
    ]


def test_more_pairs_than_fit_a_turn_are_matched_in_the_turns_that_follow_at_once(play: Play) -> None:
    looked_at = 0

    def counting(labels: Labels) -> bool:
        nonlocal looked_at
        looked_at += 1
        return labels["host"] == "h1299"

    for number in range(1_300):
        play.tell(hello(f"a{number}", labels={"host": f"h{number}"})(play))
    play.later(10).later(10)
    spec = spec_of(selector="counted")
    wanted = submission(spec)
    wanted.predicate = counting
    play.answers.append("t1")
    play >> (lambda play: TasksSubmitted(len(play.answers) - 1, [wanted]))
    assert looked_at <= PAIRS_MAX
    assert play.said == []
    assert play.engine.next_wake_ms <= play.engine.clock_ms
    play.end_turn()
    play << "assign t1.1 to a1299"


def test_a_requirement_and_an_agent_that_arrive_while_others_are_matched_find_each_other(play: Play) -> None:
    for number in range(1_100):
        play.tell(hello(f"a{number}", slots=0, labels={"host": f"h{number}"})(play))
    play >> submit("t1")
    play >> submit("t2", selector="region=eu")
    play >> hello("late", slots=2, labels={"region": "eu"})
    play.later(10)
    assert sorted(play.said) == ["assign t1.1 to late", "assign t2.1 to late"]


def test_all_of_many_different_agents_get_their_turn(play: Play) -> None:
    count = 2 * CANDIDATES_MAX + 5
    for number in range(count):
        play.tell(hello(f"a{number}", labels={"host": f"h{number}"})(play))
    play.later(10)
    for number in range(count):
        play >> submit(f"t{number}")
    assert len({words.split()[-1] for words in play.said}) == count


def test_the_heap_of_free_agents_does_not_grow_with_what_they_did(play: Play) -> None:
    play >> hello("a1", slots=2)
    for number in range(300):
        play >> submit(f"t{number}") >> result(f"t{number}.1")
    (profile,) = play.skip().engine.fleet.profiles.values()
    assert len(profile.free) <= 4 + 65


def test_results_of_a_frame_free_all_their_slots(play: Play) -> None:
    play >> hello("a1", slots=3)
    for number in range(6):
        play >> submit(f"t{number}")
    results = [AttemptEnded(lease, Payload()) for lease in play.agent("a1").leases]
    play.skip() >> frame("a1", results=results)
    assert [words for words in play.said if words.startswith("assign")] == [
        f"assign t{number}.1 to a1" for number in (3, 4, 5)
    ]
