"""Candidates of which one wins: how they are launched, who is taken, what the others cost."""

from __future__ import annotations

import pytest

from tests.support.mode_stage import KnownFacts, Line, Stage, cancelled, done, failed, step, woken
from upbeat_server.engine.collaboration.mode import Check
from upbeat_server.engine.model import Competitive, Payload, TaskSpec

FIRST_ACCEPTABLE, BEST_OF = 2, 3
HEDGED, STAGED = 2, 3

ACCEPT = "output > 2"


def above_two(output: Payload) -> bool:
    return output.data.isdigit() and int(output.data) > 2


CHECKS: dict[str, Check] = {ACCEPT: above_two}


def candidates(number: int) -> tuple[TaskSpec, ...]:
    return tuple(step("solve") for _ in range(number))


def accepting(number: int, launch: int = 1) -> Stage:
    return Stage(Competitive(candidates(number), FIRST_ACCEPTABLE, ACCEPT, launch=launch), checks=CHECKS)


def judged(number: int) -> Stage:
    return Stage(Competitive(candidates(number), BEST_OF, judge=step("judge")))


def verdicts(pair: str, forward: str, backward: str) -> tuple[Line, Line]:
    """Both answers of a judge about a pair of ordinals."""
    return done(f"pair/{pair}/forward", f'"{forward}"'), done(f"pair/{pair}/backward", f'"{backward}"')


def test_the_first_to_complete_wins_in_the_order_of_commits() -> None:
    stage = Stage(Competitive(candidates(3)), distinct=True)
    assert stage.said == [f'spawn candidate/{n} in candidates: "question"' for n in range(3)]
    stage >> failed("candidate/0", ran_ms=30) >> done("candidate/2", "2", ran_ms=500)
    assert stage.said == ["finish 2"]
    assert stage.result.winner_id == stage.task_id("candidate/2")
    assert stage.result.wasted_ms == 30
    stage.assert_restarts()


def test_agents_may_be_the_same_where_they_need_not_be_distinct() -> None:
    assert [spawn.panel for spawn in Stage(Competitive(candidates(2))).spawned.values()] == ["", ""]


def test_when_all_have_failed_every_error_is_told() -> None:
    stage = Stage(Competitive(candidates(3)))
    stage >> failed("candidate/1", "BROKEN", "one", ran_ms=1) >> cancelled("candidate/2")
    assert not stage.is_decided
    stage >> failed("candidate/0", "TIRED", ran_ms=2)
    assert stage.said[3:] == ["fail NO_WINNER"]
    assert stage.error.details == {
        "candidate/0": "TIRED",
        "candidate/1": "BROKEN: one",
        "candidate/2": "CANCELLED",
    }
    assert stage.error.message.startswith("none of 3 candidates won: candidate/0: TIRED; candidate/1: BROKEN")
    assert stage.result.wasted_ms == 3
    stage.assert_restarts()


def test_the_next_candidate_of_a_staged_launch_starts_after_a_failure() -> None:
    stage = Stage(Competitive(candidates(3), launch=STAGED))
    stage << 'spawn candidate/0: "question"'
    stage >> failed("candidate/0")
    stage << 'spawn candidate/1: "question"'
    stage >> done("candidate/1", "1")
    stage << "finish 1"
    stage.assert_restarts()


def test_a_staged_launch_ends_when_there_is_no_next() -> None:
    stage = Stage(Competitive(candidates(2), launch=STAGED))
    stage >> failed("candidate/0") >> failed("candidate/1")
    assert stage.said[2:] == ["fail NO_WINNER"]


def test_a_hedge_starts_after_the_delay() -> None:
    stage = Stage(Competitive(candidates(3), launch=HEDGED, hedge_delay_ms=400))
    assert stage.said == ['spawn candidate/0: "question"', "wake in 400"]
    stage >> woken()
    assert stage.said == ['spawn candidate/1 hedge: "question"', "freeze", "wake in 400"]
    stage.assert_restarts()
    stage >> woken()
    assert stage.said == ['spawn candidate/2 hedge: "question"', "freeze"]
    stage.assert_restarts()
    stage >> done("candidate/1", "1")
    assert stage.said == ["finish 1"]
    stage.assert_restarts()


def test_the_delay_is_the_learned_quantile_of_the_type() -> None:
    facts = KnownFacts(duration_ms=123.4)
    stage = Stage(Competitive(candidates(2), launch=HEDGED, hedge_quantile=0.9), facts=facts)
    assert (stage.said[1:], facts.asked) == (["wake in 123"], ["quantile 0.9 of solve"])
    facts.known_ms = 0.2
    assert Stage(Competitive(candidates(2), launch=HEDGED), facts=facts).said[1:] == ["wake in 1"]


def test_the_delay_is_ten_seconds_while_nothing_is_known() -> None:
    assert Stage(Competitive(candidates(2), launch=HEDGED)).said[1:] == ["wake in 10000"]


