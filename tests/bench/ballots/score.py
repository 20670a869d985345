"""What runs are worth: how often they were right, what they cost, and whether they agree."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tests.bench.ballots.draw import VOTERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.bench.ballots.draw import Draw, Panel
    from tests.bench.ballots.recording import Question, Recording
    from tests.bench.ballots.replay import Run

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


def plain_winner(question: Question, panel: Panel, rule: str) -> str | None:
    """The winner with equal weights, counted by hand; a majority needs the default quorum as well."""
    ballots = [question.ballots[model] for model in panel.models if question.ballots[model]]
    ranked = Counter(ballots).most_common(2)
    if not ranked:
        return None
    if rule == MAJORITY:
        return ranked[0][0] if len(ballots) > VOTERS // 2 and 2 * ranked[0][1] > len(ballots) else None
    return ranked[0][0] if len(ranked) == 1 or ranked[0][1] > ranked[1][1] else None


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


def row(kind: str, names: tuple[str, str], scored: float, run: Run, reference: Run) -> Row:
    """A line for a run, held against the one that asked all."""
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
        same_winners=len(run.outcomes) - len(differing(run, reference)),
        votes_per_s=len(run.outcomes) / run.seconds,
    )


def differing(run: Run, reference: Run) -> list[int]:
    """Questions whose winner is another one."""
    return [
        number
        for number, outcome in run.outcomes.items()
        if outcome.winner != reference.outcomes[number].winner
    ]


def miscounted(recording: Recording, panels: Mapping[int, Panel], run: Run, rule: str) -> list[int]:
    """Questions whose winner is not that of a plain count."""
    return [
        number
        for number, outcome in run.outcomes.items()
        if outcome.winner != plain_winner(recording.questions[number], panels[number], rule)
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
