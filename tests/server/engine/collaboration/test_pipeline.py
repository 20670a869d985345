"""Items through stages: backpressure, order, failures, and items that come while it runs."""

from __future__ import annotations

import sys
from collections import deque
from types import FrameType

import pytest

from tests.support.mode_stage import Stage, appended, cancelled, closed, done, failed, json, step
from upbeat_server.engine.collaboration import losses
from upbeat_server.engine.collaboration.mode import Release, Spawn
from upbeat_server.engine.collaboration.pipeline import PipelineReducer
from upbeat_server.engine.model import Payload, Pipeline, TaskSpec

UNORDERED = 2
DROP, DEAD_LETTER = 2, 3


def stages(number: int) -> tuple[TaskSpec, ...]:
    return tuple(step() for _ in range(number))


def items(number: int) -> tuple[Payload, ...]:
    return tuple(json(str(index)) for index in range(number))


def key(item: int, stage: int) -> str:
    return f"item/{item}/stage/{stage}"


def running(stage: Stage) -> list[str]:
    """Children that were started and have not ended."""
    started = {move.key for move in stage.moves if isinstance(move, Release)}
    started |= {move.key for move in stage.moves if isinstance(move, Spawn) and not move.held}
    return [name for name in stage.live if name in started]


def test_an_item_moves_on_as_soon_as_its_stage_is_done_with_it() -> None:
    stage = Stage(Pipeline(stages(2), items(2)))
    assert stage.said == ["spawn item/0/stage/0: 0", "spawn item/1/stage/0: 1"]
    stage >> done(key(1, 0), '"b"')
    stage << 'spawn item/1/stage/1: "b"'
    stage >> done(key(0, 0), '"a"')
    stage << 'spawn item/0/stage/1: "a"'
    stage >> done(key(0, 1), '"A"')
    stage << 'advance 0.5 item 0 "A"'
    stage >> done(key(1, 1), '"B"')
    assert stage.said == ['advance 1 item 1 "B"', 'finish ["A","B"]']
    assert (stage.result.completed_items, stage.result.failed_items) == (2, 0)
    stage.assert_restarts()


def test_the_input_is_the_only_item_where_there_are_no_others() -> None:
    stage = Stage(Pipeline(stages(1)))
    stage >> done(key(0, 0), "1")
    assert stage.said == ['spawn item/0/stage/0: "question"', "advance 1 item 0 1", "finish [1]"]


def test_items_may_be_a_list_in_the_input_byte_for_byte() -> None:
    stage = Stage(Pipeline(stages(1), items_pointer="/i"), '{"i": [10000000000000000000000001, "x"]}')
    assert stage.said == ["spawn item/0/stage/0: 10000000000000000000000001", 'spawn item/1/stage/0: "x"']
    assert Stage(Pipeline(stages(1), items_pointer=""), "[]").said == ["finish []"]


def test_an_input_without_the_list_fails_at_once() -> None:
    stage = Stage(Pipeline(stages(1), items_pointer="/i"), "{}")
    assert (stage.said, stage.error.message) == (
        ["fail INVALID_FORM"],
        "the input has nothing at JSON pointer '/i'",
    )


def test_a_stage_with_an_input_of_its_own_is_told_the_item_besides_it() -> None:
    stage = Stage(Pipeline((step(text='"own"'),), items(1)))
    assert stage.said == ['spawn item/0/stage/0: "own" previous=0']


def test_stages_of_distinct_agents_share_a_panel() -> None:
    assert Stage(Pipeline(stages(1), items(1)), distinct=True).spawned[key(0, 0)].panel == "all"


def test_a_stage_works_on_so_many_items_at_once() -> None:
    stage = Stage(Pipeline(stages(1), items(5), stage_concurrency=2))
    assert running(stage) == [key(0, 0), key(1, 0)]
    stage >> done(key(1, 0))
    assert running(stage) == [key(0, 0), key(2, 0)]


def test_a_full_buffer_holds_back_the_stage_before() -> None:
    stage = Stage(Pipeline(stages(2), items(9), stage_concurrency=2, buffer=1))
    for index in range(3):
        stage >> done(key(index, 0))
    # 0 and 1 are in stage 1, 2 waits for it, 3 and 4 are in stage 0.
    assert running(stage) == [key(0, 1), key(1, 1), key(3, 0), key(4, 0)]
    stage >> done(key(3, 0))
    assert running(stage) == [key(0, 1), key(1, 1), key(4, 0)], "3 keeps its place: the buffer is full"
    stage >> done(key(4, 0))
    assert running(stage) == [key(0, 1), key(1, 1)]
    stage >> done(key(1, 1))
    assert running(stage) == [key(0, 1), key(2, 1), key(5, 0)]
    stage.assert_restarts()