def test_no_hedge_starts_while_there_are_too_many() -> None:
    stage = Stage(Competitive(candidates(2), launch=HEDGED, hedge_delay_ms=400))
    stage.facts.has_room = False
    stage >> woken()
    assert stage.said[2:] == ["wake in 400"]
    stage.facts.has_room = True
    stage >> woken()
    assert stage.said == ['spawn candidate/1 hedge: "question"', "freeze"]


def test_a_failure_starts_the_next_at_once_and_the_delay_begins_anew() -> None:
    stage = Stage(Competitive(candidates(4), launch=HEDGED, hedge_delay_ms=400))
    stage >> failed("candidate/0")
    assert stage.said[2:] == ['spawn candidate/1: "question"', "wake in 400"]
    stage >> woken()
    assert stage.said == ['spawn candidate/2 hedge: "question"', "freeze", "wake in 400"]
    stage.assert_restarts()
    stage >> failed("candidate/2") >> failed("candidate/1")
    assert stage.said == ['spawn candidate/3: "question"']
    stage.assert_restarts()
    stage >> failed("candidate/3")
    assert stage.said == ["fail NO_WINNER"]
    stage.assert_restarts()


def test_nothing_happens_when_it_is_woken_with_all_launched() -> None:
    stage = Stage(Competitive(candidates(2), launch=HEDGED, hedge_delay_ms=400))
    stage >> failed("candidate/0") >> woken()
    assert stage.said[2:] == ['spawn candidate/1: "question"']
    assert stage.reducer.woken(stage.facts) == []
    assert Stage(Competitive(candidates(2))).reducer.woken(stage.facts) == []


def test_a_single_candidate_needs_no_hedge() -> None:
    assert Stage(Competitive(candidates(1), launch=HEDGED)).said == ['spawn candidate/0: "question"']


def test_the_first_output_that_meets_the_condition_wins() -> None:
    stage = accepting(3)
    stage >> done("candidate/0", "1") >> done("candidate/2", "3")
    assert stage.said[3:] == ["finish 3"]
    stage.assert_restarts()


def test_an_output_that_is_not_acceptable_counts_as_a_failure() -> None:
    stage = accepting(2, STAGED)
    stage >> done("candidate/0", "1")
    assert stage.said[1:] == ['spawn candidate/1: "question"']
    stage >> done("candidate/1", "2")
    assert stage.error.details["candidate/1"] == "its output is not accepted by 'output > 2'"


def test_a_validator_says_whether_an_output_is_acceptable() -> None:
    stage = Stage(Competitive(candidates(2), FIRST_ACCEPTABLE, validator=step("check")), distinct=True)
    stage >> done("candidate/1", '"b"', ran_ms=5) >> done("candidate/0", '"a"', ran_ms=7)
    assert stage.said[2:] == ['spawn candidate/1/validator: "b"', 'spawn candidate/0/validator: "a"']
    stage >> done("candidate/0/validator", '{"accept": true}', ran_ms=100)
    assert stage.said == ['finish "a"']
    assert stage.result.winner_id == stage.task_id("candidate/0")
    assert stage.result.wasted_ms == 5
    stage.assert_restarts()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (done("candidate/0/validator", "false"), "its validator does not accept its output"),
        (done("candidate/0/validator", "1"), "its validator does not accept its output"),
        (done("candidate/0/validator", '{"accept": "yes"}'), "its validator does not accept its output"),
        (done("candidate/0/validator", "yes"), "the answer of its validator is no JSON: "),
        (failed("candidate/0/validator", "BROKEN"), "its validator failed: BROKEN"),
    ],
)
def test_what_its_validator_does_not_accept_loses(answer: Line, why: str) -> None:
    stage = Stage(Competitive(candidates(1), FIRST_ACCEPTABLE, validator=step("check")))
    stage >> done("candidate/0", "1") >> answer
    assert stage.error.details["candidate/0"].startswith(why)


def test_a_candidate_before_its_validator_keeps_the_contest_open() -> None:
    stage = Stage(Competitive(candidates(2), FIRST_ACCEPTABLE, validator=step("check", "0")))
    stage >> done("candidate/0", "1") >> failed("candidate/1")
    assert stage.said[2:] == ["spawn candidate/0/validator: 0 previous=1"]
    stage >> done("candidate/0/validator", "true")
    assert stage.said == ["finish 1"]


def test_the_largest_score_wins_and_the_lowest_ordinal_among_equals() -> None:
    stage = Stage(Competitive(candidates(3), BEST_OF, score="/score"))
    stage >> done("candidate/2", '{"score": 2.0}') >> done("candidate/1", '{"score": 2}')
    assert not stage.is_decided
    stage >> done("candidate/0", '{"score": -1}')
    assert stage.said[3:] == ['finish {"score": 2}']
    stage.assert_restarts()


