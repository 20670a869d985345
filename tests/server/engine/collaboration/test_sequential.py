"""Steps one after the other: what each is given, what a failure does, when it ends."""

from __future__ import annotations

import pytest

from tests.support.mode_stage import Stage, cancelled, done, failed, step
from upbeat_server.engine.model import Sequential, StopWhen

PREVIOUS, ORIGINAL_AND_PREVIOUS, ALL = 1, 2, 3
FAIL, SKIP, FALLBACK = 1, 2, 3

TWO = (step("draft"), step("review", name="review"))


def test_each_step_works_on_the_output_of_the_one_before_and_knows_the_original() -> None:
    stage = Stage(Sequential((step(), step(), step())))
    stage << 'spawn step/0: "question"'
    stage >> done("step/0", '"draft"')
    stage << 'spawn step/1: "draft" original="question"'
    stage >> done("step/1", '"better"')
    stage << 'spawn step/2: "better" original="question"'
    stage >> done("step/2", '"best"')
    stage << 'finish "best"'
    assert stage.result.mode == "sequential"
    stage.assert_restarts()


def test_a_step_may_be_given_the_previous_output_and_nothing_else() -> None:
    stage = Stage(Sequential(TWO, context=PREVIOUS))
    stage >> done("step/0", '"draft"')
    assert stage.said == ['spawn step/0: "question"', 'spawn step/1: "draft"']


def test_a_step_may_be_given_all_outputs_so_far() -> None:
    stage = Stage(Sequential((step(), step(), step()), context=ALL))
    stage << 'spawn step/0: "question" outputs=[]'
    stage >> done("step/0", "12345678901234567890123") >> done("step/1", "plain", content_type="text/plain")
    stage << 'spawn step/1: 12345678901234567890123 original="question" outputs=[12345678901234567890123]'
    outputs = '[12345678901234567890123,"plain"]'
    stage << f'spawn step/2: plain original="question" outputs={outputs}'


def test_a_step_with_an_input_of_its_own_is_told_the_previous_output_besides_it() -> None:
    stage = Stage(Sequential((step(text="1"), step(text="2"))))
    stage << 'spawn step/0: 1 original="question"'
    stage >> done("step/0", '"draft"')
    stage << 'spawn step/1: 2 original="question" previous="draft"'


def test_steps_of_distinct_agents_share_a_panel() -> None:
    stage = Stage(Sequential(TWO), distinct=True)
    stage >> done("step/0")
    assert [spawn.panel for spawn in stage.spawned.values()] == ["all", "all"]


def test_a_failed_step_fails_the_collaboration_and_is_named() -> None:
    stage = Stage(Sequential(TWO))
    stage >> done("step/0") >> failed("step/1", "BROKEN", "no paper")
    assert stage.said[-1] == "fail STEP_FAILED"
    assert stage.error.message == "step 'review' (step/1) failed: BROKEN: no paper"
    assert stage.error.details == {"step": "step/1", "task_id": "0000000000000002", "reason": "BROKEN"}
    stage.assert_restarts()


def test_a_step_that_somebody_cancelled_has_failed() -> None:
    stage = Stage(Sequential(TWO))
    stage >> cancelled("step/0")
    assert stage.error.message == "step step/0 failed: CANCELLED"


def test_a_step_that_is_skipped_leaves_what_it_was_given_to_the_next() -> None:
    stage = Stage(Sequential((step(), step(), step()), on_step_failure=SKIP))
    stage >> done("step/0", '"draft"') >> failed("step/1") >> done("step/2", '"end"')
    assert stage.said[2:] == ['spawn step/2: "draft" original="question"', 'finish "end"']


def test_the_output_is_that_of_the_last_step_that_completed() -> None:
    stage = Stage(Sequential(TWO, on_step_failure=SKIP))
    stage >> done("step/0", '"draft"') >> failed("step/1")
    assert stage.said[-1] == 'finish "draft"'


