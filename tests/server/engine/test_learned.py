"""What was learned outlives a restart, is written rarely, and is bounded."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.lines import beat, failure, goodbye, hello, listening, result, submit
from tests.support.play import Line, Play
from upbeat_server.engine import learned
from upbeat_server.engine.commands import PersistNote
from upbeat_server.engine.events import Event
from upbeat_server.engine.model import RetryPolicy

ONCE = RetryPolicy(max_attempts=1)


def work(play: Play, agent: str, ms: int, times: int = 1, **fields: Any) -> None:
    """The agent, which is free, works on tasks one after the other."""
    for _ in range(times):
        name = f"w{len(play.answers)}"
        play >> submit(name, **fields)
        play.later(ms) >> result(f"{name}.1", by=agent)
    play.skip()


def named(agent_id: str, name: str) -> Line:
    """An agent says hello under a name that is not its id."""

    def line(play: Play) -> Event:
        event: Any = hello(agent_id)(play)
        event.name = name
        return event  # type: ignore[no-any-return]

    return line


def written(play: Play) -> list[str]:
    """The kinds of the notes of the last turn."""
    return [note.kind for note in play.heard(PersistNote) if note.kind in learned.KINDS]


def test_what_is_known_of_an_agent_outlives_a_restart(play: Play) -> None:
    play >> hello("a1")
    work(play, "a1", 300, times=8)
    play >> submit("t", retry=ONCE) >> failure("t.1")
    play.later(learned.WRITE_MS).skip()
    before = play.engine.predictor
    play.restart() >> listening() >> hello("a1")
    after = play.engine.predictor
    ((task_type, cell),) = after.agent_cells("a1", frozenset(("work",)))
    assert (task_type, cell.count, cell.successes) == ("work", 9, 8)
    assert cell.duration_ms == pytest.approx(300, rel=0.05)
    for size in (0.0, 8.0):
        assert after.run_ms("work", "a1", size) == pytest.approx(before.run_ms("work", "a1", size))
    assert after.type_ms("work") == before.type_ms("work")
    assert after.share_ms("work") == before.share_ms("work")
    assert after.cells["work", "a1"].failing == before.cells["work", "a1"].failing > 0
    streaks = before.streaks.by_agent, after.streaks.by_agent
    assert streaks[1]["a1"].surprise == streaks[0]["a1"].surprise > 0.9
    work(play, "a1", 300)
    assert cell.count == 10


def test_it_is_written_once_in_a_while_and_also_when_nothing_else_happens(play: Play) -> None:
    play >> hello("a1")
    work(play, "a1", 10, times=3)
    assert play.notes == {}
    assert play.engine.next_wake_ms <= play.engine.clock_ms + learned.WRITE_MS
    play.later(learned.WRITE_MS)
    assert sorted(kind for kind, _ in play.notes) == ["learned", "learned.agent", "learned.type"]
    play >> beat("a1")
    play.later(learned.WRITE_MS)
    assert written(play) == []
    assert play.engine.learned.due_ms > play.engine.clock_ms + learned.WRITE_MS


def test_much_that_has_changed_is_written_over_several_turns(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learned, "WRITE_CELLS_MAX", 2)
    play >> hello("a1", offers=("t0", "t1", "t2", "t3", "t4"))
    for number in range(5):
        work(play, "a1", 10, type=f"t{number}")
    play.at(learned.WRITE_MS + 10)
    cells = [key for kind, key in play.notes if kind == learned.CELL]
    assert cells == ["t0 a1", "t1 a1"]
    play.later(2 * learned.WRITE_NEXT_MS)
    assert len([key for kind, key in play.notes if kind == learned.CELL]) == 5


def test_the_notes_written_longest_ago_give_way(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned, "KEPT_MAX", 2)
    for number in range(4):
        play >> hello(f"a{number}")
        work(play, f"a{number}", 10)
        play.later(learned.WRITE_MS) >> goodbye(f"a{number}")
    play.skip()
    assert [key for kind, key in play.notes if kind == learned.CELL] == ["work a2", "work a3"]
    play.restart() >> listening() >> hello("a9")
    work(play, "a9", 10)
    play.later(learned.WRITE_MS).skip()
    assert [key for kind, key in play.notes if kind == learned.CELL] == ["work a3", "work a9"]


def test_an_agent_with_a_new_id_starts_with_what_is_believed_of_its_name(play: Play) -> None:
    play >> named("quick", "quick")
    work(play, "quick", 100, times=30)
    play >> goodbye("quick") >> named("slow-1", "slow")
    work(play, "slow-1", 1_000, times=30)
    play.later(learned.WRITE_MS).skip().restart() >> listening() >> named("slow-2", "slow")
    predictor = play.engine.predictor
    stranger, heir = predictor.run_ms("work", "stranger"), predictor.run_ms("work", "slow-2")
    assert stranger < heir < predictor.run_ms("work", "slow-1")
    ((_, cell),) = predictor.agent_cells("slow-2", frozenset(("work",)))
    assert cell.count == 0  # What it did itself.


def test_notes_that_are_a_month_old_are_dropped(play: Play) -> None:
    play >> hello("a1")
    work(play, "a1", 10)
    play.later(learned.WRITE_MS) >> goodbye("a1")
    play.skip()
    play.now_ms += learned.KEPT_MS + 1
    play.restart() >> listening()
    assert play.engine.predictor.cells == {}
    assert play.notes == {}


@pytest.mark.parametrize("kind", sorted(learned.KINDS))
@pytest.mark.parametrize("value", [b"", b"\xff", b"text"])
def test_a_damaged_note_is_dropped_and_the_rest_is_known(play: Play, kind: str, value: bytes) -> None:
    play >> hello("a1")
    work(play, "a1", 300, times=3)
    play.later(learned.WRITE_MS) >> goodbye("a1")
    play.skip()
    kept = dict(play.notes)
    play.notes[kind, "broken"] = value
    play.restart() >> listening()
    assert play.engine.predictor.cells["work", "a1"].count == 3
    assert play.notes == kept
