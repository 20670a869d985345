"""Every mode under children that end in any order and in any way.

Whatever comes: it decides once, names every child once, wants nothing after its
decision, is never stuck, and comes to the same when it is told the same again.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.mode_stage import (
    AnyMode,
    KnownFacts,
    Stage,
    appended,
    cancelled,
    closed,
    done,
    failed,
    json,
    woken,
)
from tests.support.mode_stage import step as a_step
from upbeat_server.engine.collaboration.mode import Check
from upbeat_server.engine.model import (
    Competitive,
    Consensus,
    Parallel,
    Pipeline,
    Sequential,
    StopWhen,
    TaskSpec,
)

EVENTS_MAX = 2_000
ACCEPT = "output == 1"
CHECKS: dict[str, Check] = {ACCEPT: lambda output: output.data == b"1"}
OUTPUTS = ("1", "2", "3", "1.0", "true", '"first"', '"second"', "null", "{", '{"accept": true}', "[1]")
AGENTS = ("a", "b", "c", "d", "")
WEIGHTS = {"a": 2.5, "b": 0.3, "c": 0.0}


def step_or_own(random: Random) -> TaskSpec:
    return a_step(text=random.choice(("", "", "0")), name=random.choice(("", "named")))


def some_steps(random: Random, most: int) -> tuple[TaskSpec, ...]:
    return tuple(step_or_own(random) for _ in range(random.randint(1, most)))


def sequential(random: Random) -> Sequential:
    stop = StopWhen("", b"1") if random.random() < 0.3 else None
    return Sequential(
        some_steps(random, 5), random.randint(1, 3), random.randint(1, 3), step_or_own(random), stop
    )


def parallel(random: Random) -> Parallel:
    steps = some_steps(random, 6)
    is_mapped = random.random() < 0.3
    return Parallel(
        steps[:1] if is_mapped else steps,
        "" if is_mapped else None,
        random.randint(1, 4),
        random.randint(1, 3 if is_mapped else len(steps)),
        random.randint(1, 2),
        step_or_own(random) if random.random() < 0.4 else None,
    )


def pipeline(random: Random) -> Pipeline:
    return Pipeline(
        some_steps(random, 4),
        tuple(json(str(index)) for index in range(random.randint(0, 12))),
        open=random.random() < 0.5,
        items_pointer="" if random.random() < 0.2 else None,
        barrier=random.random() < 0.3,
        stage_concurrency=random.randint(1, 3),
        buffer=random.randint(1, 3),
        ordering=random.randint(1, 2),
        on_item_failure=random.randint(1, 3),
        max_item_failures=random.randint(0, 4),
    )


def consensus(random: Random) -> Consensus:
    voters = random.randint(1, 6)
    return Consensus(
        step_or_own(random),
        voters,
        random.randint(1, 4),
        random.choice((0.6, 2 / 3, 0.9, 1.0)),
        random.randint(1, voters),
        normalize=random.randint(0, 4),
        tolerance=random.choice((0.0, 0.0, 1.0)),
        choices=random.choice(((), ("1", "2", "first"))),
        weights=random.randint(1, 3),
        early_decision=random.random() < 0.6,
        on_no_consensus=random.randint(1, 4),
        judge=a_step("judge"),
        rounds=random.randint(1, 3),
        aggregate=random.choice((0, 0, 0, 1, 2, 3)),
    )


def competitive(random: Random) -> Competitive:
    select = random.randint(1, 3)
    by_check = random.random() < 0.5
    return Competitive(
        some_steps(random, 5),
        select,
        ACCEPT if select == 2 and by_check else "",
        a_step("check") if select == 2 and not by_check else None,
        "",
        a_step("judge") if select == 3 and by_check else None,
        random.randint(1, 3),
    )


MAKERS = (sequential, parallel, pipeline, consensus, competitive)


def one_end(random: Random, stage: Stage, key: str) -> None:
    """A child ends somehow."""
    chance = random.random()
    if chance < 0.65:
        stage >> done(key, random.choice(OUTPUTS), agent=random.choice(AGENTS), ran_ms=random.randint(0, 9))
    elif chance < 0.85:
        stage >> failed(key, random.choice(("BROKEN", "ABSTAINED")), ran_ms=random.randint(0, 9))
    else:
        stage >> cancelled(key)


def one_event(random: Random, stage: Stage) -> None:
    """Something happens that a group could tell."""
    is_open = isinstance(stage.setting.collaboration.mode, Pipeline) and stage.items.is_open
    chance = random.random()
    if is_open and chance < 0.2:
        stage >> appended(*(str(stage.items.item_count) for _ in range(random.randint(1, 3))))
    elif is_open and (chance < 0.25 or not stage.live):
        stage >> closed()
    elif stage.wake_ms is not None and chance < 0.4:
        stage.facts.has_room = random.random() < 0.7
        stage >> woken()
    elif stage.ended and chance < 0.5:
        one_end(random, stage, random.choice(list(stage.ended)))  # Told again, or otherwise: too late.
    else:
        assert stage.live, "it waits for nothing"
        one_end(random, stage, random.choice(stage.live))


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_whatever_its_children_do_a_mode_decides_once_and_the_same_after_a_restart(
    maker: Callable[[Random], AnyMode], seed: int
) -> None:
    random = Random(seed)
    mode = maker(random)
    facts = KnownFacts(WEIGHTS, other=random.choice((0.5, 1.0)), duration_ms=random.choice((None, 7.0)))
    stage = Stage(mode, "[1, 2, 3]", distinct=random.random() < 0.5, facts=facts, checks=CHECKS)
    events = 0
    while not stage.is_decided:
        one_event(random, stage)
        events += 1
        assert events < EVENTS_MAX
        if not events % 5:
            stage.assert_restarts()
    stage.assert_restarts()
