"""Sequences, parallels, pipelines and what is nested of them, against the real server in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

import upbeat
from tests.support.collaboration_stage import (
    ADD,
    BREAK,
    CLASSIFY,
    LOOK,
    SHOUT,
    TIMEOUT_S,
    WAIT,
    Doc,
    Stage,
    collaboration_stage,
)
from upbeat import (
    Agent,
    Budget,
    BudgetExceeded,
    Client,
    Fail,
    Infeasible,
    Skill,
    StepFailed,
    StopWhen,
    TaskCancelled,
    TaskState,
    TaskTimedOut,
)
from upbeat.errors import ItemsClosed


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with collaboration_stage() as made:
        yield made


@pytest.fixture
async def up(stage: Stage) -> Client:
    """The client of a stage with one agent."""
    await stage.agent("a1")
    return stage.up


async def test_a_step_can_be_read_whose_input_and_output_are_as_large_as_they_may_be(up: Client) -> None:
    text = "x" * 1_040_000
    four = up.parallel(SHOUT, SHOUT, SHOUT, SHOUT)
    handle = await up.submit(up.sequence(four, up.parallel(SHOUT, map_over="")), text, timeout=TIMEOUT_S)
    assert [len(answer) for answer in await handle.result()] == [len(text)] * 4
    _, second = [child async for child in handle.children(full=True)]
    assert len(second.message.spec.input.data) > 4_000_000 < len(second.message.output.data)


# Sequences.


async def test_a_sequence_hands_each_output_to_the_next_step(up: Client) -> None:
    assert await up.sequence(ADD, ADD, ADD).run(1, timeout=TIMEOUT_S) == 4


async def test_a_step_finds_the_original_and_what_came_before(up: Client) -> None:
    own = upbeat.step(LOOK, input={"mine": 1})
    seen = await up.run(upbeat.sequence(ADD, ADD, own, context="all"), 2**60, timeout=TIMEOUT_S)
    assert seen["input"] == {"mine": 1}
    assert (seen["original"], seen["outputs"]) == (2**60, [2**60 + 1, 2**60 + 2])
    assert seen["parent"]
    seen = await up.sequence(ADD, LOOK).run(1, timeout=TIMEOUT_S)
    assert (seen["input"], seen["original"]) == (2, 1)


async def test_a_failed_step_fails_the_sequence_and_the_others_outputs_are_told(up: Client) -> None:
    with pytest.raises(StepFailed) as caught:
        await up.sequence(ADD, upbeat.step(BREAK, name="middle"), ADD).run(1, timeout=TIMEOUT_S)
    failure = caught.value
    assert failure.step_reason == "BROKEN"
    assert failure.collaboration is not None
    first = failure.collaboration.partial[0]
    assert (first.state, first.output) == ("COMPLETED", 2)


async def test_a_failed_step_is_skipped_or_replaced_where_that_is_asked_for(up: Client) -> None:
    assert await up.sequence(ADD, BREAK, ADD, on_step_failure="skip").run(1, timeout=TIMEOUT_S) == 3
    assert await up.sequence(ADD, BREAK, ADD, fallback=ADD).run(1, timeout=TIMEOUT_S) == 4


async def test_a_sequence_ends_early_when_an_output_says_so(up: Client) -> None:
    kind = upbeat.sequence(ADD, ADD, ADD, stop_when=StopWhen("", equals=2))
    handle = await up.submit(kind, 0, timeout=TIMEOUT_S)
    assert await handle.result() == 2
    assert [child.member async for child in handle.children()] == ["step/0", "step/1"]


# Parallels.


async def test_a_parallel_answers_in_the_order_of_its_steps(up: Client) -> None:
    assert await up.parallel(ADD, ADD).run(1, timeout=TIMEOUT_S) == [2, 2]
    shouted, looked = await up.parallel(SHOUT, LOOK).run("a", timeout=TIMEOUT_S)
    assert (shouted, looked["input"]) == ("A", "a")
    named = upbeat.parallel(ADD, upbeat.step(ADD, name="again"), output_form="by_name")
    assert await up.run(named, 1, timeout=TIMEOUT_S) == {"add": 2, "again": 2}
    assert await up.parallel().run(None, timeout=TIMEOUT_S) == []


async def test_a_parallel_maps_items_exactly_and_in_order(up: Client) -> None:
    numbers = [2**62 + number for number in range(100)]
    assert await up.parallel(ADD).map(numbers, timeout=TIMEOUT_S) == [number + 1 for number in numbers]
    assert await up.parallel(SHOUT).map(["ü", "b"], timeout=TIMEOUT_S) == ["Ü", "B"]
    reduced = await up.parallel(ADD, reducer=LOOK).map([1, 2], timeout=TIMEOUT_S)
    assert reduced["input"] == [2, 3]


async def test_a_parallel_fails_at_once_or_collects_as_it_was_asked(stage: Stage, up: Client) -> None:
    with pytest.raises(StepFailed):
        await up.parallel(BREAK, WAIT).run(None, timeout=TIMEOUT_S)
    assert await stage.stopped.get() == "a1"
    assert await up.parallel(ADD, BREAK, join="settled").run(1, timeout=TIMEOUT_S) == [2, None]
    assert 2 in await up.parallel(ADD, WAIT, join="any").run(1, timeout=TIMEOUT_S)


# Pipelines.


async def test_one_item_goes_through_a_pipeline(up: Client) -> None:
    assert await up.pipeline(SHOUT, SHOUT, SHOUT).run("x", timeout=TIMEOUT_S) == "X"


async def test_many_items_go_through_one_pipeline_and_are_read_as_they_leave(up: Client) -> None:
    seen = {item.index: item.output async for item in up.pipeline(ADD, ADD).map(range(300))}
    assert seen == {number: number + 2 for number in range(300)}
    (task,) = [task async for task in up.list() if not task.parent_task_id]
    assert task.collaboration is not None
    assert task.collaboration.completed_items == 300


async def test_an_item_leaves_before_the_next_is_drawn(up: Client) -> None:
    left: asyncio.Queue[int] = asyncio.Queue()

    async def source() -> AsyncIterator[int]:
        for number in range(5):
            yield number
            assert await left.get() == number

    async for item in up.pipeline(ADD, ADD).map(source(), timeout=TIMEOUT_S):
        assert item.output == item.index + 2
        left.put_nowait(item.index)


async def test_items_of_a_spec_come_out_in_their_order(up: Client) -> None:
    assert await up.run(upbeat.pipeline(ADD, ADD).over([1, 2, 3]), None, timeout=TIMEOUT_S) == [3, 4, 5]
    found = upbeat.pipeline(ADD, ADD).over_input("/numbers")
    assert await up.run(found, {"numbers": [1, 2]}, timeout=TIMEOUT_S) == [3, 4]


async def test_an_item_that_fails_is_kept_apart_where_that_is_asked_for(stage: Stage, up: Client) -> None:
    agent = Agent("picky", slots=4)

    @agent.on(Skill("pick", int, int))
    async def pick(number: int) -> int:
        if number % 3 == 0:
            raise Fail("THIRD", retryable=False)
        return number

    await agent.start(stage.server.address)
    good: list[int] = []
    bad: list[tuple[int, str]] = []
    async for item in up.pipeline("pick", ADD, on_item_failure="dead_letter").map(range(7)):
        try:
            good.append(item.output)
        except StepFailed as failure:
            bad.append((item.index, failure.step_reason))
    assert (sorted(good), sorted(bad)) == ([2, 3, 5, 6], [(0, "THIRD"), (3, "THIRD"), (6, "THIRD")])
    with pytest.raises(StepFailed):
        await up.pipeline("pick", ADD).run(3, timeout=TIMEOUT_S)
    await agent.stop()


async def test_leaving_a_pipeline_early_cancels_it(stage: Stage, up: Client) -> None:
    async for item in up.pipeline(ADD, ADD).map(iter(int, 1)):
        assert item.output == 2
        break
    (task,) = [task async for task in up.list() if not task.parent_task_id]
    with pytest.raises(TaskCancelled):
        await up.task(task.task_id).result()


async def test_an_open_pipeline_is_fed_by_hand_and_takes_repeats(up: Client) -> None:
    handle = await up.submit(upbeat.pipeline(ADD, ADD).opened(), None, timeout=TIMEOUT_S)
    assert await up.append_items(handle, [1, 2], first_index=0) == 2
    assert await up.append_items(handle, [1, 2, 3], first_index=0) == 3
    assert await up.close_items(handle) == 3
    assert await handle.result() == [3, 4, 5]
    with pytest.raises(upbeat.errors.FailedPrecondition):
        await up.append_items(handle, [4])
    plain = await up.submit(ADD, 1)
    await plain.result()
    with pytest.raises((ItemsClosed, upbeat.TaskFinished)):
        await up.append_items(plain, [1])


# Common to all.


async def test_collaborations_nest(stage: Stage) -> None:
    await stage.voters("a", "a", "a")
    kind = upbeat.sequence(
        upbeat.parallel(upbeat.step(SHOUT, input="x"), upbeat.race(ADD, ADD)),
        upbeat.step(upbeat.consensus(upbeat.step(CLASSIFY, input=Doc("x")), vote="/label"), name="vote"),
        LOOK,
    )
    handle = await stage.up.submit(kind, 1, timeout=TIMEOUT_S)
    assert (await handle.result())["input"] == {"label": "a", "score": 1.0}
    steps = [child async for child in handle.children()]
    assert [(step.member, step.name) for step in steps] == [
        ("step/0", ""),
        ("step/1", "vote"),
        ("step/2", ""),
    ]
    assert all(step.parent_task_id == handle.task_id for step in steps)
    assert {child.member async for child in stage.up.task(steps[0].task_id).children()} == {
        "step/0",
        "step/1",
    }


async def test_a_cancelled_collaboration_cancels_its_children(stage: Stage, up: Client) -> None:
    handle = await up.submit(upbeat.parallel(WAIT, upbeat.sequence(WAIT, ADD)), None)
    assert [await stage.started.get() for _ in range(2)] == ["a1", "a1"]
    await handle.cancel("enough")
    assert [await stage.stopped.get() for _ in range(2)] == ["a1", "a1"]
    with pytest.raises(TaskCancelled):
        await handle.result()
    assert {child.state async for child in handle.children()} == {TaskState.CANCELLED}


async def test_a_caller_that_is_cancelled_cancels_the_children_too(stage: Stage, up: Client) -> None:
    running = asyncio.create_task(up.race(WAIT, None, candidates=1))
    await stage.started.get()
    running.cancel()
    assert await stage.stopped.get() == "a1"
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_the_time_of_a_collaboration_is_that_of_its_children(stage: Stage, up: Client) -> None:
    with pytest.raises(TaskTimedOut):
        await up.sequence(WAIT, ADD).run(None, timeout=0.2)
    assert await stage.stopped.get() == "a1"


async def test_a_budget_bounds_the_children(up: Client) -> None:
    with pytest.raises(BudgetExceeded):
        await up.sequence(ADD, ADD, ADD, budget=Budget(max_children=2)).run(1, timeout=TIMEOUT_S)


async def test_too_few_agents_are_told_where_nobody_wants_to_wait(up: Client) -> None:
    with pytest.raises(Infeasible):
        await up.consensus(ADD, 1, voters=3, on_infeasible="fail_fast", timeout=TIMEOUT_S)


async def test_a_map_of_collaborations_is_one_task_for_each(up: Client) -> None:
    outputs = {done.index: done.output async for done in up.map(upbeat.sequence(ADD, ADD), range(20))}
    assert outputs == {number: number + 2 for number in range(20)}


async def test_the_grace_reaches_the_handler_as_its_cancellation(
    stage: Stage, up: Client, caplog: pytest.LogCaptureFixture
) -> None:
    handle = await up.submit(upbeat.parallel(WAIT, cancel_grace=20), None)
    await stage.started.get()
    await handle.cancel()
    assert await stage.stopped.get() == "a1"
    assert "still runs" not in caplog.text
