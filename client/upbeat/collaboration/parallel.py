"""Steps at the same time: on the same input, or one for each item of a list."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Unpack, overload

from google.protobuf.message import Message

from upbeat import codec
from upbeat.collaboration.kind import Collaboration, implied
from upbeat.collaboration.steps import alike, as_step, receiver
from upbeat.collaboration.terms import ParallelOptions
from upbeat.errors import CodecError
from upbeat.skill import In, Kind, Out, Skill
from upbeat.v1 import payload_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upbeat.collaboration.steps import AnyStep
    from upbeat.collaboration.terms import OutputForm
    from upbeat.v1 import task_spec_pb2

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,63}")
_WRAPPED = {"content_type", "base64"}


class Parallel(Collaboration[In, Out]):
    """Steps at the same time; make it with `parallel`.

    The output is a list in the order of the steps or items; None stands for what
    did not complete, where `join` allows that. With output_form="by_name" it is a
    dict by the names of the steps, with a `reducer` that one's output.
    """

    mode: ClassVar[str] = "parallel"

    def __init__(
        self,
        parts: tuple[AnyStep[Any, Any] | str, ...],
        options: Mapping[str, Any],
        reducer: AnyStep[Any, Any] | str | None,
    ) -> None:
        options = implied(options, "join", {"quorum": "quorum"})
        super().__init__(options, {**ParallelOptions.__annotations__, "output_form": None})
        steps = [as_step(part) for part in parts]
        self._kinds = [step.kind for step in steps]
        self._mode.steps.extend(step.message for step in steps)
        self._receiver = receiver(steps)
        self._maps_whole_input = self._mode.HasField("map_over") and not self._mode.map_over
        self._maps_part = bool(self._mode.map_over)
        if self._mode.HasField("map_over") and len(steps) != 1:
            raise ValueError(f"map_over runs one step for each item; {len(steps)} are given")
        if reducer is not None:
            last = as_step(reducer)
            self._mode.reducer.CopyFrom(last.message)
            self._giver = last.kind
        self._has_reducer = reducer is not None
        if self._mode.output_form == self._mode.OUTPUT_FORM_BY_NAME:
            self._name_steps()

    def _name_steps(self) -> None:
        """Steps without a name are called as their skill, if that can be."""
        for step, kind in zip(self._mode.steps, self._kinds, strict=True):
            if not step.name and _NAME.fullmatch(kind.name):
                step.name = kind.name
        names = [step.name for step in self._mode.steps]
        if "" in names or len(set(names)) < len(names):
            raise ValueError(
                f'by_name: the steps are called {names}; give each a name of its own: step(..., name="...")'
            )

    def over(self, items: Iterable[Any]) -> Mapped[Out]:
        """The one step for each of these items; raises ValueError for several steps, and CodecError."""
        if len(self._kinds) != 1:
            raise ValueError(f"map runs one step for each item; {len(self._kinds)} are given")
        return Mapped(self, encoded_items(items, self._receiver))

    def encode_input(self, value: In) -> payload_pb2.Payload:
        """The payload for a task: that of the first step, or a list of such; raises CodecError."""
        if self._maps_part:
            return codec.encode(value)
        if self._maps_whole_input:
            return encoded_items(value, self._receiver)
        return super().encode_input(value)

    def decode_output(self, payload: payload_pb2.Payload) -> Out:
        """The list, dict or whatever the reducer made; raises CodecError."""
        if self._has_reducer:
            return super().decode_output(payload)
        bundle = codec.decode(payload)
        made: Any
        if isinstance(bundle, dict):
            kinds = dict(zip((step.name for step in self._mode.steps), self._kinds, strict=True))
            made = {name: self._each(each, kinds.get(name)) for name, each in bundle.items()}
        elif isinstance(bundle, list):
            made = [self._each(each, kind) for each, kind in zip(bundle, self._kinds_of(bundle), strict=True)]
        else:
            raise CodecError(f"{type(bundle).__name__} where the outputs of {self.mode} steps are expected")
        output: Out = made
        return output

    def _kinds_of(self, bundle: list[Any]) -> list[Kind[Any, Any]]:
        if len(bundle) == len(self._kinds):
            return self._kinds
        return [alike(self._kinds)] * len(bundle)

    def _each(self, value: Any, kind: Kind[Any, Any] | None) -> Any:
        if value is None and self._mode.join not in (self._mode.JOIN_UNSPECIFIED, self._mode.JOIN_ALL):
            return None
        payload = unbundled(value)
        return codec.decode(payload) if kind is None else kind.decode_output(payload)


class Mapped(Kind[None, Out]):
    """A parallel whose one step is run for each of some items."""

    def __init__(self, kind: Parallel[Any, Out], items: payload_pb2.Payload) -> None:
        self.name = kind.name
        self._kind = kind
        self._items = items

    def spec(self) -> task_spec_pb2.TaskSpec:
        """The spec of a task of this kind, but for its input and its options."""
        spec = self._kind.spec()
        spec.collaboration.parallel.map_over = ""
        return spec

    def encode_input(self, value: None) -> payload_pb2.Payload:  # noqa: ARG002 - they are known
        """The items."""
        return self._items

    def decode_output(self, payload: payload_pb2.Payload) -> Out:
        """As the parallel does; raises CodecError."""
        return self._kind.decode_output(payload)


def encoded_items(values: Any, kind: Kind[Any, Any]) -> payload_pb2.Payload:
    """A JSON list of inputs of a kind; raises CodecError for values that JSON cannot hold as they are."""
    if not isinstance(values, Iterable) or isinstance(values, str | bytes | dict):
        raise CodecError(f"{type(values).__qualname__} where a list of items is expected")
    items = list(values)
    for index, item in enumerate(items):
        if isinstance(item, bytes | bytearray | memoryview | Message):
            raise CodecError(
                f"item {index} is {type(item).__qualname__}, and a list in the input is JSON: "
                "run a pipeline, whose items may be anything"
            )
        if isinstance(kind, Skill):
            kind.encode_input(item)  # For its complaint about a value of another class.
    return codec.encode(items)


def unbundled(value: Any) -> payload_pb2.Payload:
    """One output out of a bundle, as the payload that it was; raises CodecError."""
    if isinstance(value, dict) and value.keys() == _WRAPPED:
        try:
            data = base64.b64decode(value["base64"], validate=True)
            return payload_pb2.Payload(content_type=value["content_type"], data=data)
        except (TypeError, ValueError) as error:
            raise CodecError(f"an output in a bundle is no base64: {error}") from error
    data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return payload_pb2.Payload(content_type=codec.JSON, data=data)


@overload
def parallel(
    *steps: AnyStep[Any, Any] | str,
    reducer: AnyStep[Any, Out],
    output_form: OutputForm | None = ...,
    **options: Unpack[ParallelOptions],
) -> Parallel[Any, Out]: ...


@overload
def parallel(
    first: AnyStep[In, Out],
    /,
    *steps: AnyStep[In, Out],
    reducer: None = ...,
    output_form: Literal["list"] | None = ...,
    **options: Unpack[ParallelOptions],
) -> Parallel[In, list[Out]]: ...


@overload
def parallel(
    *steps: AnyStep[Any, Any] | str,
    reducer: None = ...,
    output_form: Literal["by_name"],
    **options: Unpack[ParallelOptions],
) -> Parallel[Any, dict[str, Any]]: ...


@overload
def parallel(
    *steps: AnyStep[Any, Any] | str,
    reducer: AnyStep[Any, Any] | str | None = ...,
    output_form: OutputForm | None = ...,
    **options: Unpack[ParallelOptions],
) -> Parallel[Any, Any]: ...


def parallel(
    *steps: AnyStep[Any, Any] | str,
    reducer: AnyStep[Any, Any] | str | None = None,
    output_form: OutputForm | None = None,
    **options: Unpack[ParallelOptions],
) -> Parallel[Any, Any]:
    """Steps at the same time, on the same input; or one step for each item of `map_over`.

    `map_over` is a JSON pointer to a list in the input, "" the input itself. Typed
    where all steps have the same types. Raises ValueError, TypeError and CodecError
    for what cannot be expressed.
    """
    return Parallel(steps, {**options, "output_form": output_form}, reducer)
