"""Competitive: candidates of which one wins.

``first_success`` and ``first_acceptable`` are won in the order of commits, ``best_of``
by the outputs alone: all candidates run, whatever ``launch`` says, and ties go to
the lowest ordinal. An output that is not acceptable, or has no score, counts as a
failure of its candidate.

Candidates are launched in the order of their ordinals, so it is their number that
says which: one at first, one for each failure, and one for each hedge. Only hedges
depend on time; their number is the memo, which makes a restart launch the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from upbeat_server.engine import reasons
from upbeat_server.engine.collaboration import failures
from upbeat_server.engine.collaboration.documents import Unreadable, decoded, is_number
from upbeat_server.engine.collaboration.mode import Fail, Finish, Freeze, Spawn, Wake, given
from upbeat_server.engine.collaboration.pairs import Knockout
from upbeat_server.engine.collaboration.pointer import value_at
from upbeat_server.engine.model import NO_PAYLOAD, CollaborationResult, ContextEntry, Error

if TYPE_CHECKING:
    from upbeat_server.engine.collaboration.mode import Child, Facts, Move, Setting
    from upbeat_server.engine.collaboration.votes import Number
    from upbeat_server.engine.model import Competitive, Payload

NAME = "competitive"
PANEL = "candidates"

FIRST_ACCEPTABLE, BEST_OF = 2, 3
LAUNCH_ALL, HEDGED = 1, 2

HEDGE_DELAY_UNKNOWN_MS = 10_000
"""Before a second candidate while the durations of the type are not known."""


class CompetitiveReducer:
    """See the module. A candidate is known by its ordinal."""

    def __init__(self, mode: Competitive, setting: Setting) -> None:
        self._mode = mode
        self._input = setting.input
        self._check = setting.checks[mode.accept] if mode.accept else None
        self._panel = PANEL if setting.collaboration.distinct_agents else ""
        self._hedges = msgspec.msgpack.decode(setting.memo, type=int) if setting.memo else 0
        self._delay_ms = 0
        self._launched = 0
        self._running: dict[str, int] = {}  # Candidates, ordinals by key.
        self._validating: dict[str, int] = {}
        self._outputs: dict[int, Payload] = {}  # Of candidates that may still win.
        self._scores: dict[int, Number] = {}
        self._task_ids: dict[int, int] = {}
        self._ran_ms: dict[int, int] = {}  # Of candidates that have ended.
        self._troubles: dict[int, str] = {}  # Of candidates that cannot win.
        has_knockout = mode.select == BEST_OF and mode.judge is not None
        self._knockout = Knockout(mode.judge, setting.input) if has_knockout and mode.judge else None
        self._met = 0  # Candidates, from the first, that the knockout has dealt with.

    def begin(self, facts: Facts) -> list[Move]:
        """See Reducer."""
        if self._mode.select == BEST_OF or self._mode.launch == LAUNCH_ALL:
            return self._launch(len(self._mode.candidates))
        moves = self._launch(1) + self._launch(self._hedges, is_hedge=True)
        if self._mode.launch == HEDGED:
            self._delay_ms = self._hedge_delay_ms(facts)
            moves += self._wake()
        return moves

    def woken(self, facts: Facts) -> list[Move]:
        """See Reducer: nobody has won for the time of a hedge."""
        if self._mode.launch != HEDGED or self._launched == len(self._mode.candidates):
            return []
        self._delay_ms = self._hedge_delay_ms(facts)
        if not facts.may_hedge():
            return self._wake()
        self._hedges += 1
        memo = msgspec.msgpack.encode(self._hedges)
        return [*self._launch(1, is_hedge=True), Freeze(memo), *self._wake()]

    def ended(self, child: Child) -> list[Move]:
        """See Reducer."""
        if self._knockout is not None and self._knockout.has(child.key):
            return self._judged(self._knockout, child)
        if child.key in self._validating:
            return self._validated(self._validating.pop(child.key), child)
        ordinal = self._running.pop(child.key, None)
        if ordinal is None:
            return []
        self._task_ids[ordinal] = child.task_id
        self._ran_ms[ordinal] = child.ran_ms
        if not failures.is_completed(child):
            return self._lost(ordinal, failures.described(child))
        return self._completed(ordinal, child.output or NO_PAYLOAD)

    # Launching.

    def _launch(self, number: int, *, is_hedge: bool = False) -> list[Move]:
        begin = self._launched
        self._launched = min(begin + number, len(self._mode.candidates))
        moves: list[Move] = []
        for ordinal in range(begin, self._launched):
            key = f"candidate/{ordinal}"
            self._running[key] = ordinal
            spec = given(self._mode.candidates[ordinal], self._input)
            moves.append(Spawn(key, spec, self._panel, hedge=is_hedge))
        return moves

    def _wake(self) -> list[Move]:
        return [Wake(self._delay_ms)] if self._launched < len(self._mode.candidates) else []

    def _hedge_delay_ms(self, facts: Facts) -> int:
        if self._mode.hedge_delay_ms:
            return self._mode.hedge_delay_ms
        learned = facts.duration_ms(self._mode.candidates[0].type, self._mode.hedge_quantile)
        return HEDGE_DELAY_UNKNOWN_MS if learned is None else max(1, round(learned))

    # Ends.

    def _completed(self, ordinal: int, output: Payload) -> list[Move]:
        self._outputs[ordinal] = output
        if self._mode.select == BEST_OF:
            return self._compare() if self._knockout else self._scored(ordinal, output)
        if self._mode.select != FIRST_ACCEPTABLE:
            return [self._won(ordinal)]
        if self._check is not None and not self._check(output):
            return self._lost(ordinal, f"its output is not accepted by {self._mode.accept!r}")
        if self._mode.validator is None:
            return [self._won(ordinal)]
        key = f"candidate/{ordinal}/validator"
        self._validating[key] = ordinal
        own = self._mode.validator.input != NO_PAYLOAD
        context = (ContextEntry("previous", output),) if own else ()
        return [Spawn(key, given(self._mode.validator, output, *context))]

    def _validated(self, ordinal: int, child: Child) -> list[Move]:
        if not failures.is_completed(child):
            return self._lost(ordinal, f"its validator failed: {failures.described(child)}")
        try:
            answer = decoded((child.output or NO_PAYLOAD).data)
        except Unreadable as error:
            return self._lost(ordinal, f"the answer of its validator {error}")
        if (answer.get("accept") if isinstance(answer, dict) else answer) is True:
            return [self._won(ordinal)]
        return self._lost(ordinal, "its validator does not accept its output")

    def _lost(self, ordinal: int, why: str) -> list[Move]:
        """A candidate cannot win any more: the next one is launched at once."""
        self._outputs.pop(ordinal, None)
        self._troubles[ordinal] = why
        if self._mode.select == BEST_OF:
            return self._compare() if self._knockout else self._best_by_score()
        launched = self._launch(1)
        if launched and self._mode.launch == HEDGED:
            return launched + self._wake()
        if launched or self._running or self._validating:
            return launched
        return [self._no_winner()]

    # The best of all.

    def _scored(self, ordinal: int, output: Payload) -> list[Move]:
        try:
            score = value_at(output.data, self._mode.score)
        except Unreadable as error:
            return self._lost(ordinal, f"its output {error}")
        if not is_number(score):
            return self._lost(ordinal, f"its score at {self._mode.score!r} is no number")
        self._scores[ordinal] = score
        return self._best_by_score()

    def _best_by_score(self) -> list[Move]:
        if self._running:
            return []
        if not self._scores:
            return [self._no_winner()]
        return [self._won(min(self._scores, key=lambda ordinal: (-self._scores[ordinal], ordinal)))]

    def _compare(self) -> list[Move]:
        """Let those meet that can; the winner if all have."""
        knockout = self._knockout
        while knockout is not None and not knockout.is_judging and self._met < len(self._mode.candidates):
            if f"candidate/{self._met}" in self._running:
                return []
            self._met += 1
            if self._met - 1 in self._outputs:
                judges = knockout.challenge(self._met - 1, self._outputs)
                if judges:
                    return list(judges)
        if knockout is None or knockout.is_judging:
            return []
        return [self._no_winner() if knockout.champion is None else self._won(knockout.champion)]

    def _judged(self, knockout: Knockout, child: Child) -> list[Move]:
        judge = self._mode.judge or self._mode.candidates[0]
        if not failures.is_completed(child):
            # Who is the best is not known then: a winner would be a matter of luck.
            return [Fail(failures.step_failed(judge, child), self._result(0))]
        try:
            knockout.judged(child.key, child.output or NO_PAYLOAD)
        except Unreadable as error:
            what = f"the output of judge {failures.label(judge, child.key)}"
            details = {"step": child.key, "task_id": failures.task_text(child.task_id)}
            return [Fail(failures.invalid_form(what, str(error), **details), self._result(0))]
        if knockout.is_judging:
            return []
        return self._compare()

    # The outcome.

    def _won(self, ordinal: int) -> Finish:
        return Finish(self._outputs[ordinal], self._result(self._task_ids[ordinal], ordinal))

    def _no_winner(self) -> Fail:
        errors = {f"candidate/{ordinal}": why for ordinal, why in sorted(self._troubles.items())}
        told = failures.clipped("; ".join(f"{key}: {why}" for key, why in errors.items()))
        words = f"none of {len(errors)} candidates won: {told}"
        return Fail(Error(reasons.NO_WINNER, words, details=errors), self._result(0))

    def _result(self, winner_id: int, winner: int | None = None) -> CollaborationResult:
        wasted = sum(ms for ordinal, ms in self._ran_ms.items() if ordinal != winner)
        return CollaborationResult(mode=NAME, winner_id=winner_id, wasted_ms=wasted)
