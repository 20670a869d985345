"""Stages over a stream of items: an item moves on as soon as its stage is done with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Unpack, overload

from upbeat import codec
from upbeat.collaboration.kind import Collaboration
from upbeat.collaboration.parallel import unbundled
from upbeat.collaboration.steps import as_step, receiver
from upbeat.collaboration.terms import PipelineOptions
from upbeat.errors import CodecError
from upbeat.skill import In, Kind, Out

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from upbeat.collaboration.steps import AnyStep
    from upbeat.v1 import payload_pb2, task_spec_pb2


class Pipeline(Collaboration[In, Out]):
    """Stages; make it with `pipeline`.

    As a kind of work its input is the only item, and its output what became of
    that. Many items flow through one pipeline with `up.pipeline(...).map(items)`.
    """

    mode: ClassVar[str] = "pipeline"

    def __init__(self, parts: tuple[AnyStep[Any, Any] | str, ...], options: Mapping[str, Any]) -> None:
        if not parts:
            raise ValueError("pipeline: at least one stage is expected")
        super().__init__(options, PipelineOptions.__annotations__)
        steps = [as_step(part) for part in parts]
        self._mode.stages.extend(step.message for step in steps)
        self._receiver = receiver(steps[:1])
        self._giver = steps[-1].kind

    @property
    def stage_count(self) -> int:
        """How many stages there are."""
        return len(self._mode.stages)

    @property
    def last_type(self) -> str:
        """The task type of the last stage; empty if it is a collaboration."""
        last: str = self._mode.stages[-1].type
        return last

    @property
    def last(self) -> Kind[Any, Out]:
        """The kind of the last stage, which reads the output of one item."""
        return self._giver

    def over(self, items: Iterable[In]) -> ItemsPipeline[None, Out]:
        """The same stages over items that are submitted all at once: `up.run(p.over(items), None)`."""
        spec = self.spec()
        spec.collaboration.pipeline.items.extend(self.encode_input(item) for item in items)
        return ItemsPipeline(spec, self._giver)

    def over_input(self, items_pointer: str = "") -> ItemsPipeline[Any, Out]:
        """The same stages over a list in the input, which a JSON pointer leads to; "" is the input itself."""
        spec = self.spec()
        spec.collaboration.pipeline.items_pointer = items_pointer
        return ItemsPipeline(spec, self._giver)

    def opened(self, *, keeps_no_outputs: bool = False) -> ItemsPipeline[None, Out]:
        """The same stages over items that are appended while it runs (`Client.append_items`).

        `keeps_no_outputs`: they are read as they leave, and may be more than an output can hold.
        """
        spec = self.spec()
        spec.collaboration.pipeline.open = True
        if keeps_no_outputs:
            spec.collaboration.pipeline.discard_outputs = True
        return ItemsPipeline(spec, self._giver)

    def decode_output(self, payload: payload_pb2.Payload) -> Out:
        """The output of the only item; raises CodecError where that was given up."""
        outputs = _outputs(payload)
        if len(outputs) != 1:
            raise CodecError(f"{len(outputs)} outputs left the pipeline where that of one item is expected")
        return super().decode_output(unbundled(outputs[0]))


class ItemsPipeline(Collaboration[In, list[Out]]):
    """A pipeline over many items; its output is the list of what left the last stage."""

    mode: ClassVar[str] = "pipeline"

    def __init__(self, spec: task_spec_pb2.TaskSpec, last: Kind[Any, Out]) -> None:
        super().__init__({}, {})
        self._message = spec
        self._giver = last

    def encode_input(self, value: In) -> payload_pb2.Payload:
        """What the items are found in, or None beside items that are given."""
        return codec.encode(value)

    def decode_output(self, payload: payload_pb2.Payload) -> list[Out]:
        """What left the last stage; raises CodecError."""
        return [self._giver.decode_output(unbundled(each)) for each in _outputs(payload)]


def _outputs(payload: payload_pb2.Payload) -> list[Any]:
    outputs = codec.decode(payload)
    if not isinstance(outputs, list):
        raise CodecError(f"{type(outputs).__name__} where the list of a pipeline's outputs is expected")
    return outputs


@overload
def pipeline(
    first: AnyStep[In, Any], last: AnyStep[Any, Out], /, **options: Unpack[PipelineOptions]
) -> Pipeline[In, Out]: ...


@overload
def pipeline(
    first: AnyStep[In, Any],
    second: AnyStep[Any, Any],
    last: AnyStep[Any, Out],
    /,
    **options: Unpack[PipelineOptions],
) -> Pipeline[In, Out]: ...


@overload
def pipeline(*stages: AnyStep[Any, Any] | str, **options: Unpack[PipelineOptions]) -> Pipeline[Any, Any]: ...


def pipeline(*stages: AnyStep[Any, Any] | str, **options: Unpack[PipelineOptions]) -> Pipeline[Any, Any]:
    """Stages over a stream of items; typed for two and three stages.

    Raises ValueError, TypeError and CodecError for what cannot be expressed.
    """
    return Pipeline(stages, options)
