"""Steps at the same time: joins, failures, lists to map over, and how outputs are put together."""

from __future__ import annotations

import pytest

from tests.support.mode_stage import Stage, cancelled, done, failed, step
from upbeat_server.engine.model import Parallel, TaskSpec

ALL, QUORUM, ANY, SETTLED = 1, 2, 3, 4
COLLECT = 2
BY_NAME = 2


def steps(number: int) -> tuple[TaskSpec, ...]:
    return tuple(step() for _ in range(number))


def test_all_steps_start_with_the_same_input_and_their_outputs_are_a_list_in_their_order() -> None:
    stage = Stage(Parallel((step(), step(text="2"), step())))
    assert stage.said == ['spawn step/0: "question"', "spawn step/1: 2", 'spawn step/2: "question"']
    stage >> done("step/2", "[ 3 ]") >> done("step/0", "10000000000000000000000001")
    stage >> done("step/1", "two", content_type="text/plain")
    two = '"two"'
    assert stage.said == [f"finish [10000000000000000000000001,{two},[ 3 ]]"]
    stage.assert_restarts()


def test_an_output_that_only_calls_itself_json_is_kept_as_bytes() -> None:
    stage = Stage(Parallel(steps(1)))
    stage >> done("step/0", "[1,")
    assert stage.said[1:] == ['finish [{"base64":"WzEs","content_type":"application/json"}]']


@pytest.mark.parametrize("reducer", [None, step()])
def test_no_more_is_gathered_than_an_output_may_have(reducer: TaskSpec | None) -> None:
    stage = Stage(Parallel((*steps(2), step(name="long"), step()), reducer=reducer), output_bytes_max=10)
    stage >> done("step/0", "1234") >> done("step/1", "1") >> done("step/2", "123456")
    assert stage.said[4:] == ["fail OUTPUT_TOO_LARGE"]
    assert stage.error.details == {"step": "long"}
    stage.assert_restarts()


def test_no_steps_complete_with_an_empty_list() -> None:
    assert Stage(Parallel(())).said == ["finish []"]


def test_outputs_may_be_put_together_by_the_names_of_the_steps() -> None:
    mode = Parallel((step(name="left"), step(name="right")), output_form=BY_NAME)
    stage = Stage(mode)
    stage >> done("step/1", "2") >> done("step/0", "1")
    assert stage.said[2:] == ['finish {"left":1,"right":2}']


def test_steps_of_distinct_agents_share_a_panel() -> None:
    stage = Stage(Parallel(steps(2)), distinct=True)
    assert {spawn.panel for spawn in stage.spawned.values()} == {"all"}


def test_the_first_failure_fails_all() -> None:
    stage = Stage(Parallel((step(), step(name="sum"))))
    stage >> failed("step/1", "BROKEN", "no sum")
    assert stage.said[2:] == ["fail STEP_FAILED"]
    assert stage.error.message == "step 'sum' (step/1) failed: BROKEN: no sum"
    stage.assert_restarts()


def test_failures_may_be_told_when_all_have_ended() -> None:
    stage = Stage(Parallel(steps(3), failure_policy=COLLECT))
    stage >> failed("step/2", "LATE") >> cancelled("step/0")
    assert not stage.is_decided
    stage >> done("step/1")
    assert stage.error.message == "2 of 3 steps failed and 3 must complete; step step/0 failed: CANCELLED"
    assert stage.error.details == {
        "step": "step/0",
        "task_id": "0000000000000001",
        "reason": "CANCELLED",
        "failures": "step step/0 failed: CANCELLED; step step/2 failed: LATE",
    }


def test_an_error_tells_of_a_few_failures_and_counts_the_rest() -> None:
    stage = Stage(Parallel(steps(30), failure_policy=COLLECT))
    for ordinal in reversed(range(30)):
        stage >> failed(f"step/{ordinal}")
    assert stage.error.message.startswith("30 of 30 steps failed")
    assert stage.error.details["failures"].count("failed") == 10
    assert stage.error.details["step"] == "step/0"


def test_a_quorum_leaves_null_for_those_that_were_not_waited_for() -> None:
    stage = Stage(Parallel(steps(4), join=QUORUM, quorum=2))
    stage >> done("step/3", "3") >> failed("step/0") >> done("step/1", "1")
    assert stage.said[4:] == ["finish [null,1,null,3]"]
    stage.assert_restarts()


def test_a_quorum_that_cannot_come_is_not_waited_for() -> None:
    stage = Stage(Parallel(steps(3), join=QUORUM, quorum=2, failure_policy=COLLECT))
    stage >> failed("step/0") >> failed("step/2")
    assert stage.error.message == "2 of 3 steps failed and 2 must complete; step step/0 failed: BROKEN"


def test_one_step_may_be_enough() -> None:
    stage = Stage(Parallel(steps(3), join=ANY))
    stage >> failed("step/0") >> done("step/2", "2")
    assert stage.said[3:] == ["finish [null,null,2]"]
    assert stage.result.winner_id == stage.task_id("step/2")


def test_any_fails_when_all_have_failed() -> None:
    stage = Stage(Parallel(steps(2), join=ANY))
    stage >> failed("step/0") >> failed("step/1")
    assert stage.error.message == "2 of 2 steps failed and 1 must complete; step step/0 failed: BROKEN"


