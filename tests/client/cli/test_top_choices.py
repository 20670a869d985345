"""What keys do in the live view, without a terminal and a server."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from upbeat.cli.keyboard import named_keys
from upbeat.cli.top_choices import Choices
from upbeat.cli.top_page import View, page, spark
from upbeat.v1.agent_pb2 import Agent
from upbeat.v1.task_pb2 import Attempt, Task
from upbeat.v1.task_spec_pb2 import TaskSpec

CONNECTED, SUSPECT = Agent.STATE_CONNECTED, Agent.STATE_SUSPECT


def fleet() -> list[Agent]:
    return [
        Agent(
            agent_id="a",
            slots=4,
            in_use=1,
            completed_count=9,
            labels={"zone": "eu"},
            state=Agent.STATE_CONNECTED,
        ),
        Agent(agent_id="b", slots=4, in_use=4, completed_count=3, failed_count=2, state=SUSPECT),
        Agent(
            agent_id="c",
            slots=2,
            in_use=1,
            completed_count=5,
            capabilities=["review"],
            state=Agent.STATE_CONNECTED,
        ),
    ]


def arranged(choices: Choices) -> str:
    return "".join(agent.agent_id for agent in choices.arrange(fleet()))


def pressed(*keys: str) -> Choices:
    choices = Choices()
    choices.arrange(fleet())
    for key in keys:
        choices.press(key)
        choices.arrange(fleet())
    return choices


@pytest.mark.parametrize(
    ("keys", "order"),
    [
        ((), "bca"),
        (("l",), "acb"),
        (("a",), "abc"),
        (("a", "a"), "cba"),
        (("d",), "acb"),
        (("f",), "bac"),
        (("s",), "acb"),
        (("s", "d"), "acb"),
    ],
)
def test_agents_are_sorted_by_what_was_chosen(keys: tuple[str, ...], order: str) -> None:
    assert arranged(pressed(*keys)) == order


def test_the_cursor_stays_on_its_agent_when_the_order_changes() -> None:
    choices = pressed("down", "down")
    assert choices.selected == "c"
    choices.press("a")
    choices.arrange(fleet())
    assert (choices.selected, choices.cursor) == ("c", 2)
    choices.press("home")
    assert choices.selected == "a"
    choices.press("up")
    assert choices.selected == "a"
    choices.press("end")
    choices.press("j")
    assert choices.selected == "c"


def test_agents_are_looked_for_by_what_is_typed() -> None:
    assert arranged(pressed("/", "e", "u")) == "a"
    assert arranged(pressed("/", "R", "e", "x", "backspace", "enter")) == "c"
    assert arranged(pressed("/", "q", "enter")) == ""
    assert arranged(pressed("/", "q", "escape")) == "bca"
    assert not pressed("/", "q").is_over


def test_escape_gives_up_one_thing_and_then_leaves() -> None:
    choices = pressed("down", "enter")
    assert choices.only_selected
    choices.press("escape")
    assert (choices.only_selected, choices.selected, choices.is_over) == (False, "", False)
    choices.press("escape")
    assert choices.is_over
    assert pressed("q").is_over


def test_the_rest_of_the_keys() -> None:
    assert pressed("+").interval_s == 0.5
    assert pressed(*"+++++").interval_s == 0.25
    assert pressed("-").interval_s == 2.0
    assert pressed(*"--------").interval_s == 30.0
    assert pressed(" ").is_held
    assert not pressed("p", "p").is_held
    assert pressed("h").shows_help
    assert not pressed("h", "x").shows_help
    assert pressed("h", "q").is_over


def test_the_cursor_is_always_in_view() -> None:
    choices = Choices(rows=4)
    many = [Agent(agent_id=f"{number:03}") for number in range(100)]
    choices.press("a")
    choices.arrange(many)
    for key in ("end", "page up", "up", "home", "page down"):
        choices.press(key)
        choices.arrange(many)
        assert choices.first <= choices.cursor < choices.first + choices.rows


@pytest.mark.parametrize("size", [(200, 60), (120, 35), (80, 24), (60, 20), (40, 12), (20, 5)])
def test_the_picture_fits_whatever_the_terminal(size: tuple[int, int]) -> None:
    task = Task(task_id="1" * 16, spec=TaskSpec(type="echo"), state=Task.STATE_RUNNING)
    task.attempts.append(Attempt(attempt=1, agent_id="b"))
    view = View(agents=fleet() * 30, running=[task] * 50)
    for keys in ((), ("down", "enter"), ("/", "x"), *([("h",)] if size[0] >= 80 else [])):
        console = Console(width=size[0], height=size[1], record=True)
        picture = page(view, pressed(*keys), "here", size)
        lines = console.render_lines(picture, pad=False)
        assert len(lines) <= max(size[1], 12)
        assert all(sum(piece.cell_length for piece in line) <= size[0] for line in lines)


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_narrow_picture_has_fewer_columns_and_none_of_them_cut(width: int) -> None:
    agent = Agent(agent_id="reviewer-04-of-prod", state=Agent.STATE_DISCONNECTED, slots=64, in_use=12)
    task = Task(task_id="1" * 16, spec=TaskSpec(type="summarize-document"), state=Task.STATE_RUNNING)
    task.attempts.append(Attempt(attempt=1, agent_id=agent.agent_id))
    console = Console(width=width, height=24, file=io.StringIO())
    console.print(page(View(agents=[agent], running=[task]), Choices(), "here", (width, 24)))
    assert isinstance(console.file, io.StringIO)
    picture = console.file.getvalue()
    assert "12/64" in picture
    assert "…" not in picture


def test_running_tasks_are_told_beside_their_agent() -> None:
    tasks = [
        Task(task_id=f"{number:016}", spec=TaskSpec(type="echo"), attempts=[Attempt(agent_id="b")])
        for number in range(3)
    ]
    console = Console(width=120, record=True, file=None)
    with console.capture() as captured:
        console.print(page(View(agents=fleet(), running=tasks), Choices(), "here", (120, 30)))
    (row,) = [line for line in captured.get().splitlines() if line.startswith("b ")]
    assert row.rstrip().endswith("3 echo")


def test_a_line_of_blocks_ends_at_the_highest() -> None:
    assert spark([0, 1, 4, 8], 3) == "▁▄█"
    assert spark([0, 0], 5) == "▁▁"
    assert spark([], 5) == ""


def test_keys_are_told_apart_however_they_arrive() -> None:
    typed = "q\x1b[A\x1bOB\x1b[6~\x1b[15~\tü\x1b"
    assert named_keys(typed) == ["q", "up", "down", "page down", "tab", "ü", "escape"]
    assert named_keys("") == []