def test_room_at_the_end_is_felt_through_all_stages() -> None:
    stage = Stage(Pipeline(stages(3), items(9), stage_concurrency=1, buffer=1))
    for name in (key(0, 0), key(1, 0), key(0, 1), key(2, 0), key(1, 1), key(3, 0), key(2, 1), key(4, 0)):
        stage >> done(name)
    # 1 waits for stage 2 and 2 is done in stage 1 and keeps its place; 3 waits there, and so does 4.
    assert running(stage) == [key(0, 2)]
    stage >> done(key(0, 2))
    assert running(stage) == [key(1, 2), key(3, 1), key(5, 0)]


def test_a_barrier_lets_nothing_into_a_stage_before_all_are_through_the_one_before() -> None:
    stage = Stage(Pipeline(stages(2), items(40), barrier=True, stage_concurrency=10, buffer=1))
    for index in range(39):
        stage >> done(key(index, 0))
    assert running(stage) == [key(39, 0)]
    stage >> done(key(39, 0))
    assert running(stage) == [key(index, 1) for index in range(10)]
    stage.assert_restarts()


def test_a_barrier_does_not_wait_for_items_that_were_given_up() -> None:
    stage = Stage(Pipeline(stages(2), items(2), barrier=True, on_item_failure=DROP))
    stage >> done(key(1, 0)) >> failed(key(0, 0))
    assert running(stage) == [key(1, 1)]
    stage >> done(key(1, 1), "1")
    assert stage.said[-1] == "finish [1]"


def test_the_barrier_of_an_open_pipeline_waits_until_it_is_closed() -> None:
    stage = Stage(Pipeline(stages(2), items(1), barrier=True, open=True))
    stage >> done(key(0, 0), "1")
    assert stage.said == ["spawn item/0/stage/0: 0"]
    stage >> closed()
    assert stage.said == ["spawn item/0/stage/1: 1"]
    stage.assert_restarts()


def test_outputs_keep_the_order_of_the_items_and_watchers_see_them_in_it() -> None:
    stage = Stage(Pipeline(stages(1), items(3), on_item_failure=DROP))
    stage >> done(key(2, 0), '"c"')
    assert len(stage.said) == 3
    stage >> failed(key(1, 0))
    assert stage.said == []
    stage >> done(key(0, 0), '"a"')
    assert stage.said == ['advance 1 item 0 "a"', 'advance 1 item 2 "c"', 'finish ["a","c"]']
    stage.assert_restarts()


def test_outputs_may_keep_the_order_in_which_they_left() -> None:
    stage = Stage(Pipeline(stages(1), items(4), ordering=UNORDERED, on_item_failure=DROP))
    stage >> done(key(3, 0), "3") >> failed(key(1, 0)) >> done(key(0, 0), "0") >> done(key(2, 0), "2")
    assert stage.said[4:] == [
        "advance 0.25 item 3 3",
        "advance 0.75 item 0 0",
        "advance 1 item 2 2",
        "finish [3,0,2]",
    ]
    stage.assert_restarts()


def test_outputs_that_nobody_wants_together_are_told_and_not_kept() -> None:
    stage = Stage(Pipeline(stages(1), items(2), discard_outputs=True))
    stage >> done(key(0, 0), "0") >> done(key(1, 0), "1")
    assert stage.said[2:] == ["advance 0.5 item 0 0", "advance 1 item 1 1", "finish []"]
    assert stage.result.completed_items == 2
    stage.assert_restarts()


def test_a_failed_item_fails_the_pipeline() -> None:
    stage = Stage(Pipeline((step(), step(name="ship")), items(2)))
    stage >> done(key(1, 0)) >> failed(key(1, 1), "BROKEN", "no box")
    assert stage.error.message == "step 'ship' (item/1/stage/1) failed: BROKEN: no box"
    (error,) = stage.result.item_errors
    assert (error.index, error.stage, error.task_id) == (1, 1, stage.task_id(key(1, 1)))
    assert (stage.result.failed_items, stage.result.completed_items) == (1, 0)
    stage.assert_restarts()