def test_settled_waits_for_all_however_they_end() -> None:
    stage = Stage(Parallel(steps(3), join=SETTLED))
    stage >> failed("step/0") >> done("step/1", "1") >> cancelled("step/2")
    assert stage.said[3:] == ["finish [null,1,null]"]
    assert Stage(Parallel((), join=SETTLED)).said == ["finish []"]


def test_by_name_a_failed_step_is_null_too() -> None:
    stage = Stage(Parallel((step(name="a"), step(name="b")), join=SETTLED, output_form=BY_NAME))
    stage >> failed("step/0") >> done("step/1", "1")
    assert stage.said[2:] == ['finish {"a":null,"b":1}']


def test_one_step_is_run_for_each_item_of_a_list_byte_for_byte() -> None:
    stage = Stage(Parallel(steps(1), map_over="/rows"), '{"rows": [10000000000000000000000001, {"a" : 1.0}]}')
    assert stage.said == ["spawn item/0: 10000000000000000000000001", 'spawn item/1: {"a" : 1.0}']
    assert {spawn.spec.input.content_type for spawn in stage.spawned.values()} == {"application/json"}
    stage >> done("item/1", "1") >> done("item/0", "0")
    assert stage.said == ["finish [0,1]"]
    stage.assert_restarts()


def test_the_whole_input_may_be_the_list() -> None:
    assert Stage(Parallel(steps(1), map_over=""), "[7]").said == ["spawn item/0: 7"]
    assert Stage(Parallel(steps(1), map_over=""), " [ ] ").said == ["finish []"]


def test_a_step_with_an_input_of_its_own_is_told_the_item_besides_it() -> None:
    assert Stage(Parallel((step(text="0"),), map_over=""), "[7]").said == ["spawn item/0: 0 previous=7"]


@pytest.mark.parametrize(
    ("text", "pointer", "words"),
    [
        ("{", "", "the input is no JSON: Input data was truncated"),
        ('{"rows": 1}', "/rows", "the input is to have a list at JSON pointer '/rows', and has a number"),
        ("{}", "/rows", "the input has nothing at JSON pointer '/rows'"),
        ('"text"', "", "the input is to have a list at its root, and has a string"),
        ("[1, 2]", "/-", "the input has nothing at JSON pointer '/-'"),
        ("[]", "rows", "the input cannot be searched: JSON pointer 'rows' does not begin with a slash"),
        (str([0] * 10_001), "", "the input has 10,001 entries at its root; the limit is 10,000: split it"),
    ],
)
def test_an_input_without_the_list_fails_at_once(text: str, pointer: str, words: str) -> None:
    stage = Stage(Parallel(steps(1), map_over=pointer), text)
    assert (stage.said, stage.error.message) == (["fail INVALID_FORM"], words)


def test_a_quorum_that_a_list_is_too_short_for_fails_at_once() -> None:
    stage = Stage(Parallel(steps(1), map_over="", join=QUORUM, quorum=3), "[1, 2]")
    assert stage.error.message == "a quorum of 3 cannot be reached by 2 steps or items: lower it"


def test_a_reducer_step_makes_the_output_of_the_list() -> None:
    stage = Stage(Parallel(steps(2), reducer=step("sum")))
    stage >> done("step/1", "2") >> done("step/0", "1")
    assert stage.said[2:] == ["spawn reducer: [1,2]"]
    stage >> done("reducer", "3")
    assert stage.said == ["finish 3"]
    stage.assert_restarts()


def test_those_that_are_not_waited_for_are_cancelled_before_the_reducer_runs() -> None:
    stage = Stage(Parallel(steps(3), join=QUORUM, quorum=1, reducer=step("sum")))
    stage >> done("step/1", "1")
    assert stage.said[3:] == ["cancel step/0", "cancel step/2", "spawn reducer: [null,1,null]"]
    stage >> cancelled("step/0", "SUPERSEDED") >> done("step/2", "2") >> done("reducer", "3")
    assert stage.said == ["finish 3"]
    stage.assert_restarts()


def test_a_reducer_with_an_input_of_its_own_is_told_the_outputs_besides_it() -> None:
    stage = Stage(Parallel(steps(1), reducer=step("sum", '"own"')))
    stage >> done("step/0", "1")
    assert stage.said[1:] == ['spawn reducer: "own" outputs=[1]']


def test_a_reducer_is_given_an_empty_list_too() -> None:
    assert Stage(Parallel((), reducer=step("sum"))).said == ["spawn reducer: []"]


def test_a_failed_reducer_fails_the_collaboration() -> None:
    stage = Stage(Parallel(steps(1), reducer=step("sum", name="total")))
    stage >> done("step/0") >> failed("reducer")
    assert stage.error.message == "step 'total' (reducer) failed: BROKEN"


def test_ends_that_were_told_before_or_belong_to_nobody_change_nothing() -> None:
    stage = Stage(Parallel(steps(2)))
    stage >> done("step/0", "1") >> failed("step/0") >> done("step/9") >> done("reducer")
    assert len(stage.said) == 2
    assert stage.reducer.woken(stage.facts) == []
    stage >> done("step/1", "2")
    assert stage.said == ["finish [1,2]"]
