"""What runs are worth: how often they were right, what they cost, and whether they agree."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from itertools import permutations
from typing import TYPE_CHECKING

from tests.bench.ballots.draw import VOTERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.bench.ballots.draw import Draw, Panel
    from tests.bench.ballots.recording import Question, Recording
    from tests.bench.ballots.replay import Run, Terms

MAJORITY = "majority"


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    panels: str
    rule: str
    asked: str  # How: all, or with early decision.
    votes: int
    accuracy: float
    undecided: float  # Share of votes without a winner.
    cast: int
    saved: float  # Share of ballots that nobody had to cast.
    begun: float  # Share of ballots that were begun and called off.
    same_winners: int
    votes_per_s: float

    def as_json(self) -> dict[str, object]:
        """For the file."""
        return asdict(self)


def plain_winner(question: Question, models: Iterable[str], terms: Terms) -> str | None:
    """The winner with equal weights, counted by hand; the models are in the order of their ordinals."""
    ballots = [question.ballots[model] for model in models if question.ballots[model]]
    ranked = Counter(ballots).most_common(2)  # Among equals the first comes first.
    if len(ballots) < terms.quorum:
        return None
    if terms.rule == MAJORITY:
        return ranked[0][0] if 2 * ranked[0][1] > len(ballots) else None
    is_tie = len(ranked) > 1 and ranked[0][1] == ranked[1][1]
    return None if is_tie and not terms.breaks_ties else ranked[0][0]


def possible_winners(
    question: Question, panel: Panel, seats: Mapping[int, str], terms: Terms
) -> set[str | None]:
    """Who could win, counted by hand, if all were asked: those who were have their seats, the rest any."""
    rest = [model for model in panel.models if model not in seats.values()]
    free = [ordinal for ordinal in range(VOTERS) if ordinal not in seats]
    winners = set()
    for order in permutations(rest):
        placed = {**seats, **dict(zip(free, order, strict=True))}
        winners.add(plain_winner(question, [placed[ordinal] for ordinal in sorted(placed)], terms))
    return winners


def accuracy(recording: Recording, drawn: Draw, run: Run, rule: str) -> float:
    """The share of scored votes that were right.

    Where the heaviest values weigh the same the answer is drawn by lot, so that each counts for its
    chance; a vote by majority without one is no answer.
    """
    right = 0.0
    for number in drawn.scored:
        outcome, answer = run.outcomes[number], recording.questions[number].answer
        if outcome.winner is not None:
            right += outcome.winner == answer
        elif rule != MAJORITY and answer in outcome.leaders:
            right += 1 / len(outcome.leaders)
    return right / len(drawn.scored)


def row(kind: str, names: tuple[str, str], scored: float, run: Run, wrong: int) -> Row:
    """A line for a run of which so many winners would have been others had all been asked."""
    asked_all = VOTERS * len(run.outcomes)
    return Row(
        panels=kind,
        rule=names[0],
        asked=names[1],
        votes=len(run.outcomes),
        accuracy=scored,
        undecided=sum(outcome.winner is None for outcome in run.outcomes.values()) / len(run.outcomes),
        cast=run.cast,
        saved=1 - run.cast / asked_all,
        begun=(run.asked - run.cast) / asked_all,
        same_winners=len(run.outcomes) - wrong,
        votes_per_s=len(run.outcomes) / run.seconds,
    )


def differing(run: Run, reference: Run) -> list[int]:
    """Questions whose winner is another one. Ties are broken by seats, which differ from run to run."""
    return [
        number
        for number, outcome in run.outcomes.items()
        if outcome.winner != reference.outcomes[number].winner
    ]


def miscounted(recording: Recording, panels: Mapping[int, Panel], run: Run, terms: Terms) -> list[int]:
    """Questions where a plain count of all ballots could have another winner, whoever was not asked."""
    return [
        number
        for number, outcome in run.outcomes.items()
        if {outcome.winner}
        != possible_winners(recording.questions[number], panels[number], outcome.seats, terms)
    ]


def mean(rows: Iterable[Row]) -> Row:
    """One line for the same line of several seeds."""
    every = list(rows)
    count = len(every)
    first = every[0]
    return Row(
        first.panels,
        first.rule,
        first.asked,
        votes=sum(each.votes for each in every),
        accuracy=sum(each.accuracy for each in every) / count,
        undecided=sum(each.undecided for each in every) / count,
        cast=sum(each.cast for each in every),
        saved=sum(each.saved for each in every) / count,
        begun=sum(each.begun for each in every) / count,
        same_winners=sum(each.same_winners for each in every),
        votes_per_s=sum(each.votes_per_s for each in every) / count,
    )


def table(rows: Iterable[Row]) -> str:
    """The lines as Markdown."""
    head = "| panels | rule | asked | votes | accuracy | undecided | cast | saved | called off"
    lines = [
        f"{head} | same winners | votes/s |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for each in rows:
        is_same = "all" if each.same_winners == each.votes else f"{each.same_winners:,}"
        lines.append(
            f"| {each.panels} | {each.rule} | {each.asked} | {each.votes:,} | {each.accuracy:.3f}"
            f" | {each.undecided:.1%} | {each.cast:,} | {each.saved:.1%} | {each.begun:.1%} | {is_same}"
            f" | {each.votes_per_s:,.0f} |"
        )
    return "\n".join(lines)
