"""A server, an agent for each model, and votes."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import product
from random import Random
from typing import TYPE_CHECKING, Any

import upbeat
import upbeat.testing
from tests.bench.ballots.draw import VOTERS, Panel
from tests.bench.ballots.recording import CHOICES
from upbeat import Abstain, Agent, Client, Context, NoConsensus, TaskFailed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence

    from tests.bench.ballots.recording import Recording
    from upbeat import Grade, TallyEntry

IN_FLIGHT = 64
SLOTS = 64
IN_FLIGHT_SLOW = 6
"""Votes with slow agents: few enough that the time they take is the agents' and not the machine's."""

TIMEOUT_S = 60.0
SLOW_S = (0.02, 0.05)
ACCURACY_LABEL = "accuracy"


@dataclass(frozen=True)
class Terms:
    """How votes are held; ``at_once`` is how many are asked at the same time."""

    rule: str
    weights: str = "equal"
    early: bool = True
    at_once: int = VOTERS
    is_slow: bool = False
    quorum: int = 1
    breaks_ties: bool = False

    def options(self) -> dict[str, Any]:
        """What ``Client.consensus`` is told."""
        label = {"weight_label": ACCURACY_LABEL} if self.weights == "static" else {}
        return {
            "voters": VOTERS,
            "vote": "/choice",
            "choices": list(CHOICES),
            "rule": self.rule,
            "weights": self.weights,
            "early_decision": self.early,
            "max_concurrency": self.at_once,
            "quorum": self.quorum,
            "on_no_consensus": "tie_break" if self.breaks_ties else "fail",
            **label,
        }


@dataclass(frozen=True)
class Outcome:
    """What one vote came to; the winner is None where there was no consensus.

    ``seats`` are the models that were asked, by ordinal.
    """

    winner: str | None
    tally: tuple[TallyEntry, ...]
    seats: dict[int, str] = field(default_factory=dict)

    @property
    def leaders(self) -> list[str]:
        """The values with the most weight."""
        most = max((entry.weight for entry in self.tally), default=0.0)
        return [entry.value for entry in self.tally if entry.weight == most]


@dataclass
class Run:
    """Votes under the same terms: outcomes by question, and what they took."""

    outcomes: dict[int, Outcome] = field(default_factory=dict)
    asked: int = 0  # Ballots that agents began on.
    cast: int = 0  # Of them, those they saw through, abstentions included.
    seconds: float = 0.0


class Electorate:
    """The agents: each says what its model is recorded with."""

    def __init__(self, recording: Recording, seed: str, accuracies: Mapping[str, float]) -> None:
        self._recording = recording
        self._seed = seed
        self.run = Run()  # Counts what they do.
        self.graded: dict[str, bool] = {}  # Whether an answer was right, by the id of its task.
        self.seats: dict[str, dict[int, str]] = {}  # Models by ordinal, by the id of the vote.
        self._agents = [self._agent(model, accuracies[model]) for model in recording.models]

    async def start(self, address: str) -> None:
        """All connect."""
        await asyncio.gather(*(agent.start(address) for agent in self._agents))

    async def stop(self) -> None:
        """All leave."""
        await asyncio.gather(*(agent.stop() for agent in self._agents))

    def _agent(self, model: str, accuracy: float) -> Agent:
        labels = {"model": model, ACCURACY_LABEL: f"{accuracy:.4f}"}
        agent = Agent("voter", agent_id=model, slots=SLOTS, labels=labels)

        @agent.on("ballot")
        async def ballot(asked: Any, ctx: Context) -> dict[str, str]:
            self.run.asked += 1
            if ctx.parent_task_id:
                ordinal = int(ctx.idempotency_key.rpartition("/")[2])
                self.seats.setdefault(ctx.parent_task_id, {})[ordinal] = model
            question = self._recording.questions[asked["question"]]
            if asked["slow"]:
                await asyncio.sleep(Random(f"{self._seed}/{asked['question']}/{model}").uniform(*SLOW_S))
            self.run.cast += 1
            choice = question.ballots[model]
            if not choice:
                raise Abstain("the model chose nothing")
            self.graded[ctx.task_id] = choice == question.answer
            return {"choice": choice}

        return agent


class Replay:
    """Votes of one electorate on one server."""

    def __init__(self, up: Client, electorate: Electorate) -> None:
        self._up = up
        self._electorate = electorate
        self.grades: dict[str, Grade] = {}  # How each agent stands.

    async def hold(self, numbers: Iterable[int], panels: Mapping[int, Panel], terms: Terms) -> Run:
        """A vote on each of these questions, several at a time."""
        run = self._electorate.run = Run()
        self._electorate.graded.clear()
        self._electorate.seats.clear()

        async def vote(number: int) -> None:
            run.outcomes[number] = await self._vote(number, panels[number], terms)

        began = time.perf_counter()
        await for_each(sorted(numbers), vote, IN_FLIGHT_SLOW if terms.is_slow else IN_FLIGHT)
        run.seconds = time.perf_counter() - began
        return run

    async def grade(self, numbers: Iterable[int], models: Iterable[str]) -> int:
        """Ask every model each of these questions and tell the server who was right; answers how many."""
        self._electorate.graded.clear()

        async def ask(what: tuple[int, str]) -> None:
            asked = {"question": what[0], "slow": False}
            with suppress(TaskFailed):  # It abstained.
                await self._up.run("ballot", asked, selector=Panel((what[1],)).selector, timeout=TIMEOUT_S)

        await for_each(list(product(sorted(numbers), models)), ask)

        async def tell(graded: tuple[str, bool]) -> None:
            grade = await self._up.grade(graded[0], correct=graded[1])
            before = self.grades.setdefault(grade.agent_id, grade)
            self.grades[grade.agent_id] = max(grade, before, key=lambda each: each.graded_count)

        ballots = list(self._electorate.graded.items())
        await for_each(ballots, tell)
        return len(ballots)

    async def _vote(self, number: int, panel: Panel, terms: Terms) -> Outcome:
        voter = upbeat.step("ballot", selector=panel.selector)
        asked = {"question": number, "slow": terms.is_slow}
        try:
            verdict = await self._up.consensus(voter, asked, timeout=TIMEOUT_S, **terms.options())
        except NoConsensus as none:
            return Outcome(None, none.tally, self._electorate.seats[none.task_id])
        return Outcome(verdict.value, verdict.tally, self._electorate.seats[verdict.task_id])


async def for_each(
    values: Sequence[Any], function: Callable[[Any], Awaitable[None]], at_once: int = IN_FLIGHT
) -> None:
    """Call it with every value, in order, so many at once. Raises what one of them raises."""
    left = iter(values)

    async def work() -> None:
        for value in left:
            await function(value)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())


@asynccontextmanager
async def replay(
    recording: Recording, seed: str, accuracies: Mapping[str, float]
) -> AsyncGenerator[Replay, None]:
    """A fresh server in this process with all agents connected."""
    electorate = Electorate(recording, seed, accuracies)
    async with upbeat.testing.server() as server, Client(server.address) as up:
        await electorate.start(server.address)
        try:
            yield Replay(up, electorate)
        finally:
            await electorate.stop()
