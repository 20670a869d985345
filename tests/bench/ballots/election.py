"""All rules on all panels, for one seed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tests.bench.ballots import score
from tests.bench.ballots.draw import VOTERS, draw
from tests.bench.ballots.replay import Terms, replay

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.ballots.draw import Draw
    from tests.bench.ballots.recording import Recording
    from tests.bench.ballots.replay import Replay

MAJORITY_QUORUM = VOTERS // 2 + 1

RULES = {
    "plurality": Terms("plurality"),
    "plurality, ties broken": Terms("plurality", breaks_ties=True),
    "majority": Terms("majority", quorum=MAJORITY_QUORUM),
    "plurality, static weights": Terms("plurality", "static"),
    "plurality, learned weights": Terms("plurality", "performance"),
}
ALL, IN_TURN, AT_ONCE = "all", "early, in turn", "early, at once, slow agents"


@dataclass
class Result:
    """Lines of the table, and what must not be: a winner that is another one."""

    rows: list[score.Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


async def elect(
    recording: Recording, seed: str, questions: int, told: Callable[[str], None] = lambda _: None
) -> Result:
    """Grade a tenth, then every rule on every kind of panel."""
    drawn = draw(recording, seed, questions)
    accuracies = {model: recording.accuracy(model, drawn.graded) for model in recording.models}
    result = Result()
    async with replay(recording, seed, accuracies) as server:
        told(f"seed {seed}: {await server.grade(drawn.graded, recording.models):,} answers graded")
        for kind in drawn.panels:
            for name, terms in RULES.items():
                await _rule(server, recording, drawn, (kind, name, terms), result)
                told(f"seed {seed}: {kind}: {name}")
    return result


async def _rule(
    server: Replay, recording: Recording, drawn: Draw, what: tuple[str, str, Terms], result: Result
) -> None:
    """The three ways of asking under one rule."""
    kind, name, terms = what
    panels = drawn.panels[kind]
    ways = {
        ALL: replace(terms, early=False),
        IN_TURN: replace(terms, at_once=1),
        AT_ONCE: replace(terms, is_slow=True),
    }
    runs = {way: await server.hold(drawn.numbers, panels, each) for way, each in ways.items()}
    for way, run in runs.items():
        wrong = set() if terms.breaks_ties else set(score.differing(run, runs[ALL]))
        if terms.weights == "equal":
            wrong.update(score.miscounted(recording, panels, run, terms))
        scored = score.accuracy(recording, drawn, run, terms.rule)
        result.rows.append(score.row(kind, (name, way), scored, run, len(wrong)))
        for number in sorted(wrong):
            told = f"{run.outcomes[number].winner} won question {number}, not with all asked"
            result.problems.append(f"{kind}, {name}, {way}: {told}")
