"""What a client does with collaborations: makes them, runs them, feeds them, grades them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Unpack, cast, overload

from upbeat import codec
from upbeat.collaboration.bound import Bound, BoundParallel, BoundPipeline
from upbeat.collaboration.consensus import Consensus, Verdict
from upbeat.collaboration.custom import custom
from upbeat.collaboration.parallel import parallel
from upbeat.collaboration.pipeline import pipeline
from upbeat.collaboration.race import Race
from upbeat.collaboration.sequential import sequence
from upbeat.collaboration.terms import (
    ConsensusOptions,
    GroupOptions,
    ParallelOptions,
    PipelineOptions,
    RaceOptions,
    SequenceOptions,
)
from upbeat.handle import TaskHandle, finished_of, merged_options
from upbeat.io_thread import io_thread
from upbeat.spec import WholeOptions
from upbeat.v1 import collaboration_service_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from upbeat.client import Client
    from upbeat.collaboration.steps import AnyStep, Step
    from upbeat.collaboration.terms import Aggregate, OutputForm
    from upbeat.core import Core
    from upbeat.skill import In, Kind, Out
    from upbeat.spec import Seconds
    from upbeat.task import Task

_WHOLE = frozenset(WholeOptions.__annotations__)


class ConsensusCall(ConsensusOptions, WholeOptions, total=False):
    """What `Client.consensus` takes: the terms of the vote, and options of its task."""

    timeout: Seconds
    request_id: str


class RaceCall(RaceOptions, WholeOptions, total=False):
    """What `Client.race` takes: the terms of the race, and options of its task."""

    timeout: Seconds
    request_id: str


@dataclass(frozen=True, slots=True)
class Grade:
    """How an agent stands with one task type: graded outcomes, and how many of them were right."""

    agent_id: str
    graded_count: int
    correct_count: int


def parted(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The terms of a collaboration, and the options of its task."""
    whole = {name: value for name, value in options.items() if name in _WHOLE | {"timeout", "request_id"}}
    return {name: value for name, value in options.items() if name not in whole}, whole