def test_failed_items_may_be_dropped_and_are_counted() -> None:
    stage = Stage(Pipeline(stages(1), items(3), on_item_failure=DROP))
    stage >> failed(key(0, 0)) >> cancelled(key(2, 0)) >> done(key(1, 0), "1")
    assert stage.said[-1] == "finish [1]"
    assert (stage.result.failed_items, stage.result.item_errors) == (2, ())


def test_failed_items_may_be_listed_by_index() -> None:
    stage = Stage(Pipeline(stages(2), items(3), on_item_failure=DEAD_LETTER))
    stage >> failed(key(2, 0), "LATE") >> done(key(0, 0)) >> failed(key(0, 1), "BROKEN")
    stage >> done(key(1, 0)) >> done(key(1, 1), "1")
    listed = [
        (error.index, error.stage, error.error.reason) for error in stage.result.item_errors if error.error
    ]
    assert listed == [(0, 1, "BROKEN"), (2, 0, "LATE")]
    stage.assert_restarts()


def test_more_failed_items_than_allowed_fail_the_pipeline() -> None:
    stage = Stage(Pipeline(stages(1), items(4), on_item_failure=DEAD_LETTER, max_item_failures=1))
    stage >> failed(key(3, 0))
    assert not stage.is_decided
    stage >> failed(key(1, 0))
    assert stage.error.message.endswith("failed: BROKEN; 2 items have failed, and the limit is 1")
    assert [error.index for error in stage.result.item_errors] == [1, 3]


def test_a_thousand_failed_items_are_listed_and_all_are_counted() -> None:
    mode = Pipeline(stages(1), items(1_005), on_item_failure=DEAD_LETTER, stage_concurrency=1_000)
    stage = Stage(mode)
    for index in range(1_005):
        stage >> failed(key(index, 0))
    assert (len(stage.result.item_errors), stage.result.failed_items) == (1_000, 1_005)


def test_an_appended_item_is_there_at_once_and_released_when_there_is_room() -> None:
    stage = Stage(Pipeline(stages(2), items(1), open=True, stage_concurrency=1))
    assert (stage.said, stage.items.item_count, stage.items.is_open) == (["spawn item/0/stage/0: 0"], 1, True)
    stage >> appended('"x"', '"y"')
    assert stage.said == ['spawn item/1/stage/0 held: "x"', 'spawn item/2/stage/0 held: "y"']
    stage >> done(key(0, 0))
    assert stage.said == ['spawn item/0/stage/1: "ok"', "release item/1/stage/0"]
    assert stage.items.item_count == 3
    stage.assert_restarts()


def test_an_appended_item_is_released_at_once_where_there_is_room() -> None:
    stage = Stage(Pipeline(stages(1), open=True))
    stage >> appended("1")
    assert stage.said == ["spawn item/0/stage/0 held: 1", "release item/0/stage/0"]


def test_an_open_pipeline_ends_when_it_is_closed_and_all_items_have_left() -> None:
    stage = Stage(Pipeline(stages(1), open=True))
    stage >> appended("1") >> done(key(0, 0), "2")
    assert not stage.is_decided
    stage >> closed()
    assert stage.said[2:] == ["advance 1 item 0 2", "finish [2]"]
    stage.assert_restarts()
    assert not stage.items.is_open
    stage = Stage(Pipeline(stages(1), open=True))
    stage >> closed()
    assert stage.said == ["finish []"]


def test_an_item_that_somebody_cancelled_while_it_was_held_has_failed() -> None:
    stage = Stage(Pipeline(stages(1), open=True, stage_concurrency=1, on_item_failure=DROP))
    stage >> appended("0", "1", "2") >> cancelled(key(1, 0)) >> done(key(0, 0), "0")
    assert running(stage) == [key(2, 0)]
    stage >> done(key(2, 0), "2") >> closed()
    assert stage.said[-1] == "finish [0,2]"
    stage.assert_restarts()


def test_ends_that_were_told_before_or_belong_to_nobody_change_nothing() -> None:
    stage = Stage(Pipeline(stages(2), items(2), stage_concurrency=1))
    stage >> done(key(0, 0)) >> done(key(0, 0)) >> failed(key(0, 0)) >> done(key(1, 1)) >> done(key(7, 0))
    for name in ("item/0", "item/x/stage/0", "item/00/stage/1", "item/0/stage/1/", "step/0"):
        stage >> failed(name)
    assert running(stage) == [key(0, 1), key(1, 0)]
    assert stage.reducer.woken(stage.facts) == []


