"""Ballots of several agents: rules, quorum, replacements, early decision, and what follows no consensus."""

from __future__ import annotations

import pytest

from tests.support.mode_stage import KnownFacts, Line, Stage, cancelled, done, failed, step
from upbeat_server.engine.model import Consensus, Tally

MAJORITY, PLURALITY, SUPERMAJORITY, UNANIMOUS = 1, 2, 3, 4
FAIL, TIE_BREAK, EXTRA_VOTER, JUDGE = 1, 2, 3, 4
STATIC, PERFORMANCE = 2, 3
NUMBER = 4

VOTER = step("vote")


def vote(ordinal: int, text: str, agent: str = "", *, round_number: int = 0) -> Line:
    """A ballot came in."""
    return done(f"round/{round_number}/voter/{ordinal}", text, agent=agent)


def trouble(ordinal: int, reason: str = "BROKEN", *, round_number: int = 0) -> Line:
    """A ballot failed."""
    return failed(f"round/{round_number}/voter/{ordinal}", reason)


def poll(*, voters: int = 3, quorum: int = 0, **rest: object) -> Consensus:
    """A vote with the default quorum."""
    return Consensus(VOTER, voters, quorum=quorum or voters // 2 + 1, **rest)  # type: ignore[arg-type]


def test_voters_are_asked_at_the_same_time_each_by_another_agent() -> None:
    stage = Stage(poll(), distinct=True)
    assert stage.said == [f'spawn round/0/voter/{n} in round/0: "question"' for n in range(3)]


def test_agents_may_vote_twice_where_they_need_not_be_distinct() -> None:
    assert [spawn.panel for spawn in Stage(poll()).spawned.values()] == ["", "", ""]


def test_more_than_half_of_the_weight_wins_and_nobody_waits_for_the_rest() -> None:
    stage = Stage(poll())
    stage >> vote(1, '"yes"') >> vote(2, '"yes"')
    assert stage.said[3:] == ['finish "yes"']
    result = stage.result
    assert (result.decided_early, result.missing, result.rounds) == (True, 1, 1)
    assert result.tally == (Tally(b'"yes"', 2, 2.0),)
    assert (result.winning_value, result.margin) == (b'"yes"', 2.0)
    assert result.winner_id == stage.task_id("round/0/voter/1")
    stage.assert_restarts()


def test_all_ballots_are_heard_where_nothing_is_decided_early() -> None:
    stage = Stage(poll(early_decision=False))
    stage >> vote(0, '"yes"') >> vote(2, '"yes"') >> vote(1, '"no"')
    assert stage.said[3:] == ['finish "yes"']
    result = stage.result
    assert result.dissent_ids == (stage.task_id("round/0/voter/1"),)
    assert (result.decided_early, result.missing, result.margin) == (False, 0, 1.0)


def test_the_output_is_that_of_the_lowest_ordinal_that_voted_for_the_winner() -> None:
    stage = Stage(poll(early_decision=False, vote="/vote"))
    (
        stage
        >> vote(2, '{"vote": 1, "why": "c"}')
        >> vote(0, '{"vote": 2}')
        >> vote(1, '{"vote": 1.0, "why": "b"}')
    )
    assert stage.said[3:] == ['finish {"vote": 1.0, "why": "b"}']
    assert stage.result.tally == (Tally(b"1", 2, 2.0), Tally(b"2", 1, 1.0))


def test_it_fails_with_the_tally_as_soon_as_no_value_can_win() -> None:
    stage = Stage(poll(voters=5, rule=UNANIMOUS))
    stage >> vote(0, '"yes"') >> vote(3, '"no"')
    assert stage.said[5:] == ["fail NO_CONSENSUS"]
    tally = '"yes": 1 ballot of weight 1; "no": 1 ballot of weight 1'
    assert stage.error.details == {"tally": tally, "valid": "2", "quorum": "3", "abstained": "0"}
    assert stage.error.message == f"no consensus: no value can have all of the weight cast ({tally})"


def test_a_supermajority_of_two_thirds_is_met_by_two_of_three() -> None:
    stage = Stage(poll(rule=SUPERMAJORITY, supermajority=2 / 3, early_decision=False))
    stage >> vote(0, "1") >> vote(1, "2") >> vote(2, "1")
    assert stage.said[3:] == ["finish 1"]


def test_a_supermajority_is_lost_when_the_share_cannot_be_reached() -> None:
    stage = Stage(poll(voters=4, rule=SUPERMAJORITY, supermajority=0.75))
    stage >> vote(0, "1") >> vote(1, "2") >> vote(2, "2")
    assert not stage.is_decided
    stage >> vote(3, "1")
    assert stage.error.message.startswith("no consensus: no value has a share of 0.75 of the weight cast")


def test_the_most_weight_wins_a_plurality_once_no_rival_can_catch_up() -> None:
    stage = Stage(poll(voters=5, quorum=1, rule=PLURALITY))
    stage >> vote(0, "1") >> vote(1, "2") >> vote(2, "1")
    assert not stage.is_decided, "two for 2 would win"
    stage >> vote(4, "1")
    assert stage.said[5:] == ["finish 1"]


def test_a_tie_is_no_plurality() -> None:
    stage = Stage(poll(voters=2, rule=PLURALITY))
    stage >> vote(0, "1") >> vote(1, "2")
    assert "no value has more weight than any other value" in stage.error.message


def test_unanimity_needs_every_ballot() -> None:
    stage = Stage(poll(rule=UNANIMOUS))
    stage >> vote(0, "1") >> vote(1, "1")
    assert not stage.is_decided
    stage >> vote(2, "1")
    assert (stage.said[3:], stage.result.decided_early) == (["finish 1"], False)


def test_ballots_that_fail_or_are_invalid_are_replaced_as_often_as_there_are_voters() -> None:
    stage = Stage(poll(voters=2, choices=("yes", "no")))
    stage >> trouble(0) >> vote(1, '"perhaps"')
    assert stage.said[2:] == ['spawn round/0/voter/2: "question"', 'spawn round/0/voter/3: "question"']
    stage >> vote(2, '"yes"') >> cancelled("round/0/voter/3")
    assert stage.said == ["fail NO_CONSENSUS"]
    assert stage.error.details["missing"] == (
        "round/0/voter/0 failed: BROKEN; "
        'round/0/voter/1 votes for "perhaps", which is none of the choices: yes, no; '
        "round/0/voter/3 failed: CANCELLED"
    )
    stage.assert_restarts()


def test_an_abstention_is_not_replaced() -> None:
    stage = Stage(poll(voters=4, quorum=2))
    stage >> trouble(0, "ABSTAINED") >> vote(1, "null") >> vote(2, "1") >> vote(3, "1")
    assert stage.said[4:] == ["finish 1"]
    assert (stage.result.missing, stage.result.abstained) == (2, 2)


def test_it_fails_as_soon_as_the_quorum_cannot_be_met() -> None:
    stage = Stage(poll())
    stage >> vote(0, "null") >> vote(1, "null")
    assert stage.said[3:] == ["fail NO_CONSENSUS"]
    assert stage.error.message == (
        "no consensus: 0 of the 2 valid ballots came in that are needed (nobody voted)"
    )


def test_static_weights_are_those_of_the_label_when_the_vote_began() -> None:
    facts = KnownFacts({"a": 5.0, "b": 0.5, "c": 1.0})
    stage = Stage(poll(weights=STATIC, weight_label="trust", early_decision=False), facts=facts)
    assert facts.asked == ["label trust of vote"]
    stage << "freeze"
    stage >> vote(0, '"no"', "b") >> vote(1, '"no"', "c") >> vote(2, '"yes"', "a")
    assert stage.said[3:] == ['finish "yes"']
    assert stage.result.tally == (Tally(b'"yes"', 1, 5.0), Tally(b'"no"', 2, 1.5))
    assert stage.result.margin == 3.5
    stage.assert_restarts()


def test_learned_weights_are_asked_for_by_type_and_number_of_choices() -> None:
    facts = KnownFacts({"a": 2.5})
    stage = Stage(poll(weights=PERFORMANCE, choices=("x", "y", "z")), facts=facts)
    assert facts.asked == ["weights of vote with 3"]
    stage >> vote(0, '"x"', "a")
    stage.assert_restarts()


def test_an_open_vote_is_learned_from_as_one_between_two() -> None:
    facts = KnownFacts()
    Stage(poll(weights=PERFORMANCE), facts=facts)
    assert facts.asked == ["weights of vote with 2"]


def test_a_weight_that_is_no_weight_counts_nothing() -> None:
    facts = KnownFacts({"a": -3.0, "b": float("nan"), "c": 1e9})
    stage = Stage(poll(weights=PERFORMANCE, early_decision=False), facts=facts)
    stage >> vote(0, "1", "a") >> vote(1, "1", "b") >> vote(2, "2", "c")
    assert stage.result.tally == (Tally(b"2", 1, 1000.0), Tally(b"1", 2, 0.0))


def test_no_value_wins_where_nothing_weighs_anything() -> None:
    stage = Stage(poll(weights=STATIC, weight_label="w"), facts=KnownFacts(other=0.0))
    stage >> vote(0, "1") >> vote(1, "1")
    assert stage.error.reason == "NO_CONSENSUS"


def test_a_heavy_agent_that_may_still_vote_keeps_the_vote_open() -> None:
    facts = KnownFacts({"heavy": 10.0})
    stage = Stage(poll(voters=4, weights=STATIC, weight_label="w"), distinct=True, facts=facts)
    stage >> vote(0, "1", "a") >> vote(1, "1", "b") >> vote(2, "1", "c")
    assert not stage.is_decided
    stage >> vote(3, "2", "heavy")
    assert stage.finish.output.data == b"2"


def test_a_heavy_agent_that_has_voted_cannot_vote_again_in_the_round() -> None:
    facts = KnownFacts({"heavy": 10.0})
    mode = poll(voters=4, quorum=1, weights=STATIC, weight_label="w")
    distinct = Stage(mode, distinct=True, facts=facts)
    distinct >> vote(0, "1", "heavy")
    assert distinct.result.decided_early
    shared = Stage(mode, facts=facts)
    shared >> vote(0, "1", "heavy")
    assert not shared.is_decided


def test_a_tie_is_broken_by_weight_then_by_the_heaviest_ballot_then_by_the_lowest_ordinal() -> None:
    facts = KnownFacts({"two": 2.0})
    mode = poll(voters=4, weights=STATIC, weight_label="w", on_no_consensus=TIE_BREAK)
    stage = Stage(mode, facts=facts)
    stage >> vote(0, '"a"', "one") >> vote(1, '"a"', "one") >> vote(3, '"c"', "one") >> vote(2, '"b"', "two")
    assert stage.finish.output.data == b'"b"'
    plain = Stage(poll(voters=2, on_no_consensus=TIE_BREAK))
    plain >> vote(1, '"b"') >> vote(0, '"a"')
    assert (plain.finish.output.data, plain.result.margin) == (b'"a"', 0.0)


def test_a_tie_break_needs_the_quorum() -> None:
    stage = Stage(poll(voters=2, on_no_consensus=TIE_BREAK))
    stage >> vote(0, "1") >> vote(1, "null")
    assert stage.error.reason == "NO_CONSENSUS"


def test_with_a_tie_break_the_leader_wins_as_soon_as_nobody_can_pass_it() -> None:
    stage = Stage(poll(voters=5, quorum=2, rule=UNANIMOUS, on_no_consensus=TIE_BREAK))
    stage >> vote(0, "1") >> vote(1, "2") >> vote(2, "1") >> vote(3, "1")
    assert (stage.said[5:], stage.result.decided_early) == (["finish 1"], True)


def test_with_a_tie_break_nobody_waits_for_a_ballot_that_can_only_make_a_tie() -> None:
    stage = Stage(poll(voters=5, rule=PLURALITY, on_no_consensus=TIE_BREAK))
    stage >> vote(0, "1") >> vote(1, "2") >> vote(2, "3") >> vote(3, "1")
    assert (stage.said[5:], stage.result.decided_early) == (["finish 1"], True)
    stage.assert_restarts()


def test_a_tie_is_waited_for_where_it_might_be_broken_otherwise() -> None:
    later = Stage(poll(voters=5, rule=PLURALITY, on_no_consensus=TIE_BREAK))
    later >> vote(0, "2") >> vote(1, "1") >> vote(2, "1") >> vote(3, "3")
    assert not later.is_decided  # With one more ballot the other value has the lower ordinal.
    earlier = Stage(poll(voters=5, rule=PLURALITY, on_no_consensus=TIE_BREAK))
    earlier >> vote(1, "1") >> vote(2, "2") >> vote(3, "3") >> vote(4, "1")
    assert not earlier.is_decided  # The ballot that is left has a lower ordinal than all.
    facts = KnownFacts({"two": 2.0})
    weights = {"weights": STATIC, "weight_label": "w", "on_no_consensus": TIE_BREAK}
    heavier = Stage(poll(voters=4, quorum=1, rule=PLURALITY, **weights), facts=facts, distinct=True)
    heavier >> vote(0, "1", "a") >> vote(1, "1", "b") >> vote(2, "2", "c")
    assert not heavier.is_decided  # Whose ballot weighs two.
    heavier >> vote(3, "2", "d")
    assert heavier.said[5:] == ["finish 1"]


def test_one_extra_voter_is_asked_where_it_can_help() -> None:
    stage = Stage(poll(voters=2, on_no_consensus=EXTRA_VOTER), distinct=True)
    stage >> vote(0, "1") >> vote(1, "2")
    assert stage.said[2:] == ['spawn round/0/voter/2 in round/0: "question"']
    stage >> vote(2, "2")
    assert stage.said == ["finish 2"]
    stage.assert_restarts()


def test_there_is_one_extra_voter_and_no_second() -> None:
    stage = Stage(poll(voters=2, on_no_consensus=EXTRA_VOTER))
    stage >> vote(0, "1") >> vote(1, "2") >> vote(2, "3")
    assert stage.said[3:] == ["fail NO_CONSENSUS"]


def test_no_extra_voter_is_asked_where_none_could_help() -> None:
    stage = Stage(poll(on_no_consensus=EXTRA_VOTER))
    stage >> vote(0, "1") >> vote(1, "2") >> vote(2, "3")
    assert stage.said[3:] == ["fail NO_CONSENSUS"]


def test_an_extra_voter_is_asked_anyway_where_nothing_is_decided_early() -> None:
    stage = Stage(poll(on_no_consensus=EXTRA_VOTER, early_decision=False))
    stage >> vote(0, "1") >> vote(1, "2") >> vote(2, "3") >> vote(3, "3")
    assert stage.said[3:] == ['spawn round/0/voter/3: "question"', "fail NO_CONSENSUS"]


def test_a_judge_decides_between_the_values() -> None:
    stage = Stage(poll(vote="/v", on_no_consensus=JUDGE, judge=step("judge")))
    stage >> vote(0, '{"v": 3}') >> vote(1, '{"v": 1}') >> vote(2, '{"v": 2}')
    assert stage.said[3:] == ['spawn judge: "question" ballots=[{"v": 1},{"v": 2},{"v": 3}]']
    assert stage.spawned["judge"].panel == ""
    stage >> done("judge", '{"v": 2.0, "why": "it is"}')
    assert stage.said == ['finish {"v": 2}']
    assert stage.result.winner_id == stage.task_id("round/0/voter/2")
    assert len(stage.result.dissent_ids) == 2
    stage.assert_restarts()


def test_the_word_of_a_judge_is_a_grade_for_everybody_who_voted() -> None:
    stage = Stage(poll(on_no_consensus=JUDGE, judge=step("judge")))
    stage >> vote(0, "3", "z") >> vote(1, "1", "x") >> vote(2, "2", "y") >> done("judge", "2")
    assert stage.said[-4:] == [
        "grade z for vote: wrong",
        "grade x for vote: wrong",
        "grade y for vote: right",
        "finish 2",
    ]


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (done("judge", "4"), "the judge chose 4, which nobody voted for"),
        (done("judge", "null"), "the judge abstained"),
        (failed("judge", "TIRED"), "the judge failed: TIRED"),
        (done("judge", "{"), "the judge is no JSON: Input data was truncated"),
    ],
)
def test_a_judge_that_decides_nothing_leaves_no_consensus(verdict: Line, words: str) -> None:
    stage = Stage(poll(voters=2, on_no_consensus=JUDGE, judge=step("judge")))
    stage >> vote(0, "1") >> vote(1, "2") >> verdict
    assert words in stage.error.message
    assert stage.error.reason == "NO_CONSENSUS"


