"""Items that come while a pipeline runs: durable at once, held until there is room, never taken twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.lines import answer, append, cancel, close, collaborate, hello, listening, spec_of, submit
from tests.support.play import Play
from upbeat_server.engine.collaboration import children, items
from upbeat_server.engine.commands import ItemsAnswered
from upbeat_server.engine.limits import Bounds, Limits
from upbeat_server.engine.model import Pipeline, TaskState

WORK = spec_of()


def pipe(*stages: Any, **fields: Any) -> Pipeline:
    """An open pipeline."""
    return Pipeline(stages or (WORK,), open=True, **fields)


def test_an_item_is_a_child_as_soon_as_it_is_taken(play: Play) -> None:
    play >> collaborate("c", pipe()) >> append("c", b"1", b"2")
    play << "items 2"
    play.restart() >> listening() >> hello("a1", slots=4)
    play << "assign c/item/0/stage/0.1 to a1" << "assign c/item/1/stage/0.1 to a1"
    assert play.task("c/item/1/stage/0").spec.input.data == b"2"


def test_items_wait_until_the_first_stage_has_room(play: Play) -> None:
    (
        play
        >> hello("a1", slots=9)
        >> collaborate("c", pipe(stage_concurrency=1))
        >> append("c", b"1", b"2", b"3")
    )
    assert play.agent("a1").in_use == 1
    assert [play.task(f"c/item/{number}/stage/0").record.state for number in range(3)] == [
        TaskState.RUNNING,
        TaskState.PENDING,
        TaskState.PENDING,
    ]
    play >> answer("c/item/0/stage/0.1", b"1")
    assert play.task("c/item/1/stage/0").record.state == TaskState.RUNNING
    play.skip()


@pytest.mark.parametrize("restarts", [False, True])
def test_no_more_items_are_at_work_than_children_may_be_live(play: Play, *, restarts: bool) -> None:
    play >> hello("a1", slots=9) >> collaborate("c", pipe(), max_concurrency=1) >> append("c", b"1", b"2")
    play << "items 2" << "assign c/item/0/stage/0.1 to a1"
    if restarts:
        play.restart() >> listening() >> hello("a1", slots=9, holds=("c/item/0/stage/0.1",))
    assert play.task("c/item/1/stage/0").record.state == TaskState.PENDING
    play >> answer("c/item/0/stage/0.1", b"1")
    assert play.said[-1] == "assign c/item/1/stage/0.1 to a1"


def test_a_pipeline_ends_when_its_items_are_closed_and_done(play: Play) -> None:
    play >> hello("a1", slots=9) >> collaborate("c", pipe(WORK, WORK)) >> append("c", b"1")
    play >> answer("c/item/0/stage/0.1", b'"a"') >> answer("c/item/0/stage/1.1", b'"b"')
    play.skip()
    assert play.task("c").record.state == TaskState.RUNNING
    play >> close("c")
    play << "finished c COMPLETED" << "items 1"
    assert play.stored("c").output.data == b'["b"]'


def test_one_that_is_closed_without_items_completes_with_none(play: Play) -> None:
    play >> collaborate("c", pipe()) >> close("c")
    play << "finished c COMPLETED" << "items 0"
    assert play.stored("c").output.data == b"[]"


def test_items_that_are_there_already_are_taken_for_repeats(play: Play) -> None:
    play >> collaborate("c", pipe()) >> append("c", b"1", b"2", first_index=0)
    play >> append("c", b"2", b"3", first_index=1) >> append("c", b"1", first_index=0)
    play << "items 2" << "items 3" << "items 3"
    assert [play.task(f"c/item/{number}/stage/0").spec.input.data for number in range(3)] == [
        b"1",
        b"2",
        b"3",
    ]
    assert play.engine.children == 3


def test_a_gap_is_refused(play: Play) -> None:
    play >> collaborate("c", pipe()) >> append("c", b"1", first_index=1)
    (told,) = play.heard(ItemsAnswered)
    assert told.refusal is not None
    assert told.refusal.violations[0][0] == "first_index"
    play << "refused: INVALID_FIELD"


def test_nothing_is_appended_behind_the_end(play: Play) -> None:
    play >> hello("a1") >> collaborate("c", pipe()) >> append("c", b"1") >> close("c") >> close("c")
    play << "items 1" << "assign c/item/0/stage/0.1 to a1" << "items 1" << "items 1"
    play >> append("c", b"2")
    play << "refused: ITEMS_CLOSED"
    play >> append("c", b"1", first_index=0)  # A repeat of what was taken.
    play << "items 1"


@pytest.mark.parametrize("line", [append("t", b"1"), close("t")])
def test_only_an_open_pipeline_takes_items(play: Play, line: Any) -> None:
    play >> submit("t")
    play >> line
    play << "refused: ITEMS_CLOSED"


@pytest.mark.parametrize("line", [append("c", b"1"), close("c")])
def test_one_that_was_given_its_items_takes_no_more(play: Play, line: Any) -> None:
    play >> collaborate("c", Pipeline((WORK,)))
    play >> line
    play << "refused: ITEMS_CLOSED"


def test_of_one_that_has_ended_the_store_knows_more(play: Play) -> None:
    play >> collaborate("c", pipe()) >> cancel("c")
    play.skip() >> append("c", b"1") >> close("c")
    play << "not live c" << "not live c"


def test_too_many_items_that_wait_are_refused_for_a_while(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(items, "HELD_MAX", 2)
    play >> hello("a1") >> collaborate("c", pipe(stage_concurrency=1)) >> append("c", b"1")
    play >> append("c", b"2", b"3")
    play >> append("c", b"4")
    (told,) = play.heard(ItemsAnswered)
    assert told.refusal is not None
    assert (told.refusal.reason, told.refusal.metadata["limit"]) == ("ITEMS_FULL", "2")
    assert told.refusal.retry_ms > 0
    play >> answer("c/item/0/stage/0.1", b"1") >> append("c", b"4")
    assert play.said[-1] == "items 4"


def test_a_pipeline_takes_so_many_items_and_no_more(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "ITEMS_MAX", 2)
    play >> collaborate("c", pipe()) >> append("c", b"1", b"2")
    play >> append("c", b"3")
    (told,) = play.heard(ItemsAnswered)
    assert told.refusal is not None
    assert told.refusal.retry_ms == 0
    play.skip()


@pytest.mark.parametrize("restarts", [False, True])
def test_an_item_that_was_taken_is_not_too_large_afterwards(
    play: Play, monkeypatch: pytest.MonkeyPatch, *, restarts: bool
) -> None:
    monkeypatch.setattr(children, "CHILD_BYTES_MAX", 300)
    play >> collaborate("c", pipe()) >> append("c", b"1" * 100)
    play << "items 1"
    if restarts:
        play.restart() >> listening()
    play >> hello("a1")
    play << "assign c/item/0/stage/0.1 to a1"
    assert play.task("c/item/0/stage/0").spec.input.data == b"1" * 100


def test_a_repeat_of_what_was_taken_is_answered_however_full_it_is(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(items, "HELD_MAX", 3)
    play >> collaborate("c", pipe(stage_concurrency=1)) >> append("c", b"1", b"2", b"3", first_index=0)
    play >> append("c", b"1", b"2", b"3", first_index=0)
    play << "items 3" << "items 3"
    monkeypatch.setattr(items, "ITEMS_MAX", 3)
    play >> append("c", b"2", b"3", first_index=1)
    play << "items 3"


def test_items_count_as_tasks_of_the_namespace() -> None:
    play = Play(Limits(bounds=Bounds(queue_tasks_max=4)))
    play >> collaborate("c", pipe(stage_concurrency=1)) >> append("c", b"1", b"2", b"3")
    play << "items 3"
    play >> append("c", b"4")
    (told,) = play.heard(ItemsAnswered)
    assert told.refusal is not None
    assert (told.refusal.metadata["bound"], told.refusal.metadata["limit"]) == ("queue_tasks_max", "4")
    play << "refused: QUEUE_FULL"
    play >> hello("a1") >> answer("c/item/0/stage/0.1", b"1") >> append("c", b"4")
    assert play.said[-1] == "items 4"


def test_items_count_as_bytes_of_the_namespace() -> None:
    play = Play(Limits(bounds=Bounds(queue_bytes_max=2_000)))
    play >> collaborate("c", pipe()) >> append("c", b"1" * 3_000)
    play << "refused: QUEUE_BYTES_FULL"


@pytest.mark.parametrize("when", range(4))
def test_a_restart_at_any_time_changes_nothing(play: Play, when: int) -> None:
    play >> hello("a1", slots=9) >> collaborate("c", pipe(WORK, WORK, stage_concurrency=1, buffer=1))
    acts: list[Callable[[], Play]] = [
        lambda: play >> append("c", b"1", b"2", b"3", first_index=0),
        lambda: play >> answer("c/item/0/stage/0.1", b'"a"', by="a1"),
        lambda: play >> close("c"),
    ]
    for number, act in enumerate(acts):
        if number == when:
            held = [f"{play.names[task.task_id]}.1" for task in play.agent("a1").leases.values() if task]
            play.skip().restart() >> listening() >> hello("a1", slots=9, holds=tuple(held))
        act()
    for _ in range(6):
        for task in [task for task in play.agent("a1").leases.values() if task is not None]:
            name = play.names[task.task_id]
            play >> answer(f"{name}.1", b'"%d"' % task.record.ordinal, by="a1")
    play.skip()
    record = play.stored("c")
    assert record.state == TaskState.COMPLETED
    assert record.group.result.completed_items == 3
    assert all(play.stored(name).attempt == 1 for name in play.tasks if name != "c")