def test_an_item_that_has_not_started_cannot_end() -> None:
    stage = Stage(Pipeline(stages(1), items(2), stage_concurrency=1))
    stage >> failed(key(1, 0))
    assert running(stage) == [key(0, 0)]


def wall_time(*, item_count: int, stage_count: int, concurrency: int, buffer: int) -> int:
    """Steps of time until all items are through, when every stage takes one and ends come one by one."""
    mode = Pipeline(stages(stage_count), items(item_count), stage_concurrency=concurrency, buffer=buffer)
    stage = Stage(mode)
    steps_of_time = 0
    while not stage.is_decided:
        for name in running(stage):
            stage >> done(name)
        steps_of_time += 1
    return steps_of_time


@pytest.mark.parametrize(("concurrency", "buffer"), [(1, 1), (4, 1), (4, 4), (3, 16)])
def test_the_wall_time_is_that_of_one_stage_and_the_filling(concurrency: int, buffer: int) -> None:
    took = wall_time(item_count=24, stage_count=5, concurrency=concurrency, buffer=buffer)
    assert took == 24 // concurrency + 5 - 1


def test_waiting_items_and_those_in_work_never_exceed_the_bounds() -> None:
    stage = Stage(Pipeline(stages(3), items(60), stage_concurrency=3, buffer=2))
    ends: deque[str] = deque(running(stage))
    while ends:
        # The first stage is always done first, so that everything piles up behind it.
        ends = deque(sorted(running(stage), key=lambda name: name[-1]))
        if not ends:
            break
        stage >> done(ends[0])
        for at in (0, 1):
            passed = sum(name.endswith(f"stage/{at}") for name in stage.spawned)
            started = sum(name.endswith(f"stage/{at + 1}") for name in stage.spawned)
            assert passed - started <= 3 + 2
    assert stage.result.completed_items == 60


def test_payloads_that_are_not_needed_any_more_are_let_go() -> None:
    stage = Stage(Pipeline(stages(2), items(3), stage_concurrency=1))
    stage >> done(key(0, 0)) >> done(key(0, 1))
    reducer = stage.reducer
    assert isinstance(reducer, PipelineReducer)
    assert set(reducer._items) == {1, 2}
    assert reducer._items[1].payload == Payload()
    assert reducer._mode.items == ()


def calls_per_event_max(item_count: int) -> int:
    """The most function calls that an end costs, of all but the last, which puts the output together."""
    stage = Stage(Pipeline(stages(3), items(item_count), stage_concurrency=4, buffer=2))
    calls = most = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        # The collector may run at any time, and what it calls costs the event nothing.
        calls += event == "call" and "upbeat_server" in frame.f_code.co_filename

    for index in range(item_count - 1):
        for at in range(3):
            line = done(key(index, at))
            before = calls
            sys.setprofile(count)
            stage >> line
            sys.setprofile(None)
            most = max(most, calls - before)
    assert not stage.is_decided
    return most


def test_the_cost_of_an_event_does_not_grow_with_the_items() -> None:
    assert calls_per_event_max(2_000) == calls_per_event_max(20)


@pytest.mark.parametrize("discards", [False, True])
def test_no_more_is_gathered_than_an_output_may_have(*, discards: bool) -> None:
    mode = Pipeline((step(name="long"),), items(3), discard_outputs=discards)
    stage = Stage(mode, output_bytes_max=10)
    stage >> done(key(2, 0), "123456") >> done(key(0, 0), "12345")
    if discards:
        stage >> done(key(1, 0), "12345")
    ends = ["finish []"] if discards else ["fail OUTPUT_TOO_LARGE"]
    assert stage.said[-1:] == ends
    stage.assert_restarts()


def test_what_is_told_of_items_that_failed_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "ERROR_BYTES_MAX", 900)
    stage = Stage(Pipeline(stages(1), items(2), on_item_failure=DEAD_LETTER))
    stage >> failed(key(0, 0), "BROKEN", "x" * 800) >> failed(key(1, 0), "BROKEN", "x" * 800)
    assert [len(told.error.message) for told in stage.result.item_errors if told.error] == [800, 300]
    stage.assert_restarts()