def test_a_judge_is_given_what_the_voters_were_given() -> None:
    mode = Consensus(step("vote", '"own"'), 2, quorum=2, on_no_consensus=JUDGE, judge=step("judge"))
    stage = Stage(mode)
    stage >> vote(0, "1") >> vote(1, "2")
    assert stage.said[2:] == ['spawn judge: "own" ballots=[1,2]']


def test_a_further_round_is_shown_the_ballots_without_names() -> None:
    stage = Stage(poll(rounds=2), distinct=True)
    stage >> vote(2, '"b"', "z") >> vote(0, '"c"', "y") >> vote(1, '"a"', "x")
    shown = ': "question" ballots=["a","b","c"]'
    assert stage.said[3:] == [f"spawn round/1/voter/{n} in round/1{shown}" for n in range(3)]
    stage >> trouble(0, round_number=1)
    stage << f"spawn round/1/voter/3 in round/1{shown}"
    stage >> vote(3, '"a"', round_number=1) >> vote(2, '"a"', round_number=1)
    stage << 'finish "a"'
    assert (stage.result.rounds, stage.result.missing) == (2, 2)
    stage.assert_restarts()


def test_a_round_that_decides_is_the_last() -> None:
    stage = Stage(poll(rounds=3))
    stage >> vote(0, "1") >> vote(1, "1")
    assert (stage.said[3:], stage.result.rounds) == (["finish 1"], 1)


