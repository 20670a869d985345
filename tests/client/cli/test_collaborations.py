"""Collaborations on the command line: trees, pages, grades, items."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

import upbeat
from tests.support.command_line import EVIL, CommandLine, is_harmless
from tests.support.fake_server import FakeServer, Refusal
from upbeat import codec
from upbeat.cli.collaboration_tables import kind_name
from upbeat.io_thread import io_thread
from upbeat.v1 import collaboration_service_pb2 as wire
from upbeat.v1 import task_pb2, task_service_pb2

State = task_pb2.Task.State


class Forest:
    """The tasks that a fake server answers with."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.tasks: dict[str, task_pb2.Task] = {}
        server.answers["GetTask"] = self._get
        server.answers["ListTasks"] = self._list

    def plant(self, task_id: str, state: str, kind: Any, parent: str = "", member: str = "") -> task_pb2.Task:
        """A task of a kind or type."""
        task = task_pb2.Task(task_id=task_id, parent_task_id=parent, member=member)
        task.root_task_id = "root"
        task.state = State.Value(f"STATE_{state}")
        task.spec.CopyFrom(upbeat.Skill(kind, Any, Any).spec() if isinstance(kind, str) else kind.spec())
        task.ordinal = sum(each.parent_task_id == parent for each in self.tasks.values())
        self.tasks[task_id] = task
        return task

    def _get(self, request: Any) -> Any:
        if request.task_id not in self.tasks:
            raise Refusal(grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")
        return task_service_pb2.GetTaskResponse(task=self.tasks[request.task_id])

    def _list(self, request: Any) -> Any:
        """The children, the last first, two to a page."""
        parent = request.filter.split('"')[1]
        children = [each for each in self.tasks.values() if each.parent_task_id == parent][::-1]
        start = int(request.page_token or 0)
        end = start + min(2, request.page_size)
        more = str(end) if end < len(children) else ""
        return task_service_pb2.ListTasksResponse(tasks=children[start:end], next_page_token=more)


@pytest.fixture
def forest(monkeypatch: pytest.MonkeyPatch) -> Iterator[Forest]:
    server = FakeServer()
    io_thread().start_call(server._start()).result()
    monkeypatch.setenv("UPBEAT_SERVER", server.address)
    yield Forest(server)
    io_thread().start_call(server._stop()).result()


@pytest.fixture
def review(forest: Forest) -> Forest:
    """A draft, three opinions of which one differs, and a publication that waits."""
    vote = upbeat.consensus("review", voters=3, vote="/ok")
    forest.plant("root", "RUNNING", upbeat.sequence("draft", upbeat.step(vote, name="vote"), "publish"))
    forest.tasks["root"].children.completed = 1
    draft = forest.plant("c0", "COMPLETED", "draft", "root", "step/0")
    draft.attempts.add(attempt=1, agent_id="writer-1")
    draft.start_time.FromSeconds(100)
    draft.end_time.FromSeconds(103)
    voted = forest.plant("c1", "FAILED", vote, "root", "step/1")
    voted.spec.name = "vote"
    voted.error.reason, voted.error.message = "NO_CONSENSUS", EVIL
    result = voted.collaboration_result
    result.tally.add(ballots=2, weight=2.0).value.CopyFrom(codec.encode(True))
    result.tally.add(ballots=1, weight=1.5).value.CopyFrom(codec.encode({"no": EVIL}))
    result.margin, result.missing, result.abstained = 0.5, 2, 1
    for number in range(3):
        forest.plant(f"v{number}", "COMPLETED", "review", "c1", f"round/0/voter/{number}")
    return forest


def test_a_tree_shows_children_in_their_order_with_what_matters(
    upbeat_command: CommandLine, review: Forest
) -> None:
    outcome = upbeat_command("tasks", "tree", "root")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert "RUNNING" in lines[0]
    assert "sequential(draft > vote > publish)" in lines[0]
    assert lines[1].split()[1:] == ["COMPLETED", "draft", "step/0", "writer-1", "3.0s", "c0"]
    assert "consensus(review x3)  vote  step/1" in lines[2]
    assert 'true 2, {"no":' in lines[2]
    assert "(weight 1.5); margin 0.5, 2 missing (1 abstained)" in lines[2]
    assert "NO_CONSENSUS" in lines[2]
    assert [line.split()[-2:] for line in lines[3:]] == [[f"round/0/voter/{n}", f"v{n}"] for n in range(3)]
    assert is_harmless(outcome.out)


def test_a_tree_as_json_is_nested(upbeat_command: CommandLine, review: Forest) -> None:
    tree = upbeat_command("tasks", "tree", "root", "-o", "json").document
    assert [child["task_id"] for child in tree["child_tasks"]] == ["c0", "c1"]
    assert [child["member"] for child in tree["child_tasks"][1]["child_tasks"]] == [
        "round/0/voter/0",
        "round/0/voter/1",
        "round/0/voter/2",
    ]
    assert "child_tasks" not in tree["child_tasks"][0]
    assert tree["child_tasks_cut"] is False


def test_a_tree_with_many_children_says_that_there_are_more(
    upbeat_command: CommandLine, review: Forest
) -> None:
    outcome = upbeat_command("tasks", "tree", "c1", "--limit", "1")
    assert len(outcome.out.splitlines()) == 3
    assert "--limit 0 shows all" in outcome.out
    assert upbeat_command("tasks", "tree", "c1", "-n", "1", "-o", "json").document["child_tasks_cut"] is True
    assert len(upbeat_command("tasks", "tree", "c1", "--limit", "0").out.splitlines()) == 4


def test_a_tree_of_single_work_is_one_line(upbeat_command: CommandLine, review: Forest) -> None:
    assert len(upbeat_command("tasks", "tree", "c0").out.splitlines()) == 1
    assert "ListTasks" not in review.server.requests


def test_a_tree_is_watched_on_a_terminal_only(upbeat_command: CommandLine, review: Forest) -> None:
    outcome = upbeat_command("tasks", "tree", "root", "--watch")
    assert outcome.code == 2
    assert "upbeat tasks watch --parent root" in outcome.err


def test_a_watched_tree_is_drawn_anew_until_it_has_ended(
    upbeat_command: CommandLine, forest: Forest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("upbeat.cli.tree._REFRESH_S", 0)
    forest.plant("root", "RUNNING", upbeat.sequence("draft", "publish"))
    states = iter([State.STATE_RUNNING, State.STATE_RUNNING, State.STATE_COMPLETED])

    def progressing(_: Any) -> Any:
        forest.tasks["root"].state = next(states)
        return task_service_pb2.GetTaskResponse(task=forest.tasks["root"])

    forest.server.answers["GetTask"] = progressing
    outcome = upbeat_command("tasks", "tree", "root", "--watch")
    assert outcome.code == 0
    assert outcome.out.index("RUNNING") < outcome.out.rindex("COMPLETED")
    assert next(states, None) is None


def test_a_tree_of_nothing_is_exit_code_3(upbeat_command: CommandLine, review: Forest) -> None:
    assert upbeat_command("tasks", "tree", "nothing").code == 3


def test_get_shows_what_a_vote_came_to(upbeat_command: CommandLine, review: Forest) -> None:
    result = review.tasks["c1"].collaboration_result
    result.dissent_task_ids.append("v2")
    result.winner_task_id = "v0"
    result.winning_value.CopyFrom(codec.encode(True))
    result.decided_early, result.rounds = True, 2
    result.wasted.FromSeconds(4)
    outcome = upbeat_command("tasks", "get", "c1")
    facts = {line.split("  ")[0]: line.partition("  ")[2].strip() for line in outcome.out.splitlines()}
    assert facts["collaboration"] == "consensus(review x3)"
    assert facts["name"] == "vote"
    assert facts["child of"] == "root as step/1"
    assert "margin 0.5, 2 missing (1 abstained), 2 rounds, decided early" in facts["vote"]
    assert (facts["verdict"], facts["winner"], facts["dissent"], facts["wasted"]) == (
        "true",
        "v0  review (round/0/voter/0)",
        "v2",
        "4.0s",
    )
    assert is_harmless(outcome.out)


def test_get_shows_what_was_given_up_and_what_there_is_all_the_same(
    upbeat_command: CommandLine, forest: Forest
) -> None:
    task = forest.plant("root", "FAILED", upbeat.pipeline("fetch", "read"))
    task.children.completed, task.children.failed = 1_200, 3
    result = task.collaboration_result
    result.completed_items, result.failed_items = 1_000, 3
    error = result.item_errors.add(index=7, stage=1, task_id="c7").error
    error.reason, error.message = "BROKEN", EVIL
    done = result.partial.add(task_id="c0", name="fetch", state=State.STATE_COMPLETED)
    done.output.CopyFrom(codec.encode({"page": EVIL}))
    outcome = upbeat_command("tasks", "get", "root")
    assert "pipeline(fetch > read)" in outcome.out
    assert "1,200 completed, 3 failed" in outcome.out
    assert "1,000 done, 3 given up" in outcome.out
    assert ["7", "1", "c7", "BROKEN:"] in [row[:4] for row in outcome.rows]
    assert ["c0", "fetch", "COMPLETED"] in [row[:3] for row in outcome.rows]
    assert is_harmless(outcome.out)


def test_a_list_says_what_a_collaboration_is(upbeat_command: CommandLine, review: Forest) -> None:
    outcome = upbeat_command("tasks", "list", "--filter", 'parent = "root"')
    assert "consensus(review x3)" in outcome.out


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (upbeat.race("solve"), "competitive(solve)"),
        (upbeat.race("solve", candidates=3), "competitive(solve x3)"),
        (upbeat.race("a", "b"), "competitive(a, b)"),
        (upbeat.parallel("a", upbeat.race("b")), "parallel(a, competitive)"),
        (upbeat.parallel("a", map_over=""), "parallel(a for each)"),
        (upbeat.custom("auction", "a", "b"), "auction(a, b)"),
    ],
)
def test_a_collaboration_is_called_by_its_mode_and_steps(kind: Any, name: str) -> None:
    assert kind_name(kind.spec()) == name