class CollaborationCalls:
    """The part of a `Client` that deals with collaborations."""

    _core: Core

    @property
    def _client(self) -> Client:
        return cast("Client", self)  # It is nothing else's base.

    @overload
    def sequence(
        self, first: AnyStep[In, Any], last: AnyStep[Any, Out], /, **options: Unpack[SequenceOptions]
    ) -> Bound[In, Out]: ...

    @overload
    def sequence(
        self,
        first: AnyStep[In, Any],
        second: AnyStep[Any, Any],
        last: AnyStep[Any, Out],
        /,
        **options: Unpack[SequenceOptions],
    ) -> Bound[In, Out]: ...

    @overload
    def sequence(
        self, *steps: AnyStep[Any, Any] | str, **options: Unpack[SequenceOptions]
    ) -> Bound[Any, Any]: ...

    def sequence(
        self, *steps: AnyStep[Any, Any] | str, **options: Unpack[SequenceOptions]
    ) -> Bound[Any, Any]:
        """Steps in order, as `upbeat.sequence` makes them: `await up.sequence(A, B).run(x)`."""
        return Bound(self._client, sequence(*steps, **options))

    @overload
    def parallel(
        self,
        *steps: AnyStep[Any, Any] | str,
        reducer: AnyStep[Any, Out],
        output_form: OutputForm | None = ...,
        **options: Unpack[ParallelOptions],
    ) -> BoundParallel[Any, Out]: ...

    @overload
    def parallel(
        self,
        first: AnyStep[In, Out],
        /,
        *steps: AnyStep[In, Out],
        reducer: None = ...,
        output_form: Literal["list"] | None = ...,
        **options: Unpack[ParallelOptions],
    ) -> BoundParallel[In, list[Out]]: ...

    @overload
    def parallel(
        self,
        *steps: AnyStep[Any, Any] | str,
        reducer: None = ...,
        output_form: Literal["by_name"],
        **options: Unpack[ParallelOptions],
    ) -> BoundParallel[Any, dict[str, Any]]: ...

    @overload
    def parallel(
        self,
        *steps: AnyStep[Any, Any] | str,
        reducer: AnyStep[Any, Any] | str | None = ...,
        output_form: OutputForm | None = ...,
        **options: Unpack[ParallelOptions],
    ) -> BoundParallel[Any, Any]: ...

    def parallel(
        self,
        *steps: AnyStep[Any, Any] | str,
        reducer: AnyStep[Any, Any] | str | None = None,
        output_form: OutputForm | None = None,
        **options: Unpack[ParallelOptions],
    ) -> BoundParallel[Any, Any]:
        """Steps at the same time, as `upbeat.parallel` makes them: `await up.parallel(A).map(items)`."""
        kind = parallel(*steps, reducer=reducer, output_form=output_form, **options)
        return BoundParallel(self._client, kind)

    @overload
    def pipeline(
        self, first: AnyStep[In, Any], last: AnyStep[Any, Out], /, **options: Unpack[PipelineOptions]
    ) -> BoundPipeline[In, Out]: ...

    @overload
    def pipeline(
        self,
        first: AnyStep[In, Any],
        second: AnyStep[Any, Any],
        last: AnyStep[Any, Out],
        /,
        **options: Unpack[PipelineOptions],
    ) -> BoundPipeline[In, Out]: ...

    @overload
    def pipeline(
        self, *stages: AnyStep[Any, Any] | str, **options: Unpack[PipelineOptions]
    ) -> BoundPipeline[Any, Any]: ...

    def pipeline(
        self, *stages: AnyStep[Any, Any] | str, **options: Unpack[PipelineOptions]
    ) -> BoundPipeline[Any, Any]:
        """Stages, as `upbeat.pipeline` makes them: `async for item in up.pipeline(A, B).map(items)`."""
        return BoundPipeline(self._client, pipeline(*stages, **options))

    def custom(
        self,
        name: str,
        *steps: AnyStep[Any, Any] | str,
        params: Any = None,
        **options: Unpack[GroupOptions],
    ) -> Bound[Any, Any]:
        """Steps under a mode of the server's own, as `upbeat.custom` makes them."""
        return Bound(self._client, custom(name, *steps, params=params, **options))

    @overload
    async def consensus(
        self,
        voter: AnyStep[In, Out],
        value: In,
        *,
        aggregate: None = ...,
        **options: Unpack[ConsensusCall],
    ) -> Verdict[Out]: ...

    @overload
    async def consensus(
        self,
        voter: AnyStep[In, Any],
        value: In,
        *,
        aggregate: Aggregate,
        **options: Unpack[ConsensusCall],
    ) -> Verdict[float]: ...

    @overload
    async def consensus(
        self,
        voter: str,
        value: Any = ...,
        *,
        aggregate: Aggregate | None = ...,
        **options: Unpack[ConsensusCall],
    ) -> Verdict[Any]: ...

    async def consensus(
        self,
        voter: AnyStep[Any, Any] | str,
        value: Any = None,
        *,
        aggregate: Aggregate | None = None,
        **options: Unpack[ConsensusCall],
    ) -> Verdict[Any]:
        """Hold a vote and wait for it: `await up.consensus(CLASSIFY, doc, voters=5, vote="/label")`.

        See `upbeat.consensus` for the terms. Raises NoConsensus, which has the
        tally, and what `Client.run` raises. If the caller is cancelled, so is the vote.
        """
        terms, whole = parted(options)
        kind: Consensus[Any, Any] = Consensus(voter, terms, aggregate)
        request_id = whole.pop("request_id", "")
        merged = merged_options(whole, whole.pop("timeout", None))
        finished = await finished_of(self._core, kind, value, merged, request_id)
        return kind.verdict(await self._client.get(finished.task_id))

    @overload
    async def race(
        self,
        candidate: Kind[In, Out],
        value: In,
        **options: Unpack[RaceCall],
    ) -> Out: ...

    @overload
    async def race(
        self,
        candidate: Step[In, Out],
        value: In,
        **options: Unpack[RaceCall],
    ) -> Out: ...

    @overload
    async def race(
        self,
        candidate: list[Kind[In, Out]],
        value: In,
        **options: Unpack[RaceCall],
    ) -> Out: ...

    @overload
    async def race(
        self,
        candidate: str | list[AnyStep[Any, Any] | str],
        value: Any = ...,
        **options: Unpack[RaceCall],
    ) -> Any: ...

    async def race(
        self,
        candidate: Any,
        value: Any = None,
        **options: Unpack[RaceCall],
    ) -> Any:
        """Run candidates against each other: `await up.race(SOLVE, problem, candidates=3)`.

        Several different ones are given as a list. See `upbeat.race` for the
        terms. Answers the winner's output. Raises NoWinner and what `Client.run` raises.
        """
        terms, whole = parted(options)
        parts = tuple(candidate) if isinstance(candidate, list | tuple) else (candidate,)
        kind: Race[Any, Any] = Race(parts, terms)
        return await self._client.run(kind, value, **whole)

    async def append_items(
        self, task: TaskHandle[Any] | Task | str, items: Iterable[Any], *, first_index: int | None = None
    ) -> int:
        """Add items to an open pipeline (`Pipeline.opened`); answers how many there are in all.

        With the index of the first of them, counted from 0 over all items, it is
        safe to repeat. Raises ItemsFull, ItemsClosed, TaskFinished and InvalidField.
        """
        request = wire.AppendItemsRequest(task_id=id_of(task), items=map(codec.encode, items))
        if first_index is not None:
            request.first_index = first_index
        response = await io_thread().call(self._core.collaborations("AppendItems", request))
        return int(response.item_count)

    async def close_items(self, task: TaskHandle[Any] | Task | str) -> int:
        """No further items come; answers how many there are. Idempotent while the pipeline runs."""
        request = wire.CloseItemsRequest(task_id=id_of(task))
        response = await io_thread().call(self._core.collaborations("CloseItems", request))
        return int(response.item_count)

    async def grade(self, task: TaskHandle[Any] | Task | str, *, correct: bool) -> Grade:
        """Say whether the output of a completed task was right; the last grade counts.

        Agents are weighed by it where a consensus has weights="performance". Of a
        collaboration it is the children that are graded. Raises NotGradable and
        TaskNotFound.
        """
        request = wire.GradeTaskRequest(task_id=id_of(task), correct=correct)
        response = await io_thread().call(self._core.collaborations("GradeTask", request))
        return Grade(response.agent_id, response.graded_count, response.correct_count)


def id_of(task: TaskHandle[Any] | Task | str) -> str:
    """The id of a task, however it is held."""
    return task if isinstance(task, str) else task.task_id