def test_replacements_are_counted_over_all_rounds() -> None:
    stage = Stage(poll(voters=2, rounds=2))
    stage >> trouble(0) >> trouble(1) >> vote(2, "1") >> vote(3, "2")
    stage >> trouble(0, round_number=1)
    assert stage.error.details["missing"] == "round/1/voter/0 failed: BROKEN"
    assert [key for key in stage.spawned if key.startswith("round/1")] == [
        "round/1/voter/0",
        "round/1/voter/1",
    ]


@pytest.mark.parametrize(
    ("kind", "votes", "answer"),
    [
        (1, ["3", "1", "2"], "2"),
        (1, ["1", "2", "4", "10"], "3"),
        (1, ["1", "2"], "1.5"),
        (1, ["123456789012345678901", "123456789012345678901", "0"], "123456789012345678901"),
        (2, ["1", "2", "4.5"], "2.5"),
        (2, ["0.1", "0.2"], "0.15"),
        (3, ["1", "100", "2", "3", "-50"], "2"),
        (3, ["1", "2"], "1.5"),
    ],
)
def test_numeric_votes_are_aggregated(kind: int, votes: list[str], answer: str) -> None:
    stage = Stage(poll(voters=len(votes), aggregate=kind))
    for ordinal, text in enumerate(votes):
        stage >> vote(ordinal, text)
    assert stage.finish.output.data.decode() == answer
    result = stage.result
    assert (result.winning_value.decode(), result.winner_id, result.dissent_ids) == (answer, 0, ())
    assert not result.decided_early
    assert sum(entry.ballots for entry in result.tally) == len(votes)


