"""ExternalScaler: tells KEDA how much there is to do for the agents that a ScaledObject stands for.

The one metric is the tasks of the trigger's types that wait or run; those that wait while their type is
paused do not count. Running ones do, or a fleet would be taken away from under the work that has just begun.
KEDA cannot send metadata, so the token stands among what the trigger says.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, ClassVar, Final

from upbeat_server.engine import reasons
from upbeat_server.rpc.identity import Role
from upbeat_server.rpc.keda import externalscaler_pb2 as pb
from upbeat_server.rpc.keda.trigger import Trigger, read_trigger
from upbeat_server.runtime.refused import Refused, invalid, refused

if TYPE_CHECKING:
    from upbeat_server.rpc.method import Call, Stream
    from upbeat_server.runtime.orchestrator import Orchestrator

METRIC: Final = "upbeat-tasks"
LOOK_S: Final = 0.1
"""From one look for one stream to the next, however many turns there are between."""
PAUSE_S: Final = 1.0
"""From one word to one stream to the next: KEDA asks Kubernetes something at each of them."""


class ScalerService:
    """Serves ``externalscaler.ExternalScaler``."""

    descriptor = pb.DESCRIPTOR.services_by_name["ExternalScaler"]
    # Who calls is known once the message is read.
    roles: ClassVar[dict[str, Role | None]] = dict.fromkeys(
        ("is_active", "stream_is_active", "get_metric_spec", "get_metrics", "stream_metric_spec")
    )

    def __init__(self, orchestrator: Orchestrator, look_s: float = LOOK_S, pause_s: float = PAUSE_S) -> None:
        self._orchestrator = orchestrator
        self._look_s = look_s
        self._pause_s = pause_s

    async def is_active(self, request: pb.ScaledObjectRef, call: Call) -> pb.IsActiveResponse:
        """Whether there is more to do than the trigger lets pass."""
        trigger, namespace = _trigger(request, call)
        return pb.IsActiveResponse(result=self._is_active(trigger, namespace))

    async def stream_is_active(self, request: pb.ScaledObjectRef, stream: Stream) -> None:
        """The same at once, and soon after every change."""
        trigger, namespace = _trigger(request, stream)
        watch = await self._orchestrator.watch_demand(namespace)
        told: bool | None = None
        try:
            while True:
                is_active = self._is_active(trigger, namespace)
                if is_active is not told:
                    await stream.write(pb.IsActiveResponse(result=is_active))
                    told = is_active
                    await asyncio.sleep(self._pause_s)
                else:
                    await asyncio.sleep(self._look_s)
                await watch.turned()
        except Refused as error:
            self._orchestrator.observer.stream_ended("watch", error.refusal.reason)
            raise
        finally:
            watch.close()

    async def get_metric_spec(self, request: pb.ScaledObjectRef, call: Call) -> pb.GetMetricSpecResponse:
        """How many tasks make a replica."""
        trigger, _ = _trigger(request, call)
        return _spec(trigger)

    async def stream_metric_spec(self, request: pb.ScaledObjectRef, stream: Stream) -> None:
        """The same at once. It follows from the trigger alone, so there is never a second word."""
        trigger, namespace = _trigger(request, stream)
        watch = await self._orchestrator.watch_demand(namespace)
        try:
            await stream.write(_spec(trigger))
            await watch.over()
        except Refused as error:
            self._orchestrator.observer.stream_ended("watch", error.refusal.reason)
            raise
        finally:
            watch.close()

    async def get_metrics(self, request: pb.GetMetricsRequest, call: Call) -> pb.GetMetricsResponse:
        """The tasks that wait or run."""
        trigger, namespace = _trigger(request.scaledObjectRef, call)
        if request.metricName != METRIC:
            raise invalid(
                "metricName", f"{request.metricName[:64]!r} is not {METRIC!r}, the only one there is"
            )
        tasks = self._orchestrator.demand(namespace, trigger.types, trigger.offer).total
        response = pb.GetMetricsResponse()
        response.metricValues.add(metricName=METRIC, metricValue=tasks, metricValueFloat=tasks)
        return response

    def _is_active(self, trigger: Trigger, namespace: str) -> bool:
        return trigger.is_active(self._orchestrator.demand(namespace, trigger.types, trigger.offer))


def _trigger(request: pb.ScaledObjectRef, call: Call) -> tuple[Trigger, str]:
    """The trigger, and the namespace that its token may look into. Raises Refused."""
    trigger = read_trigger(request.scalerMetadata)
    try:
        call.identify(trigger.token, Role.VIEWER)
    except Refused as error:
        if error.refusal.reason != reasons.TOKEN_INVALID or trigger.token:
            raise
        raise refused(
            reasons.TOKEN_INVALID,
            "this server wants a token: put one with the role viewer into the environment of the scaled "
            "workload, and its name into the trigger's metadata as tokenFromEnv",
        ) from None
    return trigger, call.namespace(trigger.namespace)


def _spec(trigger: Trigger) -> pb.GetMetricSpecResponse:
    response = pb.GetMetricSpecResponse()
    response.metricSpecs.add(
        metricName=METRIC,
        targetSize=math.ceil(trigger.tasks_per_replica),
        targetSizeFloat=trigger.tasks_per_replica,
    )
    return response
