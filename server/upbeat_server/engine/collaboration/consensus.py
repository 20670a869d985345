"""Consensus: several agents vote, independently of each other.

A round asks for ``voters`` ballots. One that fails or is invalid is replaced, up
to ``voters`` times over all rounds; an abstention is not. The round ends when
nothing is outstanding. If it has decided nothing (too few valid ballots, or the
rule is not met), there is another round, if one is left, and then what
``on_no_consensus`` says; a tie-break and a judge need the quorum as well.

With early decision the outcome is told as soon as every completion of the round
has it: whatever is outstanding may vote for anything, with the heaviest weights
that are left, or not at all. A failure is told early only where nothing is left
to turn to. Without it the outcome does not depend on the order of ballots.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from upbeat_server.engine import reasons
from upbeat_server.engine.collaboration import bundle, failures
from upbeat_server.engine.collaboration.aggregates import aggregate
from upbeat_server.engine.collaboration.documents import canonical, json_payload
from upbeat_server.engine.collaboration.mode import Fail, Finish, Freeze, Grade, Spawn, given
from upbeat_server.engine.collaboration.poll import Poll
from upbeat_server.engine.collaboration.tally import Rule, find
from upbeat_server.engine.collaboration.votes import ABSTENTION, Abstention, Invalid, Reading
from upbeat_server.engine.collaboration.weights import EQUAL, EQUAL_WEIGHTS, Outlook, Weights, freeze
from upbeat_server.engine.model import NO_PAYLOAD, ContextEntry, Error

if TYPE_CHECKING:
    from upbeat_server.engine.collaboration.mode import Child, Facts, Move, Setting
    from upbeat_server.engine.collaboration.tally import Cast, Place, Value
    from upbeat_server.engine.collaboration.votes import Ballot
    from upbeat_server.engine.model import Consensus, TaskSpec

JUDGE_KEY = "judge"
TIE_BREAK, EXTRA_VOTER, JUDGE = 2, 3, 4


class ConsensusReducer:
    """See the module. ``_poll`` is the round that is held."""

    def __init__(self, mode: Consensus, setting: Setting) -> None:
        self._mode = mode
        self._input = setting.input
        self._memo = setting.memo
        self._distinct = setting.collaboration.distinct_agents
        self._reading = Reading(mode)
        self._rule = Rule(mode)
        self._weights = EQUAL_WEIGHTS
        self._outlook = Outlook(EQUAL_WEIGHTS, distinct=self._distinct)
        self._replacements = mode.voters  # That may still be asked for.
        self._may_ask_extra = mode.on_no_consensus == EXTRA_VOTER
        self._is_judging = False
        self._poll = Poll(mode, 0, given(mode.voter, self._input))

    def begin(self, facts: Facts) -> list[Move]:
        """See Reducer."""
        moves: list[Move] = []
        if self._mode.weights != EQUAL:
            if not self._memo:
                self._memo = msgspec.msgpack.encode(freeze(self._mode, facts), order="deterministic")
                moves.append(Freeze(self._memo))
            self._weights = msgspec.msgpack.decode(self._memo, type=Weights)
            self._outlook = Outlook(self._weights, distinct=self._distinct)
        return moves + self._ask(self._mode.voters)

    def ended(self, child: Child) -> list[Move]:
        """See Reducer."""
        if child.key == JUDGE_KEY and self._is_judging:
            self._is_judging = False
            return self._judged(self._ballot(child))
        if child.key not in self._poll.outstanding:
            return []
        ballot = self._ballot(child)
        self._poll.enter(child, ballot, self._weights.of(child.agent_id))
        return self._turn(is_owed=isinstance(ballot, Invalid) and self._replacements > 0)

    def woken(self, facts: Facts) -> list[Move]:  # noqa: ARG002 - see Reducer
        """See Reducer; never asked for."""
        return []

    def _ballot(self, child: Child) -> Ballot:
        if failures.is_completed(child):
            return self._reading.ballot(child.output or NO_PAYLOAD)
        if failures.reason_of(child) == reasons.ABSTAINED:
            return ABSTENTION
        return Invalid(f"failed: {failures.described(child)}")

    def _turn(self, *, is_owed: bool) -> list[Move]:
        """Decide if that can be; else ask for the ballot that is owed, or go on if all are in."""
        left = len(self._poll.outstanding) + is_owed
        decision: Finish | Fail | None = None
        values: list[Value] = []  # Counted where they may decide: most ballots of a vote come before that.
        if self._mode.early_decision or not left:
            values = self._poll.values()
            decision = self._decision(values, left)
        if decision is None and self._mode.early_decision and self._is_hopeless(values, left):
            decision = self._failed(values, left)
        if decision is not None:
            self._poll.outstanding.clear()
            return [decision]
        if is_owed:
            self._replacements -= 1
            return self._ask(1)
        return [] if left else self._go_on(values)

    def _decision(self, values: list[Value], left: int) -> Finish | None:
        """The success that ``left`` further ballots cannot change; None if there is none yet."""
        if not self._poll.has_quorum:
            return None
        if self._mode.aggregate:
            return None if left else self._aggregated(values)
        coming = self._outlook.weight_max(left, self._poll.casts)
        is_won = self._rule.is_won(values, coming) or (
            # With nothing else to turn to, the heaviest value wins whether it meets the rule or not.
            self._mode.on_no_consensus == TIE_BREAK
            and self._is_last_round
            and self._rule.is_leading(values, coming, self._best_ballot if left else None)
        )
        if not is_won or not (self._poll.is_settled or not left):
            return None
        return self._won(values, values[0], is_early=left > 0)

    @property
    def _best_ballot(self) -> Place:
        """What the best of further ballots could do for its value in a tie."""
        return 0, -self._outlook.weight_max(1, self._poll.casts), self._poll.lowest_ordinal

    def _is_hopeless(self, values: list[Value], left: int) -> bool:
        """Whether neither ``left`` further ballots nor anything that could follow them can decide."""
        if not self._is_last_round:
            return False
        left += self._may_ask_extra
        if len(self._poll.casts) + left < self._mode.quorum:
            return True
        if self._mode.aggregate or self._mode.on_no_consensus in {TIE_BREAK, JUDGE}:
            return False
        coming = self._outlook.weight_max(left, self._poll.casts)
        return self._poll.is_settled and self._rule.is_lost(values, coming)

    def _go_on(self, values: list[Value]) -> list[Move]:
        """All ballots of the round are in, and it has decided nothing."""
        if not self._is_last_round:
            shown = self._ballots()
            self._poll = Poll(self._mode, self._poll.number + 1, given(self._mode.voter, self._input, shown))
            return self._ask(self._mode.voters)
        if self._may_ask_extra:
            self._may_ask_extra = False
            return self._ask(1)
        if self._poll.has_quorum and not self._mode.aggregate:
            if self._mode.on_no_consensus == TIE_BREAK:
                return [self._won(values, values[0], is_early=False)]
            if self._mode.on_no_consensus == JUDGE and self._mode.judge is not None:
                self._is_judging = True
                return [Spawn(JUDGE_KEY, self._judge(self._mode.judge))]
        return [self._failed(values, 0)]

    @property
    def _is_last_round(self) -> bool:
        return self._poll.number + 1 >= self._mode.rounds

    def _ask(self, ballots: int) -> list[Move]:
        panel = f"round/{self._poll.number}" if self._distinct else ""
        return [Spawn(self._poll.ask(), self._poll.voter, panel) for _ in range(ballots)]

    def _ballots(self) -> ContextEntry:
        """The valid ballots, in an order that does not tell whose they are."""
        return ContextEntry(
            "ballots", bundle.listed(sorted(bundle.as_json(cast.output) for cast in self._poll.casts))
        )

    def _judge(self, judge: TaskSpec) -> TaskSpec:
        asked = self._input if self._mode.voter.input == NO_PAYLOAD else self._mode.voter.input
        return given(judge, asked, self._ballots())

    def _judged(self, ballot: Ballot) -> list[Move]:
        """The judge's word decides, and is a grade for everybody who voted."""
        values = self._poll.values()
        if isinstance(ballot, Abstention):
            return [self._failed(values, 0, note="the judge abstained")]
        if isinstance(ballot, Invalid):
            return [self._failed(values, 0, note=f"the judge {ballot.why}")]
        chosen = find(values, ballot, self._mode)
        if chosen is None:
            note = f"the judge chose {failures.clipped(ballot.value.decode())}, which nobody voted for"
            return [self._failed(values, 0, note=note)]
        right = {cast.ordinal for cast in chosen.casts}
        grades: list[Move] = [
            Grade(self._mode.voter.type, cast.agent_id, cast.ordinal in right)
            for cast in sorted(self._poll.casts, key=_ordinal)
            if cast.agent_id  # A nested collaboration is nobody.
        ]
        return [*grades, self._won(values, chosen, is_early=False)]

    def _aggregated(self, values: list[Value]) -> Finish | None:
        number = aggregate(self._mode.aggregate, self._poll.casts)
        if number is None:
            return None
        text = canonical(number)
        result = self._poll.result(values, None, is_early=False)
        return Finish(json_payload(text), msgspec.structs.replace(result, winning_value=text))

    def _won(self, values: list[Value], winner: Value, *, is_early: bool) -> Finish:
        return Finish(winner.casts[0].output, self._poll.result(values, winner, is_early=is_early))

    def _failed(self, values: list[Value], left: int, note: str = "") -> Fail:
        details = self._poll.details(values)
        lack = self._poll.lack(left) + (f"; {note}" if note else "")
        words = f"no consensus: {lack} ({details['tally'] or 'nobody voted'})"
        error = Error(reasons.NO_CONSENSUS, words, details=details)
        return Fail(error, self._poll.result(values, None, is_early=left > 0))


def _ordinal(cast: Cast) -> int:
    return cast.ordinal
