from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from upbeat import CollaborationResult, TallyEntry, Task, TaskState, Verdict
from upbeat.codec import encode
from upbeat.task import AttemptRecord, task_of
from upbeat.v1.task_pb2 import CollaborationResult as ResultMessage
from upbeat.v1.task_pb2 import Task as TaskMessage
from upbeat_server.commands.demo.ballots import Ballot
from upbeat_server.commands.demo.outcomes import Left, race_of, stream_of, vote_of
from upbeat_server.commands.demo.search import Found
from upbeat_server.commands.demo.stages import Digest

START = datetime(2026, 1, 1, tzinfo=UTC)
FOUND = Found("m", 3, 7)


def child(
    task_id: str,
    output: Any = None,
    *,
    member: str = "",
    state: TaskState = TaskState.COMPLETED,
    ran_s: float = 1.0,
) -> Task:
    message = TaskMessage(task_id=task_id, member=member, state=TaskMessage.State.Value(f"STATE_{state}"))
    message.spec.name = f"name-{task_id}"
    if output is not None:
        message.output.CopyFrom(encode(output))
    attempt = AttemptRecord(
        1, f"agent-{task_id}", "l", START, START + timedelta(seconds=ran_s), "COMPLETED", None
    )
    return replace(task_of(message), attempts=(attempt,))


def verdict(
    value: str, *tally: TallyEntry, dissent: tuple[str, ...] = (), missing: int = 0
) -> Verdict[Ballot]:
    return Verdict(value, Ballot(value, "length", 1, ""), tally, 1.0, dissent, missing, 0, False, 1, "v")


def test_a_vote_has_every_ballot_with_its_voter_and_says_who_dissents() -> None:
    children = [child("1", Ballot("m", "length", 3, "long")), child("2", Ballot("n", "nesting", 2, "deep"))]
    tally = (TallyEntry("m", 1, 1.0), TallyEntry("n", 1, 1.0))
    vote = vote_of(verdict("m", *tally, dissent=("2",)), children)
    assert [(cast.agent, cast.ballot.module, cast.dissents) for cast in vote.casts] == [
        ("agent-1", "m", False),
        ("agent-2", "n", True),
    ]
    assert (vote.winner, vote.tally, vote.ballots) == ("m", [("m", 1), ("n", 1)], 2)


def test_the_winner_of_a_tie_stands_first_in_the_tally() -> None:
    vote = vote_of(verdict("n", TallyEntry("m", 2, 2.0), TallyEntry("n", 2, 2.0)), [])
    assert vote.tally == [("n", 2), ("m", 2)]


def test_ballots_that_were_not_cast_are_missing() -> None:
    failed = child("2", state=TaskState.FAILED)
    children = [child("1", Ballot("m", "length", 3, "")), failed]
    vote = vote_of(verdict("m", TallyEntry("m", 1, 1.0), missing=1), children)
    assert (len(vote.casts), vote.ballots, vote.missing) == (1, 1, 1)


def test_a_race_tells_the_winner_and_what_the_losers_used() -> None:
    message = TaskMessage(task_id="r", state=TaskMessage.STATE_COMPLETED)
    message.collaboration_result.CopyFrom(ResultMessage(winner_task_id="2", mode="competitive"))
    message.collaboration_result.wasted.FromMilliseconds(1500)
    assert CollaborationResult.of(message.collaboration_result).wasted_s == 1.5
    lanes = [child("1", state=TaskState.CANCELLED, ran_s=1.5), child("2", ran_s=0.5)]
    race = race_of(FOUND, task_of(message), lanes)
    assert race.winner == "agent-2 (name-2)"
    assert [(lane.state, lane.ran_s, lane.has_won) for lane in race.lanes] == [
        ("CANCELLED", 1.5, False),
        ("COMPLETED", 0.5, True),
    ]
    assert race.wasted_s == 1.5


def test_a_lane_that_no_agent_has_taken_up_ran_for_no_time() -> None:
    waiting = replace(child("1", state=TaskState.CANCELLED), attempts=())
    race = race_of(FOUND, task_of(TaskMessage(task_id="r")), [waiting])
    assert [(lane.agent, lane.ran_s) for lane in race.lanes] == [("", 0.0)]


def test_a_stream_adds_up_its_stages() -> None:
    children = [
        child(f"{item}{stage}", member=f"item/{item}/stage/{stage}", ran_s=stage + 1)
        for item in range(2)
        for stage in range(3)
    ]
    stream = stream_of([Left(0.5, Digest("m", 1, 0, "", 0, ""))], 4.0, children)
    assert stream.stage_s == {"fetch": 2.0, "measure": 4.0, "digest": 6.0}
    assert stream.stages_s == 12.0