def test_aggregates_are_weighted() -> None:
    facts = KnownFacts({"heavy": 3.0})
    for kind, answer in ((1, b"10"), (2, b"7.75")):
        stage = Stage(poll(voters=2, aggregate=kind, weights=STATIC, weight_label="w"), facts=facts)
        stage >> vote(0, "1", "light") >> vote(1, "10", "heavy")
        assert stage.finish.output.data == answer


def test_an_aggregate_needs_the_quorum_and_a_weight() -> None:
    stage = Stage(poll(aggregate=2))
    stage >> vote(0, "1") >> vote(1, "null") >> vote(2, "null")
    assert stage.error.message.startswith("no consensus: 1 of the 2 valid ballots came in")
    light = Stage(poll(aggregate=2, weights=STATIC, weight_label="w"), facts=KnownFacts(other=0.0))
    light >> vote(0, "1") >> vote(1, "2") >> vote(2, "3")
    assert "the ballots weigh nothing together" in light.error.message


def test_what_is_aggregated_must_be_numbers() -> None:
    stage = Stage(poll(voters=2, aggregate=2))
    stage >> vote(0, '"many"') >> vote(1, "true") >> vote(2, "5") >> vote(3, '" 6 "')
    assert stage.finish.output.data == b"5.5"


def test_numbers_that_are_near_are_one_value_named_after_the_lowest_ordinal() -> None:
    stage = Stage(poll(normalize=NUMBER, tolerance=0.5, early_decision=False))
    stage >> vote(2, "1.9") >> vote(1, "1.4") >> vote(0, "1")
    assert stage.result.tally == (Tally(b"1", 2, 2.0), Tally(b"1.9", 1, 1.0))


