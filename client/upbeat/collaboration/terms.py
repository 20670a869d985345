"""What a collaboration can be told, by the names of the contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from upbeat.collaboration.steps import AnyStep
    from upbeat.spec import Limit, Retry, Seconds, SideEffects

OnInfeasible = Literal["wait", "fail_fast"]
SequenceContext = Literal["previous", "original_and_previous", "all"]
OnStepFailure = Literal["fail", "skip", "fallback"]
Join = Literal["all", "quorum", "any", "settled"]
FailurePolicy = Literal["fail_fast", "collect"]
OutputForm = Literal["list", "by_name"]
Ordering = Literal["preserve", "unordered"]
OnItemFailure = Literal["fail", "drop", "dead_letter"]
Rule = Literal["majority", "plurality", "supermajority", "unanimous"]
Normalize = Literal["exact", "trim_casefold", "canonical_json", "number"]
Weights = Literal["equal", "static", "performance"]
OnNoConsensus = Literal["fail", "tie_break", "extra_voter", "judge"]
Aggregate = Literal["median", "mean", "trimmed_mean"]
Select = Literal["first_success", "first_acceptable", "best_of"]
Launch = Literal["all", "hedged", "staged"]


@dataclass(frozen=True, slots=True)
class Budget:
    """What a collaboration may use at most, all its descendants together; 0 means no limit.

    `attempt_cost_micros` is what one attempt is reserved with; mandatory with
    `max_cost_micros`, which bounds what agents report with `Context.report_usage`.
    """

    max_children: int = 0
    max_attempts_total: int = 0
    max_cost_micros: int = 0
    attempt_cost_micros: int = 0


@dataclass(frozen=True, slots=True)
class StopWhen:
    """A condition on an output: what is at the JSON pointer ("" is the whole) equals a JSON value."""

    pointer: str
    equals: Any


class StepOptions(TypedDict, total=False):
    """What a step can be told apart from its input.

    `timeout` is short for `attempt_timeout`, and for `total_timeout` where the
    step is a collaboration.
    """

    name: str
    timeout: Seconds
    attempt_timeout: Seconds
    queue_timeout: Seconds
    total_timeout: Seconds
    labels: Mapping[str, str]
    retry: Retry
    selector: str
    required_capabilities: Sequence[str]
    size_hint: float
    side_effects: SideEffects
    limits: Sequence[Limit]


class GroupOptions(TypedDict, total=False):
    """What every collaboration can be told; see Collaboration of the contract."""

    step_timeout: Seconds
    max_concurrency: int
    distinct_agents: bool
    on_infeasible: OnInfeasible
    cancel_grace: Seconds
    include_partial: bool
    budget: Budget


class SequenceOptions(GroupOptions, total=False):
    """See Sequential of the contract. A `fallback` implies that on_step_failure is that."""

    context: SequenceContext
    on_step_failure: OnStepFailure
    fallback: AnyStep[Any, Any] | str
    stop_when: StopWhen


class ParallelOptions(GroupOptions, total=False):
    """See Parallel of the contract. A `quorum` implies that join is that."""

    map_over: str
    join: Join
    quorum: int
    failure_policy: FailurePolicy


class PipelineOptions(GroupOptions, total=False):
    """See Pipeline of the contract."""

    barrier: bool
    stage_concurrency: int
    buffer: int
    ordering: Ordering
    on_item_failure: OnItemFailure
    max_item_failures: int
    discard_outputs: bool


class ConsensusOptions(GroupOptions, total=False):
    """See Consensus of the contract.

    `supermajority`, `tolerance`, `weight_label` and `judge` imply the rule,
    normalize, weights and on_no_consensus that they are for. `choices` are values.
    """

    voters: int
    rule: Rule
    supermajority: float
    quorum: int
    vote: str
    normalize: Normalize
    tolerance: float
    choices: Sequence[Any]
    weights: Weights
    weight_label: str
    early_decision: bool
    on_no_consensus: OnNoConsensus
    judge: AnyStep[Any, Any] | str
    rounds: int


class RaceOptions(GroupOptions, total=False):
    """See Competitive of the contract; `candidates` is its count.

    `accept` and `validator` imply select="first_acceptable", `score` and `judge`
    "best_of"; `hedge_delay` and `hedge_quantile` imply launch="hedged".
    """

    candidates: int
    select: Select
    accept: str
    validator: AnyStep[Any, Any] | str
    score: str
    judge: AnyStep[Any, Any] | str
    launch: Launch
    hedge_delay: Seconds
    hedge_quantile: float