def test_grade_says_how_the_agent_stands(upbeat_command: CommandLine, forest: Forest) -> None:
    forest.server.answers["GradeTask"] = lambda _: wire.GradeTaskResponse(
        agent_id="a1", graded_count=1_200, correct_count=900
    )
    outcome = upbeat_command("tasks", "grade", "t1", "--right")
    assert (outcome.code, outcome.out) == (0, "a1  900 of 1,200 right\n")
    assert upbeat_command("tasks", "grade", "t1", "--wrong", "-o", "json").document["agent_id"] == "a1"
    assert [request.correct for request in forest.server.requests["GradeTask"]] == [True, False]
    outcome = upbeat_command("tasks", "grade", "t1")
    assert (outcome.code, "--right or --wrong" in outcome.err) == (2, True)


def test_what_cannot_be_graded_is_exit_code_4_and_says_what_can(
    upbeat_command: CommandLine, forest: Forest
) -> None:
    def refuse(_: Any) -> Any:
        raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, "NOT_GRADABLE")

    forest.server.answers["GradeTask"] = refuse
    outcome = upbeat_command("tasks", "grade", "t1", "--right")
    assert (outcome.code, "upbeat tasks tree" in outcome.err) == (4, True)


def test_items_are_appended_and_closed(upbeat_command: CommandLine, forest: Forest) -> None:
    forest.server.answers["AppendItems"] = lambda request: wire.AppendItemsResponse(
        item_count=len(request.items)
    )
    forest.server.answers["CloseItems"] = lambda _: wire.CloseItemsResponse(item_count=5)
    outcome = upbeat_command("tasks", "append", "t1", "--item", '{"a": 1}', "--item", "text")
    assert (outcome.code, outcome.out) == (0, "2\n")
    outcome = upbeat_command("tasks", "append", "t1", "--item", "x", "--first-index", "0", "-o", "json")
    assert outcome.document == {"item_count": "1"}
    assert upbeat_command("tasks", "close", "t1").out == "5\n"
    assert upbeat_command("tasks", "append", "t1").code == 2
    first, second = forest.server.requests["AppendItems"]
    assert [(item.content_type.split(";")[0], item.data) for item in first.items] == [
        ("application/json", b'{"a": 1}'),
        ("text/plain", b"text"),
    ]
    assert not first.HasField("first_index")
    assert second.HasField("first_index")
