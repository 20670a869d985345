"""Reads the modes in which several agents do the same: consensus and competitive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine.collaboration.steps import steps_of
from upbeat_server.engine.model import Competitive, Consensus, SideEffects, TaskSpec
from upbeat_server.rpc.faults import is_label_key
from upbeat_server.rpc.nest import TOO_MANY_CONDITIONS
from upbeat_server.runtime.check import compile_check
from upbeat_server.runtime.refused import Refused

if TYPE_CHECKING:
    from upbeat.v1 import task_spec_pb2
    from upbeat_server.rpc.nest import Nest

VOTERS_MAX = 15
ROUNDS_MAX = 3
CHOICES_MAX = 100
CHOICE_BYTES_MAX = 1_024
CANDIDATES_MAX = 15
COUNT_DEFAULT, COUNT_BEST_OF = 2, 3
QUANTILE_LEAST, QUANTILE_MOST, QUANTILE_DEFAULT = 0.5, 0.999, 0.95

SUPERMAJORITY, NUMBER, STATIC, JUDGE = 3, 4, 2, 4
FIRST_ACCEPTABLE, BEST_OF, HEDGED = 2, 3, 2


def read_consensus(message: task_spec_pb2.Consensus, nest: Nest) -> Consensus:
    """Ballots of several agents."""
    if not message.HasField("voter"):
        nest.fault("consensus.voter", "must be set: it is what each voter is asked")
    voters = nest.number(message, "voters", "consensus.", (1, VOTERS_MAX), 3)
    quorum = message.quorum
    if not 0 <= quorum <= voters:
        nest.fault(
            "consensus.quorum", f"{quorum:,} is not from 1 to voters ({voters:,}); 0 means half and one"
        )
    on_none = nest.choice(message, "on_no_consensus", "consensus.") or 1
    if on_none != JUDGE:
        nest.without_effect(message, "consensus", ("judge",), "on_no_consensus JUDGE")
    elif not message.HasField("judge"):
        nest.fault("consensus.judge", "must be set with on_no_consensus JUDGE: it is who decides then")
    return Consensus(
        nest.optional_step(message, "voter", "consensus") or TaskSpec(""),
        voters,
        nest.choice(message, "rule", "consensus.") or 1,
        _supermajority(message, nest),
        quorum or voters // 2 + 1,
        nest.pointer(message.vote, "consensus.vote"),
        nest.choice(message, "normalize", "consensus."),
        _tolerance(message, nest),
        _choices(message, nest),
        nest.choice(message, "weights", "consensus.") or 1,
        _weight_label(message, nest),
        message.early_decision if message.HasField("early_decision") else True,
        on_none,
        nest.optional_step(message, "judge", "consensus"),
        nest.number(message, "rounds", "consensus.", (1, ROUNDS_MAX), 1),
        nest.choice(message, "aggregate", "consensus."),
    )


def _supermajority(message: task_spec_pb2.Consensus, nest: Nest) -> float:
    share = message.supermajority
    if message.rule != SUPERMAJORITY:
        nest.without_effect(message, "consensus", ("supermajority",), "rule SUPERMAJORITY")
    elif not 0.5 < share <= 1:  # Not a number fails, too.
        nest.fault("consensus.supermajority", "must be more than 0.5 and at most 1: the share that wins")
    return share


def _tolerance(message: task_spec_pb2.Consensus, nest: Nest) -> float:
    if message.normalize != NUMBER:
        nest.without_effect(message, "consensus", ("tolerance",), "normalize NUMBER")
    elif message.tolerance < 0:
        nest.fault("consensus.tolerance", "must not be negative; 0 means equal")
    return nest.finite(message.tolerance, "consensus.tolerance")


def _choices(message: task_spec_pb2.Consensus, nest: Nest) -> tuple[str, ...]:
    if len(message.choices) > CHOICES_MAX:
        nest.fault("consensus.choices", f"has {len(message.choices):,} entries; the limit is {CHOICES_MAX}")
        return ()
    for number, choice in enumerate(message.choices):
        if len(choice.encode()) > CHOICE_BYTES_MAX:
            nest.fault(f"consensus.choices[{number}]", f"is longer than {CHOICE_BYTES_MAX:,} bytes")
    return tuple(message.choices)


def _weight_label(message: task_spec_pb2.Consensus, nest: Nest) -> str:
    label = message.weight_label
    if message.weights != STATIC:
        nest.without_effect(message, "consensus", ("weight_label",), "weights STATIC")
    elif not is_label_key(label):
        nest.fault(
            "consensus.weight_label",
            "must be the label that holds the weight: 1 to 63 characters of [A-Za-z0-9_.:/-], "
            "the first one [A-Za-z0-9_]",
        )
    return label


def read_competitive(message: task_spec_pb2.Competitive, nest: Nest) -> Competitive:
    """Candidates of which one wins."""
    select = nest.choice(message, "select", "competitive.") or 1
    candidates = _candidates(message, nest, COUNT_BEST_OF if select == BEST_OF else COUNT_DEFAULT)
    _expect_verdict(message, nest, select)
    launch = nest.choice(message, "launch", "competitive.") or 1
    if launch != HEDGED:
        nest.without_effect(message, "competitive", ("hedge_delay", "hedge_quantile"), "launch HEDGED")
    quantile = message.hedge_quantile
    if quantile and not QUANTILE_LEAST <= quantile <= QUANTILE_MOST:
        nest.fault(
            "competitive.hedge_quantile",
            f"must be from {QUANTILE_LEAST} to {QUANTILE_MOST}; 0 means {QUANTILE_DEFAULT}",
        )
    delay_ms = 0
    if message.HasField("hedge_delay"):
        delay_ms = nest.duration(message.hedge_delay, "competitive.hedge_delay")
    return Competitive(
        candidates,
        select,
        _accept(message.accept, nest),
        nest.optional_step(message, "validator", "competitive"),
        nest.pointer(message.score, "competitive.score"),
        nest.optional_step(message, "judge", "competitive"),
        launch,
        delay_ms,
        quantile or QUANTILE_DEFAULT,
    )


def _candidates(message: task_spec_pb2.Competitive, nest: Nest, count_default: int) -> tuple[TaskSpec, ...]:
    """The candidates, a single one as often as it is run; what that adds counts."""
    extent = nest.extent
    steps, repeated = extent.steps, extent.repeated_bytes
    candidates = nest.steps(message.candidates, "competitive.candidates", 1, CANDIDATES_MAX)
    for number, candidate in enumerate(candidates):
        at = f"competitive.candidates[{number}]"
        words = (
            "is UNSAFE, but all candidates act: let them prepare, and act in a step behind the competition"
        )
        if candidate.side_effects == SideEffects.UNSAFE:
            nest.fault(f"{at}.side_effects", words)
        elif any(step.side_effects == SideEffects.UNSAFE for step in steps_of(candidate)):
            nest.fault(at, f"holds a step that {words}")
    count = nest.number(message, "count", "competitive.", (1, CANDIDATES_MAX), count_default)
    if len(message.candidates) > 1:
        nest.without_effect(message, "competitive", ("count",), "a single candidate")
    elif candidates:
        size = message.candidates[0].ByteSize() + extent.repeated_bytes - repeated
        extent.steps += (extent.steps - steps) * (count - 1)
        extent.repeated_bytes += size * (count - 1)
        return candidates * count
    return candidates


def _expect_verdict(message: task_spec_pb2.Competitive, nest: Nest, select: int) -> None:
    """What decides who wins must be there, once, and nothing that does not."""
    if select != FIRST_ACCEPTABLE:
        nest.without_effect(message, "competitive", ("accept", "validator"), "select FIRST_ACCEPTABLE")
    elif bool(message.accept) == message.HasField("validator"):
        nest.fault(
            "competitive.accept", "must be set, or validator, and not both: it is what accepts an output"
        )
    if select != BEST_OF:
        nest.without_effect(message, "competitive", ("score", "judge"), "select BEST_OF")
    elif bool(message.score) == message.HasField("judge"):
        nest.fault("competitive.score", "must be set, or judge, and not both: it is what compares outputs")


def _accept(text: str, nest: Nest) -> str:
    if not nest.extent.has_room_for(text):
        nest.fault("competitive.accept", TOO_MANY_CONDITIONS)
    elif text:
        try:
            compile_check(text)
        except Refused as error:
            for _, words in error.refusal.violations:
                nest.fault("competitive.accept", words)
    return text