def test_large_scores_are_compared_exactly() -> None:
    stage = Stage(Competitive(candidates(2), BEST_OF, score=""))
    stage >> done("candidate/0", "9007199254740993") >> done("candidate/1", "9007199254740994")
    assert stage.said[2:] == ["finish 9007199254740994"]


def test_an_output_without_a_score_loses() -> None:
    stage = Stage(Competitive(candidates(4), BEST_OF, score="/score"))
    stage >> done("candidate/0", '{"score": "9"}') >> done("candidate/1", "{}") >> failed("candidate/2")
    stage >> done("candidate/3", '{"score": true}')
    assert stage.error.details == {
        "candidate/0": "its score at '/score' is no number",
        "candidate/1": "its output has nothing at JSON pointer '/score'",
        "candidate/2": "BROKEN",
        "candidate/3": "its score at '/score' is no number",
    }


def test_the_best_of_all_needs_all_however_they_are_to_be_launched() -> None:
    stage = Stage(Competitive(candidates(3), BEST_OF, score="", launch=STAGED))
    assert len(stage.said) == 3


def test_a_judge_compares_each_pair_in_both_orders() -> None:
    stage = judged(2)
    stage >> done("candidate/1", '"b"') >> done("candidate/0", '"a"')
    assert stage.said[2:] == [
        'spawn pair/0/1/forward: "question" first="a" second="b"',
        'spawn pair/0/1/backward: "question" first="b" second="a"',
    ]
    for line in verdicts("0/1", "second", "first"):
        stage >> line
    assert stage.said == ['finish "b"']
    stage.assert_restarts()


@pytest.mark.parametrize(
    ("forward", "backward"),
    [("first", "second"), ("first", "first"), ("second", "second"), ("tie", "first"), ("second", "tie")],
)
def test_the_champion_stays_unless_the_challenger_wins_in_both_orders(forward: str, backward: str) -> None:
    stage = judged(2)
    stage >> done("candidate/0", '"a"') >> done("candidate/1", '"b"')
    for line in reversed(verdicts("0/1", forward, backward)):
        stage >> line
    assert stage.said[-1] == 'finish "a"'


def test_the_champion_meets_the_others_in_their_order() -> None:
    stage = judged(4)
    for ordinal in (3, 1, 0):
        stage >> done(f"candidate/{ordinal}", f'"{ordinal}"')
    assert list(stage.spawned)[4:] == ["pair/0/1/forward", "pair/0/1/backward"], "2 may still come"
    for line in verdicts("0/1", "second", "first"):
        stage >> line
    assert len(stage.spawned) == 6
    stage >> failed("candidate/2")
    assert list(stage.spawned)[6:] == ["pair/1/3/forward", "pair/1/3/backward"]
    stage >> done("pair/1/3/forward", '{"winner": "first"}') >> done("pair/1/3/backward", '"tie"')
    assert stage.said[-1] == 'finish "1"'
    assert stage.result.winner_id == stage.task_id("candidate/1")
    stage.assert_restarts()


def test_who_alone_completes_needs_no_judge() -> None:
    stage = judged(3)
    stage >> failed("candidate/0") >> failed("candidate/2") >> done("candidate/1", "1")
    assert stage.said[3:] == ["finish 1"]
    nobody = judged(1)
    nobody >> failed("candidate/0")
    assert nobody.said[1:] == ["fail NO_WINNER"]


def test_a_judge_that_fails_leaves_the_best_unknown() -> None:
    stage = judged(2)
    stage >> done("candidate/0", ran_ms=5) >> done("candidate/1") >> failed("pair/0/1/backward")
    assert stage.error.message == "step pair/0/1/backward failed: BROKEN"
    assert stage.error.reason == "STEP_FAILED"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ('"third"', 'is to be "first", "second" or "tie", or an object with that as winner, and is "third"'),
        ('{"winner": []}', '{"winner":[]}'),
        ("first", "is no JSON: "),
    ],
)
def test_a_judge_whose_answer_is_no_verdict_fails_the_collaboration(answer: str, words: str) -> None:
    stage = judged(2)
    stage >> done("candidate/0") >> done("candidate/1") >> done("pair/0/1/forward", answer)
    assert stage.error.reason == "INVALID_FORM"
    assert stage.error.message.startswith("the output of judge pair/0/1/forward ")
    assert words in stage.error.message


def test_ends_that_were_told_before_or_belong_to_nobody_change_nothing() -> None:
    stage = judged(2)
    stage >> done("candidate/0") >> failed("candidate/0") >> done("candidate/7") >> done("pair/0/1/forward")
    assert len(stage.said) == 2
    stage >> done("candidate/1") >> done("pair/0/1/forward", '"tie"') >> failed("pair/0/1/forward")
    stage >> done("pair/0/1/backward", '"tie"')
    assert stage.said[-1] == 'finish "ok"'
