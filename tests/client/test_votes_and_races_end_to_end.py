"""Votes and races against the real server in this process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

import upbeat
from tests.support.collaboration_stage import (
    ADD,
    BREAK,
    CLASSIFY,
    TIMEOUT_S,
    WAIT,
    Doc,
    Label,
    Stage,
    collaboration_stage,
    scoring,
    voting,
)
from upbeat import Agent, Context, NoConsensus, NoWinner, Skill, TaskState
from upbeat.errors import NotGradable


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with collaboration_stage() as made:
        yield made


# Votes.


async def test_the_majority_wins_and_the_rest_is_told(stage: Stage) -> None:
    await stage.voters("spam", "spam", "ham", "spam", "")
    verdict = await stage.up.consensus(
        CLASSIFY, Doc("x"), voters=5, vote="/label", early_decision=False, timeout=TIMEOUT_S
    )
    assert (verdict.value, verdict.output, verdict.margin) == ("spam", Label("spam"), 2)
    assert [(entry.value, entry.ballots) for entry in verdict.tally] == [("spam", 3), ("ham", 1)]
    assert (len(verdict.dissent), verdict.missing, verdict.abstained) == (1, 1, 1)
    assert not verdict.decided_early
    voters = [child.attempts[-1].agent_id async for child in stage.up.task(verdict.task_id).children()]
    assert Counter(voters) == Counter(f"voter-{number}" for number in range(5))


async def test_a_vote_is_decided_as_soon_as_nothing_can_change_it(stage: Stage) -> None:
    await stage.agent("v1", voting("a"))
    await stage.agent("v2", voting("a"))
    verdict = asyncio.create_task(
        stage.up.consensus(CLASSIFY, Doc("x"), voters=3, vote="/label", timeout=TIMEOUT_S)
    )
    assert (await verdict).decided_early  # The third voter does not exist.


async def test_without_a_majority_there_is_no_verdict_but_a_tally(stage: Stage) -> None:
    await stage.voters("a", "b", "c")
    with pytest.raises(NoConsensus) as caught:
        await stage.up.consensus(CLASSIFY, Doc("x"), vote="/label", timeout=TIMEOUT_S)
    assert sorted(entry.value for entry in caught.value.tally) == ["a", "b", "c"]
    verdict = await stage.up.consensus(
        CLASSIFY, Doc("x"), vote="/label", on_no_consensus="tie_break", timeout=TIMEOUT_S
    )
    assert verdict.value in {"a", "b", "c"}


async def test_the_weight_of_a_label_decides(stage: Stage) -> None:
    await stage.agent("chief", voting("a"))
    await stage.agent("v1", voting("b"))
    await stage.agent("v2", voting("b"))
    verdict = await stage.up.consensus(
        CLASSIFY, Doc("x"), vote="/label", weight_label="trust", early_decision=False, timeout=TIMEOUT_S
    )
    assert (verdict.value, verdict.tally[0].weight) == ("a", 3)


async def test_a_failed_ballot_is_replaced(stage: Stage) -> None:
    await stage.voters("a", "a", "broken", "a")
    verdict = await stage.up.consensus(
        CLASSIFY, Doc("x"), voters=3, rule="unanimous", vote="/label", timeout=TIMEOUT_S
    )
    assert (verdict.value, verdict.is_unanimous) == ("a", True)


async def test_numbers_are_aggregated(stage: Stage) -> None:
    for number in (1.0, 2.0, 6.0):
        await stage.agent(f"v{number}", scoring(number))
    verdict = await stage.up.consensus(CLASSIFY, Doc("x"), vote="/score", aggregate="mean", timeout=TIMEOUT_S)
    assert verdict.output == pytest.approx(3.0)


async def test_a_further_round_is_shown_the_ballots(stage: Stage) -> None:
    rounds: list[Any] = []
    for name, first in (("v1", "a"), ("v2", "b"), ("v3", "c")):
        agent = Agent(name)

        @agent.on(CLASSIFY)
        async def classify(_: Doc, ctx: Context, first: str = first) -> Label:
            ballots = ctx.context.get("ballots")
            if ballots is None:
                return Label(first)
            rounds.append(ballots)
            return Label(min(ballot["label"] for ballot in ballots))

        await agent.start(stage.server.address)
        stage.stack.push_async_callback(agent.stop, now=True)
    verdict = await stage.up.consensus(
        CLASSIFY, Doc("x"), vote="/label", rounds=2, early_decision=False, timeout=TIMEOUT_S
    )
    assert (verdict.value, verdict.rounds) == ("a", 2)
    assert [sorted(ballot["label"] for ballot in ballots) for ballots in rounds] == [["a", "b", "c"]] * 3


async def test_ballots_are_graded_and_a_vote_is_not(stage: Stage) -> None:
    await stage.voters("a", "a", "a")
    verdict = await stage.up.consensus(
        CLASSIFY, Doc("x"), vote="/label", early_decision=False, timeout=TIMEOUT_S
    )
    child, *_ = [child async for child in stage.up.task(verdict.task_id).children()]
    grade = await stage.up.grade(child, correct=True)
    assert (grade.agent_id, grade.graded_count, grade.correct_count) == (child.attempts[-1].agent_id, 1, 1)
    with pytest.raises(NotGradable):
        await stage.up.grade(verdict.task_id, correct=True)


# Races.


async def test_the_first_to_complete_wins_and_the_loser_is_told(stage: Stage) -> None:
    await stage.agent("a1")
    await stage.agent("a2")
    handle = await stage.up.submit(upbeat.race(WAIT, ADD), 1, timeout=TIMEOUT_S)
    assert await handle.result() == 2
    children = {child.member: child async for child in handle.children()}
    assert children["candidate/1"].state is TaskState.COMPLETED
    assert children["candidate/0"].state is TaskState.CANCELLED
    error = children["candidate/0"].error
    assert error is not None
    assert error.reason == "SUPERSEDED"
    task = await handle.get()
    assert task.collaboration is not None
    assert task.collaboration.winner_task_id == children["candidate/1"].task_id


async def test_a_second_candidate_is_hedged_when_the_first_takes_long(stage: Stage) -> None:
    await stage.agent("a1")
    await stage.agent("a2")
    racing = asyncio.create_task(stage.up.race(WAIT, None, candidates=2, hedge_delay=0.05, timeout=TIMEOUT_S))
    first, second = await stage.started.get(), await stage.started.get()
    assert {first, second} == {"a1", "a2"}
    stage.may_pass.set()
    assert await racing in {"a1 waited", "a2 waited"}


async def test_the_first_acceptable_output_wins(stage: Stage) -> None:
    await stage.agent("a1")
    await stage.agent("a2")
    answer = await stage.up.race(
        [ADD, Skill("shout", Any, Any)], 1, accept="output == 2", launch="staged", timeout=TIMEOUT_S
    )
    assert answer == 2


async def test_the_best_score_wins(stage: Stage) -> None:
    for score in (0.25, 0.75, 0.5):
        await stage.agent(f"v{score}", scoring(score))
    answer = await stage.up.race(CLASSIFY, Doc("x"), candidates=3, score="/score", timeout=TIMEOUT_S)
    assert answer.score == 0.75


async def test_where_all_candidates_fail_nobody_wins(stage: Stage) -> None:
    await stage.agent("a1")
    await stage.agent("a2")
    with pytest.raises(NoWinner) as caught:
        await stage.up.race(BREAK, None, candidates=2, timeout=TIMEOUT_S)
    assert "BROKEN" in f"{caught.value} {caught.value.metadata}"
