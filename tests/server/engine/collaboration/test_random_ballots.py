"""Votes on random ballots: the order decides nothing, and an early decision is that of all ballots."""

from __future__ import annotations

from random import Random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.mode_stage import KnownFacts, Stage, done, failed, step
from upbeat_server.engine.collaboration.mode import Fail, Finish
from upbeat_server.engine.model import Competitive, Consensus

ROUNDS = EXTRA = 3
NUMBER = 4
BALLOTS = ("1", "1", "2", "2", "3", "1.4", "2.3", "null", '"x"', "{", "BROKEN")
AGREEING = ("1", "1", "1", "1", "2", "1.4", "BROKEN")
WEIGHTS = (0.0, 0.1, 0.2, 0.3, 1.0, 1.0, 2.0, 2.5)


class Scene:
    """A vote, and what every child will answer whenever it is asked."""

    def __init__(self, random: Random) -> None:
        voters = random.randint(1, 7)
        self.distinct = random.random() < 0.5
        self.agents = [f"agent{number}" for number in range(3 * voters)]
        self.facts = KnownFacts(
            {agent: random.choice(WEIGHTS) for agent in self.agents if random.random() < 0.7},
            other=random.choice((0.0, 0.3, 1.0, 1.0)),
        )
        self.mode = Consensus(
            step("vote"),
            voters,
            random.randint(1, 4),
            random.choice((0.51, 2 / 3, 0.75, 1.0)),
            random.randint(1, voters),
            normalize=random.choice((0, NUMBER)),
            tolerance=random.choice((0.0, 0.5)),
            weights=random.choice((1, 1, 2, 3)),
            on_no_consensus=random.randint(1, 4),
            judge=step("judge"),
            rounds=random.randint(1, 3),
            aggregate=random.randint(1, 3) if random.random() < 0.15 else 0,
        )
        ballots = random.choice((BALLOTS, AGREEING))
        self.answers = {
            f"round/{number}/voter/{ordinal}": random.choice(ballots)
            for number in range(ROUNDS)
            for ordinal in range(2 * voters + 1)
        }
        self.answers["judge"] = random.choice(BALLOTS)
        self.voices = {
            key: self.agents[int(key.rpartition("/")[2])] if self.distinct else random.choice(self.agents)
            for key in self.answers
            if key != "judge"
        }

    def played(self, random: Random, *, early: bool) -> Stage:
        """The vote with its ballots coming in at random."""
        mode = msgspec.structs.replace(self.mode, early_decision=early)
        stage = Stage(mode, distinct=self.distinct, facts=self.facts)
        while not stage.is_decided:
            key = random.choice(stage.live)
            answer = self.answers[key]
            if answer == "BROKEN":
                stage >> failed(key)
            else:
                stage >> done(key, answer, agent=self.voices.get(key, ""))
        return stage


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(0, 1 << 32), st.integers(0, 1 << 32))
def test_the_order_of_ballots_decides_nothing_where_all_are_heard(scene: int, one: int, other: int) -> None:
    ballots = Scene(Random(scene))
    first, second = (ballots.played(Random(seed), early=False) for seed in (one, other))
    assert first.decision == second.decision


@settings(max_examples=800, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(0, 1 << 32))
def test_an_early_decision_is_that_of_all_ballots(scene: int, order: int) -> None:
    ballots = Scene(Random(scene))
    early = ballots.played(Random(order), early=True)
    late = ballots.played(Random(order), early=False)
    assert early.result.winning_value == late.result.winning_value
    match early.decision, late.decision:
        case Finish(), Finish():
            assert early.result.rounds == late.result.rounds
        case Fail(error=one), Fail(error=other):
            assert one.reason == other.reason
        case one, other:
            raise AssertionError(f"{one} is not {other}")


def test_early_decisions_save_ballots() -> None:
    """The property above would hold of a mode that never decides early, too."""
    scenes = [Scene(Random(seed)) for seed in range(300)]
    early = sum(scene.played(Random(1), early=True).result.decided_early for scene in scenes)
    assert early > 30


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(0, 1 << 32), st.integers(0, 1 << 32))
def test_the_best_of_all_does_not_depend_on_who_was_first(scene: int, one: int, other: int) -> None:
    random = Random(scene)
    number = random.randint(1, 5)
    judge = step("judge") if random.random() < 0.7 else None
    mode = Competitive((step(),) * number, 3, judge=judge)
    answers = {f"candidate/{ordinal}": random.choice(("1", "2", "BROKEN")) for ordinal in range(number)}

    def played(random: Random) -> Stage:
        stage = Stage(mode)
        while not stage.is_decided:
            key = random.choice(stage.live)
            verdict = Random(f"{scene}{key}").choice(('"first"', '"second"', '"tie"'))
            answer = answers.get(key, verdict)
            stage >> (failed(key) if answer == "BROKEN" else done(key, answer))
        return stage

    first, second = played(Random(one)), played(Random(other))
    assert first.decision == second.decision
