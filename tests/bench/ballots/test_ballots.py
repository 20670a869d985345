"""The votes on recorded ballots, with a few that are made up."""

from __future__ import annotations

import csv
import gzip
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from tests.bench.ballots import score
from tests.bench.ballots.__main__ import main, problems_of
from tests.bench.ballots.draw import LOPSIDED, RANDOM, VOTERS, Draw, Panel, draw
from tests.bench.ballots.election import ALL, AT_ONCE, IN_TURN, RULES, elect
from tests.bench.ballots.recording import Question, Recording, read
from tests.bench.ballots.replay import Outcome, Run, replay
from upbeat import TallyEntry

MODELS = 9
QUESTIONS = 24
EVERY = replace(RULES["plurality"], early=False)


def made_up(path: Path, seed: str = "made up") -> Recording:
    """A file in which the first model is mostly right, the others now and then; some answer nothing."""
    rng = Random(seed)
    models = [f"model-{number}" for number in range(MODELS)]
    with gzip.open(path, "wt", newline="") as text:
        rows = csv.writer(text)
        rows.writerow(["question_id", "category", "answer", *models])
        for number in range(QUESTIONS):
            answer = rng.choice("ABCD")
            skills = [0.9, *[0.4] * (MODELS - 1)]
            ballots = [
                answer if rng.random() < skill else rng.choice(["E", "F", "G", ""]) for skill in skills
            ]
            rows.writerow([number, "any", answer, *ballots])
    return read(path)


async def test_deciding_early_saves_ballots_and_changes_no_winner(tmp_path: Path) -> None:
    recording = made_up(tmp_path / "ballots.csv.gz")
    result = await elect(recording, "test", 0)
    assert result.problems == []
    rows = {(row.panels, row.rule, row.asked): row for row in result.rows}
    assert len(rows) == 2 * len(RULES) * 3
    for (panels, rule, asked), row in rows.items():
        assert row.same_winners == row.votes == QUESTIONS
        if not RULES[rule].breaks_ties:  # Those are broken by who was asked first.
            assert row.accuracy == rows[panels, rule, ALL].accuracy
        if asked == ALL:
            assert (row.cast, row.saved, row.begun) == (VOTERS * QUESTIONS, 0.0, 0.0)
    in_turn = rows[RANDOM, "majority", IN_TURN]
    assert in_turn.saved > 0
    assert in_turn.begun == 0
    assert rows[RANDOM, "majority", AT_ONCE].cast <= VOTERS * QUESTIONS
    heavy = rows[LOPSIDED, "plurality, static weights", ALL]
    assert heavy.accuracy >= rows[LOPSIDED, "plurality", ALL].accuracy
    assert score.table(result.rows).count("\n") == len(rows) + 1


async def test_a_winner_that_is_another_one_is_found(tmp_path: Path) -> None:
    recording = made_up(tmp_path / "ballots.csv.gz")
    changed = list(recording.questions)
    changed[3] = Question("J", dict.fromkeys(recording.models, "J"))
    altered = replace(recording, questions=tuple(changed))
    panels = draw(recording, "test", 0).panels[RANDOM]
    runs = []
    for ballots in (recording, altered):
        async with replay(ballots, "test", dict.fromkeys(recording.models, 0.5)) as server:
            runs.append(await server.hold(range(6), panels, EVERY))
    assert score.differing(runs[1], runs[0]) == [3]
    assert score.miscounted(recording, panels, runs[0], EVERY) == []
    assert score.miscounted(recording, panels, runs[1], EVERY) == [3]
    assert score.row(RANDOM, ("plurality", ALL), 0.0, runs[1], 1).same_winners == 5


async def test_every_model_is_graded_with_what_the_file_says(tmp_path: Path) -> None:
    recording = made_up(tmp_path / "ballots.csv.gz")
    numbers, model = range(21), recording.models[0]
    answers = [recording.questions[number].ballots[model] for number in numbers]
    async with replay(recording, "test", dict.fromkeys(recording.models, 0.5)) as server:
        assert await server.grade(numbers, [model]) == sum(answer != "" for answer in answers)
        grades = server.grades[model]
        right = sum(recording.questions[number].answer == answers[number] for number in numbers)
        assert (grades.graded_count, grades.correct_count) == (sum(map(bool, answers)), right)


def test_an_answer_among_equals_is_drawn_by_lot() -> None:
    recording = Recording(("a", "b"), (Question("A", {}),) * 2)
    drawn = Draw((0, 1), frozenset({1}), {})

    def entry(value: str, weight: float) -> TallyEntry:
        return TallyEntry(value, 1, weight)

    tie = Run({0: Outcome(None, (entry("A", 1.0), entry("B", 1.0), entry("C", 0.5)))})
    assert score.accuracy(recording, drawn, tie, "plurality") == 0.5
    assert score.accuracy(recording, drawn, tie, "majority") == 0.0
    won = Run({0: Outcome("A", (entry("A", 1.0),))})
    assert score.accuracy(recording, drawn, won, "majority") == 1.0


def question_of(ballots: str) -> Question:
    """What models a to e chose."""
    return Question("A", dict(zip("abcde", (ballot.strip() for ballot in ballots), strict=True)))


def test_who_was_not_asked_may_have_any_of_the_seats_that_are_left() -> None:
    terms, panel = RULES["plurality, ties broken"], Panel(tuple("abcde"))
    question = question_of("AABCB")

    def winners(**seats: int) -> set[str | None]:
        return score.possible_winners(question, panel, {at: model for model, at in seats.items()}, terms)

    assert winners(a=0, b=1, c=2, d=3) == {"A"}
    assert winners(c=0, d=1, e=2) == {"B"}
    assert winners(d=0) == {"A", "B"}


def test_a_plain_count_knows_ties_abstentions_and_the_quorum_of_a_majority() -> None:
    def winner(ballots: str, rule: str) -> str | None:
        return score.plain_winner(question_of(ballots), "abcde", RULES[rule])

    assert winner("AABCD", "plurality") == "A"
    assert winner("AABB ", "plurality") is None
    assert winner("BABA ", "plurality, ties broken") == "B"
    assert winner("A    ", "plurality") == "A"
    assert winner("     ", "plurality") is None
    assert winner("AABCD", "majority") is None
    assert winner("AAB  ", "majority") == "A"
    assert winner("AA   ", "majority") is None


def test_saving_too_little_is_told() -> None:
    line = score.Row(RANDOM, "majority", IN_TURN, 10, 0.5, 0.0, 45, 0.1, 0.0, 10, 1.0)
    assert len(problems_of([line])) == 1
    assert problems_of([replace(line, saved=0.14), replace(line, panels=LOPSIDED)]) == []


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ballots.csv"
    path.write_text("question,a\n1,A\n")
    with pytest.raises(ValueError, match="no column `answer`"):
        read(path)
    path.write_text("answer,a\nA,Z\n")
    with pytest.raises(ValueError, match="none of ABCDEFGHIJ: Z"):
        read(tmp_path)
    (tmp_path / "more.csv").write_text("")
    with pytest.raises(ValueError, match="2 CSV files"):
        read(tmp_path)


def test_a_missing_file_is_skipped_with_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["ballots", str(tmp_path / "none.csv")])
    assert main() == 0
    assert capsys.readouterr().out.startswith("SKIPPED: there is no ")
