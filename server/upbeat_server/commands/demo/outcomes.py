"""What the collaborations of the demo came to, read from the tasks as the server recorded them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from upbeat import Task, TaskState, Verdict
from upbeat_server.commands.demo import skills
from upbeat_server.commands.demo.ballots import Ballot
from upbeat_server.commands.demo.search import Found
from upbeat_server.commands.demo.stages import Digest

_STAGE = re.compile(r"item/\d+/stage/(\d+)")


@dataclass(frozen=True)
class Cast:
    """A ballot, whose it is, and whether another value won."""

    agent: str
    ballot: Ballot
    dissents: bool


@dataclass(frozen=True)
class Vote:
    """A consensus: the module that won, and how often each was voted for, the winner first."""

    winner: str
    tally: list[tuple[str, int]]
    casts: list[Cast]
    missing: int

    @property
    def ballots(self) -> int:
        """Ballots that were cast."""
        return sum(ballots for _, ballots in self.tally)


@dataclass(frozen=True)
class Lane:
    """One candidate of a race: how it searched, who did, how it ended and how long it ran."""

    order: str
    agent: str
    state: str
    ran_s: float
    has_won: bool


@dataclass(frozen=True)
class Race:
    """A race: what was found, and what the losers used without need."""

    found: Found
    lanes: list[Lane]
    wasted_s: float

    @property
    def winner(self) -> str:
        """Who won, and how."""
        return ", ".join(f"{lane.agent} ({lane.order})" for lane in self.lanes if lane.has_won)


@dataclass(frozen=True)
class Left:
    """An item as it left the last stage, and when, counted from the start of the pipeline."""

    after_s: float
    digest: Digest


@dataclass(frozen=True)
class Stream:
    """A pipeline: its items in the order in which they left, and its time against that of its stages."""

    left: list[Left]
    wall_s: float
    stage_s: dict[str, float]

    @property
    def stages_s(self) -> float:
        """What all stages of all items took, added up."""
        return sum(self.stage_s.values())


def vote_of(verdict: Verdict[Ballot], children: Iterable[Task]) -> Vote:
    """The vote, with every ballot that was cast, in the order of the voters."""
    tally = sorted(verdict.tally, key=lambda entry: entry.value != verdict.value)  # A stable sort.
    casts = [
        Cast(_agent_of(child), child.result(skills.RISKIEST), child.task_id in verdict.dissent)
        for child in children
        if child.state is TaskState.COMPLETED
    ]
    return Vote(
        str(verdict.value), [(str(entry.value), entry.ballots) for entry in tally], casts, verdict.missing
    )


def race_of(found: Found, race: Task, children: Iterable[Task]) -> Race:
    """The race, with its lanes in the order of the candidates."""
    result = race.collaboration
    winner = result.winner_task_id if result else ""
    lanes = [
        Lane(child.name, _agent_of(child), str(child.state), ran_s_of(child), child.task_id == winner)
        for child in children
    ]
    return Race(found, lanes, result.wasted_s if result else 0.0)


def stream_of(left: list[Left], wall_s: float, children: Iterable[Task]) -> Stream:
    """The pipeline, with what its stages took on the agents."""
    spent: Counter[int] = Counter()
    for child in children:
        if (match := _STAGE.fullmatch(child.member)) is not None:
            spent[int(match[1])] += round(ran_s_of(child) * 1e6)
    names = [stage.name.rpartition(".")[2] for stage in skills.STAGES]
    return Stream(left, wall_s, {name: spent[place] / 1e6 for place, name in enumerate(names)})


def ran_s_of(task: Task) -> float:
    """How long its attempts ran."""
    return sum(
        (attempt.end_time - attempt.start_time).total_seconds()
        for attempt in task.attempts
        if attempt.start_time and attempt.end_time
    )


def _agent_of(task: Task) -> str:
    return task.attempts[-1].agent_id if task.attempts else ""