def test_a_number_with_a_lower_ordinal_could_still_take_others_over() -> None:
    stage = Stage(poll(normalize=NUMBER, tolerance=0.5))
    stage >> vote(1, "1") >> vote(2, "1.4")
    assert not stage.is_decided
    stage >> vote(0, "1.6")
    assert stage.result.tally == (Tally(b"1.6", 2, 2.0), Tally(b"1", 1, 1.0))
    fixed = Stage(poll(normalize=NUMBER, tolerance=0.5))
    fixed >> vote(0, "1") >> vote(1, "1.4")
    assert fixed.result.decided_early


def test_a_judge_may_choose_a_number_that_is_near() -> None:
    mode = poll(voters=2, normalize=NUMBER, tolerance=0.5, on_no_consensus=JUDGE, judge=step("judge"))
    stage = Stage(mode)
    stage >> vote(0, "1") >> vote(1, "2") >> done("judge", "2.25")
    assert stage.finish.output.data == b"2"


def test_ends_that_were_told_before_or_belong_to_nobody_change_nothing() -> None:
    stage = Stage(poll())
    stage >> vote(0, "1") >> vote(0, "1") >> trouble(0) >> vote(7, "1") >> done("judge", "1")
    assert len(stage.said) == 3
    assert stage.reducer.woken(stage.facts) == []


def test_of_a_long_value_the_beginning_is_told() -> None:
    stage = Stage(poll(voters=1))
    stage >> vote(0, '["' + "é" * 20_000 + '"]')
    told = stage.result.winning_value
    assert stage.result.tally == (Tally(told, 1, 1.0),)
    assert told.startswith('"[\\"éé'.encode())
    assert told.endswith('é..."'.encode())
    assert 16_384 - 2 < len(told) < 16_384 + 8
    assert len(stage.finish.output.data) > 40_000


def test_an_error_tells_the_heaviest_values_only() -> None:
    stage = Stage(poll(voters=15, early_decision=False))
    for ordinal in range(15):
        stage >> vote(ordinal, str(ordinal))
    assert stage.error.details["tally"].endswith("9: 1 ballot of weight 1; and 5 other values")
    assert len(stage.result.tally) == 15