def test_it_fails_if_every_step_was_skipped() -> None:
    stage = Stage(Sequential(TWO, on_step_failure=SKIP))
    stage >> failed("step/0") >> failed("step/1")
    assert stage.said[1:] == ['spawn step/1: "question"', "fail STEP_FAILED"]
    assert stage.error.message.endswith("; it was the last, and none has completed")


def test_a_fallback_stands_in_for_a_failed_step() -> None:
    stage = Stage(Sequential(TWO, on_step_failure=FALLBACK, fallback=step("plan-b")))
    stage >> done("step/0", '"draft"') >> failed("step/1")
    assert stage.said[2:] == ['spawn step/1/fallback: "draft" original="question"']
    assert stage.spawned["step/1/fallback"].spec.type == "plan-b"
    stage >> done("step/1/fallback", '"saved"')
    stage << 'finish "saved"'
    stage.assert_restarts()


def test_a_fallback_is_given_what_the_step_brought_with_it() -> None:
    steps = (step(), step(text='"own"'))
    stage = Stage(Sequential(steps, on_step_failure=FALLBACK, fallback=step()))
    stage >> done("step/0", '"draft"') >> failed("step/1")
    assert stage.said[-1] == 'spawn step/1/fallback: "own" original="question" previous="draft"'


def test_a_fallback_may_bring_an_input_of_its_own() -> None:
    stage = Stage(Sequential(TWO, on_step_failure=FALLBACK, fallback=step(text="0")))
    stage >> failed("step/0")
    assert stage.said[-1] == 'spawn step/0/fallback: 0 original="question"'


def test_a_failed_fallback_fails_the_collaboration() -> None:
    stage = Stage(Sequential(TWO, on_step_failure=FALLBACK, fallback=step(name="plan b")))
    stage >> failed("step/0") >> failed("step/0/fallback", "WORSE")
    assert stage.error.message == "step 'plan b' (step/0/fallback) failed: WORSE"


@pytest.mark.parametrize(
    ("pointer", "equals", "output"),
    [
        ("/state", b'"done"', '{"state": "done"}'),
        ("/scores/1", b"3", '{"scores": [1, 3.0]}'),
        ("", b"true", "true"),
        ("/a~1b/~0", b"null", '{"a/b": {"~": null}}'),
        ("/o", b'{"a":1,"b":[2.0]}', '{"o": {"b": [2], "a": 1}}'),
    ],
)
def test_it_ends_early_when_an_output_has_the_value(pointer: str, equals: bytes, output: str) -> None:
    stage = Stage(Sequential(TWO, stop_when=StopWhen(pointer, equals)))
    stage >> done("step/0", output)
    assert stage.said[1:] == [f"finish {output}"]


@pytest.mark.parametrize(
    ("pointer", "output"),
    [
        ("/state", '{"state": "going"}'),
        ("/state", "{}"),
        ("/state", "no JSON"),
        ("/state", '[{"state": "done"}]'),
        ("state", '{"state": "done"}'),
        ("/0", '["done"'),
    ],
)
def test_it_goes_on_when_the_value_is_another_or_nowhere(pointer: str, output: str) -> None:
    stage = Stage(Sequential(TWO, stop_when=StopWhen(pointer, b'"done"')))
    stage >> done("step/0", output)
    assert list(stage.spawned) == ["step/0", "step/1"]


def test_true_is_not_one() -> None:
    stage = Stage(Sequential(TWO, stop_when=StopWhen("", b"1")))
    stage >> done("step/0", "true")
    assert not stage.is_decided


def test_an_end_that_was_told_before_or_belongs_to_nobody_changes_nothing() -> None:
    stage = Stage(Sequential(TWO))
    stage >> done("step/0", '"draft"') >> done("step/0", '"other"') >> failed("step/7") >> failed("")
    assert len(stage.said) == 2
    assert stage.reducer.woken(stage.facts) == []
